//! Follows a run on one host to its end: through its watch, and where the connection breaks, by its id once the host is there
//! again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ssts_proto::v1::{
    Run, RunState, RunSummary, StopRequest, WatchRequest, WatchResponse, watch_response::Item,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tonic::{Code, Status, Streaming};

use super::{
    FrameWish, Order,
    leases::{Kept, TTL},
    link::Link,
    prepare::is_broken,
    toll::Toll,
    update::{News, Updates},
};
use crate::{
    commands::fetch_run,
    error::Failure,
    fleet::{Fate, HostOutcome},
    status,
};

/// Between two attempts to reach a lost host: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For the beginning of a watch.
const OPEN_TIME: Duration = Duration::from_secs(5);
/// For the whole of a run's result.
const FETCH_TIME: Duration = Duration::from_secs(60);
const FETCH_TRIES: u32 = 3;
/// Beyond its lease a host's run is over by itself, give or take this.
const BEYOND: Duration = Duration::from_secs(1);

/// What all hosts of a run have in common while it goes on.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) run_id: Arc<str>,
    pub(super) updates: Updates,
    pub(super) frames: Option<FrameWish>,
    /// What is wanted of all, by the user or by the loss of a host, and why.
    pub(super) wanted: watch::Sender<(Order, String)>,
    /// The others are stopped where one is lost.
    pub(super) stops_on_loss: bool,
    /// Hosts whose run goes on, as far as is known.
    pub(super) on: watch::Sender<usize>,
    /// Results that are fetched at once.
    pub(super) fetching: Semaphore,
    /// How many hosts failed.
    pub(super) toll: Toll,
}

/// A host whose run is followed.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) link: Arc<Link>,
    pub(super) common: Arc<Common>,
    /// Kept as long as the run goes on; none where somebody else keeps it, or nobody has to.
    pub(super) lease: Option<Kept>,
    /// Its lease is taken over, once it has begun: what was prepared only its owner can begin.
    pub(super) adopts: bool,
}

/// Where the watch of a run leads.
enum Next {
    Over,
    Broken(Failure),
    Left,
}

/// What became of a host that was lost.
enum Search {
    Back(Box<Streaming<WatchResponse>>),
    /// Its run is over.
    Over,
    GivenUp(Failure),
    Left,
}

impl Common {
    /// What is wanted of all from now on, unless more is wanted already.
    pub(super) fn want(&self, order: Order, why: &str) {
        self.wanted.send_if_modified(|wanted| {
            let more = order > wanted.0;
            if more {
                *wanted = (order, why.to_owned());
            }
            more
        });
    }

    fn has_left(&self) -> bool {
        self.wanted.borrow().0 >= Order::Leave
    }
}

impl Follower {
    /// To the end of the run, or until the host is given up.
    pub(super) async fn follow(mut self) -> HostOutcome {
        let mut known = RunSummary::default();
        let mut stream = None;
        let outcome = loop {
            let next = match stream.take() {
                Some(stream) => self.watch(stream, &mut known).await,
                None => match self.open().await {
                    Ok(opened) => self.watch(opened, &mut known).await,
                    // It never had a part in the run.
                    Err(status) if status.code() == Code::NotFound && known.run_id.is_empty() => {
                        let member = self.link.member.clone();
                        break HostOutcome::failed(member, Fate::Lost, status::failure(&status));
                    }
                    Err(status) => closed(&status),
                },
            };
            let search = match next {
                Next::Over => Search::Over,
                Next::Left => Search::Left,
                Next::Broken(failure) => self.search(failure).await,
            };
            match search {
                Search::Back(opened) => stream = Some(*opened),
                Search::Over => break self.fetched().await,
                Search::Left => break self.left(known),
                Search::GivenUp(failure) => break self.lost(known, &failure),
            }
        };
        self.common.note_outcome(&outcome);
        drop(self.lease.take());
        self.common.on.send_modify(|on| *on = on.saturating_sub(1));
        self.common.updates.tell(self.link.index, News::Over);
        outcome
    }

