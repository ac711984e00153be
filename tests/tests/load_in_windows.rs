//! The load within a second: what a standstill does to the windows that the result tells of, whether workers burn together or in
//! turns, and what a burner's own share is beside somebody else.

use std::{fs, thread, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, beside, note, outside, possible};

/// Somebody else on the machine spoils one, seldom three.
const TRIES: usize = 3;

/// Percent of the time that a worker had to wait for its core: beyond, somebody else held it.
const CROWDED: f64 = 2.0;

fn load_of(result: &Value) -> &Value {
    &result["hosts"][0]["burners"][0]["worker_loads"][0]
}

/// Half a core for 3 s, of which the burner stands still for a while.
fn windows(still: Duration) -> [f64; 3] {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let words = "--output json burn cpu --cores 0 --load 50 --tolerance 100 --duration 3s";
    let running = Ctl::new(&ground).words(words).spawn();
    let burner = daemon.burning(1)[0];
    thread::sleep(Duration::from_millis(900));
    if !still.is_zero() {
        burner.signal(Signal::SIGSTOP);
        thread::sleep(still);
        burner.signal(Signal::SIGCONT);
    }
    let outcome = running.outcome();
    outcome.assert_status(0);
    let result = outcome.json();
    let load = load_of(&result);
    ["stddev", "worst", "waited"]
        .map(|key| load[key].as_f64().unwrap_or_else(|| unreachable!("no {key}: {load:#}")))
}

#[test]
fn a_standstill_shows_in_the_windows_and_nothing_else_does() {
    let [deviation, worst, _] = windows(Duration::from_millis(400));
    note(format_args!("with a standstill: {deviation:.2} points, the worst {worst:.1}"));
    // Nothing in a window instead of half of it, and all of some windows afterwards.
    assert!(deviation > 8.0 && worst.abs() > 35.0, "{deviation} {worst}");
    let quiet: Vec<_> = (0..TRIES).map(|_| windows(Duration::ZERO)).collect();
    note(format_args!("without: {quiet:?}"));
    if quiet.iter().all(|[_, _, waited]| *waited > CROWDED) {
        note("NOT TESTED: others held the core each time");
        return;
    }
    assert!(quiet.iter().any(|[deviation, worst, _]| *deviation < 4.0 && worst.abs() < 30.0), "{quiet:?}");
}

/// The share of looks in which two workers with half a core each do the same: both burn, or both sleep. Nothing where others
/// held a core.
fn together(flags: &str) -> Option<f64> {
    const LOOKS: usize = 1_000;
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let words = format!("--output json burn cpu --cores 0-1 --load 50 --tolerance 100 --duration 4s {flags}");
    let running = Ctl::new(&ground).words(&words).spawn();
    let burner = daemon.burning(1)[0];
    thread::sleep(Duration::from_millis(300));
    let workers = &burner.threads()[1..];
    assert_eq!(workers.len(), 2);
    let burns = |tid: &i32| {
        let text = fs::read_to_string(format!("/proc/{}/task/{tid}/stat", burner.pid)).unwrap_or_default();
        text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('R'))
    };
    let same = (0..LOOKS).filter(|_| {
        thread::sleep(Duration::from_millis(1));
        burns(&workers[0]) == burns(&workers[1])
    });
    let share = same.count() as f64 / LOOKS as f64;
    let outcome = running.outcome();
    outcome.assert_status(0);
    let result = outcome.json();
    let loads = result["hosts"][0]["burners"][0]["worker_loads"].as_array().into_iter().flatten();
    let waited = loads.filter_map(|load| load["waited"].as_f64()).fold(0.0, f64::max);
    (waited <= CROWDED).then_some(share)
}

#[test]
fn workers_burn_in_turns_unless_they_are_asked_to_step_together() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if !possible(cores >= 2, "it needs two cores") {
        return;
    }
    let tries: Vec<_> = (0..TRIES).map(|_| (together(""), together("--in-step"))).collect();
    note(format_args!("the same at once, in turns and in step: {tries:?}"));
    let told: Vec<_> = tries.iter().filter_map(|(apart, in_step)| Some(((*apart)?, (*in_step)?))).collect();
    if told.is_empty() {
        note("NOT TESTED: others held a core each time");
        return;
    }
    assert!(told.iter().any(|(apart, in_step)| *apart < 0.4 && *in_step > 0.6), "{tries:?}");
}

#[test]
fn a_share_of_its_own_is_had_beside_somebody_else() {
    let mut tries = Vec::new();
    for _ in 0..TRIES {
        let ground = Ground::alone();
        let daemon = Daemon::start(&ground);
        let words = "--output json burn cpu --cores 0 --load 50 --tolerance 100 --duration 4s";
        let running = Ctl::new(&ground).words(words).spawn();
        let worker = daemon.burning(1)[0].workers()[0];
        let (seen, had) = beside(0.3, || outside::load(worker, Duration::from_secs(3)));
        let outcome = running.outcome();
        outcome.assert_status(0);
        let told = load_of(&outcome.json())["achieved"].as_f64().unwrap_or_default();
        note(format_args!("50 % asked beside {:.1} %: seen {seen:?}, told {told:.2} %", had * 100.0));
        if had > 0.25 && (seen.percent - 50.0).abs() <= 1.0 {
            return;
        }
        tries.push((seen, had));
    }
    // With both of them on it, it waits for no more than the other one takes: who waits for longer, waits for a third.
    assert!(tries.iter().all(|(seen, _)| seen.waited_percent > 40.0), "{tries:?}");
    note(format_args!("NOT TESTED: others held the core each time: {tries:?}"));
}
