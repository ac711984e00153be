//! A host that is suspended while a run is on: nothing burns and nothing is watched meanwhile, so that what was asked for is not
//! what was done.

use std::time::Duration;

use ssts_proto::v1::{Cause, EventKind};

use super::{active::ActiveRun, ending::Ending, engine::Engine};
use crate::clock;

/// Far more than the two clocks differ by for being read one after the other, and less than any suspend lasts.
const NOTED_FROM: Duration = Duration::from_millis(20);

/// Sees the host come back from a suspend.
#[derive(Debug, Default)]
pub struct SuspendWatch {
    /// As of the latest look.
    known: Option<Duration>,
}

impl SuspendWatch {
    /// For how long the host was suspended since the latest look, if it was.
    pub fn look(&mut self) -> Option<Duration> {
        self.since(clock::suspended()?)
    }

    fn since(&mut self, now: Duration) -> Option<Duration> {
        let known = self.known.replace(now)?;
        now.checked_sub(known).filter(|slept| *slept >= NOTED_FROM)
    }
}

impl Engine {
    /// The host has been suspended for so long. Beyond the burners' deadline no run goes on: one whose burners were the first to
    /// look at the clock ended by that.
    pub fn note_suspend(&self, slept: Duration) {
        if slept >= self.burners.deadline {
            self.stop_all(Cause::AgentLost, &words(slept));
            return;
        }
        for run in self.on() {
            run.tell(EventKind::Notice, words(slept), [("suspended_ns", clock::ns(slept).to_string())]);
        }
    }
}

/// Gives an ending its true cause: burners that ended at their deadline because the host was suspended.
pub(super) fn explain(ending: Ending, run: &ActiveRun) -> Ending {
    match run.suspended() {
        Some(slept) if ending.cause == Cause::AgentLost && slept >= NOTED_FROM => {
            Ending::new(Cause::AgentLost, words(slept))
        }
        _ => ending,
    }
}

fn words(slept: Duration) -> String {
    format!("the host was suspended for {slept:.1?}: nothing burned and nothing was watched meanwhile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspend_is_seen_once_and_the_time_before_the_first_look_is_none() {
        let mut watch = SuspendWatch::default();
        let at = Duration::from_millis;
        assert_eq!(watch.since(at(90_000)), None);
        assert_eq!(watch.since(at(90_001)), None);
        assert_eq!(watch.since(at(94_001)), Some(at(4_000)));
        assert_eq!(watch.since(at(94_000)), None);
        assert_eq!(watch.since(at(94_001)), None);
    }

    #[test]
    fn this_host_is_not_suspended_while_it_runs_this() {
        let before = clock::suspended().unwrap();
        let after = clock::suspended().unwrap();
        assert!(after.abs_diff(before) < NOTED_FROM, "{before:?} {after:?}");
    }
}
