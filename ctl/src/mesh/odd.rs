//! Links and hosts that are not like the others. What all links of a host have alike is the host's; what is left of a link is its
//! own. Both are told by how many robust standard deviations they are from their peers, the worse way.

use super::{Link, Measured};
use crate::stats::median;

/// Further away is odd: Iglewicz and Hoaglin, How to Detect and Handle Outliers, ASQC 1993.
const ODD: f64 = 3.5;
/// Of a normal distribution the standard deviation over the median absolute deviation.
const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;
/// Sweeps of rows and columns; the medians are settled long before.
const SWEEPS: usize = 10;
/// Fewer hosts have too few links each to tell what is the host's.
const HOSTS_WITH_EFFECTS: usize = 4;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Throughput,
    /// The median.
    Latency,
    Loss,
}

/// Which links of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Sends,
    Receives,
}

/// A link that is worse than its hosts' others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OddLink {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) metric: Metric,
    pub(crate) value: f64,
    /// Of the links from the same host, and of those to the same host.
    pub(crate) row_median: Option<f64>,
    pub(crate) column_median: Option<f64>,
    /// In robust standard deviations of all links.
    pub(crate) deviation: f64,
}

/// A host all of whose links, one way, are worse than other hosts'.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OddHost {
    pub(crate) host: usize,
    pub(crate) way: Way,
    pub(crate) metric: Metric,
    /// The median of its links, and of the other hosts' medians.
    pub(crate) median: f64,
    pub(crate) others: f64,
    pub(crate) deviation: f64,
}

impl Metric {
    pub(crate) const ALL: [Self; 3] = [Self::Throughput, Self::Latency, Self::Loss];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency => "latency",
            Self::Loss => "loss",
        }
    }

    pub(crate) fn of(self, measured: &Measured) -> Option<f64> {
        match self {
            Self::Throughput => measured.throughput_bits_per_s,
            Self::Latency => measured.latency_p50_ns.map(|ns| ns as f64),
            Self::Loss => measured.loss_percent,
        }
    }

    /// The greater, the worse. Rates and times are compared by their ratios.
    fn badness(self, value: f64) -> f64 {
        match self {
            Self::Throughput => -value.max(1.0).ln(),
            Self::Latency => value.max(1.0).ln(),
            Self::Loss => value,
        }
    }

    /// The least standard deviation that is believed: of links that are all but equal, one that is a trifle worse is not odd.
    const fn least_sigma(self) -> f64 {
        match self {
            // e^(3.5 × 0.1): a third.
            Self::Throughput => 0.1,
            // Twice.
            Self::Latency => 0.2,
            // One point of a hundred.
            Self::Loss => 0.3,
        }
    }
}

/// Figures of one metric, by who sends and who receives.
struct Matrix {
    count: usize,
    values: Vec<Option<f64>>,
}

impl Matrix {
    fn of(metric: Metric, count: usize, links: &[Link]) -> Self {
        let mut values = vec![None; count * count];
        for link in links {
            if let Ok(measured) = &link.measured {
                values[link.from * count + link.to] = metric.of(measured);
            }
        }
        Self { count, values }
    }

    fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self { count: self.count, values: self.values.iter().map(|value| value.map(&change)).collect() }
    }

    fn at(&self, from: usize, to: usize) -> Option<f64> {
        self.values[from * self.count + to]
    }

    fn all(&self) -> Vec<f64> {
        self.values.iter().copied().flatten().collect()
    }

    fn row(&self, from: usize) -> Vec<f64> {
        (0..self.count).filter_map(|to| self.at(from, to)).collect()
    }

    fn column(&self, to: usize) -> Vec<f64> {
        (0..self.count).filter_map(|from| self.at(from, to)).collect()
    }

    fn take(&mut self, is_of: impl Fn(usize, usize) -> bool, amount: f64) {
        for from in 0..self.count {
            for to in 0..self.count {
                if let Some(value) = &mut self.values[from * self.count + to]
                    && is_of(from, to)
                {
                    *value -= amount;
                }
            }
        }
    }
}

