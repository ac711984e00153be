//! Load as a function of time. Pure: a worker, the daemon and a test get the same answer for the same instant.

use std::{f64::consts::TAU, time::Duration};

use serde::{Deserialize, Serialize};
use ssts_proto::{
    v1::{self, LoadMode, profile},
    validate::{DEFAULT_DUTY_PERCENT, DEFAULT_TOLERANCE_POINTS},
};

use super::{random, rise::Rise};

/// What load a worker is to have, and how exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadProfile {
    /// Over time.
    pub shape: Shape,
    /// Of everything that runs on the core, and not of the worker alone.
    pub of_core: bool,
    /// Workers begin their periods together.
    pub in_step: bool,
    /// By how much the mean may be off, as a share of a core. None where no load was asked, but all there is.
    pub tolerance: Option<f64>,
    /// Where it comes from, of a phase that is ramped into.
    #[serde(default)]
    pub rise: Option<Rise>,
}

/// A load over the time of a phase, as a share of a core: 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The same throughout.
    Constant(f64),
    /// A straight line over the whole phase.
    Ramp {
        /// At its beginning.
        from: f64,
        /// At its end.
        to: f64,
    },
    /// One load after the other, each until its end, the last one for ever.
    Steps(Vec<Step>),
    /// From the least to the greatest load and back in each period.
    Sine {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// Of one oscillation.
        period: Duration,
    },
    /// The high load for a share of each period, then the low one.
    Square {
        /// The low one.
        low: f64,
        /// The high one.
        high: f64,
        /// Of both together.
        period: Duration,
        /// The share of the high one.
        duty: f64,
    },
    /// A straight line in each period.
    Sawtooth {
        /// At its beginning.
        from: f64,
        /// At its end.
        to: f64,
        /// Of one line.
        period: Duration,
    },
    /// A bounded random walk; see [`Curve`].
    RandomWalk {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// The longest move.
        step: f64,
        /// How long each value holds.
        interval: Duration,
        /// Where its random numbers start.
        seed: u64,
    },
    /// What was recorded.
    Trace {
        /// In order of time, the first at 0.
        points: Vec<Step>,
        /// Begins anew after this time.
        repeat_after: Option<Duration>,
    },
}

/// A load from an instant on (of a trace) or up to one (of steps).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Since the phase began.
    pub at: Duration,
    /// A share of a core.
    pub load: f64,
}

impl LoadProfile {
    /// All that a core gives.
    pub const FULL: Self =
        Self { shape: Shape::Constant(1.0), of_core: false, in_step: false, tolerance: None, rise: None };

    /// Whether nothing is asked but all that there is, so that nobody needs to hold back.
    pub fn takes_all(&self) -> bool {
        !self.of_core && self.tolerance.is_none() && self.rise.is_none() && self.shape == Shape::Constant(1.0)
    }

    /// Of a message whose bounds were checked; full load, of which nothing can be missed, where it says nothing.
    pub fn from_message(message: Option<&v1::Profile>) -> Self {
        let Some(profile) = message else { return Self::FULL };
        Self {
            shape: profile.shape.as_ref().map_or(Shape::Constant(1.0), Shape::from_message),
            of_core: profile.mode() == LoadMode::Core,
            in_step: profile.in_step,
            tolerance: Some(profile.tolerance_points.unwrap_or(DEFAULT_TOLERANCE_POINTS) / 100.0),
            rise: None,
        }
    }
}

impl Shape {
    /// Of a message whose bounds were checked.
    pub fn from_message(shape: &profile::Shape) -> Self {
        let share = |percent: f64| percent / 100.0;
        match shape {
            profile::Shape::Constant(constant) => Self::Constant(share(constant.load_percent)),
            profile::Shape::Ramp(ramp) => {
                Self::Ramp { from: share(ramp.from_percent), to: share(ramp.to_percent) }
            }
            profile::Shape::Steps(steps) => {
                let mut end = Duration::ZERO;
                let until = |step: &v1::Step| {
                    end += Duration::from_millis(step.duration_ms);
                    Step { at: end, load: share(step.load_percent) }
                };
                Self::Steps(steps.steps.iter().map(until).collect())
            }
            profile::Shape::Sine(sine) => Self::Sine {
                low: share(sine.low_percent),
                high: share(sine.high_percent),
                period: Duration::from_millis(sine.period_ms),
            },
            profile::Shape::Square(square) => Self::Square {
                low: share(square.low_percent),
                high: share(square.high_percent),
                period: Duration::from_millis(square.period_ms),
                duty: share(square.duty_percent.unwrap_or(DEFAULT_DUTY_PERCENT)),
            },
            profile::Shape::Sawtooth(saw) => Self::Sawtooth {
                from: share(saw.from_percent),
                to: share(saw.to_percent),
                period: Duration::from_millis(saw.period_ms),
            },
            profile::Shape::RandomWalk(walk) => Self::RandomWalk {
                low: share(walk.low_percent),
                high: share(walk.high_percent),
                step: share(walk.step_percent),
                interval: Duration::from_millis(walk.interval_ms),
                seed: walk.seed.unwrap_or_default(),
            },
            profile::Shape::Trace(trace) => Self::Trace {
                points: (trace.points.iter())
                    .map(|point| Step {
                        at: Duration::from_millis(point.at_ms),
                        load: share(point.load_percent),
                    })
                    .collect(),
                repeat_after: trace.repeat_after_ms.map(Duration::from_millis),
            },
        }
    }
}

