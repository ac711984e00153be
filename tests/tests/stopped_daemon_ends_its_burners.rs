//! A daemon that hangs can't stop its burners, and can't guard the host from them. So they stop themselves.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ssts_tests::{
    Ctl, Daemon, Ground, note,
    outside::{self, Process},
};

/// `burners.deadline` of the default configuration: how long burners go on without a sign of life.
const DEADLINE: Duration = Duration::from_secs(1);
/// For the worker to see it and the process to end, on a machine with neighbours.
const SLACK: Duration = Duration::from_millis(100);

fn burn_and_freeze(load: &str) -> Duration {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let command = format!("burn cpu --load {load} --duration 1m --detach");
    let id = Ctl::new(&ground).words(&command).run().assert_status(0).stdout.trim().to_owned();
    let burners = daemon.burning(1);
    let begin = Instant::now();
    daemon.signal(Signal::SIGSTOP);
    // Dead to the scheduler; its parent, being stopped, can't reap it yet.
    let gone = outside::within(DEADLINE * 4, || !burners.iter().any(Process::is_alive));
    assert!(gone.is_some(), "burners go on without their daemon");
    let took = begin.elapsed();
    assert!(took >= DEADLINE / 2, "they gave up after {took:?}: any hiccup of the daemon would end a run");
    daemon.signal(Signal::SIGCONT);
    let over = outside::within(Duration::from_secs(10), || {
        Ctl::new(&ground).words("runs").json()["runs"][0]["state"] == "finished"
    });
    assert!(over.is_some(), "the run does not end");
    let run = Ctl::new(&ground).args(["report", &id]).json();
    assert_eq!((&run["verdict"], &run["cause"]), (&"error".into(), &"agent_lost".into()), "{run:#}");
    let message = run["cause_message"].as_str().expect("it is text");
    assert!(message.contains("deadline") && message.contains("stopped or starved"), "{message}");
    let ended = &run["hosts"][0]["burners"][0]["ended"];
    assert_eq!(ended, "exit 3", "{run:#}");
    Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 300ms").run().assert_status(0);
    took
}

/// A full load and one that mostly sleeps: both see the deadline in time.
#[test]
fn burners_end_by_themselves_when_their_daemon_hangs() {
    for load in ["100", "5"] {
        let mut took = burn_and_freeze(load);
        for _ in 0..2 {
            if took > DEADLINE + SLACK {
                took = took.min(burn_and_freeze(load));
            }
        }
        note(format_args!("at {load} % burners ended after {took:?}"));
        assert!(took <= DEADLINE + SLACK, "{load} %: {took:?}");
    }
}
