//! Several answers to one question.

use std::f64::consts::PI;

/// What several one-sided p-values say together, whatever hangs together among them: as surely as the least says after its
/// correction for their number where one alone is small, and more surely where several are. A p-value above 1/2 counts as 1/2:
/// what speaks for something outweighs nothing that speaks against it.
///
/// The Cauchy combination test: Liu and Xie, J. Am. Stat. Assoc. 115 (2020).
pub(crate) fn cauchy_combined(p: &[f64]) -> Option<f64> {
    if p.is_empty() {
        return None;
    }
    // tan(π(1/2 − p)) is 1/(πp) of a p that is too small for the difference to be told.
    let score = |p: f64| if p < 1e-15 { 1.0 / (PI * p.max(1e-300)) } else { (PI * (0.5 - p.min(0.5))).tan() };
    let mean = p.iter().map(|p| score(*p)).sum::<f64>() / p.len() as f64;
    // 1/2 − atan(t)/π, without the loss of digits where t is large.
    Some(if mean > 1.0 { (1.0 / mean).atan() / PI } else { 0.5 - mean.atan() / PI })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_small_value_is_corrected_for_their_number() {
        assert_eq!(cauchy_combined(&[]), None);
        let alone = cauchy_combined(&[1e-4]).unwrap();
        assert!((alone - 1e-4).abs() < 1e-12, "{alone}");
        let mut p = vec![0.5; 20];
        p[7] = 1e-4;
        let found = cauchy_combined(&p).unwrap();
        assert!((found / 2e-3 - 1.0).abs() < 1e-3, "{found}");
    }

    #[test]
    fn several_small_values_say_more() {
        let found = cauchy_combined(&[1e-4, 1e-4, 1e-4, 0.9]).unwrap();
        assert!((found / (4.0 / 3.0 * 1e-4) - 1.0).abs() < 1e-3, "{found}");
        let tiny = cauchy_combined(&[1e-40, 0.5]).unwrap();
        assert!((tiny / 2e-40 - 1.0).abs() < 1e-6, "{tiny}");
        assert_eq!(cauchy_combined(&[0.5, 1.0]), Some(0.5));
        assert!(cauchy_combined(&[0.0]).is_some_and(|p| p < 1e-200));
    }
}
