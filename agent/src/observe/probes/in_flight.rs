//! Requests in flight, as the block probe's table holds them: how many of each disk.
//!
//! What is told is the number of slots that are taken: it can't drift as a difference of counters would. A slot outlives its
//! request only where the completion was missed. The same request's next issue finds it again; else it is freed once it is
//! older than [`OLDEST_NS`] and the disk says that it has nothing in flight.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use ssts_agent_ebpf::shared::{self, IN_FLIGHT_SETS, IN_FLIGHT_WAYS, group_of_key};

use super::{
    error::ProbeError,
    program::Programs,
    window::{Element, Window},
};

/// A request that is in flight for longer may have been completed unseen.
const OLDEST_NS: u64 = 300_000_000_000;
/// How often such ones are looked for.
const SWEEP_NS: u64 = 10_000_000_000;

/// [`ssts_agent_ebpf::shared::InFlight`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C)]
struct Slot {
    key: AtomicU64,
    since_ns: AtomicU64,
}

const _: () = assert!(size_of::<Slot>() == size_of::<shared::InFlight>());

/// The slots that a request may stand in.
#[derive(Debug)]
#[repr(C)]
struct Set([Slot; IN_FLIGHT_WAYS]);

// SAFETY: atomics of 8 bytes, and the assertion above.
unsafe impl Element for Set {}

/// The table as the daemon sees it.
#[derive(Debug)]
pub(super) struct InFlight {
    sets: Window<Set>,
    /// By group.
    counts: Vec<u32>,
    swept_at_ns: u64,
}

impl InFlight {
    pub(super) fn open(programs: &Programs, groups: usize) -> Result<Self, ProbeError> {
        let sets = programs.window("IN_FLIGHT", IN_FLIGHT_SETS as usize)?;
        Ok(Self { sets, counts: vec![0; groups], swept_at_ns: 0 })
    }

    /// How many requests of each group are in flight.
    pub(super) fn count(&mut self) -> &[u32] {
        self.counts.fill(0);
        for slot in self.sets.iter().flat_map(|set| &set.0) {
            if let Some(count) = self.counts.get_mut(group_of_key(slot.key.load(Relaxed)) as usize) {
                *count += 1;
            }
        }
        &self.counts
    }

    /// Frees the slots of a group whose disk is gone.
    pub(super) fn forget(&self, group: u32) {
        for slot in self.sets.iter().flat_map(|set| &set.0) {
            let key = slot.key.load(Relaxed);
            if group_of_key(key) == group {
                slot.free(key);
            }
        }
    }

    /// From time to time, frees the slots of requests that must be over. `is_idle`: whether a group's disk has nothing in
    /// flight. `now_ns`: CLOCK_MONOTONIC.
    pub(super) fn sweep(&mut self, now_ns: u64, is_idle: impl Fn(u32) -> bool) {
        if now_ns.saturating_sub(self.swept_at_ns) < SWEEP_NS {
            return;
        }
        self.swept_at_ns = now_ns;
        self.sets.iter().flat_map(|set| &set.0).for_each(|slot| slot.sweep(now_ns, &is_idle));
    }
}

impl Slot {
    fn sweep(&self, now_ns: u64, is_idle: &impl Fn(u32) -> bool) {
        let old = || now_ns.saturating_sub(self.since_ns.load(Relaxed)) > OLDEST_NS;
        let key = self.key.load(Acquire);
        // The time of one that is just taken may be that of the request before: a look at the disk later it is not.
        if key != 0 && old() && is_idle(group_of_key(key)) && old() {
            self.free(key);
        }
    }

    /// Frees it unless it was given to another request meanwhile.
    fn free(&self, key: u64) {
        // Either way it is not that request's any more.
        let _ = self.key.compare_exchange(key, 0, Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ssts_agent_ebpf::shared::{identity_of_address, in_flight_key};

    use super::*;

    fn slot(group: u32, since_ns: u64) -> Slot {
        let key = in_flight_key(identity_of_address(0x1000), group);
        Slot { key: AtomicU64::new(key), since_ns: AtomicU64::new(since_ns) }
    }

    #[test]
    fn only_what_is_old_and_of_an_idle_disk_is_swept_away() {
        let now = 2 * OLDEST_NS;
        for (group, since_ns, left) in [(0, 1, false), (1, 1, true), (0, now - OLDEST_NS, true)] {
            let slot = slot(group, since_ns);
            slot.sweep(now, &|group| group == 0);
            assert_eq!(slot.key.load(Relaxed) != 0, left, "{group} {since_ns}");
        }
    }

    #[test]
    fn a_request_that_takes_its_slot_at_that_instant_stays() {
        let (slot, looked) = (slot(0, 1), Cell::new(false));
        slot.sweep(2 * OLDEST_NS, &|_| {
            slot.since_ns.store(2 * OLDEST_NS, Relaxed);
            looked.set(true);
            true
        });
        assert!(looked.get() && slot.key.load(Relaxed) != 0);
    }
}
