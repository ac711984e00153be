//! What a search did, in words.

use std::time::Duration;

use ssts_proto::{
    guards,
    v1::{SearchOutcome, SearchResult, SearchStep},
};

use super::judge::Decision;

/// What decided on a load.
pub(super) fn decision(decision: Decision, (readings, broken): (u32, u32), watched: Duration) -> String {
    match decision {
        Decision::Held | Decision::Broke => format!("{broken} of {readings} readings broke it"),
        Decision::BrokeForLong => "it was broken for a second".into(),
        Decision::Silent => format!("nothing could be read any more after {watched:.1?}"),
    }
}

/// `load 34 %: held, 1 of 19 readings broke it, the middle one was 3.1 ms`.
pub(super) fn step(step: &SearchStep, unit: &str) -> String {
    let what = if step.held { "held" } else { "broken" };
    let median = step
        .median
        .map(|value| format!(", the middle one was {}", guards::words(value, unit)))
        .unwrap_or_default();
    format!("load {}: {what}, {}{median}", percent(step.load_percent), step.decided_by)
}

/// What a search came to.
pub(super) fn result(result: &SearchResult) -> String {
    let search = result.search.clone().unwrap_or_default();
    let objective = search.objective.unwrap_or_default().that;
    let known = |value: Option<f64>| value.map_or_else(|| "unknown".into(), percent);
    let (held, broke) = (known(result.held_percent), known(result.broke_percent));
    match result.outcome() {
        SearchOutcome::Found => format!(
            "{objective} has its knee at a load of {}, it holds up to {held} and breaks at {broke}: the host took {:.2} cores more",
            known(result.knee_percent),
            result.margin_cores.unwrap_or_default()
        ),
        SearchOutcome::NeverBroke => {
            format!("{objective} holds up to {held}, the greatest load that was tried")
        }
        SearchOutcome::BrokenAtOnce => format!("{objective} is broken at {broke}, the least load, already"),
        SearchOutcome::Inconclusive | SearchOutcome::Unspecified => {
            let bounds = match (result.held_percent, result.broke_percent) {
                (None, None) => String::new(),
                (Some(_), None) => format!("; it held at {held}"),
                (None, Some(_)) => format!("; it broke at {broke}"),
                (Some(_), Some(_)) => format!("; it held at {held} and broke at {broke}"),
            };
            format!("no knee was found for {objective}: {}{bounds}", result.reason)
        }
    }
}

fn percent(percent: f64) -> String {
    let text = format!("{percent:.2}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{Search, Threshold};

    use super::*;

    #[test]
    fn a_result_says_what_the_host_takes() {
        let objective = Threshold { that: "p99 < 1ms".into(), ..Threshold::default() };
        let mut found = SearchResult {
            search: Some(Search { objective: Some(objective), ..Search::default() }),
            held_percent: Some(33.0),
            broke_percent: Some(34.5),
            knee_percent: Some(33.8),
            margin_cores: Some(0.66),
            ..SearchResult::default()
        };
        found.set_outcome(SearchOutcome::Found);
        assert_eq!(
            result(&found),
            "p99 < 1ms has its knee at a load of 33.8 %, it holds up to 33 % and breaks at 34.5 %: the host took 0.66 cores more"
        );
        found.set_outcome(SearchOutcome::Inconclusive);
        found.reason = "why".into();
        assert_eq!(
            result(&found),
            "no knee was found for p99 < 1ms: why; it held at 33 % and broke at 34.5 %"
        );
    }
}
