//! What `--output json` prints: the contract of the command line as types. `docs/output.schema.json` is made from them.
//!
//! Keys that don't apply are absent, not null; a number that isn't known is absent, never 0. New keys may be added; none
//! changes its meaning.

mod compare;
mod course;
mod decision;
mod drill;
mod fleet;
mod fleet_judged;
mod fleet_plan;
mod fleet_run;
mod guard;
mod history;
mod host;
mod mesh;
mod mismatch;
mod odd;
mod outcome;
mod plan;
mod platform;
mod policy;
mod process;
mod receipt;
mod recovery;
mod resolved;
mod run;
mod search;
mod security;
mod settling;
mod threshold;
mod wrong_word;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use ssts_proto::v1::{RunState, RunSummary, Verdict};

use crate::scenario::Variable;

pub(crate) use self::{
    compare::{
        ChangePointOut, ComparedOut, LeakOut, TrendOut, TrendPointOut, TrendSeriesOut, comparison_out,
    },
    course::TrendResultOut,
    decision::{DecisionOut, PlannedDecisionOut, planned_decisions, point_name},
    drill::DrillOut,
    fleet::{
        CollectedHostOut, CommandedHostOut, ComparedInfoOut, FleetHostOut, FleetOut, HaltConfirmedOut,
        LatestDrillOut,
    },
    fleet_judged::{FleetAskedOut, FleetThresholdOut, WaveOut},
    fleet_plan::FleetPlanOut,
    fleet_run::FleetResultOut,
    guard::GuardOut,
    history::{
        BaselinesOut, KeptRunOut, ListedRunOut, RemovedOut, RetentionOut, RunsOut, TaggedOut, TransferredOut,
    },
    host::{InfoOut, ProbeOut},
    mesh::MeshOut,
    odd::OddOut,
    outcome::outcome,
    plan::{CheckedOut, ChecksOut, FindingOut, PlanOut, planned},
    platform::PlatformOut,
    process::ProcessOut,
    receipt::{ReceiptOut, RecoveredOut, RunReceiptOut, receipt_state},
    recovery::RecoveryOut,
    resolved::resolved,
    run::{BurnerOut, LimitsOut, ResultOut},
    search::SearchOut,
    security::{AuditOut, CertificateOut, CertificatesOut, RevokedOut},
    settling::SettlingOut,
    threshold::{ThresholdOut, comparison_sign},
    wrong_word::WrongWordOut,
};

/// RFC 3339 of a time in nanoseconds since 1970.
pub(crate) fn rfc3339(unix_ns: i64) -> String {
    // Every 64-bit number of nanoseconds is a time that jiff knows.
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns))
        .map_or_else(|_| unix_ns.to_string(), |at| at.to_string())
}

/// The name of an enum's value as JSON has it: `RUN_STATE_RUNNING` is `running`.
pub(crate) fn plain(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

/// `pass`, `fail`, `aborted`, `error`; none before the end.
pub(crate) fn verdict(summary: &RunSummary) -> Option<String> {
    match summary.verdict() {
        Verdict::Unspecified => None,
        verdict => Some(plain(verdict.as_str_name(), "VERDICT_")),
    }
}

/// `completed`, `guard_tripped` …; none before the end.
pub(crate) fn cause(summary: &RunSummary) -> Option<String> {
    let name = plain(summary.cause().as_str_name(), "CAUSE_");
    (name != "unspecified").then_some(name)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn known(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A run in brief.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub(crate) struct RunOut {
    run_id: String,
    scenario: String,
    /// `pending`, `running`, `paused`, `stopping` or `finished`.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// What it came to: `pass`, `fail_hw` (wrong results, I/O errors), `fail_sw`, `aborted_by`, `stopped_by`, `inconclusive` or `skipped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// The cause in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause_message: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    /// From the start to the end, or to now.
    duration_s: f64,
    /// Index of the current phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase_elapsed_s: Option<f64>,
    /// Whether the host was seen to be clean afterwards: `clean`, `left` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
}

impl From<&RunSummary> for RunOut {
    fn from(summary: &RunSummary) -> Self {
        Self {
            run_id: summary.run_id.clone(),
            scenario: summary.scenario.clone(),
            state: state_name(summary.state()),
            verdict: verdict(summary),
            cause: cause(summary),
            outcome: outcome(summary).map(str::to_owned),
            cause_message: present(&summary.cause_message),
            started_at: (summary.started_at_unix_ns != 0).then(|| rfc3339(summary.started_at_unix_ns)),
            duration_s: seconds(summary.duration_ns),
            phase_index: summary.phase_index,
            phase_elapsed_s: summary.phase_elapsed_ns.map(seconds),
            receipt: receipt_state(summary.receipt()),
        }
    }
}

/// `running`, `paused` ….
pub(crate) fn state_name(state: RunState) -> String {
    plain(state.as_str_name(), "RUN_STATE_")
}

/// Of `status`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Status")]
pub(crate) struct StatusOut {
    pub(crate) host: String,
    /// Where the agent listens.
    pub(crate) address: String,
    pub(crate) agent_version: String,
    pub(crate) halted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) halt: Option<HaltOut>,
    /// The run that is on; of several, the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunOut>,
    /// All that are on, the latest first.
    pub(crate) runs: Vec<RunOut>,
    /// Runs that were not seen to be clean, and keep others from starting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unclean: Vec<RunReceiptOut>,
    /// Those of the host, and of the run that is on its own.
    pub(crate) guards: Vec<GuardOut>,
}

/// Why an agent is halted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Halt")]
pub(crate) struct HaltOut {
    /// RFC 3339.
    since: String,
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// By which way it came: `request`, `file`, `signal` or `guard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<String>,
    /// From the halt to the proof that nothing burned. Absent where nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_after_s: Option<f64>,
}

impl From<&ssts_proto::v1::HaltState> for HaltOut {
    fn from(halt: &ssts_proto::v1::HaltState) -> Self {
        Self {
            since: rfc3339(halt.since_unix_ns),
            by: halt.by.clone(),
            reason: present(&halt.reason),
            way: present(&halt.way),
            quiet_after_s: halt.quiet_after_ns.map(seconds),
        }
    }
}

/// Of `halt`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Halted")]
pub(crate) struct HaltedOut {
    pub(crate) halted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) halt: Option<HaltOut>,
    /// From the agent's receipt of the request to its proof that the last burner was gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quiet_after_s: Option<f64>,
}

/// Of `stop`, `pause`, `resume`, `freeze`, and of `run` and `burn` with `--detach`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Commanded")]
pub(crate) struct CommandedOut {
    pub(crate) run: RunOut,
    /// From the agent's receipt of the request to its proof that the last burner was gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quiet_after_s: Option<f64>,
    /// What was seen of the host afterwards. Only of `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptOut>,
    /// How much time the window has that was put into the record. Only of `freeze`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frozen_s: Option<f64>,
}

impl CommandedOut {
    pub(crate) fn new(run: &RunSummary) -> Self {
        Self { run: run.into(), quiet_after_s: None, receipt: None, frozen_s: None }
    }
}

/// Of `scenarios list`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Scenarios")]
pub(crate) struct ScenariosOut {
    pub(crate) scenarios: Vec<ScenarioOut>,
}

/// Of `scenarios show`, and a file's of `scenarios check`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Scenario")]
pub(crate) struct ScenarioOut {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) phases: usize,
    /// The sum of the phases' durations.
    pub(crate) duration_s: f64,
    /// What `--set` takes.
    pub(crate) variables: Vec<VariableOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) toml: Option<String>,
}

