//! One value among its peers: how far from them it is, and how often chance would put it so far.

use super::{median, scale::qn, two_sided_normal, two_sided_student};

/// Fewer peers show nothing of how much they vary.
pub(crate) const LEAST_PEERS: usize = 4;

/// What those are like that a value is put beside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Peers {
    pub(crate) count: usize,
    pub(crate) median: f64,
    /// Their robust standard deviation.
    scale: f64,
}

impl Peers {
    /// None of no values. They are taken to vary by `least_scale` at least: a few may be alike by chance.
    pub(crate) fn of(values: &[f64], least_scale: f64) -> Option<Self> {
        let scale = qn(values).unwrap_or(0.0).max(least_scale).max(f64::MIN_POSITIVE);
        Some(Self { count: values.len(), median: median(values)?, scale })
    }

    /// The same, of one fewer.
    pub(crate) fn but_one(self) -> Self {
        Self { count: self.count - 1, ..self }
    }

    /// How far above their median a value is, in their robust standard deviations: the modified z-score of Iglewicz and Hoaglin
    /// (How to Detect and Handle Outliers, ASQC 1993), with Qn in the place of the median absolute deviation, which needs twice the
    /// values to know as much.
    pub(crate) fn score(&self, value: f64) -> f64 {
        (value - self.median) / self.scale
    }

    /// How often a value of their own normal distribution would be so far above them, or farther. None of too few.
    pub(crate) fn p_above(&self, score: f64) -> Option<f64> {
        if self.count < LEAST_PEERS || score.is_nan() {
            return None;
        }
        let Reference { degrees, stretch } = Reference::of(self.count);
        let t = score.clamp(-1e9, 1e9) / stretch;
        let both = if degrees.is_finite() { two_sided_student(t, degrees)? } else { two_sided_normal(t) };
        Some(if t >= 0.0 { both / 2.0 } else { 1.0 - both / 2.0 })
    }
}
