//! The bounds of phases that are to settle like an earlier one, on any host.

use super::Violations;
use crate::v1::Scenario;

/// Phases that may be compared with earlier ones.
const MAX_SETTLING: usize = 64;

/// Every bound that a scenario's phases break.
pub(super) fn check(scenario: &Scenario, found: &mut Violations) {
    let settling = scenario.phases.iter().filter(|phase| !phase.settles_like.is_empty());
    let count = settling.count();
    if count > MAX_SETTLING {
        let message = format!("{count} phases that settle like another one");
        return found.add("phases", message, format!("use at most {MAX_SETTLING}"));
    }
    for (index, phase) in scenario.phases.iter().enumerate() {
        let like = &phase.settles_like;
        if !like.is_empty() && !scenario.phases.iter().take(index).any(|earlier| earlier.name == *like) {
            let name: String = like.chars().take(80).collect();
            found.add(
                format!("phases[{index}].settles_like"),
                format!("there is no earlier phase '{name}'"),
                "name one that comes before the spike",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Phase;

    #[test]
    fn only_an_earlier_phase_can_be_settled_like() {
        let told = |names: [(&str, &str); 2]| {
            let phase = |(name, like): (&str, &str)| Phase {
                name: name.into(),
                settles_like: like.into(),
                ..Phase::default()
            };
            let scenario = Scenario { phases: names.map(phase).into(), ..Scenario::default() };
            let mut found = Violations::default();
            check(&scenario, &mut found);
            found.into_vec().into_iter().map(|one| one.field).collect::<Vec<_>>()
        };
        assert!(told([("before", ""), ("after", "before")]).is_empty());
        assert_eq!(told([("before", ""), ("after", "after")]), ["phases[1].settles_like"]);
        assert_eq!(told([("before", "after"), ("after", "")]), ["phases[0].settles_like"]);
    }
}
