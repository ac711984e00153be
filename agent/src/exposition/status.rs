//! Families that no frame carries: the agent, its runs, its limits.

use std::sync::atomic::{AtomicU64, Ordering};

use ssts_proto::{
    names::agent,
    v1::{RunState, RunSummary},
};

use super::{
    Shared,
    accept::Format,
    gathered::{Gathered, Series, Value},
    ledger::Ledger,
    tally::{Counted, VERDICTS},
};
use crate::guard::{Bounds, GUARDS};

const STATES: [(&str, Option<RunState>); 5] = [
    ("idle", None),
    ("pending", Some(RunState::Pending)),
    ("running", Some(RunState::Running)),
    ("paused", Some(RunState::Paused)),
    ("stopping", Some(RunState::Stopping)),
];

pub(super) fn add<'a>(shared: &Shared, ledger: &Ledger, gathered: &mut Gathered<'a>) {
    let exposed = &shared.exposed;
    gathered.add(&agent::BUILD, vec![Series::labelled(env!("CARGO_PKG_VERSION"), 1.0)]);
    let runs = exposed.engine.on();
    let summaries: Vec<RunSummary> = runs.iter().map(|run| run.summary()).collect();
    let info = summaries.iter().map(|summary| Series {
        labels: vec![summary.run_id.clone().into(), summary.scenario.clone().into()],
        value: Value::Number(1.0),
    });
    gathered.add(&agent::RUN, info.collect());
    let states = STATES.map(|(name, state)| {
        let count = match state {
            None => usize::from(summaries.is_empty()),
            Some(state) => summaries.iter().filter(|summary| summary.state() == state).count(),
        };
        Series::labelled(name, count as f64)
    });
    gathered.add(&agent::RUN_STATE, states.into());
    if let Some(phase) = summaries.last().and_then(|summary| summary.phase_index) {
        gathered.add_one(&agent::RUN_PHASE, f64::from(phase));
    }
    tally(&exposed.tally.counted(), gathered);
    gathered.add_one(&agent::HALTED, f64::from(u8::from(exposed.engine.halt_state().is_some())));
    let bounds: Vec<_> = runs.iter().map(|run| run.admitted.bounds).collect();
    limits(&exposed.engine.bounds(), &bounds, gathered);
    gathered.add_one(&agent::FRAMES, ledger.frames() as f64);
    gathered.add_one(&agent::RECORD_LOST_FRAMES, exposed.recording.lost_frames() as f64);
    let (bytes, reach) = exposed.flight.extent();
    gathered.add_one(&agent::FLIGHT_BYTES, bytes as f64);
    gathered.add_one(&agent::FLIGHT_REACH, reach.as_secs_f64());
    let answers = Format::ALL.map(|format| {
        let answers = shared.answers[format as usize].load(Ordering::Relaxed);
        Series::labelled(format.name(), answers as f64)
    });
    gathered.add(&agent::SCRAPES, answers.into());
    if let Some([well, badly]) = &shared.pushes {
        let count =
            |outcome, count: &AtomicU64| Series::labelled(outcome, count.load(Ordering::Relaxed) as f64);
        gathered.add(&agent::PUSHES, vec![count("ok", well), count("failed", badly)]);
    }
    let encode_ns = shared.encode_ns.load(Ordering::Relaxed);
    if encode_ns > 0 {
        gathered.add_one(&agent::ENCODE_TIME, encode_ns as f64 / 1e9);
    }
    gathered.add_one(&agent::LOST_FRAMES, ledger.lost_frames as f64);
}

fn tally(counted: &Counted, gathered: &mut Gathered<'_>) {
    gathered.add_one(&agent::RUNS_STARTED, counted.started as f64);
    let count = |count: Option<&u64>| count.copied().unwrap_or_default() as f64;
    let finished = VERDICTS.map(|verdict| Series::labelled(verdict, count(counted.finished.get(verdict))));
    gathered.add(&agent::RUNS_FINISHED, finished.into());
    let trips = GUARDS.map(|guard| Series::labelled(guard, count(counted.trips.get(guard))));
    gathered.add(&agent::GUARD_TRIPS, trips.into());
}

/// Of the runs, the tightest.
fn limits(host: &Bounds, runs: &[Bounds], gathered: &mut Gathered<'_>) {
    type Pick = fn(f64, f64) -> f64;
    let of = |value: fn(&Bounds) -> f64, tighter: Pick| -> Vec<Series<'static>> {
        let run = runs.iter().map(value).reduce(tighter).map(|value| Series::labelled("run", value));
        [Some(Series::labelled("host", value(host))), run].into_iter().flatten().collect()
    };
    gathered.add(&agent::LIMIT_DURATION, of(|bounds| bounds.max_duration.as_secs_f64(), f64::min));
    gathered.add(&agent::LIMIT_MEMORY, of(|bounds| bounds.min_available_memory_bytes as f64, f64::max));
    gathered.add(&agent::LIMIT_TEMPERATURE, of(|bounds| bounds.max_temperature_celsius, f64::min));
}
