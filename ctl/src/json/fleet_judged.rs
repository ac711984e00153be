//! Waves, gates and thresholds of a fleet.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::{
    thresholds::{COMPARISONS, outcome_name},
    v1::ThresholdOutcome,
};

use super::{known, present, rfc3339};
use crate::fleet::{Course, FleetJudged, FleetSpec, Gate, Stage, Tally};

/// What is asked of a fleet as a whole.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetAsked")]
pub(crate) struct FleetAskedOut {
    /// How many of all hosts are to have run after each wave. None: all run at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waves: Vec<String>,
    /// By label: of hosts with one value at most so many at once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    max_per: BTreeMap<String, String>,
    /// By label: what hosts with one value may draw at once; of `fleet`, all of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    max_watts: BTreeMap<String, f64>,
    /// Failed hosts that are borne before the others are stopped and later waves stay where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_failures: Option<String>,
    /// What must hold of it, as it was written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    thresholds: Vec<String>,
}

impl From<&FleetSpec> for FleetAskedOut {
    fn from(spec: &FleetSpec) -> Self {
        let waves = &spec.waves;
        Self {
            waves: waves.waves.iter().map(ToString::to_string).collect(),
            max_per: (waves.max_per.iter())
                .map(|bound| (bound.domain.clone(), bound.most.to_string()))
                .collect(),
            max_watts: (waves.max_watts.iter())
                .map(|bound| (bound.domain.clone().unwrap_or_else(|| "fleet".into()), bound.watts))
                .collect(),
            max_failures: waves.max_failures.map(|borne| borne.to_string()),
            thresholds: spec.thresholds.iter().map(|threshold| threshold.that.clone()).collect(),
        }
    }
}

/// What came of a condition on a fleet.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetThreshold")]
pub(crate) struct FleetThresholdOut {
    /// As it was written.
    expr: String,
    /// Whether `outcome` is `pass`.
    passed: bool,
    /// `pass`, `fail`, or `inconclusive` where it could not be judged.
    outcome: String,
    /// What it came to, in `unit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// What it was compared with, in `unit`, and how: `<`, `<=`, `>`, `>=`, `==`, `!=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<String>,
    /// UCUM's short form; `{host}` and `%` where hosts are counted.
    unit: String,
    /// Hosts that count.
    hosts: usize,
    /// Hosts that have no such figure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
    /// The host that breaks it most, or comes nearest to it, and its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    worst_host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worst_value: Option<f64>,
    /// Why it is no pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&FleetJudged> for FleetThresholdOut {
    fn from(judged: &FleetJudged) -> Self {
        let sign = COMPARISONS.iter().find(|(_, known)| *known == judged.comparison);
        Self {
            expr: judged.that.clone(),
            passed: judged.outcome == ThresholdOutcome::Pass,
            outcome: outcome_name(judged.outcome).to_owned(),
            value: judged.value.and_then(known),
            limit: known(judged.limit),
            comparison: sign.map(|(sign, _)| (*sign).to_owned()),
            unit: judged.unit.clone(),
            hosts: judged.hosts,
            without: judged.without.clone(),
            worst_host: judged.worst.as_ref().map(|(host, _)| host.clone()),
            worst_value: judged.worst.as_ref().and_then(|(_, value)| known(*value)),
            reason: present(&judged.reason),
        }
    }
}

/// How many hosts came to what.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HostCounts")]
pub(crate) struct TallyOut {
    /// Asked to run, whether or not they could.
    tried: usize,
    passed: usize,
    /// All that were tried and did not pass.
    failed: usize,
    /// Of these, ended by a guard, a halt, a lost lease or a user.
    aborted: usize,
    /// Of these, never ready.
    unready: usize,
    lost: usize,
}

impl From<&Tally> for TallyOut {
    fn from(tally: &Tally) -> Self {
        let Tally { tried, passed, aborted, unready, lost } = *tally;
        Self { tried, passed, failed: tally.failed(), aborted, unready, lost }
    }
}

/// A wave of a run over a fleet.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Wave")]
pub(crate) struct WaveOut {
    /// From 1.
    wave: usize,
    /// How many of all hosts are to have run after it, as it was asked.
    asked: String,
    /// Where bounds parted it: which part of that it is, from 1, and of how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
    /// Their names.
    hosts: Vec<String>,
    /// What they may draw together, by the inventory.
    #[serde(skip_serializing_if = "Option::is_none")]
    watts: Option<f64>,
    /// Whether it was started: a gate before it may have kept it.
    started: bool,
    /// When its hosts were asked to make ready: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    /// What came of its hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<TallyOut>,
    /// Whether it was good, so that the next one may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed: Option<bool>,
    /// Too many of its hosts failed while it was on, and the others were stopped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut_short: bool,
    /// Why it was not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    /// What came of the fleet's thresholds, by its hosts alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fleet_thresholds: Vec<FleetThresholdOut>,
}

impl WaveOut {
    /// All of a run, in order.
    pub(crate) fn all(course: &Course) -> Vec<Self> {
        course.stages.iter().enumerate().map(|(index, stage)| Self::of(index + 1, stage)).collect()
    }

    fn of(wave: usize, stage: &Stage) -> Self {
        let gate = stage.gate.as_ref();
        Self {
            wave,
            asked: stage.wave.asked.clone(),
            part: stage.wave.part.map(|(part, _)| part),
            parts: stage.wave.part.map(|(_, parts)| parts),
            hosts: stage.hosts.clone(),
            watts: stage.wave.watts,
            started: stage.asked_at_unix_ns.is_some(),
            started_at: stage.asked_at_unix_ns.map(rfc3339),
            counts: gate.map(|gate| (&gate.tally).into()),
            passed: gate.map(Gate::is_open),
            cut_short: gate.is_some_and(|gate| gate.is_cut_short),
            reasons: gate.map(|gate| gate.reasons.clone()).unwrap_or_default(),
            fleet_thresholds: gate
                .map(|gate| gate.thresholds.iter().map(FleetThresholdOut::from).collect())
                .unwrap_or_default(),
        }
    }
}
