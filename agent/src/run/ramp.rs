//! Phases that are ramped into each other: a burner's load comes from that of the same kind's burner in the phase before.

use std::time::Duration;

use ssts_proto::v1;

use crate::burn::{
    disk::Rate,
    network::Protocol,
    plan::{Load, Plan},
    profile::{Curve, LoadProfile},
    rise::Rise,
};

/// A phase's plans, with their loads coming from those of the phase before. Burners of a kind follow each other in their order;
/// one that follows none comes from nothing. A rate that has a profile of its own begins as that says.
pub(super) fn ramped(phase: &v1::Phase, plans: &[Plan], before: &[Plan]) -> Vec<Plan> {
    let mut plans = plans.to_vec();
    let Some(ms) = phase.ramp_ms else { return plans };
    let over = Duration::from_millis(ms);
    let kinds: Vec<&'static str> = plans.iter().map(|plan| plan.load.kind()).collect();
    for (place, plan) in plans.iter_mut().enumerate() {
        let kind = kinds[place];
        let of_kind = kinds[..place].iter().filter(|other| **other == kind).count();
        let earlier = before.iter().filter(|plan| plan.load.kind() == kind).nth(of_kind);
        rise(&mut plan.load, earlier, over);
    }
    plans
}

fn rise(load: &mut Load, earlier: Option<&Plan>, over: Duration) {
    let is_paced = load.profile().is_some();
    match load {
        Load::Cpu(load) => load.profile.rise = Some(Rise { from: share(earlier), over }),
        Load::Memory(load) if is_paced => load.profile.rise = Some(Rise { from: share(earlier), over }),
        Load::Disk(load) => {
            let from = |same: fn(&Rate) -> Option<u64>| match earlier.map(|plan| &plan.load) {
                Some(Load::Disk(earlier)) => earlier.rate.as_ref().and_then(same).unwrap_or_default() as f64,
                _ => 0.0,
            };
            load.rise = load.rate.filter(|_| load.rate_share.is_none()).map(|rate| {
                let from = match rate {
                    Rate::Operations(_) => from(operations),
                    Rate::Bytes(_) => from(bytes),
                };
                Rise { from, over }
            });
        }
        Load::Network(load) if matches!(load.protocol, Protocol::Tcp | Protocol::Udp) => {
            let from = match earlier.map(|plan| &plan.load) {
                Some(Load::Network(earlier)) if earlier.protocol == load.protocol => {
                    earlier.rate.unwrap_or_default()
                }
                _ => 0,
            };
            load.rise =
                load.rate.filter(|_| load.rate_share.is_none()).map(|_| Rise { from: from as f64, over });
        }
        // Nothing is asked of them that could rise, or each of their requests has an instant of its own.
        Load::Memory(_) | Load::Network(_) | Load::Http(_) => {}
    }
}

fn operations(rate: &Rate) -> Option<u64> {
    match rate {
        Rate::Operations(rate) => Some(*rate),
        Rate::Bytes(_) => None,
    }
}

fn bytes(rate: &Rate) -> Option<u64> {
    match rate {
        Rate::Bytes(rate) => Some(*rate),
        Rate::Operations(_) => None,
    }
}

/// The share of a core that was asked at the end of its phase.
fn share(earlier: Option<&Plan>) -> f64 {
    let asked = earlier.and_then(|plan| Some(at_end(plan.load.profile()?, plan.phase)));
    asked.unwrap_or_default()
}

/// What a profile asks at the end of a phase of that length.
fn at_end(profile: &LoadProfile, whole: Duration) -> f64 {
    Curve::new(profile.shape.clone(), whole).at(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::{disk::DiskLoad, profile::Shape};

    fn disk(rate: Option<Rate>) -> Plan {
        let load = Load::Disk(DiskLoad { rate, ..DiskLoad::test() });
        Plan { cores: vec![0], phase: Duration::from_secs(1), seed: 1, load, rate_tolerance: None }
    }

    #[test]
    fn rates_come_from_those_of_their_own_kind_and_place() {
        let over = Duration::from_secs(3);
        let phase = v1::Phase { ramp_ms: Some(3_000), ..v1::Phase::default() };
        let before = [disk(Some(Rate::Operations(50))), disk(Some(Rate::Bytes(7)))];
        let plans = [disk(Some(Rate::Operations(100))), disk(Some(Rate::Operations(100))), disk(None)];
        let rises: Vec<_> = ramped(&phase, &plans, &before)
            .iter()
            .map(|plan| match &plan.load {
                Load::Disk(load) => load.rise,
                _ => None,
            })
            .collect();
        let from = |from| Some(Rise { from, over });
        assert_eq!(rises, [from(50.0), from(0.0), None]);
        assert_eq!(ramped(&v1::Phase::default(), &plans, &before), plans);
    }

    #[test]
    fn a_share_is_that_at_the_end_of_the_phase_before() {
        assert_eq!((share(None), share(Some(&disk(None)))), (0.0, 0.0));
        let profile = LoadProfile { shape: Shape::Ramp { from: 0.1, to: 0.9 }, ..LoadProfile::FULL };
        assert!((at_end(&profile, Duration::from_secs(1)) - 0.9).abs() < 1e-9);
        assert_eq!(at_end(&LoadProfile::FULL, Duration::from_secs(1)), 1.0);
    }
}
