//! What a run knows and tells of its decisions.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use ssts_proto::{
    guards,
    v1::{BurnerResult, Decision, DecisionPoint, EventKind, Requirement, ThresholdResult},
    validate::action_name,
};

use super::Asked;
use crate::{
    clock,
    run::{active::ActiveRun, thresholds::Thresholds},
};

impl ActiveRun {
    /// Has the tick look at what a requirement is about, from now on.
    pub(in crate::run) fn ask(&self, require: &Requirement) {
        let thresholds = self.look_at_thresholds();
        let conditions = require.that.iter().filter_map(|condition| thresholds.watch(condition)).collect();
        drop(thresholds);
        self.decisions.ask(Asked::new(require, conditions, self.admitted.bounds.stale_after));
    }

    /// Keeps a decision, and tells it.
    pub(in crate::run) fn decide(&self, decision: Decision) {
        let action = action_name(decision.action()).unwrap_or_default();
        let point = if decision.point() == DecisionPoint::Before { "before" } else { "after" };
        let Decision { phase, reason, .. } = &decision;
        let message = format!("{point} phase {phase}: {action}: {reason}");
        // What turned the scale, or the first of what holds.
        let conditions = &decision.conditions;
        let first = conditions.iter().find(|one| !one.held).or(conditions.first());
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let fields = [
            ("phase", phase.clone()),
            ("point", point.to_owned()),
            ("action", action.to_owned()),
            ("attempt", decision.attempt.to_string()),
            ("reason", reason.clone()),
            ("metric", first.map(|one| one.what.clone()).unwrap_or_default()),
            ("value", number(first.and_then(|one| one.value))),
            ("bound", number(first.and_then(|one| one.bound))),
            ("unit", first.map(|one| one.unit.clone()).unwrap_or_default()),
        ];
        self.decisions.take(decision);
        self.tell(EventKind::Decision, message, fields);
    }

    /// Judges the thresholds of a phase that has just come to its end, by what its burners did this time.
    pub(in crate::run) fn judge_phase(&self, phase: &str, results: &[BurnerResult]) -> Vec<ThresholdResult> {
        let (all, untold) = self.look_at_thresholds().of_phase(phase, results);
        untold.iter().for_each(|result| self.tell_failed(result));
        all
    }

    /// A phase is carried out once more.
    pub(in crate::run) fn begin_again(&self, index: usize, phase: &str) {
        self.look_at_thresholds().begin_again(index, phase);
    }

    /// Notes that a phase was left out.
    pub(in crate::run) fn skip_phase(&self, index: usize, why: &str) {
        self.look_at_thresholds().skip_phase(index, why);
    }

    /// Keeps what was measured in a phase for those that compare with it, and tells it.
    pub(in crate::run) fn keep_baselines(&self, phase: &str, results: &[BurnerResult]) {
        let kept = self.look_at_thresholds().keep_baselines(phase, results);
        for figure in kept {
            let values: Vec<_> =
                figure.values.iter().map(|value| guards::words(*value, &figure.unit)).collect();
            let message = match values.is_empty() {
                true => format!("baseline {phase}: nothing was read of {}", figure.metric),
                false => format!("baseline {phase}: {} is {}", figure.metric, values.join(", ")),
            };
            let fields = [("phase", phase.to_owned()), ("metric", figure.metric)];
            self.tell(EventKind::Notice, message, fields);
        }
    }

    /// Leaves so much of the load, beside what guards leave of it, in parts of a million.
    pub(in crate::run) fn wind(&self, left_ppm: u32) {
        self.decisions.leave(left_ppm);
        self.keep_derated();
    }

    /// A decision about a phase, made now.
    pub(in crate::run) fn decision(&self, index: usize, point: DecisionPoint, waited: Duration) -> Decision {
        let phase = self.admitted.phases.get(index).map(|phase| phase.name.clone());
        Decision {
            at_unix_ns: clock::unix_ns(),
            phase_index: index as u32,
            phase: phase.unwrap_or_default(),
            point: point.into(),
            attempt: 1,
            waited_ns: clock::ns(waited),
            ..Decision::default()
        }
    }

    fn look_at_thresholds(&self) -> MutexGuard<'_, Thresholds> {
        self.thresholds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