/// What is left of a matrix once each row's and each column's share is taken out, and those shares: Tukey's median polish
/// (Exploratory Data Analysis, 1977, chapter 11).
struct Polished {
    residuals: Matrix,
    rows: Vec<f64>,
    columns: Vec<f64>,
}

fn polish(mut matrix: Matrix) -> Polished {
    let count = matrix.count;
    let (mut rows, mut columns) = (vec![0.0; count], vec![0.0; count]);
    let overall = median(&matrix.all()).unwrap_or_default();
    matrix.take(|_, _| true, overall);
    if count >= HOSTS_WITH_EFFECTS {
        for _ in 0..SWEEPS {
            for (host, row) in rows.iter_mut().enumerate() {
                let share = median(&matrix.row(host)).unwrap_or_default();
                matrix.take(|from, _| from == host, share);
                *row += share;
            }
            for (host, column) in columns.iter_mut().enumerate() {
                let share = median(&matrix.column(host)).unwrap_or_default();
                matrix.take(|_, to| to == host, share);
                *column += share;
            }
        }
    }
    Polished { residuals: matrix, rows, columns }
}

/// The robust standard deviation, and no less than what is believed.
fn sigma(values: &[f64], least: f64) -> f64 {
    let center = median(values).unwrap_or_default();
    let distances: Vec<_> = values.iter().map(|value| (value - center).abs()).collect();
    (median(&distances).unwrap_or_default() * MAD_TO_SIGMA).max(least)
}

/// Those that are odd, the oddest first. Two hosts have no peers to be compared with.
pub(crate) fn odd_links(count: usize, links: &[Link]) -> Vec<OddLink> {
    if count < 3 {
        return Vec::new();
    }
    let mut odd = Vec::new();
    for metric in Metric::ALL {
        let values = Matrix::of(metric, count, links);
        let residuals = polish(values.map(|value| metric.badness(value))).residuals;
        let sigma = sigma(&residuals.all(), metric.least_sigma());
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            let Some((value, residual)) = values.at(from, to).zip(residuals.at(from, to)) else { continue };
            let deviation = residual / sigma;
            if deviation < ODD {
                continue;
            }
            let others = |of: Vec<f64>| {
                let mut others = of;
                if let Some(own) = others.iter().position(|other| *other == value) {
                    others.swap_remove(own);
                }
                median(&others)
            };
            odd.push(OddLink {
                from,
                to,
                metric,
                value,
                row_median: others(values.row(from)),
                column_median: others(values.column(to)),
                deviation,
            });
        }
    }
    odd.sort_by(|one, other| other.deviation.total_cmp(&one.deviation));
    odd
}

