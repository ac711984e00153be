//! `run`, `burn` and `watch RUN` on a fleet.

mod progress;
mod result;
mod watch;

use std::{future::Future, time::Duration};

use tokio::{
    sync::{mpsc, watch as latest},
    time::MissedTickBehavior,
};
use uuid::Uuid;

pub(super) use self::watch::watch;
use self::{progress::Progress, result::Told};
use super::{Session, fleet::allow_connections};
use crate::{
    cli::RunOptions,
    error::{Exit, Failure},
    fleet::{Fate, Fleet, FleetUpdate, HostOutcome, News, Order, StartOptions, Updates, run_in_waves, worst},
    json::FleetResultOut,
    output::Output,
    report::prepare_folder,
    scenario::Plan,
};

/// How often a picture shows something new.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// From the plan to the exit status.
pub(super) async fn run(
    fleet: &Fleet,
    plan: &Plan,
    options: &RunOptions,
    session: &mut Session,
) -> Result<Exit, Failure> {
    if let Some(folder) = &options.report {
        prepare_folder(folder)?;
    }
    allow_connections(fleet.members.len());
    let run_id = options.start.run_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let (order, orders) = latest::channel(Order::GoOn);
    let progress = Progress::new(&fleet.members, super::run::progress_wish(session)).with_picture(
        &run_id,
        &plan.scenario,
        &session.output,
    );
    let start = StartOptions {
        pki: session.global.pki.clone(),
        not_ready: options.start.not_ready,
        on_loss: options.start.on_loss,
        ready_within: Duration::from_millis(options.start.ready_within),
        start_at_unix_ns: options.start_at,
        detach: options.detach,
        // Of a wave: its course says it.
        borne: None,
        frames: progress.frames(),
        orders,
    };
    let (sender, mut news) = mpsc::unbounded_channel();
    let updates = Updates::new(sender);
    let running = run_in_waves(fleet, &run_id, plan, &start, &updates);
    let Commanded { outcomes: course, order } =
        commanded(running, &mut news, &order, progress, session, true).await;
    let course = course?;
    let outcomes = &course.outcomes;
    if options.detach {
        return detached(&run_id, outcomes, session);
    }
    let (tags, report) = (&options.tags, options.report.as_deref());
    Told { run_id: &run_id, outcomes, course: Some(&course), tags, report }.tell(session).await?;
    Ok(exit(course.exit(), order))
}

/// What came of the hosts, and what the user wanted in the end.
struct Commanded<T> {
    outcomes: T,
    order: Order,
}

/// Shows what is new until all hosts are over, and hands on what the user wants. `is_ours`: Ctrl-C stops it, a second one halts all
/// hosts; else the first one leaves.
async fn commanded<T>(
    running: impl Future<Output = T>,
    news: &mut mpsc::UnboundedReceiver<FleetUpdate>,
    order: &latest::Sender<Order>,
    mut progress: Progress<'_>,
    session: &mut Session,
    is_ours: bool,
) -> Commanded<T> {
    let Session { output, interrupts, .. } = session;
    tokio::pin!(running);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcomes = loop {
        tokio::select! {
            outcomes = &mut running => break outcomes,
            Some(update) = news.recv() => progress.show(update, output),
            () = interrupts.next() => {
                let next = next_order(*order.borrow(), is_ours);
                note_order(next, &progress, output);
                order.send_replace(next);
            }
            _ = looks.tick() => progress.tick(),
        }
    };
    while let Ok(update) = news.try_recv() {
        progress.show(update, output);
    }
    progress.end();
    Commanded { outcomes, order: *order.borrow() }
}

fn next_order(now: Order, is_ours: bool) -> Order {
    match now {
        Order::GoOn if is_ours => Order::Stop,
        Order::Stop => Order::Halt,
        Order::GoOn | Order::Halt | Order::Leave => Order::Leave,
    }
}

fn note_order(order: Order, progress: &Progress<'_>, output: &mut Output) {
    let words = match order {
        Order::Stop => "stopping the run on all hosts; Ctrl-C once more halts them",
        Order::Halt => "halting all hosts; Ctrl-C once more gives up waiting",
        Order::GoOn | Order::Leave => return,
    };
    progress.note(words, output);
}

/// Wrong data is told whoever ended the run.
fn exit(worst: Exit, order: Order) -> Exit {
    match worst {
        Exit::WrongData => Exit::WrongData,
        _ if order > Order::GoOn => Exit::Interrupted,
        worst => worst,
    }
}

fn detached(run_id: &str, outcomes: &[HostOutcome], session: &mut Session) -> Result<Exit, Failure> {
    let on: Vec<_> = outcomes.iter().filter(|outcome| outcome.fate == Fate::GoesOn).collect();
    if session.wants_json() {
        session.output.json(&FleetResultOut::new(run_id, outcomes, worst(outcomes)))?;
    } else if !on.is_empty() {
        session.output.result(&format!("{run_id}\n"))?;
        session.output.message(&format!(
            "it ends by itself on {} of {} hosts; `sstsctl watch {run_id}` with the same hosts follows it",
            on.len(),
            outcomes.len()
        ));
    }
    for outcome in outcomes {
        if let Some(failure) = &outcome.failure {
            session.output.failure(failure);
        }
    }
    Ok(worst(outcomes))
}

/// Which updates say that a host needs a look.
fn is_trouble(news: &News) -> bool {
    // Who was told of a loss is told of its end, too.
    matches!(
        news,
        News::NotReady(_)
            | News::Lost(_)
            | News::Back
            | News::Lagged(_)
            | News::Halted(_)
            | News::CutShort(_)
            | News::GateShut(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interruption_asks_for_more() {
        let ours: Vec<_> = [Order::GoOn, Order::Stop, Order::Halt].map(|now| next_order(now, true)).into();
        assert_eq!(ours, [Order::Stop, Order::Halt, Order::Leave]);
        assert_eq!(next_order(Order::GoOn, false), Order::Leave);
    }
}
