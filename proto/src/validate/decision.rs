//! The bounds of what is decided between phases, on any host.

use super::{Violations, known, threshold};
use crate::{
    thresholds,
    v1::{
        AfterPhase, DecisionAction, DiskRoom, Phase, Requirement, Scenario, Threshold, ThresholdComparison,
    },
};

/// Over which the conditions of a requirement are judged, where nothing is said.
pub const DEFAULT_WINDOW_MS: u64 = 3_000;
/// The longest that a requirement may be waited for.
pub const MAX_WAIT_MS: u64 = 24 * 3_600 * 1_000;
/// Repetitions of a phase that can be asked for.
pub const MAX_REPEATS: u32 = 100;
const WINDOW_MS: std::ops::RangeInclusive<u64> = 100..=3_600_000;
/// Of each list of a requirement.
const MAX_DISKS: usize = 16;
const MAX_CONDITIONS: usize = 32;
/// The longest that a run is wound down.
const MAX_WIND_DOWN_MS: u64 = 3_600_000;
/// Of a reference: more is no comparison.
const MAX_SHARE: f64 = 10.0;

/// Every bound that a scenario's decisions break.
pub(super) fn all(scenario: &Scenario, found: &mut Violations) {
    if let Some(wind_down) = &scenario.wind_down
        && !(1..=MAX_WIND_DOWN_MS).contains(&wind_down.duration_ms)
    {
        let message = format!("a duration of {} ms", wind_down.duration_ms);
        found.add("wind_down.duration_ms", message, "use 1 ms to an hour");
    }
    for (index, phase) in scenario.phases.iter().enumerate() {
        let field = format!("phases[{index}]");
        if let Some(require) = &phase.require {
            requirement(&format!("{field}.require"), require, index, scenario, found);
        }
        if let Some(after) = &phase.after {
            after_phase(&format!("{field}.after"), after, phase, scenario, found);
        }
        let at = || format!("{field}.ramp_ms");
        match phase.ramp_ms {
            Some(0) => found.add(at(), "a ramp of 0", "use at least 1 ms, or leave it out"),
            Some(ms) if ms > phase.duration_ms => {
                let message = format!("a ramp of {ms} ms in a phase of {} ms", phase.duration_ms);
                found.add(at(), message, "use at most the phase's duration");
            }
            _ => {}
        }
    }
}

fn requirement(
    field: &str,
    require: &Requirement,
    index: usize,
    scenario: &Scenario,
    found: &mut Violations,
) {
    let at = |part: &str| format!("{field}.{part}");
    let Requirement { fresh_sensors, min_available_memory_bytes, disks, that, .. } = require;
    let is_empty = !fresh_sensors
        && min_available_memory_bytes.is_none()
        && disks.is_empty()
        && require.temperature_below_celsius.is_none()
        && require.max_errors.is_none()
        && that.is_empty();
    if is_empty {
        found.add(field, "nothing is required", "add a condition, such as errors = 0");
    }
    if *min_available_memory_bytes == Some(0) {
        found.add(at("min_available_memory_bytes"), "0 bytes", "use more, or leave it out");
    }
    if disks.len() > MAX_DISKS {
        found.add(at("disks"), format!("{} folders", disks.len()), format!("use at most {MAX_DISKS}"));
    }
    for (of_disk, disk) in disks.iter().enumerate().take(MAX_DISKS) {
        room(&format!("{field}.disks[{of_disk}]"), disk, found);
    }
    if let Some(celsius) = require.temperature_below_celsius
        && !(1.0..=150.0).contains(&celsius)
    {
        let message = format!("a temperature of {celsius} °C");
        found.add(at("temperature_below_celsius"), message, "use 1 to 150 °C");
    }
    if that.len() > MAX_CONDITIONS {
        found.add(at("that"), format!("{} conditions", that.len()), format!("use at most {MAX_CONDITIONS}"));
    }
    for (of_condition, one) in that.iter().enumerate().take(MAX_CONDITIONS) {
        let field = format!("{field}.that[{of_condition}]");
        threshold::threshold(&field, one, found);
        reference(&field, one, Some(index), scenario, found);
        if one.metric.starts_with("burner.") {
            let message = "nothing burns before a phase, so this could not be judged";
            found.add(&field, message, "name a metric of the host");
        }
    }
    if let Some(window_ms) = require.window_ms.filter(|ms| !WINDOW_MS.contains(ms)) {
        found.add(at("window_ms"), format!("a window of {window_ms} ms"), "use 100 ms to an hour");
    }
    if require.wait_ms > MAX_WAIT_MS {
        found.add(at("wait_ms"), format!("a wait of {} ms", require.wait_ms), "use at most a day");
    }
    use DecisionAction::{Fail, Skip, Unspecified, WindDown};
    one_of(&at("otherwise"), require.otherwise, &[Unspecified, Skip, WindDown, Fail], found);
}

