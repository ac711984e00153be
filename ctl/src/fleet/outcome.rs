//! What came of each host of a fleet run. There is no merged result: each host has its own.

use ssts_proto::v1::{Run, RunState};

use super::Member;
use crate::{
    error::{Exit, Failure},
    report,
};

/// What came of one host.
#[derive(Debug, Clone)]
pub(crate) struct HostOutcome {
    pub(crate) member: Member,
    /// Its run, as far as it is known. Absent where it had none, or where it could not be asked.
    pub(crate) run: Option<Run>,
    /// Why it has no run, or no end of it.
    pub(crate) failure: Option<Failure>,
    /// How far its first burning instant was from the one named, by the clock of whoever commanded it: later is positive.
    pub(crate) skew_ns: Option<i64>,
    /// By how much its clock may be off from what was measured, either way.
    pub(crate) clock_error_ns: Option<u64>,
    pub(crate) fate: Fate,
}

/// What became of a host's part in a fleet run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    /// It ran, and its end is known.
    #[default]
    Ran,
    /// It could not be made ready, or not told to begin.
    NotReady,
    /// It was ready, and released: another was not.
    CalledOff,
    /// It was lost, and did not come back in time.
    Lost,
    /// It goes on, and nobody waits for its end.
    GoesOn,
}

impl HostOutcome {
    /// Of a host of which nothing is known yet.
    pub(crate) fn of(member: Member) -> Self {
        let fate = Fate::default();
        Self { member, run: None, failure: None, skew_ns: None, clock_error_ns: None, fate }
    }

    /// Of a host that did not run, and why.
    pub(crate) fn failed(member: Member, fate: Fate, failure: Failure) -> Self {
        Self { failure: Some(failure), fate, ..Self::of(member) }
    }

    /// Its run, where it is over.
    pub(crate) fn ended(&self) -> Option<&Run> {
        let is_over = |run: &&Run| run.summary.as_ref().is_some_and(|it| it.state() == RunState::Finished);
        self.run.as_ref().filter(is_over)
    }

    /// What a command would end with that was about this host alone.
    pub(crate) fn exit(&self) -> Exit {
        match (self.fate, self.ended(), &self.failure) {
            (Fate::Ran, Some(run), None) => report::exit(run),
            // Wrong data is told whatever else came of the host.
            (_, Some(run), _) if report::exit(run) == Exit::WrongData => Exit::WrongData,
            // Nothing was wrong with it.
            (Fate::CalledOff | Fate::GoesOn, _, None) => Exit::Pass,
            (_, _, Some(failure)) => failure.exit,
            (_, _, None) => Exit::AgentFailed,
        }
    }
}
