//! The guards that a run brings: those of its scenario, and its limits where they are tighter than the host's.

use ssts_proto::{
    v1::{GuardOrigin, Scenario},
    validate::Violations,
};

use super::Offer;
use crate::guard::{Bounds, GuardSpec, shipped};

/// All of them; each that has nothing to look at is a violation.
pub(super) fn of(
    offer: &Offer<'_>,
    scenario: &Scenario,
    bounds: &Bounds,
    found: &mut Violations,
) -> Vec<GuardSpec> {
    let asked = scenario.limits.unwrap_or_default();
    let own = offer.limits;
    let hotter = asked.max_temperature_celsius.filter(|asked| *asked < own.max_temperature_celsius);
    let more = asked.min_available_memory_bytes.filter(|asked| *asked > own.min_available_memory_bytes);
    let limits = [
        hotter.map(|_| shipped::max_temperature(bounds.max_temperature_celsius)),
        more.map(|_| shipped::min_available_memory(bounds.min_available_memory_bytes)),
    ];
    // Whether these have something to look at was seen to with the limits.
    let mut specs: Vec<GuardSpec> = limits
        .iter()
        .flatten()
        .filter_map(|guard| GuardSpec::new("limits", guard, GuardOrigin::Requested).ok())
        .collect();
    for (index, guard) in scenario.guards.iter().enumerate() {
        let field = format!("guards[{index}]");
        match GuardSpec::new(&field, guard, GuardOrigin::Requested) {
            Ok(spec) => match offer.guards.missing(&field, &spec) {
                Some(violation) => found.add(violation.field, violation.message, violation.mend),
                None => specs.push(spec),
            },
            Err(violations) => {
                for violation in violations {
                    found.add(violation.field, violation.message, violation.mend);
                }
            }
        }
    }
    specs
}
