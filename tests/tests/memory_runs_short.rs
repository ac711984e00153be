//! Memory that can't be had is told as what it is: refused with both numbers, stopped short of, or killed for. Each story plays
//! in a cgroup with a limit, so that the machine itself stays out of it.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{prctl, signal::Signal};
use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground, MemoryCgroup, Outcome, note,
    outside::{self, Process},
    possible,
};

const MIB: u64 = 1 << 20;

/// A daemon in a cgroup of 256 MiB.
struct Short {
    ground: Ground,
    daemon: Daemon,
    // Last: it is removed when all in it are gone.
    cgroup: MemoryCgroup,
}

impl Short {
    fn new() -> Option<Self> {
        let ground = Ground::alone();
        let cgroup = MemoryCgroup::new(256 * MIB);
        if !possible(cgroup.is_some(), "no memory cgroup can be made: run as root") {
            return None;
        }
        let cgroup = cgroup.expect("just seen");
        let daemon = Daemon::start(&ground);
        cgroup.put(daemon.process().pid);
        Some(Self { ground, daemon, cgroup })
    }

    fn run(&self, words: &str) -> Outcome {
        Ctl::new(&self.ground).words(&format!("--output json {words}")).run()
    }

    /// Somebody else in the cgroup, who keeps so much until dropped.
    fn neighbour(&self, mib: u64) -> Neighbour {
        let script = format!(
            "echo $$ > {}; exec dd if=/dev/zero of=/dev/null bs={mib}M",
            self.cgroup.procs().display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
        Neighbour(command.spawn().expect("every machine has sh"))
    }
}

struct Neighbour(Child);

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _best_effort = self.0.kill();
        let _best_effort = self.0.wait();
    }
}

fn cause(result: &Value) -> &str {
    result["cause"].as_str().unwrap_or_default()
}

#[test]
fn more_than_there_is_is_refused_with_both_numbers() {
    let Some(short) = Short::new() else { return };
    let outcome = Ctl::new(&short.ground).words("burn memory --size 400MiB --duration 1s").run();
    let limit = (256 * MIB / 16).to_string();
    outcome.assert_status(2).assert_tells(&["--size", &(400 * MIB).to_string(), "the cgroup", &limit]);
    let outcome = Ctl::new(&short.ground).words("burn memory --size 1000TiB --duration 1s").run();
    outcome.assert_status(2).assert_tells(&["--size", "more than the memory can hold"]);
    assert_eq!(short.cgroup.oom_kills(), 0);
}

#[test]
fn memory_that_others_took_meanwhile_is_stopped_short_of() {
    let Some(short) = Short::new() else { return };
    let file = short.ground.file(
        "later.toml",
        "name = 'later'\n[[phase]]\nname = 'wait'\nduration = '2s'\n[[phase]]\nname = 'fill'\nduration = '500ms'\n\
         [[phase.burner]]\nkind = 'memory'\nsize = '160MiB'\npages = 'small'\n",
    );
    let running = Ctl::new(&short.ground).words(&format!("--output json run {file}")).spawn();
    thread::sleep(Duration::from_millis(500));
    let _neighbour = short.neighbour(120);
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(cause(&result), "memory_short", "{result:#}");
    let resident = result["hosts"][0]["burners"][0]["figures"]["resident"]["value"].as_f64();
    assert!(resident > Some((32 * MIB) as f64) && resident < Some((140 * MIB) as f64), "{resident:?}");
    let events = result["hosts"][0]["events"].to_string();
    assert!(events.contains("bytes could be had: the cgroup"), "{events}");
    assert_eq!(short.cgroup.oom_kills(), 0, "it must not come to that");
}

