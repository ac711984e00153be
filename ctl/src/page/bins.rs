//! Values over time in a bounded number of bins, whatever the length of the run: when there are too many, neighbours are
//! joined and bins are twice as wide.

use std::collections::BTreeMap;

/// As many as a plot is wide, about.
const MOST: usize = 600;
/// At first: frames come at 100 Hz at most.
const NARROWEST_S: f64 = 0.1;

/// What can be joined with its neighbour.
pub(crate) trait Join: Default {
    fn join(&mut self, other: Self);
}

/// Bins from time 0 on.
#[derive(Debug)]
pub(crate) struct Bins<T> {
    width_s: f64,
    bins: Vec<T>,
}

impl<T> Default for Bins<T> {
    fn default() -> Self {
        Self { width_s: NARROWEST_S, bins: Vec::new() }
    }
}

impl<T: Join> Bins<T> {
    /// The bin of an instant, s; nothing for one before time 0.
    pub(crate) fn at(&mut self, second: f64) -> Option<&mut T> {
        if second.is_nan() || second < 0.0 {
            return None;
        }
        while second / self.width_s >= MOST as f64 {
            self.halve();
        }
        let index = (second / self.width_s) as usize;
        if index >= self.bins.len() {
            self.bins.resize_with(index + 1, T::default);
        }
        self.bins.get_mut(index)
    }

    fn halve(&mut self) {
        let mut bins = std::mem::take(&mut self.bins).into_iter();
        while let Some(mut bin) = bins.next() {
            if let Some(neighbour) = bins.next() {
                bin.join(neighbour);
            }
            self.bins.push(bin);
        }
        self.width_s *= 2.0;
    }

    /// Begin, end (s) and content of each bin.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (f64, f64, &T)> {
        let width = self.width_s;
        self.bins
            .iter()
            .enumerate()
            .map(move |(index, bin)| (index as f64 * width, (index + 1) as f64 * width, bin))
    }
}

/// Mean and greatest of some values.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Values {
    sum: f64,
    count: f64,
    max: f64,
}

impl Values {
    pub(crate) fn add(&mut self, value: f64) {
        self.join(Self { sum: value, count: 1.0, max: value });
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

impl Join for Values {
    fn join(&mut self, other: Self) {
        self.max = if self.count > 0.0 { self.max.max(other.max) } else { other.max };
        self.sum += other.sum;
        self.count += other.count;
    }
}

/// How often values lay in each bucket of a histogram, by its upper bound: as exact as the histogram is. Drawn, buckets are
/// gathered in rows of half an octave, for more could not be told apart.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Spread(BTreeMap<u64, u64>);

impl Spread {
    pub(super) fn add(&mut self, value: u64, count: u64) {
        *self.0.entry(value).or_default() += count;
    }

    /// Row and count, rising.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u32, u64)> {
        let mut rows = BTreeMap::<u32, u64>::new();
        for (value, count) in &self.0 {
            *rows.entry(Self::row(*value)).or_default() += count;
        }
        rows.into_iter()
    }

    /// Twice the binary logarithm, rounded down.
    fn row(value: u64) -> u32 {
        ((value.max(1) as f64).log2() * 2.0) as u32
    }

    /// The least value of a row.
    pub(super) fn lower_bound(row: u32) -> f64 {
        (f64::from(row) / 2.0).exp2()
    }

    /// The upper bound of the bucket where the share `q` of all lies.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let total: u64 = self.0.values().sum();
        let rank = (q * total as f64).ceil().max(1.0);
        let mut seen = 0;
        self.0
            .iter()
            .find(|(_, count)| {
                seen += **count;
                seen as f64 >= rank
            })
            .map(|(value, _)| *value as f64)
    }
}

impl Join for Spread {
    fn join(&mut self, other: Self) {
        for (value, count) in other.0 {
            *self.0.entry(value).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_as_many_bins_and_loses_no_value() {
        let mut bins = Bins::<Values>::default();
        for tick in 0..100_000u32 {
            bins.at(f64::from(tick) / 10.0).unwrap().add(1.0);
        }
        assert!(bins.at(-1.0).is_none() && bins.at(f64::NAN).is_none());
        let count: f64 = bins.iter().map(|(.., bin)| bin.count).sum();
        assert!(bins.bins.len() <= MOST && bins.bins.len() > MOST / 3, "{}", bins.bins.len());
        assert_eq!(count, 100_000.0);
        let (begin, end, _) = bins.iter().last().unwrap();
        assert!(begin < 10_000.0 && end >= 9_999.9);
    }

    #[test]
    fn values_have_a_mean_and_none_where_there_are_none() {
        let mut values = Values::default();
        assert_eq!(values.mean(), None);
        values.add(-3.0);
        values.add(1.0);
        assert_eq!((values.mean(), values.max), (Some(-1.0), 1.0));
    }

    #[test]
    fn a_quantile_is_the_upper_bound_of_its_bucket_and_no_row_s() {
        let mut spread = Spread::default();
        spread.add(103, 49);
        spread.add(111, 50);
        spread.add(1_000_000, 1);
        let quantiles = [0.49, 0.5, 0.99, 1.0].map(|q| spread.quantile(q));
        assert_eq!(quantiles, [Some(103.0), Some(111.0), Some(111.0), Some(1e6)]);
        assert_eq!(Spread::default().quantile(0.5), None);
        // Both of the first two lie between 2^6.5 and 2^7.
        assert_eq!(spread.rows().collect::<Vec<_>>(), [(13, 99), (39, 1)]);
        let mut other = Spread::default();
        other.add(103, 1);
        spread.join(other);
        assert_eq!(spread.quantile(0.49), Some(103.0));
        assert_eq!(spread.rows().map(|(_, count)| count).sum::<u64>(), 101);
    }
}