fn room(field: &str, disk: &DiskRoom, found: &mut Violations) {
    if !disk.path.starts_with('/') || disk.path.contains('\0') || disk.path.len() > 4_096 {
        let shown: String = disk.path.chars().take(80).collect();
        found.add(format!("{field}.path"), format!("'{shown}'"), "use an absolute path");
    }
    if disk.free_bytes == 0 {
        found.add(format!("{field}.free_bytes"), "0 bytes", "use more, or leave it out");
    }
}

fn after_phase(field: &str, after: &AfterPhase, phase: &Phase, scenario: &Scenario, found: &mut Violations) {
    use DecisionAction::{Continue, Repeat, Skip, Unspecified, WindDown};
    let at = |part: &str| format!("{field}.{part}");
    one_of(&at("on_fail"), after.on_fail, &[Continue, Repeat, Skip, WindDown], found);
    one_of(&at("otherwise"), after.otherwise, &[Unspecified, Continue, Skip, WindDown], found);
    let repeats = after.on_fail() == Repeat;
    match after.repeats {
        None if repeats => {
            found.add(at("repeats"), "the phase is repeated, but not how often", "say how often, such as 3");
        }
        Some(_) if !repeats => {
            found.add(at("repeats"), "nothing is repeated", "use on_fail = \"repeat\", or leave it out");
        }
        Some(repeats) if !(1..=MAX_REPEATS).contains(&repeats) => {
            let message = format!("{repeats} repetitions");
            found.add(at("repeats"), message, format!("use 1 to {MAX_REPEATS}"));
        }
        _ => {}
    }
    if !repeats && after.otherwise() != Unspecified {
        let mend = "use on_fail = \"repeat\", or leave it out";
        found.add(at("otherwise"), "it is what follows the last repetition, and nothing is repeated", mend);
    }
    let is_last = scenario.phases.last().is_some_and(|last| last.name == phase.name);
    for (part, action) in [("on_fail", after.on_fail()), ("otherwise", after.otherwise())] {
        if is_last && action == Skip {
            found.add(at(part), "no phase follows that could be skipped", "use another one");
        }
    }
    let is_judged = scenario.thresholds.iter().any(|threshold| threshold.phase == phase.name);
    if phase.burners.is_empty() && !is_judged {
        let message = "the phase has no burner and no threshold, so it can't fail";
        found.add(field, message, "give it a threshold, or leave this out");
    }
}

fn one_of(field: &str, value: i32, allowed: &[DecisionAction], found: &mut Violations) {
    let Ok(action) = DecisionAction::try_from(value) else {
        return known::<DecisionAction>(field, value, found);
    };
    if !allowed.contains(&action) {
        let names: Vec<_> = allowed.iter().filter_map(|action| action_name(*action)).collect();
        let message = match action_name(action) {
            Some(name) => format!("{name} can't be done here"),
            None => "what is to be done is not said".to_owned(),
        };
        found.add(field, message, format!("use {}", names.join(", ")));
    }
}

/// As it is written in scenarios and results; nothing where nothing is said.
pub fn action_name(action: DecisionAction) -> Option<&'static str> {
    Some(match action {
        DecisionAction::Unspecified => return None,
        DecisionAction::Begin => "begin",
        DecisionAction::Continue => "continue",
        DecisionAction::Repeat => "repeat",
        DecisionAction::Skip => "skip",
        DecisionAction::WindDown => "wind-down",
        DecisionAction::Fail => "fail",
    })
}

