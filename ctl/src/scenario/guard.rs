//! `[[guards]]` of a scenario: limits with a reaction, beside those of the agent. The agent's configuration has the same keys.

use ssts_proto::{
    catalogue,
    guards::{self, AGGREGATES, COMPARISONS, LAST_STEPS, MISSING, REACTIONS},
    v1::{Derating, Guard, GuardComparison, LabelMatch},
};
use toml::de::DeValue;

use super::{
    keys::{Findings, Keys, number, string, whole, wrong_type},
    values::{duration, one_of},
};
use crate::error::Problem;

/// One guard.
pub(super) fn from_keys(mut keys: Keys<'_, '_>, found: &mut Findings) -> Guard {
    let name = keys.need("name", "name", found, string, "\"hot\"").unwrap_or_default();
    let metric = keys.need("metric", "metric", found, string, "\"host.temperature\"").unwrap_or_default();
    let labels = keys.read("labels", "labels", found, labels).unwrap_or_default();
    let mut guard = Guard { name, metric, labels, ..Guard::default() };
    compare(&mut keys, &mut guard, found);
    let unit = unit(&guard);
    guard.hysteresis =
        keys.read("hysteresis", "hysteresis", found, |value| amount(value, &unit)).unwrap_or_default();
    guard.window_ms = keys.read("window", "window_ms", found, duration);
    guard.for_ms = keys.read("for", "for_ms", found, duration).unwrap_or_default();
    guard.min_samples = keys.read("min_samples", "min_samples", found, whole);
    let aggregate =
        keys.read("aggregate", "aggregate", found, |value| one_of(value, "aggregate", &AGGREGATES));
    let missing = keys.read("missing", "missing", found, |value| one_of(value, "way", &MISSING));
    let reaction = keys.need(
        "reaction",
        "reaction",
        found,
        |value| one_of(value, "reaction", &REACTIONS),
        "\"throttle\"",
    );
    guard.aggregate = aggregate.map_or(0, Into::into);
    guard.missing = missing.map_or(0, Into::into);
    guard.reaction = reaction.map_or(0, Into::into);
    guard.derating = derating(&mut keys, found);
    guard.max_pauses = keys.read("max_pauses", "max_pauses", found, small);
    guard.others_only = keys.read("others_only", "others_only", found, boolean).unwrap_or_default();
    keys.finish(found);
    guard
}

/// Exactly one of the keys that compare.
fn compare(keys: &mut Keys<'_, '_>, guard: &mut Guard, found: &mut Findings) {
    let mut given = None;
    for (key, comparison) in COMPARISONS {
        let unit = unit_with(&guard.metric, comparison);
        let value = keys.value(key, "value", found);
        let Some(value) = value else { continue };
        if let Some(first) = given.replace(key) {
            let message = format!("a guard has {first} or {key}, not both");
            found.add(&keys.part("value"), value.span(), &message, "make two guards of it");
            continue;
        }
        guard.set_comparison(comparison);
        match amount(value.get_ref(), &unit) {
            Ok(amount) => guard.value = amount,
            Err(Problem { message, mend }) => found.add(&keys.part("value"), value.span(), &message, &mend),
        }
    }
}

fn derating(keys: &mut Keys<'_, '_>, found: &mut Findings) -> Option<Derating> {
    let step_percent = keys.read("step", "derating.step_percent", found, small);
    let hold_ms = keys.read("hold", "derating.hold_ms", found, duration);
    let floor_percent = keys.read("floor", "derating.floor_percent", found, small);
    let then = keys.read("then", "derating.then", found, |value| one_of(value, "last step", &LAST_STEPS));
    let is_given = step_percent.is_some() || hold_ms.is_some() || floor_percent.is_some() || then.is_some();
    is_given.then(|| Derating { step_percent, hold_ms, floor_percent, then: then.map_or(0, Into::into) })
}

/// Labels and the values that they have to have.
pub(super) fn labels(value: &DeValue<'_>) -> Result<Vec<LabelMatch>, Problem> {
    let table =
        value.as_table().ok_or_else(|| wrong_type(value, "a table, such as { sensor = \"hwmon0/*\" }"))?;
    let label =
        |(name, value): (&serde_spanned::Spanned<std::borrow::Cow<'_, str>>, &super::keys::Value<'_>)| {
            Ok(LabelMatch { name: name.get_ref().to_string(), value: string(value.get_ref())? })
        };
    table.iter().map(label).collect()
}

