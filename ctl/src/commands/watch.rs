//! `watch`: follows a run to its end, or a host until the user has seen enough.

use ssts_proto::v1::{Run, RunSummary, Scenario, WatchRequest, watch_response::Item};

use super::{
    Session, fleet_run,
    follow::{Ended, Follower, Role, lag_words, the_run},
    history,
    lease::Lease,
    report::{fetch, print},
    run::progress_wish,
};
use crate::{
    cli::WatchFlags,
    connect::{Agent, Client, Fallback},
    display::{Display, Wish},
    error::{Exit, Failure},
    interrupts::Interrupts,
    output::Output,
    report, status,
};

/// `watch [RUN]`.
pub(super) async fn watch(
    run: Option<String>,
    flags: &WatchFlags,
    session: &mut Session,
) -> Result<Exit, Failure> {
    if let Some(fleet) = session.fleet().await? {
        return fleet_run::watch(&fleet, run, flags, session).await;
    }
    let mut agent = session.agent(Fallback::Refuse).await?;
    let result = on_agent(run, flags.adopt, session, &mut agent).await;
    agent.close().await;
    result
}

async fn on_agent(
    run: Option<String>,
    adopt: bool,
    session: &mut Session,
    agent: &mut Agent,
) -> Result<Exit, Failure> {
    let run = match run {
        Some(run) => Some(run),
        None => the_run(&mut agent.client).await?,
    };
    match run {
        Some(run_id) => watch_run(&run_id, adopt, session, agent).await,
        None if session.wants_json() => Err(Failure::usage(
            "no run goes on, and watching a host has no end at which one object could be printed",
            "name a run, or leave --output json out",
        )),
        None => {
            let Session { output, interrupts, .. } = session;
            watch_host(agent.client.clone(), output, interrupts).await
        }
    }
}

async fn watch_run(
    run_id: &str,
    adopt: bool,
    session: &mut Session,
    agent: &mut Agent,
) -> Result<Exit, Failure> {
    let Run { scenario, summary, .. } = fetch(&mut agent.client, run_id).await?;
    if adopt && summary.as_ref().is_some_and(|summary| summary.prepared.is_some()) {
        return Err(Failure::usage(
            format!("run {run_id} has not begun: only who prepared it can tell it when to"),
            "leave --adopt out; it is released by itself when nobody begins it",
        ));
    }
    let lease = adopt.then(|| Lease::keep(agent.line.clone(), run_id.to_owned())).transpose()?;
    let wish = progress_wish(session);
    let Session { global, output, interrupts } = session;
    let display = Display::new(scenario.unwrap_or_default(), summary.unwrap_or_default(), wish, output);
    let client = agent.client.clone();
    let role = if adopt { Role::Owner } else { Role::Onlooker };
    let follower = Follower { client, run_id, role, display, output: &mut *output, interrupts };
    let ended = follower.follow().await?;
    drop(lease);
    match ended {
        Ended::Left => Ok(Exit::Interrupted),
        Ended::Finished | Ended::Interrupted | Ended::Halted => {
            let run = fetch(&mut agent.client, run_id).await?;
            let printed = print(&run, global.output, output);
            history::keep(&run, &[], global.store.as_ref(), output).await;
            printed?;
            Ok(report::exit(&run))
        }
    }
}

async fn watch_host(
    mut client: Client,
    output: &mut Output,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    let mut display = Display::new(Scenario::default(), RunSummary::default(), Wish::Readings, output);
    let request = WatchRequest {
        states: true,
        events: true,
        frames: true,
        max_rate_hz: display.frames_per_s(),
        ..WatchRequest::default()
    };
    let mut stream = client.watch(request).await.map_err(|status| status::failure(&status))?.into_inner();
    while !output.results_closed() {
        let item = tokio::select! {
            item = stream.message() => item.map_err(|status| status::failure(&status))?,
            () = interrupts.next() => return Ok(Exit::Interrupted),
        };
        let Some(response) = item else {
            return Err(Failure::agent(
                "the agent closed the stream",
                "see `systemctl status sstsd` on that host",
            ));
        };
        match response.item {
            Some(Item::State(summary)) => display.state(summary, output),
            Some(Item::Event(event)) => display.event(&event, output),
            Some(Item::Schema(schema)) => display.schema(schema),
            Some(Item::Frame(frame)) => display.frame(&frame, output),
            Some(Item::Lagged(lagged)) => display.note(&lag_words(lagged), output),
            // `status` has them.
            Some(Item::Guards(_)) | None => {}
        }
    }
    Ok(Exit::Pass)
}