/// What a threshold of phase number `of` compares with has to be known by then.
pub(super) fn reference(
    field: &str,
    threshold: &Threshold,
    of: Option<usize>,
    scenario: &Scenario,
    found: &mut Violations,
) {
    if threshold.comparison() != ThresholdComparison::Within {
        if !threshold.reference.is_empty() {
            found.add(field, "a reference without a comparison with it", "leave one of them out");
        }
        return;
    }
    if !(threshold.value > 0.0 && threshold.value <= MAX_SHARE) {
        let message = format!("within {} % of it", threshold.value * 100.0);
        found.add(field, message, "use more than 0 %, and at most 1000 %");
    }
    let Some(name) = thresholds::reference_phase(&threshold.reference) else {
        let shown: String = threshold.reference.chars().take(80).collect();
        let message = format!("'{shown}' is nothing that can be compared with");
        return found.add(field, message, "name an earlier phase: phase:NAME");
    };
    let shown: String = name.chars().take(80).collect();
    let Some(place) = scenario.phases.iter().position(|phase| phase.name == name) else {
        return found.add(field, format!("there is no phase '{shown}'"), "name an earlier phase");
    };
    let Some(of) = of else {
        let message = "the whole run can't be compared with a part of itself";
        return found.add(field, message, "make it a threshold of a phase");
    };
    if place >= of {
        let message = format!("phase {shown} is not over by then");
        return found.add(field, message, "name an earlier phase");
    }
    if !scenario.phases[place].baseline {
        found.add(field, format!("phase {shown} is no baseline"), "write baseline = true in that phase");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Burner, CpuBurner, WindDown as Down, burner::Kind};

    fn scenario(change: impl FnOnce(&mut Scenario)) -> Vec<(String, String)> {
        let cpu = Burner { kind: Some(Kind::Cpu(CpuBurner::default())) };
        let phase = |name: &str| Phase {
            name: name.into(),
            duration_ms: 1_000,
            burners: vec![cpu.clone()],
            ..Phase::default()
        };
        let mut scenario =
            Scenario { name: "x".into(), phases: vec![phase("a"), phase("b")], ..Scenario::default() };
        change(&mut scenario);
        let mut found = Violations::default();
        super::super::scenario(&scenario, &mut found);
        let found = found.into_vec();
        assert!(found.iter().all(|one| !one.mend.is_empty()), "{found:?}");
        found.into_iter().map(|one| (one.field, one.message)).collect()
    }

    fn required(change: impl FnOnce(&mut Requirement)) -> Vec<(String, String)> {
        scenario(|scenario| {
            let mut require = Requirement::default();
            change(&mut require);
            scenario.phases[1].require = Some(require);
        })
    }

    fn after(phase: usize, change: impl FnOnce(&mut AfterPhase)) -> Vec<(String, String)> {
        scenario(|scenario| {
            let mut after = AfterPhase { on_fail: DecisionAction::Continue.into(), ..AfterPhase::default() };
            change(&mut after);
            scenario.phases[phase].after = Some(after);
        })
    }

    #[test]
    fn what_can_be_decided_is_taken() {
        assert_eq!(required(|require| require.max_errors = Some(0)), []);
        let all = |require: &mut Requirement| {
            require.fresh_sensors = true;
            require.min_available_memory_bytes = Some(1);
            require.disks = vec![DiskRoom { path: "/".into(), free_bytes: 1 }];
            require.temperature_below_celsius = Some(60.0);
            require.that = vec![thresholds::parse("host.cpu.runnable.mean < 3").unwrap()];
            require.window_ms = Some(100);
            require.wait_ms = MAX_WAIT_MS;
            require.set_otherwise(DecisionAction::Fail);
        };
        assert_eq!(required(all), []);
        let repeat = |after: &mut AfterPhase| {
            after.set_on_fail(DecisionAction::Repeat);
            after.repeats = Some(MAX_REPEATS);
            after.set_otherwise(DecisionAction::Skip);
        };
        assert_eq!(after(0, repeat), []);
        assert_eq!(after(1, |after| after.set_on_fail(DecisionAction::WindDown)), []);
    }

    #[test]
    fn what_can_not_be_decided_is_refused_at_its_place() {
        let that = |text: &str| thresholds::parse(text).unwrap();
        use DecisionAction::{Begin, Repeat, Skip, Unspecified};
        type Asked = fn(&mut Requirement);
        let cases: [(&str, Asked); 9] = [
            ("require", |_| {}),
            ("require.min_available_memory_bytes", |one| one.min_available_memory_bytes = Some(0)),
            ("require.disks[0].path", |one| {
                one.disks = vec![DiskRoom { path: "tmp".into(), free_bytes: 1 }];
            }),
            ("require.disks[0].free_bytes", |one| {
                one.disks = vec![DiskRoom { path: "/".into(), free_bytes: 0 }];
            }),
            ("require.temperature_below_celsius", |one| one.temperature_below_celsius = Some(f64::NAN)),
            ("require.window_ms", |one| (one.max_errors, one.window_ms) = (Some(0), Some(99))),
            ("require.wait_ms", |one| (one.max_errors, one.wait_ms) = (Some(0), u64::MAX)),
            ("require.otherwise", |one| (one.max_errors, one.otherwise) = (Some(0), Repeat.into())),
            ("require.otherwise", |one| (one.max_errors, one.otherwise) = (Some(0), 99)),
        ];
        for (field, change) in cases {
            let found = required(change);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].0, format!("phases[1].{field}"));
        }
        let burning = required(|one| one.that = vec![that("cpu.operations.mean > 3")]);
        assert!(burning[0].1.contains("nothing burns"), "{burning:?}");
        for (phase, field, on_fail, repeats, otherwise) in [
            (0, "on_fail", Unspecified, None, Unspecified),
            (0, "on_fail", Begin, None, Unspecified),
            (0, "repeats", Repeat, None, Unspecified),
            (0, "repeats", Repeat, Some(0), Unspecified),
            (0, "repeats", Repeat, Some(MAX_REPEATS + 1), Unspecified),
            (0, "repeats", Skip, Some(1), Unspecified),
            (0, "otherwise", Skip, None, Skip),
            (0, "otherwise", Repeat, Some(1), Begin),
            (1, "on_fail", Skip, None, Unspecified),
            (1, "otherwise", Repeat, Some(1), Skip),
        ] {
            let found = after(phase, |one| {
                one.set_on_fail(on_fail);
                one.repeats = repeats;
                one.set_otherwise(otherwise);
            });
            assert_eq!(found.len(), 1, "{field}: {found:?}");
            assert_eq!(found[0].0, format!("phases[{phase}].after.{field}"));
        }
        let found = scenario(|scenario| {
            scenario.wind_down = Some(Down { duration_ms: 0 });
            scenario.phases[0].ramp_ms = Some(1_001);
            scenario.phases[1].ramp_ms = Some(0);
        });
        let fields: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["wind_down.duration_ms", "phases[0].ramp_ms", "phases[1].ramp_ms"]);
    }

    #[test]
    fn a_phase_that_is_compared_with_is_an_earlier_baseline() {
        let told = |phase: &str, text: &str, baseline: bool| {
            let found = scenario(|scenario| {
                scenario.phases[0].baseline = baseline;
                let phase = phase.to_owned();
                scenario.thresholds = vec![Threshold { phase, ..thresholds::parse(text).unwrap() }];
            });
            found.into_iter().map(|(field, message)| format!("{field}: {message}")).collect::<String>()
        };
        let text = "cpu.operations.mean within 20% of phase:a";
        assert_eq!(told("b", text, true), "");
        for (phase, text, baseline, words) in [
            ("b", text, false, "phase a is no baseline"),
            ("a", text, true, "not over by then"),
            ("", text, true, "the whole run"),
            ("b", "cpu.operations.mean within 20% of phase:c", true, "no phase 'c'"),
            ("b", "cpu.operations.mean within 2000% of phase:a", true, "within 2000 %"),
        ] {
            let told = told(phase, text, baseline);
            assert!(told.starts_with("thresholds[0].that") && told.contains(words), "{told}");
        }
    }
}
