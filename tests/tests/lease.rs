//! The lease: a run that nobody waits for any more ends, unless it was meant to be left alone.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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

/// The kernel tells a private daemon of its parent's death once for each of the parent's threads: that is one reason to stop, and
/// none to end before the host is clean.
#[test]
fn a_private_daemon_that_is_told_of_one_death_many_times_leaves_nothing() {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let ground = Ground::new();
    let running = Ctl::local(&ground).words("burn cpu --load 30 --duration 1m").spawn();
    let (private, burners) = running.private_daemon();
    for _ in 0..20 {
        private.signal(Signal::SIGTERM);
        thread::sleep(Duration::from_millis(1));
    }
    let gone = outside::within(Duration::from_secs(10), || !private.is_alive());
    assert!(gone.is_some() && !burners.iter().any(Process::is_alive), "something goes on");
    assert_eq!(outside::run_cgroups(private.pid), [""; 0]);
    running.outcome();
    let runs = Ctl::local(&ground).words("runs").json();
    assert_eq!(runs["runs"][0]["cause"], "agent_stopped", "{runs:#}");
}

/// Ends by its lease: says how long after `begin`.
fn ended_by_its_lease(ground: &Ground, burners: &[Process], begin: Instant) -> Duration {
    let gone = outside::within(TTL * 2, || !burners.iter().any(Process::is_alive));
    let took = begin.elapsed();
    assert!(gone.is_some(), "the run goes on without its client");
    let mut run = Value::Null;
    outside::within(Duration::from_secs(5), || {
        run = Ctl::new(ground).words("runs").json()["runs"][0].take();
        run["state"] == "finished"
    });
    assert_eq!((&run["verdict"], &run["cause"]), (&"aborted".into(), &"lease_expired".into()), "{run:#}");
    took
}

/// A client that hangs is as good as dead.
#[test]
fn a_run_ends_with_its_lease_when_the_client_is_frozen() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let running = Ctl::new(&ground).words("burn cpu --load 5 --duration 1m").spawn();
    let burners = daemon.burning(1);
    running.signal(Signal::SIGSTOP);
    let took = ended_by_its_lease(&ground, &burners, Instant::now());
    note(format_args!("ended after {took:?}"));
    assert!((TTL - RENEWED..=TTL + TICK + SLACK).contains(&took), "{took:?}");
    // When it wakes up it learns what became of its run.
    running.signal(Signal::SIGCONT);
    let status = running.outcome().status.code();
    assert!(matches!(status, Some(4 | 5)), "{status:?}");
}

/// A line between client and daemon that swallows everything from some moment on, and tells neither side.
struct Line {
    socket: std::path::PathBuf,
    is_cut: Arc<AtomicBool>,
}

impl Line {
    fn to(ground: &Ground) -> Self {
        let socket = ground.path("line.sock");
        let listener = UnixListener::bind(&socket).expect("the folder is ours");
        let is_cut = Arc::new(AtomicBool::new(false));
        let (cut, daemon) = (is_cut.clone(), ground.socket());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = UnixStream::connect(&daemon) else { return };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
                    let cut = cut.clone();
                    thread::spawn(move || {
                        let mut bytes = [0; 4_096];
                        while let Ok(read @ 1..) = from.read(&mut bytes) {
                            // Open ends, and nothing comes through.
                            while cut.load(Ordering::Relaxed) {
                                thread::park();
                            }
                            if to.write_all(&bytes[..read]).is_err() {
                                return;
                            }
                        }
                        let _gone = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { socket, is_cut }
    }
}

/// Neither side is told that nothing comes through any more.
#[test]
fn a_run_ends_with_its_lease_when_the_line_is_cut() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let line = Line::to(&ground);
    let host = format!("unix:{}", line.socket.display());
    let running = Ctl::bare(&ground).args(["--host", &host]).words("burn cpu --load 5 --duration 1m").spawn();
    let burners = daemon.burning(1);
    line.is_cut.store(true, Ordering::Relaxed);
    let took = ended_by_its_lease(&ground, &burners, Instant::now());
    note(format_args!("ended after {took:?}"));
    assert!((TTL - RENEWED..=TTL + TICK + SLACK).contains(&took), "{took:?}");
    // The client has noticed by itself, and says what becomes of the run.
    let outcome = running.outcome();
    outcome.assert_status(5).assert_tells(&["lost the agent", "its lease of 10 s"]);
}

/// Each run has a lease of its own.
#[test]
fn of_two_runs_only_the_abandoned_one_ends() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let kept = Ctl::new(&ground).words("burn cpu --cores 0 --load 5 --tolerance 100 --duration 14s").spawn();
    daemon.burning(1);
    let abandoned = Ctl::new(&ground).words("burn cpu --cores 1 --load 5 --duration 1m").spawn();
    daemon.burning(2);
    abandoned.signal(Signal::SIGKILL);
    drop(abandoned);
    assert!(outside::within(TTL * 2, || daemon.burners().len() == 1).is_some());
    kept.outcome().assert_status(0);
}