/// Those that are odd, the oddest first.
pub(crate) fn odd_hosts(count: usize, links: &[Link]) -> Vec<OddHost> {
    if count < HOSTS_WITH_EFFECTS {
        return Vec::new();
    }
    let mut odd = Vec::new();
    for metric in Metric::ALL {
        let values = Matrix::of(metric, count, links);
        let Polished { rows, columns, .. } = polish(values.map(|value| metric.badness(value)));
        for (way, shares) in [(Way::Sends, &rows), (Way::Receives, &columns)] {
            let center = median(shares).unwrap_or_default();
            let sigma = sigma(shares, metric.least_sigma());
            let of = |host: usize| match way {
                Way::Sends => median(&values.row(host)),
                Way::Receives => median(&values.column(host)),
            };
            for (host, share) in shares.iter().enumerate() {
                let deviation = (share - center) / sigma;
                let others: Vec<_> = (0..count).filter(|other| *other != host).filter_map(of).collect();
                if let Some((median, others)) = of(host).zip(median(&others))
                    && deviation >= ODD
                {
                    odd.push(OddHost { host, way, metric, median, others, deviation });
                }
            }
        }
    }
    odd.sort_by(|one, other| other.deviation.total_cmp(&one.deviation));
    odd
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    /// Links of `count` hosts that differ by some percent, as drawn from `seed`.
    fn links(count: usize, seed: u64) -> Vec<Link> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut links = Vec::new();
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            if from != to {
                let measured = Measured {
                    throughput_bits_per_s: Some(9.4e9 * (1.0 + 0.06 * (rng.f64() - 0.5))),
                    latency_p50_ns: Some(60_000 + rng.u64(0..8_000)),
                    latency_p99_ns: Some(200_000),
                    loss_percent: Some(if rng.u8(0..10) == 0 { 0.1 } else { 0.0 }),
                };
                links.push(Link { from, to, run_id: String::new(), measured: Ok(measured) });
            }
        }
        links
    }

    fn change(links: &mut [Link], is_of: impl Fn(usize, usize) -> bool, change: impl Fn(&mut Measured)) {
        for link in links.iter_mut().filter(|link| is_of(link.from, link.to)) {
            if let Ok(measured) = &mut link.measured {
                change(measured);
            }
        }
    }

    #[test]
    fn links_that_are_alike_have_no_odd_one_among_them() {
        for (seed, count) in (0..40).flat_map(|seed| [(seed, 3), (seed, 4), (seed, 8), (seed, 13)]) {
            let links = links(count, seed);
            assert_eq!(odd_links(count, &links), [], "{seed} {count}");
            assert_eq!(odd_hosts(count, &links), [], "{seed} {count}");
        }
    }

    #[test]
    fn the_one_slow_link_is_named_first_and_nobody_else_is() {
        for (seed, count) in (0..40).flat_map(|seed| [(seed, 3), (seed, 4), (seed, 8)]) {
            let mut links = links(count, seed);
            change(&mut links, |from, to| (from, to) == (2, 1), |it| it.throughput_bits_per_s = Some(1e9));
            let odd = odd_links(count, &links);
            assert_eq!((odd[0].from, odd[0].to, odd[0].metric), (2, 1, Metric::Throughput), "{odd:?}");
            assert!(odd[0].row_median.is_none_or(|median| median > 9e9), "{odd:?}");
            assert_eq!(odd.len(), 1, "{seed} {count}: {odd:?}");
            assert_eq!(odd_hosts(count, &links), [], "{seed} {count}");
        }
    }

    #[test]
    fn a_lossy_and_a_late_link_are_named_by_what_is_wrong_with_them() {
        let mut links = links(6, 7);
        change(&mut links, |from, to| (from, to) == (0, 5), |it| it.loss_percent = Some(12.0));
        change(&mut links, |from, to| (from, to) == (3, 4), |it| it.latency_p50_ns = Some(600_000));
        let odd = odd_links(6, &links);
        let named: Vec<_> = odd.iter().map(|link| (link.from, link.to, link.metric)).collect();
        assert_eq!(named, [(0, 5, Metric::Loss), (3, 4, Metric::Latency)]);
    }

    #[test]
    fn a_host_whose_links_are_all_slow_is_named_and_its_links_are_not() {
        for seed in 0..40 {
            let mut links = links(8, seed);
            change(&mut links, |from, _| from == 3, |it| it.throughput_bits_per_s = Some(1e9));
            let odd = odd_hosts(8, &links);
            assert_eq!((odd[0].host, odd[0].way, odd[0].metric), (3, Way::Sends, Metric::Throughput));
            assert!(odd[0].median < 1.1e9 && odd[0].others > 9e9, "{odd:?}");
            assert_eq!((odd.len(), odd_links(8, &links)), (1, Vec::new()), "{seed}");
        }
    }

    #[test]
    fn links_that_were_not_measured_and_two_hosts_alone_say_nothing() {
        let mut links = links(5, 1);
        for link in links.iter_mut().filter(|link| link.to == 2) {
            link.measured = Err(Failure::agent("gone", ""));
        }
        assert_eq!(odd_links(5, &links), []);
        assert_eq!(odd_hosts(5, &links), []);
        let mut two = self::links(2, 1);
        change(&mut two, |from, _| from == 0, |it| it.throughput_bits_per_s = Some(1.0));
        assert_eq!((odd_links(2, &two), odd_hosts(2, &two)), (Vec::new(), Vec::new()));
        assert_eq!(odd_links(0, &[]), []);
    }
}
