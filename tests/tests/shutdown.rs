//! `systemctl stop sstsd` during a run: everything ends in order, and the record says why.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ssts_tests::{Ctl, Daemon, Ground, note, outside::Process};

fn stop_during_a_run(signal: Signal) {
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    let running = Ctl::new(&ground).words("--output json burn cpu --duration 1m").spawn();
    let burners = daemon.burning(1);
    let begin = Instant::now();
    daemon.signal(signal);
    let status = daemon.wait(Duration::from_secs(10)).expect("it does not end");
    let took = begin.elapsed();
    note(format_args!("{signal}: ended after {took:?}"));
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!burners.iter().any(Process::is_alive), "burners outlive their daemon");
    assert!(!ground.socket().exists(), "the socket was left");
    assert_eq!(daemon.cgroups(), [""; 0]);
    assert_eq!(ground.leftovers(), [""; 0]);
    // Whoever waited for the run is told, with a status that says abort or lost agent.
    let outcome = running.outcome();
    assert!(matches!(outcome.status.code(), Some(4 | 5)), "{outcome:?}");

    let _next = Daemon::start(&ground);
    let runs = Ctl::new(&ground).words("runs").json();
    let run = &runs["runs"][0];
    assert_eq!((&run["verdict"], &run["cause"]), (&"aborted".into(), &"agent_stopped".into()), "{run:#}");
}

#[test]
fn sigterm_ends_the_run_and_the_daemon_in_order() {
    stop_during_a_run(Signal::SIGTERM);
}

#[test]
fn sigint_does_the_same() {
    stop_during_a_run(Signal::SIGINT);
}

/// Nothing to end: gone at once.
#[test]
fn an_idle_daemon_ends_at_once() {
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    let watching = Ctl::new(&ground).words("watch").spawn();
    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait(Duration::from_secs(2)).expect("it does not end");
    assert_eq!(status.code(), Some(0));
    assert!(!ground.socket().exists(), "the socket was left");
    watching.outcome().assert_status(5);
}
