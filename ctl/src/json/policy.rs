//! What the administrator of a host allows.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::{Policy, PolicyUser};

use super::present;

/// Of `info`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Policy")]
pub(crate) struct PolicyOut {
    max_runs: u32,
    max_duration_s: f64,
    max_load_percent: f64,
    never_cores: Vec<u32>,
    memory_reserve_bytes: u64,
    disk_reserve_bytes: u64,
    /// Folders below which disk burners may make files.
    paths: Vec<String>,
    expendable_devices: Vec<String>,
    mountable_devices: Vec<String>,
    peers: Vec<String>,
    urls: Vec<String>,
    /// Local time, such as `Mon-Fri 20:00-06:00`.
    hours: Vec<String>,
    /// None: whoever can open the socket may do all.
    users: Vec<PolicyUserOut>,
    /// What the caller may do: `viewer`, `halter`, `operator`, `admin`.
    your_role: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PolicyUser")]
struct PolicyUserOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    role: String,
}

impl From<&Policy> for PolicyOut {
    fn from(policy: &Policy) -> Self {
        let user = |rule: &PolicyUser| PolicyUserOut {
            user: present(&rule.user),
            group: present(&rule.group),
            role: rule.role.clone(),
        };
        Self {
            max_runs: policy.max_runs,
            max_duration_s: policy.max_duration_ms as f64 / 1e3,
            max_load_percent: policy.max_load_percent,
            never_cores: policy.never_cores.clone(),
            memory_reserve_bytes: policy.memory_reserve_bytes,
            disk_reserve_bytes: policy.disk_reserve_bytes,
            paths: policy.paths.clone(),
            expendable_devices: policy.expendable_devices.clone(),
            mountable_devices: policy.mountable_devices.clone(),
            peers: policy.peers.clone(),
            urls: policy.urls.clone(),
            hours: policy.hours.clone(),
            users: policy.users.iter().map(user).collect(),
            your_role: policy.your_role.clone(),
        }
    }
}
