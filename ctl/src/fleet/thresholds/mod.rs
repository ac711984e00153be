//! What must hold of a fleet as a whole, judged from what came of each host: `p95 across hosts of host.temperature.max < 85`,
//! `hosts failed <= 1%`.

mod figure;
mod grammar;

use ssts_proto::{
    guards,
    thresholds::{self, holds, is_ceiling, is_floor},
    v1::{LabelMatch, Threshold, ThresholdComparison, ThresholdOutcome, Verdict},
};

use super::{Fate, HostOutcome, Tally, gate::is_tried, waves::named};
use crate::stats;

/// One condition on a fleet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FleetThreshold {
    /// As it was written.
    pub(crate) that: String,
    pub(crate) subject: Subject,
}

/// What is judged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Subject {
    /// How many hosts came to something.
    Hosts {
        which: Which,
        comparison: ThresholdComparison,
        /// Hosts, or percent of those that were tried.
        value: f64,
        is_share: bool,
    },
    /// What one figure of each host comes to.
    Across {
        aggregate: Aggregate,
        /// A host without the figure is left out; otherwise nothing can be said without it.
        only_reporting: bool,
        /// Of one host: its metric, statistic, comparison and value.
        of: Box<Threshold>,
    },
}

/// What hosts came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Passed,
    /// All that were tried and did not pass, whatever the reason.
    Failed,
    /// Of these, runs that a guard, a halt, a lost lease or a user ended.
    Aborted,
    /// Of these, hosts that could not be made ready, and never ran.
    Unready,
    /// Of these, hosts that were lost.
    Lost,
}

/// As they are written.
const COUNTS: [(&str, Which); 5] = [
    ("passed", Which::Passed),
    ("failed", Which::Failed),
    ("aborted", Which::Aborted),
    ("unready", Which::Unready),
    ("lost", Which::Lost),
];

/// How the hosts' figures become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Min,
    Max,
    Mean,
    /// Of the whole fleet alone: a part of it has only a part of the sum.
    Sum,
    /// The least value that so many percent of hosts do not exceed: 1 to 99.
    Percentile(u8),
}

/// What came of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FleetJudged {
    pub(crate) that: String,
    pub(crate) outcome: ThresholdOutcome,
    /// What it came to. Absent where nothing was measured.
    pub(crate) value: Option<f64>,
    /// What that was compared with.
    pub(crate) limit: f64,
    pub(crate) comparison: ThresholdComparison,
    /// Of both: UCUM's short form.
    pub(crate) unit: String,
    /// Hosts that count.
    pub(crate) hosts: usize,
    /// Hosts that have no such figure.
    pub(crate) without: Vec<String>,
    /// The host that is nearest to breaking it, or breaks it most, and its value.
    pub(crate) worst: Option<(String, f64)>,
    /// Why it is no pass.
    pub(crate) reason: String,
}

/// One host's figure.
struct Value<'h> {
    host: &'h str,
    value: f64,
    /// Its run did not come to its end: later readings are missing.
    is_partial: bool,
}

impl FleetThreshold {
    /// Whether a part of the fleet can be judged by it.
    pub(crate) fn is_of_waves(&self) -> bool {
        !matches!(&self.subject, Subject::Across { aggregate: Aggregate::Sum, .. })
    }

    /// Whether it says how many failed hosts are borne.
    pub(crate) fn counts_failures(&self) -> bool {
        matches!(&self.subject, Subject::Hosts { which: Which::Failed | Which::Passed, .. })
    }

    /// Says which of its metric's columns count.
    pub(crate) fn with_labels(mut self, labels: Vec<LabelMatch>) -> Self {
        if let Subject::Across { of, .. } = &mut self.subject {
            of.labels.extend(labels);
        }
        self
    }

