//! What a start would do, told before it is done.

use std::time::Duration;

use ssts_proto::v1::{GuardStatus, PlanResponse, PlannedBurner, Scenario};

use super::{admit::PlannedPhase, engine::Engine};
use crate::{
    burn::{disk::Task, plan::Load},
    guard::GuardSpec,
};

impl Engine {
    /// What would come of a scenario here and now. Nothing is started and nothing is changed.
    pub fn plan(&self, scenario: &Scenario, start_at: Option<Duration>) -> PlanResponse {
        let mut plan = PlanResponse { obstacles: self.obstacles(), ..PlanResponse::default() };
        match self.admit(scenario, start_at) {
            Ok(admitted) => {
                plan.guards = admitted.guards.iter().map(at_rest).collect();
                plan.burners = burners(&admitted.phases);
                plan.limits = Some((&admitted.bounds).into());
                plan.scenario = Some(admitted.scenario);
            }
            Err(violations) => plan.violations = violations,
        }
        plan.guards.extend(self.guards());
        plan
    }
}

/// A guard that has not looked at anything yet.
fn at_rest(guard: &GuardSpec) -> GuardStatus {
    GuardStatus {
        guard: Some(guard.message.clone()),
        origin: guard.origin.into(),
        unit: guard.unit.clone(),
        ..GuardStatus::default()
    }
}

fn burners(phases: &[PlannedPhase]) -> Vec<PlannedBurner> {
    let of_phase = |(phase_index, phase): (usize, &PlannedPhase)| {
        let planned = phase.plans.iter().enumerate().map(move |(burner_index, plan)| PlannedBurner {
            phase_index: phase_index as u32,
            burner_index: burner_index as u32,
            kind: plan.load.kind().into(),
            workers: plan.cores.len() as u32,
            cores: plan.distinct_cores(),
            memory_bytes: Some(plan.load.memory_bytes()).filter(|bytes| *bytes > 0),
            disk_bytes: match &plan.load {
                // Each job has a file of its own, or a part of the device.
                Load::Disk(load) if load.task == Task::Io => {
                    Some(load.size_bytes.saturating_mul(plan.cores.len() as u64))
                }
                _ => None,
            },
        });
        planned.collect::<Vec<_>>()
    };
    phases.iter().enumerate().flat_map(of_phase).collect()
}
