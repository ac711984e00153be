//! What a run would come to on each host of a fleet.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::PlanResponse;

use super::{
    FleetAskedOut, LimitsOut,
    plan::{RefusalOut, refusals},
};
use crate::{
    fleet::{Answer, FleetPlan, Taken, Wave, would_start},
    scenario::{self, Plan},
};

/// Of `plan` over a fleet.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FleetPlan")]
pub(crate) struct FleetPlanOut {
    scenario: String,
    /// Every host would start it now.
    would_start: bool,
    /// The sum of the phases' durations, of one host.
    duration_s: f64,
    seed: u64,
    /// What is asked of the fleet as a whole.
    fleet: FleetAskedOut,
    /// In order: each starts when the one before was good.
    waves: Vec<PlannedWaveOut>,
    /// In the inventory's order.
    hosts: Vec<PlannedHostOut>,
    /// Burners that the scenario's variables leave out, and why.
    left_out: Vec<String>,
}

/// Hosts that would run together.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedWave")]
struct PlannedWaveOut {
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
}

/// What one host said.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedHost")]
struct PlannedHostOut {
    /// As the inventory calls it.
    name: String,
    address: String,
    labels: BTreeMap<String, String>,
    /// By the inventory.
    #[serde(skip_serializing_if = "Option::is_none")]
    watts: Option<f64>,
    /// The wave that it would be in, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    wave: Option<usize>,
    would_start: bool,
    /// Those that burners would be on, of all phases.
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<Vec<u32>>,
    /// Of memory that it would give, in the phase that takes most.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    /// Of file systems and devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_bytes: Option<u64>,
    /// The limits that would be enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsOut>,
    /// Everything that speaks against it.
    refusals: Vec<RefusalOut>,
    /// What keeps it from starting just now.
    obstacles: Vec<String>,
    /// Why the host could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl FleetPlanOut {
    pub(crate) fn new(planned: &FleetPlan, plan: &Plan) -> Self {
        let wave = |(index, wave): (usize, &Wave)| PlannedWaveOut {
            wave: index + 1,
            asked: wave.asked.clone(),
            part: wave.part.map(|(part, _)| part),
            parts: wave.part.map(|(_, parts)| parts),
            hosts: wave.members.iter().map(|host| planned.hosts[*host].member.name.clone()).collect(),
            watts: wave.watts,
        };
        let host =
            |(index, host): (usize, &Answer<PlanResponse>)| host_out(host, planned.wave_of(index), plan);
        Self {
            scenario: plan.scenario.name.clone(),
            would_start: planned.ready() == planned.hosts.len(),
            duration_s: scenario::duration_ms(&plan.scenario) as f64 / 1e3,
            seed: plan.scenario.seed,
            fleet: (&plan.fleet).into(),
            waves: planned.waves.iter().enumerate().map(wave).collect(),
            hosts: planned.hosts.iter().enumerate().map(host).collect(),
            left_out: plan.left_out.clone(),
        }
    }
}

fn host_out(host: &Answer<PlanResponse>, wave: Option<usize>, plan: &Plan) -> PlannedHostOut {
    let response = host.result.as_ref().ok();
    let taken = response.filter(|response| !response.burners.is_empty()).map(Taken::of).unwrap_or_default();
    PlannedHostOut {
        name: host.member.name.clone(),
        address: host.member.host.to_string(),
        labels: host.member.labels.clone(),
        watts: host.member.watts,
        wave,
        would_start: would_start(host),
        cores: Some(taken.cores).filter(|cores| !cores.is_empty()),
        memory_bytes: taken.memory_bytes,
        disk_bytes: taken.disk_bytes,
        limits: response.and_then(|response| response.limits.as_ref()).map(LimitsOut::from),
        refusals: response
            .map(|response| refusals(&response.violations, &plan.refusals(&response.violations)))
            .unwrap_or_default(),
        obstacles: response.map(|response| response.obstacles.clone()).unwrap_or_default(),
        failure: host.result.as_ref().err().map(|failure| {
            failure.problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; ")
        }),
    }
}
