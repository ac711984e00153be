//! What is decided between phases: what has to hold before one, what follows one that failed; and phases that are ramped into
//! each other, or compared with an earlier one.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Sysfs, note, outside};

const LONG: Duration = Duration::from_secs(60);

/// A daemon with a sensor.
struct Host {
    daemon: Daemon,
    sysfs: Sysfs,
    ground: Ground,
}

impl Host {
    fn at(celsius: u32, ground: Ground) -> Self {
        let sysfs = Sysfs::new(&ground, celsius);
        ground.configure(&sysfs.config());
        let daemon = Daemon::start(&ground);
        Self { daemon, sysfs, ground }
    }

    fn run(&self, scenario: &str, status: i32) -> Value {
        let file = self.ground.file("decided.toml", &format!("name = 'decided'\n{scenario}"));
        let ended = Ctl::new(&self.ground).args(["--output", "json", "run", &file]).run();
        ended.assert_status(status).json()
    }

    /// Starts it, and gives its id.
    fn start(&self, scenario: &str) -> String {
        let file = self.ground.file("decided.toml", &format!("name = 'decided'\n{scenario}"));
        let started = Ctl::new(&self.ground).args(["run", "--detach", &file]).json();
        started["run"]["run_id"].as_str().expect("it has an id").to_owned()
    }

    fn result(&self, run: &str) -> Value {
        Ctl::new(&self.ground).args(["report", run]).json()
    }

    /// Waits until what was told of the run is so.
    fn await_result(&self, run: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut result = Value::Null;
        let came = outside::within(LONG, || {
            result = self.result(run);
            is_so(&result)
        });
        assert!(came.is_some(), "{what}: {result:#}\n{}", self.daemon.log());
        result
    }

    fn await_end(&self, run: &str) -> Value {
        self.await_result(run, "it does not end", |result| result["verdict"].is_string())
    }

    /// What the agent's frames said of a metric with such labels, in order.
    fn readings(&self, run: &str, metric: &str, labels: &str) -> Vec<f64> {
        let told = Ctl::new(&self.ground).args(["telemetry", run, "--metric", metric]).run();
        told.assert_status(0);
        let mut reader = told.stdout.lines();
        reader.next();
        let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let ours = reader.filter(|line| line.contains(labels)).map(fields);
        ours.filter_map(|fields| fields.last()?.parse().ok()).collect()
    }
}

/// One core at so many percent. Neighbours are not asked.
fn cpu(load: &str) -> String {
    format!("[[phase.burner]]\nkind = 'cpu'\ncores = '0'\nload = {load}\ntolerance = 100\n")
}

fn phase(name: &str, duration: &str, rest: &str) -> String {
    format!("[[phase]]\nname = '{name}'\nduration = '{duration}'\n{rest}")
}

fn decisions(result: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = result["decisions"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| (text(&one["phase"]), text(&one["kind"]), text(&one["outcome"]))).collect()
}

/// As they are written in a story.
fn decided(result: &Value) -> String {
    let all = decisions(result);
    all.iter().map(|(phase, kind, outcome)| format!("{kind} {phase}: {outcome}; ")).collect()
}

fn ending(result: &Value) -> (&str, &str) {
    (result["verdict"].as_str().unwrap_or_default(), result["cause"].as_str().unwrap_or_default())
}

fn is_clean(result: &Value) -> bool {
    result["hosts"][0]["receipt"]["state"] == "clean"
}

