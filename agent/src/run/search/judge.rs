//! Whether an objective holds at a load, from readings one by one.
//!
//! Wald's sequential probability ratio test (Sequential Tests of Statistical Hypotheses, Ann. Math. Statist. 16, 1945) between
//! two shares of readings that break the objective: what is clear is decided after few of them. An objective that is broken
//! without a pause is not waited for, however few readings there were.

use std::time::Duration;

/// Where the objective holds at most this share of the readings breaks it,
const HOLDS: f64 = 0.1;
/// and where it does not at least this one.
const BREAKS: f64 = 0.3;
/// How often each answer may be wrong.
const ERROR: f64 = 0.01;
/// After a load began, what was measured before is still read for so long.
const SETTLE: Duration = Duration::from_millis(200);
/// A pause without a broken reading for so long ends a stretch of broken ones.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// A stretch of this length decides by itself: the service is not to suffer for 2 s.
const LONGEST_STRETCH: Duration = Duration::from_secs(1);
/// Readings of which the middle one is told.
const MOST_KEPT: usize = 1_024;

/// One reading of the objective's metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    pub(super) value: f64,
    pub(super) is_broken: bool,
}

/// Since when readings have broken the objective without a pause. Instants are of CLOCK_MONOTONIC.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    began: Option<Duration>,
    latest: Duration,
    longest: Duration,
}

impl Stretch {
    /// Takes in whether it was broken at `now`, or that nothing was read.
    pub(super) fn note(&mut self, now: Duration, is_broken: Option<bool>) {
        if is_broken == Some(true) {
            self.began.get_or_insert(now);
            self.latest = now;
            self.longest = self.longest.max(self.length());
        } else if now.saturating_sub(self.latest) >= PAUSE {
            self.began = None;
        }
    }

    /// From its first broken reading to its latest; zero while there is none.
    pub(super) fn length(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| self.latest.saturating_sub(began))
    }

    /// The longest there was.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// Few enough readings broke it.
    Held,
    /// Too many did.
    Broke,
    /// It was broken without a pause.
    BrokeForLong,
    /// Nothing could be read any more.
    Silent,
}

/// Watches one load.
#[derive(Debug)]
pub(super) struct Judge {
    began: Duration,
    hold: Duration,
    /// The logarithm of how much likelier the readings are where it breaks than where it holds.
    evidence: f64,
    readings: u32,
    broken: u32,
    values: Vec<f32>,
}

impl Judge {
    /// From `now` on, for `hold` at most.
    pub(super) fn new(now: Duration, hold: Duration) -> Self {
        let values = Vec::with_capacity(MOST_KEPT);
        Self { began: now, hold, evidence: 0.0, readings: 0, broken: 0, values }
    }

    /// When it began.
    pub(super) fn began(&self) -> Duration {
        self.began
    }

