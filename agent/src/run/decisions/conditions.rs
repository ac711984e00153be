//! The conditions of a decision, each judged with what was measured and what it was compared with.

use std::{path::PathBuf, sync::mpsc, thread, time::Duration};

use nix::sys::statvfs::statvfs;
use ssts_proto::{
    guards,
    v1::{
        BurnerOutcome, BurnerResult, DiskRoom, JudgedCondition, Requirement, ThresholdOutcome,
        ThresholdResult,
    },
};

use super::asked::Seen;

/// How long a file system may take to say how much room it has: one of a server that is gone never does.
const DISK_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What a requirement asks for, by what was seen; `seen` is nothing where the tick did not answer. `errors`: since the start of
/// the run.
pub(in crate::run) fn before_phase(
    require: &Requirement,
    seen: Option<&Seen>,
    errors: u64,
) -> Vec<JudgedCondition> {
    let mut all = Vec::new();
    if require.fresh_sensors {
        all.push(sensors(seen));
    }
    if let Some(bound) = require.min_available_memory_bytes {
        let value = seen.and_then(|seen| seen.available_bytes);
        all.push(at_least("memory", value, bound as f64));
    }
    all.extend(require.disks.iter().map(disk));
    if let Some(bound) = require.temperature_below_celsius {
        all.push(temperature(seen, bound));
    }
    if let Some(bound) = require.max_errors {
        let reason = format!("{errors} errors since the start of the run, {bound} may be");
        all.push(JudgedCondition {
            what: "errors".into(),
            held: errors <= bound,
            value: Some(errors as f64),
            bound: Some(bound as f64),
            unit: "1".into(),
            reason,
        });
    }
    match seen {
        Some(seen) => all.extend(seen.conditions.iter().map(threshold)),
        None => all.extend(require.that.iter().map(|that| unread(&that.that))),
    }
    all
}

/// What is judged of a phase that has just come to its end: its thresholds, and whether its burners did what was asked.
pub(in crate::run) fn after_phase(
    thresholds: &[ThresholdResult],
    results: &[BurnerResult],
) -> Vec<JudgedCondition> {
    let burner = |result: &BurnerResult| {
        let held = result.outcome() == BurnerOutcome::Done;
        let outcome = result.outcome().as_str_name().trim_start_matches("BURNER_OUTCOME_").to_lowercase();
        let outcome = outcome.replace('_', " ");
        let reason = match result.outcome_reason.as_str() {
            "" => outcome,
            reason => format!("{outcome}: {reason}"),
        };
        JudgedCondition {
            what: format!("burner {} {}", result.burner_index, result.kind),
            held,
            reason,
            ..JudgedCondition::default()
        }
    };
    thresholds.iter().map(threshold).chain(results.iter().map(burner)).collect()
}

fn threshold(result: &ThresholdResult) -> JudgedCondition {
    let threshold = result.threshold.clone().unwrap_or_default();
    let held = result.outcome() == ThresholdOutcome::Pass;
    let measured = result.value.map(|value| format!("it is {}", guards::words(value, &result.unit)));
    // Of a comparison with another phase, what that was.
    let bound =
        if threshold.reference.is_empty() { Some(threshold.value) } else { threshold.reference_value };
    JudgedCondition {
        what: threshold.that,
        held,
        value: result.value,
        bound,
        unit: result.unit.clone(),
        reason: if result.reason.is_empty() { measured.unwrap_or_default() } else { result.reason.clone() },
    }
}

fn unread(what: &str) -> JudgedCondition {
    let reason = "nothing was read in time".to_owned();
    JudgedCondition { what: what.to_owned(), reason, ..JudgedCondition::default() }
}

fn at_least(what: &str, value: Option<f64>, bound: f64) -> JudgedCondition {
    let asked = guards::words(bound, "By");
    let reason = match value {
        Some(value) => format!("{} available, {asked} are needed", guards::words(value, "By")),
        None => format!("nothing was read of it, {asked} are needed"),
    };
    JudgedCondition {
        what: what.to_owned(),
        held: value.is_some_and(|value| value >= bound),
        value,
        bound: Some(bound),
        unit: "By".into(),
        reason,
    }
}

fn sensors(seen: Option<&Seen>) -> JudgedCondition {
    let Some(seen) = seen else { return unread("sensors") };
    let all = seen.sensors.len();
    let stale: Vec<&str> =
        seen.sensors.iter().filter(|(_, read)| read.is_none()).map(|(name, _)| name.as_str()).collect();
    let reason = match stale[..] {
        _ if all == 0 => "the host has no temperature sensor".to_owned(),
        [] => format!("all {all} were read in time"),
        [first, ..] => format!("{} of {all} were not read in time, such as {first}", stale.len()),
    };
    JudgedCondition {
        what: "sensors".into(),
        held: all > 0 && stale.is_empty(),
        value: Some((all - stale.len()) as f64),
        bound: Some(all as f64),
        unit: "1".into(),
        reason,
    }
}

fn temperature(seen: Option<&Seen>, bound: f64) -> JudgedCondition {
    let read = seen.iter().flat_map(|seen| &seen.sensors);
    let hottest = read
        .filter_map(|(name, read)| Some((name, (*read)?)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other));
    let reason = match hottest {
        Some((name, celsius)) => format!("{name} is at {celsius:.1} °C, below {bound} °C are needed"),
        None => "no temperature sensor was read in time".to_owned(),
    };
    JudgedCondition {
        what: "temperature".into(),
        held: hottest.is_some_and(|(_, celsius)| celsius < bound),
        value: hottest.map(|(_, celsius)| celsius),
        bound: Some(bound),
        unit: "Cel".into(),
        reason,
    }
}

