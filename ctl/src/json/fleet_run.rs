//! The results of a run on several hosts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::Run;

use super::{
    DecisionOut, FleetThresholdOut, OddOut, RecoveryOut, SearchOut, SettlingOut, ThresholdOut,
    TrendResultOut, WaveOut, cause, outcome, present, resolved, rfc3339,
    run::{FindingOut, HostOut},
    seconds,
};
use crate::{
    error::Exit,
    fleet::{Course, Fate, HostOutcome, OddOnes, StartSkew, skew_of_hosts},
    report::findings,
};

/// Of `burn`, `run` and `watch RUN` on a fleet. There is no verdict of the whole: each host has its own.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetResult")]
pub(crate) struct FleetResultOut {
    run_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<String>,
    /// Gives the same operations again on the same hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// The scenario as the first host carried it out, every default filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_scenario: Option<serde_json::Value>,
    /// That of the command: the worst of the hosts'.
    exit_status: u8,
    /// How many hosts came to what: verdicts of those that ran, else `not_ready`, `called_off`, `stopped`, `lost`,
    /// `goes_on`, `not_tried`.
    counts: BTreeMap<String, usize>,
    /// How far apart hosts began. Absent where fewer than two did.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<StartOut>,
    /// In which waves it came over the fleet, in order. Absent where it was only watched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waves: Vec<WaveOut>,
    /// What came of the conditions on the fleet as a whole, by all hosts that were tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fleet_thresholds: Vec<FleetThresholdOut>,
    /// In the order of the fleet.
    hosts: Vec<FleetResultHostOut>,
    /// Hosts and parts of hosts that lag behind their peers. Absent where fewer than five hosts have a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    odd: Option<OddOut>,
}

/// How far apart hosts began, by the clocks as they were measured.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetStart")]
struct StartOut {
    /// From the first burning instant to the last.
    skew_s: f64,
    /// That is off by at most this.
    error_s: f64,
    /// Hosts whose instant is known.
    hosts: usize,
}

impl From<StartSkew> for StartOut {
    fn from(skew: StartSkew) -> Self {
        let StartSkew { spread_ns, error_ns, hosts } = skew;
        Self { skew_s: seconds(spread_ns), error_s: seconds(error_ns), hosts }
    }
}

/// What one host did, or why it did nothing.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetHostResult")]
struct FleetResultHostOut {
    #[serde(flatten)]
    host: HostOut,
    /// Where its agent listens.
    address: String,
    /// `ran`, `not_ready`, `called_off`, `lost` or `goes_on`; `stopped` where it ran until too many others had failed; `not_tried` where
    /// its wave never started.
    fate: &'static str,
    /// Of a command that had been about this host alone.
    exit_status: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// As of a single run.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause_message: Option<String>,
    /// RFC 3339, by the host's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_s: Option<f64>,
    /// How far its first burning instant was from the one named; later is positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_skew_s: Option<f64>,
    /// By how much its clock may be off from what was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_error_s: Option<f64>,
    /// Why it has no run, or no end of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ProblemOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    thresholds: Vec<ThresholdOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trends: Vec<TrendResultOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decisions: Vec<DecisionOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    searches: Vec<SearchOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recoveries: Vec<RecoveryOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settlings: Vec<SettlingOut>,
    /// In plain words; the worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingOut>,
}

/// What is wrong, and what to do about it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetProblem")]
struct ProblemOut {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl FleetResultOut {
    pub(crate) fn new(run_id: &str, outcomes: &[HostOutcome], exit: Exit) -> Self {
        let first =
            outcomes.iter().filter_map(|outcome| outcome.run.as_ref()).find(|run| run.scenario.is_some());
        let scenario = first.and_then(|run| run.scenario.as_ref());
        let mut counts = BTreeMap::new();
        for outcome in outcomes {
            *counts.entry(outcome.word()).or_default() += 1;
        }
        Self {
            run_id: run_id.to_owned(),
            scenario: scenario.map(|scenario| scenario.name.clone()),
            seed: scenario.map(|scenario| scenario.seed),
            resolved_scenario: scenario.and_then(resolved),
            exit_status: exit.code(),
            counts,
            start: skew_of_hosts(outcomes).map(StartOut::from),
            waves: Vec::new(),
            fleet_thresholds: Vec::new(),
            hosts: outcomes.iter().map(FleetResultHostOut::from).collect(),
            odd: None,
        }
    }

    /// With its waves, and what came of the fleet's thresholds.
    pub(crate) fn with_course(self, course: &Course) -> Self {
        Self {
            waves: WaveOut::all(course),
            fleet_thresholds: course.thresholds.iter().map(FleetThresholdOut::from).collect(),
            ..self
        }
    }

    /// With those that lag behind.
    pub(crate) fn with_odd(self, odd: Option<&OddOnes>) -> Self {
        Self { odd: odd.map(OddOut::from), ..self }
    }
}

impl From<&HostOutcome> for FleetResultHostOut {
    fn from(of: &HostOutcome) -> Self {
        let nothing = Run::default();
        let run = of.run.as_ref().unwrap_or(&nothing);
        let summary = of.run.as_ref().and_then(|run| run.summary.clone());
        let known = summary.clone().unwrap_or_default();
        let problems = of.failure.iter().flat_map(|failure| &failure.problems);
        Self {
            host: HostOut::from(run).named(&of.member.name),
            address: of.member.host.to_string(),
            fate: fate(of.fate),
            exit_status: of.exit().code(),
            cause: cause(&known),
            outcome: outcome(&known).map(str::to_owned),
            cause_message: present(&known.cause_message),
            started_at: summary.as_ref().map(|it| rfc3339(it.started_at_unix_ns)),
            duration_s: summary.as_ref().map(|it| seconds(it.duration_ns)),
            start_skew_s: of.skew_ns.map(|ns| ns as f64 / 1e9),
            clock_error_s: of.clock_error_ns.map(seconds),
            problems: problems
                .map(|problem| ProblemOut { message: problem.message.clone(), mend: present(&problem.mend) })
                .collect(),
            thresholds: run.thresholds.iter().map(ThresholdOut::from).collect(),
            trends: run.trends.iter().map(TrendResultOut::from).collect(),
            decisions: run.decisions.iter().map(DecisionOut::from).collect(),
            searches: run.searches.iter().map(SearchOut::from).collect(),
            recoveries: run.recoveries.iter().map(RecoveryOut::from).collect(),
            settlings: run.settlings.iter().map(SettlingOut::from).collect(),
            findings: of
                .ended()
                .map(|run| findings(run, &[]).into_iter().map(FindingOut::from).collect())
                .unwrap_or_default(),
        }
    }
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Ran => "ran",
        Fate::NotReady => "not_ready",
        Fate::CalledOff => "called_off",
        Fate::Stopped => "stopped",
        Fate::Lost => "lost",
        Fate::GoesOn => "goes_on",
        Fate::NotTried => "not_tried",
    }
}

impl HostOutcome {
    /// What it came to, as it is counted.
    fn word(&self) -> String {
        let verdict = || super::verdict(self.ended()?.summary.as_ref()?);
        match self.fate {
            Fate::Ran => verdict().unwrap_or_else(|| "unknown".to_owned()),
            other => fate(other).to_owned(),
        }
    }
}