/// A shape that is followed over time. It remembers how far a random walk has come, so that each look is cheap as long as
/// time moves on.
#[derive(Debug, Clone)]
pub struct Curve {
    shape: Shape,
    /// Of the phase.
    whole: Duration,
    walk: Walk,
    rise: Option<Rise>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Walk {
    /// How many moves were made.
    moves: u64,
    value: f64,
    random: u64,
}

/// Looks at a shape over which a mean is taken. Periods are short against all that a shape does, but for a square's edges.
const LOOKS: u32 = 16;

impl Curve {
    /// In a phase of that length.
    pub fn new(shape: Shape, whole: Duration) -> Self {
        let walk = Walk::begin(&shape);
        Self { shape, whole, walk, rise: None }
    }

    /// The same, coming from another load.
    #[must_use]
    pub fn rising(self, rise: Option<Rise>) -> Self {
        Self { rise, ..self }
    }

    /// The mean load from `begin` on, for `length`.
    pub fn mean(&mut self, begin: Duration, length: Duration) -> f64 {
        let is_settled = self.rise.is_none_or(|rise| begin >= rise.over);
        if let (Shape::Constant(load), true) = (&self.shape, is_settled) {
            return *load;
        }
        // The middles of equal parts.
        let part = length / (2 * LOOKS);
        (0..LOOKS).map(|look| self.at(begin + part * (2 * look + 1))).sum::<f64>() / f64::from(LOOKS)
    }

    /// The load `elapsed` into the phase.
    pub fn at(&mut self, elapsed: Duration) -> f64 {
        let own = self.own_at(elapsed);
        self.rise.map_or(own, |rise| rise.level(own, elapsed))
    }

    /// The same, wherever it comes from.
    fn own_at(&mut self, elapsed: Duration) -> f64 {
        match &self.shape {
            Shape::Constant(load) => *load,
            Shape::Ramp { from, to } => line(*from, *to, share_of(elapsed, self.whole).min(1.0)),
            Shape::Steps(steps) => {
                let index = steps.partition_point(|step| step.at <= elapsed);
                steps.get(index).or(steps.last()).map_or(0.0, |step| step.load)
            }
            Shape::Sine { low, high, period } => {
                let cosine = (TAU * share_of(elapsed, *period).fract()).cos();
                (low + high) / 2.0 - (high - low) / 2.0 * cosine
            }
            Shape::Square { low, high, period, duty } => {
                if share_of(elapsed, *period).fract() < *duty {
                    *high
                } else {
                    *low
                }
            }
            Shape::Sawtooth { from, to, period } => line(*from, *to, share_of(elapsed, *period).fract()),
            Shape::RandomWalk { low, high, step, interval, .. } => {
                let moves = (elapsed.as_nanos() / interval.as_nanos().max(1)) as u64;
                if moves < self.walk.moves {
                    self.walk = Walk::begin(&self.shape);
                }
                while self.walk.moves < moves {
                    self.walk.go(*low, *high, *step);
                }
                self.walk.value
            }
            Shape::Trace { points, repeat_after } => {
                let within = |length: &Duration| elapsed.as_nanos() % length.as_nanos().max(1);
                let elapsed = repeat_after.as_ref().map_or(elapsed.as_nanos(), within);
                let index = points.partition_point(|point| point.at.as_nanos() <= elapsed);
                points.get(index.saturating_sub(1)).map_or(0.0, |point| point.load)
            }
        }
    }
}

impl Walk {
    fn begin(shape: &Shape) -> Self {
        match shape {
            Shape::RandomWalk { low, high, seed, .. } => {
                Self { moves: 0, value: (low + high) / 2.0, random: *seed }
            }
            _ => Self::default(),
        }
    }

