//! From the command to the load, and from the stop to silence: both under 50 ms on a running daemon.

use std::{
    thread,
    time::{Duration, Instant},
};

use ssts_tests::{
    Ctl, Daemon, Ground, note,
    outside::{self, Process},
};

/// The promise, for the agent's own figures and for what is seen from outside.
const QUICK: f64 = 0.050;
const TRIES: usize = 5;

/// Seconds of one start and one stop.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// From the request to the last worker's first burning instruction, as the result tells.
    ready: f64,
    /// From the execution of `sstsctl` to the first CPU time of a worker, seen from outside.
    seen_ready: f64,
    /// From the request to the proof that nothing burns, as the answer tells.
    quiet: f64,
    /// From the execution of `sstsctl stop` to the end of the burner, seen from outside.
    seen_quiet: f64,
}

fn start_and_stop(ground: &Ground, daemon: &Daemon) -> Timing {
    let begin = Instant::now();
    let starting = Ctl::new(ground).words("burn cpu --duration 1m --detach").spawn();
    let mut burners: Vec<Process> = Vec::new();
    let burning = || {
        if burners.is_empty() {
            burners = daemon.burners();
        }
        burners.iter().any(|burner| burner.worker_time() > Duration::from_millis(5))
    };
    outside::within(Duration::from_secs(10), burning).expect("it does not burn");
    let seen_ready = begin.elapsed().as_secs_f64();
    let id = starting.outcome().assert_status(0).stdout.trim().to_owned();
    thread::sleep(Duration::from_millis(300));

    let begin = Instant::now();
    let stopping = Ctl::new(ground).args(["--output", "json", "stop", &id]).spawn();
    outside::within(Duration::from_secs(10), || !burners.iter().any(Process::is_alive)).expect("it goes on");
    let seen_quiet = begin.elapsed().as_secs_f64();
    let stopped = stopping.outcome();
    stopped.assert_status(0);
    let report = Ctl::new(ground).args(["report", &id]).json();
    let ready = report["hosts"][0]["burners"][0]["ready_after_s"].as_f64().expect("it burned");
    let quiet = stopped.json()["quiet_after_s"].as_f64().expect("it was on");
    Timing { ready, seen_ready, quiet, seen_quiet }
}

fn median(timings: &[Timing], value: fn(&Timing) -> f64) -> f64 {
    let mut values: Vec<f64> = timings.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The middle of five: what anybody will see, and no single hiccup of a busy machine.
#[test]
fn load_comes_and_goes_within_50_ms() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let timings: Vec<_> = (0..TRIES).map(|_| start_and_stop(&ground, &daemon)).collect();
    note(format_args!("{timings:#?}"));
    assert!(
        median(&timings, |timing| timing.ready) < QUICK,
        "the agent's own figure of the start: {timings:#?}"
    );
    assert!(
        median(&timings, |timing| timing.quiet) < QUICK,
        "the agent's own figure of the stop: {timings:#?}"
    );
    // From outside it includes the start of a debug build of sstsctl and the look itself, on a core that burns.
    assert!(median(&timings, |timing| timing.seen_ready) < 4.0 * QUICK, "the start: {timings:#?}");
    assert!(median(&timings, |timing| timing.seen_quiet) < 4.0 * QUICK, "the stop: {timings:#?}");
}
