//! What a run would come to on each host of a fleet, before it is started.

use ssts_proto::v1::{PlanResponse, PlannedBurner};

use super::{Answer, Wave};
use crate::error::Exit;

/// What every host said, and in which wave it would run.
#[derive(Debug)]
pub(crate) struct FleetPlan {
    pub(crate) waves: Vec<Wave>,
    /// In the fleet's order.
    pub(crate) hosts: Vec<Answer<PlanResponse>>,
}

/// What a host would give, all of a phase's burners together, of the phase that takes most.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    /// Of all phases, each once.
    pub(crate) cores: Vec<u32>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) disk_bytes: Option<u64>,
}

impl FleetPlan {
    /// The wave that the host of that place would be in, from 1.
    pub(crate) fn wave_of(&self, host: usize) -> Option<usize> {
        self.waves.iter().position(|wave| wave.members.contains(&host)).map(|wave| wave + 1)
    }

    /// Hosts that would start it.
    pub(crate) fn ready(&self) -> usize {
        self.hosts.iter().filter(|host| would_start(host)).count()
    }

    /// 0 where all would start it, 2 where one refuses it, 5 where one could not start it just now.
    pub(crate) fn exit(&self) -> Exit {
        let refuses = |host: &Answer<PlanResponse>| match &host.result {
            Ok(response) => !response.violations.is_empty(),
            Err(failure) => failure.exit == Exit::Usage,
        };
        if self.hosts.iter().any(refuses) {
            Exit::Usage
        } else if self.ready() < self.hosts.len() {
            Exit::AgentFailed
        } else {
            Exit::Pass
        }
    }
}

/// Whether nothing speaks against it.
pub(crate) fn would_start(host: &Answer<PlanResponse>) -> bool {
    host.result.as_ref().is_ok_and(|response| response.violations.is_empty() && response.obstacles.is_empty())
}

impl Taken {
    /// By what the host said of each burner.
    pub(crate) fn of(response: &PlanResponse) -> Self {
        let mut cores: Vec<u32> = response.burners.iter().flat_map(|burner| burner.cores.clone()).collect();
        cores.sort_unstable();
        cores.dedup();
        Self {
            cores,
            memory_bytes: most(response, |burner| burner.memory_bytes),
            disk_bytes: most(response, |burner| burner.disk_bytes),
        }
    }
}

/// The sum over burners, of the phase where it is greatest.
fn most(response: &PlanResponse, bytes: fn(&PlannedBurner) -> Option<u64>) -> Option<u64> {
    let mut sums: Vec<(u32, u64)> = Vec::new();
    for burner in &response.burners {
        let Some(bytes) = bytes(burner) else { continue };
        match sums.iter_mut().find(|(phase, _)| *phase == burner.phase_index) {
            Some((_, sum)) => *sum = sum.saturating_add(bytes),
            None => sums.push((burner.phase_index, bytes)),
        }
    }
    sums.into_iter().map(|(_, sum)| sum).max()
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::Violation;

    use super::*;
    use crate::{error::Failure, fleet::gate::tests::member};

    fn host(name: &str, result: Result<PlanResponse, Failure>) -> Answer<PlanResponse> {
        Answer { member: member(name), result }
    }

    #[test]
    fn the_exit_says_what_stands_in_the_way() {
        let ready = || host("a", Ok(PlanResponse::default()));
        let busy = || {
            host("b", Ok(PlanResponse { obstacles: vec!["it is halted".into()], ..PlanResponse::default() }))
        };
        let refusing = || {
            host("c", Ok(PlanResponse { violations: vec![Violation::default()], ..PlanResponse::default() }))
        };
        let gone = || host("d", Err(Failure::agent("no answer", "")));
        for (hosts, count, exit) in [
            (vec![ready(), ready()], 2, Exit::Pass),
            (vec![ready(), busy()], 1, Exit::AgentFailed),
            (vec![ready(), gone()], 1, Exit::AgentFailed),
            (vec![gone(), busy(), refusing()], 0, Exit::Usage),
        ] {
            let plan = FleetPlan { waves: Vec::new(), hosts };
            assert_eq!((plan.ready(), plan.exit()), (count, exit), "{plan:?}");
        }
    }

    #[test]
    fn what_a_host_gives_is_what_its_greediest_phase_takes() {
        let burner = |phase_index: u32, cores: &[u32], memory_bytes: Option<u64>| PlannedBurner {
            phase_index,
            cores: cores.to_vec(),
            memory_bytes,
            ..PlannedBurner::default()
        };
        let response = PlanResponse {
            burners: vec![burner(0, &[1, 0], Some(5)), burner(1, &[1], Some(4)), burner(1, &[2], Some(3))],
            ..PlanResponse::default()
        };
        let taken = Taken::of(&response);
        assert_eq!(taken, Taken { cores: vec![0, 1, 2], memory_bytes: Some(7), disk_bytes: None });
    }
}
