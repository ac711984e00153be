//! `[phase.require]`, `[phase.then]` and `[wind_down]`: what is decided between phases.

use ssts_proto::{
    thresholds::{self, Wrong},
    v1::{AfterPhase, DecisionAction, DiskRoom, Requirement, Threshold, WindDown},
};
use toml::de::DeValue;

use super::{
    Place,
    guard::labels,
    keys::{Findings, Keys, Value, number, string, whole, wrong_type},
    values::{duration, one_of, size},
};
use crate::error::Problem;

/// What is done where a requirement does not hold.
pub(super) const OTHERWISE: [(&str, DecisionAction); 3] =
    [("skip", DecisionAction::Skip), ("wind-down", DecisionAction::WindDown), ("fail", DecisionAction::Fail)];
/// What is done after a phase that failed.
pub(super) const ON_FAIL: [(&str, DecisionAction); 4] = [
    ("continue", DecisionAction::Continue),
    ("repeat", DecisionAction::Repeat),
    ("skip", DecisionAction::Skip),
    ("wind-down", DecisionAction::WindDown),
];
/// What is done after its last repetition.
pub(super) const AT_LAST: [(&str, DecisionAction); 3] = [
    ("continue", DecisionAction::Continue),
    ("skip", DecisionAction::Skip),
    ("wind-down", DecisionAction::WindDown),
];
/// What sensors can be asked to be.
pub(super) const SENSORS: [(&str, bool); 1] = [("fresh", true)];

/// `[phase.require]`.
pub(super) fn require(mut keys: Keys<'_, '_>, found: &mut Findings) -> Requirement {
    let field = keys.field();
    let fresh_sensors =
        keys.read("sensors", "fresh_sensors", found, |value| one_of(value, "state of sensors", &SENSORS));
    let mut require = Requirement {
        fresh_sensors: fresh_sensors.unwrap_or_default(),
        min_available_memory_bytes: keys.read("memory", "min_available_memory_bytes", found, size),
        temperature_below_celsius: keys.read("temperature_below", "temperature_below_celsius", found, number),
        max_errors: keys.read("errors", "max_errors", found, whole),
        window_ms: keys.read("window", "window_ms", found, duration),
        wait_ms: keys.read("wait", "wait_ms", found, duration).unwrap_or_default(),
        ..Requirement::default()
    };
    if let Some(value) = keys.value("disk", "disks", found) {
        require.disks = disks(&format!("{field}.disks"), value, found);
    }
    if let Some(value) = keys.value("that", "that", found) {
        require.that = conditions(&format!("{field}.that"), value, found);
    }
    let otherwise = keys.read("otherwise", "otherwise", found, |value| one_of(value, "way", &OTHERWISE));
    require.set_otherwise(otherwise.unwrap_or(DecisionAction::Skip));
    // What could not be read may have been the only condition.
    if [
        "fresh_sensors",
        "disks",
        "that",
        "max_errors",
        "min_available_memory_bytes",
        "temperature_below_celsius",
    ]
    .iter()
    .any(|part| found.is_broken(&format!("{field}.{part}")))
    {
        found.mark_broken(&field);
    }
    keys.finish(found);
    require
}

/// `[phase.then]`.
pub(super) fn then(mut keys: Keys<'_, '_>, found: &mut Findings) -> AfterPhase {
    let on_fail =
        keys.need("on_fail", "on_fail", found, |value| one_of(value, "way", &ON_FAIL), "\"repeat\"");
    let repeats = keys.read("repeat", "repeats", found, |value| {
        u32::try_from(whole(value)?).map_err(|_| Problem::new("the number is too large", "use less"))
    });
    let otherwise = keys.read("otherwise", "otherwise", found, |value| one_of(value, "way", &AT_LAST));
    keys.finish(found);
    let mut after = AfterPhase { repeats, ..AfterPhase::default() };
    after.set_on_fail(on_fail.unwrap_or_default());
    after.set_otherwise(otherwise.unwrap_or_default());
    after
}

/// `[wind_down]`.
pub(super) fn wind_down(mut keys: Keys<'_, '_>, found: &mut Findings) -> WindDown {
    let duration_ms = keys.need("duration", "duration_ms", found, duration, "\"10s\"").unwrap_or_default();
    keys.finish(found);
    WindDown { duration_ms }
}

/// One folder, or a list of them.
fn disks(field: &str, value: &Value<'_>, found: &mut Findings) -> Vec<DiskRoom> {
    each(value)
        .enumerate()
        .filter_map(|(index, value)| {
            let field = format!("{field}[{index}]");
            found.origin.set(field.clone(), Place::Span(value.span()));
            let DeValue::Table(table) = value.get_ref() else {
                let wanted = "a table, such as { path = \"/var/tmp\", free = \"10GiB\" }";
                let Problem { message, mend } = wrong_type(value.get_ref(), wanted);
                found.add(&field, value.span(), &message, &mend);
                return None;
            };
            let mut keys = Keys::new("room on a disk", &field, value.span(), table);
            let path = keys.need("path", "path", found, string, "\"/var/tmp\"").unwrap_or_default();
            let free_bytes = keys.need("free", "free_bytes", found, size, "\"10GiB\"").unwrap_or_default();
            keys.finish(found);
            Some(DiskRoom { path, free_bytes })
        })
        .collect()
}

