//! A guard trips: the run stops, at once, and says which reading met which limit.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground, Running, Sysfs, note,
    outside::{self, Process},
};

/// A tick of the default rate, and the 50 ms that a reaction may take.
const REACTION: Duration = Duration::from_millis(100 + 50);
/// What a busy machine may add to a look from outside.
const SLACK: Duration = Duration::from_millis(100);

/// A daemon with a sensor at 40 °C, and a run on all cores that `limits` hold.
struct Guarded {
    daemon: Daemon,
    sysfs: Sysfs,
    running: Running,
    burners: Vec<Process>,
    ground: Ground,
}

impl Guarded {
    fn burning(options: &str) -> Self {
        let ground = Ground::alone();
        let sysfs = Sysfs::new(&ground, 40);
        ground.configure(&sysfs.config());
        let daemon = Daemon::start(&ground);
        let words = format!("--output json burn cpu --duration 1m {options}");
        let running = Ctl::new(&ground).words(&words).spawn();
        let burners = daemon.burning(1);
        // Until the guards have seen the sensor.
        thread::sleep(Duration::from_millis(300));
        Self { daemon, sysfs, running, burners, ground }
    }

    /// Waits for the end that `cause` brings; gives how long the burners lived on, and the result.
    fn trip(self, cause: impl FnOnce(&Sysfs)) -> (Duration, Value) {
        let Self { daemon, sysfs, running, burners, ground } = self;
        let begin = Instant::now();
        cause(&sysfs);
        let gone = outside::within(Duration::from_secs(10), || !burners.iter().any(Process::is_alive));
        let took = begin.elapsed();
        assert!(gone.is_some(), "the guard does not trip\n{}", daemon.log());
        let outcome = running.outcome();
        outcome.assert_status(4);
        let result = outcome.json();
        assert_eq!(
            (&result["verdict"], &result["cause"]),
            (&"aborted".into(), &"guard_tripped".into()),
            "{result:#}"
        );
        Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 200ms").run();
        (took, result)
    }
}

/// The words of the guard that tripped.
fn tripped(result: &Value, guard: &str) -> String {
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    let event = events.iter().find(|event| event["kind"] == "guard_tripped").expect("it is an event");
    assert_eq!(event["fields"]["guard"], guard, "{event:#}");
    let message = event["message"].as_str().expect("it is text").to_owned();
    let cause = result["cause_message"].as_str().expect("it is text");
    assert!(cause.contains(&message) && cause.contains(guard), "{cause}");
    message
}

/// Ten degrees too many. The best of three looks: neighbours delay the one who looks, and the daemon itself.
#[test]
fn a_hot_sensor_stops_the_run_within_a_tick_and_50_ms() {
    let mut took = Vec::new();
    for _ in 0..3 {
        let (after, result) = Guarded::burning("--max-temperature 80").trip(|sysfs| sysfs.heat(90));
        let message = tripped(&result, "max_temperature");
        for part in ["hwmon0/temp1", "90.0 °C", "80.0 °C"] {
            assert!(message.contains(part), "{message}");
        }
        let temperature = &result["hosts"][0]["telemetry"]["host.temperature"][0];
        assert_eq!(
            (&temperature["max"], &temperature["labels"]["sensor"]),
            (&90.0.into(), &"hwmon0/temp1".into())
        );
        assert_eq!(result["hosts"][0]["limits"]["max_temperature_celsius"], 80.0, "{result:#}");
        took.push(after);
        if after <= REACTION {
            break;
        }
    }
    note(format_args!("burners gone after {took:?}"));
    assert!(took.iter().min() <= Some(&(REACTION + SLACK)), "{took:?}");
}

/// Nobody asked for a limit: the daemon's own holds.
#[test]
fn the_daemons_own_limit_holds_unasked() {
    let (_, result) = Guarded::burning("").trip(|sysfs| sysfs.heat(96));
    assert!(tripped(&result, "max_temperature").contains("95.0 °C"));
}

/// A limit on a sensor that can't be read any more is no limit.
#[test]
fn a_sensor_that_vanishes_stops_the_run_once_it_is_stale() {
    let (took, result) = Guarded::burning("--max-temperature 80").trip(Sysfs::break_sensor);
    let message = tripped(&result, "max_temperature");
    assert!(message.contains("hwmon0/temp1") && message.contains("could not be read for 1s"), "{message}");
    // stale_after of the default configuration is 1 s, counted from the last reading, up to a tick ago.
    assert!((Duration::from_millis(800)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

/// MemAvailable falls below what the host is to keep.
#[test]
fn too_little_memory_stops_the_run() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let meminfo = fs::read_to_string("/proc/meminfo").expect("it is there");
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .expect("Linux 3.14 and later say it");
    let available: u64 = line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") << 10;
    let limit = available - (512 << 20);
    let words = format!("--output json burn cpu --load 20 --duration 1m --min-available-memory {limit}");
    let running = Ctl::new(&ground).words(&words).spawn();
    daemon.burning(1);
    // Half as much again as was left, so that others who free some meanwhile don't save the run.
    let mut ballast = vec![0u8; 768 << 20];
    let page = 4_096;
    ballast.iter_mut().step_by(page).for_each(|byte| *byte = 1);
    let outcome = running.outcome();
    drop(ballast);
    outcome.assert_status(4);
    let message = tripped(&outcome.json(), "min_available_memory");
    assert!(message.contains(&format!("the limit is {} MiB", limit >> 20)), "{message}");
    assert_eq!(daemon.burners(), []);
}

/// Pauses count: who pauses a run for ever does not own the host.
#[test]
fn a_run_that_lasts_too_long_is_stopped_paused_or_not() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let words = "--output json burn cpu --load 20 --tolerance 100 --duration 2s --max-duration 3s";
    let running = Ctl::new(&ground).words(words).spawn();
    daemon.burning(1);
    Ctl::new(&ground).words("pause").run().assert_status(0);
    let outcome = running.outcome();
    outcome.assert_status(4);
    let result = outcome.json();
    let message = tripped(&result, "max_duration");
    // 3.0 to 3.9 s: the first tick after the limit.
    assert!(message.contains("lasted 3.") && message.contains("the limit is 3s"), "{message}");
    assert!(result["duration_s"].as_f64() > Some(2.9), "{result:#}");
    assert_eq!(daemon.burners(), []);
}
