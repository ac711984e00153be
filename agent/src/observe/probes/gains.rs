//! What a histogram of the kernel gained since it was last read.

use std::sync::atomic::Ordering::Relaxed;

use ssts_agent_ebpf::shared::LATENCY;

use super::window::SharedCounts;

type Buckets = [u32; LATENCY.buckets()];

/// Histograms that are read as one.
pub(super) trait Parts<'a>: IntoIterator<Item = &'a SharedCounts> + Clone {}

impl<'a, T: IntoIterator<Item = &'a SharedCounts> + Clone> Parts<'a> for T {}

/// One histogram, kept by one or several CPUs, as it was when last read.
#[derive(Debug)]
pub(super) struct Gains {
    total: u64,
    buckets: Box<Buckets>,
}

impl Gains {
    /// Gains count from now on.
    pub(super) fn since_now<'a>(parts: impl Parts<'a>) -> Self {
        let (total, buckets) = sum(parts);
        Self { total, buckets: Box::new(buckets) }
    }

    /// Hands each bucket that gained something to `note`, with how much. Costs a look at the totals when none did.
    pub(super) fn take<'a>(&mut self, parts: impl Parts<'a>, mut note: impl FnMut(u32, u64)) {
        if self.idle(parts.clone()) {
            return;
        }
        let (total, buckets) = sum(parts);
        for (bucket, (now, before)) in buckets.iter().zip(self.buckets.iter()).enumerate() {
            let gain = now.wrapping_sub(*before);
            if gain > 0 {
                note(bucket as u32, gain.into());
            }
        }
        self.total = total;
        *self.buckets = buckets;
    }

    /// Whether nothing was counted since the last reading.
    pub(super) fn idle<'a>(&self, parts: impl Parts<'a>) -> bool {
        parts.into_iter().map(|part| part.total.load(Relaxed)).sum::<u64>() == self.total
    }
}

/// Totals first: what is counted meanwhile makes the next reading see a total that differs.
fn sum<'a>(parts: impl Parts<'a>) -> (u64, Buckets) {
    let total =
        parts.clone().into_iter().map(|part| part.total.load(std::sync::atomic::Ordering::Acquire)).sum();
    let mut buckets = [0u32; LATENCY.buckets()];
    for part in parts {
        for (sum, bucket) in buckets.iter_mut().zip(&part.buckets) {
            *sum = sum.wrapping_add(bucket.load(Relaxed));
        }
    }
    (total, buckets)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64};

    use super::*;

    fn part() -> SharedCounts {
        SharedCounts { total: AtomicU64::new(0), buckets: [const { AtomicU32::new(0) }; LATENCY.buckets()] }
    }

    fn count(part: &SharedCounts, bucket: usize, times: u32) {
        part.buckets[bucket].fetch_add(times, Relaxed);
        part.total.fetch_add(times.into(), Relaxed);
    }

    fn taken(gains: &mut Gains, parts: &[SharedCounts]) -> Vec<(u32, u64)> {
        let mut taken = Vec::new();
        gains.take(parts, |bucket, gain| taken.push((bucket, gain)));
        taken
    }

    #[test]
    fn what_was_counted_before_the_start_is_not_a_gain() {
        let parts = [part(), part()];
        count(&parts[0], 7, 100);
        let mut gains = Gains::since_now(&parts);
        assert_eq!(taken(&mut gains, &parts), []);
        count(&parts[1], 7, 2);
        count(&parts[0], 9, 1);
        assert_eq!(taken(&mut gains, &parts), [(7, 2), (9, 1)]);
        assert_eq!(taken(&mut gains, &parts), []);
    }

    #[test]
    fn a_bucket_that_wraps_still_shows_its_gain() {
        let parts = [part()];
        count(&parts[0], 0, u32::MAX);
        let mut gains = Gains::since_now(&parts);
        count(&parts[0], 0, 3);
        assert_eq!(taken(&mut gains, &parts), [(0, 3)]);
    }
}