#[test]
fn a_phase_begins_when_all_that_it_requires_holds_and_says_so() {
    let host = Host::at(40, Ground::new());
    let require = "[phase.require]\nsensors = 'fresh'\nmemory = '1MiB'\ndisk = { path = '/tmp', free = '4KiB' }\n\
                   temperature_below = 60\nerrors = 0\nthat = ['host.memory.available.min > 1MiB', \
                   { that = 'host.temperature.mean < 60', labels = { sensor = 'hwmon0/*' } }]\nwindow = '300ms'\n";
    let result = host.run(&phase("soak", "500ms", &format!("{require}{}", cpu("20"))), 0);
    assert_eq!(ending(&result), ("pass", "completed"), "{result:#}");
    assert_eq!(decided(&result), "before soak: begin; ");
    let conditions = result["decisions"][0]["conditions"].as_array().expect("they are told");
    let whats: Vec<_> = conditions.iter().filter_map(|one| one["what"].as_str()).collect();
    assert_eq!(
        whats,
        [
            "sensors",
            "memory",
            "disk /tmp",
            "temperature",
            "errors",
            "host.memory.available.min > 1MiB",
            "host.temperature.mean < 60"
        ]
    );
    for condition in conditions {
        assert_eq!(condition["held"], true, "{condition:#}");
        assert!(condition["value"].is_number() && condition["bound"].is_number(), "{condition:#}");
    }
    assert_eq!((&conditions[3]["value"], &conditions[3]["bound"]), (&40.0.into(), &60.0.into()));
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    let told = events.iter().find(|event| event["kind"] == "decision").expect("it is an event");
    assert_eq!((&told["fields"]["phase"], &told["fields"]["action"]), (&"soak".into(), &"begin".into()));
    // The plan tells it before.
    let file = host.ground.path("decided.toml");
    let plan = Ctl::new(&host.ground).args(["plan", file.to_str().expect("ASCII")]).json();
    assert_eq!(plan["decisions"][0]["otherwise"], "skip", "{plan:#}");
    assert_eq!(plan["decisions"][0]["conditions"].as_array().map(Vec::len), Some(7), "{plan:#}");
}

#[test]
fn a_phase_waits_for_what_it_requires_and_nothing_burns_meanwhile() {
    let host = Host::at(70, Ground::new());
    let require = "[phase.require]\ntemperature_below = 60\nwait = '1h'\n";
    let run = host.start(&phase("soak", "500ms", &format!("{require}{}", cpu("20"))));
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(host.daemon.burners().len(), 0);
    let result = host.result(&run);
    assert!(result["verdict"].is_null() && decided(&result).is_empty(), "{result:#}");
    host.sysfs.heat(40);
    let result = host.await_end(&run);
    assert_eq!(ending(&result), ("pass", "completed"), "{result:#}");
    assert_eq!(decided(&result), "before soak: begin; ");
    let waited = result["decisions"][0]["waited_s"].as_f64().expect("it waited");
    assert!(waited >= 1.0, "{result:#}");
}

#[test]
fn what_does_not_hold_in_time_skips_the_phase_and_proves_nothing() {
    let host = Host::at(40, Ground::new());
    for (require, reason) in [
        ("memory = '900TiB'", "are needed"),
        ("disk = { path = '/tmp', free = '900TiB' }", "are needed"),
        ("disk = { path = '/no/such/folder', free = '1KiB' }", "No such file"),
        ("temperature_below = 30", "is at 40.0 °C"),
        ("that = 'host.temperature.max > 60'\nwindow = '200ms'", "it is 40.0 °C"),
    ] {
        let first = phase("warm", "200ms", &cpu("10"));
        let second = phase("soak", "10m", &format!("[phase.require]\n{require}\n{}", cpu("20")));
        let result = host.run(&format!("{first}{second}"), 3);
        assert_eq!(ending(&result), ("fail", "phase_skipped"), "{require}: {result:#}");
        assert_eq!(decided(&result), "before soak: skip; ", "{require}");
        let why = result["decisions"][0]["reason"].as_str().unwrap_or_default();
        assert!(why.contains(reason), "{require}: {why}");
        assert_eq!(result["hosts"][0]["burners"].as_array().map(Vec::len), Some(1));
        assert!(is_clean(&result), "{result:#}");
    }
    // A sensor that can no longer be read is not fresh.
    host.sysfs.break_sensor();
    let second = phase("soak", "10m", &format!("[phase.require]\nsensors = 'fresh'\n{}", cpu("20")));
    // The agent may hold the last reading for a while.
    let skipped = outside::within(LONG, || {
        let require = "[phase.require]\nsensors = 'fresh'\nerrors = 0\notherwise = 'skip'\n";
        let probe = phase("soak", "50ms", &format!("{require}{}", cpu("20")));
        let file = host.ground.file("probe.toml", &format!("name = 'probe'\n{probe}"));
        let ended = Ctl::new(&host.ground).args(["--output", "json", "run", &file]).run();
        ended.status.code() == Some(3)
    });
    assert!(skipped.is_some(), "a sensor that is gone stays fresh");
    let result = host.run(&second, 3);
    assert_eq!(ending(&result), ("fail", "phase_skipped"), "{result:#}");
}

