//! Counts runs: how many, how they ended, which guards tripped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ssts_proto::v1::{EventKind, RunState, Verdict};

use crate::run::{ActiveRun, Herald};

/// What became of all runs since the agent began.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    started: u64,
    finished: BTreeMap<&'static str, u64>,
    trips: BTreeMap<String, u64>,
    /// Runs whose end was not seen yet.
    on: Vec<Arc<ActiveRun>>,
}

/// As of one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) started: u64,
    pub(super) finished: BTreeMap<&'static str, u64>,
    pub(super) trips: BTreeMap<String, u64>,
}

impl Herald for Arc<Tally> {
    fn run_started(&self, run: &Arc<ActiveRun>) {
        self.settle();
        let mut counts = self.lock();
        counts.started += 1;
        counts.on.push(run.clone());
    }
}

impl Tally {
    /// Counts the runs that are over by now.
    pub fn settle(&self) {
        let mut counts = self.lock();
        let is_over = |run: &Arc<ActiveRun>| run.state() == RunState::Finished;
        let (over, on) = std::mem::take(&mut counts.on).into_iter().partition(is_over);
        counts.on = on;
        let over: Vec<Arc<ActiveRun>> = over;
        for run in over {
            *counts.finished.entry(verdict(run.summary().verdict())).or_default() += 1;
            let events = run.events_from(0).into_iter();
            for mut event in events
                .filter(|event| matches!(event.kind(), EventKind::GuardTripped | EventKind::GuardWarned))
            {
                let guard = event.fields.remove("guard").unwrap_or_default();
                *counts.trips.entry(guard).or_default() += 1;
            }
        }
    }

    pub(super) fn counted(&self) -> Counted {
        let counts = self.lock();
        Counted { started: counts.started, finished: counts.finished.clone(), trips: counts.trips.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts can't be left half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All verdicts, as a label has them.
pub(super) static VERDICTS: [&str; 4] = ["pass", "fail", "aborted", "error"];

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Aborted => "aborted",
        Verdict::Error | Verdict::Unspecified => "error",
    }
}
