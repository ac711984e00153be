//! Statistics over figures and series: pure functions of finite numbers. What is drawn is drawn from a seed, so that the same
//! numbers give the same answer. Where an answer can't be given there is none: never a 0 or a 1 in its place.
//!
//! The distributions are those of `statrs`. Its Mann–Whitney test is not used: it has no exact answer where values are tied, which
//! figures of few runs are, and counts every way to choose one side from both, one by one.

mod autocorrelation;
mod bootstrap;
mod change;
mod combined;
mod drift;
mod leak;
mod multiple;
mod order;
mod peers;
mod predict;
mod ranks;
mod scale;
mod trend;

#[cfg(test)]
pub(crate) mod measured;
#[cfg(test)]
mod planted;

pub(crate) use self::{
    bootstrap::{Bootstrapped, Center, bootstrap},
    change::{change_points, level_shift},
    combined::cauchy_combined,
    drift::{Answer, WorseWay, drift, steady},
    leak::{Leak, LeakTest},
    multiple::benjamini_hochberg,
    order::{mean, median, nearest_rank, robust_z},
    peers::{LEAST_PEERS, Peers},
    predict::{Predicted, predict},
    ranks::{RankTest, least_p, rank_test},
    trend::trend,
};

/// A range that holds the true value with some confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// By the natural logarithm of their ratio. Only of values above 0.
    Ratio,
    /// By their difference.
    Difference,
}

impl Scale {
    /// Ratios where all values are above 0.
    pub(crate) fn of(before: &[f64], after: &[f64]) -> Self {
        if before.iter().chain(after).all(|value| *value > 0.0) { Self::Ratio } else { Self::Difference }
    }

    /// A value on this scale.
    fn put(self, value: f64) -> f64 {
        match self {
            Self::Ratio => value.ln(),
            Self::Difference => value,
        }
    }
}

/// P(|Z| >= |z|) of the standard normal distribution.
fn two_sided_normal(z: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF as _, Normal};
    (2.0 * Normal::standard().sf(z.abs())).min(1.0)
}

/// The z that a standard normal variable exceeds with probability `tail`, 0 < tail < 1.
fn normal_quantile(tail: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF as _, Normal};
    -Normal::standard().inverse_cdf(tail)
}

/// The same of Student's t; `df` above 0.
fn student_quantile(tail: f64, df: f64) -> Option<f64> {
    use statrs::distribution::{ContinuousCDF as _, StudentsT};
    StudentsT::new(0.0, 1.0, df).ok().map(|t| -t.inverse_cdf(tail))
}

/// P(|T| >= |t|) of Student's t; `df` above 0.
fn two_sided_student(t: f64, df: f64) -> Option<f64> {
    use statrs::distribution::{ContinuousCDF as _, StudentsT};
    StudentsT::new(0.0, 1.0, df).ok().map(|student| (2.0 * student.sf(t.abs())).min(1.0))
}
