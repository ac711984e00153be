//! The history of runs.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::RunSummary;

use super::{RunOut, outcome::outcome_of_names, present, rfc3339, seconds};
use crate::store::{Baseline, KeptRun, Pruned};

/// Of `runs`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Runs")]
pub(crate) struct RunsOut {
    /// Newest first.
    pub(crate) runs: Vec<ListedRunOut>,
}

/// A run of the history, or one that only the agent knows.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ListedRun")]
pub(crate) struct ListedRunOut {
    #[serde(flatten)]
    run: RunOut,
    /// Names of the hosts it was on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    /// Whether the history has it. Absent where the history was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// Names of baselines that it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    baselines: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Of the agents that it was on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agent_versions: Vec<String>,
    /// Of the `sstsctl` that kept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_version: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_at: Option<String>,
    /// That it takes of the store, about.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl ListedRunOut {
    /// One that the agent told of.
    pub(crate) fn of_agent(summary: &RunSummary, host: &str, kept: Option<bool>) -> Self {
        Self {
            run: summary.into(),
            hosts: present(host).into_iter().collect(),
            kept,
            tags: Vec::new(),
            baselines: Vec::new(),
            seed: None,
            agent_versions: Vec::new(),
            client_version: None,
            kept_at: None,
            bytes: None,
        }
    }
}

impl From<&KeptRun> for ListedRunOut {
    fn from(kept: &KeptRun) -> Self {
        let mut agent_versions: Vec<_> =
            kept.hosts.iter().filter_map(|host| host.agent_version.clone()).collect();
        agent_versions.dedup();
        Self {
            run: RunOut {
                run_id: kept.run_id.clone(),
                scenario: kept.scenario.clone(),
                state: "finished".into(),
                verdict: Some(kept.verdict.clone()),
                cause: kept.cause.clone(),
                outcome: outcome_of_names(&kept.verdict, kept.cause.as_deref()).map(str::to_owned),
                cause_message: kept.cause_message.clone(),
                started_at: Some(rfc3339(kept.started_at_ns)),
                duration_s: seconds(kept.duration_ns.unsigned_abs()),
                phase_index: None,
                phase_elapsed_s: None,
                receipt: kept.receipt.clone(),
            },
            hosts: kept.hosts.iter().map(|host| host.host.clone()).collect(),
            kept: Some(true),
            tags: kept.tags.clone(),
            baselines: kept.baselines.clone(),
            seed: Some(kept.seed),
            agent_versions,
            client_version: Some(kept.client_version.clone()),
            kept_at: Some(rfc3339(kept.kept_at_ns)),
            bytes: Some(kept.bytes),
        }
    }
}

/// Of `runs show`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeptRun")]
pub(crate) struct KeptRunOut {
    pub(crate) run: ListedRunOut,
    /// As `burn` or `run` printed it: a `Result`, maybe of another version of sstsctl.
    pub(crate) result: serde_json::Value,
}

/// Of `runs tag`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TaggedRun")]
pub(crate) struct TaggedOut {
    pub(crate) run: ListedRunOut,
}

/// Of `runs baseline`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Baselines")]
pub(crate) struct BaselinesOut {
    /// By name.
    pub(crate) baselines: Vec<BaselineOut>,
}

/// A run that others are measured by.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Baseline")]
pub(crate) struct BaselineOut {
    name: String,
    run_id: String,
    scenario: String,
    /// RFC 3339.
    set_at: String,
}

impl From<&Baseline> for BaselineOut {
    fn from(baseline: &Baseline) -> Self {
        let Baseline { name, run_id, scenario, set_at_ns } = baseline;
        Self {
            name: name.clone(),
            run_id: run_id.clone(),
            scenario: scenario.clone(),
            set_at: rfc3339(*set_at_ns),
        }
    }
}

/// Of `runs rm` and `runs prune`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Removed")]
pub(crate) struct RemovedOut {
    /// Oldest first.
    pub(crate) removed: Vec<String>,
    /// That they took of the store, about.
    pub(crate) bytes: u64,
    /// Whether they only would be removed.
    pub(crate) dry_run: bool,
    /// What is kept from now on. Only of `prune`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<RetentionOut>,
}

/// Bounds of what is kept; those that are absent are none.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Retention")]
pub(crate) struct RetentionOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_for_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_bytes: Option<u64>,
    /// What is left after it.
    pub(crate) kept_runs: u64,
    pub(crate) kept_bytes: u64,
}

impl RetentionOut {
    pub(crate) fn new(retention: crate::store::Retention, pruned: &Pruned) -> Self {
        Self {
            keep_for_s: retention.keep_for.map(|age| age.as_secs_f64()),
            keep_bytes: retention.keep_bytes,
            kept_runs: pruned.kept_runs,
            kept_bytes: pruned.kept_bytes,
        }
    }
}

/// Of `runs export` and `runs import`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Transferred")]
pub(crate) struct TransferredOut {
    /// The file.
    pub(crate) file: String,
    /// In the file.
    pub(crate) runs: u64,
    /// Of them, those that the store did not have. Only of `import`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) added: Option<u64>,
}
