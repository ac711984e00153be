//! The bounds of a search for the load at which an objective breaks, on any host.

use super::{Violations, threshold};
use crate::{
    catalogue::Kind,
    thresholds::{self, is_ceiling, is_floor},
    v1::{
        Burner, MemoryMethod, Phase, Profile, Scenario, Search, Threshold, ThresholdStatistic, burner,
        profile::Shape,
    },
};

/// Where nothing is said of them.
pub const DEFAULT_SEARCH_FROM_PERCENT: f64 = 0.0;
/// See above.
pub const DEFAULT_SEARCH_TO_PERCENT: f64 = 100.0;
/// See above.
pub const DEFAULT_SEARCH_PRECISION_POINTS: f64 = 1.0;
/// See above.
pub const DEFAULT_SEARCH_HOLD_MS: u64 = 10_000;
/// See above.
pub const DEFAULT_SEARCH_REST_MS: u64 = 2_000;

const MAX_TIME_MS: u64 = 600_000;
const MIN_HOLD_MS: u64 = 1_000;

/// Every bound that a phase's search breaks; `field` is the phase's.
pub(super) fn check(field: &str, phase: &Phase, scenario: &Scenario, found: &mut Violations) {
    let Some(search) = &phase.search else { return };
    let at = |part: &str| format!("{field}.search.{part}");
    let from = search.from_percent.unwrap_or(DEFAULT_SEARCH_FROM_PERCENT);
    let to = search.to_percent.unwrap_or(DEFAULT_SEARCH_TO_PERCENT);
    for (part, percent) in [("from_percent", from), ("to_percent", to)] {
        if !(0.0..=100.0).contains(&percent) {
            found.add(at(part), format!("a load of {percent} %"), "use 0 to 100");
        }
    }
    if from >= to {
        let part = if search.from_percent.is_some() { "from_percent" } else { "to_percent" };
        let message = format!("a search from {from} % to {to} %");
        found.add(at(part), message, "let `from` be less than `to`");
    }
    let precision = search.precision_points.unwrap_or(DEFAULT_SEARCH_PRECISION_POINTS);
    if !(0.1..=50.0).contains(&precision) {
        found.add(at("precision_points"), format!("{precision} points"), "use 0.1 to 50");
    }
    times(search, &at, found);
    burners(field, phase, found);
    objective(field, phase, search, scenario, found);
}

fn times(search: &Search, at: &impl Fn(&str) -> String, found: &mut Violations) {
    if let Some(ms) = search.hold_ms
        && !(MIN_HOLD_MS..=MAX_TIME_MS).contains(&ms)
    {
        found.add(at("hold_ms"), format!("a load watched for {ms} ms"), "use 1s to 10m");
    }
    if let Some(ms) = search.rest_ms
        && ms > MAX_TIME_MS
    {
        found.add(at("rest_ms"), format!("a rest of {ms} ms"), "use at most 10m");
    }
}

/// There have to be burners whose load can be searched, and it must not be given as well.
fn burners(field: &str, phase: &Phase, found: &mut Violations) {
    let mut any = false;
    for (index, burner) in phase.burners.iter().enumerate() {
        let Some(load) = searched(burner) else { continue };
        any = true;
        let shape = load.and_then(|load| load.shape.as_ref());
        let is_given = shape.is_some_and(
            |shape| !matches!(shape, Shape::Constant(constant) if constant.load_percent == 100.0),
        );
        if is_given {
            found.add(
                format!("{field}.burners[{index}].load"),
                "a load of its own, in a phase that searches for one",
                "leave it out, and give `from` and `to` of the search",
            );
        }
    }
    if !any {
        found.add(
            format!("{field}.search"),
            "the phase has no burner whose load could be searched",
            "add a cpu burner",
        );
    }
}

/// The load of a burner that holds one, which may not be given; nothing of all others.
fn searched(burner: &Burner) -> Option<Option<&Profile>> {
    use MemoryMethod::{Latency, Read, Stream, Verify, Write};
    match burner.kind.as_ref()? {
        burner::Kind::Cpu(cpu) => Some(cpu.load.as_ref()),
        burner::Kind::Memory(memory)
            if memory.load.is_some()
                && matches!(memory.method(), Stream | Read | Write | Latency | Verify) =>
        {
            Some(memory.load.as_ref())
        }
        _ => None,
    }
}

