//! Long runs may be refused on a host whose guards were not drilled for a while.

use std::time::Duration;

use ssts_proto::{v1::Scenario, validate::Violations};

use crate::{config::LimitsConfig, run::Drilled};

pub(super) fn check(limits: &LimitsConfig, drilled: Drilled, scenario: &Scenario, found: &mut Violations) {
    let (within, over) = (limits.drill_within, limits.drill_for_runs_over);
    let whole_ms = scenario.phases.iter().fold(0u64, |sum, phase| sum.saturating_add(phase.duration_ms));
    let whole = Duration::from_millis(whole_ms);
    if within.is_zero() || whole <= over {
        return;
    }
    let latest = match drilled {
        Drilled::Passed { ago } if ago <= within => return,
        Drilled::Passed { ago } => format!("the latest one passed {} ago", whole_seconds(ago)),
        Drilled::Incomplete { ago } => {
            format!("the latest one, {} ago, did not pass in full", whole_seconds(ago))
        }
        Drilled::Never => "there was none".to_owned(),
    };
    found.add(
        "phases",
        format!(
            "the phases last {} together, and a run over {} needs a drill that passed within {}: {latest}",
            whole_seconds(whole),
            whole_seconds(over),
            whole_seconds(within)
        ),
        "run `sstsctl drill` on this host, or shorten the phases",
    );
}

fn whole_seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::Phase;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn refusal(within: Duration, drilled: Drilled, whole: Duration) -> Option<String> {
        let limits =
            LimitsConfig { drill_within: within, drill_for_runs_over: HOUR, ..LimitsConfig::default() };
        let half = Phase { duration_ms: whole.as_millis() as u64 / 2, ..Phase::default() };
        let scenario = Scenario { phases: vec![half.clone(), half], ..Scenario::default() };
        let mut found = Violations::default();
        check(&limits, drilled, &scenario, &mut found);
        found.into_vec().pop().map(|violation| violation.message)
    }

    #[test]
    fn only_long_runs_need_a_drill_and_only_one_that_passed_lately_counts() {
        let passed = |ago| Drilled::Passed { ago };
        assert_eq!(refusal(Duration::ZERO, Drilled::Never, DAY), None, "nothing is demanded");
        assert_eq!(refusal(DAY, Drilled::Never, HOUR), None, "it is no long run");
        assert_eq!(refusal(DAY, passed(HOUR), 2 * HOUR), None);
        for (drilled, words) in [
            (Drilled::Never, "there was none"),
            (passed(2 * DAY), "passed 2days ago"),
            (Drilled::Incomplete { ago: HOUR }, "1h ago, did not pass"),
        ] {
            let message = refusal(DAY, drilled, 2 * HOUR).unwrap();
            assert!(message.contains(words) && message.contains("2h together"), "{message}");
        }
    }
}
