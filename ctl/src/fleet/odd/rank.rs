//! Who is odd, the surest first.

use super::{
    judge::{Basis, Evidence, evidence},
    readings::{Question, Readings, Subject},
};
use crate::stats::{benjamini_hochberg, cauchy_combined};

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    /// Differences of less are let be, as a part: 0.05 is 5 %.
    pub(crate) change: f64,
    /// What is surer than this is called odd.
    pub(crate) sure: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { change: 0.05, sure: 0.95 }
    }
}

/// One host, or part of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) subject: Subject,
    /// Corrected for the number of its figures, and for the number of all hosts and parts. None where nothing could be told.
    pub(crate) p_adjusted: Option<f64>,
    pub(crate) is_odd: bool,
    /// Where it is worse by enough to matter, the clearest first.
    pub(crate) evidence: Vec<(Question, Evidence)>,
}

impl Ranked {
    /// How sure it is that it is odd.
    pub(crate) fn confidence(&self) -> Option<f64> {
        self.p_adjusted.map(|p| 1.0 - p)
    }

    fn greatest_score(&self) -> f64 {
        self.evidence.iter().filter_map(|(_, evidence)| evidence.score).fold(0.0, f64::max)
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OddOnes {
    pub(crate) settings: Settings,
    pub(crate) hosts: usize,
    /// Hosts without a result.
    pub(crate) without: Vec<String>,
    /// All that are worse than their peers in something, the surest first; then those of whom it can't be told how sure.
    pub(crate) ranked: Vec<Ranked>,
    /// Values that were put beside four peers or more.
    pub(crate) compared: usize,
    /// Values with fewer peers.
    pub(crate) few_peers: usize,
    /// Values that are worse than those of their peers, which are all alike.
    pub(crate) no_spread: usize,
}

impl OddOnes {
    /// Those that are called odd.
    pub(crate) fn odd(&self) -> impl Iterator<Item = &Ranked> {
        self.ranked.iter().take_while(|ranked| ranked.is_odd)
    }

    /// Whether anything had enough peers.
    pub(crate) fn tells_something(&self) -> bool {
        self.compared > 0
    }
}

/// Ranks all hosts and parts.
pub(crate) fn odd_ones(readings: &Readings, settings: Settings) -> OddOnes {
    let all = evidence(readings, settings);
    let count = |basis: Basis| all.iter().filter(|evidence| evidence.basis == basis).count();
    let (few_peers, no_spread) = (count(Basis::FewPeers), count(Basis::NoSpread));
    let compared = all.len() - few_peers;
    let mut of_subject: Vec<Vec<Evidence>> = readings.subjects.iter().map(|_| Vec::new()).collect();
    for evidence in all {
        of_subject[evidence.subject].push(evidence);
    }
    // What its figures say together, of each host and part.
    let together = |evidence: &Vec<Evidence>| {
        cauchy_combined(&evidence.iter().filter_map(|evidence| evidence.p).collect::<Vec<_>>())
    };
    let combined: Vec<Option<f64>> = of_subject.iter().map(together).collect();
    let mut adjusted =
        benjamini_hochberg(&combined.iter().copied().flatten().collect::<Vec<_>>()).into_iter();
    let mut ranked = Vec::new();
    for ((subject, evidence), combined) in readings.subjects.iter().zip(of_subject).zip(combined) {
        let p_adjusted = combined.and_then(|_| adjusted.next());
        ranked.extend(found(readings, subject, p_adjusted, evidence, settings));
    }
    ranked.sort_by(|one, other| {
        let rank = |ranked: &Ranked| ranked.p_adjusted.unwrap_or(1.0);
        rank(one)
            .total_cmp(&rank(other))
            .then_with(|| other.greatest_score().total_cmp(&one.greatest_score()))
            .then_with(|| one.subject.cmp(&other.subject))
    });
    let without = readings.without.clone();
    OddOnes { settings, hosts: readings.hosts, without, ranked, compared, few_peers, no_spread }
}

/// Nothing where it is in nothing worse.
fn found(
    readings: &Readings,
    subject: &Subject,
    p_adjusted: Option<f64>,
    mut evidence: Vec<Evidence>,
    settings: Settings,
) -> Option<Ranked> {
    evidence.retain(|evidence| evidence.matters && evidence.p != Some(1.0));
    if evidence.is_empty() {
        return None;
    }
    let rank = |evidence: &Evidence| evidence.p.unwrap_or(1.0);
    let score = |evidence: &Evidence| evidence.score.unwrap_or_default();
    evidence.sort_by(|one, other| {
        rank(one).total_cmp(&rank(other)).then_with(|| score(other).total_cmp(&score(one)))
    });
    let told = |evidence: Evidence| (readings.questions[evidence.question].0.clone(), evidence);
    // Where the peers are all alike, or too few, what speaks against it has no weight that is known.
    let is_weighed = evidence.iter().any(|evidence| evidence.p.is_some());
    let p_adjusted = p_adjusted.filter(|_| is_weighed);
    Some(Ranked {
        subject: subject.clone(),
        p_adjusted,
        is_odd: p_adjusted.is_some_and(|p| 1.0 - p >= settings.sure),
        evidence: evidence.into_iter().map(told).collect(),
    })
}
