//! A drill: faults are put to a private agent, which is the host's own program with the host's own configuration, one after
//! the other. Each must be noticed, end the load, leave nothing and be on record. What is seen is seen from outside: by the
//! kernel's books of processes and cgroups, and by the clock. Nothing is put to the host itself.

mod faults;
mod fixture;
mod host;
mod namespace;
mod process;
mod stage;
mod state_disk;

use std::time::Duration;

use clap::ValueEnum;
use ssts_proto::v1::{Cause, DrillOutcome, DrilledFault};

use crate::{connect::Agent, error::Failure, text};

/// From a reading, a command or a death to the burners' last instruction: what is promised under full load.
const REACTION: Duration = Duration::from_millis(50);
/// What the look from outside may add on a host that is busy with other things.
const SLACK: Duration = Duration::from_millis(250);

/// What can go wrong, and must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// A sensor reads more than the limit.
    Temperature,
    /// A sensor can't be read any more.
    StaleSensor,
    /// Memory counts an error that it could not correct.
    EccError,
    /// A core computes a wrong result.
    WrongResult,
    /// A burner runs out of memory.
    OutOfMemory,
    /// The client no longer renews its lease.
    LostLease,
    /// Somebody halts the agent.
    Halt,
    /// The daemon is killed with SIGKILL.
    KilledDaemon,
    /// The daemon hangs.
    HungDaemon,
    /// The disk with the daemon's state is full.
    FullStateDisk,
    /// As lost-lease, with the host's own daemon: a load of 5 % on one core for some seconds.
    HostLease,
    /// The host's own daemon is halted, and the halt is lifted; only on request.
    HostHalt,
}

impl Fault {
    /// What a drill without choices puts to a host.
    pub(crate) const ALL: [Self; 11] = [
        Self::Temperature,
        Self::StaleSensor,
        Self::EccError,
        Self::WrongResult,
        Self::OutOfMemory,
        Self::LostLease,
        Self::Halt,
        Self::KilledDaemon,
        Self::HungDaemon,
        Self::FullStateDisk,
        Self::HostLease,
    ];

    /// As the command line has it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn is_of_the_host(self) -> bool {
        matches!(self, Self::HostLease | Self::HostHalt)
    }
}

/// What came of one fault.
#[derive(Debug)]
enum Drilled {
    Seen(Box<Seen>),
    /// It could not be put to the test here.
    Skipped(String),
}

/// What was seen of one fault.
#[derive(Debug, Default)]
struct Seen {
    /// How the fault was made.
    how: String,
    /// From the fault to the agent's own note of it.
    noticed: Option<Duration>,
    /// From the fault to the end of the last burner.
    quiet: Option<Duration>,
    /// What was left.
    receipt: String,
    /// What the record says.
    record: String,
    /// What was not as it must be.
    complaints: Vec<String>,
}

impl Seen {
    fn new(how: impl Into<String>) -> Self {
        Self { how: how.into(), ..Self::default() }
    }

    fn complain(&mut self, what: impl Into<String>) {
        self.complaints.push(what.into());
    }

    /// The load must have ended, and in time.
    fn must_be_quiet_within(&mut self, promised: Duration) {
        match self.quiet {
            None => self.complain("the load goes on"),
            Some(quiet) if quiet > promised + SLACK => {
                self.complain(format!("quiet after {}, promised is {}", shown(quiet), shown(promised)));
            }
            Some(_) => {}
        }
    }

    fn must_be_noticed_within(&mut self, promised: Duration) {
        match self.noticed {
            None => self.complain("it was not noticed"),
            Some(noticed) if noticed > promised + SLACK => {
                self.complain(format!("noticed after {}, promised is {}", shown(noticed), shown(promised)));
            }
            Some(_) => {}
        }
    }

    fn must_have_cause(&mut self, found: Cause, wanted: &[Cause]) {
        if !wanted.contains(&found) {
            self.complain(format!("the record says {}", cause_name(found)));
        }
    }
}