#[test]
fn a_burner_that_the_kernel_killed_for_memory_is_told_as_that() {
    let Some(short) = Short::new() else { return };
    let words = "--output json burn memory --size 160MiB --duration 30s";
    let running = Ctl::new(&short.ground).words(words).spawn();
    let fills = || short.daemon.burners().iter().any(|burner| burner.resident_bytes() > Some(160 * MIB));
    outside::within(Duration::from_secs(10), fills).expect("it does not fill");
    thread::sleep(Duration::from_millis(300));
    let _neighbour = short.neighbour(150);
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!((&result["verdict"], cause(&result)), (&"error".into(), "out_of_memory"), "{result:#}");
    assert_eq!(result["hosts"][0]["burners"].as_array().map(Vec::len), Some(1), "it is not started again");
    // Its neighbour may have been taken as well, in the moment before its memory was free.
    assert!((1..=2).contains(&short.cgroup.oom_kills()), "not over and over");
    assert!(short.daemon.process().is_alive());
}

#[test]
fn pressure_ends_at_the_wall_and_not_in_the_oom_killer() {
    let Some(short) = Short::new() else { return };
    let outcome =
        short.run("burn memory --size 1GiB --method pressure --stalled 99 --fill-rate 200MiB --duration 3s");
    let result = outcome.json();
    let burner = &result["hosts"][0]["burners"][0];
    let resident = burner["figures"]["resident"]["value"].as_f64();
    assert!(resident > Some((100 * MIB) as f64) && resident < Some((245 * MIB) as f64), "{burner:#}");
    assert_eq!(short.cgroup.oom_kills(), 0);
    // All that it was allowed was not enough: that is no success.
    outcome.assert_status(5);
    assert_eq!(cause(&result), "memory_short", "{result:#}");
}

/// It is the daemon that the kernel kills: its burners go with it at once, and the next one tells what it was. By itself the kernel
/// takes burners first; here the story makes the daemon as good a choice, and has it be the largest.
#[test]
fn a_daemon_that_the_kernel_killed_for_memory_takes_its_burners_with_it_and_the_next_one_tells() {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let Some(mut short) = Short::new() else { return };
    let started = Ctl::new(&short.ground).words("burn cpu --load 20 --duration 1m --detach").run();
    let id = started.assert_status(0).stdout.trim().to_owned();
    let burners = short.daemon.burning(1);
    let score = |process: &Process| {
        fs::read_to_string(format!("/proc/{}/oom_score_adj", process.pid))
            .expect("it is there")
            .trim()
            .to_owned()
    };
    assert_eq!(score(&burners[0]), "1000", "burners are the first choice");
    assert!(score(&short.daemon.process()).parse::<i32>().is_ok_and(|score| score <= 0));
    fs::write(format!("/proc/{}/oom_score_adj", short.daemon.process().pid), "1000")
        .expect("that is permitted");
    let size = |process: &Process| process.resident_bytes().unwrap_or_default();
    assert!(
        size(&short.daemon.process()) > size(&burners[0]),
        "a daemon of {}",
        size(&short.daemon.process())
    );
    let neighbour = short.neighbour(300);
    let status = short.daemon.wait(Duration::from_secs(20)).expect("the kernel kills it");
    let begin = Instant::now();
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{}", short.daemon.log());
    let gone = outside::within(Duration::from_secs(5), || !burners.iter().any(Process::is_alive));
    assert!(gone.is_some(), "burners outlive their daemon");
    note(format_args!("its burners were gone {:?} after it was reaped", begin.elapsed()));
    burners.iter().for_each(Process::reap);
    drop(neighbour);
    assert!(short.cgroup.oom_kills() > 0);
    assert_eq!(short.ground.leftovers(), [""; 0]);

    let next = Daemon::start(&short.ground);
    let report = Ctl::new(&short.ground).args(["report", &id]).json();
    assert_eq!((&report["verdict"], cause(&report)), (&"error".into(), "agent_lost"), "{report:#}");
    assert!(report["cause_message"].as_str().is_some_and(|words| words.contains("OOM killer")), "{report:#}");
    assert_eq!(report["hosts"][0]["receipt"]["state"], "clean", "{report:#}");
    assert_eq!(short.daemon.cgroups(), [""; 0]);
    drop(next);
}
