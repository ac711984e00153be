//! The bounds of a guard, on any host.

use std::collections::HashSet;

use super::Violations;
use crate::{
    catalogue::{self, Kind, Metric},
    guards::unit,
    nearest::nearest,
    v1::{Guard, GuardAggregate, GuardComparison, GuardReaction, LabelMatch},
};

/// Guards a scenario may bring.
const MAX_GUARDS: usize = 64;
/// Labels that a guard may match.
const MAX_MATCHES: usize = 8;
/// The longest window, `for` or hold.
const MAX_GUARD_MS: u64 = 3_600_000;
/// Over which a rise is taken where nothing is said.
pub const DEFAULT_RISE_MS: u64 = 5_000;
/// Values that a histogram needs to be judged where nothing is said.
pub const DEFAULT_MIN_SAMPLES: u64 = 20;
/// How often a guard may pause a run where nothing is said.
pub const DEFAULT_MAX_PAUSES: u32 = 3;
/// The most that can be said.
const MAX_PAUSES: u32 = 1_000;
/// What a step of derating takes, what it is given to help, and what stays at least, where nothing is said.
pub const DEFAULT_STEP_PERCENT: u32 = 25;
/// See [`DEFAULT_STEP_PERCENT`].
pub const DEFAULT_HOLD_MS: u64 = 5_000;
/// See [`DEFAULT_STEP_PERCENT`].
pub const DEFAULT_FLOOR_PERCENT: u32 = 25;

/// Every bound that the guards break, each beneath `field[index]`.
pub fn guards(field: &str, guards: &[Guard], found: &mut Violations) {
    if guards.len() > MAX_GUARDS {
        found.add(field, format!("{} guards", guards.len()), format!("use at most {MAX_GUARDS}"));
    }
    let mut names = HashSet::new();
    for (index, one) in guards.iter().enumerate().take(MAX_GUARDS) {
        let field = format!("{field}[{index}]");
        guard(&field, one, found);
        if !names.insert(one.name.as_str()) {
            found.add(
                format!("{field}.name"),
                format!("a second guard named '{}'", one.name),
                "give each guard a name of its own; several on one metric make a ladder",
            );
        }
    }
}

/// Every bound that one guard breaks.
pub fn guard(field: &str, guard: &Guard, found: &mut Violations) {
    let at = |part: &str| format!("{field}.{part}");
    let named = (1..=64).contains(&guard.name.len())
        && guard
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if !named {
        let name: String = guard.name.chars().take(80).collect();
        found.add(
            at("name"),
            format!("'{name}' is no name"),
            "use 1 to 64 characters of a-z, 0-9, '-' and '_'",
        );
    }
    if guard.reaction() == GuardReaction::Unspecified {
        found.add(at("reaction"), "the guard has no reaction", "use warn, throttle, pause, stop or halt");
    }
    for (part, ms) in [("for_ms", guard.for_ms), ("window_ms", guard.window_ms.unwrap_or(1))] {
        if ms > MAX_GUARD_MS || (part == "window_ms" && ms == 0) {
            found.add(at(part), format!("{ms} ms"), "use at most an hour, and more than 0 for a window");
        }
    }
    let are_numbers = guard.value.is_finite() && guard.hysteresis.is_finite();
    if !are_numbers || guard.hysteresis < 0.0 {
        found.add(
            at("value"),
            format!("a value of {} with a hysteresis of {}", guard.value, guard.hysteresis),
            "use numbers, and a hysteresis of 0 or more",
        );
    }
    derating(field, guard, found);
    let Some(metric) = metric(&at("metric"), &guard.metric, found) else { return };
    labels(field, metric, &guard.labels, MAX_MATCHES, found);
    combination(field, metric, guard, found);
}

/// The metric of that name; a violation where there is none.
pub(super) fn metric(field: &str, name: &str, found: &mut Violations) -> Option<&'static Metric> {
    let known = catalogue::find(name);
    if known.is_none() {
        let near = nearest(name, catalogue::ALL.iter().map(|metric| metric.name));
        let hint = near.map_or_else(String::new, |near| format!("did you mean '{near}'? "));
        let name: String = name.chars().take(80).collect();
        found.add(field, format!("there is no metric '{name}'"), format!("{hint}docs/metrics.md lists them"));
    }
    known
}

