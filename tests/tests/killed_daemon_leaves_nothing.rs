//! `kill -9` of the daemon is the worst that can happen to it: an out-of-memory kill does just that. Its burners must not
//! outlive it, or a host would burn with nobody to stop it.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::{prctl, signal::Signal};
use ssts_tests::{Ctl, Daemon, Ground, note, outside::Process};

/// The promise.
const GONE_WITHIN: Duration = Duration::from_millis(50);
const TRIES: usize = 10;

fn full_load(ground: &Ground) -> String {
    let toml = format!(
        r#"
name = "full"
[[phase]]
name = "all"
duration = "1m"
[[phase.burner]]
kind = "cpu"
[[phase.burner]]
kind = "disk"
path = "{}"
size = "16MiB"
rw = "randwrite"
"#,
        ground.disk().display()
    );
    ground.file("full.toml", &toml)
}

/// Kills the daemon under full load; gives the time to the last burner's end.
fn kill_under_load(ground: &Ground, scenario: &str) -> Duration {
    let mut daemon = Daemon::start(ground);
    Ctl::new(ground).args(["run", scenario, "--detach"]).run().assert_status(0);
    let burners = daemon.burning(2);
    thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    daemon.signal(Signal::SIGKILL);
    while burners.iter().any(Process::is_alive) {
        assert!(begin.elapsed() < Duration::from_secs(5), "burners outlive their daemon");
        thread::sleep(Duration::from_millis(1));
    }
    let took = begin.elapsed();
    daemon.wait(Duration::from_secs(5)).expect("it was killed");
    burners.iter().for_each(Process::reap);
    assert_eq!(ground.leftovers(), [""; 0], "files were left");
    took
}

/// Ten times over, by the clock; then a new daemon on the same folder and socket tidies up and tells what happened.
#[test]
fn no_burner_outlives_its_daemon() {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let ground = Ground::alone();
    let scenario = full_load(&ground);
    let mut took: Vec<_> = (0..TRIES).map(|_| kill_under_load(&ground, &scenario)).collect();
    took.sort_unstable();
    note(format_args!("burners gone after {took:?}"));
    // A neighbour can hold up the one who looks, not the kernel that kills: one late look in ten is the neighbour's.
    assert!(took[TRIES - 2] <= GONE_WITHIN, "{took:?}");

    let daemon = Daemon::start(&ground);
    assert_eq!(daemon.burners(), []);
    let runs = Ctl::new(&ground).words("runs").json();
    let runs = runs["runs"].as_array().expect("runs are a list");
    assert_eq!(runs.len(), TRIES);
    for run in runs {
        assert_eq!(
            (&run["state"], &run["verdict"], &run["cause"]),
            (&"finished".into(), &"error".into(), &"agent_lost".into()),
            "{run:#}"
        );
        let id = run["run_id"].as_str().expect("it is text");
        Ctl::new(&ground).args(["report", id]).run().assert_status(0);
    }
    // Each start swept the cgroup of the one before; and it takes work as if nothing had been.
    Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 300ms").run().assert_status(0);
}

/// The new daemon removes the cgroup that the killed one could not, and takes over its socket.
#[test]
fn the_next_daemon_sweeps_up() {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    Ctl::new(&ground).words("burn cpu --load 20 --duration 1m --detach").run().assert_status(0);
    let burners = daemon.burning(1);
    let had_cgroup = !daemon.cgroups().is_empty();
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(5)).expect("it was killed");
    let gone = ssts_tests::outside::within(Duration::from_secs(5), || !burners.iter().any(Process::is_alive));
    assert!(gone.is_some());
    burners.iter().for_each(Process::reap);
    assert!(ground.socket().exists(), "a killed daemon can't remove its socket");
    assert_eq!(!daemon.cgroups().is_empty(), had_cgroup, "a killed daemon can't remove its cgroup");
    let _next = Daemon::start(&ground);
    assert_eq!(daemon.cgroups(), [""; 0]);
}