fn objective(field: &str, phase: &Phase, search: &Search, scenario: &Scenario, found: &mut Violations) {
    let place = format!("{field}.search.objective");
    let Some(objective) = &search.objective else {
        let example = "give one, such as http.request.latency.p99 < 10ms";
        return found.add(place, "a search without an objective", example);
    };
    let of_phase = Threshold { phase: phase.name.clone(), ..objective.clone() };
    let before = found.len();
    threshold::threshold(&place, &of_phase, found);
    threshold::burners(&place, &of_phase, scenario, found);
    if found.len() > before {
        return;
    }
    let that = format!("{place}.that");
    if !is_ceiling(objective.comparison()) && !is_floor(objective.comparison()) {
        found.add(&that, "an objective that readings have to equal", "use <, <=, > or >=");
    }
    use ThresholdStatistic::{Last, Max, Mean, Min, P50, P90, P95, P99, P999};
    let statistic = objective.statistic();
    let kind = thresholds::metric(&objective.metric).map(|metric| metric.kind);
    let is_judged = match kind {
        Some(Kind::Histogram) => matches!(statistic, P50 | P90 | P95 | P99 | P999),
        _ => matches!(statistic, Min | Max | Mean | Last) && objective.metric != thresholds::LOAD_MISSED.name,
    };
    if !is_judged {
        let mend = match kind {
            Some(Kind::Histogram) => "use a percentile, such as p99",
            _ => "use max, or another metric",
        };
        found.add(that, "an objective is judged by single readings, and they have no such statistic", mend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Constant, CpuBurner, HttpBurner, LabelMatch};

    fn told(text: &str, change: impl FnOnce(&mut Phase)) -> String {
        let objective = thresholds::parse(text).unwrap();
        let http = HttpBurner { url: "http://127.0.0.1/".into(), ..HttpBurner::default() };
        let kinds = [burner::Kind::Cpu(CpuBurner::default()), burner::Kind::Http(http)];
        let mut phase = Phase {
            name: "one".into(),
            duration_ms: 60_000,
            burners: kinds.map(|kind| Burner { kind: Some(kind) }).into(),
            search: Some(Search { objective: Some(objective), ..Search::default() }),
            ..Phase::default()
        };
        change(&mut phase);
        let scenario = Scenario { phases: vec![phase.clone()], ..Scenario::default() };
        let mut found = Violations::default();
        check("phases[0]", &phase, &scenario, &mut found);
        let found = found.into_vec();
        assert!(found.iter().all(|one| !one.mend.is_empty()), "{found:?}");
        found.iter().map(|one| format!("{}: {}\n", one.field, one.message)).collect()
    }

    #[test]
    fn an_objective_is_of_single_readings() {
        for good in [
            "http.request.latency.p99 < 10ms",
            "protected.runqueue.latency.p95 <= 3ms",
            "protected.health.latency.max < 200ms",
            "protected.query.value.min > 5",
            "host.pressure.stalled.max < 20 %",
        ] {
            assert_eq!(told(good, |_| {}), "", "{good}");
        }
        for (text, part) in [
            ("http.request.latency.max < 10ms", "no such statistic"),
            ("protected.health.latency.p99 < 10ms", "no such statistic"),
            ("cpu.load.missed == 0", "have to equal"),
            ("disk.read.latency.p99 < 1ms", "no burner of kind disk"),
        ] {
            assert!(told(text, |_| {}).contains(part), "{text}: {}", told(text, |_| {}));
        }
    }

    #[test]
    fn bounds_and_burners_are_seen_to() {
        type Spoil = fn(&mut Phase);
        fn search(phase: &mut Phase) -> &mut Search {
            phase.search.get_or_insert_default()
        }
        let cases: [(&str, Spoil); 10] = [
            ("search.from_percent", |phase| search(phase).from_percent = Some(-1.0)),
            ("search.from_percent", |phase| search(phase).from_percent = Some(100.0)),
            ("search.to_percent", |phase| search(phase).to_percent = Some(100.5)),
            ("search.precision_points", |phase| search(phase).precision_points = Some(f64::NAN)),
            ("search.hold_ms", |phase| search(phase).hold_ms = Some(999)),
            ("search.rest_ms", |phase| search(phase).rest_ms = Some(600_001)),
            ("search.objective", |phase| search(phase).objective = None),
            ("search:", |phase| phase.burners.truncate(0)),
            ("burners[0].load", |phase| {
                let shape = Some(Shape::Constant(Constant { load_percent: 50.0 }));
                let load = Some(Profile { shape, ..Profile::default() });
                phase.burners[0].kind = Some(burner::Kind::Cpu(CpuBurner { load, ..CpuBurner::default() }));
            }),
            ("search.objective", |phase| {
                let label = LabelMatch { name: "quack".into(), value: "x".into() };
                search(phase).objective.get_or_insert_default().labels.push(label);
            }),
        ];
        for (field, spoil) in cases {
            let told = told("http.request.latency.p99 < 10ms", spoil);
            assert!(told.contains(&format!("phases[0].{field}")), "{field}: {told}");
        }
    }
}
