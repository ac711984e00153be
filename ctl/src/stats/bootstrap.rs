//! How much the middle of a series could have been another, where neighbours in time are alike.

use fastrand::Rng;

use super::{
    Interval, Scale, autocorrelation::block_length, mean, order::median_in_place, student_quantile,
    two_sided_student,
};

/// Draws of each series.
const DRAWS: usize = 1_000;

/// What stands for a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Center {
    /// Of rates and gauges: what was done over the time that it took.
    Mean,
    /// Of latencies: single stalls would decide the mean.
    Median,
}

/// What was found about two series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bootstrapped {
    pub(crate) scale: Scale,
    /// The center after less that before, on the scale.
    pub(crate) estimate: f64,
    /// Two-sided.
    pub(crate) p: f64,
    error: f64,
    df: f64,
}

/// Compares two series by the stationary bootstrap: each is put together anew from blocks of itself of random length, so that what hangs
/// together stays together. The error is that of the draws; as few long blocks say little about it, the interval is Student's with
/// as many degrees of freedom as there are blocks. None where a series is empty.
///
/// Politis and Romano, The Stationary Bootstrap, J. Am. Statist. Ass. 89 (1994).
pub(crate) fn bootstrap(before: &[f64], after: &[f64], center: Center, seed: u64) -> Option<Bootstrapped> {
    let (one, other) = (center.of(before)?, center.of(after)?);
    let mut rng = Rng::with_seed(seed);
    let (drawn_before, blocks_before) = draws(before, center, &mut rng);
    let (drawn_after, blocks_after) = draws(after, center, &mut rng);
    let scale = match Scale::of(&[one], &[other]) {
        Scale::Ratio => Scale::of(&drawn_before, &drawn_after),
        Scale::Difference => Scale::Difference,
    };
    let estimate = scale.put(other) - scale.put(one);
    let drawn: Vec<_> = drawn_before
        .iter()
        .zip(&drawn_after)
        .map(|(one, other)| scale.put(*other) - scale.put(*one))
        .collect();
    let middle = mean(&drawn)?;
    let variance = drawn.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / (drawn.len() - 1) as f64;
    let error = variance.sqrt();
    let df = (blocks_before + blocks_after - 2.0).max(1.0);
    let p = if error > 0.0 {
        two_sided_student(estimate / error, df)?
    } else {
        f64::from(u8::from(estimate == 0.0))
    };
    Some(Bootstrapped { scale, estimate, p, error, df })
}

impl Bootstrapped {
    /// Where the difference lies with confidence 1 − `alpha`, on the scale.
    pub(crate) fn interval(&self, alpha: f64) -> Option<Interval> {
        let reach = if self.error > 0.0 { student_quantile(alpha / 2.0, self.df)? * self.error } else { 0.0 };
        Some(Interval { low: self.estimate - reach, high: self.estimate + reach })
    }
}

impl Center {
    /// Of a series.
    pub(crate) fn of(self, values: &[f64]) -> Option<f64> {
        match self {
            Self::Mean => mean(values),
            Self::Median => super::median(values),
        }
    }
}

/// The centers of series drawn from one, and how many blocks it has.
fn draws(values: &[f64], center: Center, rng: &mut Rng) -> (Vec<f64>, f64) {
    let count = values.len();
    let length = block_length(values);
    // Sums of values up to each, to have a block's sum without walking through it.
    let mut sums = vec![0.0; count + 1];
    for (index, value) in values.iter().enumerate() {
        sums[index + 1] = sums[index] + value;
    }
    let mut drawn = Vec::with_capacity(count);
    let draw = |_| {
        drawn.clear();
        let (mut sum, mut taken) = (0.0, 0);
        while taken < count {
            let begin = rng.usize(..count);
            let block = geometric(length, rng).min(count - taken);
            // A block that comes to the end goes on at the beginning.
            let (first, rest) = (block.min(count - begin), block.saturating_sub(count - begin));
            match center {
                Center::Mean => sum += sums[begin + first] - sums[begin] + sums[rest],
                Center::Median => {
                    drawn.extend_from_slice(&values[begin..begin + first]);
                    drawn.extend_from_slice(&values[..rest]);
                }
            }
            taken += block;
        }
        match center {
            Center::Mean => sum / count as f64,
            Center::Median => median_in_place(&mut drawn).unwrap_or_default(),
        }
    };
    ((0..DRAWS).map(draw).collect(), count as f64 / length)
}

/// A block's length: geometric with this mean, at least 1.
fn geometric(mean: f64, rng: &mut Rng) -> usize {
    if mean <= 1.0 {
        return 1;
    }
    // By inversion; 1 − f64() is above 0.
    1 + ((1.0 - rng.f64()).ln() / (1.0 - 1.0 / mean).ln()) as usize
}

#[cfg(test)]
mod tests {
    use super::{super::measured::autoregressive, *};

    /// The standard error of a mean of independent values is σ/√n.
    #[test]
    fn of_independent_values_the_error_is_the_textbooks() {
        let before: Vec<_> = autoregressive(1, 400, 0.0, 1.0);
        let after: Vec<_> = autoregressive(2, 400, 0.0, 1.0);
        let found = bootstrap(&before, &after, Center::Mean, 7).unwrap();
        assert_eq!(found.scale, Scale::Difference);
        let expected = (2.0f64 / 400.0).sqrt();
        assert!((found.error / expected - 1.0).abs() < 0.25, "{} for {expected}", found.error);
    }

    /// Without regard to the neighbours a third of such comparisons would be false alarms.
    #[test]
    fn neighbours_that_are_alike_raise_few_false_alarms() {
        for center in [Center::Mean, Center::Median] {
            let alarms = (0..200)
                .filter(|seed| {
                    let series = |seed| -> Vec<_> {
                        autoregressive(seed, 200, 0.6, 1.0).iter().map(|value| 100.0 + value).collect()
                    };
                    let found = bootstrap(&series(2 * seed), &series(2 * seed + 1), center, *seed).unwrap();
                    found.p < 0.05
                })
                .count();
            assert!(alarms <= 22, "{center:?}: {alarms} of 200");
        }
    }

    #[test]
    fn the_interval_and_the_p_value_agree() {
        let before: Vec<_> = autoregressive(3, 120, 0.5, 2.0).iter().map(|value| 100.0 + value).collect();
        let after: Vec<_> = autoregressive(4, 120, 0.5, 2.0).iter().map(|value| 95.0 + value).collect();
        let found = bootstrap(&before, &after, Center::Mean, 1).unwrap();
        assert_eq!(found.scale, Scale::Ratio);
        let at_p = found.interval(found.p).unwrap();
        assert!(at_p.high.abs() < 1e-3, "{at_p:?}");
        assert!((found.estimate.exp() - 0.95).abs() < 0.02 && found.p < 0.01, "{found:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_answer_and_constants_have_no_error() {
        let series = autoregressive(5, 60, 0.3, 1.0);
        let found = |seed| bootstrap(&series, &series[10..], Center::Median, seed).unwrap().p;
        assert_eq!(found(1), found(1));
        let constant = bootstrap(&[3.0; 20], &[3.0; 20], Center::Mean, 1).unwrap();
        assert_eq!((constant.p, constant.interval(0.05)), (1.0, Some(Interval { low: 0.0, high: 0.0 })));
        assert_eq!(bootstrap(&[3.0; 20], &[4.0; 20], Center::Mean, 1).unwrap().p, 0.0);
        assert!(bootstrap(&[], &[1.0], Center::Mean, 1).is_none());
    }
}
