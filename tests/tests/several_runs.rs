//! Several runs at once: each has its cores, its result and its end, and what one was promised no other gets.

use std::{fs, time::Duration};

use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground, LoopDevice,
    outside::{self, Process},
    possible, privileged, tools,
};

const SOON: Duration = Duration::from_secs(30);

/// Starts it detached; gives its id.
fn detached(ground: &Ground, words: &str) -> String {
    let outcome = Ctl::new(ground).words(words).args(["--detach"]).run();
    outcome.assert_status(0).stdout.trim().to_owned()
}

fn on(ground: &Ground) -> Vec<String> {
    let status = Ctl::new(ground).words("status").json();
    let runs = status["runs"].as_array().expect("it is a list").iter();
    runs.map(|run| run["run_id"].as_str().expect("it is text").to_owned()).collect()
}

fn summary(ground: &Ground, id: &str) -> Value {
    let runs = Ctl::new(ground).words("runs").json();
    let mut all = runs["runs"].as_array().expect("it is a list").iter();
    all.find(|run| run["run_id"] == id).cloned().unwrap_or_default()
}

fn finished(ground: &Ground, id: &str) -> Value {
    let mut run = Value::Null;
    let over = outside::within(SOON, || {
        run = summary(ground, id);
        run["state"] == "finished"
    });
    assert!(over.is_some(), "it does not end: {run:#}");
    run
}

fn report(ground: &Ground, id: &str) -> Value {
    Ctl::new(ground).args(["report", id]).json()
}

#[test]
fn two_runs_have_a_core_each_and_their_own_results() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    // The second one takes what the first one left, without being told.
    let first = detached(&ground, "burn cpu --cores 0 --load 20 --tolerance 100 --duration 4s");
    let second = detached(&ground, "burn cpu --load 30 --tolerance 100 --duration 3s");
    daemon.burning(2);
    assert_eq!(daemon.cgroups().len(), 2, "each has a cgroup of its own");
    assert_eq!(on(&ground), [second.clone(), first.clone()], "the latest first");
    let text = Ctl::new(&ground).words("status").run();
    assert!(text.stdout.contains("2 runs"), "{}", text.stdout);
    assert!(text.stdout.contains(&first) && text.stdout.contains(&second), "{}", text.stdout);
    for (id, load) in [(&first, 20.0), (&second, 30.0)] {
        let run = finished(&ground, id);
        assert_eq!((&run["verdict"], &run["cause"]), (&"pass".into(), &"completed".into()), "{run:#}");
        let report = report(&ground, id);
        let burners = report["hosts"][0]["burners"].as_array().expect("it is a list");
        assert_eq!(burners.len(), 1);
        assert_eq!(burners[0]["target_load"], load);
        // Of the other's burner it knows nothing.
        let targets = &report["hosts"][0]["telemetry"]["burner.target"];
        assert_eq!(
            targets.as_array().expect("it is a list").len(),
            burners[0]["cores"].as_array().expect("it is a list").len()
        );
        assert_eq!(targets[0]["max"].as_f64(), Some(load / 100.0), "{targets:#}");
        assert!(targets[0]["labels"].get("run").is_none(), "{targets:#}");
        // Each has its record: the whole host's telemetry during it.
        let telemetry = Ctl::new(&ground).args(["telemetry", id, "--metric", "burner.prepared"]).run();
        telemetry.assert_status(0);
        assert!(telemetry.stdout.contains(id.as_str()), "{}", telemetry.stdout);
    }
    let report = report(&ground, &second);
    let cores = &report["hosts"][0]["burners"][0]["cores"];
    assert!(!cores.as_array().expect("it is a list").contains(&0.into()), "{cores}");
    assert!(daemon.cgroups().is_empty());
}

#[test]
fn a_stop_ends_one_and_a_halt_ends_all() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let first = detached(&ground, "burn cpu --cores 0 --load 5 --duration 1m");
    let second = detached(&ground, "burn cpu --cores 1 --load 5 --duration 1m");
    let burners = daemon.burning(2);
    // Which one is meant?
    let outcome = Ctl::new(&ground).words("stop").run();
    outcome.assert_status(2).assert_tells(&["2 runs go on", &first, &second]);
    Ctl::new(&ground).args(["pause", &second]).run().assert_status(0);
    assert_eq!(summary(&ground, &first)["state"], "running");
    Ctl::new(&ground).args(["resume", &second]).run().assert_status(0);
    Ctl::new(&ground).args(["stop", &first]).run().assert_status(0);
    assert_eq!(burners.iter().filter(|burner| burner.is_alive()).count(), 1);
    assert_eq!(on(&ground), std::slice::from_ref(&second));
    // Now there is one that can be meant; and the core is free again.
    let third = detached(&ground, "burn cpu --cores 0 --load 5 --duration 1m");
    daemon.burning(2);
    let halted = Ctl::new(&ground).words("halt --reason smoke").json();
    assert!(halted["quiet_after_s"].as_f64().is_some(), "{halted:#}");
    assert_eq!(daemon.burners(), []);
    assert!(daemon.cgroups().is_empty());
    for id in [&second, &third] {
        let run = finished(&ground, id);
        assert_eq!((&run["verdict"], &run["cause"]), (&"aborted".into(), &"halted".into()), "{run:#}");
    }
    assert_eq!(summary(&ground, &first)["cause"], "stopped_by_user");
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);
}

