//! Whether a host can have so much of its memory in use as a burner is to bring about.

use std::fs;

use ssts_proto::{
    v1::MemoryBurner,
    validate::{MIN_SHARE_BYTES, Violations},
};

use super::{Offer, policy::peak_percent};
use crate::host::field_bytes;

/// Points by which what is in use comes and goes while a run is prepared.
const SLACK_POINTS: f64 = 1.0;

/// What the burner holds at most: all that its greatest share is, if nobody else used any.
pub(super) fn size_bytes(
    offer: &Offer<'_>,
    field: &str,
    memory: &MemoryBurner,
    workers: usize,
    found: &mut Violations,
) -> Option<u64> {
    let field = format!("{field}.used");
    let percent = peak_percent(memory.used.as_ref()?.shape.as_ref()?);
    let meminfo = fs::read_to_string(offer.roots.proc("meminfo")).unwrap_or_default();
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
    let floor = offer.limits.min_available_memory_bytes;
    if asked.saturating_add(floor) > total {
        let most = 100.0 * total.saturating_sub(floor) as f64 / total.max(1) as f64;
        found.add(
            field.clone(),
            format!(
                "{percent} % of {total} bytes leave {} available, {floor} are kept in reserve",
                total.saturating_sub(asked)
            ),
            format!(
                "ask for {:.0} % at most, or change limits.min_available_memory in the agent's configuration",
                { most.floor() }
            ),
        );
        found.name_rule("limits.min_available_memory_bytes", total.saturating_sub(asked), floor);
        return None;
    }
    let least = MIN_SHARE_BYTES * workers as u64;
    Some(asked.max(least).next_multiple_of(MIN_SHARE_BYTES))
}
