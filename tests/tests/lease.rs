//! The lease: a run that nobody waits for any more ends, unless it was meant to be left alone.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::{prctl, signal::Signal};
use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground, note,
    outside::{self, Process},
};

/// sstsctl's leases, and a tick of the daemon.
const TTL: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(100);
/// The daemon's reaction, and what a busy machine adds.
const SLACK: Duration = Duration::from_millis(900);
/// sstsctl renews every second: the last time may be so long ago.
const RENEWED: Duration = Duration::from_millis(1_500);

#[test]
fn a_run_ends_with_its_lease_when_the_client_is_killed() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let running = Ctl::new(&ground).words("burn cpu --load 5 --duration 1m").spawn();
    let burners = daemon.burning(1);
    running.signal(Signal::SIGKILL);
    let begin = Instant::now();
    drop(running);
    let gone = outside::within(TTL * 2, || !burners.iter().any(Process::is_alive));
    let took = begin.elapsed();
    assert!(gone.is_some(), "the run goes on without its client");
    note(format_args!("ended after {took:?}"));
    assert!((TTL - RENEWED..=TTL + TICK + SLACK).contains(&took), "{took:?}");
    let mut run = Value::Null;
    outside::within(Duration::from_secs(5), || {
        run = Ctl::new(&ground).words("runs").json()["runs"][0].take();
        run["state"] == "finished"
    });
    assert_eq!((&run["verdict"], &run["cause"]), (&"aborted".into(), &"lease_expired".into()), "{run:#}");
    let id = run["run_id"].as_str().expect("it is text");
    // Whoever looks at it later gets the status that says so.
    Ctl::new(&ground).args(["watch", id]).run().assert_status(4);
}

/// Started on purpose to be left alone, it goes on without its client, past any lease.
#[test]
fn a_detached_run_outlives_its_client() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let id = Ctl::new(&ground)
        .words("burn cpu --load 5 --duration 12s --detach")
        .run()
        .assert_status(0)
        .stdout
        .trim()
        .to_owned();
    daemon.burning(1);
    // Somebody watches for a while, and is killed: no onlooker's end is the run's.
    let watching = Ctl::new(&ground).args(["watch", &id]).spawn();
    thread::sleep(Duration::from_millis(500));
    watching.signal(Signal::SIGKILL);
    drop(watching);
    let followed = Ctl::new(&ground).args(["--output", "json", "watch", &id]).run();
    followed.assert_status(0);
    let result = followed.json();
    assert_eq!((&result["verdict"], &result["cause"]), (&"pass".into(), &"completed".into()), "{result:#}");
    assert!(result["duration_s"].as_f64() > Some(11.9), "{result:#}");
}

/// A private daemon ends with its command, however that ends; its burners with it.
#[test]
fn a_private_daemon_dies_with_its_killed_client() {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let ground = Ground::new();
    let running = Ctl::local(&ground).words("burn cpu --load 30 --duration 1m").spawn();
    let (private, burners) = running.private_daemon();
    running.signal(Signal::SIGKILL);
    drop(running);
    let gone = outside::within(Duration::from_secs(3), || {
        !private.is_alive() && !burners.iter().any(Process::is_alive)
    });
    burners.iter().chain([&private]).for_each(Process::reap);
    assert!(gone.is_some(), "something outlives the killed command");
    assert_eq!(outside::run_cgroups(private.pid), [""; 0]);
}
