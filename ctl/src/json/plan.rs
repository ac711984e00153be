//! What a start would come to, and what is wrong with scenario files.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::{PlanResponse, PlannedBurner, Scenario, Violation};

use super::{GuardOut, LimitsOut, PlannedDecisionOut, ScenarioOut, planned_decisions, present};
use crate::{
    report::{burner_words, threshold_bound},
    scenario::Finding,
};

/// Of `plan`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Plan")]
pub(crate) struct PlanOut {
    scenario: String,
    /// Nothing speaks against it, and nothing keeps it from starting now.
    would_start: bool,
    /// The sum of the phases' durations.
    duration_s: f64,
    /// Gives the same operations again on the same host.
    seed: u64,
    phases: Vec<PlannedPhaseOut>,
    /// The limits that would be enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsOut>,
    /// Those that it brings, then the host's.
    guards: Vec<GuardOut>,
    thresholds: Vec<AskedOut>,
    /// Trends that would be judged, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trends: Vec<String>,
    /// What would be decided between phases.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decisions: Vec<PlannedDecisionOut>,
    /// In which loads would go down to nothing, where a decision ends the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    wind_down_s: Option<f64>,
    /// Everything that speaks against it.
    refusals: Vec<RefusalOut>,
    /// What keeps it from starting just now.
    obstacles: Vec<String>,
    /// Burners that the scenario's variables leave out, and why.
    left_out: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedPhase")]
struct PlannedPhaseOut {
    name: String,
    duration_s: f64,
    /// In which its loads would come from those of the phase before.
    #[serde(skip_serializing_if = "Option::is_none")]
    ramp_s: Option<f64>,
    /// Later phases may compare with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    baseline: bool,
    burners: Vec<PlannedBurnerOut>,
}

/// What one burner would do. What only the agent can say is absent where the scenario is refused.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedBurner")]
struct PlannedBurnerOut {
    kind: String,
    /// In words.
    does: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<Vec<u32>>,
    /// Of memory that it would hold, beyond buffers.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    /// Of a file system or a device that it would take.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_bytes: Option<u64>,
}

/// A threshold that would be judged.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedThreshold")]
struct AskedOut {
    expr: String,
    /// Absent where it is of the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    /// Of one against a baseline: the bound that came of it, such as `>= 1.9 ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<String>,
    abort_on_fail: bool,
}

/// Something that speaks against it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Refusal")]
pub(super) struct RefusalOut {
    #[serde(flatten)]
    problem: FindingOut,
    /// The key of the agent's configuration that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<String>,
}

impl PlanOut {
    /// Of the agent's answer; `asked` is the scenario as it was sent, `findings` the places of the violations, `left_out`
    /// tells of burners that are not in it.
    pub(crate) fn new(
        response: &PlanResponse,
        asked: &Scenario,
        findings: &[Finding],
        left_out: &[String],
    ) -> Self {
        let scenario = response.scenario.as_ref().unwrap_or(asked);
        let phase = |(index, phase): (usize, &ssts_proto::v1::Phase)| PlannedPhaseOut {
            name: phase.name.clone(),
            duration_s: phase.duration_ms as f64 / 1e3,
            ramp_s: phase.ramp_ms.map(|ms| ms as f64 / 1e3),
            baseline: phase.baseline,
            burners: (phase.burners.iter().enumerate())
                .map(|(of_phase, burner)| planned_out(burner, planned(response, index, of_phase)))
                .collect(),
        };
        Self {
            scenario: scenario.name.clone(),
            would_start: response.violations.is_empty() && response.obstacles.is_empty(),
            duration_s: crate::scenario::duration_ms(scenario) as f64 / 1e3,
            seed: scenario.seed,
            phases: scenario.phases.iter().enumerate().map(phase).collect(),
            limits: response.limits.as_ref().map(LimitsOut::from),
            guards: response.guards.iter().map(GuardOut::from).collect(),
            thresholds: (scenario.thresholds.iter())
                .map(|threshold| AskedOut {
                    expr: threshold.that.clone(),
                    phase: present(&threshold.phase),
                    bound: threshold_bound(threshold),
                    abort_on_fail: threshold.abort_on_fail,
                })
                .collect(),
            trends: scenario.trends.iter().map(crate::trends::subject).collect(),
            decisions: planned_decisions(scenario),
            wind_down_s: scenario.wind_down.map(|wind_down| wind_down.duration_ms as f64 / 1e3),
            refusals: refusals(&response.violations, findings),
            obstacles: response.obstacles.clone(),
            left_out: left_out.to_vec(),
        }
    }
}

/// Violations with their places.
pub(super) fn refusals(violations: &[Violation], findings: &[Finding]) -> Vec<RefusalOut> {
    let refusal = |(violation, finding): (&Violation, &Finding)| RefusalOut {
        problem: finding.into(),
        rule: present(&violation.rule),
        asked: present(&violation.asked),
        allowed: present(&violation.allowed),
    };
    violations.iter().zip(findings).map(refusal).collect()
}

/// What the agent says of one burner.
pub(crate) fn planned(response: &PlanResponse, phase: usize, burner: usize) -> Option<&PlannedBurner> {
    response
        .burners
        .iter()
        .find(|planned| planned.phase_index as usize == phase && planned.burner_index as usize == burner)
}

fn planned_out(burner: &ssts_proto::v1::Burner, planned: Option<&PlannedBurner>) -> PlannedBurnerOut {
    PlannedBurnerOut {
        kind: crate::scenario::burner_kind(burner).to_owned(),
        does: burner_words(burner),
        workers: planned.map(|planned| planned.workers),
        cores: planned.map(|planned| planned.cores.clone()),
        memory_bytes: planned.and_then(|planned| planned.memory_bytes),
        disk_bytes: planned.and_then(|planned| planned.disk_bytes),
    }
}

/// Of `scenarios check`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Checks")]
pub(crate) struct ChecksOut {
    pub(crate) files: Vec<CheckedOut>,
}

/// One file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Checked")]
pub(crate) struct CheckedOut {
    pub(crate) file: String,
    pub(crate) valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<ScenarioOut>,
    /// In the order of the text.
    pub(crate) problems: Vec<FindingOut>,
}

/// Something wrong, and where it was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct FindingOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// In characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl From<&Finding> for FindingOut {
    fn from(finding: &Finding) -> Self {
        let position = finding.position.as_ref();
        Self {
            file: position.map(|position| position.file.clone()),
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            message: finding.message.clone(),
            mend: present(&finding.mend),
        }
    }
}
