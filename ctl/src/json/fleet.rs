//! What commands over a fleet print: one object for each host, and never one result for all.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{CommandedOut, HaltOut, InfoOut};
use crate::{
    error::{Failure, Problem},
    fleet::Member,
};

/// Of a command over a fleet: what each host answered, in the order of the inventory.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Fleet{T}")]
pub(crate) struct FleetOut<T> {
    pub(crate) hosts: Vec<FleetHostOut<T>>,
    /// How many did what was asked.
    pub(crate) answered: usize,
    /// How many did not, or could not be reached.
    pub(crate) failed: usize,
}

/// One host of a fleet.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetHost{T}")]
pub(crate) struct FleetHostOut<T> {
    /// As the inventory calls it.
    name: String,
    /// Where its agent listens.
    address: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// Absent where it could not be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<T>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ProblemOut>,
}

/// Something that is wrong.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetProblem")]
struct ProblemOut {
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl<T> FleetOut<T> {
    pub(crate) fn new(hosts: Vec<FleetHostOut<T>>) -> Self {
        let answered = hosts.iter().filter(|host| host.problems.is_empty()).count();
        Self { failed: hosts.len() - answered, answered, hosts }
    }
}

impl<T> FleetHostOut<T> {
    pub(crate) fn new(member: &Member, result: Result<T, &Failure>) -> Self {
        let (answer, problems) = match result {
            Ok(answer) => (Some(answer), Vec::new()),
            Err(failure) => (None, failure.problems.iter().map(ProblemOut::from).collect()),
        };
        Self {
            name: member.name.clone(),
            address: member.host.to_string(),
            labels: member.labels.clone(),
            answer,
            problems,
        }
    }
}

impl From<&Problem> for ProblemOut {
    fn from(Problem { message, mend }: &Problem) -> Self {
        Self { message: message.clone(), mend: super::present(mend) }
    }
}

/// Of `info`: what a host of a fleet is, and in what it differs from the others.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ComparedInfo")]
pub(crate) struct ComparedInfoOut {
    /// Such as `kernel`, `microcode` or `memory`: what most hosts have otherwise.
    pub(crate) differs: Vec<String>,
    pub(crate) info: InfoOut,
}

/// Of `halt`: that a host was halted or not any more.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HaltConfirmed")]
pub(crate) struct HaltConfirmedOut {
    pub(crate) halted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) halt: Option<HaltOut>,
    /// From the agent's receipt of the request to its proof that the last burner was gone. Absent where nothing burned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quiet_after_s: Option<f64>,
    /// From the command's start to the host's confirmation.
    pub(crate) confirmed_after_s: f64,
    /// How often it was asked.
    pub(crate) tries: u32,
}

/// Of `stop`, `pause` and `resume`: what became of the run of a host of a fleet.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CommandedHost")]
pub(crate) struct CommandedHostOut {
    /// Absent where the host has no such run, or none goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commanded: Option<CommandedOut>,
}

/// Of `drill`: the latest drill of a host of a fleet.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LatestDrill")]
pub(crate) struct LatestDrillOut {
    /// `pass`; `fail`; `skipped` where not every fault could be tried; `none` where there was no drill; `old` where it passed too long
    /// ago, or with another sstsd than the host has now.
    pub(crate) state: &'static str,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_s: Option<f64>,
    /// Of the sstsd that was drilled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drilled_version: Option<String>,
    /// That the host has now.
    pub(crate) agent_version: String,
    /// Faults that did not pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unproven: Vec<String>,
}

/// Of `collect`: what was fetched of a host.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "CollectedHost")]
pub(crate) struct CollectedHostOut {
    /// Runs that are over and that the host remembers.
    pub(crate) finished: usize,
    /// Those that the history did not have; by the ids that it has them under.
    pub(crate) kept: Vec<String>,
    /// Runs that still go on.
    pub(crate) going_on: usize,
    /// Files of telemetry that were written. Only with `--records`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) records: Vec<String>,
}
