//! A run of a simulated agent: it is held, begins, burns and ends as a real one does, and nothing burns.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ssts_proto::v1::{Cause, Prepared, RunState, RunSummary, Scenario, Verdict};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// One of them. It goes on by itself.
#[derive(Debug)]
pub(super) struct SimulatedRun {
    pub(super) scenario: Scenario,
    /// Who prepared it tells by this that it was they.
    pub(super) token: Option<String>,
    pub(super) lease: Option<Duration>,
    orders: watch::Sender<Orders>,
    summary: watch::Receiver<RunSummary>,
}

/// How it is to come to life.
#[derive(Debug, Clone)]
pub(super) struct Beginning {
    pub(super) run_id: String,
    pub(super) scenario: Scenario,
    pub(super) lease: Option<Duration>,
    pub(super) begin_at_unix_ns: Option<i64>,
    /// Where it is prepared: who did, and how long it is held.
    pub(super) held: Option<(String, Duration)>,
}

#[derive(Debug, Clone, Copy)]
struct Orders {
    begin_at_unix_ns: Option<i64>,
    renewed: Instant,
    end: Option<(Verdict, Cause)>,
}

impl SimulatedRun {
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning { run_id, scenario, lease, begin_at_unix_ns, held } = beginning;
        let hold = held.as_ref().map(|(_, hold)| *hold);
        let prepared = hold.map(|hold| Prepared { ready: true, hold_ms: hold.as_millis() as u64 });
        let summary = RunSummary {
            run_id,
            scenario: scenario.name.clone(),
            state: RunState::Pending.into(),
            started_at_unix_ns: unix_ns(),
            prepared,
            begin_at_unix_ns,
            ..RunSummary::default()
        };
        let (orders, ordered) =
            watch::channel(Orders { begin_at_unix_ns, renewed: Instant::now(), end: None });
        let (teller, summary) = watch::channel(summary);
        let burning_ms = scenario.phases.iter().map(|phase| phase.duration_ms).sum();
        let life = Life {
            orders: ordered,
            summary: teller,
            hold: hold.unwrap_or(Duration::MAX),
            lease,
            burning: Duration::from_millis(burning_ms),
            started: Instant::now(),
        };
        tokio::spawn(life.live());
        Self { scenario, token: held.map(|(token, _)| token), lease, orders, summary }
    }

    pub(super) fn summary(&self) -> RunSummary {
        self.summary.borrow().clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<RunSummary> {
        self.summary.clone()
    }

    pub(super) fn begin(&self, at_unix_ns: i64) {
        self.orders.send_modify(|orders| orders.begin_at_unix_ns = Some(at_unix_ns));
    }

    pub(super) fn renew(&self) {
        self.orders.send_modify(|orders| orders.renewed = Instant::now());
    }

    pub(super) fn end(&self, verdict: Verdict, cause: Cause) {
        self.orders.send_modify(|orders| orders.end = orders.end.or(Some((verdict, cause))));
    }
}

/// Until a run is over.
pub(super) async fn finished(mut summary: watch::Receiver<RunSummary>) -> RunSummary {
    let is_over = |summary: &RunSummary| summary.state() == RunState::Finished;
    match summary.wait_for(is_over).await {
        Ok(summary) => summary.clone(),
        // Its task has ended, so it is over.
        Err(_) => RunSummary::default(),
    }
}

struct Life {
    orders: watch::Receiver<Orders>,
    summary: watch::Sender<RunSummary>,
    hold: Duration,
    lease: Option<Duration>,
    burning: Duration,
    started: Instant,
}

impl Life {
    async fn live(mut self) {
        let (verdict, cause) = match self.wait().await {
            Some(end) => end,
            None => self.burn().await,
        };
        let duration_ns = self.started.elapsed().as_nanos() as u64;
        self.summary.send_modify(|summary| {
            summary.set_state(RunState::Finished);
            summary.set_verdict(verdict);
            summary.set_cause(cause);
            summary.cause_message = "as a simulated agent was told".into();
            summary.duration_ns = duration_ns;
            (summary.phase_index, summary.prepared) = (None, None);
        });
    }

    /// Until it begins; with how it ended where it does not.
    async fn wait(&mut self) -> Option<(Verdict, Cause)> {
        loop {
            let Orders { begin_at_unix_ns, renewed, end } = *self.orders.borrow_and_update();
            if end.is_some() {
                return end;
            }
            let ahead = begin_at_unix_ns.map(|at| Duration::from_nanos((at - unix_ns()).max(0) as u64));
            if begin_at_unix_ns.is_some() && self.summary.borrow().begin_at_unix_ns != begin_at_unix_ns {
                self.summary.send_modify(|summary| summary.begin_at_unix_ns = begin_at_unix_ns);
            }
            if ahead == Some(Duration::ZERO) {
                return None;
            }
            let let_go = renewed.checked_add(self.hold).filter(|_| ahead.is_none());
            tokio::select! {
                () = sleep(ahead.unwrap_or(Duration::MAX)) => return None,
                () = maybe(let_go) => return Some((Verdict::Aborted, Cause::NotBegun)),
                changed = self.orders.changed() => if changed.is_err() {
                    return Some((Verdict::Aborted, Cause::AgentStopped));
                },
            }
        }
    }

    async fn burn(&mut self) -> (Verdict, Cause) {
        self.summary.send_modify(|summary| {
            summary.set_state(RunState::Running);
            (summary.phase_index, summary.prepared) = (Some(0), None);
            summary.began_at_unix_ns = Some(unix_ns());
        });
        let over = Instant::now() + self.burning;
        // The lease counts from the beginning.
        let began = Instant::now();
        loop {
            let Orders { renewed, end, .. } = *self.orders.borrow_and_update();
            if let Some(end) = end {
                return end;
            }
            let expires = self.lease.map(|ttl| renewed.max(began) + ttl);
            tokio::select! {
                () = sleep_until(over) => return (Verdict::Pass, Cause::Completed),
                () = maybe(expires) => return (Verdict::Aborted, Cause::LeaseExpired),
                changed = self.orders.changed() => if changed.is_err() {
                    return (Verdict::Aborted, Cause::AgentStopped);
                },
            }
        }
    }
}

/// Until then, if there is such an instant.
async fn maybe(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

pub(super) fn unix_ns() -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX)
}
