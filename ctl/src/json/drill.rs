//! What `drill` prints.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::{Drill, DrilledFault};

use super::{plain, present, rfc3339, seconds};

/// Of `drill`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Drill")]
pub(crate) struct DrillOut {
    /// `pass` where every fault passed, `fail` where one did not, `skipped` where one could not be tried.
    outcome: String,
    /// RFC 3339, of its end.
    at: String,
    /// From its begin to its end.
    duration_s: f64,
    /// Whether the host's own daemon keeps it, for `sstsd check` and for limits that demand a drill.
    noted: bool,
    /// Of the sstsd that was drilled.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_version: Option<String>,
    faults: Vec<FaultOut>,
}

/// One fault.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DrilledFault")]
struct FaultOut {
    /// As `--only` takes it.
    fault: String,
    /// `pass`, `fail` or `skipped`.
    outcome: String,
    /// How the fault was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<String>,
    /// From the fault to the agent's own note of it. Absent where the agent could not note it, being killed or stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    noticed_after_s: Option<f64>,
    /// From the fault to the end of the last burner.
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_after_s: Option<f64>,
    /// What was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
    /// What the agent's record says.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl DrillOut {
    pub(crate) fn new(drill: &Drill, duration: std::time::Duration, noted: bool) -> Self {
        Self {
            outcome: outcome_name(drill.outcome().as_str_name()),
            at: rfc3339(drill.at_unix_ns),
            duration_s: duration.as_secs_f64(),
            noted,
            agent_version: present(&drill.agent_version),
            faults: drill.faults.iter().map(FaultOut::from).collect(),
        }
    }
}

impl From<&DrilledFault> for FaultOut {
    fn from(fault: &DrilledFault) -> Self {
        Self {
            fault: fault.name.clone(),
            outcome: outcome_name(fault.outcome().as_str_name()),
            how: present(&fault.how),
            noticed_after_s: fault.noticed_after_ns.map(seconds),
            quiet_after_s: fault.quiet_after_ns.map(seconds),
            receipt: present(&fault.receipt),
            record: present(&fault.record),
            reason: present(&fault.reason),
        }
    }
}

fn outcome_name(name: &str) -> String {
    plain(name, "DRILL_OUTCOME_")
}
