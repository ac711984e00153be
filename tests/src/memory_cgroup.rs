//! A memory cgroup with a limit, of whichever version the machine has.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::outside;

/// Removed when dropped; by then all that was put into it must be gone.
#[derive(Debug)]
pub struct MemoryCgroup {
    folder: PathBuf,
    limit: &'static str,
    kills: &'static str,
}

impl MemoryCgroup {
    /// Nothing where this user may not make one, or the machine has no memory controller.
    pub fn new(limit_bytes: u64) -> Option<Self> {
        let version_1 = Path::new("/sys/fs/cgroup/memory");
        let version_2 = Path::new("/sys/fs/cgroup");
        let (parent, limit, kills) = if version_1.join("memory.limit_in_bytes").exists() {
            (version_1, "memory.limit_in_bytes", "memory.oom_control")
        } else {
            // It may be there already.
            let _best_effort = fs::write(version_2.join("cgroup.subtree_control"), "+memory");
            (version_2, "memory.max", "memory.events")
        };
        // Stories of one program run side by side.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("ssts-story-{}-{count}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let cgroup = Self { folder, limit, kills };
        fs::write(cgroup.folder.join(limit), limit_bytes.to_string()).ok()?;
        Some(cgroup)
    }

    /// Another limit.
    pub fn set_limit(&self, limit_bytes: u64) {
        fs::write(self.folder.join(self.limit), limit_bytes.to_string()).expect("the cgroup is ours");
    }

    /// Moves a process here. What it has already stays counted where it was.
    pub fn put(&self, pid: i32) {
        fs::write(self.procs(), pid.to_string()).expect("the cgroup is ours");
    }

    /// Its `cgroup.procs`.
    pub fn procs(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// Processes that the OOM killer ended here.
    pub fn oom_kills(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(self.kills)).expect("the cgroup is ours");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).expect("every kernel since 4.13 counts them")
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        // The kernel takes a moment to forget processes.
        outside::within(Duration::from_secs(5), || fs::remove_dir(&self.folder).is_ok());
    }
}