fn disk(asked: &DiskRoom) -> JudgedCondition {
    let what = format!("disk {}", asked.path);
    match free_bytes(PathBuf::from(&asked.path)) {
        Ok(free_bytes) => at_least(&what, Some(free_bytes as f64), asked.free_bytes as f64),
        Err(reason) => JudgedCondition {
            what,
            bound: Some(asked.free_bytes as f64),
            unit: "By".into(),
            reason,
            ..JudgedCondition::default()
        },
    }
}

/// For whoever has no rights. Asked on a thread that can be left behind.
fn free_bytes(path: PathBuf) -> Result<u64, String> {
    let (answer, answered) = mpsc::channel();
    let ask = move || {
        // Nobody listens any more where it took too long.
        let _ = answer.send(statvfs(&path));
    };
    thread::Builder::new().name("room".into()).spawn(ask).map_err(|error| error.to_string())?;
    match answered.recv_timeout(DISK_ANSWERS_WITHIN) {
        Ok(Ok(found)) => Ok(found.blocks_available().saturating_mul(found.fragment_size())),
        Ok(Err(errno)) => Err(errno.desc().to_owned()),
        Err(_) => Err("the file system does not answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(celsius: &[Option<f64>]) -> Seen {
        let sensors = celsius.iter().enumerate().map(|(n, read)| (format!("s{n}"), *read)).collect();
        Seen { available_bytes: Some(100.0), sensors, conditions: Vec::new() }
    }

    fn judged(require: &Requirement, seen: &Seen, errors: u64) -> (bool, String) {
        let all = before_phase(require, Some(seen), errors);
        let [only] = &all[..] else { panic!("{all:?}") };
        (only.held, only.reason.clone())
    }

    #[test]
    fn each_condition_holds_up_to_its_bound_and_tells_both() {
        let memory =
            |bytes| Requirement { min_available_memory_bytes: Some(bytes), ..Requirement::default() };
        assert!(judged(&memory(100), &seen(&[]), 0).0);
        let (held, reason) = judged(&memory(101), &seen(&[]), 0);
        assert!(!held && reason.contains("available") && reason.contains("needed"), "{reason}");
        let errors = Requirement { max_errors: Some(1), ..Requirement::default() };
        assert_eq!([0, 1, 2].map(|count| judged(&errors, &seen(&[]), count).0), [true, true, false]);
        let cool = Requirement { temperature_below_celsius: Some(60.0), ..Requirement::default() };
        for (read, holds) in [
            (&[Some(59.9)][..], true),
            (&[Some(60.0)], false),
            (&[Some(20.0), Some(61.0)], false),
            (&[Some(20.0), None], true),
            (&[None], false),
            (&[], false),
        ] {
            assert_eq!(judged(&cool, &seen(read), 0).0, holds, "{read:?}");
        }
        let fresh = Requirement { fresh_sensors: true, ..Requirement::default() };
        for (read, holds) in [(&[Some(1.0)][..], true), (&[Some(1.0), None], false), (&[], false)] {
            assert_eq!(judged(&fresh, &seen(read), 0).0, holds, "{read:?}");
        }
    }

    #[test]
    fn room_is_that_of_the_file_system_and_what_is_not_there_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let room = |path: &str, free_bytes| Requirement {
            disks: vec![DiskRoom { path: path.into(), free_bytes }],
            ..Requirement::default()
        };
        assert!(judged(&room(&path, 1), &Seen::default(), 0).0);
        assert!(!judged(&room(&path, u64::MAX), &Seen::default(), 0).0);
        let (held, reason) = judged(&room("/no/such/folder", 1), &Seen::default(), 0);
        assert!(!held && reason.contains("No such file"), "{reason}");
    }

    #[test]
    fn where_the_tick_does_not_answer_nothing_of_its_holds() {
        let require = Requirement {
            fresh_sensors: true,
            min_available_memory_bytes: Some(1),
            temperature_below_celsius: Some(90.0),
            that: vec![ssts_proto::thresholds::parse("host.memory.free.min > 1").unwrap()],
            ..Requirement::default()
        };
        let all = before_phase(&require, None, 0);
        assert!(all.len() == 4 && all.iter().all(|one| !one.held && !one.reason.is_empty()), "{all:?}");
    }

    #[test]
    fn a_phase_fails_with_a_threshold_or_a_burner() {
        let burner =
            |outcome: BurnerOutcome| BurnerResult { outcome: outcome.into(), ..BurnerResult::default() };
        let threshold = |outcome: ThresholdOutcome| ThresholdResult {
            outcome: outcome.into(),
            ..ThresholdResult::default()
        };
        let (pass, inconclusive) = (ThresholdOutcome::Pass, ThresholdOutcome::Inconclusive);
        for (outcome, ended, holds) in [
            (pass, BurnerOutcome::Done, true),
            (pass, BurnerOutcome::Missed, false),
            (inconclusive, BurnerOutcome::Done, false),
        ] {
            let all = after_phase(&[threshold(outcome)], &[burner(ended)]);
            assert_eq!(all.iter().all(|one| one.held), holds, "{all:?}");
        }
    }
}
