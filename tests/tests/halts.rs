//! The emergency stop, by every way: asked for, by a file, by a signal. It latches across restarts, says who, when and why to
//! whoever tries to start, and how long it took is measured each time and exported.

use std::{fs, time::Duration};

use nix::{sys::signal::Signal, unistd::getuid};
use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, outside};

fn halted(ground: &Ground) -> Option<Value> {
    let status = Ctl::new(ground).words("status").json();
    (status["halted"] == true).then(|| status["halt"].clone())
}

/// Halts a burning host by a way, and sees to all that must follow.
fn halt_by(way: &str, halt: impl FnOnce(&Ground, &Daemon), parts: &[&str]) {
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    let id = Ctl::new(&ground).words("burn cpu --load 20 --duration 1m --detach").run();
    let id = id.assert_status(0).stdout.trim().to_owned();
    daemon.burning(1);
    halt(&ground, &daemon);
    let known = outside::within(Duration::from_secs(10), || {
        let state = halted(&ground);
        daemon.burners().is_empty()
            && state.is_some_and(|halt| {
                let text = halt.to_string();
                halt["quiet_after_s"].is_number() && parts.iter().all(|part| text.contains(part))
            })
    });
    let state = halted(&ground);
    assert!(known.is_some(), "{way}: {state:?}\n{}", daemon.log());
    let state = state.expect("just seen");
    assert_eq!(state["way"], way, "{state:#}");
    assert!(state["quiet_after_s"].as_f64().is_some_and(|s| s > 0.0 && s < 5.0), "{state:#}");

    let over = outside::within(Duration::from_secs(10), || {
        Ctl::new(&ground).words("runs").json()["runs"][0]["state"] == "finished"
    });
    assert!(over.is_some(), "{}", daemon.log());
    let run = Ctl::new(&ground).args(["report", &id]).json();
    assert_eq!((&run["verdict"], &run["cause"]), (&"aborted".into(), &"halted".into()), "{run:#}");
    let host = &run["hosts"][0];
    assert_eq!(host["receipt"]["state"], "clean", "{host:#}");
    let events = host["events"].as_array().expect("events are a list");
    let quiet = events.iter().find(|event| event["kind"] == "quiet").expect("it is told");
    assert!(quiet["fields"]["quiet_after_ns"].as_str().is_some(), "{quiet:#}");

    // Who, when and why, to whoever tries to start; also after a restart.
    let refused = || {
        let refused = Ctl::new(&ground).words("burn cpu --duration 1s").run();
        refused.assert_status(4).assert_tells(parts).assert_tells(&["since 20", "sstsctl halt --clear"]);
    };
    refused();
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(5)).expect("it was killed");
    let _next = Daemon::start(&ground);
    refused();
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);
    assert!(!ground.path("run/halt").exists(), "it would halt again at the next start");
    Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 2s").run().assert_status(0);
    assert_eq!(halted(&ground), None);
}

#[test]
fn by_request() {
    let halt = |ground: &Ground, _: &Daemon| {
        let halted = Ctl::new(ground).args(["halt", "--reason", "smoke"]).json();
        assert!(halted["quiet_after_s"].as_f64().is_some(), "{halted:#}");
    };
    halt_by("request", halt, &["smoke", &format!("uid {}", getuid())]);
}

#[test]
fn by_a_file() {
    let halt = |ground: &Ground, _: &Daemon| {
        fs::write(ground.path("run/halt"), "smoke in rack 7\n").expect("the folder is ours");
    };
    halt_by("file", halt, &["smoke in rack 7", &format!("uid {}", getuid()), "run/halt"]);
}

#[test]
fn by_a_signal() {
    let halt = |_: &Ground, daemon: &Daemon| daemon.signal(Signal::SIGUSR1);
    let own = format!("uid {} (pid {})", getuid(), std::process::id());
    halt_by("signal", halt, &["SIGUSR1", &own]);
}

/// A daemon that starts while the file is there starts halted. Configuration says where it is.
#[test]
fn a_file_that_is_there_already_halts() {
    let ground = Ground::new();
    let file = ground.path("tmp/stop-here");
    ground.configure(&format!("halt_file = \"{}\"\n", file.display()));
    fs::write(&file, "maintenance").expect("the folder is ours");
    let _daemon = Daemon::start(&ground);
    let seen = outside::within(Duration::from_secs(5), || {
        halted(&ground).is_some_and(|halt| halt["reason"] == "maintenance")
    });
    assert!(seen.is_some(), "{:?}", halted(&ground));
    Ctl::new(&ground).words("burn cpu --duration 1s").run().assert_status(4).assert_tells(&["maintenance"]);
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);
    assert!(!file.exists());
    // The other place is none any more.
    fs::write(ground.path("run/halt"), "").expect("the folder is ours");
    Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 2s").run().assert_status(0);
}
