//! Whether one of two groups of runs tends to have the higher values, without a guess at how they are distributed.
//!
//! Mann and Whitney, Annals of Mathematical Statistics 18 (1947). Up to [`EXACT`] values the distribution is the exact one, given
//! their ties, by Streitberg and Röhmel's shift algorithm (Statistical Software Newsletter 12, 1986); beyond, the normal one with
//! corrections for ties and continuity (Hollander and Wolfe, Nonparametric Statistical Methods, 4.1).

use super::{Interval, Scale, median, normal_quantile, two_sided_normal};

/// Of both groups: the number of ways to choose up to 20 of 40 is held by a double without loss.
const EXACT: usize = 40;

/// What was found about two groups.
#[derive(Debug, Clone)]
pub(crate) struct RankTest {
    pub(crate) scale: Scale,
    /// Two-sided.
    pub(crate) p: f64,
    /// The median of all differences between a value after and one before, on the scale: Hodges and Lehmann's estimate.
    pub(crate) estimate: f64,
    differences: Vec<f64>,
    groups: (usize, usize),
}

/// Compares two groups; none where one is empty.
pub(crate) fn rank_test(before: &[f64], after: &[f64]) -> Option<RankTest> {
    let scale = Scale::of(before, after);
    let mut differences: Vec<_> = before
        .iter()
        .flat_map(|one| after.iter().map(move |other| scale.put(*other) - scale.put(*one)))
        .collect();
    differences.sort_by(f64::total_cmp);
    let estimate = median(&differences)?;
    let groups = (before.len(), after.len());
    Some(RankTest { scale, p: p_value(before, after), estimate, differences, groups })
}

impl RankTest {
    /// Where the difference lies with confidence 1 − `alpha`, on the scale; none where there are too few values for it. It leaves 0 out
    /// exactly when the test without ties has p <= `alpha`: Moses' interval, Hollander and Wolfe 4.3.
    pub(crate) fn interval(&self, alpha: f64) -> Option<Interval> {
        let (before, after) = self.groups;
        let left_out = if before + after <= EXACT {
            let (ways, total) = untied_ways(before, after);
            let mut below = 0.0;
            ways.iter()
                .take_while(|ways| {
                    below += **ways;
                    below / total <= alpha / 2.0
                })
                .count()
        } else {
            let (before, after) = (before as f64, after as f64);
            let sigma = (before * after * (before + after + 1.0) / 12.0).sqrt();
            (before * after / 2.0 - normal_quantile(alpha / 2.0) * sigma).max(0.0) as usize
        };
        let count = self.differences.len();
        let low = *self.differences.get(left_out.checked_sub(1)?)?;
        Some(Interval { low, high: *self.differences.get(count - left_out)? })
    }
}

/// The least p-value that groups of these sizes can have, without ties.
pub(crate) fn least_p(before: usize, after: usize) -> f64 {
    let ways = (1..=before.min(after)).fold(1.0, |ways, n| ways * (before.max(after) + n) as f64 / n as f64);
    (2.0 / ways).min(1.0)
}

