//! Which load is tried next: bisection on a grid of the search's precision. Pure.
//!
//! A reading that a neighbour disturbed must not decide a search, so both bounds of the knee are tried twice; of two answers
//! about one load the later one holds, and the search goes on from there.
//!
//! Near its knee a host answers now so, now so: where two bounds come to lie is chance. So loads go up and down around them next, one
//! step up after one that held, one step down after one that broke, and the mean of these loads is the knee: Brownlee, Hodges and
//! Rosenblatt, The up-and-down method with small samples, J. Amer. Statist. Assoc. 48, 1953.

use std::collections::BTreeMap;

/// Loads that are tried before it is clear that the objective comes and goes by itself.
const MOST_STEPS: usize = 64;

/// Loads that are tried around the bounds.
const UPS_AND_DOWNS: usize = 20;

/// Between two bounds.
#[derive(Debug)]
pub(super) struct Bisection {
    from: f64,
    to: f64,
    precision: f64,
    /// Places on the grid that were tried, and what came of it.
    tried: BTreeMap<u32, Tried>,
    steps: usize,
    /// Once both bounds are known.
    around: Option<Around>,
}

/// Ups and downs around the knee.
#[derive(Debug)]
struct Around {
    /// Places that were tried, and last the one that is next.
    places: Vec<u32>,
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
        Self { from, to, precision, tried: BTreeMap::new(), steps: 0, around: None }
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

    /// The bounds of the knee as far as they are known, percent: neighbours on the grid where it is known.
    pub(super) fn bounds(&self) -> (Option<f64>, Option<f64>) {
        if let Some(knee) = self.around.as_ref().and_then(Around::knee) {
            let low = (knee.floor() as u32).min(self.last() - 1);
            return (Some(self.load(low)), Some(self.load(low + 1)));
        }
        (self.greatest_held().map(|place| self.load(place)), self.least_broke().map(|place| self.load(place)))
    }

    /// The knee, percent: the mean of the ups and downs, or while there are too few of them the middle of the two bounds. Absent
    /// where these were not both tried twice.
    pub(super) fn knee(&self) -> Option<f64> {
        let around = self.around.as_ref()?;
        let middle = || {
            let (low, high) = self.bounds();
            low.zip(high).map(|(low, high)| f64::midpoint(low, high))
        };
        around.knee().map(|place| (self.from + place * self.precision).min(self.to)).or_else(middle)
    }

    /// What to do next.
    pub(super) fn next(&self) -> Next {
        if self.steps >= MOST_STEPS {
            return Next::Restless;
        }
        if let Some(around) = &self.around {
            let next = around.places.last().copied().filter(|_| around.tries() < UPS_AND_DOWNS);
            return next.map_or(Next::Found, |place| Next::Try(self.load(place)));
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
        let (place, last) = (self.place(load), self.last());
        if let Some(around) = &mut self.around {
            around.places.push(if held { (place + 1).min(last) } else { place.saturating_sub(1) });
            return;
        }
        let tried = self.tried.entry(place).or_default();
        tried.holds = held;
        *(if held { &mut tried.held } else { &mut tried.broke }) += 1;
        // Less load is no worse, more is no better: what says otherwise was a disturbance.
        self.tried.retain(|other, tried| match held {
            true => *other >= place || tried.holds,
            false => *other <= place || !tried.holds,
        });
        if self.next() == Next::Found {
            // Up from the bound at which it held, which is what is next after it held.
            self.around = self.greatest_held().map(|low| Around { places: vec![low + 1] });
        }
    }
}

impl Around {
    /// Below this many, where the bounds came to lie counts for too much.
    const LEAST: usize = 6;

    /// Loads that were tried.
    fn tries(&self) -> usize {
        self.places.len() - 1
    }

    /// The mean of the places, that which would be next included and the one that was chosen left out; a part of a place counts.
    fn knee(&self) -> Option<f64> {
        let chosen_by_answers = &self.places[1..];
        (self.tries() >= Self::LEAST).then(|| {
            chosen_by_answers.iter().map(|place| f64::from(*place)).sum::<f64>()
                / chosen_by_answers.len() as f64
        })
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
        assert!(times(33.0) >= 2 && times(34.0) >= 2, "{tried:?}");
        assert!(tried.len() <= 12 + UPS_AND_DOWNS, "{tried:?}");
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

    /// Answers near the knee are chance: searches agree all the same, far better than their bounds alone.
    #[test]
    fn searches_of_a_host_that_answers_now_so_now_so_agree() {
        let mut state = 11u64;
        let mut chance = || (crate::burn::random::split_mix(&mut state) >> 11) as f64 / (1u64 << 53) as f64;
        let mut knees: Vec<f64> = (0..400)
            .map(|_| {
                let mut bisection = Bisection::new(0.0, 100.0, 1.0);
                while let Next::Try(load) = bisection.next() {
                    // The logistic curve: from 90 % sure to 10 % in 8.8 points.
                    bisection.note(load, chance() < 1.0 / (1.0 + ((load - 36.0) / 2.0).exp()));
                }
                bisection.knee().unwrap()
            })
            .collect();
        knees.sort_by(f64::total_cmp);
        let (low, middle, high) = (knees[20], knees[200], knees[380]);
        assert!((middle - 36.0).abs() < 0.5, "{middle}");
        assert!(high - low < 5.0, "nine of ten lie in {low} to {high}");
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
