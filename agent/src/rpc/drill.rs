//! What a caller may tell of a drill.

use ssts_proto::v1::{Drill, DrillOutcome, DrilledFault};
use tonic::Status;

use super::violation;
use crate::clock;

/// Faults that one drill can tell of, and bytes of each text.
const MAX_FAULTS: usize = 64;
const MAX_TEXT_BYTES: usize = 1_024;
/// Clocks are set.
const MAX_AHEAD_NS: i64 = 60_000_000_000;

/// The drill that is to be noted, told by `caller`.
pub(super) fn checked(drill: Option<Drill>, caller: String) -> Result<Drill, Status> {
    let refused = |field: &str, message: String, mend: &str| Err(violation(field, message, mend));
    let Some(mut drill) = drill else { return refused("drill", "no drill is given".into(), "give one") };
    if drill.faults.is_empty() || drill.faults.len() > MAX_FAULTS {
        return refused("drill.faults", format!("{} of them", drill.faults.len()), "tell of 1 to 64");
    }
    let ahead_ns = drill.at_unix_ns.saturating_sub(clock::unix_ns());
    if ahead_ns > MAX_AHEAD_NS {
        return refused("drill.at_unix_ns", format!("{ahead_ns} ns ahead"), "tell of a drill that is over");
    }
    for (index, fault) in drill.faults.iter().enumerate() {
        let field = format!("drill.faults[{index}]");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=64).contains(&fault.name.len()) || !fault.name.chars().all(plain) {
            return refused(
                &format!("{field}.name"),
                format!("'{}' is no name", fault.name),
                "use 1 to 64 characters of a-z, 0-9, '-'",
            );
        }
        if fault.outcome() == DrillOutcome::Unspecified {
            return refused(&format!("{field}.outcome"), "there is none".into(), "use pass, fail or skipped");
        }
        let DrilledFault { how, receipt, record, reason, .. } = fault;
        if [how, receipt, record, reason].iter().any(|text| text.len() > MAX_TEXT_BYTES) {
            return refused(&field, "a text is too long".into(), "use at most 1,024 bytes each");
        }
    }
    let all_passed = drill.faults.iter().all(|fault| fault.outcome() == DrillOutcome::Pass);
    if drill.outcome() == DrillOutcome::Unspecified || drill.outcome() == DrillOutcome::Pass && !all_passed {
        return refused(
            "drill.outcome",
            format!("{} of faults that did not all pass", drill.outcome().as_str_name()),
            "use pass only where every fault passed",
        );
    }
    drill.by = caller;
    Ok(drill)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(outcome: DrillOutcome, faults: &[DrillOutcome]) -> Drill {
        let fault = |outcome: &DrillOutcome| DrilledFault {
            name: "temperature".into(),
            outcome: (*outcome).into(),
            ..DrilledFault::default()
        };
        Drill { outcome: outcome.into(), faults: faults.iter().map(fault).collect(), ..Drill::default() }
    }

    #[test]
    fn nothing_unproven_is_a_pass() {
        use DrillOutcome::{Fail, Pass, Skipped, Unspecified};
        let check = |outcome, faults| checked(Some(drill(outcome, faults)), "uid 0".into());
        assert_eq!(check(Pass, &[Pass]).unwrap().by, "uid 0");
        assert!(check(Skipped, &[Pass, Skipped]).is_ok());
        for (outcome, faults) in [
            (Pass, &[Pass, Skipped][..]),
            (Pass, &[Fail]),
            (Unspecified, &[Pass]),
            (Pass, &[Unspecified]),
            (Pass, &[]),
        ] {
            assert!(check(outcome, faults).is_err(), "{outcome:?} {faults:?}");
        }
        let mut late = drill(Pass, &[Pass]);
        late.at_unix_ns = i64::MAX;
        assert!(checked(Some(late), String::new()).is_err());
        let mut named = drill(Pass, &[Pass]);
        named.faults[0].name = "../x".into();
        assert!(checked(Some(named), String::new()).is_err());
    }
}
