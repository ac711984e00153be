//! A phase that searches for a load: its defaults, and whether this host has what its objective looks at.

use ssts_proto::{
    v1::Phase,
    validate::{
        DEFAULT_SEARCH_FROM_PERCENT, DEFAULT_SEARCH_HOLD_MS, DEFAULT_SEARCH_PRECISION_POINTS,
        DEFAULT_SEARCH_REST_MS, DEFAULT_SEARCH_TO_PERCENT, Violations,
    },
};

use super::{Offer, thresholds};
use crate::run::search;

/// Fills in what was left open; `field` is the phase's.
pub(super) fn fill_in(offer: &Offer<'_>, field: &str, phase: &mut Phase, found: &mut Violations) {
    let name = phase.name.clone();
    let Some(search) = &mut phase.search else { return };
    let max = offer.policy.max_load_percent;
    let from = *search.from_percent.get_or_insert(DEFAULT_SEARCH_FROM_PERCENT);
    let to = *search.to_percent.get_or_insert(DEFAULT_SEARCH_TO_PERCENT.min(max));
    search.precision_points.get_or_insert(DEFAULT_SEARCH_PRECISION_POINTS);
    search.hold_ms.get_or_insert(DEFAULT_SEARCH_HOLD_MS);
    search.rest_ms.get_or_insert(DEFAULT_SEARCH_REST_MS);
    if from.max(to) > max {
        let asked = format!("a load of {} %", from.max(to));
        let mend = format!("search up to {max} % at most");
        found.break_rule(format!("{field}.search.to_percent"), "policy.max_load_percent", asked, max, mend);
    }
    let Some(objective) = &mut search.objective else { return };
    objective.phase = name;
    let place = format!("{field}.search.objective");
    let spec = search::spec(&place, objective, "");
    thresholds::look(offer, &place, "objective", spec, found);
}
