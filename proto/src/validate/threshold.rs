//! The bounds of a threshold, on any host.

use std::collections::HashSet;

use super::Violations;
use crate::{
    catalogue::Kind,
    thresholds::{self, is_ceiling, is_floor},
    v1::{Phase, Scenario, Threshold, ThresholdComparison, ThresholdStatistic, burner::Kind as Kinds},
};

/// Thresholds a scenario may have.
const MAX_THRESHOLDS: usize = 256;
/// The longest `for`.
const MAX_FOR_MS: u64 = 3_600_000;
/// Bytes of a threshold's text.
const MAX_TEXT_BYTES: usize = 256;
/// Labels that a threshold may match.
const MAX_MATCHES: usize = 8;

/// Every bound that a scenario's thresholds break.
pub(super) fn all(scenario: &Scenario, found: &mut Violations) {
    let count = scenario.thresholds.len();
    if count > MAX_THRESHOLDS {
        found.add("thresholds", format!("{count} thresholds"), format!("use at most {MAX_THRESHOLDS}"));
    }
    for (index, one) in scenario.thresholds.iter().enumerate().take(MAX_THRESHOLDS) {
        let field = format!("thresholds[{index}]");
        super::of_phase::check(&field, &one.phase, scenario, found);
        threshold(&field, one, found);
        burners(&field, one, scenario, found);
        let of = scenario.phases.iter().position(|phase| phase.name == one.phase);
        super::decision::reference(&format!("{field}.that"), one, of, scenario, found);
    }
}

/// What burners do is judged where there are some that do it.
pub(super) fn burners(field: &str, threshold: &Threshold, scenario: &Scenario, found: &mut Violations) {
    if !threshold.metric.starts_with("burner.") {
        return;
    }
    let of_phase = |phase: &&Phase| threshold.phase.is_empty() || phase.name == threshold.phase;
    let kinds: HashSet<&str> = (scenario.phases.iter().filter(of_phase))
        .flat_map(|phase| &phase.burners)
        .filter_map(|burner| burner.kind.as_ref().map(kind_name))
        .collect();
    let asked = threshold.labels.iter().find(|label| label.name == "kind").map(|label| label.value.as_str());
    let asked = asked.filter(|kind| !kind.contains(['*', '!']));
    let is_there = asked.map_or(!kinds.is_empty(), |kind| kinds.contains(kind));
    if !is_there {
        let kind = asked.map_or_else(String::new, |kind| format!(" of kind {kind}"));
        let place = if threshold.phase.is_empty() { "the scenario" } else { "the phase" };
        found.add(
            format!("{field}.that"),
            format!("{place} has no burner{kind}, so the threshold could not be judged"),
            "add one, or leave the threshold out",
        );
    }
}

fn kind_name(kind: &Kinds) -> &'static str {
    match kind {
        Kinds::Cpu(_) => "cpu",
        Kinds::Memory(_) => "memory",
        Kinds::Disk(_) => "disk",
        Kinds::Network(_) => "network",
        Kinds::Http(_) => "http",
    }
}

/// Every bound that one threshold breaks, whatever scenario it is of.
pub fn threshold(field: &str, threshold: &Threshold, found: &mut Violations) {
    use ThresholdStatistic::{Last, Max, Mean, Min, P50, P90, P95, P99, P999, Total, Unspecified};
    let at = |part: &str| format!("{field}.{part}");
    if threshold.that.is_empty() || threshold.that.len() > MAX_TEXT_BYTES {
        let message = format!("a text of {} bytes", threshold.that.len());
        found.add(at("that"), message, format!("use 1 to {MAX_TEXT_BYTES} bytes"));
    }
    if !threshold.value.is_finite() {
        found.add(at("that"), format!("a value of {}", threshold.value), "use a number");
    }
    if threshold.comparison() == ThresholdComparison::Unspecified {
        found.add(at("that"), "the threshold compares nothing", "use <, <=, >, >=, == or !=");
    }
    let Some(metric) = thresholds::metric(&threshold.metric) else {
        let name: String = threshold.metric.chars().take(80).collect();
        return found.add(at("that"), format!("there is no metric '{name}'"), "docs/metrics.md lists them");
    };
    super::guard::labels(field, metric, &threshold.labels, MAX_MATCHES, found);
    let statistic = threshold.statistic();
    let fits = match metric.kind {
        Kind::Counter => metric.name != thresholds::LOAD_MISSED.name || statistic == Total,
        Kind::Gauge => statistic != Total,
        Kind::Histogram => matches!(statistic, Min | Max | Mean | P50 | P90 | P95 | P99 | P999),
    };
    if !fits || statistic == Unspecified {
        let name = thresholds::STATISTICS.iter().find(|(_, known)| *known == statistic);
        let name = name.map_or("a statistic", |(name, _)| name);
        let mend = match metric.kind {
            Kind::Counter if !fits => "leave it out: they are counted",
            Kind::Counter => "use total, or min, max, mean of its rate",
            Kind::Gauge => "use min, max, mean, last or a percentile",
            Kind::Histogram => "use a percentile, such as p99, or min, max, mean",
        };
        found.add(at("that"), format!("{} has no {name}", metric.name), mend);
    }
    lasting(field, threshold, metric.kind, found);
    if threshold.grace_ms > super::MAX_DURATION_MS {
        found.add(at("grace_ms"), format!("{} ms", threshold.grace_ms), "use less");
    }
    let is_late = matches!(statistic, Last)
        || threshold.comparison() == ThresholdComparison::Unequal
        || metric.name == thresholds::LOAD_MISSED.name
        || (matches!(statistic, Min | Max | Total) && !thresholds::is_final(threshold));
    if threshold.abort_on_fail && is_late {
        found.add(
            at("abort_on_fail"),
            "only at the end is it known whether this threshold fails",
            "leave abort_on_fail out",
        );
    }
}

