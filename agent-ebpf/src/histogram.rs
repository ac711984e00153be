//! Log-linear histograms: each power of two is divided into equal buckets, so that the relative error is bounded and a
//! bucket's index takes a few instructions. The kernel side, the burners and the readers all count with these.

/// How a histogram divides values: `2^grouping` buckets for each power of two, up to `2^max_power`. Values below
/// `2^(grouping + 1)` have a bucket each; values of `2^max_power` and above are counted in the last bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    grouping: u32,
    max_power: u32,
}

impl Layout {
    /// A layout of `2^grouping` buckets for each power of two up to `2^max_power`, so with an error of at most
    /// `2^-grouping`.
    ///
    /// # Panics
    /// Unless `grouping < max_power <= 63`; in a constant that is a compile error.
    pub const fn new(grouping: u32, max_power: u32) -> Self {
        assert!(grouping < max_power && max_power <= 63);
        Self { grouping, max_power }
    }

    /// How many buckets there are.
    pub const fn buckets(self) -> usize {
        ((self.max_power - self.grouping + 1) as usize) << self.grouping
    }

    /// The bucket that counts `value`.
    #[inline(always)]
    pub const fn index(self, value: u64) -> usize {
        let linear_end = 1u64 << (self.grouping + 1);
        if value < linear_end {
            return value as usize;
        }
        if value >= 1u64 << self.max_power {
            return self.buckets() - 1;
        }
        let power = 63 - value.leading_zeros();
        let shift = power - self.grouping;
        // The leading one is part of the shifted value: it counts as one group.
        ((shift as usize) << self.grouping) + (value >> shift) as usize
    }

    /// The largest value that `bucket` counts; of the last bucket, the largest that it counts exactly.
    pub const fn upper_bound(self, bucket: usize) -> u64 {
        self.lower_bound(bucket + 1) - 1
    }

    /// The smallest value that `bucket` counts.
    pub const fn lower_bound(self, bucket: usize) -> u64 {
        let linear_end = 1usize << (self.grouping + 1);
        if bucket < linear_end {
            return bucket as u64;
        }
        let shift = (bucket >> self.grouping) - 1;
        let within = bucket - (shift << self.grouping);
        (within as u64) << shift
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    const LAYOUTS: [Layout; 3] = [Layout::new(4, 36), Layout::new(6, 40), Layout::new(2, 63)];

    #[test]
    fn buckets_follow_each_other_without_gap() {
        for layout in LAYOUTS {
            for bucket in 0..layout.buckets() {
                assert_eq!(layout.index(layout.lower_bound(bucket)), bucket, "{layout:?}");
                assert_eq!(layout.index(layout.upper_bound(bucket)), bucket, "{layout:?}");
                assert_eq!(layout.lower_bound(bucket + 1), layout.upper_bound(bucket) + 1, "{layout:?}");
            }
        }
    }

    #[test]
    fn a_bucket_is_no_wider_than_the_stated_error() {
        for layout in LAYOUTS {
            for bucket in 1..layout.buckets() {
                let (lower, upper) = (layout.lower_bound(bucket), layout.upper_bound(bucket));
                assert!((upper - lower) as f64 / lower as f64 <= 1.0 / f64::from(1 << layout.grouping));
            }
        }
    }

    #[test]
    fn the_last_bucket_takes_all_that_is_too_large() {
        for layout in LAYOUTS {
            assert_eq!(layout.index(1 << layout.max_power), layout.buckets() - 1);
            assert_eq!(layout.index(u64::MAX), layout.buckets() - 1);
        }
    }
}
