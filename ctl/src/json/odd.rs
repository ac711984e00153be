//! The odd ones out of a fleet.

use schemars::JsonSchema;
use serde::Serialize;

use super::{known, present};
use crate::fleet::{Evidence, OddOnes, Question, Ranked};

/// Of `odd`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OddOnes")]
pub(crate) struct OddOut {
    /// `pass`, `fail` where some are odd, `inconclusive` where nothing had four peers.
    verdict: String,
    hosts: usize,
    /// Hosts of which there is no result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    without_result: Vec<String>,
    /// Differences of less were let be.
    material_percent: f64,
    /// What is surer than this is called odd.
    sure_percent: f64,
    /// Values that were put beside four peers or more.
    compared: usize,
    /// Values with fewer peers, of which nothing can be told.
    few_peers: usize,
    /// Values that are worse than those of their peers, which are all alike: how sure that is can't be told.
    no_spread: usize,
    /// Hosts, and parts of hosts, that are worse than their peers in something: the surest first, and those of which it can't be told
    /// last.
    ranked: Vec<OddSubjectOut>,
}

/// A host, or a part of one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OddSubject")]
struct OddSubjectOut {
    host: String,
    /// `host`, `socket`, `core`, `dimm`, `disk` or `link`.
    part: String,
    /// Of the part. Absent of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    odd: bool,
    /// How sure it is that it is odd, 0 to 1. Absent where that can't be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    /// One less that: corrected for the number of its figures, and of all hosts and parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    p_adjusted: Option<f64>,
    /// The clearest first.
    evidence: Vec<OddEvidenceOut>,
}

/// A value and what its peers have.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OddEvidence")]
struct OddEvidenceOut {
    metric: String,
    statistic: String,
    /// The burner and the phase, or the labels that name no part.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    /// The peers are of this one, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    unit: String,
    value: f64,
    /// How many there are.
    peers: usize,
    /// Of the peers.
    median: f64,
    /// The least and the greatest of the peers.
    low: f64,
    high: f64,
    /// How far on the worse side of the median, in robust standard deviations of the peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// One-sided, of this value alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<f64>,
    /// `spread`, `counts`, `no_spread` or `few_peers`.
    basis: String,
}

impl From<&OddOnes> for OddOut {
    fn from(odd: &OddOnes) -> Self {
        let verdict = match odd.odd().next() {
            _ if !odd.tells_something() => "inconclusive",
            Some(_) => "fail",
            None => "pass",
        };
        Self {
            verdict: verdict.to_owned(),
            hosts: odd.hosts,
            without_result: odd.without.clone(),
            material_percent: odd.settings.change * 100.0,
            sure_percent: odd.settings.sure * 100.0,
            compared: odd.compared,
            few_peers: odd.few_peers,
            no_spread: odd.no_spread,
            ranked: odd.ranked.iter().map(OddSubjectOut::from).collect(),
        }
    }
}

impl From<&Ranked> for OddSubjectOut {
    fn from(ranked: &Ranked) -> Self {
        Self {
            host: ranked.subject.host.clone(),
            part: ranked.subject.part.name().to_owned(),
            name: present(&ranked.subject.name),
            odd: ranked.is_odd,
            confidence: ranked.confidence(),
            p_adjusted: ranked.p_adjusted,
            evidence: ranked.evidence.iter().map(OddEvidenceOut::from).collect(),
        }
    }
}

impl From<&(Question, Evidence)> for OddEvidenceOut {
    fn from((question, evidence): &(Question, Evidence)) -> Self {
        Self {
            metric: question.metric.clone(),
            statistic: question.statistic.clone(),
            of: present(&question.of),
            model: present(&question.model),
            unit: question.unit.clone(),
            value: evidence.value,
            peers: evidence.peers,
            median: evidence.median,
            low: evidence.low,
            high: evidence.high,
            score: evidence.score.and_then(known),
            p: evidence.p,
            basis: evidence.basis.name().to_owned(),
        }
    }
}