fn p_value(before: &[f64], after: &[f64]) -> f64 {
    let all: Vec<_> = before.iter().chain(after).copied().collect();
    let (ranks, ties) = doubled_ranks(&all);
    let (first, count) = (before.len(), all.len());
    let sum: usize = ranks[..first].iter().sum();
    if count <= EXACT {
        let ways = ways_to_sums(&ranks, first);
        let total: f64 = ways.iter().sum();
        let below: f64 = ways[..=sum].iter().sum();
        let above: f64 = ways[sum..].iter().sum();
        return (2.0 * below.min(above) / total).min(1.0);
    }
    let (first, second, count) = (first as f64, after.len() as f64, count as f64);
    let u = sum as f64 / 2.0 - first * (first + 1.0) / 2.0;
    let tied: f64 = ties.iter().map(|ties| (*ties as f64).powi(3) - *ties as f64).sum();
    let variance = first * second / 12.0 * ((count + 1.0) - tied / (count * (count - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = ((u - first * second / 2.0).abs() - 0.5).max(0.0);
    two_sided_normal(distance / variance.sqrt())
}

/// Twice the rank of each value, tied ones at the middle of theirs; and how many there are of each that is tied.
pub(super) fn doubled_ranks(values: &[f64]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<_> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut ranks = vec![0; values.len()];
    let mut ties = Vec::new();
    let mut begin = 0;
    for equal in order.chunk_by(|one, other| values[*one] == values[*other]) {
        // Ranks begin + 1 to begin + equal.len().
        for index in equal {
            ranks[*index] = 2 * begin + 1 + equal.len();
        }
        if equal.len() > 1 {
            ties.push(equal.len());
        }
        begin += equal.len();
    }
    (ranks, ties)
}

/// In how many ways `chosen` of the ranks have each sum.
fn ways_to_sums(ranks: &[usize], chosen: usize) -> Vec<f64> {
    let most: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0; most + 1]; chosen + 1];
    ways[0][0] = 1.0;
    for rank in ranks {
        for taken in (1..=chosen).rev() {
            let (fewer, these) = ways.split_at_mut(taken);
            for (with, without) in these[0][*rank..].iter_mut().zip(&fewer[taken - 1]) {
                *with += without;
            }
        }
    }
    ways.swap_remove(chosen)
}

/// In how many ways U has each value from 0 on, without ties; and all ways.
fn untied_ways(before: usize, after: usize) -> (Vec<f64>, f64) {
    let ranks: Vec<_> = (1..=before + after).collect();
    let ways = ways_to_sums(&ranks, before).split_off(before * (before + 1) / 2);
    let total = ways.iter().sum();
    (ways, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(before: &[f64], after: &[f64]) -> f64 {
        rank_test(before, after).unwrap().p
    }

    /// Hollander and Wolfe, 1973, page 69, as in R's help of `wilcox.test`: W = 35, one-sided p = 0.1272.
    #[test]
    fn the_exact_test_agrees_with_the_textbook() {
        let x = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let y = [1.15, 0.88, 0.90, 0.74, 1.21];
        assert!((p(&x, &y) - 2.0 * 0.127_206_1).abs() < 1e-5, "{}", p(&x, &y));
        assert_eq!(p(&x, &y), p(&y, &x));
        // SciPy's documentation of mannwhitneyu: U = 17, p = 1/9.
        let found = p(&[19.0, 22.0, 16.0, 29.0, 24.0], &[20.0, 11.0, 17.0, 12.0]);
        assert!((found - 1.0 / 9.0).abs() < 1e-9, "{found}");
    }

    /// By counting every way to choose one group.
    #[test]
    fn ties_have_their_exact_distribution() {
        let all = [1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 5.0, 5.0, 7.0];
        for chosen in 0u32..1 << all.len() {
            if chosen.count_ones() != 4 {
                continue;
            }
            let of = |chosen: u32, is_in: bool| {
                (0..all.len())
                    .filter(move |i| (chosen >> i & 1 == 1) == is_in)
                    .map(|i| all[i])
                    .collect::<Vec<_>>()
            };
            let u = |chosen: u32| -> i32 {
                let pairs = of(chosen, true)
                    .into_iter()
                    .flat_map(|x| of(chosen, false).into_iter().map(move |y| (x, y)));
                pairs.map(|(x, y)| if x > y { 2 } else { i32::from(x == y) }).sum()
            };
            let (this, mut below, mut above, mut total) = (u(chosen), 0.0, 0.0, 0.0);
            for other in (0u32..1 << all.len()).filter(|other| other.count_ones() == 4) {
                below += f64::from(u8::from(u(other) <= this));
                above += f64::from(u8::from(u(other) >= this));
                total += 1.0;
            }
            let expected = (2.0 * f64::min(below, above) / total).min(1.0);
            let found = p(&of(chosen, true), &of(chosen, false));
            assert!((found - expected).abs() < 1e-12, "{chosen:b}: {found} for {expected}");
        }
    }

    #[test]
    fn the_normal_answer_goes_on_where_the_exact_one_ends() {
        let before: Vec<_> = (0..20).map(|n| f64::from(n) + 0.25 * f64::from(n % 3)).collect();
        let after: Vec<_> = (0..20).map(|n| f64::from(n) + 3.0 + 0.2 * f64::from(n % 4)).collect();
        let exact = p(&before, &after);
        let more: Vec<_> = after.iter().copied().chain([12.6]).collect();
        let normal = p(&before, &more);
        assert!((exact - normal).abs() < 0.03, "{exact} {normal}");
        assert_eq!(p(&[1.0; 30], &[1.0; 30]), 1.0);
    }

    #[test]
    fn the_interval_leaves_no_change_out_exactly_when_the_test_rejects() {
        let before = [10.0, 11.0, 12.5, 13.0, 9.0, 10.5];
        for shift in -12..=12 {
            let after: Vec<_> = before.iter().map(|value| value + f64::from(shift) * 0.507 + 0.013).collect();
            let test = rank_test(&before, &after).unwrap();
            let interval = test.interval(0.05).unwrap();
            let leaves_out = interval.low > 0.0 || interval.high < 0.0;
            assert_eq!(leaves_out, test.p <= 0.05, "{shift}: {interval:?} {}", test.p);
            assert!((interval.low..=interval.high).contains(&test.estimate));
        }
    }

    #[test]
    fn a_ratio_is_found_as_its_logarithm_and_a_zero_makes_it_a_difference() {
        let before = [100.0, 101.0, 99.0, 102.0, 98.0];
        let test = rank_test(&before, &before.map(|value| value * 1.1)).unwrap();
        assert_eq!(test.scale, Scale::Ratio);
        assert!((test.estimate.exp() - 1.1).abs() < 1e-9);
        let test = rank_test(&[0.0, 1.0], &[2.0, 3.0]).unwrap();
        assert_eq!((test.scale, test.estimate), (Scale::Difference, 2.0));
        assert!(rank_test(&[], &[1.0]).is_none());
    }

    #[test]
    fn groups_that_are_too_small_can_never_differ() {
        assert!((least_p(3, 3) - 0.1).abs() < 1e-12);
        assert!((least_p(4, 4) - 2.0 / 70.0).abs() < 1e-12);
        assert_eq!(least_p(1, 1), 1.0);
        assert!((p(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]) - 0.1).abs() < 1e-12);
        assert!(rank_test(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap().interval(0.05).is_none());
    }
}