    fn go(&mut self, low: f64, high: f64, step: f64) {
        // 53 bits, as many as a mantissa has: -1 to 1.
        let uniform = (random::split_mix(&mut self.random) >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        let value = self.value + uniform * step;
        let reflected = if value > high {
            2.0 * high - value
        } else if value < low {
            2.0 * low - value
        } else {
            value
        };
        self.value = reflected.clamp(low, high);
        self.moves += 1;
    }
}

fn line(from: f64, to: f64, share: f64) -> f64 {
    from + (to - from) * share
}

fn share_of(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn curve(shape: Shape) -> Curve {
        Curve::new(shape, 10 * SECOND)
    }

    fn assert_loads(shape: Shape, expected: &[(u64, f64)]) {
        let mut curve = curve(shape);
        for (ms, load) in expected {
            let got = curve.at(Duration::from_millis(*ms));
            assert!((got - load).abs() < 1e-9, "{curve:?} at {ms} ms: {got}, not {load}");
        }
    }

    #[test]
    fn shapes_follow_their_formulas() {
        assert_loads(Shape::Constant(0.3), &[(0, 0.3), (9_999, 0.3)]);
        assert_loads(
            Shape::Ramp { from: 0.2, to: 0.8 },
            &[(0, 0.2), (5_000, 0.5), (10_000, 0.8), (11_000, 0.8)],
        );
        let step = |ms, load| Step { at: Duration::from_millis(ms), load };
        assert_loads(
            Shape::Steps(vec![step(1_000, 0.1), step(3_000, 0.9), step(3_000, 0.5)]),
            &[(0, 0.1), (999, 0.1), (1_000, 0.9), (2_999, 0.9), (3_000, 0.5), (60_000, 0.5)],
        );
        assert_loads(
            Shape::Sine { low: 0.1, high: 0.9, period: 4 * SECOND },
            &[(0, 0.1), (1_000, 0.5), (2_000, 0.9), (3_000, 0.5), (4_000, 0.1), (6_000, 0.9)],
        );
        assert_loads(
            Shape::Square { low: 0.0, high: 1.0, period: SECOND, duty: 0.25 },
            &[(0, 1.0), (249, 1.0), (250, 0.0), (999, 0.0), (1_000, 1.0), (7_500, 0.0)],
        );
        assert_loads(
            Shape::Sawtooth { from: 0.2, to: 0.6, period: 2 * SECOND },
            &[(0, 0.2), (1_000, 0.4), (1_500, 0.5), (2_000, 0.2)],
        );
        let points = vec![step(0, 0.1), step(1_000, 0.7), step(1_500, 0.3)];
        assert_loads(
            Shape::Trace { points: points.clone(), repeat_after: None },
            &[(0, 0.1), (999, 0.1), (1_000, 0.7), (1_500, 0.3), (9_000, 0.3)],
        );
        assert_loads(
            Shape::Trace { points, repeat_after: Some(2 * SECOND) },
            &[(1_999, 0.3), (2_000, 0.1), (3_200, 0.7), (5_900, 0.3)],
        );
    }

    #[test]
    fn a_mean_counts_each_side_of_an_edge() {
        let mut square = curve(Shape::Square { low: 0.0, high: 1.0, period: SECOND, duty: 0.5 });
        let mean = square.mean(Duration::from_millis(495), Duration::from_millis(10));
        assert!((mean - 0.5).abs() < 1e-9, "{mean}");
        let mut ramp = curve(Shape::Ramp { from: 0.0, to: 1.0 });
        assert!((ramp.mean(Duration::ZERO, 10 * SECOND) - 0.5).abs() < 1e-9);
    }

    fn walk(seed: u64) -> Curve {
        let interval = Duration::from_millis(10);
        curve(Shape::RandomWalk { low: 0.2, high: 0.6, step: 0.1, interval, seed })
    }

    #[test]
    fn a_walk_stays_in_its_bounds_and_takes_no_longer_step() {
        let mut walk = walk(1);
        let (mut before, mut least, mut most) = (0.4, 1.0f64, 0.0f64);
        for ms in (0..100_000).step_by(10) {
            let load = walk.at(Duration::from_millis(ms));
            assert!((0.2..=0.6).contains(&load) && (load - before).abs() <= 0.1 + 1e-9);
            before = load;
            (least, most) = (least.min(load), most.max(load));
        }
        assert!(least < 0.25 && most > 0.55, "it does not walk: {least} to {most}");
    }

    #[test]
    fn a_load_comes_from_the_one_before_whatever_its_own_shape_is() {
        let rise = Some(Rise { from: 0.9, over: 4 * SECOND });
        let mut constant = curve(Shape::Constant(0.1)).rising(rise);
        let at = [0, 2, 4, 9].map(|seconds| constant.at(seconds * SECOND));
        assert!(at.iter().zip([0.9, 0.5, 0.1, 0.1]).all(|(one, other)| (one - other).abs() < 1e-9), "{at:?}");
        let early = constant.mean(Duration::ZERO, 2 * SECOND);
        assert!((early - 0.7).abs() < 1e-9 && constant.mean(5 * SECOND, SECOND) == 0.1, "{early}");
        let mut ramp = curve(Shape::Ramp { from: 0.0, to: 1.0 }).rising(rise);
        assert!((ramp.at(2 * SECOND) - 0.55).abs() < 1e-9 && (ramp.at(5 * SECOND) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_walk_is_the_same_for_the_same_seed_wherever_it_is_looked_at() {
        let (mut one, mut other, mut third) = (walk(7), walk(7), walk(8));
        let late = Duration::from_secs(9);
        let value = one.at(late);
        for ms in (0..=9_000).step_by(7) {
            other.at(Duration::from_millis(ms));
        }
        assert_eq!(value.to_bits(), other.at(late).to_bits());
        assert_ne!(value.to_bits(), third.at(late).to_bits());
        // Back in time.
        assert_eq!(other.at(Duration::ZERO), 0.4);
        assert_eq!(value.to_bits(), other.at(late).to_bits());
    }
}
