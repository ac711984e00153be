//! What the configuration allows, as it is told to callers.

use std::{path::PathBuf, sync::Arc};

use ssts_proto::v1;

use crate::config::{Config, NameOrId, UserRule};

/// What the configuration allows.
#[derive(Debug, Clone)]
pub struct Allowed(Arc<v1::Policy>);

impl Allowed {
    /// By that configuration.
    pub fn by(config: &Config) -> Self {
        let Config { limits, policy, network, http, .. } = config;
        let paths = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect();
        Self(Arc::new(v1::Policy {
            max_runs: u32::try_from(policy.max_runs).unwrap_or(u32::MAX),
            max_duration_ms: u64::try_from(limits.max_duration.as_millis()).unwrap_or(u64::MAX),
            max_load_percent: policy.max_load_percent,
            never_cores: policy.never_cores.clone(),
            memory_reserve_bytes: limits.min_available_memory_bytes,
            disk_reserve_bytes: limits.disk_reserve_bytes,
            paths: paths(&policy.paths),
            expendable_devices: paths(&limits.expendable_devices),
            mountable_devices: paths(&limits.mountable_devices),
            peers: network.allowed_peers.iter().map(ToString::to_string).collect(),
            urls: http.allow.iter().map(ToString::to_string).collect(),
            hours: policy.hours.iter().map(ToString::to_string).collect(),
            users: policy.users.iter().map(user).collect(),
            your_role: String::new(),
        }))
    }

    /// To somebody of that role.
    pub(super) fn message(&self, your_role: &str) -> v1::Policy {
        v1::Policy { your_role: your_role.to_owned(), ..v1::Policy::clone(&self.0) }
    }

    /// One line for people and one value, for each rule.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let policy = &*self.0;
        let listed = |items: &[String], none: &str| match items {
            [] => none.to_owned(),
            items => items.join(", "),
        };
        let never: Vec<String> = policy.never_cores.iter().map(u32::to_string).collect();
        let users: Vec<String> = policy
            .users
            .iter()
            .map(|rule| match rule.user.as_str() {
                "" => format!("group {} {}", rule.group, rule.role),
                user => format!("{user} {}", rule.role),
            })
            .collect();
        vec![
            ("max_runs", policy.max_runs.to_string()),
            ("max_duration", humantime(policy.max_duration_ms)),
            ("max_load_percent", policy.max_load_percent.to_string()),
            ("never_cores", listed(&never, "none")),
            ("memory_reserve_bytes", policy.memory_reserve_bytes.to_string()),
            ("disk_reserve_bytes", policy.disk_reserve_bytes.to_string()),
            ("paths", listed(&policy.paths, "none")),
            ("expendable_devices", listed(&policy.expendable_devices, "none")),
            ("mountable_devices", listed(&policy.mountable_devices, "none")),
            ("peers", listed(&policy.peers, "none")),
            ("urls", listed(&policy.urls, "none")),
            ("hours", listed(&policy.hours, "none")),
            ("users", listed(&users, "whoever can open the socket")),
        ]
    }
}

fn humantime(ms: u64) -> String {
    humantime::format_duration(std::time::Duration::from_millis(ms)).to_string()
}

fn user(rule: &UserRule) -> v1::PolicyUser {
    let name = |subject: &Option<NameOrId>| subject.as_ref().map(ToString::to_string).unwrap_or_default();
    v1::PolicyUser { user: name(&rule.user), group: name(&rule.group), role: rule.role.to_string() }
}
