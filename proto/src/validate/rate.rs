//! Bounds of what a burner may miss of a rate.

use std::ops::RangeInclusive;

use super::Violations;

/// Percent of a rate that may be undone at the end where nothing is said.
pub const DEFAULT_RATE_TOLERANCE_PERCENT: f64 = 2.0;
/// That can be asked for.
pub const RATE_TOLERANCE_PERCENT: RangeInclusive<f64> = 0.1..=100.0;

pub(super) fn tolerance(field: &str, percent: Option<f64>, has_rate: bool, found: &mut Violations) {
    let Some(percent) = percent else { return };
    let field = format!("{field}.rate_tolerance_percent");
    if !has_rate {
        found.add(&*field, "there is no rate that could be missed", "leave it out, or ask for a rate");
    }
    if !RATE_TOLERANCE_PERCENT.contains(&percent) {
        found.add(field, format!("a tolerance of {percent} %"), "use 0.1 to 100");
    }
}
