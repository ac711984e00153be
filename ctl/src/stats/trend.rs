//! Whether a series rises or falls, and how fast, though single values may be anything.

use super::{
    Interval, autocorrelation::autocovariances, median, normal_quantile, order::median_in_place,
    ranks::doubled_ranks, two_sided_normal,
};

/// More points would be thinned out: every pair is looked at.
pub(crate) const MOST_POINTS: usize = 2_000;
/// Of an autocorrelation, in standard deviations: 95 % of what chance makes lies within.
const CHANCE: f64 = 1.96;

/// What was found about a series.
#[derive(Debug, Clone)]
pub(crate) struct Trend {
    /// Median of the slopes between all pairs of points, a unit of time: Theil and Sen's estimate.
    pub(crate) slope: f64,
    /// Two-sided: how likely chance alone makes as clear a rise or fall.
    pub(crate) p: f64,
    /// How many times more the test's variance is than it would be if neighbours were not alike; at least 1.
    pub(crate) correction: f64,
    slopes: Vec<f64>,
    variance: f64,
}

/// Finds the trend in points (time, value), in any order: Mann and Kendall's test with Hamed and Rao's correction for neighbours that are
/// alike, and Theil and Sen's slope. None with fewer than three points, or none at different times.
///
/// Sen, J. Am. Statist. Ass. 63 (1968); Kendall, Rank Correlation Methods, for the variance with ties; Hamed and Rao, Journal of
/// Hydrology 204 (1998).
pub(crate) fn trend(points: &[(f64, f64)]) -> Option<Trend> {
    let mut points = points.to_vec();
    points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    if points.len() < 3 || points.len() > MOST_POINTS {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    let mut concordant = 0.0;
    for (index, (time, value)) in points.iter().enumerate() {
        for (later, other) in &points[index + 1..] {
            if later > time {
                slopes.push((other - value) / (later - time));
                concordant += f64::from(i8::from(other > value) - i8::from(other < value));
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let slope = median(&slopes)?;
    let untied = variance(&points);
    let correction = correction(&points, slope);
    let variance = untied * correction;
    let p = if variance > 0.0 {
        let distance: f64 = (f64::abs(concordant) - 1.0).max(0.0);
        two_sided_normal(distance / variance.sqrt())
    } else {
        1.0
    };
    Some(Trend { slope, p, correction, slopes, variance })
}

impl Trend {
    /// Where the slope lies with confidence 1 − `alpha`: Sen's equation (2.6).
    pub(crate) fn interval(&self, alpha: f64) -> Option<Interval> {
        let count = self.slopes.len() as f64;
        let reach = normal_quantile(alpha / 2.0) * self.variance.sqrt();
        let last = self.slopes.len().checked_sub(1)?;
        let low = ((count - reach) / 2.0).round() - 1.0;
        let high = ((count + reach) / 2.0).round();
        let at = |place: f64| self.slopes[(place.max(0.0) as usize).min(last)];
        Some(Interval { low: at(low), high: at(high) })
    }
}

/// Of the number of pairs that rise less those that fall, where neighbours are not alike.
fn variance(points: &[(f64, f64)]) -> f64 {
    let term = |count: f64| count * (count - 1.0) * (2.0 * count + 5.0);
    let ties =
        |values: Vec<f64>| doubled_ranks(&values).1.into_iter().map(|ties| term(ties as f64)).sum::<f64>();
    let (times, values): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
    ((term(points.len() as f64) - ties(times) - ties(values)) / 18.0).max(0.0)
}

/// Hamed and Rao's n/n*, from the ranks of what is left without the slope. Of the lags only those up to the first that chance could have
/// made: the many behind it would add what chance made of them, and could make the answer surer than it may be.
fn correction(points: &[(f64, f64)], slope: f64) -> f64 {
    let left: Vec<_> = points.iter().map(|(time, value)| value - slope * time).collect();
    let ranks: Vec<_> = doubled_ranks(&left).0.into_iter().map(|rank| rank as f64).collect();
    let count = ranks.len() as f64;
    let covariances = autocovariances(&ranks, ranks.len() - 1);
    if covariances[0] <= 0.0 {
        return 1.0;
    }
    let chance = CHANCE / count.sqrt();
    let sum: f64 = (1..ranks.len())
        .map(|lag| (lag as f64, covariances[lag] / covariances[0]))
        .take_while(|(_, correlation)| *correlation > chance)
        .map(|(lag, correlation)| (count - lag) * (count - lag - 1.0) * (count - lag - 2.0) * correlation)
        .sum();
    (1.0 + 2.0 / (count * (count - 1.0) * (count - 2.0)) * sum).max(1.0)
}

/// Points as medians of at most `bins` parts of the time from the first to the last, at the middle of each part. Parts without points are
/// left out.
pub(super) fn binned(points: &[(f64, f64)], bins: usize) -> Vec<(f64, f64)> {
    let (first, last) = points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(first, last), (time, _)| {
        (first.min(*time), last.max(*time))
    });
    let width = (last - first) / bins as f64;
    if width.is_nan() || width <= 0.0 {
        return Vec::new();
    }
    let mut parts = vec![Vec::new(); bins];
    for (time, value) in points {
        parts[(((time - first) / width) as usize).min(bins - 1)].push(*value);
    }
    let middle = |(index, part): (usize, Vec<f64>)| {
        let mut part = part;
        Some((first + (index as f64 + 0.5) * width, median_in_place(&mut part)?))
    };
    parts.into_iter().enumerate().filter_map(middle).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::measured::autoregressive, *};

    fn numbered(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
        values.into_iter().enumerate().map(|(index, value)| (index as f64, value)).collect()
    }

    /// Sen's own example, as SciPy's tests of `theilslopes` have it: 4 in 3.71 to 4.38 with confidence 93 %.
    #[test]
    fn sens_example_has_the_published_slope_and_interval() {
        let points: Vec<_> = [1.0, 2.0, 3.0, 4.0, 10.0, 12.0, 18.0]
            .into_iter()
            .zip([9.0, 15.0, 19.0, 20.0, 45.0, 55.0, 78.0])
            .collect();
        let found = trend(&points).unwrap();
        let interval = found.interval(0.07).unwrap();
        assert!((found.slope - 4.0).abs() < 1e-9);
        assert!((interval.low - 3.71).abs() < 0.01 && (interval.high - 4.38).abs() < 0.01, "{interval:?}");
    }

    /// Ten that rise: S = 45, its variance 125, Z = 44/√125 = 3.935.
    #[test]
    fn a_steady_rise_has_the_p_value_of_kendalls_table() {
        let found = trend(&numbered((1..=10).map(f64::from))).unwrap();
        assert!((found.variance - 125.0).abs() < 1e-9 && found.correction == 1.0, "{found:?}");
        assert!((found.p - 8.3e-5).abs() < 0.1e-5, "{}", found.p);
        let falling = trend(&numbered((1..=10).map(|n| -f64::from(n)))).unwrap();
        assert_eq!((falling.p, falling.slope), (found.p, -1.0));
    }

    #[test]
    fn ties_lessen_the_variance_and_constants_have_no_trend() {
        let found = trend(&numbered([1.0, 1.0, 2.0, 3.0, 3.0, 3.0])).unwrap();
        // 6·5·17 less 2·1·9 and 3·2·11, over 18.
        assert!((found.variance - (510.0 - 18.0 - 66.0) / 18.0).abs() < 1e-9);
        let constant = trend(&numbered([4.0; 20])).unwrap();
        assert_eq!((constant.p, constant.slope), (1.0, 0.0));
        assert!(trend(&[(1.0, 1.0), (2.0, 2.0)]).is_none());
        assert!(trend(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]).is_none());
    }

    #[test]
    fn neighbours_that_are_alike_raise_few_false_alarms() {
        let alarms = |corrected: bool| {
            let is_alarm = |seed: &u64| {
                let found = trend(&numbered(autoregressive(*seed, 100, 0.6, 1.0))).unwrap();
                let wrong = if corrected { 1.0 } else { found.correction };
                let z = normal_quantile(found.p / 2.0) * wrong.sqrt();
                z > CHANCE
            };
            (0..200u64).filter(is_alarm).count()
        };
        let (with, without) = (alarms(true), alarms(false));
        assert!(with <= 26 && without >= 40, "{with} and {without} of 200");
    }

    #[test]
    fn a_few_wild_values_leave_the_slope_as_it_is() {
        let mut points = numbered((0..100).map(|n| 5.0 + 0.5 * f64::from(n)));
        for index in [3, 40, 41, 90] {
            points[index].1 = 1e6;
        }
        assert!((trend(&points).unwrap().slope - 0.5).abs() < 0.02);
    }

    #[test]
    fn bins_have_the_middle_of_their_time_and_values() {
        let points: Vec<_> =
            (0..100).map(|n| (f64::from(n), if n == 5 { 1e9 } else { f64::from(n / 10) })).collect();
        let bins = binned(&points, 10);
        assert_eq!(bins.len(), 10);
        assert_eq!(bins[0].1, 0.0);
        assert!((bins[0].0 - 4.95).abs() < 1e-9);
        assert!(binned(&[(1.0, 1.0)], 10).is_empty());
        assert_eq!(binned(&[(0.0, 1.0), (10.0, 2.0)], 5).len(), 2);
    }
}
