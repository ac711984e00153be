//! A process beside the burners.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::ProcessUse;

use super::seconds;

/// What another process used during the run, from when it was first seen to when it was last.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProcessUse")]
pub(crate) struct ProcessOut {
    pid: u32,
    /// Its name as the kernel has it, at most 15 bytes.
    command: String,
    cpu_time_s: f64,
    /// From devices. Absent where the agent may not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_bytes: Option<u64>,
    /// To devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    written_bytes: Option<u64>,
}

impl From<&ProcessUse> for ProcessOut {
    fn from(used: &ProcessUse) -> Self {
        Self {
            pid: used.pid,
            command: used.command.clone(),
            cpu_time_s: seconds(used.cpu_time_ns),
            read_bytes: used.read_bytes,
            written_bytes: used.written_bytes,
        }
    }
}