/// Whether a metric has these labels, of which there may be so many.
pub(super) fn labels(
    field: &str,
    metric: &Metric,
    labels: &[LabelMatch],
    most: usize,
    found: &mut Violations,
) {
    if labels.len() > most {
        found.add(
            format!("{field}.labels"),
            format!("{} labels", labels.len()),
            format!("use at most {most}"),
        );
    }
    for label in labels.iter().take(most) {
        if !metric.labels.contains(&label.name.as_str()) {
            let near = nearest(&label.name, metric.labels.iter().copied());
            let hint = near.map_or_else(String::new, |near| format!("did you mean '{near}'? "));
            let mend = match metric.labels {
                [] => "leave the labels out: this metric has none".to_owned(),
                known => format!("{hint}it has {}", known.join(", ")),
            };
            let name: String = label.name.chars().take(80).collect();
            found.add(format!("{field}.labels"), format!("{} has no label '{name}'", metric.name), mend);
        }
        if label.value.len() > 256 {
            found.add(
                format!("{field}.labels"),
                "a label's value of more than 256 bytes",
                "shorten it with `*`",
            );
        }
    }
}

fn combination(field: &str, metric: &Metric, guard: &Guard, found: &mut Violations) {
    use GuardAggregate::{Max, Mean, Min, P50, P90, P95, P99, P999, Sum, Unspecified};
    let at = |part: &str| format!("{field}.{part}");
    let is_histogram = metric.kind == Kind::Histogram;
    let comparison = guard.comparison();
    match (guard.aggregate(), is_histogram) {
        (Unspecified, _) | (Min | Max | Mean | Sum, false) | (P50 | P90 | P95 | P99 | P999, true) => {}
        (aggregate, true) => found.add(
            at("aggregate"),
            format!("{} is a histogram: it has no {}", metric.name, aggregate.as_str_name()),
            "use p50, p90, p95, p99 or p999",
        ),
        (_, false) => found.add(
            at("aggregate"),
            format!("{} is no histogram: it has no percentiles", metric.name),
            "use min, max, mean or sum, or leave it out to have each column judged by itself",
        ),
    }
    match comparison {
        GuardComparison::Unspecified => found.add(
            at("comparison"),
            "the guard compares with nothing",
            "give it one of above, below, rises and headroom",
        ),
        GuardComparison::Rises if metric.kind != Kind::Gauge => found.add(
            at("comparison"),
            format!("{} is no gauge: how it rises can't be told", metric.name),
            "use above: a counter is judged by its rate, a histogram by a percentile",
        ),
        GuardComparison::Headroom if *metric != catalogue::HOST_TEMPERATURE => found.add(
            at("comparison"),
            format!("nothing tells a critical point of {}", metric.name),
            "use above or below; headroom is for host.temperature",
        ),
        _ => {}
    }
    if comparison == GuardComparison::Rises && guard.value <= 0.0 {
        found.add(at("value"), format!("a rise of {}", guard.value), "use more than 0");
    }
    if metric.kind == Kind::Gauge && guard.window_ms.is_some() && comparison != GuardComparison::Rises {
        found.add(
            at("window_ms"),
            format!("{} is a gauge: it is judged by each of its values", metric.name),
            "use `for` to wait until it has lasted, or `rises` with a window",
        );
    }
    if guard.min_samples.is_some() && !is_histogram {
        found.add(at("min_samples"), format!("{} is no histogram", metric.name), "leave it out");
    }
    if guard.others_only && !metric.labels.contains(&"device") {
        found.add(at("others_only"), format!("{} has no label 'device'", metric.name), "leave it out");
    }
    let share = unit(metric, comparison) == "1" && metric.kind == Kind::Counter;
    if share
        && comparison == GuardComparison::Above
        && guard.value >= 1.0
        && metric.labels.contains(&"resource")
    {
        found.add(
            at("value"),
            format!("{} can't be above {}: it is a share of time", metric.name, guard.value),
            "use less than 1, or a percentage such as \"40 %\"",
        );
    }
}

fn derating(field: &str, guard: &Guard, found: &mut Violations) {
    let at = |part: &str| format!("{field}.{part}");
    let throttles = guard.reaction() == GuardReaction::Throttle;
    let Some(derating) = &guard.derating else {
        return pauses(field, guard, throttles, found);
    };
    if !throttles {
        found.add(
            at("derating"),
            "steps of a load that is not derated",
            "leave them out, or use the reaction throttle",
        );
    }
    for (part, percent) in
        [("step_percent", derating.step_percent), ("floor_percent", derating.floor_percent)]
    {
        if let Some(percent) = percent.filter(|percent| !(1..=99).contains(percent)) {
            found.add(at(&format!("derating.{part}")), format!("{percent} %"), "use 1 to 99 percent");
        }
    }
    if let Some(ms) = derating.hold_ms.filter(|ms| *ms > MAX_GUARD_MS) {
        found.add(at("derating.hold_ms"), format!("{ms} ms"), "use at most an hour");
    }
    if derating.then() == GuardReaction::Throttle {
        found.add(at("derating.then"), "a throttle after a throttle", "use hold, pause, stop or halt");
    }
    pauses(field, guard, throttles && derating.then() == GuardReaction::Pause, found);
}