fn lasting(field: &str, threshold: &Threshold, kind: Kind, found: &mut Violations) {
    use ThresholdStatistic::{Last, Max, Mean, Min, P50, P90, P95, P99, P999};
    let at = format!("{field}.for_ms");
    if threshold.for_ms > MAX_FOR_MS {
        found.add(&at, format!("{} ms", threshold.for_ms), "use at most an hour");
    }
    if threshold.for_ms == 0 {
        return;
    }
    if !is_ceiling(threshold.comparison()) && !is_floor(threshold.comparison()) {
        found.add(&at, "readings that have to be equal for a time", "use <, <=, > or >=, or leave `for` out");
    }
    let fits = match kind {
        Kind::Histogram => matches!(threshold.statistic(), P50 | P90 | P95 | P99 | P999),
        Kind::Counter | Kind::Gauge => matches!(threshold.statistic(), Min | Max | Mean | Last),
    };
    if !fits {
        let mend = match kind {
            Kind::Histogram => "use a percentile, or leave `for` out",
            Kind::Counter | Kind::Gauge => "use max, min, mean or last, or leave `for` out",
        };
        found.add(&at, "with `for` single readings are judged, and they have no such statistic", mend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Burner, CpuBurner, DiskBurner, LabelMatch};

    fn refused(text: &str, change: impl FnOnce(&mut Threshold)) -> String {
        let mut threshold = thresholds::parse(text).unwrap();
        change(&mut threshold);
        let burners = [Kinds::Cpu(CpuBurner::default()), Kinds::Disk(DiskBurner::default())]
            .map(|kind| Burner { kind: Some(kind) });
        let phase =
            Phase { name: "one".into(), duration_ms: 1_000, burners: burners.into(), ..Phase::default() };
        let scenario = Scenario { phases: vec![phase], thresholds: vec![threshold], ..Scenario::default() };
        let mut found = Violations::default();
        all(&scenario, &mut found);
        let found = found.into_vec();
        assert!(found.iter().all(|one| !one.mend.is_empty()), "{found:?}");
        found.iter().map(|one| format!("{}: {}; {}\n", one.field, one.message, one.mend)).collect()
    }

    #[test]
    fn what_can_be_judged_is_taken() {
        for text in [
            "disk.read.latency.p99 < 20ms",
            "cpu.load.missed == 0",
            "host.temperature.p95 < 85",
            "host.cpu.throttles == 0",
            "disk.bytes.mean > 1MB/s",
        ] {
            assert_eq!(refused(text, |_| {}), "", "{text}");
        }
        assert_eq!(refused("host.temperature.max < 85", |one| one.for_ms = 5_000), "");
        assert_eq!(refused("host.temperature.max < 85", |one| one.abort_on_fail = true), "");
        assert_eq!(refused("disk.read.latency.p99 < 1ms", |one| one.abort_on_fail = true), "");
    }

    #[test]
    fn what_can_not_be_judged_is_refused() {
        let label = |one: &mut Threshold| {
            one.labels = vec![LabelMatch { name: "sensors".into(), value: "x".into() }];
        };
        for (told, part) in [
            (refused("disk.read.latency.last < 1ms", |_| {}), "has no last"),
            (refused("host.temperature.total < 1", |_| {}), "has no total"),
            (refused("cpu.load.missed.mean == 0", |_| {}), "leave it out"),
            (refused("memory.verify.errors == 0", |_| {}), "no burner of kind memory"),
            (refused("host.temperature.max < 85", |one| one.phase = "two".into()), "no phase 'two'"),
            (refused("host.temperature.max < 85", label), "did you mean 'sensor'"),
            (refused("host.temperature.max > 30", |one| one.abort_on_fail = true), "only at the end"),
            (refused("cpu.load.missed == 0", |one| one.abort_on_fail = true), "only at the end"),
            (refused("host.temperature.max == 30", |one| one.for_ms = 1), "equal for a time"),
            (refused("host.temperature.p99 < 30", |one| one.for_ms = 1), "no such statistic"),
            (refused("cpu.verify.errors <= 0", |one| one.for_ms = 1), "no such statistic"),
            (refused("host.temperature.max < 85", |one| one.for_ms = 3_600_001), "an hour"),
            (refused("host.temperature.max < 85", |one| one.value = f64::NAN), "a value of NaN"),
            (refused("host.temperature.max < 85", |one| one.metric = "quack".into()), "no metric 'quack'"),
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
