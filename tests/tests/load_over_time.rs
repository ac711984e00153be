//! Loads that change, loads of a whole core, loads that begin at an instant, and loads that could not be had.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{
    Cgroup, Ctl, Daemon, Ground, beside, note,
    outside::{self, Load},
    possible,
};

/// Percentage points, as the bar of the requirement is one: the neighbours of a test are not asked.
const ACCURACY: f64 = 1.5;
const TRIES: usize = 3;

fn burn(ground: &Ground, words: &str) -> (i32, Value) {
    let outcome = Ctl::new(ground).words(&format!("--output json burn cpu --cores 0 {words}")).run();
    let status = outcome.status.code().expect("it ended by itself");
    (status, outcome.json()["hosts"][0]["burners"][0].take())
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("it is a number")
}

/// With 30 % taken by somebody else, the core as a whole comes to 50 and to 75 %; the burner fills the gap.
#[test]
fn a_cores_load_is_held_whatever_else_runs_there() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    for asked in [50.0, 75.0] {
        let mut tries = Vec::new();
        let held = (0..TRIES).any(|_| {
            let words = format!("--load {asked} --mode core --tolerance 100 --duration 4s");
            let ((status, burner), _) = beside(0.3, || burn(&ground, &words));
            assert_eq!(status, 0);
            let load = &burner["worker_loads"][0];
            note(format_args!("asked {asked}: {load}"));
            let others = number(&load["others"]);
            tries.push(load.clone());
            others > 20.0 && (number(&load["achieved"]) - asked).abs() <= ACCURACY
        });
        assert!(held, "asked {asked} %: {tries:#?}");
    }
}

/// Without the probe the kernel's own books serve, and a notice says so.
#[test]
fn a_cores_load_is_held_without_probes_too() {
    let ground = Ground::alone();
    ground.configure("[observe]\nprobes = false\n");
    let _daemon = Daemon::start(&ground);
    let words = "--output json burn cpu --cores 0 --load 60 --mode core --tolerance 100 --duration 3s";
    let (result, _) = beside(0.3, || Ctl::new(&ground).words(words).json());
    let load = &result["hosts"][0]["burners"][0]["worker_loads"][0];
    note(format_args!("{load}"));
    assert!(number(&load["others"]) > 20.0, "the neighbour was seen: {load}");
    assert!(number(&load["achieved"]) > 50.0, "{load}");
    let events = result["hosts"][0]["events"].to_string();
    assert!(events.contains("/proc/stat"), "{events}");
}

/// A quota of the daemon's cgroup takes what no other process does.
#[test]
fn a_load_that_a_quota_throttled_is_missed_and_says_so() {
    let quota = Cgroup::new("cpu", ["cpu.cfs_quota_us", "cpu.max"]);
    if !possible(quota.is_some(), "no cgroup with the cpu controller may be made here") {
        return;
    }
    let Some(quota) = quota else { return };
    let (file, limit) = match quota.file("cpu.cfs_quota_us") {
        file if file.exists() => (file, "50000"),
        _ => (quota.file("cpu.max"), "50000 100000"),
    };
    fs::write(file, limit).expect("the cgroup is ours");
    let ground = Ground::alone();
    let _daemon = Daemon::start_program(&ground, &quota.program(&ground, &ground.programs().sstsd), |_| {});
    let (status, burner) = burn(&ground, "--load 80 --duration 3s");
    assert_eq!((status, &burner["outcome"]), (3, &"missed".into()), "{burner:#}");
    let reason = burner["outcome_reason"].as_str().expect("there is one");
    note(format_args!("{reason}"));
    assert!(reason.contains("ssts-story-") && reason.contains("throttled it in"), "{reason}");
}

