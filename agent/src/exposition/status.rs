//! Families that no frame carries: the agent, its run, its limits.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ssts_proto::{
    names::agent,
    v1::{GuardState, RunState, RunSummary},
};

use super::{
    Shared,
    accept::Format,
    gathered::{Gathered, Series, Value},
    ledger::Ledger,
    tally::{Counted, VERDICTS},
};
use crate::{
    guard::{Bounds, GuardSpec, Standing, shipped::MAX_DURATION},
    run::{Engine, HaltWay},
};

const GUARD_STATES: [(&str, GuardState); 4] = [
    ("unguarded", GuardState::Unguarded),
    ("clear", GuardState::Clear),
    ("pending", GuardState::Pending),
    ("tripped", GuardState::Tripped),
];

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
    let run = exposed.engine.current();
    let summary = run.as_ref().map(|run| run.summary());
    let info = summary.iter().map(|summary| Series {
        labels: vec![summary.run_id.clone().into(), summary.scenario.clone().into()],
        value: Value::Number(1.0),
    });
    gathered.add(&agent::RUN, info.collect());
    let now = summary.as_ref().map(RunSummary::state);
    let states = STATES.map(|(name, state)| Series::labelled(name, f64::from(u8::from(state == now))));
    gathered.add(&agent::RUN_STATE, states.into());
    if let Some(phase) = summary.and_then(|summary| summary.phase_index) {
        gathered.add_one(&agent::RUN_PHASE, f64::from(phase));
    }
    let standings = exposed.engine.guard_standings();
    guards(&standings, gathered);
    tally(&exposed.tally.counted(), &standings, gathered);
    gathered.add_one(&agent::HALTED, f64::from(u8::from(exposed.engine.halt_state().is_some())));
    halts(&exposed.engine, gathered);
    limits(&exposed.engine.bounds(), run.as_ref().map(|run| &run.admitted.bounds), gathered);
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

fn halts(engine: &Engine, gathered: &mut Gathered<'_>) {
    let (counts, quiet_after) = engine.halts();
    let by_way = HaltWay::ALL.into_iter().zip(counts);
    let by_way = by_way.map(|(way, count)| Series::labelled(way.name(), count as f64));
    gathered.add(&agent::HALTS, by_way.collect());
    if let Some(after) = quiet_after {
        gathered.add_one(&agent::HALT_QUIET, after.as_secs_f64());
    }
    gathered.add_one(&agent::UNCLEAN_RUNS, engine.unclean().len() as f64);
}

type Guards = [(Arc<GuardSpec>, Standing)];

/// Of the host alone: what runs bring would be names without end.
fn guards(guards: &Guards, gathered: &mut Gathered<'_>) {
    let name = |spec: &GuardSpec| Cow::Owned(spec.name().to_owned());
    let trips = guards.iter().map(|(spec, standing)| Series {
        labels: vec![name(spec)],
        value: Value::Number(standing.trips as f64),
    });
    gathered.add(&agent::GUARD_TRIPS, trips.collect());
    let states = guards.iter().flat_map(|(spec, standing)| {
        GUARD_STATES.map(|(state, value)| Series {
            labels: vec![name(spec), state.into()],
            value: Value::Number(f64::from(u8::from(standing.state == value))),
        })
    });
    gathered.add(&agent::GUARD_STATE, states.collect());
    let headroom = guards.iter().filter_map(|(spec, standing)| {
        let labels = vec![name(spec), Cow::Owned(spec.unit.clone())];
        Some(Series { labels, value: Value::Number(standing.headroom?) })
    });
    gathered.add(&agent::GUARD_HEADROOM, headroom.collect());
}

fn tally(counted: &Counted, guards: &Guards, gathered: &mut Gathered<'_>) {
    gathered.add_one(&agent::RUNS_STARTED, counted.started as f64);
    let count = |count: Option<&u64>| count.copied().unwrap_or_default() as f64;
    let finished = VERDICTS.map(|verdict| Series::labelled(verdict, count(counted.finished.get(verdict))));
    gathered.add(&agent::RUNS_FINISHED, finished.into());
    let names: Vec<_> = guards.iter().map(|(spec, _)| spec.name()).chain([MAX_DURATION]).collect();
    let requested: u64 = counted
        .trips
        .iter()
        .filter(|(name, _)| !names.contains(&name.as_str()))
        .map(|(_, count)| count)
        .sum();
    let mut told: Vec<_> = names
        .iter()
        .map(|name| Series::labelled((*name).to_owned(), count(counted.trips.get(*name))))
        .collect();
    told.push(Series::labelled("requested", requested as f64));
    gathered.add(&agent::RUNS_GUARDED, told);
}

fn limits(host: &Bounds, run: Option<&Bounds>, gathered: &mut Gathered<'_>) {
    let of = |value: fn(&Bounds) -> f64| -> Vec<Series<'static>> {
        let run = run.map(|bounds| Series::labelled("run", value(bounds)));
        [Some(Series::labelled("host", value(host))), run].into_iter().flatten().collect()
    };
    gathered.add(&agent::LIMIT_DURATION, of(|bounds| bounds.max_duration.as_secs_f64()));
    gathered.add(&agent::LIMIT_MEMORY, of(|bounds| bounds.min_available_memory_bytes as f64));
    gathered.add(&agent::LIMIT_TEMPERATURE, of(|bounds| bounds.max_temperature_celsius));
}