    /// Readings, and those of them that broke it.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.readings, self.broken)
    }

    /// The middle one of the readings.
    pub(super) fn median(&mut self) -> Option<f64> {
        self.values.sort_unstable_by(f32::total_cmp);
        self.values.get(self.values.len() / 2).map(|value| f64::from(*value))
    }

    /// Takes in what was read at `now`, if anything was. `is_silent`: nothing was for so long that it must be told.
    pub(super) fn look(
        &mut self,
        now: Duration,
        reading: Option<Reading>,
        is_silent: bool,
        stretch: &Stretch,
    ) -> Option<Decision> {
        let elapsed = now.saturating_sub(self.began);
        if let Some(reading) = reading.filter(|_| elapsed > SETTLE) {
            self.readings += 1;
            self.broken += u32::from(reading.is_broken);
            self.evidence +=
                if reading.is_broken { (BREAKS / HOLDS).ln() } else { ((1.0 - BREAKS) / (1.0 - HOLDS)).ln() };
            if self.values.len() < MOST_KEPT && reading.value.is_finite() {
                self.values.push(reading.value as f32);
            }
        }
        // Wald's bounds for equal errors.
        let bound = ((1.0 - ERROR) / ERROR).ln();
        if self.evidence >= bound {
            Some(Decision::Broke)
        } else if stretch.length() >= LONGEST_STRETCH && elapsed > 2 * SETTLE {
            // It may have begun at the load before, which was less: this one takes it no further.
            Some(Decision::BrokeForLong)
        } else if is_silent {
            Some(Decision::Silent)
        } else if self.evidence <= -bound {
            Some(Decision::Held)
        } else if elapsed >= self.hold {
            Some(match self.readings {
                0 => Decision::Silent,
                _ if self.evidence > 0.0 => Decision::Broke,
                _ => Decision::Held,
            })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::random::below;

    const TICK: Duration = Duration::from_millis(100);
    const HOLD: Duration = Duration::from_secs(10);

    /// The decision on readings at every tick, and after how long.
    fn judged(mut is_broken: impl FnMut(u32) -> Option<bool>) -> (Decision, Duration) {
        let mut judge = Judge::new(Duration::ZERO, HOLD);
        let mut stretch = Stretch::default();
        for tick in 1.. {
            let now = TICK * tick;
            let broken = is_broken(tick);
            let reading = broken.map(|is_broken| Reading { value: 1.0, is_broken });
            stretch.note(now, broken);
            if let Some(decision) = judge.look(now, reading, false, &stretch) {
                return (decision, now);
            }
        }
        unreachable!("it is watched for a time")
    }

    #[test]
    fn what_is_clear_is_decided_early() {
        let (decision, after) = judged(|_| Some(true));
        assert!(decision == Decision::Broke && after < Duration::from_secs(1), "{decision:?} {after:?}");
        let (decision, after) = judged(|_| Some(false));
        assert!(decision == Decision::Held && after < Duration::from_secs(3), "{decision:?} {after:?}");
    }

    #[test]
    fn a_hiccup_of_three_readings_is_no_break() {
        let (decision, _) = judged(|tick| Some((8..11).contains(&tick)));
        assert_eq!(decision, Decision::Held);
    }

    /// Readings that come seldom are too few for the test: what lasts is seen all the same.
    #[test]
    fn what_is_broken_for_a_second_is_broken() {
        let (decision, after) = judged(|tick| tick.is_multiple_of(4).then_some(true));
        assert_eq!(decision, Decision::BrokeForLong);
        // The first one comes after 0.4 s, and the next ones 0.4 s apart.
        assert!(after <= Duration::from_millis(1_600), "{after:?}");
    }

    #[test]
    fn the_end_decides_what_nothing_did_before() {
        assert_eq!(judged(|_| None), (Decision::Silent, HOLD));
        let (decision, after) = judged(|tick| tick.is_multiple_of(20).then_some(false));
        assert_eq!((decision, after), (Decision::Held, HOLD));
    }

    /// A thousand judgements at random: wrong no more often than they may be, with room for chance and for stretches.
    #[test]
    fn answers_are_seldom_wrong() {
        let mut state = 7;
        let mut count = |percent: u64| {
            let mut broke = |_| judged(|_| Some(below(&mut state, 100) < percent)).0 != Decision::Held;
            (0..1_000).filter(|one| broke(*one)).count()
        };
        let (well, ill) = (count(4), count(40));
        assert!(well <= 30, "{well} of 1000 broke where 4 % of the readings did");
        assert!(ill >= 970, "{ill} of 1000 broke where 40 % of the readings did");
    }

    #[test]
    fn a_stretch_ends_with_a_pause() {
        let mut stretch = Stretch::default();
        for (tick, is_broken) in [(1, true), (2, false), (5, true), (8, false), (9, false)] {
            stretch.note(TICK * tick, Some(is_broken));
        }
        assert_eq!(stretch.length(), TICK * 4);
        stretch.note(TICK * 10, None);
        assert_eq!((stretch.length(), stretch.longest()), (Duration::ZERO, TICK * 4));
    }
}
