//! Whether the kernel's OOM killer ended a burner.

use std::{fs, path::PathBuf};

use ssts_proto::v1::Cause;

use super::{child::BurnerProcess, ending::Ending};
use crate::host::HostRoots;

/// The kernel's count of processes that it killed for memory, of the whole host and of its cgroups: `oom_kill` of
/// /proc/vmstat, counted in `__oom_kill_process` of mm/oom_kill.c.
#[derive(Debug)]
pub(super) struct OomKills {
    vmstat: PathBuf,
    before: Option<u64>,
}

impl OomKills {
    /// Those from now on.
    pub(super) fn since_now(roots: &HostRoots) -> Self {
        let vmstat = roots.proc("vmstat");
        Self { before: count(&vmstat), vmstat }
    }

    /// Gives an ending its true cause: a burner that was killed while the OOM killer was at work died of that.
    pub(super) fn explain(&self, ending: Ending, burners: &[BurnerProcess]) -> Ending {
        let killed = burners.iter().find(|burner| burner.was_killed());
        match killed {
            Some(burner) if ending.cause == Cause::BurnerDied && self.happened() => {
                let kind = burner.plan.load.kind();
                let message = format!(
                    "burner {kind} was ended by the kernel's OOM killer: the host or a cgroup around the agent ran out of \
                     memory; ask for less, or raise limits.min_available_memory in the agent's configuration"
                );
                Ending::new(Cause::OutOfMemory, message)
            }
            _ => ending,
        }
    }

    fn happened(&self) -> bool {
        self.before.zip(count(&self.vmstat)).is_some_and(|(before, now)| now > before)
    }
}

fn count(vmstat: &PathBuf) -> Option<u64> {
    let text = fs::read_to_string(vmstat).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}
