//! A run is over when the host was seen to be clean, and that stands in its record. What is left, or can't be seen, keeps others
//! from starting until it was looked at again, or until somebody has put his name to it.

use std::{fs, path::PathBuf, time::Duration};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground,
    outside::{self, Process},
    possible,
};

fn burn(ground: &Ground) -> String {
    let started = Ctl::new(ground).words("burn cpu --load 20 --duration 1m --detach").run();
    started.assert_status(0).stdout.trim().to_owned()
}

fn stop(ground: &Ground) -> Value {
    Ctl::new(ground).words("stop").json()
}

fn check<'a>(receipt: &'a Value, what: &str) -> &'a Value {
    let checks = receipt["checks"].as_array().expect("checks are a list");
    checks.iter().find(|check| check["what"] == what).expect("the receipt has it")
}

fn assert_clean(receipt: &Value) {
    assert_eq!(receipt["state"], "clean", "{receipt:#}");
    for check in receipt["checks"].as_array().expect("checks are a list") {
        assert_eq!(check["state"], "clean", "{receipt:#}");
    }
}

/// The receipt as it stands in the record of a run.
fn recorded(ground: &Ground, id: &str) -> Value {
    Ctl::new(ground).args(["report", id]).json()["hosts"][0]["receipt"].clone()
}

fn passes(ground: &Ground) {
    Ctl::new(ground).words("burn cpu --load 20 --tolerance 100 --duration 2s").run().assert_status(0);
}

fn without_cgroups(ground: &Ground) {
    ground.configure(&ground.procfs_without_cgroups());
}

/// In the answer to the stop, in the record, among the events, in the list, in the report.
#[test]
fn a_clean_stop_says_what_was_seen() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let id = burn(&ground);
    daemon.burning(1);
    let cgroups = daemon.cgroups();
    let stopped = stop(&ground);
    assert_clean(&stopped["receipt"]);
    assert!(stopped["quiet_after_s"].as_f64() > Some(0.0), "{stopped:#}");
    assert_eq!(stopped["run"]["receipt"], "clean", "{stopped:#}");
    for what in ["processes", "memory", "files", "settings"] {
        check(&stopped["receipt"], what);
    }
    if let Some(cgroup) = cgroups.first() {
        let seen = check(&stopped["receipt"], "cgroup")["detail"].as_str().expect("it is text");
        assert!(seen.contains(cgroup.as_str()), "{seen} {cgroup}");
        assert!(!PathBuf::from(cgroup).exists());
    }
    assert_clean(&recorded(&ground, &id));
    let report = Ctl::new(&ground).args(["report", &id]).json();
    let events = report["hosts"][0]["events"].as_array().expect("events are a list");
    let place = |kind: &str| events.iter().position(|event| event["kind"] == kind);
    assert!(place("run_stopping") < place("quiet") && place("quiet") < place("receipt"), "{events:#?}");
    assert!(place("receipt") < place("run_finished"), "{events:#?}");
    for format in ["text", "md", "html"] {
        let report = Ctl::new(&ground).args(["report", &id, "--format", format]).run();
        assert!(report.stdout.contains("What was left"), "{format}");
    }
    let text = Ctl::new(&ground).args(["stop", &id]).run();
    assert!(text.assert_status(0).stdout.contains("the host is clean"), "{text:?}");
}

