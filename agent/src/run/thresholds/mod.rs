//! The thresholds of a run: judged by the agent, so that they hold when the client is gone. They look at the frames of their
//! phase, or of all phases, while the run burns; at its end they are judged with what burners counted themselves.

mod baseline;
mod judged;

use std::time::Duration;

use ssts_proto::v1::{
    BurnerResult, Cause, Scenario, Threshold, ThresholdOutcome, ThresholdResult, Violation,
};

use self::baseline::Baseline;
pub(super) use self::judged::{Judged, reading_guard};
use super::{admit::PlannedPhase, ending::Ending};
use crate::{
    guard::GuardSpec,
    observe::{frame::Frame, schema::Schema},
};

/// The thresholds of one run.
#[derive(Debug, Default)]
pub(super) struct Thresholds {
    all: Vec<Judged>,
    /// Phases that came to their end, by their places.
    finished: Vec<usize>,
    /// Phases that were left out, and why.
    skipped: Vec<(usize, String)>,
    /// What earlier phases were, for those who compare with them.
    baselines: Vec<Baseline>,
    run: String,
}

/// The phase that burns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Burning {
    /// Its place in the scenario.
    pub(super) phase: usize,
    /// Since its start, pauses left out.
    pub(super) elapsed: Duration,
}

impl Burning {
    /// Whether a threshold judges what is measured now.
    fn counts_for(&self, threshold: &Threshold, phases: &[PlannedPhase]) -> bool {
        let grace = Duration::from_millis(threshold.grace_ms);
        if threshold.phase.is_empty() {
            let before: Duration = phases.iter().take(self.phase).map(|phase| phase.duration).sum();
            return before + self.elapsed >= grace;
        }
        phases.get(self.phase).is_some_and(|phase| phase.name == threshold.phase) && self.elapsed >= grace
    }
}

/// A threshold failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) result: ThresholdResult,
    /// The run is to end for it.
    pub(super) aborts: bool,
}

/// For each threshold what looks at its columns, or what is wrong with it.
pub(super) fn specs(thresholds: &[Threshold]) -> Vec<Result<GuardSpec, Vec<Violation>>> {
    let spec = |(index, threshold)| {
        Judged::new(&format!("thresholds[{index}]"), threshold, "").map(|judged| judged.spec().clone())
    };
    thresholds.iter().enumerate().map(spec).collect()
}

impl Thresholds {
    /// All of a scenario's, with what its phases require where that compares with what earlier ones were.
    pub(super) fn of(scenario: &Scenario, run: &str) -> Self {
        let required = scenario.phases.iter().filter_map(|phase| phase.require.as_ref());
        Self::new(&scenario.thresholds, run).with_baselines_of(required.flat_map(|require| &require.that))
    }

    /// Of the run of that id. Each was admitted.
    pub(super) fn new(thresholds: &[Threshold], run: &str) -> Self {
        let judged = thresholds.iter().filter_map(|threshold| Judged::new("thresholds", threshold, run).ok());
        let all = judged.collect();
        Self { all, run: run.to_owned(), ..Self::default() }.with_baselines_of(thresholds)
    }

    /// Looks at a frame, while a phase burns or none does. Gives those that have just failed.
    pub(super) fn look(
        &mut self,
        schema: &Schema,
        frame: &Frame,
        phases: &[PlannedPhase],
        burning: Option<Burning>,
    ) -> Vec<Failed> {
        let mut failed = Vec::new();
        for judged in &mut self.all {
            let is_on = burning.is_some_and(|burning| burning.counts_for(judged.threshold(), phases));
            judged.look(schema, frame, is_on);
            if !judged.is_told
                && let Some(result) = &judged.failed
            {
                judged.is_told = true;
                failed.push(Failed { result: result.clone(), aborts: judged.threshold().abort_on_fail });
            }
        }
        for baseline in &mut self.baselines {
            baseline.look(schema, frame, |threshold| {
                burning.is_some_and(|burning| burning.counts_for(threshold, phases))
            });
        }
        failed
    }

