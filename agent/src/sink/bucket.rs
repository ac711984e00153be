//! A rate that several threads share.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock;

/// What may pass at once after a quiet time. Above what a receiver takes off a socket in one call at 10 Gbit/s.
const BURST_NS: u64 = 5_000_000;

/// A token bucket, kept as the instant at which it will be full again: the generic cell rate algorithm, ITU-T I.371.
#[derive(Debug)]
pub(super) struct Bucket {
    rate_bits_per_s: u64,
    /// CLOCK_BOOTTIME.
    full_at_ns: AtomicU64,
}

impl Bucket {
    pub(super) fn new(rate_bits_per_s: u64) -> Self {
        Self { rate_bits_per_s: rate_bits_per_s.max(1), full_at_ns: AtomicU64::new(0) }
    }

    /// Takes so many bytes; gives how long to wait before the next.
    pub(super) fn take(&self, bytes: u64) -> Duration {
        self.take_at(bytes, clock::ns(clock::boottime()))
    }

    fn take_at(&self, bytes: u64, now_ns: u64) -> Duration {
        let cost = u128::from(bytes) * 8_000_000_000 / u128::from(self.rate_bits_per_s);
        let cost_ns = u64::try_from(cost).unwrap_or(u64::MAX);
        let next = |full_at: u64| full_at.max(now_ns).saturating_add(cost_ns);
        let before = self.full_at_ns.update(Ordering::Relaxed, Ordering::Relaxed, next);
        Duration::from_nanos(next(before).saturating_sub(now_ns).saturating_sub(BURST_NS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_burst_the_rate_holds() {
        // 1 Gbyte/s: a byte a nanosecond.
        let bucket = Bucket::new(8_000_000_000);
        assert_eq!(bucket.take_at(BURST_NS, 1_000), Duration::ZERO);
        assert_eq!(bucket.take_at(700, 1_000), Duration::from_nanos(700));
        assert_eq!(bucket.take_at(300, 2_000), Duration::ZERO);
        // Quiet time is not saved up beyond the burst.
        let later = 60_000_000_000;
        assert_eq!(bucket.take_at(BURST_NS + 5, later), Duration::from_nanos(5));
    }
}
