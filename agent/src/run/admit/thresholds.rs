//! Whether this host has what a run's thresholds, and the objectives of its searches, look at: one that has nothing to look at
//! would never pass.

use ssts_proto::{
    v1::{Scenario, Violation},
    validate::Violations,
};

use super::Offer;
use crate::{guard::GuardSpec, run::thresholds::specs};

/// Each threshold that could not be judged here is a violation.
pub(super) fn check(offer: &Offer<'_>, scenario: &Scenario, found: &mut Violations) {
    for (index, spec) in specs(&scenario.thresholds).into_iter().enumerate() {
        let field = format!("thresholds[{index}]");
        look(offer, &field, "threshold", spec, found);
    }
}

/// Whether this host has what one of them looks at; `what` it is, in a word.
pub(super) fn look(
    offer: &Offer<'_>,
    field: &str,
    what: &str,
    spec: Result<GuardSpec, Vec<Violation>>,
    found: &mut Violations,
) {
    let violations = match spec {
        Ok(spec) => {
            offer.guards.missing(field, &spec).map(|one| reworded(field, what, one)).into_iter().collect()
        }
        Err(violations) => violations,
    };
    for violation in violations {
        found.add(violation.field, violation.message, violation.mend);
    }
}

/// What is said of guards, of a threshold.
fn reworded(field: &str, what: &str, missing: Violation) -> Violation {
    match missing.message.split_once(", so the guard ") {
        Some((absent, _)) => Violation {
            field: format!("{field}.that"),
            message: format!("{absent}, so the {what} could not be judged"),
            ..missing
        },
        None => missing,
    }
}