#[test]
fn what_is_left_of_a_run_may_prove_it_and_a_skip_is_told_everywhere() {
    let host = Host::at(40, Ground::new());
    let first = phase("warm", "300ms", &cpu("10"));
    let require = "[phase.require]\ntemperature_below = 30\n";
    let second = phase("soak", "10m", &format!("{require}{}", cpu("20")));
    let threshold = "[[threshold]]\nthat = 'host.temperature.max < 60'\n";
    let result = host.run(&format!("{threshold}{first}{second}"), 0);
    assert_eq!(ending(&result), ("pass", "completed"), "{result:#}");
    let run = result["run_id"].as_str().expect("it has an id").to_owned();
    let told = |format: &str| {
        let report = Ctl::new(&host.ground).args(["report", &run, "--format", format]).run();
        report.assert_status(0);
        report.stdout
    };
    let junit = told("junit");
    assert!(
        junit.contains("<skipped message=\"the phase was skipped: what it requires does not hold"),
        "{junit}"
    );
    for format in ["markdown", "html"] {
        let text = told(format);
        assert!(text.contains("Decisions") && text.contains("is at 40.0 °C"), "{format}: {text}");
    }
    let text = Ctl::new(&host.ground).args(["report", &run]).run().stdout;
    assert!(text.contains("phase soak was skipped"), "{text}");
    // What was to be measured in the phase that is gone proves nothing.
    let own = "[[phase.threshold]]\nthat = 'host.temperature.max < 60'\n";
    let result = host.run(&format!("{threshold}{first}{second}{own}"), 3);
    assert_eq!(ending(&result), ("fail", "threshold_inconclusive"), "{result:#}");
    assert!(result["cause_message"].as_str().is_some_and(|told| told.contains("its phase was skipped")));
}

#[test]
fn what_does_not_hold_may_fail_the_run_or_wind_it_down() {
    let host = Host::at(40, Ground::new());
    for (otherwise, status, expected) in
        [("fail", 3, ("fail", "requirement_failed")), ("wind-down", 4, ("aborted", "wound_down"))]
    {
        let require = format!("[phase.require]\ntemperature_below = 30\notherwise = '{otherwise}'\n");
        let first = phase("warm", "200ms", &cpu("10"));
        let scenario = format!("{first}{}{}", phase("soak", "10m", &require), phase("last", "10m", ""));
        let result = host.run(&scenario, status);
        assert_eq!(ending(&result), expected, "{result:#}");
        assert_eq!(decided(&result), format!("before soak: {otherwise}; "));
        assert!(is_clean(&result), "{result:#}");
    }
}

#[test]
fn a_phase_is_repeated_until_it_passes_and_then_its_last_time_counts() {
    let host = Host::at(70, Ground::new());
    let then = "[phase.then]\non_fail = 'repeat'\nrepeat = 90\n";
    let threshold = "[[phase.threshold]]\nthat = 'host.temperature.max < 60'\n";
    let run = host.start(&phase("soak", "700ms", &format!("{then}{threshold}{}", cpu("20"))));
    host.await_result(&run, "it is not repeated", |result| decided(result).contains("repeat"));
    host.sysfs.heat(40);
    let result = host.await_end(&run);
    assert_eq!(ending(&result), ("pass", "completed"), "{result:#}");
    let all = decisions(&result);
    assert_eq!(all.last().map(|last| last.2.as_str()), Some("continue"), "{all:?}");
    let repeats = all.iter().filter(|one| one.2 == "repeat").count();
    assert!(repeats >= 1 && repeats == all.len() - 1, "{all:?}");
    let burners = result["hosts"][0]["burners"].as_array().expect("they are a list");
    assert_eq!(burners.len(), repeats + 1);
    let superseded = burners.iter().filter(|burner| burner["superseded"] == true).count();
    assert_eq!(superseded, repeats, "{result:#}");
    assert_eq!(result["thresholds"][0]["outcome"], "pass");
    assert_eq!(result["thresholds"][0]["value"], 40.0);
}

