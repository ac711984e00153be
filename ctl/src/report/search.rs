//! What came of the searches for a load, of the burners that were started anew, and of the host after spikes.

use ssts_proto::{
    thresholds,
    v1::{Recovery, SearchOutcome, SearchResult, Settling},
};

use super::{Align, Document, Table};
use crate::{json, text};

/// A section for each search.
pub(super) fn sections(results: &[SearchResult], document: &mut Document) {
    for result in results {
        document.heading(&format!("Headroom in phase {}", result.phase));
        facts(result, document);
        let steps = steps(result);
        if !steps.is_empty() {
            document.table(steps);
        }
    }
}

fn facts(result: &SearchResult, document: &mut Document) {
    let objective = result.search.as_ref().and_then(|search| search.objective.as_ref());
    let known = |value: Option<f64>| value.map(|value| format!("{} %", text::trimmed(value, 2)));
    document.fact("objective", objective.map(|objective| objective.that.as_str()).unwrap_or_default());
    let (held, broke) = (known(result.held_percent), known(result.broke_percent));
    let knee = match (result.outcome(), held, broke) {
        (SearchOutcome::Found, Some(held), Some(broke)) => {
            let knee = known(result.knee_percent).map(|knee| format!("{knee}, ")).unwrap_or_default();
            format!("{knee}between {held} and {broke} of each of {} cores", result.cores)
        }
        (SearchOutcome::NeverBroke, Some(held), _) => format!("none up to {held}, the greatest load tried"),
        (SearchOutcome::BrokenAtOnce, ..) => "the objective was broken at the least load already".into(),
        (_, held, broke) => {
            let bound = |what: &str, load: Option<String>| {
                load.map(|load| format!("; it {what} at {load}")).unwrap_or_default()
            };
            format!("not found: {}{}{}", result.reason, bound("held", held), bound("broke", broke))
        }
    };
    document.fact("knee", knee);
    if let Some(cores) = result.margin_cores {
        document.fact("margin", format!("{} cores more", text::trimmed(cores, 2)));
    }
    if let Some(percent) = result.reserve_percent {
        document.fact("reserve", format!("{} % of each core have to be left", text::trimmed(percent, 2)));
    }
    let longest = text::nanoseconds(result.longest_broken_ns as f64);
    document.fact(
        "longest broken",
        if result.longest_broken_ns == 0 { "a single reading".into() } else { longest },
    );
}

fn steps(result: &SearchResult) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("load", Right),
        ("achieved", Right),
        ("objective", Left),
        ("readings", Right),
        ("broken", Right),
        ("median", Right),
        ("watched", Right),
        ("held again after", Right),
        ("decided by", Left),
    ]);
    let objective = result.search.as_ref().and_then(|search| search.objective.clone()).unwrap_or_default();
    let unit = thresholds::metric(&objective.metric)
        .map(|metric| thresholds::unit(metric, objective.statistic()))
        .unwrap_or_default();
    for step in &result.steps {
        table.row([
            format!("{} %", text::trimmed(step.load_percent, 2)),
            step.achieved_percent.map(|percent| format!("{percent:.1} %")).unwrap_or_default(),
            if step.held { "held".into() } else { "broken".into() },
            step.readings.to_string(),
            step.broken.to_string(),
            step.median.map(|value| text::quantity(value, &unit)).unwrap_or_default(),
            text::nanoseconds(step.watched_ns as f64),
            step.recovered_ns.map(|ns| text::nanoseconds(ns as f64)).unwrap_or_default(),
            step.decided_by.clone(),
        ]);
    }
    table
}

/// One line for each burner that was started anew.
pub(super) fn recoveries(recoveries: &[Recovery]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("at", Left),
        ("phase", Left),
        ("burner", Left),
        ("killed by", Left),
        ("ended", Left),
        ("seen after", Right),
        ("burned again after", Right),
        ("on its load after", Right),
    ]);
    let shown = |ns: Option<u64>| ns.map_or_else(|| "-".into(), |ns| text::nanoseconds(ns as f64));
    for one in recoveries {
        table.row([
            json::rfc3339(one.at_unix_ns),
            one.phase.clone(),
            format!("{} {}", one.burner_index, one.kind),
            if one.on_purpose { "the phase".into() } else { "somebody else".into() },
            one.ended.clone(),
            shown(one.detected_after_ns),
            shown(one.recovered_after_ns),
            shown(one.validated_after_ns),
        ]);
    }
    table
}

/// One line for each metric of each phase that was to settle like an earlier one.
pub(super) fn settlings(settlings: &[Settling]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("phase", Left),
        ("like", Left),
        ("metric", Left),
        ("before", Right),
        ("peak", Right),
        ("back at", Right),
        ("after", Right),
    ]);
    for one in settlings {
        let value = |value: f64| match one.unit.as_str() {
            "1" => format!("{:.1} %", value * 100.0),
            unit => text::quantity(value, unit),
        };
        table.row([
            one.phase.clone(),
            one.like.clone(),
            one.metric.clone(),
            value(one.before),
            one.peak.map(value).unwrap_or_default(),
            value(one.limit),
            one.settled_after_ns.map_or_else(|| "not in the phase".into(), |ns| text::nanoseconds(ns as f64)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{Search, SearchStep};

    use super::*;
    use crate::report::to_terminal;

    #[test]
    fn a_knee_is_told_with_what_is_left() {
        let objective = thresholds::parse("http.request.latency.p99 < 10ms").unwrap();
        let step = SearchStep {
            load_percent: 34.0,
            readings: 20,
            broken: 9,
            median: Some(1.2e7),
            watched_ns: 900_000_000,
            recovered_ns: Some(200_000_000),
            decided_by: "9 of 20 readings broke it".into(),
            ..SearchStep::default()
        };
        let mut result = SearchResult {
            phase: "knee".into(),
            search: Some(Search { objective: Some(objective), ..Search::default() }),
            held_percent: Some(33.0),
            broke_percent: Some(34.0),
            cores: 2,
            margin_cores: Some(0.66),
            reserve_percent: Some(66.5),
            longest_broken_ns: 800_000_000,
            steps: vec![step],
            ..SearchResult::default()
        };
        result.set_outcome(SearchOutcome::Found);
        let mut document = Document::default();
        sections(&[result], &mut document);
        let told = to_terminal(&document, false);
        for part in [
            "Headroom in phase knee",
            "between 33 % and 34 % of each of 2 cores",
            "0.66 cores more",
            "66.5 % of each core",
            "800 ms",
            "12.0 ms",
            "9 of 20 readings broke it",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
