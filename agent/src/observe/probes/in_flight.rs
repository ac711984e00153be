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

use ssts_agent_ebpf::shared::{IN_FLIGHT_SETS, IN_FLIGHT_WAYS, Issued, group_of_key};

use super::{
    error::ProbeError,
    program::Programs,
    window::{Element, Window},
};

/// A request that is in flight for longer may have been completed unseen.
const OLDEST_NS: u64 = 300_000_000_000;
/// How often such ones are looked for.
const SWEEP_NS: u64 = 10_000_000_000;

/// The keys of one set.
#[derive(Debug)]
#[repr(C)]
struct SharedKeys([AtomicU64; IN_FLIGHT_WAYS]);

// SAFETY: atomics of 8 bytes.
unsafe impl Element for SharedKeys {}

/// [`Issued`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C)]
struct SharedIssued {
    since_ns: AtomicU64,
    pid: AtomicU64,
    name: [AtomicU64; 2],
}

const _: () = assert!(size_of::<SharedIssued>() == size_of::<Issued>());

/// Those of one set.
#[derive(Debug)]
#[repr(C)]
struct SharedSet([SharedIssued; IN_FLIGHT_WAYS]);

// SAFETY: atomics of 8 bytes, and the assertion above.
unsafe impl Element for SharedSet {}

/// The table as the daemon sees it.
#[derive(Debug)]
pub(super) struct InFlight {
    keys: Window<SharedKeys>,
    issued: Window<SharedSet>,
    /// By group.
    counts: Vec<u32>,
    swept_at_ns: u64,
}

impl InFlight {
    pub(super) fn open(programs: &Programs, groups: usize) -> Result<Self, ProbeError> {
        let sets = IN_FLIGHT_SETS as usize;
        Ok(Self {
            keys: programs.window("KEYS", sets)?,
            issued: programs.window("IN_FLIGHT", sets)?,
            counts: vec![0; groups],
            swept_at_ns: 0,
        })
    }

    /// How many requests of each group are in flight.
    pub(super) fn count(&mut self) -> &[u32] {
        self.counts.fill(0);
        for key in self.keys.iter().flat_map(|set| &set.0) {
            if let Some(count) = self.counts.get_mut(group_of_key(key.load(Relaxed)) as usize) {
                *count += 1;
            }
        }
        &self.counts
    }

    /// Frees the slots of a group whose disk is gone.
    pub(super) fn forget(&self, group: u32) {
        for slot in self.keys.iter().flat_map(|set| &set.0) {
            let key = slot.load(Relaxed);
            if group_of_key(key) == group {
                free(slot, key);
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
        for (keys, issued) in self.keys.iter().zip(self.issued.iter()) {
            sweep(keys, issued, now_ns, &is_idle);
        }
    }
}

fn sweep(keys: &SharedKeys, issued: &SharedSet, now_ns: u64, is_idle: &impl Fn(u32) -> bool) {
    for (slot, issued) in keys.0.iter().zip(&issued.0) {
        let key = slot.load(Acquire);
        // One that is being taken has no time yet.
        let since = issued.since_ns.load(Relaxed);
        if key != 0 && since != 0 && now_ns.saturating_sub(since) > OLDEST_NS && is_idle(group_of_key(key)) {
            issued.since_ns.store(0, Relaxed);
            free(slot, key);
        }
    }
}

/// Frees a slot unless it was given to another request meanwhile.
fn free(slot: &AtomicU64, key: u64) {
    // Either way it is not that request's any more.
    let _ = slot.compare_exchange(key, 0, Relaxed, Relaxed);
}

#[cfg(test)]
mod tests {
    use std::array;

    use ssts_agent_ebpf::shared::{identity_of_address, in_flight_key};

    use super::*;

    fn set_of(requests: &[(u64, u32, u64)]) -> (SharedKeys, SharedSet) {
        let keys = SharedKeys([const { AtomicU64::new(0) }; IN_FLIGHT_WAYS]);
        let free = |_| SharedIssued {
            since_ns: AtomicU64::new(0),
            pid: AtomicU64::new(0),
            name: [const { AtomicU64::new(0) }; 2],
        };
        let issued = SharedSet(array::from_fn(free));
        for (way, (address, group, since_ns)) in requests.iter().enumerate() {
            keys.0[way].store(in_flight_key(identity_of_address(*address), *group), Relaxed);
            issued.0[way].since_ns.store(*since_ns, Relaxed);
        }
        (keys, issued)
    }

    #[test]
    fn only_what_is_old_and_of_an_idle_disk_is_swept_away() {
        let now = 2 * OLDEST_NS;
        let (keys, issued) = set_of(&[
            (0x1000, 0, 1),
            (0x2000, 1, 1),
            (0x3000, 0, now - OLDEST_NS),
            // Just taken: its time is not there yet.
            (0x4000, 0, 0),
        ]);
        sweep(&keys, &issued, now, &|group| group == 0);
        let left: Vec<_> = keys.0.iter().map(|key| key.load(Relaxed) != 0).collect();
        assert_eq!(left, [false, true, true, true, false, false, false, false]);
    }
}
