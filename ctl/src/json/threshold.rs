//! What came of a threshold.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::{
    thresholds::{COMPARISONS, outcome_name},
    v1::{Threshold, ThresholdOutcome, ThresholdResult},
};

use super::{known, present};

/// A condition on the result.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Threshold")]
pub(crate) struct ThresholdOut {
    /// As it was written.
    expr: String,
    /// The phase that it is of; absent where it is of the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    /// Whether `outcome` is `pass`.
    passed: bool,
    /// `pass`, `fail`, or `inconclusive` where it could not be judged.
    outcome: String,
    /// What was measured, in `unit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// What it was compared with, in `unit`, and how: `<`, `<=`, `>`, `>=`, `==`, `!=`. Of one against a baseline there are two, with
    /// the least and the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<String>,
    /// UCUM's short form.
    unit: String,
    /// Of what `value` was read, where that is one's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// Why it is no pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// As it is written.
pub(crate) fn comparison_sign(threshold: &Threshold) -> Option<&'static str> {
    COMPARISONS.iter().find(|(_, known)| *known == threshold.comparison()).map(|(sign, _)| *sign)
}

impl From<&ThresholdResult> for ThresholdOut {
    fn from(result: &ThresholdResult) -> Self {
        let threshold = result.threshold.clone().unwrap_or_default();
        Self {
            phase: present(&threshold.phase),
            passed: result.outcome() == ThresholdOutcome::Pass,
            outcome: outcome_name(result.outcome()).to_owned(),
            value: result.value.and_then(known),
            limit: known(threshold.value),
            comparison: comparison_sign(&threshold).map(str::to_owned),
            unit: result.unit.clone(),
            expr: threshold.that,
            labels: result.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect(),
            reason: present(&result.reason),
        }
    }
}