fn cause_name(cause: Cause) -> String {
    crate::json::plain(cause.as_str_name(), "CAUSE_")
}

fn shown(time: Duration) -> String {
    text::nanoseconds(time.as_nanos() as f64)
}

/// Puts one fault to the test. `host` is the host's own agent, where one listens.
pub(crate) async fn put(fault: Fault, host: Option<&mut Agent>, show_log: bool) -> DrilledFault {
    let drilled = match (fault.is_of_the_host(), host) {
        (true, None) => Ok(Drilled::Skipped("no daemon of the host listens".into())),
        (true, Some(agent)) => host::put(fault, agent).await,
        (false, _) => faults::put(fault, show_log).await,
    };
    told(fault, drilled)
}

fn told(fault: Fault, drilled: Result<Drilled, Failure>) -> DrilledFault {
    let name = fault.name();
    match drilled {
        Ok(Drilled::Seen(seen)) => {
            let Seen { how, noticed, quiet, receipt, record, complaints } = *seen;
            let passed = complaints.is_empty();
            DrilledFault {
                name,
                outcome: if passed { DrillOutcome::Pass } else { DrillOutcome::Fail }.into(),
                how,
                noticed_after_ns: noticed.map(whole_ns),
                quiet_after_ns: quiet.map(whole_ns),
                receipt,
                record,
                reason: complaints.join("; "),
            }
        }
        Ok(Drilled::Skipped(reason)) => {
            DrilledFault { name, outcome: DrillOutcome::Skipped.into(), reason, ..DrilledFault::default() }
        }
        Err(failure) => {
            let words: Vec<_> =
                failure.problems.iter().map(|problem| problem.message.replace('\n', " ")).collect();
            let reason = format!("it could not be drilled: {}", words.join("; "));
            DrilledFault { name, outcome: DrillOutcome::Fail.into(), reason, ..DrilledFault::default() }
        }
    }
}

fn whole_ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What the faults come to: nothing that was not proven is a pass.
pub(crate) fn outcome(faults: &[DrilledFault]) -> DrillOutcome {
    let any = |outcome| faults.iter().any(|fault| fault.outcome() == outcome);
    if any(DrillOutcome::Fail) || any(DrillOutcome::Unspecified) {
        DrillOutcome::Fail
    } else if any(DrillOutcome::Skipped) || faults.is_empty() {
        DrillOutcome::Skipped
    } else {
        DrillOutcome::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(outcome: DrillOutcome) -> DrilledFault {
        DrilledFault { outcome: outcome.into(), ..DrilledFault::default() }
    }

    #[test]
    fn nothing_unproven_is_a_pass() {
        use DrillOutcome::{Fail, Pass, Skipped};
        for (faults, whole) in [
            (&[Pass, Pass][..], Pass),
            (&[Pass, Skipped], Skipped),
            (&[Skipped, Fail, Pass], Fail),
            (&[], Skipped),
        ] {
            let faults: Vec<_> = faults.iter().copied().map(fault).collect();
            assert_eq!(outcome(&faults), whole, "{faults:?}");
        }
    }

    #[test]
    fn each_complaint_fails_the_fault_and_is_told() {
        let mut seen = Seen::new("by hand");
        seen.quiet = Some(Duration::from_secs(2));
        seen.must_be_quiet_within(REACTION);
        seen.must_be_noticed_within(REACTION);
        seen.must_have_cause(Cause::Completed, &[Cause::GuardTripped]);
        let told = told(Fault::StaleSensor, Ok(Drilled::Seen(Box::new(seen))));
        assert_eq!((told.name.as_str(), told.outcome()), ("stale-sensor", DrillOutcome::Fail));
        for part in ["quiet after 2.00 s, promised is 50.0 ms", "not noticed", "the record says completed"] {
            assert!(told.reason.contains(part), "{}", told.reason);
        }
    }
}
