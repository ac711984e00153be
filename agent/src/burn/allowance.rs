//! What a rate that changes over time has allowed so far, and when it will have allowed more. In seconds of the whole rate, so
//! that it serves I/Os, bytes and bits alike; the same for every worker, and the same for the same seed.

use std::time::Duration;

use super::profile::{Curve, Shape};

/// The rate is the same for so long.
const STEP: Duration = Duration::from_millis(1);
/// How far it looks ahead for a rate that rests: whoever waits looks again.
const AHEAD: u32 = 1_000;

/// A rate's integral, which only moves on.
#[derive(Debug)]
pub(super) struct Allowance {
    curve: Curve,
    /// Since the phase began.
    at: Duration,
    /// Seconds of the whole rate up to then.
    allowed_s: f64,
}

impl Allowance {
    /// In a phase of that length.
    pub(super) fn new(share: &Shape, phase: Duration) -> Self {
        Self { curve: Curve::new(share.clone(), phase), at: Duration::ZERO, allowed_s: 0.0 }
    }

    /// Seconds of the whole rate that were allowed up to then. Earlier than it has looked already: up to there.
    pub(super) fn until(&mut self, elapsed: Duration) -> f64 {
        while self.at + STEP <= elapsed {
            self.move_on();
        }
        self.allowed_s + self.share() * elapsed.saturating_sub(self.at).as_secs_f64()
    }

    /// When so many seconds of the whole rate will have been allowed; or, where that is far off, when to look again. To be
    /// asked for what grows.
    pub(super) fn when(&mut self, wanted_s: f64) -> Duration {
        for _ in 0..AHEAD {
            let gain = self.share() * STEP.as_secs_f64();
            let lacking = wanted_s - self.allowed_s;
            if lacking <= 0.0 {
                return self.at;
            }
            if lacking < gain {
                return self.at + STEP.mul_f64(lacking / gain);
            }
            self.move_on();
        }
        self.at + STEP * AHEAD
    }

    fn move_on(&mut self) {
        self.allowed_s += self.share() * STEP.as_secs_f64();
        self.at += STEP;
    }

    /// In the step that begins now.
    fn share(&mut self) -> f64 {
        self.curve.at(self.at + STEP / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-6
    }

    #[test]
    fn what_is_allowed_is_the_area_below_the_curve() {
        let mut full = Allowance::new(&Shape::Constant(1.0), SECOND);
        assert!(near(full.until(SECOND.mul_f64(0.7505)), 0.7505));
        let mut ramp = Allowance::new(&Shape::Ramp { from: 0.0, to: 1.0 }, 2 * SECOND);
        assert!(near(ramp.until(2 * SECOND), 1.0));
        let square = Shape::Square { low: 0.0, high: 0.5, period: SECOND, duty: 0.5 };
        let mut square = Allowance::new(&square, 10 * SECOND);
        assert!(near(square.until(10 * SECOND), 2.5));
    }

    #[test]
    fn an_instant_is_that_at_which_so_much_is_allowed() {
        let square = Shape::Square { low: 0.0, high: 0.5, period: 4 * SECOND, duty: 0.5 };
        let mut square = Allowance::new(&square, 10 * SECOND);
        assert!(near(square.when(0.5).as_secs_f64(), 1.0));
        assert!(near(square.when(0.99995).as_secs_f64(), 1.9999));
        // Two seconds of rest lie before the next one: it says to look again, and never that it is due.
        let mut due = square.when(1.25);
        while due < 4 * SECOND {
            due = square.when(1.25);
        }
        assert!(near(square.when(1.25).as_secs_f64(), 4.5), "{due:?}");
    }
}
