//! Why runs end, and what that makes of them.

use ssts_proto::v1::{Cause, Verdict};

/// Why a run ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// For programs.
    pub cause: Cause,
    /// For people.
    pub message: String,
}

impl Ending {
    /// With a cause and its words.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }

    /// What it makes of the run.
    pub(super) fn verdict(&self) -> Verdict {
        match self.cause {
            Cause::Completed => Verdict::Pass,
            Cause::WrongData
            | Cause::IoErrors
            | Cause::LoadMissed
            | Cause::RequestsFailed
            | Cause::ThresholdFailed
            | Cause::ThresholdInconclusive
            | Cause::RequirementFailed
            | Cause::PhaseSkipped => Verdict::Fail,
            Cause::StoppedByUser
            | Cause::Halted
            | Cause::GuardTripped
            | Cause::LeaseExpired
            | Cause::Released
            | Cause::NotBegun
            | Cause::WoundDown
            | Cause::AgentStopped => Verdict::Aborted,
            Cause::Unspecified
            | Cause::BurnerDied
            | Cause::BurnerFailed
            | Cause::PeerLost
            | Cause::AgentLost
            | Cause::DiskFull
            | Cause::LeftBehind
            | Cause::NothingDone
            | Cause::MemoryShort
            | Cause::OutOfMemory => Verdict::Error,
        }
    }
}
