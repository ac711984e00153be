//! How fast a value changes: its readings over a window, in a buffer that never grows.

use std::{collections::VecDeque, time::Duration};

/// Readings that a window is divided by.
const MARKS: u32 = 16;

/// The readings of one column over a window.
#[derive(Debug)]
pub(super) struct Past {
    /// None: from one reading to the next.
    window: Option<Duration>,
    /// Oldest first.
    marks: VecDeque<(Duration, f64)>,
    latest: Option<(Duration, f64)>,
    /// Of the latest reading.
    rate: Option<f64>,
}

impl Past {
    pub(super) fn new(window: Option<Duration>) -> Self {
        Self { window, marks: VecDeque::with_capacity(MARKS as usize + 3), latest: None, rate: None }
    }

    /// How much a counter gained a second, with this reading of `at`. Before a whole window has passed, what was gained so far
    /// over all of the window: too little rather than too much.
    pub(super) fn gain(&mut self, at: Duration, value: f64) -> Option<f64> {
        self.rate_with(at, value, true)
    }

    /// How much a gauge rose a second. Nothing before half a window has passed.
    pub(super) fn rise(&mut self, at: Duration, value: f64) -> Option<f64> {
        self.rate_with(at, value, false)
    }

    fn rate_with(&mut self, at: Duration, value: f64, is_counter: bool) -> Option<f64> {
        let Some((latest, before)) = self.latest.replace((at, value)) else {
            self.marks.push_back((at, value));
            return None;
        };
        if at <= latest {
            // A reading that is shown again.
            self.latest = Some((latest, before));
            return self.rate;
        }
        if is_counter && value < before {
            // It began anew.
            self.marks.clear();
            self.marks.push_back((at, value));
            self.rate = None;
            return None;
        }
        let Some(window) = self.window else {
            self.rate = Some((value - before) / (at - latest).as_secs_f64());
            return self.rate;
        };
        while self.marks.len() > 1 && at.saturating_sub(self.marks[1].0) >= window {
            self.marks.pop_front();
        }
        let (since, base) = *self.marks.front()?;
        let elapsed = at.saturating_sub(since);
        self.rate = if is_counter {
            Some((value - base) / elapsed.max(window).as_secs_f64())
        } else {
            (elapsed >= window / 2).then(|| (value - base) / elapsed.as_secs_f64())
        };
        let is_due = self.marks.back().is_none_or(|(last, _)| at.saturating_sub(*last) >= window / MARKS);
        if is_due {
            self.marks.push_back((at, value));
        }
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_counters_gain_is_over_its_window_and_a_reading_shown_again_counts_once() {
        let mut past = Past::new(Some(10 * SECOND));
        assert_eq!(past.gain(ms(100), 5.0), None);
        assert_eq!(past.gain(ms(200), 6.0), Some(0.1));
        assert_eq!(past.gain(ms(200), 6.0), Some(0.1));
        for tick in 3..=100 {
            past.gain(ms(tick * 100), 6.0);
        }
        assert_eq!(past.gain(ms(10_100), 6.0), Some(0.1));
        // A window after it was counted it is forgotten, to within a mark.
        for tick in 102..=120 {
            past.gain(ms(tick * 100), 6.0);
        }
        assert_eq!(past.gain(ms(12_100), 6.0), Some(0.0));
        assert_eq!(past.gain(ms(12_200), 1.0), None, "one that fell began anew");
        assert_eq!(past.gain(ms(12_300), 2.0), Some(0.1));
    }

    #[test]
    fn without_a_window_a_rate_is_from_reading_to_reading() {
        let mut past = Past::new(None);
        assert_eq!((past.gain(SECOND, 1.0), past.gain(2 * SECOND, 4.0)), (None, Some(3.0)));
        assert_eq!(past.gain(4 * SECOND, 4.0), Some(0.0));
    }

    #[test]
    fn a_rise_is_told_after_half_a_window_and_falls_too() {
        let mut past = Past::new(Some(4 * SECOND));
        assert_eq!((past.rise(SECOND, 40.0), past.rise(2 * SECOND, 43.0)), (None, None));
        assert_eq!(past.rise(3 * SECOND, 46.0), Some(3.0));
        assert_eq!(past.rise(5 * SECOND, 36.0), Some(-1.0));
    }

    #[test]
    fn it_never_grows() {
        let mut past = Past::new(Some(SECOND));
        let room = past.marks.capacity();
        for tick in 0..100_000 {
            past.gain(Duration::from_micros(1_700 * tick), tick as f64);
        }
        assert_eq!(past.marks.capacity(), room);
    }
}
