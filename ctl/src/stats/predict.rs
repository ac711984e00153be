//! Whether one new run is one more of those before.

use super::{Interval, Scale, mean, student_quantile, two_sided_student};

/// Fewer say too little about how much runs differ among themselves.
pub(crate) const FEWEST_FOR_PREDICTION: usize = 5;

/// One new value against several before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Predicted {
    pub(crate) scale: Scale,
    /// Two-sided.
    pub(crate) p: f64,
    /// The new one less the mean of those before, on the scale.
    pub(crate) estimate: f64,
    spread: f64,
    df: f64,
}

/// By the prediction interval of a normal distribution, on the scale: Hahn and Meeker, Statistical Intervals, 4.8. None where those
/// before are fewer than [`FEWEST_FOR_PREDICTION`].
pub(crate) fn predict(before: &[f64], new: f64) -> Option<Predicted> {
    if before.len() < FEWEST_FOR_PREDICTION {
        return None;
    }
    let scale = Scale::of(before, &[new]);
    let before: Vec<_> = before.iter().map(|value| scale.put(*value)).collect();
    let (count, center) = (before.len() as f64, mean(&before)?);
    let variance = before.iter().map(|value| (value - center).powi(2)).sum::<f64>() / (count - 1.0);
    let spread = (variance * (1.0 + 1.0 / count)).sqrt();
    let estimate = scale.put(new) - center;
    let df = count - 1.0;
    let p = if spread > 0.0 {
        two_sided_student(estimate / spread, df)?
    } else {
        f64::from(u8::from(estimate == 0.0))
    };
    Some(Predicted { scale, p, estimate, spread, df })
}

impl Predicted {
    /// Where the difference lies with confidence 1 − `alpha`, on the scale.
    pub(crate) fn interval(&self, alpha: f64) -> Option<Interval> {
        let reach = student_quantile(alpha / 2.0, self.df)? * self.spread;
        Some(Interval { low: self.estimate - reach, high: self.estimate + reach })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Student's t with 4 degrees of freedom: 2.776 for 95 %, as any table has it.
    #[test]
    fn a_value_at_the_edge_of_the_interval_has_the_p_of_its_confidence() {
        let before = [-2.0, -1.0, 0.0, 1.0, 2.0];
        let reach = 2.776_445 * (2.5f64 * 1.2).sqrt();
        let predicted = predict(&before, reach).unwrap();
        assert!((predicted.p - 0.05).abs() < 1e-5, "{}", predicted.p);
        let interval = predicted.interval(0.05).unwrap();
        assert!(interval.low.abs() < 1e-5 && (interval.high - 2.0 * reach).abs() < 1e-5, "{interval:?}");
        assert!(predict(&before[..4], 0.0).is_none());
    }

    #[test]
    fn runs_that_are_all_alike_leave_no_room() {
        assert_eq!(predict(&[3.0; 5], 3.0).unwrap().p, 1.0);
        assert_eq!(predict(&[3.0; 5], 3.1).unwrap().p, 0.0);
    }
}
