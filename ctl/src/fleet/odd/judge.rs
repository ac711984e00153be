//! Each value among its peers.

use std::collections::BTreeMap;

use statrs::distribution::{Binomial, DiscreteCDF as _};

use super::{
    aspect::{Measure, Way},
    rank::Settings,
    readings::{Part, Readings},
};
use crate::stats::{LEAST_PEERS, Peers, median};

/// Peers are taken to vary by this part of what matters, at least: a few are alike by chance.
const LEAST_SCALE: f64 = 0.2;
/// Up to so many values each is put beside all others; of more, one changes nothing about what all are like.
const LEAVE_ONE_OUT: usize = 64;

/// How it was told whether a value is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    /// By how much its peers vary.
    Spread,
    /// Events that hardly happen elsewhere: by how they would be shared out by chance.
    Counts,
    /// Its peers are all alike, which shows nothing of how much they vary.
    NoSpread,
    /// Its peers are fewer than four.
    FewPeers,
}

impl Basis {
    /// As JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Counts => "counts",
            Self::NoSpread => "no_spread",
            Self::FewPeers => "few_peers",
        }
    }
}

/// One value, and what its peers have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Evidence {
    /// Places among the readings'.
    pub(super) question: usize,
    pub(super) subject: usize,
    pub(crate) value: f64,
    pub(crate) peers: usize,
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// How far on the worse side of its peers' median it is, in their robust standard deviations. Absent of counts, and where the
    /// peers don't vary.
    pub(crate) score: Option<f64>,
    /// How often chance would put it so far on the worse side. Absent where that can't be told.
    pub(crate) p: Option<f64>,
    pub(crate) basis: Basis,
    /// It is worse by enough to matter.
    pub(crate) matters: bool,
}

/// All values among their peers.
pub(super) fn evidence(readings: &Readings, settings: Settings) -> Vec<Evidence> {
    let mut all = Vec::new();
    for (number, (question, values)) in readings.questions.iter().enumerate() {
        for group in groups(readings, question.part, values) {
            let judge = Judge { question: number, way: question.way, measure: question.measure, settings };
            judge.group(&group, &mut all);
        }
    }
    all
}

/// Who is compared with whom: parts of one name on different hosts, where there are enough of these, as the first core of each host
/// has work that others don't have; else all parts of the model.
fn groups(readings: &Readings, part: Part, values: &[(usize, f64)]) -> Vec<Vec<(usize, f64)>> {
    if part == Part::Host {
        return vec![values.to_vec()];
    }
    let mut by_name: BTreeMap<&str, Vec<(usize, f64)>> = BTreeMap::new();
    for (subject, value) in values {
        by_name.entry(&readings.subjects[*subject].name).or_default().push((*subject, *value));
    }
    if by_name.values().all(|group| group.len() > LEAST_PEERS) {
        by_name.into_values().collect()
    } else {
        vec![values.to_vec()]
    }
}

struct Judge {
    question: usize,
    way: Way,
    measure: Measure,
    settings: Settings,
}

impl Judge {
    fn group(&self, group: &[(usize, f64)], to: &mut Vec<Evidence>) {
        let values: Vec<f64> = group.iter().map(|(_, value)| *value).collect();
        let measure = self.measure_of(&values);
        let scaled: Vec<f64> = values.iter().map(|value| self.put(*value, measure)).collect();
        let material = self.material(measure);
        let least_scale = material * LEAST_SCALE;
        let whole = (group.len() > LEAVE_ONE_OUT)
            .then(|| Some((Peers::of(&scaled, least_scale)?.but_one(), median(&values)?)))
            .flatten();
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        for (index, (subject, value)) in group.iter().enumerate() {
            let of_others = || {
                Some((Peers::of(&without(&scaled, index), least_scale)?, median(&without(&values, index))?))
            };
            let Some((peers, middle)) = whole.or_else(of_others) else { continue };
            let (low, high) = ends(&sorted, *value);
            let distance = scaled[index] - peers.median;
            let evidence = Evidence {
                question: self.question,
                subject: *subject,
                value: *value,
                peers: peers.count,
                median: middle,
                low,
                high,
                score: None,
                p: None,
                basis: Basis::FewPeers,
                matters: distance > 0.0 && distance >= material,
            };
            to.push(Self::judged(evidence, &peers, scaled[index], measure, &values));
        }
    }

    fn judged(evidence: Evidence, peers: &Peers, scaled: f64, measure: Measure, values: &[f64]) -> Evidence {
        if evidence.peers < LEAST_PEERS {
            return evidence;
        }
        if measure == Measure::Count {
            return Evidence { basis: Basis::Counts, p: by_chance(evidence.value, values), ..evidence };
        }
        // Whatever is not worse, or not by enough, is nothing to be told of.
        if !evidence.matters {
            return Evidence { basis: Basis::Spread, p: Some(1.0), ..evidence };
        }
        if evidence.low == evidence.high {
            return Evidence { basis: Basis::NoSpread, ..evidence };
        }
        let score = peers.score(scaled);
        Evidence { basis: Basis::Spread, score: Some(score), p: peers.p_above(score), ..evidence }
    }

    /// Ratios need numbers above 0; counts that most peers have are no rare events.
    fn measure_of(&self, values: &[f64]) -> Measure {
        match self.measure {
            Measure::Ratio(times) if values.iter().any(|value| *value <= 0.0) => {
                let middle = median(values).unwrap_or_default().abs();
                Measure::Difference((middle * self.settings.change * times).max(f64::MIN_POSITIVE))
            }
            Measure::Count if median(values).is_some_and(|middle| middle > 0.0) => {
                let middle = median(values).unwrap_or_default();
                // Poisson's: as many as there are vary by their root.
                Measure::Difference(3.0 * middle.sqrt())
            }
            measure => measure,
        }
    }

    /// On a scale on which more is worse.
    fn put(&self, value: f64, measure: Measure) -> f64 {
        let value = if matches!(measure, Measure::Ratio(_)) { value.ln() } else { value };
        match self.way {
            Way::More => value,
            Way::Less => -value,
        }
    }

    /// What matters, on that scale.
    fn material(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Ratio(times) => (self.settings.change * times).ln_1p(),
            Measure::Difference(least) => least,
            Measure::Count => 1.0,
        }
    }
}

/// How often so many or more of all events would fall to one of so many, if each fell to any of them alike.
fn by_chance(value: f64, values: &[f64]) -> Option<f64> {
    let total = values.iter().map(|value| value.round().max(0.0) as u64).sum::<u64>();
    let count = value.round().max(0.0) as u64;
    if count == 0 {
        return Some(1.0);
    }
    let shared = Binomial::new(1.0 / values.len() as f64, total).ok()?;
    Some(shared.sf(count - 1))
}

fn without(values: &[f64], index: usize) -> Vec<f64> {
    [&values[..index], &values[index + 1..]].concat()
}

/// The least and the greatest of all others, of sorted values.
fn ends(sorted: &[f64], but: f64) -> (f64, f64) {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return (but, but) };
    let low = if but == *first { sorted.get(1).unwrap_or(first) } else { first };
    let high = if but == *last { sorted.get(sorted.len().wrapping_sub(2)).unwrap_or(last) } else { last };
    (*low, *high)
}
