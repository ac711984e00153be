//! The first thing anybody does: one command, no daemon, a whole run and its result.

use std::{fs, time::Duration};

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use ssts_tests::{Ctl, Ground, Outcome, Programs, outside};

/// Cores, then a disk beside them, then nothing but observation.
fn scenario(ground: &Ground) -> String {
    let toml = format!(
        r#"
name = "whole"
description = "Everything once"
seed = 7

[[phase]]
name = "cores"
duration = "1s"
[[phase.burner]]
kind = "cpu"
load = 40
tolerance = 100

[[phase]]
name = "both"
duration = "1500ms"
[[phase.burner]]
kind = "cpu"
load = {{ from = 10, to = 60 }}
tolerance = 100
cores = "0"
[[phase.burner]]
kind = "disk"
path = "{}"
size = "16MiB"
rate = 500

[[phase]]
name = "observe"
duration = "300ms"
"#,
        ground.disk().display()
    );
    ground.file("whole.toml", &toml)
}

/// The command, and the private daemon that it started, whose traces are looked for afterwards.
fn run(ctl: Ctl) -> Outcome {
    let running = ctl.spawn();
    let (daemon, burners) = running.private_daemon();
    let outcome = running.outcome();
    assert!(!daemon.is_alive(), "the private daemon outlived its command");
    assert!(!burners.iter().any(outside::Process::is_alive), "burners outlived their run");
    assert_eq!(outside::run_cgroups(daemon.pid), [""; 0], "cgroups were left");
    outcome
}

