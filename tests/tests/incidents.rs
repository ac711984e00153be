//! What went wrong with tools of this kind, told as stories that must end well here. docs/safety.md has all of them; those
//! that another story tells already are named there.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{prctl, signal::Signal},
    unistd::geteuid,
};
use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground, Sysfs,
    outside::{self, Process},
};

/// What a busy machine may add to anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody else's load: loops of the shell, twice as many as there are cores.
struct Crowd(Vec<Child>);

impl Crowd {
    fn new() -> Self {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let one = || {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            command.spawn().expect("every machine has sh")
        };
        Self((0..2 * cores).map(|_| one()).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for one in &mut self.0 {
            let _best_effort = one.kill();
            let _best_effort = one.wait();
        }
    }
}

/// The states of a process's children, by /proc/PID/stat: `R`, `S`, `Z`.
fn states_of_children(pid: i32) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
    let texts = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let pids: Vec<String> =
        texts.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let state = |pid: String| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat[stat.rfind(')')? + 1..].trim_start().chars().next()
    };
    pids.into_iter().filter_map(state).collect()
}

fn detach(ground: &Ground, words: &str) -> String {
    let outcome = Ctl::new(ground).words(&format!("burn {words} --detach")).run();
    outcome.assert_status(0).stdout.trim().to_owned()
}

fn first_run(ground: &Ground) -> Value {
    Ctl::new(ground).words("runs").json()["runs"][0].take()
}

/// A stop was answered with success while both burners went on at 100 %.
#[test]
fn a_stop_is_answered_when_nothing_burns_any_more() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    for kernel in ["fma", "context-switch"] {
        detach(&ground, &format!("cpu --kernel {kernel} --duration 1m"));
        let burners = daemon.burning(1);
        let all: Vec<Process> =
            burners.iter().flat_map(|burner| std::iter::once(*burner).chain(burner.descendants())).collect();
        Ctl::new(&ground).words("stop").run().assert_status(0);
        assert!(!all.iter().any(Process::is_alive), "{kernel}: answered, and {all:?} are there");
        assert_eq!(daemon.process().descendants().iter().filter(|process| process.is_alive()).count(), 0);
    }
}

/// Ended burners stayed as zombies, one more with each experiment, until no process could be started.
#[test]
fn ended_burners_are_reaped() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    for end in ["by itself", "by a stop", "by a kill"] {
        let duration = if end == "by itself" { "300ms" } else { "1m" };
        detach(&ground, &format!("cpu --cores 0 --load 20 --tolerance 100 --duration {duration}"));
        match end {
            "by a stop" => drop(Ctl::new(&ground).words("stop").run()),
            "by a kill" => daemon.burning(1).iter().for_each(Process::kill),
            _ => {}
        }
        let over = || first_run(&ground)["state"] == "finished";
        assert!(outside::within(PATIENCE, over).is_some(), "{end}: the run does not end");
        let children = states_of_children(daemon.process().pid);
        assert!(children.is_empty(), "{end}: {children:?}");
    }
}

/// Burners were looked for by the name of their program; under another name they could never be ended.
#[test]
fn burners_are_stopped_whatever_their_program_is_called_now() {
    let ground = Ground::new();
    let program = ground.path("tmp/another-name");
    fs::copy(&ground.programs().sstsd, &program).expect("there is room");
    let daemon = Daemon::start_program(&ground, &program, |_| {});
    detach(&ground, "cpu --cores 0 --load 20 --duration 1m");
    let burners = daemon.burning(1);
    fs::remove_file(&program).expect("it is ours");
    Ctl::new(&ground).words("stop").run().assert_status(0);
    assert!(!burners.iter().any(Process::is_alive));
}

/// A release needed a signal for each worker.
#[test]
fn one_stop_ends_all_of_sixty_four_workers() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    detach(&ground, "cpu --workers 64 --duration 1m");
    let burners = daemon.burning(1);
    assert_eq!(burners[0].workers().len(), 64);
    Ctl::new(&ground).words("stop").run().assert_status(0);
    assert!(!burners.iter().any(Process::is_alive));
    assert_eq!(daemon.cgroups(), [""; 0]);
}

/// An experiment that was interrupted while it started stayed "created" for ever, and could not be ended.
#[test]
fn an_interruption_during_the_start_leaves_no_half_run() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    for delay_ms in [0, 5, 10, 20, 40, 80, 160] {
        let running = Ctl::new(&ground).words("burn cpu --cores 0 --load 20 --duration 1m").spawn();
        thread::sleep(Duration::from_millis(delay_ms));
        running.signal(Signal::SIGINT);
        let status = running.outcome().status.code();
        // Before it listens for it, the signal ends the command, and the lease the run.
        let quiet = || {
            let runs = Ctl::new(&ground).words("runs").json();
            let runs = runs["runs"].as_array().cloned().unwrap_or_default();
            runs.iter().all(|run| run["state"] == "finished") && daemon.burners().is_empty()
        };
        assert!(outside::within(2 * PATIENCE, quiet).is_some(), "after {delay_ms} ms: ended with {status:?}");
    }
    Ctl::new(&ground)
        .words("burn cpu --cores 0 --load 20 --tolerance 100 --duration 200ms")
        .run()
        .assert_status(0);
}