/// A load that could not be had fails the run, and the result says who had the core instead.
#[test]
fn a_missed_load_is_a_failure_with_a_reason() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    let ((status, burner), _) = beside(1.0, || burn(&ground, "--load 95 --duration 4s"));
    assert_eq!(status, 3, "{burner:#}");
    assert_eq!(burner["outcome"], "missed");
    let reason = burner["outcome_reason"].as_str().expect("there is one");
    note(format_args!("{reason}"));
    assert!(reason.contains("instead of 95.0 %") && reason.contains("waited for the core"), "{reason}");
    assert!(
        reason.contains(&format!("(pid {})", std::process::id())),
        "this process took the time: {reason}"
    );
    // The same is no failure where no load is asked, or a wide tolerance.
    for words in ["--duration 1s", "--load 95 --tolerance 90 --duration 1s"] {
        let ((status, burner), _) = beside(1.0, || burn(&ground, words));
        assert_eq!((status, &burner["outcome"]), (0, &Value::from("done")), "{words}");
    }
}

/// A burst of one second in two: the kernel sees it come and go.
#[test]
fn a_square_is_seen_from_outside() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let mut tries: Vec<Vec<Load>> = Vec::new();
    for _ in 0..TRIES {
        let words = "burn cpu --cores 0 --load square:10..80/2s --tolerance 100 --duration 5s";
        let running = Ctl::new(&ground).words(words).spawn();
        let worker = daemon.burning(1)[0].workers()[0];
        thread::sleep(Duration::from_millis(100));
        let half = || {
            let load = outside::load(worker, Duration::from_millis(800));
            thread::sleep(Duration::from_millis(200));
            load
        };
        let loads: Vec<Load> = (0..4).map(|_| half()).collect();
        running.outcome().assert_status(0);
        let is_square = loads.chunks(2).all(|pair| pair[0].percent > 70.0 && pair[1].percent < 20.0);
        if is_square || loads.iter().any(|load| load.waited_percent > 20.0) {
            note(format_args!("{loads:?}"));
            return;
        }
        tries.push(loads);
    }
    panic!("no square: {tries:#?}");
}

/// A recorded load is played back: its mean is the recording's.
#[test]
fn a_trace_is_replayed() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    let trace = ground.file("trace.csv", "seconds,percent\n100,20\n101,60\n101.5,0\n102,40\n");
    let (status, burner) = burn(&ground, &format!("--load trace:{trace} --tolerance 100 --duration 3s"));
    assert_eq!(status, 0);
    // One second at 20, half a second at 60, half at 0, the rest at 40.
    let asked = number(&burner["worker_loads"][0]["asked"]);
    assert!((asked - 30.0).abs() < 0.1, "{burner:#}");
}

/// Nothing burns before the instant, and then all workers at once.
#[test]
fn a_start_at_an_instant_is_met_by_all_workers() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let asked = Instant::now();
    let running = Ctl::new(&ground)
        .words("--output json burn cpu --load 30 --tolerance 100 --in-step --start-at +1500ms --duration 1s")
        .spawn();
    thread::sleep(Duration::from_millis(1_200));
    let burned = |limit: Duration| {
        daemon
            .burners()
            .iter()
            .flat_map(outside::Process::workers)
            .any(|worker| worker.cpu_time() > Some(limit))
    };
    let early = burned(Duration::from_millis(40));
    // The time of asking is counted, too: sstsctl takes some milliseconds.
    assert!(!early || asked.elapsed() > Duration::from_millis(1_400), "a worker burned before the instant");
    let outcome = running.outcome();
    outcome.assert_status(0);
    let burner = &outcome.json()["hosts"][0]["burners"][0];
    let skew = number(&burner["start_skew_s"]);
    note(format_args!("skew {skew} s"));
    assert!((0.0..0.1).contains(&skew), "{burner:#}");
    for (start, why) in [("2001-01-01T00:00:00Z", "past"), ("+2d", "limit for the whole run")] {
        let words = format!("burn cpu --start-at {start} --duration 1s");
        Ctl::new(&ground).words(&words).run().assert_status(2).assert_tells(&["--start-at", why]);
    }
}
