//! Families that no frame carries: what the agent is, what it does, and what `/metrics` itself costs.

use std::borrow::Cow;

use super::family::{Family, FamilyKind, Merge};

macro_rules! own {
    ($($id:ident = $name:literal, $unit:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = concat!("`", $name, "`: ", $help)]
        pub static $id: Family = Family {
            name: Cow::Borrowed($name),
            unit: $unit,
            kind: FamilyKind::$kind,
            labels: Cow::Borrowed(&[$($label),*]),
            help: $help,
            divisor: 1.0,
            merge: Merge::None,
        };)*

        /// All of them, in the order of this file.
        pub static ALL: &[&Family] = &[$(&$id),*];
    };
}

own! {
    BUILD = "ssts_build", "", Info, ["version"], "Which sstsd answers.";
    RUN = "ssts_run", "", Info, ["run_id", "scenario"], "The run that is on; no series while none is.";
    RUN_STATE = "ssts_run_state", "", Gauge, ["state"],
        "1 for the state that the host is in, 0 for the others: idle, pending, running, paused, stopping.";
    RUN_PHASE = "ssts_run_phase", "", Gauge, [], "The phase that is on, counted from 0.";
    RUNS_STARTED = "ssts_runs_started", "", Counter, [], "Runs since the agent began.";
    RUNS_FINISHED = "ssts_runs_finished", "", Counter, ["verdict"],
        "Runs that ended since the agent began, by verdict: pass, fail, aborted, error.";
    HALTED = "ssts_halted", "", Gauge, [], "1 while the host is halted and nothing may start, else 0.";
    HALTS = "ssts_halts", "", Counter, ["way"],
        "Halts since the agent began, by the way they came: request, file, signal, guard.";
    HALT_QUIET = "ssts_halt_quiet_seconds", "seconds", Gauge, [],
        "From the latest halt that had something to stop to the proof that nothing burned; no series before the first.";
    UNCLEAN_RUNS = "ssts_unclean_runs", "", Gauge, [],
        "Runs that were not seen to be clean afterwards, and keep others from starting.";
    GUARD_TRIPS = "ssts_guard_trips", "", Counter, ["guard"],
        "Times the host's guards tripped since the agent began, whether a run was on or not.";
    GUARD_STATE = "ssts_guard_state", "", Gauge, ["guard", "state"],
        "1 for the state that a guard of the host is in, 0 for the others: unguarded, clear, pending, tripped.";
    GUARD_HEADROOM = "ssts_guard_headroom", "", Gauge, ["guard", "unit"],
        "How far the worst of what a guard looks at is from its limit, in its own unit; negative beyond it.";
    RUNS_GUARDED = "ssts_runs_guarded", "", Counter, ["guard"],
        "Trips that runs were told of, by the guards of the host; `requested` for all that runs brought themselves.";
    LIMIT_DURATION = "ssts_limit_duration_seconds", "seconds", Gauge, ["of"],
        "The longest that a run may last: of the host, and of the run that is on.";
    LIMIT_MEMORY = "ssts_limit_memory_available_bytes", "bytes", Gauge, ["of"],
        "The least that the available memory may fall to: of the host, and of the run that is on.";
    LIMIT_TEMPERATURE = "ssts_limit_temperature_celsius", "celsius", Gauge, ["of"],
        "The hottest that a sensor may get: of the host, and of the run that is on.";
    FRAMES = "ssts_frames", "", Counter, [], "Ticks whose frames were published since the agent began.";
    RECORD_LOST_FRAMES = "ssts_record_lost_frames", "", Counter, [],
        "Frames that the records of runs lack: a full record, a disk that did not take them, a recorder that was late.";
    FLIGHT_BYTES = "ssts_flight_bytes", "bytes", Gauge, [], "Memory that the flight recorder takes.";
    FLIGHT_REACH = "ssts_flight_reach_seconds", "seconds", Gauge, [], "How far back the flight recorder reaches.";
    SCRAPES = "ssts_exposition_scrapes", "", Counter, ["format"],
        "Answers of /metrics since the agent began, by format.";
    PUSHES = "ssts_exposition_pushes", "", Counter, ["outcome"],
        "Pushes by OTLP since the agent began, by what became of them: ok, failed. No series where nothing is pushed.";
    ENCODE_TIME = "ssts_exposition_seconds", "seconds", Gauge, [],
        "What it took to gather and encode the answer before this one.";
    SERIES_LEFT_OUT = "ssts_exposition_left_out_series", "", Gauge, [],
        "Series that this answer lacks because there are more than metrics.max_series.";
    LOST_FRAMES = "ssts_exposition_lost_frames", "", Counter, [],
        "Frames whose counts the histograms lack: the agent could not follow its own tick.";
}
