//! A burner that died and was started anew.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::Recovery;

use super::{rfc3339, seconds};

/// How long it took.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Recovery")]
pub(crate) struct RecoveryOut {
    phase: String,
    burner_index: u32,
    kind: String,
    /// RFC 3339: when it was seen to be gone.
    at: String,
    /// How its process ended, such as `signal 9 (SIGKILL)`.
    ended: String,
    /// The phase killed it, as its scenario asks.
    on_purpose: bool,
    /// From the kill to when it was seen; absent where nobody knows when it was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    detected_after_s: Option<f64>,
    /// From when it was seen until all workers of the new process burned.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered_after_s: Option<f64>,
    /// From when it was seen until they were seen to do what is asked of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    validated_after_s: Option<f64>,
    /// How often this burner had died by then, this time included.
    restarts: u32,
}

impl From<&Recovery> for RecoveryOut {
    fn from(recovery: &Recovery) -> Self {
        Self {
            phase: recovery.phase.clone(),
            burner_index: recovery.burner_index,
            kind: recovery.kind.clone(),
            at: rfc3339(recovery.at_unix_ns),
            ended: recovery.ended.clone(),
            on_purpose: recovery.on_purpose,
            detected_after_s: recovery.detected_after_ns.map(seconds),
            recovered_after_s: recovery.recovered_after_ns.map(seconds),
            validated_after_s: recovery.validated_after_ns.map(seconds),
            restarts: recovery.restarts,
        }
    }
}