    /// What comes of it, by what came of the hosts.
    pub(crate) fn judge<'h>(&self, outcomes: impl IntoIterator<Item = &'h HostOutcome>) -> FleetJudged {
        match &self.subject {
            Subject::Hosts { which, comparison, value, is_share } => {
                self.of_counts(&Tally::of(outcomes), *which, *comparison, *value, *is_share)
            }
            Subject::Across { aggregate, only_reporting, of } => {
                self.of_figures(outcomes, *aggregate, *only_reporting, of)
            }
        }
    }

    fn of_counts(
        &self,
        tally: &Tally,
        which: Which,
        comparison: ThresholdComparison,
        asked: f64,
        is_share: bool,
    ) -> FleetJudged {
        let count = match which {
            Which::Passed => tally.passed,
            Which::Failed => tally.failed(),
            Which::Aborted => tally.aborted,
            Which::Unready => tally.unready,
            Which::Lost => tally.lost,
        };
        let mut judged = self.blank(comparison, asked, if is_share { "%" } else { "{host}" });
        judged.hosts = tally.tried;
        if tally.tried == 0 {
            judged.reason = "no host was tried".into();
            return judged;
        }
        let value = if is_share { count as f64 * 100.0 / tally.tried as f64 } else { count as f64 };
        judged.value = Some(value);
        let is_good = holds(&Threshold { value: asked, ..compared(comparison) }, value);
        judged.outcome = if is_good { ThresholdOutcome::Pass } else { ThresholdOutcome::Fail };
        if !is_good {
            judged.reason = format!("{count} of {} hosts {}", tally.tried, word(which));
        }
        judged
    }

    fn of_figures<'h>(
        &self,
        outcomes: impl IntoIterator<Item = &'h HostOutcome>,
        aggregate: Aggregate,
        only_reporting: bool,
        of: &Threshold,
    ) -> FleetJudged {
        let unit = thresholds::metric(&of.metric)
            .map(|metric| thresholds::unit(metric, of.statistic()))
            .unwrap_or_default();
        let mut judged = self.blank(of.comparison(), of.value, &unit);
        let of_run = if aggregate == Aggregate::Sum { figure::sum_of } else { figure::worst_of };
        let mut values = Vec::new();
        // What was measured until others had it stopped was measured.
        let has_run = |outcome: &&HostOutcome| is_tried(outcome) || outcome.fate == Fate::Stopped;
        for outcome in outcomes.into_iter().filter(has_run) {
            let host = outcome.member.name.as_str();
            match outcome.ended().and_then(|run| Some((of_run(run, of)?, run))) {
                Some((value, run)) => {
                    let verdict = run.summary.as_ref().map(ssts_proto::v1::RunSummary::verdict);
                    let is_partial = !matches!(verdict, Some(Verdict::Pass | Verdict::Fail));
                    values.push(Value { host, value, is_partial });
                }
                None => judged.without.push(host.to_owned()),
            }
        }
        judged.hosts = values.len();
        judged.worst = worst(&values, of).map(|worst| (worst.host.to_owned(), worst.value));
        let figures: Vec<f64> = values.iter().map(|value| value.value).collect();
        judged.value = aggregate.of(&figures);
        let Some(value) = judged.value else {
            judged.reason = "no host has measured it".into();
            return judged;
        };
        let partial: Vec<&str> =
            values.iter().filter(|value| value.is_partial).map(|value| value.host).collect();
        let without: Vec<&str> = judged.without.iter().map(String::as_str).collect();
        let is_whole = only_reporting || without.is_empty();
        let is_good = holds(of, value);
        // One host too hot is one too hot, whatever others would have had.
        let is_final = match aggregate {
            Aggregate::Max => is_ceiling(of.comparison()),
            Aggregate::Min => is_floor(of.comparison()),
            Aggregate::Mean | Aggregate::Sum | Aggregate::Percentile(_) => false,
        };
        (judged.outcome, judged.reason) = match (is_good, is_whole) {
            (false, whole) if whole || is_final => {
                let worst = judged.worst.as_ref();
                let worst = worst.map_or_else(String::new, |(host, value)| {
                    format!(", the worst is {host} with {}", guards::words(*value, &unit))
                });
                let hosts = values.len();
                let reason = format!("it is {} across {hosts} hosts{worst}", guards::words(value, &unit));
                (ThresholdOutcome::Fail, reason)
            }
            (_, false) => {
                let reason = format!("nothing was measured of it on {}", named(&without));
                (ThresholdOutcome::Inconclusive, reason)
            }
            (true, true) if !partial.is_empty() => {
                let reason = format!("the run ended before it could be judged on {}", named(&partial));
                (ThresholdOutcome::Inconclusive, reason)
            }
            (_, true) => (ThresholdOutcome::Pass, String::new()),
        };
        judged
    }

    fn blank(&self, comparison: ThresholdComparison, limit: f64, unit: &str) -> FleetJudged {
        FleetJudged {
            that: self.that.clone(),
            outcome: ThresholdOutcome::Inconclusive,
            value: None,
            limit,
            comparison,
            unit: unit.to_owned(),
            hosts: 0,
            without: Vec::new(),
            worst: None,
            reason: String::new(),
        }
    }
}

impl FleetJudged {
    pub(crate) fn is_passed(&self) -> bool {
        self.outcome == ThresholdOutcome::Pass
    }

    /// Its value as people read it.
    pub(crate) fn value_words(&self) -> String {
        let value = self.value.map(|value| match self.unit.as_str() {
            "{host}" => format!("{value}"),
            "%" => format!("{value:.1} %"),
            unit => guards::words(value, unit),
        });
        value.unwrap_or_default()
    }
}

impl Aggregate {
    /// Of all hosts' figures; nothing of none.
    fn of(self, values: &[f64]) -> Option<f64> {
        match self {
            Self::Min => values.iter().copied().reduce(f64::min),
            Self::Max => values.iter().copied().reduce(f64::max),
            Self::Mean => stats::mean(values),
            Self::Sum => (!values.is_empty()).then(|| values.iter().sum()),
            Self::Percentile(percent) => stats::nearest_rank(values, percent),
        }
    }
}

/// The host that is worst, by what the threshold asks for.
fn worst<'v, 'h>(values: &'v [Value<'h>], of: &Threshold) -> Option<&'v Value<'h>> {
    let badness = |value: &Value<'_>| match of.comparison() {
        comparison if is_ceiling(comparison) => value.value,
        comparison if is_floor(comparison) => -value.value,
        _ => f64::from(u8::from(!holds(of, value.value))),
    };
    values.iter().reduce(|one, other| if badness(other) > badness(one) { other } else { one })
}

fn compared(comparison: ThresholdComparison) -> Threshold {
    Threshold { comparison: comparison.into(), ..Threshold::default() }
}

fn word(which: Which) -> &'static str {
    COUNTS.iter().find(|(_, known)| *known == which).map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests;