#[test]
fn a_phase_that_fails_each_time_skips_the_next_one_and_fails_the_run() {
    let host = Host::at(70, Ground::new());
    let then = "[phase.then]\non_fail = 'repeat'\nrepeat = 1\notherwise = 'skip'\n";
    let threshold = "[[phase.threshold]]\nthat = 'host.temperature.max < 60'\n";
    let first = phase("soak", "300ms", &format!("{then}{threshold}{}", cpu("20")));
    let scenario = format!("{first}{}{}", phase("next", "10m", ""), phase("last", "100ms", ""));
    let result = host.run(&scenario, 3);
    assert_eq!(ending(&result), ("fail", "threshold_failed"), "{result:#}");
    assert_eq!(decided(&result), "after soak: repeat; after soak: skip; before next: skip; ");
    let reason = result["decisions"][2]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("phase soak") && reason.contains("70.0 °C"), "{reason}");
    let events = result["hosts"][0]["events"].to_string();
    assert!(events.contains("phase last finished"), "{events}");
}

/// Seen from outside and in the frames: the load falls to nothing, and then the run ends as it always does.
#[test]
fn a_failed_phase_winds_the_run_down() {
    let host = Host::at(70, Ground::alone());
    let then = "[phase.then]\non_fail = 'wind-down'\n";
    let threshold = "[[phase.threshold]]\nthat = 'host.temperature.max < 60'\n";
    let first = phase("soak", "1s", &format!("{then}{threshold}{}", cpu("80")));
    let scenario = format!("[wind_down]\nduration = '4s'\n{first}{}", phase("next", "10m", &cpu("20")));
    let run = host.start(&scenario);
    let worker = host.daemon.burning(1)[0].workers()[0];
    host.await_result(&run, "nothing is decided", |result| decided(result).contains("wind-down"));
    let early = outside::load(worker, Duration::from_millis(500));
    thread::sleep(Duration::from_millis(1_000));
    let late = outside::load(worker, Duration::from_millis(500));
    let result = host.await_end(&run);
    note(format_args!("{early:?}, then {late:?}"));
    let is_starved = early.waited_percent > 20.0 || late.waited_percent > 20.0;
    assert!(is_starved || late.percent < early.percent, "it does not fall: {early:?}, {late:?}");
    assert_eq!(ending(&result), ("fail", "threshold_failed"), "{result:#}");
    assert_eq!(decided(&result), "after soak: wind-down; ");
    assert!(result["cause_message"].as_str().is_some_and(|told| told.contains("wound down")), "{result:#}");
    assert!(is_clean(&result), "{result:#}");
    // What it did in its phase is its result; the way down is not counted against it.
    let burner = &result["hosts"][0]["burners"][0];
    assert_eq!(
        (&burner["outcome"], burner["target_load"].as_f64()),
        (&"done".into(), Some(80.0)),
        "{burner:#}"
    );
    assert!(burner.get("derated_percent").is_none(), "{burner:#}");
    let targets = host.readings(&run, "burner.target", "0.0");
    let falling = targets.iter().skip_while(|target| **target >= 0.79).collect::<Vec<_>>();
    assert!(falling.len() >= 5, "{targets:?}");
    assert!(falling.windows(2).all(|pair| pair[1] <= pair[0]), "{targets:?}");
    assert!(falling.last().is_some_and(|last| **last < 0.05), "{targets:?}");
}

