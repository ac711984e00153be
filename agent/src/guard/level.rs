//! Whether a guard has tripped: a state machine over what it was told in each frame.
//!
//! ```text
//!            beyond               for long enough
//!   clear ──────────▶ pending ────────────────────▶ tripped
//!     ▲ ◀──────────────┘ not beyond                   │
//!     └───────────────────────────────────────────────┘ back by the hysteresis
//! ```
//! A missing reading trips from anywhere: it was waited for before it is told as such.

use std::time::Duration;

/// When a value is beyond, and when it is back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    /// Beyond is below the limit.
    pub(super) is_floor: bool,
    /// At it, a value is not beyond.
    pub(super) limit: f64,
    /// How far back it has to come; at least 0.
    pub(super) hysteresis: f64,
    /// How long it has to be beyond.
    pub(super) lasting: Duration,
}

impl Rule {
    /// Whether a value is on the wrong side.
    pub(super) fn is_beyond(&self, value: f64) -> bool {
        self.headroom(value) < 0.0
    }

    /// Whether a value is as far on the right side as clears a guard that tripped.
    pub(super) fn is_back(&self, value: f64) -> bool {
        self.headroom(value) >= self.hysteresis
    }

    /// How far a value is from the limit; negative on the wrong side.
    pub(super) fn headroom(&self, value: f64) -> f64 {
        if self.is_floor { value - self.limit } else { self.limit - value }
    }

    /// The one that is nearer to the wrong side.
    pub(super) fn worse(&self, one: f64, other: f64) -> bool {
        self.headroom(one) < self.headroom(other)
    }
}

/// What a frame tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Told {
    /// The worst value.
    Value(f64),
    /// There is a source, and it counted nothing: as good as can be.
    Nothing,
    /// What is relied on has been away for too long.
    Missing,
    /// No reading yet, or not for long.
    Unknown,
}

/// Where a guard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// On the right side.
    Clear,
    /// On the wrong side since an instant of CLOCK_MONOTONIC.
    Pending(Duration),
    /// It was there for long enough.
    Tripped,
}

impl Level {
    /// The level after a frame that ended at `now`, CLOCK_MONOTONIC.
    #[must_use]
    pub(super) fn after(self, rule: &Rule, told: Told, now: Duration) -> Self {
        match (self, told) {
            (_, Told::Missing) => Self::Tripped,
            (level, Told::Unknown) => level,
            (Self::Tripped, Told::Value(value)) if !rule.is_back(value) => Self::Tripped,
            (Self::Clear, Told::Value(value)) if rule.is_beyond(value) => Self::lasting(now, rule, now),
            (Self::Pending(since), Told::Value(value)) if rule.is_beyond(value) => {
                Self::lasting(since, rule, now)
            }
            (_, Told::Value(_) | Told::Nothing) => Self::Clear,
        }
    }

    fn lasting(since: Duration, rule: &Rule, now: Duration) -> Self {
        if now.saturating_sub(since) >= rule.lasting { Self::Tripped } else { Self::Pending(since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::random::below;

    const RULE: Rule =
        Rule { is_floor: false, limit: 80.0, hysteresis: 5.0, lasting: Duration::from_millis(300) };

    fn walk(rule: &Rule, steps: &[(u64, Told)]) -> Vec<Level> {
        let mut level = Level::Clear;
        steps
            .iter()
            .map(|(ms, told)| {
                level = level.after(rule, *told, Duration::from_millis(*ms));
                level
            })
            .collect()
    }

    #[test]
    fn it_trips_after_it_has_lasted_and_clears_by_the_hysteresis() {
        use Level::{Clear, Pending, Tripped};
        use Told::{Missing, Unknown, Value};
        let since = Pending(Duration::from_millis(100));
        let steps = [
            (0, Value(80.0)),
            (100, Value(80.1)),
            (200, Unknown),
            (300, Value(90.0)),
            (400, Value(81.0)),
            (500, Value(76.0)),
            (600, Value(75.0)),
            (700, Missing),
            (800, Unknown),
            (900, Value(79.0)),
            (1_000, Value(20.0)),
        ];
        let levels = walk(&RULE, &steps);
        assert_eq!(
            levels,
            [Clear, since, since, since, Tripped, Tripped, Clear, Tripped, Tripped, Tripped, Clear]
        );
    }

    #[test]
    fn a_moment_on_the_right_side_begins_the_wait_anew() {
        use Told::Value;
        let steps = [(0, Value(90.0)), (200, Value(79.0)), (300, Value(90.0)), (500, Value(90.0))];
        assert_eq!(walk(&RULE, &steps).last(), Some(&Level::Pending(Duration::from_millis(300))));
    }

    fn told(state: &mut u64) -> Told {
        match below(state, 11) {
            0 => Told::Nothing,
            1 => Told::Missing,
            2 => Told::Unknown,
            _ => Told::Value(below(state, 160) as f64),
        }
    }

    /// What holds for every walk, of ten thousand at random.
    #[test]
    fn no_walk_leaves_what_is_beyond_clear_or_trips_without_it() {
        for seed in 0..10_000 {
            let state = &mut seed.clone();
            let rule = Rule {
                is_floor: below(state, 2) == 1,
                limit: (20 + below(state, 100)) as f64,
                hysteresis: below(state, 30) as f64,
                lasting: Duration::from_millis(below(state, 500)),
            };
            let mut now = Duration::ZERO;
            let mut level = Level::Clear;
            // Since when every known value was beyond.
            let mut beyond_since = None;
            for _ in 0..100 {
                now += Duration::from_millis(1 + below(state, 200));
                let told = told(state);
                let before = level;
                level = level.after(&rule, told, now);
                match told {
                    Told::Value(value) if rule.is_beyond(value) => {
                        beyond_since.get_or_insert(now);
                    }
                    Told::Unknown => {}
                    Told::Value(_) | Told::Nothing | Told::Missing => beyond_since = None,
                }
                let what = format!("seed {seed}, {rule:?}: {before:?}, {told:?}, {level:?}");
                match told {
                    Told::Missing => assert_eq!(level, Level::Tripped, "{what}"),
                    Told::Unknown => assert_eq!(level, before, "{what}"),
                    // Beyond is never clear, and tripped once it has lasted.
                    Told::Value(value) if rule.is_beyond(value) => {
                        let lasted = beyond_since.is_some_and(|since| now - since >= rule.lasting);
                        let trips = lasted || before == Level::Tripped;
                        assert_eq!(level == Level::Tripped, trips, "{what}");
                        assert_ne!(level, Level::Clear, "{what}");
                    }
                    // In between, what tripped stays and nothing else trips.
                    Told::Value(value) if !rule.is_back(value) => {
                        assert_eq!(level == Level::Tripped, before == Level::Tripped, "{what}");
                    }
                    Told::Value(_) | Told::Nothing => assert_eq!(level, Level::Clear, "{what}"),
                }
            }
        }
    }
}
