//! The waves of a run over a fleet and what came of the fleet's thresholds, as tables.

use ssts_proto::thresholds::outcome_name;

use super::{Align, Table};
use crate::fleet::{Course, FleetJudged, Gate};

/// One line for each wave; nothing where there is one, and it was not cut short.
pub(crate) fn waves_table(course: &Course) -> Table {
    let mut table = Table::new(&[
        ("wave", Align::Right),
        ("asked", Align::Left),
        ("hosts", Align::Left),
        ("passed", Align::Right),
        ("failed", Align::Right),
        ("gate", Align::Left),
    ]);
    let is_cut_short = |gate: &Gate| gate.is_cut_short;
    if course.stages.len() < 2
        && !course.stages.iter().filter_map(|stage| stage.gate.as_ref()).any(is_cut_short)
    {
        return table;
    }
    for (index, stage) in course.stages.iter().enumerate() {
        let tally = stage.gate.as_ref().map(|gate| gate.tally);
        let gate = match (&stage.gate, stage.asked_at_unix_ns) {
            (Some(gate), _) if gate.is_open() => "open".to_owned(),
            (Some(Gate { reasons, is_cut_short: true, .. }), _) => {
                format!("cut short: {}", reasons.join("; "))
            }
            (Some(Gate { reasons, .. }), _) => format!("shut: {}", reasons.join("; ")),
            (None, Some(_)) => "nobody waited for its end".to_owned(),
            (None, None) => "not started".to_owned(),
        };
        table.row([
            (index + 1).to_string(),
            stage.wave.asked_words(),
            stage.names(),
            tally.map(|tally| tally.passed.to_string()).unwrap_or_default(),
            tally.map(|tally| tally.failed().to_string()).unwrap_or_default(),
            gate,
        ]);
    }
    table
}

/// One line for each.
pub(crate) fn fleet_thresholds_table(judged: &[FleetJudged]) -> Table {
    let mut table = Table::new(&[
        ("threshold of the fleet", Align::Left),
        ("hosts", Align::Right),
        ("value", Align::Right),
        ("outcome", Align::Left),
        ("", Align::Left),
    ]);
    for one in judged {
        table.row([
            one.that.clone(),
            one.hosts.to_string(),
            one.value_words(),
            outcome_name(one.outcome).to_owned(),
            one.reason.clone(),
        ]);
    }
    table
}