/// A number in the metric's unit, or text with a unit of its own.
fn amount(value: &DeValue<'_>, unit: &str) -> Result<f64, Problem> {
    match value {
        DeValue::String(text) => {
            guards::value(text, unit).map_err(|(message, mend)| Problem::new(message, mend))
        }
        _ => number(value),
    }
}

fn unit(guard: &Guard) -> String {
    unit_with(&guard.metric, guard.comparison())
}

/// Of a metric that is not known, which is told by whoever checks the scenario, any.
fn unit_with(metric: &str, comparison: GuardComparison) -> String {
    catalogue::find(metric).map_or_else(|| "1".into(), |metric| guards::unit(metric, comparison))
}

fn small(value: &DeValue<'_>) -> Result<u32, Problem> {
    u32::try_from(whole(value)?).map_err(|_| Problem::new("the number is too large", "use less"))
}

fn boolean(value: &DeValue<'_>) -> Result<bool, Problem> {
    value.as_bool().ok_or_else(|| wrong_type(value, "true or false"))
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{GuardAggregate, GuardReaction};

    use crate::scenario::Plan;

    const PHASE: &str = "name = 'one'\n[[phase]]\nname = 'a'\nduration = '1s'\n";

    fn told(guard: &str) -> String {
        let text = format!("{PHASE}[[guards]]\n{guard}");
        Plan::from_toml("x.toml", &text).map_or_else(|failure| failure.to_string(), |_| String::new())
    }

    #[test]
    fn a_guard_is_read_with_its_units() {
        let text = format!(
            "{PHASE}[[guards]]\nname = 'slow'\nmetric = 'block.latency'\nlabels = {{ device = 'vd*' }}\naggregate = 'p99'\n\
             above = '20 ms'\nwindow = '10s'\nfor = '2s'\nhysteresis = '5 ms'\nothers_only = true\nreaction = 'throttle'\n\
             step = 20\nhold = '3s'\nfloor = 40\nthen = 'pause'\nmax_pauses = 2\n"
        );
        let guard = Plan::from_toml("x.toml", &text).unwrap().scenario.guards.remove(0);
        assert_eq!((guard.value, guard.hysteresis), (2e7, 5e6));
        assert_eq!((guard.window_ms, guard.for_ms, guard.max_pauses), (Some(10_000), 2_000, Some(2)));
        assert_eq!((guard.aggregate(), guard.reaction()), (GuardAggregate::P99, GuardReaction::Throttle));
        assert_eq!((&*guard.labels[0].name, &*guard.labels[0].value), ("device", "vd*"));
        let derating = guard.derating.unwrap();
        assert_eq!(
            (derating.step_percent, derating.hold_ms, derating.floor_percent),
            (Some(20), Some(3_000), Some(40))
        );
        assert_eq!(derating.then(), GuardReaction::Pause);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let hot = "name = 'hot'\nmetric = 'host.temperature'\nreaction = 'stop'\n";
        assert_eq!(told(&format!("{hot}above = '80 °C'\n")), "");
        for (guard, parts) in [
            (format!("{hot}above = '80 F'\n"), ["x.toml:9:9", "'F' is no unit"]),
            (format!("{hot}above = 80\nbelow = 20\n"), ["above or below, not both", "two guards"]),
            (hot.to_owned(), ["compares with nothing", "above"]),
            (
                hot.replace("temperature", "temperatur") + "above = 80\n",
                ["x.toml:7:10", "did you mean 'host.temperature'"],
            ),
            (
                format!("{hot}above = 80\nlabels = {{ sensors = 'a' }}\n"),
                ["has no label 'sensors'", "did you mean 'sensor'"],
            ),
            (format!("{hot}above = 80\nfro = '2s'\n"), ["no key 'fro'", "did you mean 'for'"]),
            (hot.replace("stop", "explode") + "above = 80\n", ["no reaction 'explode'", "throttle"]),
            (format!("{hot}above = 80\naggregate = 'p99'\n"), ["no percentiles", "min, max"]),
        ] {
            let told = told(&guard);
            assert!(parts.iter().all(|part| told.contains(part)), "{guard}: {told}");
        }
    }
}
