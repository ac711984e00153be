//! Whether this host has what a run's thresholds look at: one that has nothing to look at would never pass.

use ssts_proto::{
    v1::{Scenario, Violation},
    validate::Violations,
};

use super::Offer;
use crate::run::thresholds::specs;

/// Each threshold that could not be judged here is a violation.
pub(super) fn check(offer: &Offer<'_>, scenario: &Scenario, found: &mut Violations) {
    for (index, spec) in specs(&scenario.thresholds).into_iter().enumerate() {
        let field = format!("thresholds[{index}]");
        let violations = match spec {
            Ok(spec) => offer
                .guards
                .missing(&field, &spec)
                .into_iter()
                .map(|missing| reworded(&field, missing))
                .collect(),
            Err(violations) => violations,
        };
        for violation in violations {
            found.add(violation.field, violation.message, violation.mend);
        }
    }
}

/// What is said of guards, of a threshold.
fn reworded(field: &str, missing: Violation) -> Violation {
    match missing.message.split_once(", so the guard ") {
        Some((what, _)) => Violation {
            field: format!("{field}.that"),
            message: format!("{what}, so the threshold could not be judged"),
            ..missing
        },
        None => missing,
    }
}
