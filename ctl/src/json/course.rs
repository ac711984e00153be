//! What came of a trend of a scenario.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::{
    thresholds::outcome_name,
    trends::{kind_name, tolerated},
    v1::{ThresholdOutcome, TrendKind, TrendResult},
};

use super::{known, present};

/// How what was measured went on.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TrendResult")]
pub(crate) struct TrendResultOut {
    metric: String,
    /// `leak`, `drift` or `steady`.
    kind: String,
    /// The phase that it is of; absent where it is of the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    /// Whether `outcome` is `pass`.
    passed: bool,
    /// `pass`, `fail`, or `inconclusive` where it could not be told.
    outcome: String,
    /// A leak: its rise in a minute, in `unit`. A drift: by how many percent it became worse in an hour. A steady state: how far its
    /// rounds lie apart, percent of their mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// Where that lies with a confidence of 99 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<f64>,
    /// What is let be, in the same unit. Absent of a steady state.
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerated: Option<f64>,
    /// UCUM's short form.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// Of the column that `value` is of.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// What it was judged by, in words.
    reason: String,
}

impl From<&TrendResult> for TrendResultOut {
    fn from(result: &TrendResult) -> Self {
        let trend = result.trend.clone().unwrap_or_default();
        Self {
            kind: kind_name(trend.kind()).to_owned(),
            phase: present(&trend.phase),
            passed: result.outcome() == ThresholdOutcome::Pass,
            outcome: outcome_name(result.outcome()).to_owned(),
            value: result.value.and_then(known),
            low: result.low.and_then(known),
            high: result.high.and_then(known),
            tolerated: (trend.kind() != TrendKind::Steady).then(|| tolerated(&trend)),
            unit: present(&result.unit),
            labels: result.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect(),
            reason: result.reason.clone(),
            metric: trend.metric,
        }
    }
}