/// A variable of a scenario file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Variable")]
pub(crate) struct VariableOut {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) of: &'static str,
    /// Absent where it has to be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<String>,
    pub(crate) description: String,
}

impl From<&Variable> for VariableOut {
    fn from(variable: &Variable) -> Self {
        let Variable { name, of, default, description, .. } = variable;
        Self { name: name.clone(), of, default: default.clone(), description: description.clone() }
    }
}

/// What can stand on standard output. One of them is the whole of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    clippy::large_enum_variant,
    reason = "it is there for its schema, which describes each command's output: none is ever made"
)]
enum Printed {
    Result(ResultOut),
    FleetResult(FleetResultOut),
    Info(InfoOut),
    Status(StatusOut),
    Runs(RunsOut),
    KeptRun(KeptRunOut),
    Tagged(TaggedOut),
    Baselines(BaselinesOut),
    Removed(RemovedOut),
    Transferred(TransferredOut),
    Halted(HaltedOut),
    Recovered(RecoveredOut),
    Commanded(CommandedOut),
    Scenarios(ScenariosOut),
    Scenario(ScenarioOut),
    Checks(ChecksOut),
    Plan(PlanOut),
    FleetPlan(FleetPlanOut),
    Drill(DrillOut),
    Certificate(CertificateOut),
    Certificates(CertificatesOut),
    Revoked(RevokedOut),
    Audit(AuditOut),
    Compared(ComparedOut),
    Trend(TrendOut),
    OddOnes(OddOut),
    Mesh(MeshOut),
    FleetInfo(FleetOut<ComparedInfoOut>),
    FleetStatus(FleetOut<StatusOut>),
    FleetHalted(FleetOut<HaltConfirmedOut>),
    FleetCommanded(FleetOut<CommandedHostOut>),
    FleetDrills(FleetOut<LatestDrillOut>),
    FleetCollected(FleetOut<CollectedHostOut>),
}

/// The JSON Schema of all of it; `$defs` has one for each command.
pub(crate) fn schema() -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Printed>();
    schema.insert("title".into(), "Output of sstsctl --output json".into());
    schema.insert("description".into(), "One object: which one depends on the command.".into());
    // A schema that was just generated is plain data: there is nothing in it that could not be written.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    /// Checks what a command printed against one definition of the committed schema.
    pub(crate) fn assert_valid(printed: &str, definition: &str) {
        let mut schema: serde_json::Value = serde_json::from_str(&committed()).unwrap();
        let object = schema.as_object_mut().unwrap();
        assert!(object["$defs"].get(definition).is_some(), "no definition {definition}");
        object.remove("anyOf");
        object.insert("$ref".into(), format!("#/$defs/{definition}").into());
        let validator = jsonschema::validator_for(&schema).unwrap();
        let printed: serde_json::Value = serde_json::from_str(printed).unwrap();
        let errors: Vec<_> = validator.iter_errors(&printed).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{printed:#}");
        assert!(!contains_null(&printed), "{printed:#}");
    }

    fn contains_null(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Null => true,
            serde_json::Value::Array(items) => items.iter().any(contains_null),
            serde_json::Value::Object(items) => items.values().any(contains_null),
            _ => false,
        }
    }

    fn path() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/output.schema.json")
    }

    fn committed() -> String {
        fs::read_to_string(path()).unwrap_or_default()
    }

    #[test]
    fn the_published_schema_is_that_of_the_types() {
        if env::var_os("UPDATE_SCHEMA").is_some() {
            fs::create_dir_all(path().parent().unwrap()).unwrap();
            fs::write(path(), schema()).unwrap();
        }
        assert_eq!(
            committed(),
            schema(),
            "run the tests with UPDATE_SCHEMA=1 and commit docs/output.schema.json"
        );
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(1_700_000_000_123_000_000), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(i64::MIN), "1677-09-21T00:12:43.145224192Z");
    }
}