#[test]
fn a_phase_that_passes_is_not_wound_down() {
    let host = Host::at(40, Ground::new());
    let then = "[phase.then]\non_fail = 'wind-down'\n";
    let threshold = "[[phase.threshold]]\nthat = 'host.temperature.max < 60'\n";
    let first = phase("soak", "500ms", &format!("{then}{threshold}{}", cpu("20")));
    let scenario = format!("[wind_down]\nduration = '10m'\n{first}{}", phase("next", "300ms", &cpu("20")));
    let begun = Instant::now();
    let result = host.run(&scenario, 0);
    assert!(begun.elapsed() < LONG, "{result:#}");
    assert_eq!(
        (ending(&result), decided(&result).as_str()),
        (("pass", "completed"), "after soak: continue; ")
    );
    let burners = result["hosts"][0]["burners"].as_array().expect("they are a list");
    assert!(burners.len() == 2 && burners.iter().all(|burner| burner["outcome"] == "done"), "{result:#}");
}

#[test]
fn a_stop_and_a_halt_end_a_wait_and_a_wind_down_at_once() {
    let host = Host::at(70, Ground::new());
    let waits =
        phase("soak", "10m", &format!("[phase.require]\ntemperature_below = 60\nwait = '1h'\n{}", cpu("20")));
    let then =
        "[phase.then]\non_fail = 'wind-down'\n[[phase.threshold]]\nthat = 'host.temperature.max < 60'\n";
    let winds =
        format!("[wind_down]\nduration = '30m'\n{}", phase("soak", "300ms", &format!("{then}{}", cpu("50"))));
    for (scenario, what, begins) in [(&waits, "wait", ""), (&winds, "wind-down", "wind-down")] {
        for order in ["stop", "halt"] {
            let run = host.start(scenario);
            if begins.is_empty() {
                thread::sleep(Duration::from_millis(500));
            } else {
                host.await_result(&run, "nothing is decided", |result| decided(result).contains(begins));
            }
            let begun = Instant::now();
            let words = if order == "stop" { vec!["stop", &run] } else { vec!["halt"] };
            Ctl::new(&host.ground).args(words).run().assert_status(0);
            let result = host.await_end(&run);
            assert!(begun.elapsed() < Duration::from_secs(30), "{order} in {what}: {:?}", begun.elapsed());
            let cause = if order == "stop" { "stopped_by_user" } else { "halted" };
            assert_eq!(ending(&result), ("aborted", cause), "{order} in {what}: {result:#}");
            assert!(is_clean(&result), "{order} in {what}: {result:#}");
            assert_eq!(host.daemon.burners().len(), 0);
            if order == "halt" {
                Ctl::new(&host.ground).words("halt --clear").run().assert_status(0);
            }
        }
    }
}

#[test]
fn a_paused_run_decides_nothing() {
    let host = Host::at(70, Ground::new());
    let first = phase("warm", "300ms", &cpu("10"));
    let require = "[phase.require]\ntemperature_below = 60\nwait = '1h'\n";
    let run = host.start(&format!("{first}{}", phase("soak", "300ms", &format!("{require}{}", cpu("20")))));
    host.await_result(&run, "the first phase goes on", |result| {
        result["hosts"][0]["events"].to_string().contains("phase warm finished")
    });
    Ctl::new(&host.ground).args(["pause", &run]).run().assert_status(0);
    host.sysfs.heat(40);
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(decided(&host.result(&run)), "");
    Ctl::new(&host.ground).args(["resume", &run]).run().assert_status(0);
    let result = host.await_end(&run);
    assert_eq!((ending(&result), decided(&result).as_str()), (("pass", "completed"), "before soak: begin; "));
}

