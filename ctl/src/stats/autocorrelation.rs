//! How much a value of a series tells about those that follow it.

/// Autocovariances of lags 0 to `lags`, each over the number of all values, so that they are those of some process.
pub(super) fn autocovariances(values: &[f64], lags: usize) -> Vec<f64> {
    let count = values.len();
    let mean = super::mean(values).unwrap_or_default();
    let centered: Vec<_> = values.iter().map(|value| value - mean).collect();
    (0..=lags.min(count.saturating_sub(1)))
        .map(|lag| {
            let products = centered.iter().zip(&centered[lag..]).map(|(one, other)| one * other);
            products.sum::<f64>() / count as f64
        })
        .collect()
}

/// The mean length of blocks for the stationary bootstrap of a mean, at least 1.
///
/// Politis and White, Automatic Block-Length Selection for the Dependent Bootstrap, Econometric Reviews 23 (2004), with the
/// correction by Patton, Politis and White, Econometric Reviews 28 (2009).
pub(super) fn block_length(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if count < 4.0 {
        return 1.0;
    }
    // Section 3.1: lags count until so many in a row are within what chance makes of none.
    let in_a_row = count.log10().sqrt().ceil().max(5.0) as usize;
    let most = (count.sqrt().ceil() as usize + in_a_row).min(values.len() - 1);
    let covariances = autocovariances(values, most);
    let variance = covariances[0];
    if variance <= 0.0 {
        return 1.0;
    }
    let chance = 2.0 * (count.log10() / count).sqrt();
    let is_chance = |lag: usize| covariances.get(lag).is_none_or(|it| (it / variance).abs() < chance);
    let last = (0..most).find(|lag| (1..=in_a_row).all(|next| is_chance(lag + next))).unwrap_or(most);
    let bandwidth = (2 * last.max(1)).min(most);
    // The flat-top window, their equation (6).
    let window = |lag: usize| (2.0 * (1.0 - lag as f64 / bandwidth as f64)).clamp(0.0, 1.0);
    let (mut spectrum, mut slope) = (variance, 0.0);
    for (lag, covariance) in covariances.iter().enumerate().take(bandwidth + 1).skip(1) {
        spectrum += 2.0 * window(lag) * covariance;
        slope += 2.0 * window(lag) * lag as f64 * covariance;
    }
    if spectrum <= 0.0 {
        return 1.0;
    }
    let longest = (3.0 * count.sqrt()).min(count / 3.0).ceil().max(1.0);
    // (2 G² / D)^(1/3) N^(1/3) with D = 2 g(0)².
    ((slope / spectrum).powi(2) * count).cbrt().clamp(1.0, longest)
}

#[cfg(test)]
mod tests {
    use super::{super::measured::autoregressive, *};

    /// Of an AR(1) process G/g(0) is 2φ/(1−φ²).
    #[test]
    fn blocks_of_an_autoregressive_series_are_about_as_long_as_theory_has_them() {
        for phi in [0.3f64, 0.7, 0.9] {
            let count = 2_000;
            let theory = ((2.0 * phi / (1.0 - phi * phi)).powi(2) * f64::from(count)).cbrt();
            let lengths: Vec<_> =
                (0..31).map(|seed| block_length(&autoregressive(seed, count as usize, phi, 1.0))).collect();
            let found = super::super::median(&lengths).unwrap();
            assert!((theory * 0.6..theory * 1.6).contains(&found), "{phi}: {found} for {theory}");
        }
    }

    #[test]
    fn independent_and_constant_values_need_no_blocks() {
        let lengths: Vec<_> =
            (0..31).map(|seed| block_length(&autoregressive(seed, 1_000, 0.0, 1.0))).collect();
        assert!(super::super::median(&lengths).unwrap() < 4.0, "{lengths:?}");
        assert_eq!(block_length(&[3.0; 100]), 1.0);
        assert_eq!(block_length(&[]), 1.0);
        assert_eq!(block_length(&[1.0, 2.0]), 1.0);
    }
}
