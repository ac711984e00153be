//! Requests in flight, as the block probe's table holds them: how many of each disk.
//!
//! What is told is the number of slots whose request is in flight: it can't drift as a difference of counters would. A slot
//! stays so without its request only where the completion was missed: until the same request is issued and completed again,
//! else until it is older than [`OLDEST_NS`] and the disk says that it has nothing in flight.
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

/// The keys of the slots that a request may stand in.
#[derive(Debug)]
#[repr(C)]
struct Keys([AtomicU64; IN_FLIGHT_WAYS]);

// SAFETY: atomics of 8 bytes.
unsafe impl Element for Keys {}

/// [`ssts_agent_ebpf::shared::InFlight`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C)]
struct Request {
    since_ns: AtomicU64,
    process: AtomicU64,
    name: [AtomicU64; 2],
}

const _: () = assert!(size_of::<Request>() == size_of::<shared::InFlight>());

/// Those of one set.
#[derive(Debug)]
#[repr(C)]
struct Requests([Request; IN_FLIGHT_WAYS]);

// SAFETY: atomics of 8 bytes, and the assertion above.
unsafe impl Element for Requests {}

/// The table as the daemon sees it.
#[derive(Debug)]
pub(super) struct InFlight {
    keys: Window<Keys>,
    requests: Window<Requests>,
    /// By group.
    counts: Vec<u32>,
    swept_at_ns: u64,
}

impl InFlight {
    pub(super) fn open(programs: &Programs, groups: usize) -> Result<Self, ProbeError> {
        let sets = IN_FLIGHT_SETS as usize;
        let (keys, requests) = (programs.window("KEYS", sets)?, programs.window("IN_FLIGHT", sets)?);
        Ok(Self { keys, requests, counts: vec![0; groups], swept_at_ns: 0 })
    }

    /// How many requests of each group are in flight.
    pub(super) fn count(&mut self) -> &[u32] {
        let Self { keys, requests, counts, .. } = self;
        counts.fill(0);
        for (key, request) in slots(keys, requests) {
            let key = key.load(Relaxed);
            // Most were never taken: their requests need not be looked at.
            if key != 0
                && request.since_ns.load(Relaxed) != 0
                && let Some(count) = counts.get_mut(group_of_key(key) as usize)
            {
                *count += 1;
            }
        }
        counts
    }

    /// Frees the slots of a group whose disk is gone.
    pub(super) fn forget(&self, group: u32) {
        for (slot, request) in slots(&self.keys, &self.requests) {
            let key = slot.load(Relaxed);
            if group_of_key(key) == group {
                request.since_ns.store(0, Relaxed);
                // Either way it is not of that group any more.
                let _ = slot.compare_exchange(key, 0, Relaxed, Relaxed);
            }
        }
    }

    /// From time to time, takes for over what must be. `is_idle`: whether a group's disk has nothing in flight. `now_ns`:
    /// CLOCK_MONOTONIC.
    pub(super) fn sweep(&mut self, now_ns: u64, is_idle: impl Fn(u32) -> bool) {
        if now_ns.saturating_sub(self.swept_at_ns) < SWEEP_NS {
            return;
        }
        self.swept_at_ns = now_ns;
        for (key, request) in slots(&self.keys, &self.requests) {
            let key = key.load(Relaxed);
            if key != 0 {
                request.sweep(now_ns, || is_idle(group_of_key(key)));
            }
        }
    }
}

fn slots<'a>(
    keys: &'a [Keys],
    requests: &'a [Requests],
) -> impl Iterator<Item = (&'a AtomicU64, &'a Request)> {
    keys.iter().zip(requests).flat_map(|(keys, requests)| keys.0.iter().zip(&requests.0))
}

impl Request {
    fn sweep(&self, now_ns: u64, is_idle: impl FnOnce() -> bool) {
        let since_ns = self.since_ns.load(Acquire);
        if since_ns != 0 && now_ns.saturating_sub(since_ns) > OLDEST_NS && is_idle() {
            // Unless it was issued anew meanwhile.
            let _ = self.since_ns.compare_exchange(since_ns, 0, Relaxed, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(since_ns: u64) -> Request {
        let name = [const { AtomicU64::new(0) }; 2];
        Request { since_ns: AtomicU64::new(since_ns), process: AtomicU64::new(1), name }
    }

    #[test]
    fn only_what_is_old_and_of_an_idle_disk_is_swept_away() {
        let now = 2 * OLDEST_NS;
        for (since_ns, is_idle, left) in [(1, true, false), (1, false, true), (now - OLDEST_NS, true, true)] {
            let request = request(since_ns);
            request.sweep(now, || is_idle);
            assert_eq!(request.since_ns.load(Relaxed) != 0, left, "{since_ns} {is_idle}");
        }
    }

    #[test]
    fn a_request_that_is_issued_anew_at_that_instant_stays() {
        let request = request(1);
        request.sweep(2 * OLDEST_NS, || {
            request.since_ns.store(2 * OLDEST_NS, Relaxed);
            true
        });
        assert_eq!(request.since_ns.load(Relaxed), 2 * OLDEST_NS);
    }
}
