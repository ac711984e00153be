//! Which load is tried next: bisection on a grid of the search's precision. Pure.
//!
//! A reading that a neighbour disturbed must not decide a search, so both bounds of the knee are tried twice; of two answers
//! about one load the later one holds, and the search goes on from there.

use std::collections::BTreeMap;

/// Loads that are tried before it is clear that the objective comes and goes by itself.
const MOST_STEPS: usize = 64;

/// Between two bounds.
#[derive(Debug)]
pub(super) struct Bisection {
    from: f64,
    to: f64,
    precision: f64,
    /// Places on the grid that were tried, and what came of it.
    tried: BTreeMap<u32, Tried>,
    steps: usize,
}

/// One load.
#[derive(Debug, Default, Clone, Copy)]
struct Tried {
    held: u32,
    broke: u32,
    /// What came of it last.
    holds: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Next {
    /// This load, percent.
    Try(f64),
    /// The knee lies between the two.
    Found,
    /// It held at the greatest load.
    NeverBroke,
    /// It was broken at the least load.
    BrokenAtOnce,
    /// Tried too often.
    Restless,
}

impl Bisection {
    /// Percent, `precision` in points.
    pub(super) fn new(from: f64, to: f64, precision: f64) -> Self {
        Self { from, to, precision, tried: BTreeMap::new(), steps: 0 }
    }

    /// How many steps of the precision the range has.
    fn last(&self) -> u32 {
        // Half a millionth: 30 / 0.1 is a little more than 300.
        ((self.to - self.from) / self.precision - 5e-7).ceil().max(1.0) as u32
    }

    fn load(&self, place: u32) -> f64 {
        if place >= self.last() { self.to } else { self.from + f64::from(place) * self.precision }
    }

    fn place(&self, load: f64) -> u32 {
        if load >= self.to { self.last() } else { ((load - self.from) / self.precision).round() as u32 }
    }

    /// The least place at which it broke.
    fn least_broke(&self) -> Option<u32> {
        self.tried.iter().find(|(_, tried)| !tried.holds).map(|(place, _)| *place)
    }

    /// The greatest place below that at which it held.
    fn greatest_held(&self) -> Option<u32> {
        let below = self.least_broke().unwrap_or(u32::MAX);
        self.tried.range(..below).next_back().map(|(place, _)| *place)
    }

    /// The bounds of the knee as far as they are known, percent.
    pub(super) fn bounds(&self) -> (Option<f64>, Option<f64>) {
        (self.greatest_held().map(|place| self.load(place)), self.least_broke().map(|place| self.load(place)))
    }

    /// What to do next.
    pub(super) fn next(&self) -> Next {
        if self.steps >= MOST_STEPS {
            return Next::Restless;
        }
        let of = |place: u32| self.tried.get(&place).copied().unwrap_or_default();
        let (low, high) = match (self.greatest_held(), self.least_broke()) {
            (None, Some(0)) if of(0).broke >= 2 => return Next::BrokenAtOnce,
            // Nothing was tried, or what held was found to break after all.
            (None, _) => return Next::Try(self.from),
            (Some(low), None) if low == self.last() => return Next::NeverBroke,
            (Some(low), None) if low + 1 == self.last() => return Next::Try(self.to),
            (Some(low), high) => (low, high.unwrap_or_else(|| self.last())),
        };
        if high - low > 1 {
            return Next::Try(self.load(low + (high - low) / 2));
        }
        if of(low).held < 2 {
            Next::Try(self.load(low))
        } else if of(high).broke < 2 {
            Next::Try(self.load(high))
        } else {
            Next::Found
        }
    }

    /// Notes what came of a load.
    pub(super) fn note(&mut self, load: f64, held: bool) {
        self.steps += 1;
        let place = self.place(load);
        let tried = self.tried.entry(place).or_default();
        tried.holds = held;
        *(if held { &mut tried.held } else { &mut tried.broke }) += 1;
        // Less load is no worse, more is no better: what says otherwise was a disturbance.
        self.tried.retain(|other, tried| match held {
            true => *other >= place || tried.holds,
            false => *other <= place || !tried.holds,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries to the end with an answer for each load; gives how it ended, the bounds and what was tried.
    fn search(
        mut bisection: Bisection,
        mut holds: impl FnMut(f64, usize) -> bool,
    ) -> (Next, (Option<f64>, Option<f64>), Vec<f64>) {
        let mut tried = Vec::new();
        loop {
            match bisection.next() {
                Next::Try(load) => {
                    tried.push(load);
                    bisection.note(load, holds(load, tried.len()));
                }
                end => return (end, bisection.bounds(), tried),
            }
        }
    }

    #[test]
    fn a_knee_is_found_between_two_bounds_that_were_both_tried_twice() {
        let (end, bounds, tried) = search(Bisection::new(0.0, 100.0, 1.0), |load, _| load <= 33.7);
        assert_eq!((end, bounds), (Next::Found, (Some(33.0), Some(34.0))));
        let times = |load| tried.iter().filter(|tried| **tried == load).count();
        assert_eq!((times(33.0), times(34.0)), (2, 2), "{tried:?}");
        assert!(tried.len() <= 12, "{tried:?}");
        let (end, bounds, _) = search(Bisection::new(5.0, 35.0, 0.1), |load, _| load < 20.04);
        assert_eq!(end, Next::Found);
        let (low, high) = (bounds.0.unwrap(), bounds.1.unwrap());
        assert!((low - 20.0).abs() < 1e-9 && (high - 20.1).abs() < 1e-9, "{bounds:?}");
    }

    #[test]
    fn the_ends_are_ends() {
        let (end, bounds, tried) = search(Bisection::new(10.0, 95.0, 2.0), |_, _| true);
        assert_eq!((end, bounds), (Next::NeverBroke, (Some(95.0), None)));
        assert_eq!(tried.last(), Some(&95.0));
        let (end, bounds, tried) = search(Bisection::new(10.0, 95.0, 2.0), |_, _| false);
        assert_eq!((end, bounds, tried), (Next::BrokenAtOnce, (None, Some(10.0)), vec![10.0, 10.0]));
    }

    /// Whichever single answer is wrong, the knee is the same.
    #[test]
    fn one_wrong_answer_is_made_good() {
        for wrong in 1..=12 {
            let (end, bounds, tried) =
                search(Bisection::new(0.0, 100.0, 1.0), |load, step| (load <= 33.7) != (step == wrong));
            assert_eq!(
                (end, bounds),
                (Next::Found, (Some(33.0), Some(34.0))),
                "answer {wrong} was wrong: {tried:?}"
            );
        }
    }

    #[test]
    fn what_comes_and_goes_ends() {
        let mut coin = 1u64;
        let (end, _, tried) = search(Bisection::new(0.0, 100.0, 0.1), |load, _| {
            load < 1.0 || (crate::burn::random::split_mix(&mut coin) & 1 == 0 && load < 99.0)
        });
        assert!(matches!(end, Next::Found | Next::Restless) && tried.len() <= MOST_STEPS, "{end:?}");
    }
}
