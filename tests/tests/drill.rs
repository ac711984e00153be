//! `sstsctl drill`: faults are put to an agent on purpose, on the host that it guards. What it tells can be relied on, the
//! host's daemon keeps it, and nothing is left.

use std::{fs, time::Duration};

use nix::sys::{prctl, signal::Signal};
use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Outcome, outside, possible, privileged};

/// All that a drill without choices puts to a host.
const FAULTS: [&str; 11] = [
    "temperature",
    "stale-sensor",
    "ecc-error",
    "wrong-result",
    "out-of-memory",
    "lost-lease",
    "halt",
    "killed-daemon",
    "hung-daemon",
    "full-state-disk",
    "host-lease",
];

fn drill(ground: &Ground, words: &str) -> Outcome {
    Ctl::new(ground).words(&format!("--output json drill {words}")).run()
}

fn fault<'a>(drill: &'a Value, name: &str) -> &'a Value {
    let faults = drill["faults"].as_array().expect("faults are a list");
    faults.iter().find(|fault| fault["fault"] == name).expect("every fault is told")
}

/// What `sstsd check` says of drills.
fn checked(ground: &Ground) -> (String, String) {
    let mut check = std::process::Command::new(&ground.programs().sstsd);
    check.args(["check", "--output", "json", "--config"]).arg(ground.config());
    let output = check.arg("--state-dir").arg(ground.state()).output().expect("sstsd can be executed");
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let lines = report["capabilities"].as_array().expect("it is a list");
    let line = lines.iter().find(|line| line["name"] == "drill").expect("it tells of drills");
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("detail"))
}

/// The whole of it, beside a daemon of the host. Once more where a busy machine made one look late: each fault is judged by
/// the clock.
#[test]
fn every_fault_is_noticed_ends_the_load_and_is_on_record() {
    if !privileged() {
        return;
    }
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let ground = Ground::alone();
    ground.configure("[limits]\ndrill_within = \"30d\"\ndrill_for_runs_over = \"10m\"\n");
    let daemon = Daemon::start(&ground);
    assert_eq!(checked(&ground).0, "degraded", "it was never drilled");
    let long = "burn cpu --cores 0 --load 5 --tolerance 100 --duration 11m --detach";
    let refused = Ctl::new(&ground).words(long).run();
    refused.assert_status(2).assert_tells(&["needs a drill", "there was none", "sstsctl drill"]);

    let mut outcome = drill(&ground, "");
    if outcome.status.code() == Some(3) {
        outcome.show();
        outcome = drill(&ground, "");
    }
    outcome.assert_status(0);
    let told = outcome.json();
    assert_eq!((&told["outcome"], &told["noted"]), (&"pass".into(), &true.into()), "{told:#}");
    assert!(told["duration_s"].as_f64() < Some(60.0), "{told:#}");
    for name in FAULTS {
        let fault = fault(&told, name);
        assert_eq!(fault["outcome"], "pass", "{fault:#}");
        for key in ["how", "receipt", "record"] {
            assert!(fault[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {fault:#}");
        }
    }
    // What is measured is there, and nothing is made up: a dead daemon notes nothing.
    let has = |name: &str, key: &str| fault(&told, name)[key].is_f64();
    assert!(has("temperature", "noticed_after_s") && has("temperature", "quiet_after_s"), "{told:#}");
    assert!(!has("killed-daemon", "noticed_after_s") && has("killed-daemon", "quiet_after_s"), "{told:#}");
    assert!(fault(&told, "temperature")["record"].as_str().is_some_and(|record| record.contains("aborted")));

    assert_eq!(checked(&ground).0, "works");
    let started = Ctl::new(&ground).words(long).run();
    started.assert_status(0);
    daemon.burning(1);
    Ctl::new(&ground).words("stop").run().assert_status(0);
    assert_eq!(ground.leftovers(), [""; 0]);
    assert_eq!(daemon.cgroups(), [""; 0]);
}

/// A drill of one fault proves nothing of the others: it is told, and not kept as a whole one.
#[test]
fn a_part_of_a_drill_is_not_kept_as_one() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    let outcome = drill(&ground, "--only halt");
    let told = outcome.json();
    assert_eq!(told["noted"], false, "{told:#}");
    assert_eq!(told["faults"].as_array().map(Vec::len), Some(1));
    assert_eq!(checked(&ground).0, "degraded");
}

/// The host's own daemon is halted only where somebody says so, and is not left halted.
#[test]
fn the_hosts_daemon_is_halted_only_on_request() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    drill(&ground, "--only host-halt").assert_status(2).assert_tells(&["--halt"]);
    let outcome = drill(&ground, "--only host-halt --halt");
    let told = outcome.json();
    assert!(
        fault(&told, "host-halt")["record"].as_str().is_some_and(|record| record.contains("halted")),
        "{told:#}"
    );
    assert_eq!(Ctl::new(&ground).words("status").json()["halted"], false);
    assert_eq!(daemon.burners(), []);
}

/// A run that is on is not disturbed, and what was not tried is no pass.
#[test]
fn a_busy_host_is_left_alone() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    Ctl::new(&ground).words("burn cpu --cores 0 --load 5 --duration 1m --detach").run().assert_status(0);
    daemon.burning(1);
    let outcome = drill(&ground, "--only host-lease");
    outcome.assert_status(3);
    let told = outcome.json();
    assert_eq!(
        (&told["outcome"], &fault(&told, "host-lease")["outcome"]),
        (&"skipped".into(), &"skipped".into())
    );
    let runs = Ctl::new(&ground).words("runs").json();
    assert_eq!(runs["runs"][0]["state"], "running", "{runs:#}");
}

#[test]
fn a_fault_that_is_unknown_is_refused_with_those_that_are() {
    let ground = Ground::new();
    Ctl::bare(&ground)
        .words("drill --only earthquake")
        .run()
        .assert_status(2)
        .assert_tells(&["stale-sensor"]);
}

/// Killed in the middle, it leaves nothing: neither the private agent, nor its burners, nor a mount.
#[test]
fn a_killed_drill_leaves_nothing() {
    if !possible(fs::metadata("/proc/self/task").is_ok(), "there is no procfs") {
        return;
    }
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let ground = Ground::new();
    let running = Ctl::local(&ground).words("drill --only full-state-disk --only temperature").spawn();
    let (private, burners) = running.private_daemon();
    running.signal(Signal::SIGKILL);
    drop(running);
    let gone = outside::within(Duration::from_secs(5), || {
        !private.is_alive() && !burners.iter().any(outside::Process::is_alive)
    });
    burners.iter().chain([&private]).for_each(outside::Process::reap);
    assert!(gone.is_some(), "something outlives the killed drill");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("it is there");
    assert!(!mounts.contains("sstsctl-"), "{mounts}");
}
