//! The promise that a run's owner is still there.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock;

/// Of a run that nobody has to look after.
const DETACHED: u64 = u64::MAX;

/// Expires unless it is renewed.
#[derive(Debug)]
pub(super) struct Lease {
    ttl_ns: AtomicU64,
    /// CLOCK_BOOTTIME, ns.
    expires_ns: AtomicU64,
}

impl Lease {
    /// One that begins now; of a detached run it never ends.
    pub(super) fn new(ttl: Option<Duration>) -> Self {
        let lease = Self { ttl_ns: AtomicU64::new(DETACHED), expires_ns: AtomicU64::new(DETACHED) };
        lease.change(ttl);
        lease
    }

    /// Another time to live, from now on.
    pub(super) fn change(&self, ttl: Option<Duration>) {
        self.ttl_ns.store(ttl.map_or(DETACHED, clock::ns), Ordering::Relaxed);
        self.renew();
    }

    /// From now on; says for how long. Nothing for a detached run.
    pub(super) fn renew(&self) -> Option<Duration> {
        let ttl_ns = self.ttl_ns.load(Ordering::Relaxed);
        let expires_ns = clock::ns(clock::boottime()).saturating_add(ttl_ns);
        self.expires_ns.store(expires_ns, Ordering::Relaxed);
        (ttl_ns != DETACHED).then(|| Duration::from_nanos(ttl_ns))
    }

    /// Whether nobody renewed it in time.
    pub(super) fn has_expired(&self) -> bool {
        clock::ns(clock::boottime()) >= self.expires_ns.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_and_that_of_a_detached_run_does_not() {
        let lease = Lease::new(Some(Duration::ZERO));
        assert!(lease.has_expired());
        lease.change(Some(Duration::from_secs(3_600)));
        assert!(!lease.has_expired());
        assert_eq!(lease.renew(), Some(Duration::from_secs(3_600)));
        lease.change(None);
        assert_eq!(lease.renew(), None);
        assert!(!lease.has_expired());
    }
}
