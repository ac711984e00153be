//! How a load comes from the one before it: in a straight line over the first part of a phase, up or down. Pure, as profiles are.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where a load comes from, and in which time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rise {
    /// What there was before: a share of a core, or so much a second. It may be more than what comes.
    pub from: f64,
    /// In which it becomes the load's own.
    pub over: Duration,
}

impl Rise {
    /// The load at an instant of the phase, where the load's own is `to` then.
    pub fn level(self, to: f64, elapsed: Duration) -> f64 {
        if elapsed >= self.over {
            return to;
        }
        self.from + (to - self.from) * (elapsed.as_secs_f64() / self.over.as_secs_f64())
    }

    /// How much is due by an instant of the phase, where `to` a second are due in the end.
    pub fn due_by(self, to: f64, elapsed: Duration) -> f64 {
        let over = self.over.as_secs_f64();
        let elapsed = elapsed.as_secs_f64();
        let rising = elapsed.min(over);
        let first = self.from * rising + (to - self.from) * rising * rising / (2.0 * over.max(1e-9));
        first + to * (elapsed - rising)
    }

    /// When so much is due: the inverse of [`Rise::due_by`].
    pub fn due_at(self, to: f64, amount: f64) -> Duration {
        let over = self.over.as_secs_f64();
        let first = (self.from + to) / 2.0 * over;
        let seconds = if amount >= first {
            over + (amount - first) / to
        } else {
            // Of slope * t^2 / 2 + from * t = amount the root that keeps its digits.
            let slope = (to - self.from) / over;
            let root = (self.from * self.from + 2.0 * slope * amount).max(0.0).sqrt();
            if amount <= 0.0 { 0.0 } else { 2.0 * amount / (self.from + root) }
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_level_goes_up_or_down_and_stays() {
        for (from, to, at, level) in [
            (0.0, 1.0, 0, 0.0),
            (0.0, 1.0, 5, 0.5),
            (0.8, 0.2, 5, 0.5),
            (0.8, 0.2, 10, 0.2),
            (0.8, 0.2, 99, 0.2),
        ] {
            let found = Rise { from, over: 10 * SECOND }.level(to, at * SECOND);
            assert!((found - level).abs() < 1e-12, "{from} to {to} at {at}: {found}");
        }
    }

    #[test]
    fn what_is_due_is_the_integral_of_the_rate_and_its_inverse() {
        for (from, to) in [(0.0, 1_000.0), (200.0, 1_000.0), (1_000.0, 100.0), (500.0, 500.0)] {
            let rise = Rise { from, over: 4 * SECOND };
            let mut sum = 0.0;
            for ms in 0..6_000u32 {
                let at = Duration::from_micros(u64::from(ms) * 1_000 + 500);
                sum += rise.level(to, at) / 1e3;
                let until = Duration::from_millis(u64::from(ms) + 1);
                let due = rise.due_by(to, until);
                assert!((due - sum).abs() < 1e-6 * sum.max(1.0), "{from} to {to} at {ms} ms: {due}, {sum}");
                let back = rise.due_at(to, due);
                assert!(
                    back.abs_diff(until) < Duration::from_micros(1),
                    "{from} to {to}: {back:?} {until:?}"
                );
            }
        }
        assert_eq!(Rise { from: 0.0, over: SECOND }.due_at(10.0, 0.0), Duration::ZERO);
    }
}
