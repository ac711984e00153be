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
    /// It was stopped: more of the others failed than is borne.
    Stopped,
    /// It was lost, and did not come back in time.
    Lost,
    /// It goes on, and nobody waits for its end.
    GoesOn,
    /// Its wave never was started: one before it was not good.
    NotTried,
}

/// What a command ends with that was about all of them: the worst of the hosts, and never a success that one of them does not
/// share. Wrong data first, for it may be in what others rely on; then a host that failed or is unknown, before one whose run was
/// ended on purpose, before one that was never asked in earnest, before one that missed its bound. One that was stopped because others
/// failed says nothing that these don't.
pub(crate) fn worst(outcomes: &[HostOutcome]) -> Exit {
    const BY_WEIGHT: [Exit; 7] = [
        Exit::WrongData,
        Exit::Internal,
        Exit::AgentFailed,
        Exit::Aborted,
        Exit::Interrupted,
        Exit::Usage,
        Exit::ThresholdFailed,
    ];
    let says_something =
        |outcome: &&HostOutcome| outcome.fate != Fate::Stopped || outcome.exit() == Exit::WrongData;
    let exits: Vec<_> = outcomes.iter().filter(says_something).map(HostOutcome::exit).collect();
    BY_WEIGHT.into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Pass)
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
            (Fate::Ran | Fate::Stopped, Some(run), None) => report::exit(run),
            // Wrong data is told whatever else came of the host.
            (_, Some(run), _) if report::exit(run) == Exit::WrongData => Exit::WrongData,
            // Nothing was wrong with it.
            (Fate::CalledOff | Fate::GoesOn | Fate::NotTried, _, None) => Exit::Pass,
            (_, _, Some(failure)) => failure.exit,
            (_, _, None) => Exit::AgentFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{Cause, RunSummary, Verdict};

    use super::*;
    use crate::{cli::Host, fleet::Fleet};

    fn outcome(verdict: Verdict, cause: Cause) -> HostOutcome {
        let member = Fleet::of_hosts(&[Host::Tls("a".into(), 1)]).members.remove(0);
        let mut summary =
            RunSummary { verdict: verdict.into(), cause: cause.into(), ..RunSummary::default() };
        summary.set_state(RunState::Finished);
        HostOutcome { run: Some(Run { summary: Some(summary), ..Run::default() }), ..HostOutcome::of(member) }
    }

    #[test]
    fn the_worst_host_decides_and_wrong_data_outweighs_a_lost_host() {
        let pass = outcome(Verdict::Pass, Cause::Completed);
        let missed = outcome(Verdict::Fail, Cause::LoadMissed);
        let stopped = outcome(Verdict::Aborted, Cause::GuardTripped);
        let wrong = outcome(Verdict::Fail, Cause::WrongData);
        let lost = HostOutcome::failed(pass.member.clone(), Fate::Lost, Failure::agent("gone", ""));
        let of =
            |outcomes: &[&HostOutcome]| worst(&outcomes.iter().copied().cloned().collect::<Vec<_>>()).code();
        assert_eq!(of(&[&pass, &pass]), 0);
        assert_eq!(of(&[&pass, &missed]), 3);
        assert_eq!(of(&[&stopped, &missed]), 4);
        assert_eq!(of(&[&stopped, &lost, &missed]), 5);
        assert_eq!(of(&[&lost, &wrong, &pass]), 6);
        let off = HostOutcome { fate: Fate::CalledOff, ..HostOutcome::of(pass.member.clone()) };
        let halted = HostOutcome { fate: Fate::Stopped, ..stopped.clone() };
        assert_eq!((halted.exit().code(), of(&[&halted, &missed])), (4, 3));
        assert_eq!(of(&[&HostOutcome { fate: Fate::Stopped, ..wrong.clone() }]), 6);
        let refused = HostOutcome::failed(pass.member.clone(), Fate::NotReady, Failure::usage("no", ""));
        assert_eq!(of(&[&off, &refused]), 2);
        // What was told before the connection broke is not forgotten.
        let wrong_then_lost = HostOutcome { fate: Fate::Lost, failure: lost.failure.clone(), ..wrong };
        assert_eq!(of(&[&wrong_then_lost]), 6);
    }
}
