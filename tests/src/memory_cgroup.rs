//! A memory cgroup with a limit, of whichever version the machine has.

use std::{fs, path::PathBuf};

use crate::Cgroup;

/// Removed when dropped; by then all that was put into it must be gone.
#[derive(Debug)]
pub struct MemoryCgroup {
    cgroup: Cgroup,
    limit: &'static str,
    kills: &'static str,
}

const LIMITS: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
const KILLS: [&str; 2] = ["memory.oom_control", "memory.events"];

impl MemoryCgroup {
    /// Nothing where this user may not make one, or the machine has no memory controller.
    pub fn new(limit_bytes: u64) -> Option<Self> {
        let cgroup = Cgroup::new("memory", LIMITS)?;
        let version = LIMITS.iter().position(|file| cgroup.file(file).exists())?;
        fs::write(cgroup.file(LIMITS[version]), limit_bytes.to_string()).ok()?;
        Some(Self { cgroup, limit: LIMITS[version], kills: KILLS[version] })
    }

    /// Another limit.
    pub fn set_limit(&self, limit_bytes: u64) {
        fs::write(self.cgroup.file(self.limit), limit_bytes.to_string()).expect("the cgroup is ours");
    }

    /// Moves a process here. What it has already stays counted where it was.
    pub fn put(&self, pid: i32) {
        self.cgroup.put(pid);
    }

    /// Its `cgroup.procs`.
    pub fn procs(&self) -> PathBuf {
        self.cgroup.file("cgroup.procs")
    }

    /// Processes that the OOM killer ended here.
    pub fn oom_kills(&self) -> u64 {
        let text = fs::read_to_string(self.cgroup.file(self.kills)).expect("the cgroup is ours");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).expect("every kernel since 4.13 counts them")
    }
}