fn pauses(field: &str, guard: &Guard, ends_in_a_pause: bool, found: &mut Violations) {
    let Some(pauses) = guard.max_pauses else { return };
    if guard.reaction() != GuardReaction::Pause && !ends_in_a_pause {
        found.add(
            format!("{field}.max_pauses"),
            "a number of pauses where nothing pauses",
            "leave it out, or use the reaction pause",
        );
    }
    if pauses > MAX_PAUSES {
        found.add(
            format!("{field}.max_pauses"),
            format!("{pauses} pauses"),
            format!("use at most {MAX_PAUSES}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Derating;

    fn hot() -> Guard {
        let mut guard =
            Guard { name: "hot".into(), metric: "host.temperature".into(), value: 80.0, ..Guard::default() };
        guard.set_comparison(GuardComparison::Above);
        guard.set_reaction(GuardReaction::Stop);
        guard
    }

    fn refused(change: impl FnOnce(&mut Guard)) -> String {
        let mut guard = hot();
        change(&mut guard);
        let mut found = Violations::default();
        super::guard("guards[0]", &guard, &mut found);
        let found = found.into_vec();
        assert!(found.iter().all(|violation| !violation.mend.is_empty()), "{found:?}");
        found.iter().map(|one| format!("{}: {}; {}\n", one.field, one.message, one.mend)).collect()
    }

    #[test]
    fn what_can_not_be_is_refused_with_what_was_probably_meant() {
        assert_eq!(refused(|_| {}), "");
        for (change, part) in [
            (
                Box::new(|guard: &mut Guard| guard.metric = "host.temprature".into())
                    as Box<dyn Fn(&mut Guard)>,
                "did you mean 'host.temperature'",
            ),
            (Box::new(|guard: &mut Guard| guard.metric = "quack".into()), "docs/metrics.md"),
            (
                Box::new(|guard: &mut Guard| {
                    guard.labels = vec![LabelMatch { name: "sensors".into(), value: "x".into() }];
                }),
                "did you mean 'sensor'",
            ),
            (Box::new(|guard: &mut Guard| guard.set_aggregate(GuardAggregate::P99)), "no percentiles"),
            (
                Box::new(|guard: &mut Guard| {
                    guard.metric = "block.latency".into();
                    guard.set_aggregate(GuardAggregate::Mean);
                }),
                "use p50",
            ),
            (
                Box::new(|guard: &mut Guard| {
                    guard.metric = "host.memory.free".into();
                    guard.set_comparison(GuardComparison::Headroom);
                }),
                "critical point",
            ),
            (
                Box::new(|guard: &mut Guard| {
                    guard.metric = "host.vm.faults".into();
                    guard.set_comparison(GuardComparison::Rises);
                }),
                "no gauge",
            ),
            (Box::new(|guard: &mut Guard| guard.window_ms = Some(1_000)), "`for`"),
            (Box::new(|guard: &mut Guard| guard.value = f64::NAN), "value of NaN"),
            (Box::new(|guard: &mut Guard| guard.hysteresis = -1.0), "hysteresis of -1"),
            (Box::new(|guard: &mut Guard| guard.set_reaction(GuardReaction::Unspecified)), "no reaction"),
            (
                Box::new(|guard: &mut Guard| guard.set_comparison(GuardComparison::Unspecified)),
                "compares with nothing",
            ),
            (Box::new(|guard: &mut Guard| guard.derating = Some(Derating::default())), "not derated"),
            (Box::new(|guard: &mut Guard| guard.max_pauses = Some(1)), "nothing pauses"),
            (Box::new(|guard: &mut Guard| guard.others_only = true), "no label 'device'"),
            (Box::new(|guard: &mut Guard| guard.min_samples = Some(1)), "no histogram"),
            (Box::new(|guard: &mut Guard| guard.for_ms = 3_600_001), "an hour"),
            (Box::new(|guard: &mut Guard| guard.name = "Hot one".into()), "no name"),
            (
                Box::new(|guard: &mut Guard| {
                    guard.metric = "host.pressure.stalled".into();
                    guard.value = 40.0;
                }),
                "40 %",
            ),
        ] {
            let told = refused(&*change);
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut found = Violations::default();
        guards("guards", &[hot(), hot()], &mut found);
        assert!(found.into_vec()[0].message.contains("a second guard named 'hot'"));
    }
}