/// One condition, or a list of them: each a text, or a table with labels beside it.
fn conditions(field: &str, value: &Value<'_>, found: &mut Findings) -> Vec<Threshold> {
    let read = |(index, value): (usize, &Value<'_>)| {
        let field = format!("{field}[{index}]");
        found.origin.set(field.clone(), Place::Span(value.span()));
        match value.get_ref() {
            DeValue::String(text) => condition(&field, value, text, found),
            DeValue::Table(table) => {
                let mut keys = Keys::new("a condition", &field, value.span(), table);
                let example = "\"host.cpu.runnable.mean < 4\"";
                let text = keys.need("that", "that", found, string, example);
                let place = keys.value("that", "that", found);
                let mut condition = match (text, place) {
                    (Some(text), Some(place)) => condition(&field, place, &text, found),
                    _ => {
                        found.mark_broken(&field);
                        Threshold::default()
                    }
                };
                condition.labels.extend(keys.read("labels", "labels", found, labels).unwrap_or_default());
                keys.finish(found);
                condition
            }
            other => {
                let wanted = "a condition in quotes, such as \"host.cpu.runnable.mean < 4\"";
                let Problem { message, mend } = wrong_type(other, wanted);
                found.add(&field, value.span(), &message, &mend);
                Threshold::default()
            }
        }
    };
    each(value).enumerate().map(read).collect()
}

fn condition(field: &str, value: &Value<'_>, text: &str, found: &mut Findings) -> Threshold {
    thresholds::parse(text).unwrap_or_else(|Wrong { part, message, mend }| {
        let span = value.span();
        let precise = found.origin.within(&span, text, &part);
        found.last_word_at(&span, precise, &message, &mend);
        found.mark_broken(field);
        Threshold::default()
    })
}

fn each<'a, 't>(value: &'a Value<'t>) -> impl Iterator<Item = &'a Value<'t>> {
    let (items, one): (&[Value<'t>], _) = match value.get_ref() {
        DeValue::Array(items) => (items, None),
        _ => (&[], Some(value)),
    };
    items.iter().chain(one)
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{DecisionAction, ThresholdComparison};

    use crate::scenario::Plan;

    const WHOLE: &str = "name = 'x'\n[wind_down]\nduration = '10s'\n[[phase]]\nname = 'idle'\nduration = '1s'\nbaseline = true\n\
        [[phase]]\nname = 'b'\nduration = '2s'\nramp = '1s'\n[phase.require]\nsensors = 'fresh'\nmemory = '2GiB'\n\
        disk = [{ path = '/var/tmp', free = '1GiB' }, { path = '/', free = 5 }]\ntemperature_below = 60\nerrors = 0\n\
        that = ['host.cpu.runnable.mean < 4', { that = 'host.disk.reads.mean within 20% of phase:idle', labels = { device = 'vd*' } }]\n\
        window = '2s'\nwait = '2m'\notherwise = 'wind-down'\n[phase.then]\non_fail = 'repeat'\nrepeat = 3\notherwise = 'skip'\n\
        [[phase.burner]]\nkind = 'cpu'\n[[phase]]\nname = 'c'\nduration = '1s'\n";

    #[test]
    fn decisions_are_read_and_shown_as_what_reads_back_the_same() {
        let plan = Plan::from_toml("x.toml", WHOLE).unwrap();
        let scenario = &plan.scenario;
        assert_eq!(scenario.wind_down.unwrap().duration_ms, 10_000);
        assert!(scenario.phases[0].baseline && !scenario.phases[1].baseline);
        assert_eq!(scenario.phases[1].ramp_ms, Some(1_000));
        let require = scenario.phases[1].require.as_ref().unwrap();
        assert!(require.fresh_sensors);
        assert_eq!((require.min_available_memory_bytes, require.max_errors), (Some(2 << 30), Some(0)));
        assert_eq!((require.temperature_below_celsius, require.window_ms), (Some(60.0), Some(2_000)));
        assert_eq!((require.wait_ms, require.otherwise()), (120_000, DecisionAction::WindDown));
        assert_eq!((&*require.disks[1].path, require.disks[1].free_bytes), ("/", 5));
        assert_eq!(require.that[1].comparison(), ThresholdComparison::Within);
        assert_eq!((&*require.that[1].reference, &*require.that[1].labels[0].value), ("phase:idle", "vd*"));
        let then = scenario.phases[1].after.unwrap();
        assert_eq!(
            (then.on_fail(), then.repeats, then.otherwise()),
            (DecisionAction::Repeat, Some(3), DecisionAction::Skip)
        );
        let again = Plan::from_toml("shown.toml", &plan.toml).unwrap();
        assert_eq!(again.scenario, plan.scenario, "{}", plan.toml);
    }
}
