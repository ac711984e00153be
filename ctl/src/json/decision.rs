//! What was decided between phases, and what would be.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::{
    v1::{Decision, DecisionAction, DecisionPoint, JudgedCondition, Phase, Scenario},
    validate::action_name,
};

use super::{known, present, rfc3339, seconds};
use crate::report::{failure_words, requirement_words};

/// One decision.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Decision")]
pub(crate) struct DecisionOut {
    /// RFC 3339.
    at: String,
    phase: String,
    phase_index: u32,
    /// `before` or `after` the phase.
    kind: String,
    /// `begin`, `continue`, `repeat`, `skip`, `wind-down` or `fail`.
    outcome: String,
    /// Why, with what was measured and what was asked.
    reason: String,
    /// Which time of the phase it is about, from 1 on.
    attempt: u32,
    /// For how long it was waited, with the time that looking took.
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_s: Option<f64>,
    /// What was looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<ConditionOut>,
}

/// One condition of a decision.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Condition")]
struct ConditionOut {
    /// Such as `memory`, or a threshold as it was written.
    what: String,
    held: bool,
    /// What was measured, in `unit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// What it was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<f64>,
    /// UCUM's short form.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&Decision> for DecisionOut {
    fn from(decision: &Decision) -> Self {
        Self {
            at: rfc3339(decision.at_unix_ns),
            phase: decision.phase.clone(),
            phase_index: decision.phase_index,
            kind: point_name(decision.point()).to_owned(),
            outcome: action_name(decision.action()).unwrap_or_default().to_owned(),
            reason: decision.reason.clone(),
            attempt: decision.attempt,
            waited_s: (decision.waited_ns > 0).then(|| seconds(decision.waited_ns)),
            conditions: decision.conditions.iter().map(ConditionOut::from).collect(),
        }
    }
}

impl From<&JudgedCondition> for ConditionOut {
    fn from(condition: &JudgedCondition) -> Self {
        Self {
            what: condition.what.clone(),
            held: condition.held,
            value: condition.value.and_then(known),
            bound: condition.bound.and_then(known),
            unit: present(&condition.unit),
            reason: present(&condition.reason),
        }
    }
}

/// `before` or `after`.
pub(crate) fn point_name(point: DecisionPoint) -> &'static str {
    match point {
        DecisionPoint::Before => "before",
        DecisionPoint::After => "after",
        DecisionPoint::Unspecified => "",
    }
}

/// A decision that would be taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedDecision")]
pub(crate) struct PlannedDecisionOut {
    phase: String,
    /// `before` or `after` the phase.
    kind: String,
    /// What has to hold, or what has to come out of the phase.
    conditions: Vec<String>,
    /// For how long it would be waited until it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_s: Option<f64>,
    /// How often the phase would be repeated at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<u32>,
    /// What is done where it does not: `continue`, `skip`, `wind-down` or `fail`.
    otherwise: String,
}

/// Those that a scenario has taken, in order.
pub(crate) fn planned_decisions(scenario: &Scenario) -> Vec<PlannedDecisionOut> {
    scenario.phases.iter().flat_map(|phase| planned(phase, scenario)).collect()
}

fn planned(phase: &Phase, scenario: &Scenario) -> impl Iterator<Item = PlannedDecisionOut> {
    let name = |action| action_name(action).unwrap_or("skip").to_owned();
    let before = phase.require.as_ref().map(|require| PlannedDecisionOut {
        phase: phase.name.clone(),
        kind: "before".into(),
        conditions: requirement_words(require),
        wait_s: (require.wait_ms > 0).then_some(require.wait_ms as f64 / 1e3),
        repeats: None,
        otherwise: name(require.otherwise()),
    });
    let after = phase.after.map(|after| PlannedDecisionOut {
        phase: phase.name.clone(),
        kind: "after".into(),
        conditions: failure_words(phase, scenario),
        wait_s: None,
        repeats: after.repeats,
        otherwise: match (after.on_fail(), after.otherwise()) {
            (DecisionAction::Repeat, DecisionAction::Unspecified) => "continue".to_owned(),
            (DecisionAction::Repeat, otherwise) => name(otherwise),
            (on_fail, _) => name(on_fail),
        },
    });
    before.into_iter().chain(after)
}