/// Somebody makes a folder in the run's cgroup, so that the kernel does not let it go.
#[test]
fn what_is_left_blocks_until_it_was_seen_to_be_gone() {
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    let id = burn(&ground);
    daemon.burning(1);
    let cgroups = daemon.cgroups();
    if !possible(!cgroups.is_empty(), "no cgroup can be made: run as root") {
        return;
    }
    let in_the_way = PathBuf::from(&cgroups[0]).join("in-the-way");
    fs::create_dir(&in_the_way).expect("root may");
    let stopped = stop(&ground);
    assert_eq!(stopped["receipt"]["state"], "unknown", "{stopped:#}");
    assert!(stopped["quiet_after_s"].as_f64().is_some(), "nothing burns: {stopped:#}");
    assert_eq!(check(&stopped["receipt"], "processes")["state"], "clean", "{stopped:#}");

    let refused = Ctl::new(&ground).words("burn cpu --duration 1s").run();
    refused.assert_status(5).assert_tells(&[&id, "cgroup", "sstsctl recover"]);
    let status = Ctl::new(&ground).words("status").json();
    assert_eq!(status["unclean"][0]["run_id"], id.as_str(), "{status:#}");
    assert!(Ctl::new(&ground).words("status").run().stdout.contains("not clean"));
    Ctl::new(&ground).words("recover").run().assert_status(5);

    // It holds across a restart.
    daemon.signal(Signal::SIGTERM);
    daemon.wait(Duration::from_secs(10)).expect("it ends");
    let _next = Daemon::start(&ground);
    Ctl::new(&ground).words("burn cpu --duration 1s").run().assert_status(5).assert_tells(&[&id]);
    fs::remove_dir(&in_the_way).expect("it is empty");
    let recovered = Ctl::new(&ground).words("recover").json();
    assert_eq!(recovered["blocked"], false, "{recovered:#}");
    assert_clean(&recovered["receipts"][0]["receipt"]);
    assert_clean(&recorded(&ground, &id));
    assert!(!PathBuf::from(&cgroups[0]).exists());
    passes(&ground);
}

/// What an older or a newer version wrote, or a torn file, is nobody's to pass over in silence.
#[test]
fn what_the_journal_has_and_nobody_understands_blocks_until_it_is_given_up() {
    let ground = Ground::new();
    let undo = ground.state().join("undo");
    fs::create_dir_all(&undo).expect("the folder is ours");
    fs::write(undo.join("00000000000000000001.json"), "{\"version\":1,").expect("it is ours");
    fs::write(undo.join("00000000000000000002.json"), "{\"version\":999}").expect("it is ours");
    let _daemon = Daemon::start(&ground);
    let refused = Ctl::new(&ground).words("burn cpu --duration 1s").run();
    refused.assert_status(5).assert_tells(&["can't be read", "newer", "sstsctl recover"]);
    Ctl::new(&ground).words("recover").run().assert_status(5);
    Ctl::new(&ground).words("recover --force").run().assert_status(2).assert_tells(&["--reason"]);
    let given_up = Ctl::new(&ground).args(["recover", "--force", "--reason", "a test"]).json();
    assert_eq!(given_up["blocked"], false, "{given_up:#}");
    let waiver = &given_up["receipts"][0]["receipt"]["waiver"];
    assert_eq!(waiver["reason"], "a test", "{given_up:#}");
    assert!(waiver["by"].as_str().is_some_and(|by| by.starts_with("uid ")), "{given_up:#}");
    passes(&ground);
}

/// A daemon died having changed a sysctl and a governor: the next one sets them back, whatever else it finds.
#[test]
fn settings_are_set_back_after_a_crash() {
    let ground = Ground::new();
    without_cgroups(&ground);
    let proc = ground.path("proc");
    fs::remove_file(proc.join("sys")).expect("it is ours");
    let (swappiness, sys) = (proc.join("sys/vm/swappiness"), ground.path("sys"));
    let governor = sys.join("devices/system/cpu/cpu0/cpufreq/scaling_governor");
    for (file, now) in [(&swappiness, "10\n"), (&governor, "performance\n")] {
        fs::create_dir_all(file.parent().expect("it has one")).expect("it is ours");
        fs::write(file, now).expect("it is ours");
    }
    ground.configure(&format!("[roots]\nproc = \"{}\"\nsys = \"{}\"\n", proc.display(), sys.display()));
    let undo = ground.state().join("undo");
    fs::create_dir_all(&undo).expect("the folder is ours");
    let record = |setting: &str, original: &str, intended: &str| {
        format!(
            "{{\"version\":1,\"run_id\":\"lost\",\"change\":{{\"kind\":\"setting\",\"setting\":{setting},\
             \"original\":\"{original}\",\"intended\":\"{intended}\"}}}}"
        )
    };
    let sysctl = "{\"of\":\"sysctl\",\"name\":\"vm.swappiness\"}";
    fs::write(undo.join("00000000000000000001.json"), record(sysctl, "60", "10")).expect("it is ours");
    let of_core = "{\"of\":\"governor\",\"cpu\":0}";
    fs::write(undo.join("00000000000000000002.json"), record(of_core, "schedutil", "performance"))
        .expect("it is ours");
    let daemon = Daemon::start(&ground);
    passes(&ground);
    let read = |file: &PathBuf| fs::read_to_string(file).expect("it is ours").trim().to_owned();
    assert_eq!((read(&swappiness), read(&governor)), ("60".into(), "schedutil".into()), "{}", daemon.log());
    assert_eq!(fs::read_dir(&undo).expect("it is there").count(), 0);
}

