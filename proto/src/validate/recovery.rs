//! The bounds of what a phase kills on purpose, on any host.

use super::Violations;
use crate::v1::{Kill, KillSignal, Phase};

/// Kills a phase may have.
const MAX_KILLS: usize = 64;
/// How much of a phase has to be left after a kill: a burner has to come back in it, and be seen to.
pub const RECOVERY_TIME_MS: u64 = 3_000;
/// Between two kills of one entry.
const MIN_EVERY_MS: u64 = 1_000;

/// Every bound that a phase's kills break; `field` is the phase's.
pub(super) fn check(field: &str, phase: &Phase, found: &mut Violations) {
    if phase.restart && phase.burners.is_empty() {
        found.add(format!("{field}.restart"), "the phase has no burner", "add one, or leave `restart` out");
    }
    if phase.kills.len() > MAX_KILLS {
        let message = format!("{} kills", phase.kills.len());
        found.add(format!("{field}.kills"), message, format!("use at most {MAX_KILLS}, or `every`"));
    }
    for (index, one) in phase.kills.iter().enumerate().take(MAX_KILLS) {
        kill(&format!("{field}.kills[{index}]"), one, phase, found);
    }
}

fn kill(field: &str, kill: &Kill, phase: &Phase, found: &mut Violations) {
    if !phase.restart {
        let mend = "add `restart = true` to the phase, or leave the kill out";
        return found.add(field, "a kill in a phase that starts no burner anew", mend);
    }
    super::known::<KillSignal>(&format!("{field}.signal"), kill.signal, found);
    let at = |part: &str| format!("{field}.{part}");
    let (part, first_ms) = match (kill.at_ms, kill.every_ms) {
        (Some(_), Some(_)) => return found.add(at("every_ms"), "both `at` and `every`", "use one of them"),
        (None, None) => return found.add(field, "a kill at no time", "give `at` or `every`, such as \"5s\""),
        (Some(ms), None) => ("at_ms", ms),
        (None, Some(ms)) => ("every_ms", ms),
    };
    if kill.every_ms.is_some_and(|ms| ms < MIN_EVERY_MS) {
        found.add(at("every_ms"), format!("a kill every {first_ms} ms"), "use at least 1s");
    }
    if first_ms.saturating_add(RECOVERY_TIME_MS) > phase.duration_ms {
        found.add(
            at(part),
            format!("a first kill after {first_ms} ms of a phase of {} ms", phase.duration_ms),
            "leave the burner 3s to come back before the phase ends",
        );
    }
    if let Some(burner) = kill.burner
        && burner as usize >= phase.burners.len()
    {
        found.add(
            at("burner"),
            format!("there is no burner {burner}: the phase has {}", phase.burners.len()),
            "count from 0, or leave it out for each in turn",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Burner;

    fn told(restart: bool, kill: Kill) -> String {
        let burners = vec![Burner::default(); 2];
        let phase = Phase { duration_ms: 10_000, burners, restart, kills: vec![kill], ..Phase::default() };
        let mut found = Violations::default();
        check("phases[0]", &phase, &mut found);
        let found = found.into_vec();
        assert!(found.iter().all(|one| !one.mend.is_empty()), "{found:?}");
        found.iter().map(|one| format!("{}: {}\n", one.field, one.message)).collect()
    }

    #[test]
    fn a_kill_leaves_time_to_come_back() {
        let at = |ms| Kill { at_ms: Some(ms), ..Kill::default() };
        let every = |ms| Kill { every_ms: Some(ms), ..Kill::default() };
        for good in [at(7_000), every(1_000), Kill { burner: Some(1), signal: 2, ..at(0) }] {
            assert_eq!(told(true, good), "", "{good:?}");
        }
        for (kill, part) in [
            (at(7_001), "kills[0].at_ms"),
            (at(u64::MAX), "kills[0].at_ms"),
            (every(999), "kills[0].every_ms"),
            (every(8_000), "kills[0].every_ms"),
            (Kill::default(), "at no time"),
            (Kill { every_ms: Some(1_000), ..at(1) }, "both"),
            (Kill { burner: Some(2), ..at(1) }, "kills[0].burner"),
            (Kill { signal: 99, ..at(1) }, "kills[0].signal"),
        ] {
            assert!(told(true, kill).contains(part), "{part}: {}", told(true, kill));
        }
        assert!(told(false, at(1)).contains("starts no burner anew"));
    }
}
