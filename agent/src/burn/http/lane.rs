//! What one lane does: takes up the next request, sends it, counts what came of it.

use std::time::Duration;

use super::{
    error::Failure,
    lanes::Lanes,
    link::{Answer, Asked, Link},
    load::{Count, HttpLoad},
    service::Service,
    trouble::Trouble,
};
use crate::{
    burn::{control, worker::Reins},
    clock,
};

/// Before a lane whose connection failed or broke tries again, doubled each time up to the second: a service that is
/// down is not to be flooded.
const FIRST_REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_secs(1);
/// Index in the load's latencies.
const REQUEST: usize = 0;

/// What the lanes of a worker have in common.
pub(super) struct Shared {
    pub(super) lanes: Lanes,
    pub(super) load: HttpLoad,
    pub(super) service: Service,
    pub(super) asked: Asked,
    /// Bytes of each request's body.
    pub(super) body_bytes: u64,
    pub(super) reins: Reins,
    pub(super) trouble: Trouble,
}

impl Shared {
    pub(super) fn count(&self, count: Count, gain: u64) {
        control::add(&self.reins.slot().figures[count as usize], gain);
    }

    /// One attempt's answer, whatever becomes of the request.
    fn came(&self, answer: Answer) {
        let slot = self.reins.slot();
        control::add(&slot.bytes, answer.body_bytes + self.body_bytes);
        self.count(Count::ReceivedBytes, answer.body_bytes);
        match answer.status / 100 {
            2 => self.count(Count::Status2xx, 1),
            3 => self.count(Count::Status3xx, 1),
            4 => self.count(Count::Status4xx, 1),
            5 => self.count(Count::Status5xx, 1),
            _ => {}
        }
        self.trouble.answered();
    }

    /// A request came to its end: `due` is when it was.
    fn ended(&self, due: Option<Duration>, outcome: Result<Answer, Failure>) {
        let now = clock::boottime();
        let took = || clock::ns(now.saturating_sub(due.unwrap_or(now)));
        let failure = match outcome {
            Ok(answer) => {
                control::add(&self.reins.slot().operations, 1);
                self.reins.count_latency(REQUEST, took());
                if !self.load.expects(answer.status) {
                    self.count(Count::UnexpectedStatus, 1);
                }
                return;
            }
            Err(failure) => failure,
        };
        self.count(
            match failure {
                Failure::Timeout(_) => Count::Timeouts,
                Failure::Connect(_) => Count::ConnectErrors,
                Failure::Handshake(_) => Count::HandshakeErrors,
                Failure::Broken(_) => Count::BrokenAnswers,
            },
            1,
        );
        if matches!(failure, Failure::Timeout(_)) {
            // Left out, the slowest would flatter the service.
            self.reins.count_latency(REQUEST, took());
        }
        self.trouble.failed(failure);
    }

    fn begun(&self, due: Duration) {
        self.count(Count::Sent, 1);
        let late = clock::ns(clock::boottime().saturating_sub(due));
        let behind = &self.reins.slot().figures[Count::Behind as usize];
        if late > behind.load(std::sync::atomic::Ordering::Relaxed) {
            behind.store(late, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// Sends requests for as long as there are any.
pub(super) async fn follow(shared: &Shared, index: usize, mut link: Link) {
    let Shared { lanes, load, .. } = shared;
    let mut rest = Duration::ZERO;
    loop {
        let due = link.idle(lanes.next(index)).await;
        shared.begun(due);
        let mut attempts = 0;
        let outcome = loop {
            let outcome = attempt(shared, index, &mut link).await;
            if load.new_connection {
                link.close().await;
            }
            rest = longer(rest, &outcome);
            let is_good = outcome.as_ref().is_ok_and(|answer| load.expects(answer.status));
            if is_good || attempts == load.retries {
                break outcome;
            }
            attempts += 1;
            shared.count(Count::Retries, 1);
            if !rest.is_zero() {
                lanes.rest(index, rest, true).await;
            }
        };
        shared.ended(lanes.due(index), outcome);
        if !rest.is_zero() {
            lanes.rest(index, rest, false).await;
        }
    }
}

async fn attempt(shared: &Shared, index: usize, link: &mut Link) -> Result<Answer, Failure> {
    let Shared { lanes, load, service, asked, reins, .. } = shared;
    let outcome = lanes.attempt(index, link.attempt(asked, service, reins)).await;
    match outcome {
        Ok(Ok(answer)) => {
            shared.came(answer);
            Ok(answer)
        }
        Ok(Err(failure)) => Err(failure),
        Err(_overdue) => {
            link.abandon();
            Err(Failure::Timeout(load.timeout))
        }
    }
}

/// How long to wait before the next attempt.
fn longer(rest: Duration, outcome: &Result<Answer, Failure>) -> Duration {
    match outcome {
        Err(Failure::Connect(_) | Failure::Handshake(_) | Failure::Broken(_)) => {
            (rest * 2).clamp(FIRST_REST, LONGEST_REST)
        }
        Ok(_) | Err(Failure::Timeout(_)) => Duration::ZERO,
    }
}