fn assert_valid(object: &Value, definition: &str) {
    let text = fs::read_to_string(Programs::repository().join("docs/output.schema.json"))
        .expect("it is in the repository");
    let mut schema: Value = serde_json::from_str(&text).expect("it is JSON");
    let map = schema.as_object_mut().expect("it is an object");
    map.remove("anyOf");
    map.insert("$ref".into(), format!("#/$defs/{definition}").into());
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let errors: Vec<_> =
        validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{object:#}");
}

fn assert_no_null(value: &Value, path: &str) {
    match value {
        Value::Null => unreachable!("null at {path}"),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                assert_no_null(item, &format!("{path}/{n}"));
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                assert_no_null(item, &format!("{path}/{key}"));
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The contract that other programs build on, word for word.
fn assert_contract(result: &Value) {
    for key in ["run_id", "scenario", "verdict", "started_at", "duration_s", "hosts", "thresholds"] {
        assert!(result.get(key).is_some(), "{key} is missing: {result:#}");
    }
    let host = &result["hosts"][0];
    for key in ["host", "verdict", "burners", "telemetry", "events"] {
        assert!(host.get(key).is_some(), "{key} is missing: {host:#}");
    }
    let burners = host["burners"].as_array().expect("burners are a list");
    assert_eq!(burners.len(), 3);
    for burner in burners {
        for key in ["kind", "phase", "workers", "cores", "operations", "rates", "errors", "achieved_load"] {
            assert!(burner.get(key).is_some(), "{key} is missing: {burner:#}");
        }
        assert!(burner["operations"].as_u64() > Some(0), "{burner:#}");
    }
    let [cores, ramp, disk] = burners.as_slice() else { unreachable!("there are three") };
    assert_eq!(
        (&cores["kind"], &ramp["phase"], &disk["kind"]),
        (&"cpu".into(), &"both".into(), &"disk".into())
    );
    let target = cores["target_load"].as_f64().expect("it is a number");
    assert!(cores["rates"]["flops_per_s"].as_f64() > Some(0.0) && (target - 40.0).abs() < 0.01, "{cores:#}");
    assert!(disk["rates"]["bytes_per_s"].as_f64() > Some(0.0), "{disk:#}");
    // A core checks its results, this disk burner only its I/Os.
    assert_eq!((&cores["errors"], &disk["errors"]), (&json!({"verify": 0}), &json!({"io": 0})));
    for key in ["p50", "p90", "p99", "p999", "max"] {
        assert!(disk["latency_ns"][key].as_u64() > Some(0), "{key}: {disk:#}");
    }
    // What doesn't apply is not there: a disk has no load to reach and no flops, a core no latency.
    for (burner, keys) in
        [(disk, &["target_load", "flops"][..]), (cores, &["latency_ns", "latency_by_operation"])]
    {
        for key in keys {
            assert!(burner.get(key).is_none(), "{key} is there: {burner:#}");
        }
    }
    let memory = &host["telemetry"]["host.memory.available"][0];
    for key in ["labels", "unit", "min", "mean", "p50", "p95", "p99", "max", "last"] {
        assert!(memory.get(key).is_some(), "{key} is missing: {memory:#}");
    }
    let kinds: Vec<_> =
        host["events"].as_array().expect("events are a list").iter().map(|event| &event["kind"]).collect();
    for kind in ["run_started", "phase_started", "phase_finished", "burner_ended", "run_finished"] {
        assert!(kinds.iter().any(|found| *found == kind), "{kind} is missing: {kinds:?}");
    }
}

/// A program calls it: one object on standard output and nothing else, as published, and files where it asked for them.
#[test]
fn a_program_gets_one_object_and_the_files_it_asked_for() {
    let ground = Ground::new();
    let (scenario, report) = (scenario(&ground), ground.path("report"));
    let folder = report.to_str().expect("the path is ASCII");
    let outcome = run(Ctl::local(&ground).args(["--output", "json", "run", &scenario, "--report", folder]));
    outcome.assert_status(0);
    let result = outcome.json();
    assert_valid(&result, "Result");
    assert_no_null(&result, "");
    assert_contract(&result);
    assert_eq!(
        (&result["verdict"], &result["cause"], &result["seed"]),
        (&"pass".into(), &"completed".into(), &7.into())
    );
    let duration = result["duration_s"].as_f64().expect("it is a number");
    assert!((2.8..20.0).contains(&duration), "{duration}");

    let written = fs::read_to_string(report.join("report.json")).expect("it was written");
    assert_eq!(serde_json::from_str::<Value>(&written).expect("it is JSON"), result);
    let markdown = fs::read_to_string(report.join("report.md")).expect("it was written");
    let run_id = result["run_id"].as_str().expect("it is text");
    assert!(markdown.contains(run_id) && markdown.contains("pass"), "{markdown}");
    assert_eq!(ground.leftovers(), [""; 0]);

    // Private daemons remember: a later command finds the run.
    let again = Ctl::local(&ground).words("report").args([run_id]).json();
    assert_eq!(again, result);
    let runs = Ctl::local(&ground).words("runs").json();
    assert_valid(&runs, "Runs");
    assert_eq!(runs["runs"][0]["run_id"], run_id);
}

/// A person's pipe or log file gets plain lines, and no codes that only a terminal understands.
#[test]
fn a_pipe_gets_plain_lines() {
    let ground = Ground::new();
    let scenario = scenario(&ground);
    let outcome = run(Ctl::local(&ground).args(["run", &scenario]));
    outcome.assert_status(0);
    for text in [&outcome.stdout, &outcome.stderr] {
        assert!(!text.contains(['\x1b', '\r']), "{text:?}");
    }
    assert!(outcome.stdout.contains("pass") && outcome.stdout.contains("cores"), "{}", outcome.stdout);
    assert!(outcome.stderr.lines().count() >= 3, "progress in lines: {}", outcome.stderr);
    assert_eq!(ground.leftovers(), [""; 0]);
}

/// The machine's user closes the terminal: SIGHUP ends the run, the private daemon and the burners.
#[test]
fn a_closed_terminal_ends_it_all() {
    let ground = Ground::new();
    let running = Ctl::local(&ground).words("burn cpu --duration 60s").spawn();
    let (daemon, burners) = running.private_daemon();
    kill(nix::unistd::Pid::from_raw(running.process().pid), Signal::SIGHUP).expect("it is there");
    running.outcome().assert_status(130);
    let gone = outside::within(Duration::from_secs(1), || {
        !daemon.is_alive() && !burners.iter().any(outside::Process::is_alive)
    });
    assert!(gone.is_some());
    assert_eq!(ground.leftovers(), [""; 0]);
}
