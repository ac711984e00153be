//! `[[phase.kill]]`: burners that are killed on purpose.

use ssts_proto::v1::{Kill, KillSignal};
use toml::de::DeValue;

use super::{
    keys::{Findings, Keys, whole},
    values::{duration, one_of},
};
use crate::error::Problem;

/// One kill.
pub(super) fn from_keys(mut keys: Keys<'_, '_>, found: &mut Findings) -> Kill {
    let kill = Kill {
        at_ms: keys.read("at", "at_ms", found, duration),
        every_ms: keys.read("every", "every_ms", found, duration),
        signal: keys.read("signal", "signal", found, signal).unwrap_or(KillSignal::Kill).into(),
        burner: keys.read("burner", "burner", found, |value| {
            u32::try_from(whole(value)?)
                .map_err(|_| Problem::new("no phase has so many burners", "count from 0"))
        }),
    };
    keys.finish(found);
    kill
}

fn signal(value: &DeValue<'_>) -> Result<KillSignal, Problem> {
    if value.as_str() == Some("TERM") {
        let mend = "use KILL, SEGV or ILL, which end it";
        return Err(Problem::new("burners leave TERM to the daemon, and burn on", mend));
    }
    one_of(
        value,
        "signal",
        &[("KILL", KillSignal::Kill), ("SEGV", KillSignal::Segv), ("ILL", KillSignal::Ill)],
    )
}

#[cfg(test)]
mod tests {
    use crate::scenario::Plan;

    #[test]
    fn kills_are_read_and_written_as_they_were() {
        let text = "name = 'one'\n[[phase]]\nname = 'a'\nduration = '1m'\nrestart = true\n[[phase.burner]]\nkind = 'cpu'\n\
                    [[phase.kill]]\nat = '5s'\nsignal = 'SEGV'\nburner = 0\n[[phase.kill]]\nevery = '10s'\n";
        let plan = Plan::from_toml("x.toml", text).unwrap();
        let phase = &plan.scenario.phases[0];
        let [first, second] = &phase.kills[..] else { panic!("{phase:?}") };
        assert!(phase.restart);
        assert_eq!(
            (first.at_ms, first.signal().as_str_name(), first.burner),
            (Some(5_000), "KILL_SIGNAL_SEGV", Some(0))
        );
        assert_eq!((second.every_ms, second.signal().as_str_name()), (Some(10_000), "KILL_SIGNAL_KILL"));
        let again = Plan::from_toml("y.toml", &plan.toml).unwrap();
        assert_eq!(again.scenario, plan.scenario, "{}", plan.toml);
    }
}
