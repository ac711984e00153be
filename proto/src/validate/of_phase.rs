//! The phase that a part of a scenario is about, where it names one.

use super::Violations;
use crate::{nearest::nearest, v1::Scenario};

/// Whether there is such a phase; an empty name means the whole run. `field` is of the part that names it.
pub(super) fn check(field: &str, phase: &str, scenario: &Scenario, found: &mut Violations) {
    let mut known = scenario.phases.iter().map(|phase| phase.name.as_str());
    if phase.is_empty() || known.any(|name| name == phase) {
        return;
    }
    let shown: String = phase.chars().take(80).collect();
    let near = nearest(&shown, scenario.phases.iter().map(|phase| phase.name.as_str()));
    let hint = near.map_or_else(String::new, |near| format!("did you mean '{near}'? "));
    found.add(
        format!("{field}.phase"),
        format!("there is no phase '{shown}'"),
        format!("{hint}name one, or leave it out for the whole run"),
    );
}
