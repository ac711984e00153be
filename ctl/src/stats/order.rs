//! Medians and distances from them.

/// Of a normal distribution the standard deviation over the median absolute deviation.
const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;
/// Of a normal distribution the standard deviation over the mean absolute deviation: √(π/2).
const MEAN_DEVIATION_TO_SIGMA: f64 = 1.253_314_137_315_5;

/// The arithmetic mean.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The middle one, or the mean of the middle two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    median_in_place(&mut values)
}

/// As [`median`], and leaves the values in another order.
pub(super) fn median_in_place(values: &mut [f64]) -> Option<f64> {
    let count = values.len();
    let middle = count.checked_sub(1)? / 2;
    let (_, low, above) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let low = *low;
    if count % 2 == 1 {
        return Some(low);
    }
    let high = above.iter().copied().min_by(f64::total_cmp)?;
    Some(f64::midpoint(low, high))
}

/// The least value that `percent` of them do not exceed: one of them, and of few values the greatest.
///
/// Hyndman and Fan, Sample Quantiles in Statistical Packages, 1996: definition 1.
pub(crate) fn nearest_rank(values: &[f64], percent: u8) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (usize::from(percent) * sorted.len()).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// How many standard deviations each value is from the median, by the median absolute deviation; beyond 3.5 a value is
/// commonly called an outlier. Where most values are equal the mean absolute deviation serves, and where all are, none is away.
///
/// Iglewicz and Hoaglin, How to Detect and Handle Outliers, ASQC 1993.
pub(crate) fn robust_z(values: &[f64]) -> Vec<f64> {
    let Some(center) = median(values) else { return Vec::new() };
    let distances: Vec<_> = values.iter().map(|value| (value - center).abs()).collect();
    let by_median = median(&distances).unwrap_or_default() * MAD_TO_SIGMA;
    let sigma = if by_median > 0.0 {
        by_median
    } else {
        mean(&distances).unwrap_or_default() * MEAN_DEVIATION_TO_SIGMA
    };
    values.iter().map(|value| if sigma > 0.0 { (value - center) / sigma } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=40).rev().map(f64::from).collect();
        for (percent, expected) in [(1, 1.0), (50, 20.0), (95, 38.0), (99, 40.0)] {
            assert_eq!(nearest_rank(&values, percent), Some(expected), "p{percent}");
        }
        assert_eq!(nearest_rank(&[3.0, 1.0], 95), Some(3.0));
        assert_eq!(nearest_rank(&[], 50), None);
    }

    /// NIST/SEMATECH e-Handbook 1.3.5.17: the modified z-score is 0.6745 (x − median) / MAD.
    #[test]
    fn a_modified_z_score_is_that_of_the_handbook() {
        let values = [2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3];
        let scores = robust_z(&values);
        // Median 2.45, distances' median 0.15.
        let expected = |value: f64| 0.674_489_75 * (value - 2.45) / 0.15;
        for (score, value) in scores.iter().zip(values) {
            assert!((score - expected(value)).abs() < 1e-6, "{value}: {score}");
        }
        assert!(scores[8] > 3.5 && scores[7] < 3.5);
    }

    #[test]
    fn equal_values_are_no_distance_away_and_one_among_them_is() {
        assert_eq!(robust_z(&[5.0; 4]), [0.0; 4]);
        let scores = robust_z(&[5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 9.0]);
        assert!(scores[7] > 3.5, "{scores:?}");
    }
}
