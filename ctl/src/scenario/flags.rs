//! The flags of `burn`, as a scenario of one phase with one burner.

use ssts_proto::v1::{Burner, Phase, Scenario, burner};

use super::{
    Plan,
    origin::{Origin, Place},
};
use crate::fleet::FleetSpec;

/// One burner for a duration; `places` are the fields that flags set.
pub(super) fn single(
    name: &str,
    duration_ms: u64,
    kind: burner::Kind,
    places: &[(&str, &'static str)],
) -> Plan {
    let burners = vec![Burner { kind: Some(kind) }];
    let phase = Phase { name: name.into(), duration_ms, burners, ..Phase::default() };
    let mut origin = Origin::default();
    origin.set("phases", Place::Flag("--duration"));
    origin.set("phases[0].burners[0]", Place::Everywhere);
    for (field, flag) in places {
        origin.set(format!("phases[0].burners[0].{field}"), Place::Flag(flag));
    }
    let scenario = Scenario { name: name.into(), phases: vec![phase], ..Scenario::default() };
    Plan {
        scenario,
        origin,
        seed_is_given: false,
        against: Vec::new(),
        fleet: FleetSpec::default(),
        toml: String::new(),
        variables: Vec::new(),
        left_out: Vec::new(),
    }
}
