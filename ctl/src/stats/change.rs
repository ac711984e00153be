//! Where a series of runs went over to another level.
//!
//! Matteson and James, A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data, J. Am. Statist. Ass. 109
//! (2014), which E-divisive is from; Daly and others, The Use of Change Point Detection to Identify Software Performance Regressions in
//! a Continuous Integration System, ICPE 2020, for what it is worth on series of benchmarks. As there, a part is divided in two at a
//! time. Whether a division counts is found by permutation, which takes values of one level for exchangeable: fit for runs, not for
//! windows within one.

use fastrand::Rng;

use super::median;

/// Runs on either side of a change: of fewer, two that happen to be alike would make one.
const FEWEST: usize = 3;
const PERMUTATIONS: usize = 199;
/// The chance to find a change in a series without one.
const ALPHA: f64 = 0.05;
/// Of a longer series the latest; the time that it takes grows with the square.
pub(crate) const MOST_RUNS: usize = 500;

/// Where another level begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ChangePoint {
    /// Index of the first value of the new level.
    pub(crate) at: usize,
    /// Share of the permutations that can be divided as clearly.
    pub(crate) p: f64,
    /// Medians of the levels before and after, up to the changes next to this one.
    pub(crate) before: f64,
    pub(crate) after: f64,
}

/// Finds the changes in a series of at most [`MOST_RUNS`] values, the first first.
pub(crate) fn change_points(values: &[f64], seed: u64) -> Vec<ChangePoint> {
    let values = &values[values.len().saturating_sub(MOST_RUNS)..];
    let mut rng = Rng::with_seed(seed);
    let mut found = Vec::new();
    divide(values, 0, &mut rng, &mut found);
    found.sort_by_key(|(at, _)| *at);
    let ends = [0].into_iter().chain(found.iter().map(|(at, _)| *at)).chain([values.len()]);
    let levels: Vec<_> =
        ends.clone().zip(ends.skip(1)).filter_map(|(from, to)| median(&values[from..to])).collect();
    found
        .iter()
        .zip(levels.windows(2))
        .map(|((at, p), levels)| ChangePoint { at: *at, p: *p, before: levels[0], after: levels[1] })
        .collect()
}

/// Where the means before and after differ most, weighted by how many values stand on either side, and both means: the maximum of the
/// cumulative sum (Page, Biometrika 42, 1955). It tells where a change that is known of was, not whether there was one.
pub(crate) fn level_shift(values: &[f64]) -> Option<(usize, f64, f64)> {
    let total: f64 = values.iter().sum();
    let count = values.len() as f64;
    let mut sum = 0.0;
    let parts = values.iter().enumerate().map(|(index, value)| {
        sum += value;
        let left = (index + 1) as f64;
        (index + 1, sum / left, (total - sum) / (count - left), left * (count - left))
    });
    let parts = parts.take(values.len().saturating_sub(1));
    let clearness = |(_, before, after, weight): &(usize, f64, f64, f64)| (after - before).powi(2) * weight;
    let (at, before, after, _) = parts.max_by(|one, other| clearness(one).total_cmp(&clearness(other)))?;
    Some((at, before, after))
}

fn divide(values: &[f64], offset: usize, rng: &mut Rng, found: &mut Vec<(usize, f64)>) {
    let Some((at, clearness)) = best_division(values) else { return };
    let mut shuffled = values.to_vec();
    let as_clear = (0..PERMUTATIONS)
        .filter(|_| {
            rng.shuffle(&mut shuffled);
            best_division(&shuffled).is_some_and(|(_, other)| other >= clearness)
        })
        .count();
    let p = (as_clear + 1) as f64 / (PERMUTATIONS + 1) as f64;
    if p > ALPHA {
        return;
    }
    found.push((offset + at, p));
    divide(&values[..at], offset, rng, found);
    divide(&values[at..], offset + at, rng, found);
}

/// Where the two parts differ most, by the energy distance of their values weighted by their sizes, and by how much. None where there is
/// no room for two parts, or all values are equal.
fn best_division(values: &[f64]) -> Option<(usize, f64)> {
    let count = values.len();
    if count < 2 * FEWEST {
        return None;
    }
    let distances = |from: &[f64], to: f64| from.iter().map(|value| (value - to).abs()).sum::<f64>();
    // Sums over pairs within the left part, within the right part, and between them; values go over one by one.
    let mut right: f64 =
        values.iter().enumerate().map(|(index, value)| distances(&values[index + 1..], *value)).sum();
    let (mut left, mut between) = (0.0, 0.0);
    if right <= 0.0 {
        return None;
    }
    let mut best: Option<(usize, f64)> = None;
    for (index, value) in values.iter().enumerate().take(count - FEWEST) {
        let (to_left, to_right) =
            (distances(&values[..index], *value), distances(&values[index + 1..], *value));
        left += to_left;
        right -= to_right;
        between += to_right - to_left;
        let at = index + 1;
        if at < FEWEST {
            continue;
        }
        let (m, n) = (at as f64, (count - at) as f64);
        let energy = 2.0 * between / (m * n) - 2.0 * left / (m * (m - 1.0)) - 2.0 * right / (n * (n - 1.0));
        let clearness = m * n / (m + n) * energy;
        if best.is_none_or(|(_, most)| clearness > most) {
            best = Some((at, clearness));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::{super::measured::autoregressive, *};

    fn levels(seed: u64, levels: &[(usize, f64)]) -> Vec<f64> {
        let noise = autoregressive(seed, levels.iter().map(|(count, _)| count).sum(), 0.0, 1.0);
        let levels = levels.iter().flat_map(|(count, level)| std::iter::repeat_n(*level, *count));
        levels.zip(noise).map(|(level, noise)| level + noise).collect()
    }

    #[test]
    fn changes_of_level_are_found_where_they_are() {
        let found = change_points(&levels(1, &[(20, 100.0), (15, 110.0), (25, 104.0)]), 1);
        let at: Vec<_> = found.iter().map(|change| change.at).collect();
        assert_eq!(at, [20, 35], "{found:?}");
        assert!((found[0].before - 100.0).abs() < 1.0 && (found[0].after - 110.0).abs() < 1.0);
        assert!(
            (found[1].before - found[0].after).abs() < f64::EPSILON && (found[1].after - 104.0).abs() < 1.0
        );
    }

    #[test]
    fn one_wild_run_is_no_change_of_level() {
        let mut values = levels(2, &[(30, 100.0)]);
        values[17] = 300.0;
        assert_eq!(change_points(&values, 1), []);
    }

    #[test]
    fn a_series_without_a_change_seldom_shows_one() {
        let alarms =
            (0..100).filter(|seed| !change_points(&levels(*seed, &[(24, 50.0)]), *seed).is_empty()).count();
        assert!(alarms <= 11, "{alarms} of 100");
    }

    #[test]
    fn a_shift_that_is_known_of_is_found_where_it_was() {
        let (at, before, after) = level_shift(&levels(3, &[(40, 0.0), (25, 11.0)])).unwrap();
        assert_eq!(at, 40);
        assert!(before.abs() < 1.0 && (after - 11.0).abs() < 1.0);
        assert_eq!(level_shift(&[1.0]), None);
        assert_eq!(level_shift(&[]), None);
    }

    #[test]
    fn short_and_constant_series_have_none() {
        assert_eq!(change_points(&[1.0, 1.0, 9.0, 9.0, 9.0], 1), []);
        assert_eq!(change_points(&[4.0; 50], 1), []);
        assert_eq!(change_points(&[], 1), []);
    }
}