    async fn open(&self) -> Result<Streaming<WatchResponse>, Status> {
        let frames = self.common.frames.clone();
        let request = WatchRequest {
            run_id: Some(self.common.run_id.to_string()),
            states: true,
            events: true,
            frames: frames.is_some(),
            max_rate_hz: frames.as_ref().map(|wish| wish.rate_hz),
            metric_prefixes: frames.map(|wish| wish.prefixes).unwrap_or_default(),
        };
        let unreached = |failure: Failure| Status::unavailable(first_line(&failure));
        let mut client = self.link.client().await.map_err(unreached)?;
        let late = |_| Status::deadline_exceeded("it does not answer");
        let opened = timeout(OPEN_TIME, client.watch(request)).await.map_err(late)?;
        self.link.note_heard();
        opened.map(tonic::Response::into_inner)
    }

    /// As long as the stream holds.
    async fn watch(&mut self, mut stream: Streaming<WatchResponse>, known: &mut RunSummary) -> Next {
        let mut wanted = self.common.wanted.subscribe();
        // What was ordered while there was no stream is carried out now.
        wanted.mark_changed();
        // Ends with this stream: on the next one it is asked again.
        let mut stops = JoinSet::new();
        let mut is_stopped = false;
        loop {
            tokio::select! {
                item = stream.message() => match item {
                    Ok(Some(WatchResponse { item: Some(item) })) => {
                        self.link.note_heard();
                        if self.show(item, known) {
                            return Next::Over;
                        }
                    }
                    Ok(Some(WatchResponse { item: None })) => {}
                    Ok(None) => return Next::Broken(Failure::agent("it closed the stream", "")),
                    Err(status) => return closed(&status),
                },
                Ok(()) = wanted.changed() => {
                    let (order, why) = wanted.borrow_and_update().clone();
                    match order {
                        Order::Leave => return Next::Left,
                        // Halts go to all hosts at once, whatever else they do.
                        Order::Stop | Order::Halt if !std::mem::replace(&mut is_stopped, true) => {
                            stops.spawn(stop(self.link.clone(), self.common.run_id.clone(), why));
                        }
                        Order::Stop | Order::Halt | Order::GoOn => {}
                    }
                }
                // What it could not do the watch tells.
                Some(Ok(true)) = stops.join_next(), if !stops.is_empty() => return Next::Over,
            }
        }
    }

    /// Shows what came. Whether the run is over.
    fn show(&mut self, item: Item, known: &mut RunSummary) -> bool {
        let mut is_over = false;
        if let Item::State(summary) = &item {
            is_over = summary.state() == RunState::Finished;
            if self.adopts && self.lease.is_none() && summary.prepared.is_none() && !is_over {
                self.lease = Some(Kept::of(self.link.clone(), self.common.run_id.clone()));
            }
            known.clone_from(summary);
        }
        self.common.updates.tell(self.link.index, item.into());
        is_over
    }

