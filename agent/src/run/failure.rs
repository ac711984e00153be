//! What it means for a run that a burner says that it can't go on, or has ended unasked.

use ssts_proto::v1::Cause;

use super::{child::BurnerProcess, ending::Ending, result};
use crate::{
    burn::{memory::wrong_words, plan::Load},
    host::cpuset,
};

/// What a burner said about why it can't go on.
pub(super) fn failure(burner: &BurnerProcess) -> Option<Ending> {
    let kind = burner.plan.load.kind();
    if !burner.wrong_words.is_empty() {
        let message = format!("burner {kind}: {}", wrong_words(&burner.wrong_words));
        return Some(Ending::new(Cause::WrongData, message));
    }
    let wrong = result::wrong_cores(burner);
    if !wrong.is_empty() && burner.is_diagnosing() {
        // The verdict is certain; what tells a bad core from a bad program is still coming, within half a second.
        return None;
    }
    match &burner.failure {
        Some(reason) => {
            let cause = if !wrong.is_empty() {
                Cause::WrongData
            } else if burner.peer_lost {
                Cause::PeerLost
            } else if result::is_full(&result::io_error(&burner.block)) {
                Cause::DiskFull
            } else {
                Cause::BurnerFailed
            };
            return Some(Ending::new(cause, format!("burner {kind}: {reason}")));
        }
        // A disk burner counts what is wrong a moment before it says what, and ends.
        None if !wrong.is_empty() && matches!(burner.plan.load, Load::Disk(_)) && !burner.is_gone() => {
            return None;
        }
        None if !wrong.is_empty() => {
            let message = format!("burner {kind}: core {} computed a wrong result", cpuset::list(&wrong));
            return Some(Ending::new(Cause::WrongData, message));
        }
        None => {}
    }
    if burner.missed_the_daemon() {
        let message = format!("burner {kind} ended at its deadline: sstsd was stopped or starved");
        return Some(Ending::new(Cause::AgentLost, message));
    }
    // Also in the last instant of its phase: what a crash leaves is no proof.
    burner.has_failed().then(|| died(burner))
}

/// A burner that ended and was not told to.
pub(super) fn died(burner: &BurnerProcess) -> Ending {
    let message = format!("burner {} died unasked: {}", burner.plan.load.kind(), burner.ending());
    Ending::new(Cause::BurnerDied, message)
}
