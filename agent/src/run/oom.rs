//! Whether the kernel's OOM killer ended a burner.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ssts_proto::v1::Cause;

use super::{child::BurnerProcess, ending::Ending};
use crate::{clock, host::HostRoots};

/// Between two looks at the kernel's count.
const INTERVAL: Duration = Duration::from_secs(1);

/// The kernel's count of processes that it killed for memory, of the whole host and of its cgroups: `oom_kill` of
/// /proc/vmstat, counted in `__oom_kill_process` of mm/oom_kill.c.
#[derive(Debug)]
pub(super) struct OomKills {
    vmstat: PathBuf,
    latest: Cell<Look>,
    /// The one before: a kill is counted some milliseconds before its victim is gone.
    before: Cell<Look>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    at: Duration,
    kills: Option<u64>,
}

impl OomKills {
    /// Those from now on.
    pub(super) fn since_now(roots: &HostRoots) -> Self {
        let vmstat = roots.proc("vmstat");
        let look = Look { at: clock::boottime(), kills: count(&vmstat) };
        Self { vmstat, latest: Cell::new(look), before: Cell::new(look) }
    }

    /// Forgets what was killed long ago: it was none of the burners. To be called while all of them are there.
    pub(super) fn look_again(&self, now: Duration) {
        if now.saturating_sub(self.latest.get().at) >= INTERVAL {
            self.before.set(self.latest.get());
            self.latest.set(Look { at: now, kills: count(&self.vmstat) });
        }
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
        self.before.get().kills.zip(count(&self.vmstat)).is_some_and(|(before, now)| now > before)
    }
}

/// The kernel's count since the host was booted, where it tells.
pub(super) fn kills(roots: &HostRoots) -> Option<u64> {
    count(&roots.proc("vmstat"))
}

fn count(vmstat: &Path) -> Option<u64> {
    let text = fs::read_to_string(vmstat).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}