/// The frames show what is asked of the core: a straight line from the phase before, up and down.
#[test]
fn loads_are_ramped_from_one_phase_into_the_next() {
    let host = Host::at(40, Ground::alone());
    let up = phase("up", "4s", &format!("ramp = '3s'\n{}", cpu("70")));
    let down = phase("down", "4s", &format!("ramp = '3s'\n{}", cpu("20")));
    let result = host.run(&format!("{up}{down}"), 0);
    let run = result["run_id"].as_str().expect("it has an id");
    let (up, down) = (host.readings(run, "burner.target", "0.0"), host.readings(run, "burner.target", "1.0"));
    note(format_args!("{up:?}\n{down:?}"));
    let is_between = |all: &[f64], low: f64, high: f64| all.iter().any(|one| (low..high).contains(one));
    assert!(up.windows(2).all(|pair| pair[1] >= pair[0] - 1e-6), "{up:?}");
    assert!(is_between(&up, 0.05, 0.35) && is_between(&up, 0.35, 0.65), "{up:?}");
    assert!(up.last().is_some_and(|last| (last - 0.7).abs() < 1e-3), "{up:?}");
    // What is not asked yet is shown as none.
    let down: Vec<f64> = down.into_iter().skip_while(|target| *target < 0.2).collect();
    assert!(down.windows(2).all(|pair| pair[1] <= pair[0] + 1e-6), "{down:?}");
    assert!(is_between(&down, 0.5, 0.71) && is_between(&down, 0.25, 0.5), "{down:?}");
    assert!(down.last().is_some_and(|last| (last - 0.2).abs() < 1e-3), "{down:?}");
    // Over the phase: three seconds from 0 to 70 %, one at 70.
    let asked = result["hosts"][0]["burners"][0]["target_load"].as_f64().expect("it is known");
    assert!((asked - 43.75).abs() < 1.0, "{result:#}");
}

/// So many I/Os a second, in the end: those of the ramp are fewer by half of it.
#[test]
fn the_rate_of_a_disk_is_ramped_too() {
    let host = Host::at(40, Ground::alone());
    let disk = format!(
        "ramp = '2s'\n[[phase.burner]]\nkind = 'disk'\npath = '{}'\nsize = '1MiB'\nrate = 200\n",
        host.ground.disk().display()
    );
    let result = host.run(&phase("reads", "3s", &disk), 0);
    let done = result["hosts"][0]["burners"][0]["operations"].as_f64().expect("it is known");
    // 200 in the 2 s of the ramp, 200 in the second after it.
    note(format_args!("{done} of 400"));
    assert!((300.0..=410.0).contains(&done), "{result:#}");
}

#[test]
fn a_phase_is_compared_with_an_earlier_one() {
    let host = Host::at(40, Ground::new());
    let idle = phase("idle", "1s", "baseline = true\n");
    let within = "host.temperature.mean within 10% of phase:idle";
    let require = format!("[phase.require]\nthat = '{within}'\nwindow = '500ms'\n");
    let soak =
        phase("soak", "2s", &format!("{require}[[phase.threshold]]\nthat = '{within}'\n{}", cpu("20")));
    let scenario = format!("{idle}{soak}");
    let result = host.run(&scenario, 0);
    assert_eq!((ending(&result), decided(&result).as_str()), (("pass", "completed"), "before soak: begin; "));
    assert_eq!(result["decisions"][0]["conditions"][0]["bound"], 40.0, "{result:#}");
    assert_eq!(result["thresholds"][0]["outcome"], "pass");
    let events = result["hosts"][0]["events"].to_string();
    assert!(events.contains("baseline idle: host.temperature is 40.0 °C"), "{events}");
    // The host warms up after the comparison before the phase, and the one of the phase itself fails.
    let run = host.start(&scenario);
    host.await_result(&run, "it does not begin", |result| decided(result).contains("begin"));
    host.sysfs.heat(80);
    let result = host.await_end(&run);
    assert_eq!(ending(&result), ("fail", "threshold_failed"), "{result:#}");
    let reason = result["thresholds"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("phase:idle was 40.0 °C"), "{reason}");
    host.sysfs.heat(40);
    // A baseline that was left out is nothing to compare with.
    let idle = phase("idle", "1s", "baseline = true\n[phase.require]\ntemperature_below = 20\n");
    let result = host.run(&format!("{idle}{soak}"), 3);
    assert_eq!(decided(&result), "before idle: skip; before soak: skip; ", "{result:#}");
}
