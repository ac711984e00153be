//! How the cgroup of a run holds its processes: what memory they may have, and off the cores while the run is paused.

use std::{cell::Cell, time::Duration};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use tracing::warn;

use super::admit::PlannedPhase;
use crate::{
    burn::{
        disk::Task,
        plan::{Load, Plan},
    },
    host::RunCgroup,
};

/// Of each burner process beyond its data: the program, its books, the kernel's for it, and page cache to work with.
const PROCESS_BYTES: u64 = 128 << 20;
/// Of each worker: its stack, buffers, page tables.
const WORKER_BYTES: u64 = 8 << 20;
/// Of burners whose sockets the kernel fills: at most so much, by default bounds of net.ipv4.tcp_mem far less.
const SOCKETS_BYTES: u64 = 1 << 30;
/// On top of all: a fence against a burner gone wild, and no budget.
const MARGIN_PERCENT: u64 = 25;

/// From the command to pause to the freeze: by then each worker has seen it, and keeps its books in order.
const SETTLED_AFTER: Duration = Duration::from_millis(200);

/// What the burners of a run need of memory at most, in bytes. Nothing where that has no bound.
pub(super) fn memory_limit(phases: &[PlannedPhase]) -> Option<u64> {
    let of_phase = |phase: &PlannedPhase| {
        phase.plans.iter().map(needed).try_fold(0, |sum: u64, one| sum.checked_add(one?))
    };
    let most = phases.iter().map(of_phase).try_fold(0, |most: u64, one| Some(most.max(one?)))?;
    most.checked_add(most / 100 * MARGIN_PERCENT)
}

fn needed(plan: &Plan) -> Option<u64> {
    let workers = plan.cores.len() as u64;
    let data = match &plan.load {
        Load::Cpu(load) => load.memory_bytes(workers),
        Load::Memory(load) => load.size_bytes,
        Load::Disk(load) => {
            let in_memory = statfs(&load.path).is_ok_and(|system| system.filesystem_type() == TMPFS_MAGIC);
            match load.task {
                Task::Fill { .. } if in_memory => return None,
                Task::Io if in_memory => (load.memory_bytes() + load.size_bytes).checked_mul(workers)?,
                Task::Io | Task::Fill { .. } => load.memory_bytes().checked_mul(workers)?,
            }
        }
        Load::Network(_) | Load::Http(_) => SOCKETS_BYTES,
    };
    data.checked_add(PROCESS_BYTES + workers * WORKER_BYTES)
}

/// Freezes a run that is paused, and thaws it.
#[derive(Debug, Default)]
pub(super) struct Freezer {
    /// When it is to be frozen.
    due: Cell<Option<Duration>>,
    frozen: Cell<bool>,
}

impl Freezer {
    /// The burners of a phase were told to pause. Those with a host at their other end are left to answer it.
    pub(super) fn pause(&self, now: Duration, phase: &PlannedPhase) {
        let alone = |plan: &Plan| matches!(plan.load, Load::Cpu(_) | Load::Memory(_) | Load::Disk(_));
        self.due.set(phase.plans.iter().all(alone).then_some(now + SETTLED_AFTER));
    }

    /// When to call [`Freezer::freeze`].
    pub(super) fn due(&self) -> Option<Duration> {
        self.due.get()
    }

    /// Freezes what is due.
    pub(super) fn freeze(&self, now: Duration, cgroup: Option<&RunCgroup>) {
        if self.due.get().is_none_or(|due| now < due) {
            return;
        }
        self.due.set(None);
        let Some(cgroup) = cgroup else { return };
        match cgroup.set_frozen(true) {
            Ok(()) => self.frozen.set(true),
            // They sleep all the same, but for a look at their deadline now and then.
            Err(error) => warn!(%error, "a paused run could not be frozen"),
        }
    }

    /// Lets them run, before they are told anything that they are to do.
    pub(super) fn thaw(&self, cgroup: Option<&RunCgroup>) {
        self.due.set(None);
        if !self.frozen.replace(false) {
            return;
        }
        if let Some(Err(error)) = cgroup.map(|cgroup| cgroup.set_frozen(false)) {
            warn!(%error, "a run could not be thawed; a kill ends it frozen as it is");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::disk::DiskLoad;

    fn phase(loads: Vec<DiskLoad>) -> PlannedPhase {
        let plan = |load| Plan {
            cores: vec![0, 1],
            phase: Duration::ZERO,
            seed: 1,
            load: Load::Disk(load),
            rate_tolerance: None,
        };
        let plans = loads.into_iter().map(plan).collect();
        PlannedPhase { name: String::new(), duration: Duration::ZERO, plans, ..PlannedPhase::default() }
    }

    #[test]
    fn the_limit_is_that_of_the_phase_that_needs_most_with_a_margin() {
        let one = memory_limit(&[phase(vec![DiskLoad::test()])]).unwrap();
        assert!(one > PROCESS_BYTES && one < 4 * PROCESS_BYTES);
        let phases = [phase(vec![DiskLoad::test(), DiskLoad::test()]), phase(vec![DiskLoad::test()])];
        assert!(memory_limit(&phases).unwrap().abs_diff(2 * one) <= 200);
        assert_eq!(memory_limit(&[]), Some(0));
        let huge = DiskLoad { depth: u32::MAX, ..DiskLoad::test() };
        let endless = DiskLoad { blocks: vec![], size_bytes: u64::MAX, verify: true, ..huge };
        assert_eq!(memory_limit(&[phase(vec![endless])]), None);
    }

    #[test]
    fn a_pause_is_frozen_once_it_has_settled() {
        let freezer = Freezer::default();
        freezer.pause(Duration::from_secs(1), &phase(vec![DiskLoad::test()]));
        assert_eq!(freezer.due(), Some(Duration::from_secs(1) + SETTLED_AFTER));
        freezer.freeze(Duration::from_secs(1), None);
        assert!(freezer.due().is_some());
        freezer.thaw(None);
        assert_eq!(freezer.due(), None);
    }
}
