//! What probes and burners know of each other: which processes burn, who took cores from them, where a core's busy time is
//! counted.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

use ssts_agent_ebpf::shared::burner_bit;

use super::{
    oom::{OomBoard, Victim},
    preemptions::{Preempted, PreemptionBoard},
    slowest::{SlowRequest, SlowestBoard},
    window::Window,
};
use crate::clock;

/// What one probe contributes.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) core_busy: Option<OwnedFd>,
    /// Its map of burners' thread groups.
    pub(super) burners: Option<Window<AtomicU64>>,
    pub(super) preemptions: Option<Arc<PreemptionBoard>>,
    pub(super) oom: Option<Arc<OomBoard>>,
    pub(super) slowest: Option<Arc<SlowestBoard>>,
}

/// Of all probes. The empty one stands for none.
#[derive(Debug, Default)]
pub struct BurnerWatch {
    core_busy: Option<OwnedFd>,
    core_busy_ended: AtomicBool,
    reliant: AtomicUsize,
    burners: Vec<Window<AtomicU64>>,
    preemptions: Option<Arc<PreemptionBoard>>,
    oom: Option<Arc<OomBoard>>,
    slowest: Option<Arc<SlowestBoard>>,
}

/// Says that a process burns, until dropped.
#[derive(Debug)]
pub(crate) struct BurnerMark {
    watch: Arc<BurnerWatch>,
    pid: u32,
    relies: bool,
}

impl BurnerWatch {
    pub(super) fn add(&mut self, shared: Shared) {
        self.core_busy = shared.core_busy.or(self.core_busy.take());
        self.burners.extend(shared.burners);
        self.preemptions = shared.preemptions.or(self.preemptions.take());
        self.oom = shared.oom.or(self.oom.take());
        self.slowest = shared.slowest.or(self.slowest.take());
    }

    /// The map in which the scheduler probe counts each core's busy time, for as long as it does.
    pub(crate) fn core_busy(&self) -> Option<BorrowedFd<'_>> {
        self.core_busy.as_ref().filter(|_| !self.core_busy_ended.load(Acquire)).map(|map| map.as_fd())
    }

    /// Whether some burner reads the cores' busy time now.
    pub(super) fn is_relied_on(&self) -> bool {
        self.reliant.load(Acquire) > 0
    }

    /// Nobody counts the cores' busy time any more.
    pub(super) fn end_core_busy(&self) {
        self.core_busy_ended.store(true, Release);
    }

    /// Tells the probes that a process burns. `relies`: it reads the cores' busy time.
    pub(crate) fn mark(self: &Arc<Self>, pid: i32, relies: bool) -> BurnerMark {
        let pid = pid.cast_unsigned();
        self.set(pid, true);
        self.reliant.fetch_add(relies.into(), AcqRel);
        BurnerMark { watch: self.clone(), pid, relies }
    }

    /// Who took cores from burners since the probe was attached.
    pub(crate) fn preemptions(&self) -> Vec<Preempted> {
        self.preemptions.as_ref().map(|board| board.snapshot()).unwrap_or_default()
    }

    /// From now on, the slowest request of each disk is wanted anew.
    pub(crate) fn begin_slowest(&self) {
        if let Some(board) = &self.slowest {
            board.begin(clock::ns(clock::monotonic()));
        }
    }

    /// The slowest request of each disk since [`Self::begin_slowest`].
    pub(crate) fn slowest_requests(&self) -> Vec<SlowRequest> {
        self.slowest.as_ref().map(|board| board.snapshot()).unwrap_or_default()
    }

    /// How many victims of the OOM killer the probe has recorded.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.oom.as_ref().map_or(0, |board| board.count())
    }

    /// Those that were recorded after the first `known`.
    pub(crate) fn oom_victims_after(&self, known: u64) -> Vec<Victim> {
        self.oom.as_ref().map(|board| board.after(known)).unwrap_or_default()
    }

    fn set(&self, pid: u32, burns: bool) {
        self.burners.iter().for_each(|burners| set_burner(burners, pid, burns));
    }
}

impl Drop for BurnerMark {
    fn drop(&mut self) {
        self.watch.set(self.pid, false);
        self.watch.reliant.fetch_sub(self.relies.into(), AcqRel);
    }
}

/// Sets or clears the bit of a thread group.
pub(super) fn set_burner(burners: &[AtomicU64], tgid: u32, burns: bool) {
    let (word, bit) = burner_bit(tgid);
    if let Some(word) = burners.get(word as usize) {
        if burns {
            word.fetch_or(bit, Relaxed);
        } else {
            word.fetch_and(!bit, Relaxed);
        }
    }
}

/// Whether the bit of a thread group is set.
pub(super) fn is_burner(burners: &[AtomicU64], tgid: u32) -> bool {
    let (word, bit) = burner_bit(tgid);
    burners.get(word as usize).is_some_and(|word| word.load(Relaxed) & bit != 0)
}
