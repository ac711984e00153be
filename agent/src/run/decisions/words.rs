//! A decision's reason, in words: what was measured and what was asked.

use ssts_proto::v1::JudgedCondition;

/// Conditions that are told one by one; the rest is in the list.
const MOST_TOLD: usize = 3;

/// Why a phase begins.
pub(in crate::run) fn begun(conditions: &[JudgedCondition]) -> String {
    format!("what it requires holds: {}", listed(conditions.iter()))
}

/// What a phase requires and does not hold.
pub(in crate::run) fn unmet(conditions: &[JudgedCondition]) -> String {
    format!("what it requires does not hold: {}", listed(conditions.iter().filter(|one| !one.held)))
}

/// What failed of a phase.
pub(in crate::run) fn failed(conditions: &[JudgedCondition]) -> String {
    format!("the phase failed: {}", listed(conditions.iter().filter(|one| !one.held)))
}

fn listed<'c>(conditions: impl Iterator<Item = &'c JudgedCondition>) -> String {
    let all: Vec<_> = conditions.collect();
    let told: Vec<_> = all.iter().take(MOST_TOLD).map(|one| words(one)).collect();
    let more = all.len().saturating_sub(MOST_TOLD);
    let more = if more > 0 { format!("; {more} more") } else { String::new() };
    told.join("; ") + &more
}

fn words(condition: &JudgedCondition) -> String {
    match condition.reason.as_str() {
        "" => condition.what.clone(),
        reason => format!("{}: {reason}", condition.what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_hold_is_told_as_unmet() {
        let condition = |what: &str, held| JudgedCondition {
            what: what.into(),
            held,
            reason: "3 of 4".into(),
            ..JudgedCondition::default()
        };
        let all = [condition("a", true), condition("b", false)];
        assert_eq!(unmet(&all), "what it requires does not hold: b: 3 of 4");
        assert_eq!(begun(&all[..1]), "what it requires holds: a: 3 of 4");
        let many = vec![condition("a", false); 5];
        assert!(failed(&many).ends_with("; 2 more"), "{}", failed(&many));
    }
}
