//! What a phase was, for later ones to be compared with: `within 20% of phase:idle`.

use ssts_proto::{
    thresholds::reference_phase,
    v1::{BurnerResult, Threshold, ThresholdComparison},
};

use super::{
    Thresholds,
    judged::{Judged, Value},
};
use crate::observe::{frame::Frame, schema::Schema};

/// One subject in a phase that others are compared with.
#[derive(Debug)]
pub(super) struct Baseline {
    /// Looks at the subject while that phase burns.
    judged: Judged,
    /// What it came to, column by column, once the phase is over.
    figures: Vec<Value>,
}

impl Baseline {
    /// Of a threshold that compares; nothing of one that compares with no phase.
    fn of(threshold: &Threshold, run: &str) -> Option<Self> {
        if threshold.comparison() != ThresholdComparison::Within {
            return None;
        }
        let phase = reference_phase(&threshold.reference)?.to_owned();
        let subject = Threshold {
            phase,
            for_ms: 0,
            grace_ms: 0,
            abort_on_fail: false,
            reference_value: None,
            ..threshold.clone()
        };
        let judged = Judged::new("thresholds", &subject, run).ok()?;
        Some(Self { judged, figures: Vec::new() })
    }

    fn is_of(&self, threshold: &Threshold) -> bool {
        let own = self.judged.threshold();
        (&own.metric, &own.labels, own.statistic, &own.reference)
            == (&threshold.metric, &threshold.labels, threshold.statistic, &threshold.reference)
    }

    pub(super) fn look(&mut self, schema: &Schema, frame: &Frame, is_on: impl Fn(&Threshold) -> bool) {
        let is_on = is_on(self.judged.threshold());
        self.judged.look(schema, frame, is_on);
    }

    pub(super) fn begin_again(&mut self, phase: &str, run: &str) {
        if self.judged.threshold().phase != phase {
            return;
        }
        if let Ok(anew) = Judged::new("thresholds", self.judged.threshold(), run) {
            *self = Self { judged: anew, figures: Vec::new() };
        }
    }
}

/// What a subject came to in a phase that is a baseline.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::run) struct Kept {
    /// The metric of the catalogue.
    pub(in crate::run) metric: String,
    /// Its columns' values, in the metric's unit.
    pub(in crate::run) values: Vec<f64>,
    /// Of the values.
    pub(in crate::run) unit: String,
}

impl Thresholds {
    /// With what is needed for such conditions to be judged, beside the run's own thresholds.
    pub(in crate::run) fn with_baselines_of<'t>(
        mut self,
        conditions: impl IntoIterator<Item = &'t Threshold>,
    ) -> Self {
        for condition in conditions {
            if !self.baselines.iter().any(|baseline| baseline.is_of(condition)) {
                self.baselines.extend(Baseline::of(condition, &self.run));
            }
        }
        self
    }

    /// Keeps what was measured in a phase that has just come to its end, for those that compare with it.
    pub(in crate::run) fn keep_baselines(&mut self, phase: &str, results: &[BurnerResult]) -> Vec<Kept> {
        let mut kept = Vec::new();
        for baseline in &mut self.baselines {
            if baseline.judged.threshold().phase != phase {
                continue;
            }
            baseline.figures = baseline.judged.values(results);
            for judged in self.all.iter_mut().filter(|judged| baseline.is_of(judged.threshold())) {
                judged.compare_with(&baseline.figures);
            }
            kept.push(Kept {
                metric: baseline.judged.threshold().metric.clone(),
                values: baseline.figures.iter().map(|(value, _)| *value).collect(),
                unit: baseline.judged.unit().to_owned(),
            });
        }
        kept
    }

    /// What looks at a condition from now on, with what it is compared with; nothing where there is no such metric.
    pub(in crate::run) fn watch(&self, condition: &Threshold) -> Option<Judged> {
        let mut judged = Judged::new("that", condition, &self.run).ok()?;
        if let Some(baseline) = self.baselines.iter().find(|baseline| baseline.is_of(condition)) {
            judged.compare_with(&baseline.figures);
        }
        Some(judged)
    }
}