    /// What came of those of a phase that has just come to its end, and those whose failure was not told yet.
    pub(super) fn of_phase(
        &mut self,
        phase: &str,
        results: &[BurnerResult],
    ) -> (Vec<ThresholdResult>, Vec<ThresholdResult>) {
        let mut all = Vec::new();
        let mut untold = Vec::new();
        for judged in self.all.iter_mut().filter(|judged| judged.threshold().phase == phase) {
            let result = judged.outcome(results, true);
            if result.outcome() == ThresholdOutcome::Fail && !judged.is_told {
                judged.is_told = true;
                untold.push(result.clone());
            }
            all.push(result);
        }
        (all, untold)
    }

    /// A phase is carried out once more: what was measured in it before no longer counts.
    pub(super) fn begin_again(&mut self, index: usize, phase: &str) {
        self.finished.retain(|finished| *finished != index);
        for judged in self.all.iter_mut().filter(|judged| judged.threshold().phase == phase) {
            // It was made of the same threshold before.
            let Ok(mut anew) = Judged::new("thresholds", judged.threshold(), &self.run) else { continue };
            anew.compare_with(judged.reference());
            *judged = anew;
        }
        self.baselines.iter_mut().for_each(|baseline| baseline.begin_again(phase, &self.run));
    }

    /// Notes that a phase was left out.
    pub(super) fn skip_phase(&mut self, index: usize, why: &str) {
        self.skipped.push((index, why.to_owned()));
    }

    /// Notes that a phase came to its end.
    pub(super) fn finish_phase(&mut self, index: usize) {
        self.finished.push(index);
    }

    /// What came of each, and those whose failure was not told yet.
    pub(super) fn outcomes(
        &mut self,
        results: &[BurnerResult],
        phases: &[PlannedPhase],
    ) -> (Vec<ThresholdResult>, Vec<ThresholdResult>) {
        let mut all = Vec::new();
        let mut untold = Vec::new();
        for judged in &mut self.all {
            let of = judged.threshold().phase.clone();
            let skipped = |index: usize| self.skipped.iter().find(|(skipped, _)| *skipped == index);
            // Of the whole run, what is left of it counts.
            let is_over =
                |index: usize| self.finished.contains(&index) || of.is_empty() && skipped(index).is_some();
            let mut own = phases.iter().enumerate().filter(|(_, phase)| of.is_empty() || phase.name == of);
            let is_whole = own.clone().all(|(index, _)| is_over(index));
            let why = own.find_map(|(index, _)| skipped(index)).filter(|_| !of.is_empty());
            let result = match why {
                Some((_, why)) => judged.skipped(why),
                None => judged.outcome(results, is_whole),
            };
            if result.outcome() == ThresholdOutcome::Fail && !judged.is_told {
                judged.is_told = true;
                untold.push(result.clone());
            }
            all.push(result);
        }
        (all, untold)
    }
}

/// What the outcomes make of a run whose phases all came to their end.
pub(super) fn ending(outcomes: &[ThresholdResult]) -> Option<Ending> {
    let first = |outcome| outcomes.iter().find(|result| result.outcome() == outcome);
    if let Some(failed) = first(ThresholdOutcome::Fail) {
        return Some(Ending::new(Cause::ThresholdFailed, words(failed)));
    }
    let inconclusive = first(ThresholdOutcome::Inconclusive)?;
    Some(Ending::new(Cause::ThresholdInconclusive, words(inconclusive)))
}

/// A result that is no pass, such as `threshold host.temperature.max < 85 failed: it is 91.0 °C`.
pub(super) fn words(result: &ThresholdResult) -> String {
    let threshold = result.threshold.clone().unwrap_or_default();
    let what = match result.outcome() {
        ThresholdOutcome::Fail => "failed",
        ThresholdOutcome::Pass => "passed",
        ThresholdOutcome::Inconclusive | ThresholdOutcome::Unspecified => "could not be judged",
    };
    let phase =
        if threshold.phase.is_empty() { String::new() } else { format!(" of phase {}", threshold.phase) };
    let reason = if result.reason.is_empty() { String::new() } else { format!(": {}", result.reason) };
    format!("threshold {}{phase} {what}{reason}", threshold.that)
}

#[cfg(test)]
mod tests;
