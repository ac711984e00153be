//! Histograms as Prometheus has them, from the log-linear ones of frames.
//!
//! A bucket of ours is taken for one value: of times its middle, of sizes its least (requests are whole sectors, so of the common
//! sizes that is the size itself). It differs from any value that was counted by at most 3.2 % (times) or 6.3 % (sizes); sums
//! are made of it. Native buckets are 9.05 % wide (schema 3), so a count that is off stands in the bucket beside the right one.
//! What the last of our buckets counts, 69 s and longer of what probes see, counts as if it were that long.

use ssts_agent_ebpf::histogram::Layout;

/// Bounds of the classic buckets of times, s: powers of 4 from 1.024 µs to 4.29 s, which are bounds of ours too.
static TIMES: [f64; 12] = powers_of_4(5, 1e9);
/// Of sizes, bytes: powers of 4 from 4 KiB to 4 MiB.
static SIZES: [f64; 6] = powers_of_4(6, 1.0);

/// How native buckets are bounded: each power of two is divided into `2^SCHEMA`.
pub(super) const SCHEMA: i32 = 3;

/// Counts since some start.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    layout: Layout,
    counts: Vec<u64>,
    /// When it began, Unix time.
    pub(super) created_ns: i64,
}

/// As it is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Upper bounds, inclusive, with how much was counted up to them; without the infinite one.
    pub(super) classic: Vec<(f64, u64)>,
    /// Values of exactly 0.
    pub(super) zeros: u64,
    /// Native buckets that counted anything, by rising index.
    pub(super) native: Vec<(i32, u64)>,
}

impl Histogram {
    pub(super) fn new(layout: Layout, created_ns: i64) -> Self {
        Self { layout, counts: vec![0; layout.buckets()], created_ns }
    }

    pub(super) fn add(&mut self, bucket: u32, count: u64) {
        // A frame's gains are of its schema's layout.
        if let Some(counted) = self.counts.get_mut(bucket as usize) {
            *counted += count;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    pub(super) fn tell(&self, unit: &str, divisor: f64) -> Told {
        let is_size = unit == "bytes";
        let bounds = bounds(unit);
        let mut told = Told {
            count: 0,
            sum: 0.0,
            classic: Vec::with_capacity(bounds.len()),
            zeros: 0,
            native: Vec::new(),
        };
        let mut above = bounds.iter().copied().peekable();
        for (bucket, count) in self.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0) {
            let least = self.layout.lower_bound(bucket);
            let after = self.layout.upper_bound(bucket) + 1;
            let value = if is_size { least as f64 } else { (least + after) as f64 / 2.0 } / divisor;
            while let Some(bound) = above.next_if(|bound| *bound < value) {
                told.classic.push((bound, told.count));
            }
            told.count += count;
            told.sum += value * count as f64;
            if value == 0.0 {
                told.zeros += count;
                continue;
            }
            let index = native_index(value);
            match told.native.last_mut() {
                Some((last, counted)) if *last == index => *counted += count,
                _ => told.native.push((index, count)),
            }
        }
        told.classic.extend(above.map(|bound| (bound, told.count)));
        told
    }
}

/// Bounds of the classic buckets.
pub(super) fn bounds(unit: &str) -> &'static [f64] {
    if unit == "bytes" { &SIZES } else { &TIMES }
}

/// The native bucket of a value above 0: the i-th holds what is above `2^((i-1)/8)`, up to `2^(i/8)`.
fn native_index(value: f64) -> i32 {
    (value.log2() * f64::from(1 << SCHEMA)).ceil() as i32
}

const fn powers_of_4<const N: usize>(first: u32, divisor: f64) -> [f64; N] {
    let mut bounds = [0.0; N];
    let mut at = 0;
    while at < N {
        bounds[at] = (1_u64 << (2 * (first + at as u32))) as f64 / divisor;
        at += 1;
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout::new(4, 36);

    fn counted(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new(LAYOUT, 0);
        for value in values {
            histogram.add(LAYOUT.index(*value) as u32, 1);
        }
        histogram
    }

    /// Where native bucket `index` ends.
    fn native_bound(index: i32) -> f64 {
        2_f64.powf(f64::from(index) / f64::from(1 << SCHEMA))
    }

    #[test]
    fn classic_buckets_of_times_are_exact() {
        let values: Vec<u64> =
            (0..34).flat_map(|power| [(1_u64 << power) - 1, 1 << power, 3 << power]).collect();
        let told = counted(&values).tell("seconds", 1e9);
        assert_eq!(told.count, values.len() as u64);
        assert_eq!(told.classic.len(), TIMES.len());
        for (bound, count) in told.classic {
            let truth = values.iter().filter(|value| (**value as f64) < bound * 1e9 - 0.5).count();
            assert_eq!(count, truth as u64, "{bound}");
        }
    }

    #[test]
    fn common_sizes_count_at_their_own_bound() {
        let told = counted(&[512, 4_096, 4_096, 4_608, 1 << 20, 16 << 20]).tell("bytes", 1.0);
        assert_eq!(told.classic[0], (4_096.0, 3));
        assert_eq!(told.classic[1], (16_384.0, 4));
        assert_eq!(told.classic[4], (1_048_576.0, 5));
        assert_eq!((told.classic[5].1, told.count), (5, 6));
        assert!((told.sum - (512.0 + 3.0 * 4_096.0 + 512.0 + 17.0 * 1_048_576.0)).abs() < 0.1);
        // 4096 is 2^12: in the bucket that ends there, not in the next.
        assert!(told.native.contains(&(12 * 8, 2)), "{:?}", told.native);
    }

    #[test]
    fn a_native_bucket_is_off_by_one_at_most_and_none_is_lost() {
        let values: Vec<u64> = (0..2_000).map(|n| 40 + n * n * 37).collect();
        for value in &values {
            let told = counted(&[*value]).tell("seconds", 1e9);
            let [(index, 1)] = told.native[..] else { panic!("{:?}", told.native) };
            let seconds = (*value as f64 + 0.5) / 1e9;
            assert!(
                native_bound(index - 2) < seconds && seconds <= native_bound(index + 1),
                "{value}: {index}"
            );
            assert!((told.sum / seconds - 1.0).abs() < 0.032, "{value}: {}", told.sum);
        }
        let told = counted(&values).tell("seconds", 1e9);
        assert_eq!(told.native.iter().map(|(_, count)| count).sum::<u64>(), values.len() as u64);
        assert!(told.native.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn zero_has_a_place_of_its_own() {
        let told = counted(&[0, 0, 512]).tell("bytes", 1.0);
        assert_eq!((told.zeros, told.native, told.classic[0].1), (2, vec![(72, 1)], 3));
    }

    #[test]
    fn what_is_beyond_all_bounds_is_counted() {
        let told = counted(&[u64::MAX]).tell("seconds", 1e9);
        assert_eq!((told.count, told.classic.last().copied()), (1, Some((TIMES[11], 0))));
    }
}
