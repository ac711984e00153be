//! What was decided between phases, and what would be, as tables.

use ssts_proto::{
    guards,
    v1::{Decision, DecisionAction, DecisionPoint, Phase, Requirement, Run, Scenario},
    validate::action_name,
};

use super::{Align, Table};
use crate::{json::point_name, text};

/// One line for each decision of a run.
pub(super) fn table(decisions: &[Decision]) -> Table {
    let mut table = Table::new(&[
        ("phase", Align::Left),
        ("when", Align::Left),
        ("time", Align::Right),
        ("decided", Align::Left),
        ("waited", Align::Right),
        ("why", Align::Left),
    ]);
    for decision in decisions {
        table.row([
            decision.phase.clone(),
            point_name(decision.point()).to_owned(),
            if decision.attempt > 1 { decision.attempt.to_string() } else { String::new() },
            action_name(decision.action()).unwrap_or_default().to_owned(),
            waited(decision),
            decision.reason.clone(),
        ]);
    }
    table
}

fn waited(decision: &Decision) -> String {
    match decision.waited_ns / 1_000_000 {
        0 => String::new(),
        ms => text::duration(ms),
    }
}

/// Why a phase of a run was left out, if it was.
pub(super) fn skipped(run: &Run, phase_index: u32) -> Option<&str> {
    let is_it = |decision: &&Decision| {
        decision.phase_index == phase_index
            && decision.point() == DecisionPoint::Before
            && decision.action() == DecisionAction::Skip
    };
    run.decisions.iter().find(is_it).map(|decision| decision.reason.as_str())
}

/// One line for each decision that a scenario would have taken, and for each ramp and baseline.
pub(super) fn planned(scenario: &Scenario) -> Table {
    let mut table = Table::new(&[
        ("phase", Align::Left),
        ("when", Align::Left),
        ("what has to hold", Align::Left),
        ("waits", Align::Right),
        ("otherwise", Align::Left),
    ]);
    let duration = |ms: u64| if ms > 0 { text::duration(ms) } else { String::new() };
    for phase in &scenario.phases {
        let row = |when: &str, what: String, waits: u64, otherwise: String| {
            [phase.name.clone(), when.to_owned(), what, duration(waits), otherwise]
        };
        if let Some(require) = &phase.require {
            let otherwise = action_name(require.otherwise()).unwrap_or("skip").to_owned();
            table.row(row("before", requirement_words(require).join(", "), require.wait_ms, otherwise));
        }
        if let Some(ms) = phase.ramp_ms {
            let what = format!("loads come from those of the phase before, in {}", text::duration(ms));
            table.row(row("ramp", what, 0, String::new()));
        }
        if phase.baseline {
            let what = "what is measured is kept to be compared with".to_owned();
            table.row(row("during", what, 0, String::new()));
        }
        if let Some(after) = &phase.after {
            let last = action_name(after.otherwise()).unwrap_or("continue");
            let otherwise = match (after.on_fail(), after.repeats) {
                (DecisionAction::Repeat, Some(times)) => {
                    format!("repeat, at most {times} times, then {last}")
                }
                (action, _) => action_name(action).unwrap_or_default().to_owned(),
            };
            table.row(row("after", failure_words(phase, scenario).join(", "), 0, otherwise));
        }
    }
    if let Some(wind_down) = scenario.wind_down {
        let what = format!("loads go down to nothing in {}", text::duration(wind_down.duration_ms));
        table.row([String::new(), "wind-down".into(), what]);
    }
    table
}

/// What has to hold before a phase, each condition in words.
pub(crate) fn requirement_words(require: &Requirement) -> Vec<String> {
    let mut words = Vec::new();
    if require.fresh_sensors {
        words.push("sensors fresh".to_owned());
    }
    let bytes = |bytes: u64| text::bytes(bytes as f64);
    words.extend(require.min_available_memory_bytes.map(|least| format!("{} of memory", bytes(least))));
    words
        .extend(require.disks.iter().map(|disk| format!("{} free at {}", bytes(disk.free_bytes), disk.path)));
    let celsius = require.temperature_below_celsius;
    words.extend(celsius.map(|celsius| format!("below {}", guards::words(celsius, "Cel"))));
    words.extend(require.max_errors.map(|most| format!("at most {most} errors")));
    words.extend(require.that.iter().map(|that| that.that.clone()));
    words
}

/// What has to come out of a phase for it not to fail.
pub(crate) fn failure_words(phase: &Phase, scenario: &Scenario) -> Vec<String> {
    let own = scenario.thresholds.iter().filter(|threshold| threshold.phase == phase.name);
    let mut words: Vec<String> = own.map(|threshold| threshold.that.clone()).collect();
    if !phase.burners.is_empty() {
        words.push("its burners did what was asked".to_owned());
    }
    words
}
