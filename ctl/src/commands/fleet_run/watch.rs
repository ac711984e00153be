//! `watch RUN` on a fleet: follows what another `sstsctl` started, and with `--adopt` takes it over.

use std::collections::BTreeMap;

use ssts_proto::v1::{ListRunsRequest, RunState};
use tokio::sync::{mpsc, watch as latest};

use super::{Commanded, Progress, Told, commanded, exit};
use crate::{
    cli::WatchFlags,
    commands::{Session, fleet::allow_connections},
    connect::cannot_reach,
    error::{Exit, Failure},
    fleet::{Fate, Fleet, FollowOptions, HostOutcome, Order, Updates, each, follow_run, worst},
    status,
};

/// Hosts that are asked at once.
const AT_ONCE: usize = 64;

/// `watch [RUN]`.
pub(crate) async fn watch(
    fleet: &Fleet,
    run: Option<String>,
    flags: &WatchFlags,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let run_id = match run {
        Some(run_id) => run_id,
        None => the_run(fleet, session).await?,
    };
    allow_connections(fleet.members.len());
    let (order, orders) = latest::channel(Order::GoOn);
    let options = FollowOptions {
        pki: session.global.pki.clone(),
        adopt: flags.adopt,
        on_loss: flags.on_loss,
        frames: None,
        orders,
    };
    let (sender, mut news) = mpsc::unbounded_channel();
    let updates = Updates::new(sender);
    let progress = Progress::new(&fleet.members, super::super::run::progress_wish(session));
    let following = follow_run(&fleet.members, &run_id, &options, &updates);
    let Commanded { outcomes, order } =
        commanded(following, &mut news, &order, progress, session, flags.adopt).await;
    let (outcomes, strangers): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|outcome| !is_stranger(outcome));
    if outcomes.is_empty() {
        return Err(Failure::usage(
            format!("none of {} hosts knows a run {run_id}", strangers.len()),
            "`sstsctl status` with the same hosts lists the runs that are on",
        ));
    }
    for stranger in strangers {
        session.output.message(&format!("{} has no part in run {run_id}", stranger.member.name));
    }
    let told = Told { run_id: &run_id, outcomes: &outcomes, course: None, tags: &[], report: None };
    told.tell(session).await?;
    Ok(exit(worst(&outcomes), order))
}

/// It answered that it knows nothing of the run.
fn is_stranger(outcome: &HostOutcome) -> bool {
    let knows_nothing = |failure: &Failure| {
        failure.exit == Exit::Usage && outcome.run.is_none() && outcome.fate == Fate::Lost
    };
    outcome.failure.as_ref().is_some_and(knows_nothing)
}

/// The one that is on, on whichever hosts.
async fn the_run(fleet: &Fleet, session: &mut Session) -> Result<String, Failure> {
    let Session { global, interrupts, .. } = session;
    let pki = global.pki.clone();
    let asked = each(
        &fleet.members,
        AT_ONCE,
        |member| {
            let pki = pki.clone();
            async move {
                let line = member.line(pki.as_ref())?;
                let mut client = line.dial().await.map_err(|error| cannot_reach(&member.host, &error))?;
                let answer = client.list_runs(ListRunsRequest { limit: None }).await;
                Ok(answer.map_err(|status| status::failure(&status))?.into_inner().runs)
            }
        },
        |_| {},
    );
    let answers = tokio::select! {
        answers = asked => answers,
        () = interrupts.next() => return Err(Failure::interrupted()),
    };
    let mut on: BTreeMap<String, usize> = BTreeMap::new();
    let mut unreached = None;
    for answer in answers {
        match answer.result {
            Ok(runs) => {
                for run in runs.into_iter().filter(|run| run.state() != RunState::Finished) {
                    *on.entry(run.run_id).or_default() += 1;
                }
            }
            Err(failure) => unreached = Some(failure),
        }
    }
    let mut ids = on.iter();
    match (ids.next(), ids.next(), unreached) {
        (Some((run_id, _)), None, _) => Ok(run_id.clone()),
        (None, _, Some(failure)) => Err(failure),
        (None, _, None) => {
            Err(Failure::usage("no run goes on on these hosts", "name one: `sstsctl watch RUN`"))
        }
        (Some(_), Some(_), _) => {
            let names: Vec<_> = on.iter().map(|(run_id, hosts)| format!("{run_id} (on {hosts})")).collect();
            Err(Failure::usage(
                format!("{} runs go on: {}", on.len(), names.join(", ")),
                "name the one that is meant",
            ))
        }
    }
}