#[test]
fn the_end_of_the_daemon_ends_all() {
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    for core in 0..2 {
        detached(&ground, &format!("burn cpu --cores {core} --load 5 --duration 1m"));
    }
    let burners = daemon.burning(2);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let status = daemon.wait(SOON).expect("it ends");
    assert!(status.success(), "{status}\n{}", daemon.log());
    assert!(!burners.iter().any(Process::is_alive));
    assert!(daemon.cgroups().is_empty());
}

#[test]
fn a_core_is_one_runs_unless_both_share() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let alone = detached(&ground, "burn cpu --cores 0 --load 5 --duration 1m");
    daemon.burning(1);
    for words in ["burn cpu --cores 0,1 --duration 1s", "burn cpu --cores 0 --share-cores --duration 1s"] {
        let outcome = Ctl::new(&ground).words(words).run();
        outcome.assert_status(2).assert_tells(&[
            "--cores",
            "cores 0 are in use by run",
            &alone,
            "--share-cores",
        ]);
    }
    let shared = detached(&ground, "burn cpu --cores 1 --share-cores --load 5 --duration 1m");
    // All are taken: one that doesn't share gets none, one that does gets the shared one.
    let folder = ground.disk().display().to_string();
    let disk = format!("burn disk --path {folder} --size 1MiB --duration 1s");
    let outcome = Ctl::new(&ground).words(&disk).run();
    if fs::read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t").count() == 2 {
        outcome.assert_status(2).assert_tells(&["every core", &alone, &shared]);
    }
    let result = Ctl::new(&ground)
        .words("burn cpu --cores 1 --share-cores --load 5 --tolerance 100 --duration 1s")
        .json();
    assert_eq!(result["hosts"][0]["burners"][0]["cores"], serde_json::json!([1]), "{result:#}");
    assert_eq!(result["verdict"], "pass", "{result:#}");
}

#[test]
fn no_more_than_the_policy_has_room_for() {
    let ground = Ground::new();
    ground.configure("[policy]\nmax_runs = 1\n");
    let daemon = Daemon::start(&ground);
    let first = detached(&ground, "burn cpu --cores 0 --load 5 --duration 1m");
    let outcome = Ctl::new(&ground).words("burn cpu --cores 1 --duration 1s").run();
    outcome.assert_status(5).assert_tells(&["1 of at most 1 runs", &first, "policy.max_runs"]);
    assert_eq!(daemon.burners().len(), 1);
}

/// Memory that is promised and not there yet counts, and so does room on a disk.
#[test]
fn what_one_was_promised_no_other_gets() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let available =
        Ctl::new(&ground).words("info").json()["memory_available_bytes"].as_u64().expect("it is there");
    let most = available / 2;
    // It takes an hour to fill.
    let rate = (most / 3_600).max(1 << 20);
    let words = format!("burn memory --cores 0 --size {most} --fill-rate {rate} --duration 1s");
    let first = detached(&ground, &words);
    let filling = || daemon.burners().iter().any(|burner| burner.worker_time() > Duration::ZERO);
    assert!(outside::within(SOON, filling).is_some());
    let words = format!("burn memory --cores 1 --size {} --duration 1s", available / 10 * 6);
    let outcome = Ctl::new(&ground).words(&words).run();
    outcome.assert_status(2).assert_tells(&["--size", "are promised to run", &first, "kept in reserve"]);
    // What is left, it gets.
    let result = Ctl::new(&ground).words("burn memory --cores 1 --size 16MiB --duration 100ms").json();
    assert_eq!(result["verdict"], "pass", "{result:#}");
    Ctl::new(&ground).args(["stop", &first]).run().assert_status(0);
}

#[test]
fn a_device_is_one_runs() {
    if !privileged() || !tools(&["losetup"]) {
        return;
    }
    let ground = Ground::new();
    let device = LoopDevice::new(&ground.disk().join("image"), 16 << 20);
    if !possible(device.is_some(), "this machine gives no loop device") {
        return;
    }
    let node = device.as_ref().map(|device| device.path().display().to_string()).unwrap_or_default();
    ground.configure(&format!("[limits]\nexpendable_devices = [\"{node}\"]\n"));
    let daemon = Daemon::start(&ground);
    let words = |core: u32| {
        format!("burn disk --path {node} --cores {core} --size 4MiB --rw randread --rate 10 --duration 1m")
    };
    let first = detached(&ground, &words(0));
    daemon.burning(1);
    let outcome = Ctl::new(&ground).words(&words(1)).run();
    outcome.assert_status(2).assert_tells(&["--path", &node, "in use by run", &first]);
    Ctl::new(&ground).args(["stop", &first]).run().assert_status(0);
}