/// As root, a load generator made its processes the last that the kernel would kill for memory: it took the session instead.
#[test]
fn burners_are_the_first_to_go_when_memory_runs_out() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let score = |process: &Process| -> i32 {
        let text = fs::read_to_string(format!("/proc/{}/oom_score_adj", process.pid)).expect("it lives");
        text.trim().parse().expect("it is a number")
    };
    detach(&ground, "memory --size 16MiB --duration 1m");
    let first_to_go = || daemon.burners().iter().any(|burner| score(burner) == 1_000);
    assert!(outside::within(PATIENCE, first_to_go).is_some());
    assert!(score(&daemon.process()) < 1_000);
    Ctl::new(&ground).words("stop").run().assert_status(0);
}

/// On a host that was loaded already, heartbeats were missed and a sound test was ended; or it could not be ended in time.
#[test]
fn on_a_loaded_host_a_run_is_neither_lost_nor_beyond_reach() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let crowd = Crowd::new();
    let passes = Ctl::new(&ground).words("--output json burn cpu --duration 3s").run();
    passes.assert_status(0);
    assert_eq!(passes.json()["cause"], "completed");
    detach(&ground, "cpu --duration 1m");
    let burners = daemon.burning(1);
    let begin = Instant::now();
    Ctl::new(&ground).words("stop").run().assert_status(0);
    assert!(!burners.iter().any(Process::is_alive));
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    drop(crowd);
}

/// Arguments reached a shell, and with them whatever somebody had written into them.
#[test]
fn what_looks_like_a_command_is_data() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let trap = ground.path("trap");
    let evil = format!("$(touch {0}); `touch {0}` | touch {0} & #", trap.display());
    Ctl::new(&ground)
        .args(["burn", "disk", "--path", &format!("/{evil}"), "--size", "1MiB", "--duration", "1s"])
        .run()
        .assert_status(2);
    Ctl::new(&ground).args(["halt", "--reason", &evil]).run().assert_status(0);
    let status = Ctl::new(&ground).words("status").json();
    assert_eq!(status["halt"]["reason"], evil.as_str());
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);
    Ctl::new(&ground).args(["report", &evil]).run().assert_status(2);
    assert!(!trap.exists(), "somebody carried it out");
}

/// A fatal exit in the middle of the clean-up left what had not been cleaned up yet.
#[test]
fn a_daemon_that_is_killed_while_it_stops_leaves_nothing() {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let ground = Ground::new();
    for delay_ms in [0, 2, 10] {
        let mut daemon = Daemon::start(&ground);
        detach(&ground, "cpu --load 20 --duration 1m");
        let burners = daemon.burning(1);
        daemon.signal(Signal::SIGTERM);
        thread::sleep(Duration::from_millis(delay_ms));
        // It may have ended by then: its pid is still its own, for nobody has waited for it.
        daemon.signal(Signal::SIGKILL);
        daemon.wait(PATIENCE).expect("it was killed");
        let gone = outside::within(PATIENCE, || !burners.iter().any(Process::is_alive));
        burners.iter().for_each(Process::reap);
        assert!(gone.is_some(), "burners outlive it");
        let next = Daemon::start(&ground);
        assert_eq!(daemon.cgroups(), [""; 0]);
        assert_eq!(first_run(&ground)["state"], "finished");
        drop(next);
    }
}

/// The hook that should have ended the load in an emergency no longer fired when something else was switched on beside it.
#[test]
fn a_guard_trips_whoever_looks_on() {
    let ground = Ground::alone();
    let sysfs = Sysfs::new(&ground, 40);
    ground.configure(&sysfs.config());
    let daemon = Daemon::start(&ground);
    let id = detach(&ground, "cpu --load 20 --duration 1m");
    let burners = daemon.burning(1);
    let watching = Ctl::new(&ground).args(["watch", &id]).spawn();
    let following = Ctl::new(&ground).args(["telemetry", &id, "--follow"]).spawn();
    let hanging = Ctl::new(&ground).args(["--output", "json", "watch", &id]).spawn();
    thread::sleep(Duration::from_millis(500));
    // An onlooker that no longer reads.
    hanging.signal(Signal::SIGSTOP);
    sysfs.heat(99);
    let gone = outside::within(PATIENCE, || !burners.iter().any(Process::is_alive));
    assert!(gone.is_some(), "the guard does not trip\n{}", daemon.log());
    hanging.signal(Signal::SIGCONT);
    watching.outcome().assert_status(4);
    following.outcome().assert_status(0);
    hanging.outcome().assert_status(4);
    assert_eq!(first_run(&ground)["cause"], "guard_tripped");
}

/// A guard's reaction waits for no disk: what the daemon uses stays in RAM, and `check` says so where it doesn't.
#[test]
fn a_reaction_waits_for_no_page_of_the_daemon() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let info = Ctl::new(&ground).words("info").json();
    let capabilities = info["capabilities"].as_array().expect("it is a list");
    let told = capabilities.iter().find(|one| one["name"] == "locked-memory").expect("it is told");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.process().pid)).expect("it lives");
    let locked_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:"))
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .expect("Linux tells it");
    if geteuid().is_root() {
        assert_eq!(told["state"], "works", "{told:#}");
    }
    assert_eq!(told["state"] == "works", locked_kib > 1_024, "{told:#}: {locked_kib} KiB are locked");
    assert!(told["state"] == "works" || told["mend"].as_str().is_some_and(|mend| !mend.is_empty()));
}
