//! Whether a host can have so much of its memory in use as a burner is to bring about.

use std::fs;

use ssts_proto::{
    v1::MemoryBurner,
    validate::{MIN_SHARE_BYTES, Violations},
};

use super::policy::peak_percent;
use crate::host::{HostRoots, field_bytes};

/// Points by which what is in use comes and goes while a run is prepared.
const SLACK_POINTS: f64 = 1.0;

/// What the burner holds at most: all that its greatest share is, if nobody else used any. `floor` bytes stay available.
pub(super) fn size_bytes(
    (roots, floor): (&HostRoots, u64),
    field: &str,
    memory: &MemoryBurner,
    workers: usize,
    found: &mut Violations,
) -> Option<u64> {
    let field = format!("{field}.used");
    let percent = peak_percent(memory.used.as_ref()?.shape.as_ref()?);
    let meminfo = fs::read_to_string(roots.proc("meminfo")).unwrap_or_default();
    let bytes = |name: &str| field_bytes(&meminfo, name);
    let (Some(total), Some(available)) = (bytes("MemTotal:"), bytes("MemAvailable:")) else {
        found.add(field, "it can't be read how much memory is used", "give a size instead, to be filled");
        return None;
    };
    let used_percent = 100.0 * total.saturating_sub(available) as f64 / total.max(1) as f64;
    if used_percent > percent + SLACK_POINTS {
        found.add(
            field,
            format!(
                "{used_percent:.1} % of the host's memory are in use already, and {percent} % should be: a burner can only \
                 add to it"
            ),
            "stop what uses it, or ask for more",
        );
        return None;
    }
    let asked = (total as f64 * percent / 100.0) as u64;
    if asked.saturating_add(floor) > total {
        let most = (100.0 * total.saturating_sub(floor) as f64 / total.max(1) as f64).floor();
        found.add(
            field,
            format!(
                "{percent} % of {total} bytes leave {} available, {floor} are kept in reserve",
                total.saturating_sub(asked)
            ),
            format!(
                "ask for {most} % at most, or change limits.min_available_memory in the agent's configuration"
            ),
        );
        found.name_rule("limits.min_available_memory_bytes", total.saturating_sub(asked), floor);
        return None;
    }
    let least = MIN_SHARE_BYTES * workers as u64;
    Some(asked.max(least).next_multiple_of(MIN_SHARE_BYTES))
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{Constant, Profile, profile::Shape};

    use super::*;
    use crate::observe::procfs::test_tree::TestTree;

    #[test]
    fn the_levels_between_what_is_used_and_the_reserve_can_be_had() {
        // A quarter of 1 GiB is in use.
        let tree = TestTree::new(&[("proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 786432 kB\n")]);
        let of = |load_percent: f64| {
            let shape = Some(Shape::Constant(Constant { load_percent }));
            let memory = MemoryBurner {
                used: Some(Profile { shape, ..Profile::default() }),
                ..MemoryBurner::default()
            };
            let mut found = Violations::default();
            let bytes = size_bytes((&tree.roots(), 128 << 20), "m", &memory, 2, &mut found);
            (bytes, found.into_vec().pop())
        };
        assert_eq!(of(50.0).0, Some(512 << 20));
        // As much as there is, within a point.
        assert!(of(24.5).0.is_some() && of(87.5).0.is_some());
        let (none, low) = of(23.0);
        let low = low.unwrap();
        assert!(none.is_none() && low.field == "m.used" && low.message.contains("25.0 %"), "{low:?}");
        let (none, high) = of(88.0);
        let high = high.unwrap();
        assert!(none.is_none() && high.rule == "limits.min_available_memory_bytes", "{high:?}");
        assert!(high.mend.contains("87 % at most"), "{high:?}");
    }
}
