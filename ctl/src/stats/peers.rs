//! One value among its peers: how far from them it is, and how often chance would put it so far.

use super::{
    median,
    scale::{all_but_a_quarter, distance_scale},
    two_sided_student,
};

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
        let scale = distance_scale(values).unwrap_or(0.0).max(least_scale).max(f64::MIN_POSITIVE);
        Some(Self { count: values.len(), median: median(values)?, scale })
    }

    /// The same, of one fewer.
    pub(crate) fn but_one(self) -> Self {
        Self { count: self.count - 1, ..self }
    }

    /// How far above their median a value is, in their robust standard deviations: the modified z-score of Iglewicz and Hoaglin
    /// (How to Detect and Handle Outliers, ASQC 1993), with [`distance_scale`] in the place of the median absolute deviation, which needs
    /// more than twice the values to know as much.
    pub(crate) fn score(&self, value: f64) -> f64 {
        (value - self.median) / self.scale
    }

    /// How often a value of their own normal distribution would be so far above them, or farther. None of too few.
    ///
    /// Few values show little of how much they vary: the scale is small by chance as often as those that count for it happen to be close
    /// together, so that scores have the tail of Student's t with one degree of freedom less than these; in the middle they have its
    /// shape as well, nearly.
    pub(crate) fn p_above(&self, score: f64) -> Option<f64> {
        if self.count < LEAST_PEERS || score.is_nan() {
            return None;
        }
        let degrees = (all_but_a_quarter(self.count) - 1) as f64;
        let score = score.clamp(-1e9, 1e9);
        let both = two_sided_student(score, degrees)?;
        Some(if score >= 0.0 { both / 2.0 } else { 1.0 - both / 2.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{student_quantile, two_sided_normal};

    fn normal(random: &mut fastrand::Rng) -> f64 {
        // Box and Muller.
        (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos()
    }

    /// The bar for a p-value: chance puts a value beyond it no more often than it says. Over drawn peers the rate for one more value
    /// of theirs is known exactly.
    #[test]
    fn chance_is_as_rare_as_is_said_or_rarer() {
        let mut random = fastrand::Rng::with_seed(1);
        for count in [4, 5, 6, 7, 8, 9, 11, 15, 24, 40] {
            let drawn: Vec<Peers> = (0..10_000)
                .map(|_| {
                    let values: Vec<f64> = (0..count).map(|_| normal(&mut random)).collect();
                    Peers::of(&values, 0.0).unwrap()
                })
                .collect();
            for said in [0.1, 0.02, 0.003] {
                let score = student_quantile(said, (all_but_a_quarter(count) - 1) as f64).unwrap();
                let above = |z: f64| {
                    if z >= 0.0 { two_sided_normal(z) / 2.0 } else { 1.0 - two_sided_normal(z) / 2.0 }
                };
                let rates = drawn.iter().map(|peers| above(peers.median + score * peers.scale));
                let rate = rates.sum::<f64>() / drawn.len() as f64;
                let p = drawn[0].p_above(score).unwrap();
                assert!((0.5..1.1).contains(&(rate / p)), "{count} peers: {p} is said, and it is {rate}");
            }
        }
    }

    #[test]
    fn a_value_is_put_beside_the_middle_of_its_peers() {
        let peers = Peers::of(&[10.0, 11.0, 9.0, 10.5, 9.5], 0.0).unwrap();
        assert_eq!((peers.count, peers.median, peers.score(10.0)), (5, 10.0, 0.0));
        assert!(peers.score(20.0) > 5.0 && peers.p_above(peers.score(20.0)).unwrap() < 0.02);
        assert!(peers.p_above(-3.0).unwrap() > 0.9);
        // Alike by chance: they are taken to vary by the least.
        let alike = Peers::of(&[10.0; 5], 0.5).unwrap();
        assert_eq!(alike.score(11.0), 2.0);
        let three = Peers::of(&[1.0, 2.0, 3.0], 0.0).unwrap();
        assert_eq!(three.p_above(9.0), None);
        assert!(Peers::of(&[], 1.0).is_none());
    }
}
