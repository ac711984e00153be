//! A percentile of what a histogram gained, over one tick or a window, in buffers that never grow.

use std::time::Duration;

use ssts_agent_ebpf::histogram::Layout;

/// Parts that a window is divided into: it is from 7/8 of its length to all of it.
const PARTS: usize = 8;

/// What one histogram gained of late.
#[derive(Debug)]
pub(super) struct Gained {
    layout: Layout,
    /// Of all parts together, by bucket.
    total: Vec<u32>,
    count: u64,
    /// By part; none where it is judged by the tick.
    parts: Vec<Vec<u32>>,
    part: usize,
    part_length: Duration,
    part_ends: Duration,
}

impl Gained {
    pub(super) fn new(layout: Layout, window: Option<Duration>) -> Self {
        let parts = if window.is_some() { PARTS } else { 0 };
        Self {
            layout,
            total: vec![0; layout.buckets()],
            count: 0,
            parts: vec![vec![0; layout.buckets()]; parts],
            part: 0,
            part_length: window.unwrap_or_default() / PARTS as u32,
            part_ends: Duration::ZERO,
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Forgets what is older than the window, for a frame that ends at `now`, CLOCK_MONOTONIC.
    pub(super) fn begin(&mut self, now: Duration) {
        if self.parts.is_empty() {
            if self.count > 0 {
                self.total.fill(0);
                self.count = 0;
            }
            return;
        }
        if self.part_ends.is_zero() {
            self.part_ends = now + self.part_length;
        }
        let mut turns = 0;
        while now >= self.part_ends && turns < PARTS {
            self.part = (self.part + 1) % PARTS;
            for (total, old) in self.total.iter_mut().zip(&mut self.parts[self.part]) {
                *total = total.saturating_sub(*old);
                self.count = self.count.saturating_sub(u64::from(*old));
                *old = 0;
            }
            self.part_ends += self.part_length;
            turns += 1;
        }
        // After a gap longer than the window.
        if now >= self.part_ends {
            self.part_ends = now + self.part_length;
        }
    }

    /// Adds what a bucket gained.
    pub(super) fn add(&mut self, bucket: u32, count: u64) {
        let Some(total) = self.total.get_mut(bucket as usize) else { return };
        // Both sums have to hold the same: what one can't take the other must not.
        let gain = u32::try_from(count).unwrap_or(u32::MAX).min(u32::MAX - *total);
        *total += gain;
        self.count += u64::from(gain);
        if let Some(part) = self.parts.get_mut(self.part) {
            part[bucket as usize] += gain;
        }
    }

    /// The upper bound of the bucket that holds the value at `share` of all counts, by nearest rank; nothing where fewer than
    /// `least` were counted.
    pub(super) fn quantile(&self, share: f64, least: u64) -> Option<f64> {
        if self.count < least.max(1) {
            return None;
        }
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut below = 0;
        let bucket = self.total.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        });
        bucket.map(|bucket| self.layout.upper_bound(bucket) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout::new(4, 40);

    fn bucket(value: u64) -> u32 {
        LAYOUT.index(value) as u32
    }

    #[test]
    fn one_tick_is_forgotten_by_the_next() {
        let mut gained = Gained::new(LAYOUT, None);
        gained.begin(Duration::ZERO);
        gained.add(bucket(1_000), 99);
        gained.add(bucket(1_000_000), 1);
        assert!(gained.quantile(0.99, 20).is_some_and(|value| value < 1_100.0));
        assert!(gained.quantile(0.999, 20).is_some_and(|value| value >= 1e6));
        assert_eq!(gained.quantile(0.99, 101), None, "too few to be judged");
        gained.begin(Duration::from_millis(100));
        assert_eq!(gained.quantile(0.5, 0), None);
    }

    #[test]
    fn a_window_forgets_what_is_older_than_it() {
        let mut gained = Gained::new(LAYOUT, Some(Duration::from_secs(8)));
        gained.begin(Duration::from_secs(1));
        gained.add(bucket(5_000), 30);
        for second in 2..9 {
            gained.begin(Duration::from_secs(second));
            gained.add(bucket(10), 1);
            assert!(gained.quantile(0.5, 20).is_some(), "{second}");
        }
        gained.begin(Duration::from_secs(9));
        assert_eq!(gained.count, 7);
        gained.begin(Duration::from_secs(60));
        assert_eq!((gained.count, gained.total.iter().sum::<u32>()), (0, 0));
        gained.begin(Duration::from_millis(60_100));
        gained.add(bucket(10), 3);
        assert_eq!(gained.count, 3);
    }
}
