//! Brings burners to their end, whatever it takes.

use std::time::{Duration, Instant};

use ssts_proto::v1::EventKind;
use tracing::{error, warn};

use super::{Supervisor, command, reap};
use crate::{
    burn::{control::Command, disk, plan::Load},
    clock,
    run::{admit::PlannedPhase, child::BurnerProcess, traced::whereabouts},
};

/// How long after the end of a phase its burners may still be ending (I/Os in flight) before they are killed.
const OVERRUN: Duration = Duration::from_secs(1);

/// How often the supervisor says that a burner does not go, once it has been killed.
const COMPLAINT: Duration = Duration::from_secs(1);

/// How long a burner may take to end that was killed, beyond what its memory takes: then the run ends without it, and what was
/// seen of it is told. An I/O to a disk in trouble takes so long before its driver gives it up (30 s, /sys/block/X/device/timeout).
const HANGS_AFTER: Duration = Duration::from_secs(10);

impl Supervisor<'_> {
    /// Brings every burner to its end: asked first, killed after the grace. Returns when none is left, or none but those that a
    /// kill does not end.
    pub(super) fn end(&self, phase: &PlannedPhase, burners: &mut [BurnerProcess]) {
        command(burners, Command::Stop);
        self.freezer.thaw(self.cgroup.as_ref());
        let grace = clock::boottime() + self.settings.config.stop_grace;
        while clock::boottime() < grace && !burners.iter().all(BurnerProcess::is_gone) {
            self.wait(burners, Some(grace));
        }
        // One that is still on its way out would be taken for somebody else's.
        reap(burners);
        // One that holds much memory takes its time without hanging.
        let mut complain = Instant::now() + overrun(phase);
        let mut told = false;
        let give_up = grace + HANGS_AFTER + overrun(phase);
        let mut pause = Duration::from_millis(1);
        while !burners.iter().all(BurnerProcess::is_gone) || self.is_populated() {
            if let Some(cgroup) = &self.cgroup
                && let Err(error) = cgroup.kill()
            {
                warn!(run = self.run.id, %error, "cgroup.kill failed");
            }
            for burner in burners.iter_mut().filter(|burner| !burner.is_gone()) {
                burner.kill();
            }
            self.wait(burners, Some(clock::boottime() + pause));
            pause = (pause * 2).min(Duration::from_millis(100));
            if Instant::now() >= complain {
                let there = still_there(burners);
                error!(run = self.run.id, "{there}");
                if !told {
                    self.run.tell(EventKind::Notice, there, []);
                    told = true;
                }
                complain += COMPLAINT;
            }
            if clock::boottime() >= give_up {
                self.give_up(burners);
                break;
            }
        }
        // What lives in the cgroup and is no burner of ours has not been seen to end either.
        self.run.note_quiet(!self.is_populated() && !burners.iter().any(BurnerProcess::hangs));
        reap(burners);
    }

    /// The run ends without those that a kill does not end; whoever looks after it knows them.
    fn give_up(&self, burners: &mut [BurnerProcess]) {
        for burner in burners.iter_mut().filter(|burner| !burner.is_gone()) {
            burner.give_up();
            self.run.has_hanging(burner.pid(), burner.plan.load.kind());
            error!(
                run = self.run.id,
                pid = burner.pid(),
                "the run ends without a burner that hangs in the kernel"
            );
        }
    }
}

/// Who was killed and did not end, and where in the kernel it sleeps.
pub(super) fn still_there(burners: &[BurnerProcess]) -> String {
    let there = burners.iter().filter(|burner| !burner.is_gone());
    let there: Vec<_> = there
        .map(|burner| format!("{} burner {}", burner.plan.load.kind(), whereabouts(burner.pid())))
        .collect();
    if there.is_empty() {
        return "what lives in the run's cgroup was killed and is still there".into();
    }
    format!("{} was killed and is still there: it hangs in the kernel", there.join(", "))
}

/// How long after the end of a phase its burners may still be ending. The kernel gives the memory of a process back before
/// it closes its files, which is what is seen here: some 5 GB/s in pages of 4 KiB, 1 GiB/s where the host is busy.
pub(super) fn overrun(phase: &PlannedPhase) -> Duration {
    let held_bytes: u64 = phase.plans.iter().map(|plan| plan.load.memory_bytes()).sum();
    let remounts =
        phase.plans.iter().any(|plan| matches!(&plan.load, Load::Disk(load) if load.remount().is_some()));
    let remounting = if remounts { disk::BUSY_AT_MOST } else { Duration::ZERO };
    OVERRUN + Duration::from_secs(held_bytes >> 30) + remounting
}
