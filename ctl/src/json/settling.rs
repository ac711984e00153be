//! How soon the host was as it had been before a spike.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::Settling;

use super::{known, seconds};

/// One metric in one phase.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Settling")]
pub(crate) struct SettlingOut {
    phase: String,
    /// The phase that it is compared with.
    like: String,
    /// `cpu.busy`, or `runqueue.latency` (its p99).
    metric: String,
    /// UCUM's short form: `1` or `ns`.
    unit: String,
    /// The middle reading of the phase that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<f64>,
    /// The greatest reading of the phases between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<f64>,
    /// What a reading may be at most to be back.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    /// From the phase's beginning; absent where it was not back when the phase ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_after_s: Option<f64>,
}

impl From<&Settling> for SettlingOut {
    fn from(settling: &Settling) -> Self {
        Self {
            phase: settling.phase.clone(),
            like: settling.like.clone(),
            metric: settling.metric.clone(),
            unit: settling.unit.clone(),
            before: known(settling.before),
            peak: settling.peak.and_then(known),
            limit: known(settling.limit),
            settled_after_s: settling.settled_after_ns.map(seconds),
        }
    }
}
