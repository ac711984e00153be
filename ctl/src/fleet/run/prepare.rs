//! The first half of a start: every host is made ready and held. Nothing burns.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ssts_proto::v1::{PrepareRequest, ReleaseRequest, RunState, RunSummary};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{
    Commission,
    leases::{Kept, TTL},
    link::Link,
    update::News,
};
use crate::{error::Failure, report::verdict_line, status};

/// For the answer of a host that is not ready yet; then it is asked again. Less than its hold: each answer is a sign of life.
const WAIT_MS: u64 = 4_000;
/// Calls that broke are repeated so often, with a pause.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
/// Beyond that a host lets go by itself.
const RELEASE_TIME: Duration = Duration::from_secs(8);

/// A host that is ready, and held for as long as this lives.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) link: Arc<Link>,
    pub(super) lease: Kept,
}

/// Makes a host ready.
///
/// # Errors
/// Why it is not; then it may still hold something, and has to be released.
pub(super) async fn prepare(link: Arc<Link>, commission: Arc<Commission>) -> Result<Prepared, Failure> {
    let deadline = Instant::now() + commission.ready_within;
    let mut client = link.dial().await?;
    commission.updates.tell(link.index, News::Connected);
    let mut lease: Option<Kept> = None;
    let mut broken = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match client.prepare(request(&commission, left)).await {
            Ok(response) => {
                let run = response.into_inner().run.unwrap_or_default();
                link.note_heard();
                let kept = lease.take().unwrap_or_else(|| Kept::of(link.clone(), commission.run_id.clone()));
                match standing(&run) {
                    Standing::Ready => {
                        commission.updates.tell(link.index, News::Ready);
                        return Ok(Prepared { link, lease: kept });
                    }
                    Standing::Over => return Err(ended_early(&run)),
                    Standing::Waiting if left.is_zero() => return Err(late(&commission)),
                    Standing::Waiting => lease = Some(kept),
                }
            }
            Err(status) if is_broken(&status) && broken < TRIES && !left.is_zero() => {
                broken += 1;
                tokio::time::sleep(PAUSE).await;
                client = link.dial().await?;
            }
            Err(status) => return Err(commission.refused(&status)),
        }
    }
}

/// Lets go of what a host holds. One that can't be reached does so by itself within its hold.
pub(super) async fn release(link: &Link, commission: &Commission, reason: &str) {
    if !link.was_reached() {
        return;
    }
    let releasing = async {
        for _ in 0..TRIES {
            let Ok(mut client) = link.client().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let request = ReleaseRequest {
                run_id: commission.run_id.to_string(),
                reason: reason.to_owned(),
                token: commission.token.clone(),
            };
            match client.release(request).await {
                Err(status) if is_broken(&status) => link.hang_up(),
                // It never had it, or lets go of it.
                Ok(_) | Err(_) => return,
            }
        }
    };
    let _by_itself_else = timeout(RELEASE_TIME, releasing).await;
}

/// Whether the call may have failed only on the way.
pub(super) fn is_broken(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded)
}

enum Standing {
    Ready,
    Waiting,
    Over,
}

fn standing(run: &RunSummary) -> Standing {
    match (run.prepared, run.state()) {
        (Some(prepared), _) if prepared.ready => Standing::Ready,
        (_, RunState::Stopping | RunState::Finished) => Standing::Over,
        _ => Standing::Waiting,
    }
}

fn request(commission: &Commission, left: Duration) -> PrepareRequest {
    let ttl_ms = u64::try_from(TTL.as_millis()).unwrap_or(u64::MAX);
    let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    PrepareRequest {
        run_id: commission.run_id.to_string(),
        scenario: Some(commission.plan.scenario.clone()),
        lease_ttl_ms: (!commission.detach).then_some(ttl_ms),
        hold_ms: Some(ttl_ms),
        token: commission.token.clone(),
        wait_ms: Some(WAIT_MS.min(left_ms)),
    }
}

fn ended_early(run: &RunSummary) -> Failure {
    Failure::agent(
        format!("it could not be made ready: {}", verdict_line(run)),
        format!("`sstsctl report {}` on that host says more", run.run_id),
    )
}

fn late(commission: &Commission) -> Failure {
    Failure::agent(
        format!("it was not ready within {:?}", commission.ready_within),
        "give hosts more time with --ready-within, or see what the host makes ready so slowly",
    )
}

impl Commission {
    /// Why an agent did not do what was asked, in the user's words.
    pub(super) fn refused(&self, refusal: &Status) -> Failure {
        let violations = status::violations(refusal);
        if violations.is_empty() { status::failure(refusal) } else { self.plan.refusal(&violations) }
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1;

    use super::*;

    #[test]
    fn a_host_is_ready_only_when_its_burners_are() {
        let run = |prepared: Option<bool>, state: RunState| {
            let prepared = prepared.map(|ready| v1::Prepared { ready, hold_ms: 1 });
            RunSummary { prepared, state: state.into(), ..RunSummary::default() }
        };
        assert!(matches!(standing(&run(Some(true), RunState::Pending)), Standing::Ready));
        assert!(matches!(standing(&run(Some(false), RunState::Pending)), Standing::Waiting));
        assert!(matches!(standing(&run(None, RunState::Stopping)), Standing::Over));
        assert!(matches!(standing(&run(None, RunState::Finished)), Standing::Over));
    }
}