    /// Until the host is there again, or has been silent for so long that its run is over by itself and nobody else's goes on.
    async fn search(&self, failure: Failure) -> Search {
        let common = &self.common;
        self.link.hang_up();
        common.updates.tell(self.link.index, News::Lost(failure.clone()));
        let mut wanted = common.wanted.subscribe();
        let mut on = common.on.subscribe();
        let silent_at = Instant::now().checked_sub(self.link.silent_for()).unwrap_or_else(Instant::now);
        let deadline = silent_at + TTL + BEYOND;
        let mut is_counted = true;
        let mut pause = FIRST_PAUSE;
        let found = loop {
            if common.has_left() {
                break Search::Left;
            }
            match self.open().await {
                Ok(stream) => {
                    common.updates.tell(self.link.index, News::Back);
                    break Search::Back(Box::new(stream));
                }
                Err(status) if status.code() == Code::FailedPrecondition => {
                    common.updates.tell(self.link.index, News::Back);
                    break Search::Over;
                }
                Err(status) if is_broken(&status) || status.code() == Code::ResourceExhausted => {
                    self.link.hang_up();
                }
                Err(status) => break Search::GivenUp(status::failure(&status)),
            }
            if Instant::now() >= deadline {
                if std::mem::take(&mut is_counted) {
                    common.on.send_modify(|on| *on = on.saturating_sub(1));
                    common.note_failed(&self.link.member.name);
                    if common.stops_on_loss {
                        common.want(Order::Stop, &format!("{} was lost", self.link.member.name));
                    }
                }
                if *on.borrow_and_update() == 0 {
                    break Search::GivenUp(failure);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = wanted.changed() => {}
                Ok(()) = on.changed() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        // It was counted out, and whoever is over counts itself out once more.
        if !is_counted {
            common.on.send_modify(|on| *on += 1);
        }
        found
    }

    /// The whole of it, now that it is over.
    async fn fetched(&self) -> HostOutcome {
        let member = self.link.member.clone();
        let mut failed = None;
        for _ in 0..FETCH_TRIES {
            // Nobody closes it.
            let _turn = self.common.fetching.acquire().await;
            let fetched = match self.link.client().await {
                Ok(mut client) => timeout(FETCH_TIME, fetch_run(&mut client, &self.common.run_id)).await,
                Err(failure) => Ok(Err(failure)),
            };
            let late =
                || Failure::agent("it does not hand out its result", "see the agent's log on that host");
            match fetched.unwrap_or_else(|_| Err(late())) {
                Ok(run) => return HostOutcome { run: Some(run), ..HostOutcome::of(member) },
                Err(failure) => failed = Some(failure),
            }
            self.link.hang_up();
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        let failure = failed.unwrap_or_else(|| Failure::agent("its result could not be fetched", ""));
        HostOutcome::failed(member, Fate::Lost, failure)
    }

    fn left(&self, known: RunSummary) -> HostOutcome {
        let mut failure = Failure::interrupted();
        failure.problems.push(crate::error::Problem::new(
            "no proof that its run is over was waited for",
            "see `sstsctl status` on that host",
        ));
        HostOutcome {
            run: as_run(known),
            failure: Some(failure),
            ..HostOutcome::of(self.link.member.clone())
        }
    }

    fn lost(&self, known: RunSummary, failure: &Failure) -> HostOutcome {
        let why = first_line(failure);
        let ttl_s = TTL.as_secs();
        let failure = Failure::agent(
            format!("lost during run {}: {why}", self.common.run_id),
            format!(
                "its run ended by itself within its lease of {ttl_s} s; `sstsctl watch {}` fetches its end when it is back",
                self.common.run_id
            ),
        );
        let member = self.link.member.clone();
        HostOutcome { run: as_run(known), ..HostOutcome::failed(member, Fate::Lost, failure) }
    }
}

/// What a broken stream, or none at all, means.
fn closed(status: &Status) -> Next {
    match status.code() {
        // The run is over, and not at hand any more.
        Code::FailedPrecondition => Next::Over,
        _ => Next::Broken(status::failure(status)),
    }
}

fn as_run(summary: RunSummary) -> Option<Run> {
    (!summary.run_id.is_empty()).then(|| Run { summary: Some(summary), ..Run::default() })
}

/// Without its heading.
pub(super) fn first_line(failure: &Failure) -> String {
    failure.problems.first().map(|problem| problem.message.clone()).unwrap_or_default()
}

/// Ends when the agent has proved that the run is over: whether it has.
async fn stop(link: Arc<Link>, run_id: Arc<str>, reason: String) -> bool {
    loop {
        let request = StopRequest { run_id: run_id.to_string(), reason: reason.clone() };
        let stopped = match link.client().await {
            Ok(mut client) => client.stop(request).await,
            Err(failure) => Err(Status::unavailable(first_line(&failure))),
        };
        match stopped {
            Ok(_) => return true,
            Err(status) if is_broken(&status) => tokio::time::sleep(FIRST_PAUSE).await,
            Err(_) => return false,
        }
    }
}