/// `SIGSTOP` keeps a burner from seeing its deadline and its orders: what ends it is the daemon's kill alone. With a cgroup, and
/// without one.
#[test]
fn the_daemons_kill_ends_a_burner_that_can_do_nothing_itself() {
    for with_cgroup in [true, false] {
        let ground = Ground::new();
        if !with_cgroup {
            without_cgroups(&ground);
        }
        let daemon = Daemon::start(&ground);
        let id = burn(&ground);
        let burner = daemon.burning(1)[0];
        assert!(with_cgroup || daemon.cgroups().is_empty(), "{:?}", daemon.cgroups());
        kill(Pid::from_raw(burner.pid), Signal::SIGSTOP).expect("it is there");
        let stopped = stop(&ground);
        assert!(!burner.is_alive());
        assert_clean(&stopped["receipt"]);
        assert!(stopped["quiet_after_s"].as_f64() < Some(5.0), "{stopped:#}");
        let report = Ctl::new(&ground).args(["report", &id]).json();
        assert_eq!(report["hosts"][0]["burners"][0]["ended"], "signal 9 (SIGKILL)", "{report:#}");
        passes(&ground);
    }
}

/// Where there is no cgroup, a lock that dead burners can't hold is what proves that they are dead; and one that is not dead is
/// seen, and blocks.
#[test]
fn after_a_crash_without_cgroups_the_kernels_lock_tells_who_lives() {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let ground = Ground::new();
    without_cgroups(&ground);
    let mut daemon = Daemon::start(&ground);
    let id = burn(&ground);
    let burners = daemon.burning(1);
    let locks = fs::read_dir(ground.state().join("alive")).expect("it is there").flatten();
    let lock = locks.map(|entry| entry.path()).next().expect("there is one");
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(5)).expect("it was killed");
    assert!(outside::within(Duration::from_secs(5), || !burners.iter().any(Process::is_alive)).is_some());
    burners.iter().for_each(Process::reap);

    // Nobody has it.
    let mut daemon = Daemon::start(&ground);
    passes(&ground);
    let receipt = recorded(&ground, &id);
    assert_clean(&receipt);
    let seen = check(&receipt, "processes")["detail"].as_str().expect("it is text");
    assert!(seen.contains(&lock.display().to_string()), "{seen}");

    // Somebody has it, as a burner that the kernel does not let die.
    let id = burn(&ground);
    let burners = daemon.burning(1);
    let held = fs::read_link(format!("/proc/{}/fd/6", burners[0].pid)).expect("root may");
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(5)).expect("it was killed");
    assert!(outside::within(Duration::from_secs(5), || !burners.iter().any(Process::is_alive)).is_some());
    burners.iter().for_each(Process::reap);
    let file = fs::File::open(&held).expect("it is there");
    let keeper = Flock::lock(file, FlockArg::LockShared).expect("those who held it are gone");
    let _daemon = Daemon::start(&ground);
    let refused = Ctl::new(&ground).words("burn cpu --duration 1s").run();
    refused.assert_status(5).assert_tells(&[&id, &held.display().to_string()]);
    drop(keeper);
    Ctl::new(&ground).words("recover").run().assert_status(0);
    assert_clean(&recorded(&ground, &id));
    passes(&ground);
}
