//! The promise that a run's owner is still there.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock;

/// Expires unless it is renewed.
#[derive(Debug)]
pub(super) struct Lease {
    ttl: Duration,
    /// CLOCK_BOOTTIME, ns.
    expires_ns: AtomicU64,
}

impl Lease {
    /// One that begins now.
    pub(super) fn new(ttl: Duration) -> Self {
        let lease = Self { ttl, expires_ns: AtomicU64::new(0) };
        lease.renew();
        lease
    }

    /// From now on; says for how long.
    pub(super) fn renew(&self) -> Duration {
        self.expires_ns.store(clock::ns(clock::boottime() + self.ttl), Ordering::Relaxed);
        self.ttl
    }

    /// Whether nobody renewed it in time.
    pub(super) fn has_expired(&self) -> bool {
        clock::ns(clock::boottime()) >= self.expires_ns.load(Ordering::Relaxed)
    }
}
