//! Ctrl-C and the emergency stop: what a person reaches for when something is wrong.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use ssts_tests::{
    Ctl, Daemon, Ground,
    outside::{self, Process},
};

/// Ctrl-C: the run stops, what was measured is printed, and the status says that it was interrupted.
#[test]
fn ctrl_c_stops_the_run_and_prints_what_was_measured() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let running = Ctl::new(&ground).words("--output json burn cpu --load 30 --duration 1m").spawn();
    let burners = daemon.burning(1);
    thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    running.signal(Signal::SIGINT);
    let outcome = running.outcome();
    let took = begin.elapsed();
    outcome.assert_status(130);
    assert!(!burners.iter().any(Process::is_alive));
    assert!(took < Duration::from_secs(3), "{took:?}");
    let result = outcome.json();
    assert_eq!(
        (&result["verdict"], &result["cause"]),
        (&"aborted".into(), &"stopped_by_user".into()),
        "{result:#}"
    );
    let burner = &result["hosts"][0]["burners"][0];
    assert!(
        burner["operations"].as_u64() > Some(0) && burner["burning_s"].as_f64() > Some(0.1),
        "{burner:#}"
    );
    // The agent goes on: a stop is no halt.
    assert_eq!(Ctl::new(&ground).words("status").json()["halted"], false);
}

/// The same with a private daemon, which ends, too.
#[test]
fn ctrl_c_ends_a_private_daemon() {
    let ground = Ground::new();
    let running = Ctl::local(&ground).words("burn cpu --load 30 --duration 1m").spawn();
    let (private, burners) = running.private_daemon();
    thread::sleep(Duration::from_millis(300));
    running.signal(Signal::SIGINT);
    let outcome = running.outcome();
    outcome.assert_status(130);
    assert!(outcome.stdout.contains("aborted"), "{outcome:?}");
    assert!(!private.is_alive() && !burners.iter().any(Process::is_alive));
    assert_eq!(ground.leftovers(), [""; 0]);
}

/// Ctrl-C twice, in a hurry: whether the stop or the halt came first, nothing burns and the status is that of an interrupt.
#[test]
fn ctrl_c_twice_leaves_the_host_quiet() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let running = Ctl::new(&ground).words("burn cpu --load 30 --duration 1m").spawn();
    let burners = daemon.burning(1);
    running.signal(Signal::SIGINT);
    thread::sleep(Duration::from_millis(2));
    running.signal(Signal::SIGINT);
    running.outcome().assert_status(130);
    assert!(!burners.iter().any(Process::is_alive));
    assert_eq!(daemon.burners(), []);
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);
}

/// A daemon that does not answer can't stop its run; the second Ctrl-C asks for the halt, the third gives up waiting. Once
/// the daemon goes on the run ends: by what was asked, or with the lease where the questions went with their asker.
#[test]
fn a_second_ctrl_c_halts_and_a_third_one_gives_up_on_a_daemon_that_hangs() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let running = Ctl::new(&ground).words("burn cpu --load 30 --duration 1m").spawn();
    daemon.burning(1);
    daemon.signal(Signal::SIGSTOP);
    for _ in 0..3 {
        running.signal(Signal::SIGINT);
        // Signals of one kind that come together are one.
        thread::sleep(Duration::from_millis(150));
    }
    let outcome = running.outcome();
    daemon.signal(Signal::SIGCONT);
    outcome.assert_status(130).assert_tells(&[
        "Ctrl-C once more halts",
        "Ctrl-C once more gives up",
        "sstsctl status",
    ]);
    let quiet = outside::within(Duration::from_secs(15), || daemon.burners().is_empty());
    assert!(quiet.is_some());
}

/// Halted is halted: nothing starts, whoever asks is told by whom and why, and a restart changes nothing.
#[test]
fn a_halt_holds_until_it_is_cleared() {
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    let running = Ctl::new(&ground).words("--output json burn cpu --load 30 --duration 1m").spawn();
    let burners = daemon.burning(1);
    let halted = Ctl::new(&ground).args(["halt", "--reason", "smoke in rack 7"]).json();
    assert!(!burners.iter().any(Process::is_alive), "it returns when all is quiet");
    assert_eq!(
        (&halted["halted"], &halted["halt"]["reason"]),
        (&true.into(), &"smoke in rack 7".into()),
        "{halted:#}"
    );
    assert!(halted["quiet_after_s"].as_f64() < Some(2.0), "{halted:#}");
    let outcome = running.outcome();
    outcome.assert_status(4);
    let result = outcome.json();
    assert_eq!((&result["verdict"], &result["cause"]), (&"aborted".into(), &"halted".into()), "{result:#}");
    assert_eq!(result["outcome"], "aborted_by");

    let refused = |daemon: &Daemon| {
        let outcome = Ctl::new(&ground).words("burn cpu --load 30 --tolerance 100 --duration 1s").run();
        outcome.assert_status(4).assert_tells(&[
            "halted",
            "uid 0",
            "smoke in rack 7",
            "mend:",
            "halt --clear",
        ]);
        assert_eq!(daemon.burners(), []);
    };
    if nix::unistd::geteuid().is_root() {
        refused(&daemon);
    }
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(5)).expect("it was killed");
    let daemon = Daemon::start(&ground);
    assert_eq!(Ctl::new(&ground).words("status").json()["halt"]["reason"], "smoke in rack 7");
    if nix::unistd::geteuid().is_root() {
        refused(&daemon);
    }
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);
    Ctl::new(&ground).words("burn cpu --load 30 --tolerance 100 --duration 200ms").run().assert_status(0);
}
