//! How much values vary, whatever up to a quarter of them do.

use std::f64::consts::SQRT_2;

use super::normal_quantile;

/// There are some 500,000 distances of so many; of more values the order statistics in even steps serve as well.
const MOST: usize = 1_000;

/// The standard deviation of normal values, from the k-th smallest of the distances between any two of them: k is how many pairs there
/// are of [`all_but_a_quarter`]. None of fewer than two values.
///
/// As Qn of Rousseeuw and Croux (Alternatives to the Median Absolute Deviation, J. Am. Stat. Assoc. 88, 1993), which takes k for half
/// of the values. Where there are few each counts, and more than a quarter are not odd.
pub(crate) fn distance_scale(values: &[f64]) -> Option<f64> {
    let thinned;
    let values = if values.len() > MOST {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let place = |step: usize| (2 * step + 1) * sorted.len() / (2 * MOST);
        thinned = (0..MOST).map(|step| sorted[place(step)]).collect::<Vec<_>>();
        &thinned
    } else {
        values
    };
    let mut distances: Vec<f64> = values
        .iter()
        .enumerate()
        .flat_map(|(index, one)| values[..index].iter().map(move |other| (one - other).abs()))
        .collect();
    let kept = all_but_a_quarter(values.len());
    let rank = (kept * kept.checked_sub(1)? / 2).checked_sub(1)?;
    let part = (rank as f64 + 0.5) / distances.len() as f64;
    let (_, distance, _) = distances.select_nth_unstable_by(rank, f64::total_cmp);
    // That part of the distances of normal values is below so many standard deviations: a distance has √2 of them.
    Some(*distance / (SQRT_2 * normal_quantile((1.0 - part) / 2.0)))
}

/// Of so many values those that are taken to be none of the odd ones.
pub(super) fn all_but_a_quarter(count: usize) -> usize {
    count - count / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a normal distribution's order, in even steps.
    fn normal(count: usize) -> Vec<f64> {
        (0..count).map(|index| normal_quantile((index as f64 + 0.5) / count as f64)).collect()
    }

    #[test]
    fn of_normal_values_it_is_the_standard_deviation() {
        for (count, off) in [(20, 0.1), (200, 0.02), (1_000, 0.01), (5_000, 0.01)] {
            let values: Vec<_> = normal(count).into_iter().map(|z| 3.0 + 2.0 * z).collect();
            let found = distance_scale(&values).unwrap();
            assert!((found / 2.0 - 1.0).abs() < off, "{count}: {found}");
        }
    }

    /// By hand: the distances of 1, 2, 4, 8, 16 are 1, 2, 3, 4, 6, 7, 8, 12, 14, 15; four of the five have six pairs.
    #[test]
    fn the_rank_is_that_of_the_pairs_of_three_quarters() {
        let found = distance_scale(&[16.0, 1.0, 8.0, 2.0, 4.0]).unwrap();
        assert!((found - 7.0 / (SQRT_2 * 0.755_415)).abs() < 1e-4, "{found}");
    }

    #[test]
    fn a_quarter_of_wild_values_does_not_break_it() {
        let mut values = normal(21);
        values[16..].iter_mut().for_each(|value| *value = 1e9);
        assert!(distance_scale(&values).unwrap() < 10.0);
        assert_eq!(distance_scale(&[5.0; 8]), Some(0.0));
        assert_eq!((distance_scale(&[]), distance_scale(&[1.0])), (None, None));
    }
}
