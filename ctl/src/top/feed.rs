//! What the agent tells, as it comes: its description, frames, runs and their events. A connection that breaks is made anew.

use std::time::Duration;

use ssts_proto::v1::{
    DescribeRequest, DescribeResponse, Event, Frame, GetRunRequest, ListRunsRequest, RunState, RunSummary,
    Schema, StopRequest, WatchRequest, watch_response::Item,
};
use tokio::{
    sync::mpsc::{Sender, error::SendError},
    time::sleep,
};
use tonic::Status;

use super::{
    history::History,
    model::{PREFIXES, SCHED_PREFIX},
    run::RunTrack,
};
use crate::{
    connect::Client,
    record::{Source, fetch},
    report::verdict_line,
    status, text,
};

/// Between two attempts to reach an agent that is gone.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// Between two looks for new runs.
const LOOK_FOR_RUNS: Duration = Duration::from_secs(1);
/// Of these looks, every so many-th asks for the host's description too: the agent tries out what works for it.
const HOST_EVERY: u64 = 5;
/// Runs that are looked at: those of the time that the flight recorder reaches back, within reason.
const RUNS: u32 = 16;

/// What is new.
#[derive(Debug)]
pub(super) enum News {
    Host(Box<DescribeResponse>),
    Schema(Schema),
    Frame(Frame),
    /// So many frames were left out: this side was too slow.
    Lagged(u64),
    /// The connection broke, and why.
    Lost(String),
    Run(Box<RunTrack>),
    /// Of the run of this id.
    Event(String, Event),
    State(RunSummary),
    History(Result<Box<History>, String>),
    /// What a command came to, in words.
    Done(String),
}

type Sent = Result<(), SendError<News>>;

/// Tells of the host and its frames until nobody listens.
pub(super) async fn frames(mut client: Client, rate_hz: f64, to: Sender<News>) {
    loop {
        let why = match stream(&mut client, rate_hz, &to).await {
            Ok(Err(_)) => return,
            Ok(Ok(())) => "the agent closed the stream".to_owned(),
            Err(status) => words(&status),
        };
        if to.send(News::Lost(why)).await.is_err() {
            return;
        }
        sleep(TRY_AGAIN).await;
    }
}

async fn stream(client: &mut Client, rate_hz: f64, to: &Sender<News>) -> Result<Sent, Status> {
    let host = client.describe(DescribeRequest {}).await?.into_inner();
    if let Err(gone) = to.send(News::Host(Box::new(host))).await {
        return Ok(Err(gone));
    }
    let prefixes = PREFIXES.into_iter().chain([SCHED_PREFIX]);
    let request = WatchRequest {
        frames: true,
        max_rate_hz: Some(rate_hz),
        metric_prefixes: prefixes.map(str::to_owned).collect(),
        ..WatchRequest::default()
    };
    let mut stream = client.watch(request).await?.into_inner();
    while let Some(response) = stream.message().await? {
        let news = match response.item {
            Some(Item::Schema(schema)) => News::Schema(schema),
            Some(Item::Frame(frame)) => News::Frame(frame),
            Some(Item::Lagged(lagged)) => News::Lagged(lagged.dropped),
            _ => continue,
        };
        if let Err(gone) = to.send(news).await {
            return Ok(Err(gone));
        }
    }
    Ok(Ok(()))
}

/// Tells of runs, those of the latest time first, until nobody listens.
pub(super) async fn runs(mut client: Client, to: Sender<News>) {
    let mut told: Vec<(String, bool)> = Vec::new();
    for turn in 0u64.. {
        // A halt, or a probe that went.
        if turn % HOST_EVERY == 0
            && let Ok(host) = client.describe(DescribeRequest {}).await
            && to.send(News::Host(Box::new(host.into_inner()))).await.is_err()
        {
            return;
        }
        // Where the agent is gone, the frames' stream tells.
        if let Ok(response) = client.list_runs(ListRunsRequest { limit: Some(RUNS) }).await {
            for summary in response.into_inner().runs.into_iter().rev() {
                let is_over = summary.state() == RunState::Finished;
                if told.contains(&(summary.run_id.clone(), is_over)) {
                    continue;
                }
                let Ok(run) = client.get_run(GetRunRequest { run_id: summary.run_id.clone() }).await else {
                    continue;
                };
                let Some(run) = run.into_inner().run else { continue };
                let mut track = RunTrack::from(run);
                if !is_over {
                    // Its watch tells them all.
                    track.events.clear();
                }
                told.retain(|(run_id, _)| *run_id != summary.run_id);
                told.push((summary.run_id.clone(), is_over));
                if to.send(News::Run(Box::new(track))).await.is_err() {
                    return;
                }
                if !is_over {
                    tokio::spawn(events(client.clone(), summary.run_id, to.clone()));
                }
            }
            let surplus = told.len().saturating_sub(2 * RUNS as usize);
            told.drain(..surplus);
        }
        tokio::select! {
            () = sleep(LOOK_FOR_RUNS) => {}
            () = to.closed() => return,
        }
    }
}

/// Tells what happens in one run, to its end.
async fn events(mut client: Client, run_id: String, to: Sender<News>) {
    let request =
        WatchRequest { run_id: Some(run_id.clone()), states: true, events: true, ..WatchRequest::default() };
    let Ok(response) = client.watch(request).await else { return };
    let mut stream = response.into_inner();
    while let Ok(Some(response)) = stream.message().await {
        let news = match response.item {
            Some(Item::Event(event)) => News::Event(run_id.clone(), event),
            Some(Item::State(summary)) => News::State(summary),
            _ => continue,
        };
        if to.send(news).await.is_err() {
            return;
        }
    }
}

/// Fetches what the flight recorder has.
pub(super) async fn history(mut client: Client, to: Sender<News>) {
    let mut history = History::default();
    let fetched = fetch(&mut client, &Source::Flight, |item| {
        // Unpacking takes a while, and others wait on this thread.
        tokio::task::block_in_place(|| history.take(item))
            .map_err(|why| crate::error::Failure::agent(why, "bring sstsctl and sstsd to the same version"))
    });
    let result = fetched.await.map(|_| Box::new(history)).map_err(|failure| first_problem(&failure));
    // Nobody waits for it any more.
    let _gone = to.send(News::History(result)).await;
}

/// Stops a run as `sstsctl stop` does.
pub(super) async fn stop(mut client: Client, run_id: String, to: Sender<News>) {
    let request = StopRequest { run_id, reason: "sstsctl top".into() };
    let done = match client.stop(request).await {
        Ok(response) => {
            let response = response.into_inner();
            let quiet =
                response.quiet_after_ns.map(|ns| format!(", quiet after {}", text::nanoseconds(ns as f64)));
            format!("run {}{}", verdict_line(&response.run.unwrap_or_default()), quiet.unwrap_or_default())
        }
        Err(status) => format!("the run can't be stopped: {}", words(&status)),
    };
    let _gone = to.send(News::Done(text::printable(&done).into_owned())).await;
}

fn words(status: &Status) -> String {
    first_problem(&status::failure(status))
}

fn first_problem(failure: &crate::error::Failure) -> String {
    failure
        .problems
        .first()
        .map(|problem| text::printable(&problem.message).replace('\n', " "))
        .unwrap_or_default()
}
