//! A burner that hangs in the kernel, for a disk that does not answer, can be ended by nobody. The daemon answers all the same, says
//! who hangs and where, starts nothing on such a host, and lets runs start again when it has seen the burner to be gone.
//!
//! The disk is a file system that the story freezes: a writer sleeps uninterruptibly until it is thawed, killed or not.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sys::{prctl, signal::Signal};
use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, FrozenMount, Ground, LoopDevice, Mount, Running, Sysfs,
    outside::{self, Process},
    possible, privileged, tools,
};

/// The daemon gives a burner up 10 s after it was killed; docs/stopping.md. A busy machine adds to it, and sstsctl waits for 30 s.
const ANSWERED_WITHIN: Duration = Duration::from_secs(25);
const LONG: Duration = Duration::from_secs(20);

/// A daemon, and a disk that can be frozen.
struct Host {
    daemon: Daemon,
    disk: Mount,
    _device: LoopDevice,
    ground: Ground,
}

impl Host {
    fn new(config: impl FnOnce(&Ground) -> String) -> Option<Self> {
        if !privileged() || !tools(&["losetup", "mkfs.ext4", "fsfreeze"]) {
            return None;
        }
        let ground = Ground::new();
        // The disk is small.
        ground.configure(&format!("[limits]\ndisk_reserve_bytes = {}\n{}", 8 << 20, config(&ground)));
        let device = LoopDevice::new(&ground.path("image"), 64 << 20);
        if !possible(device.is_some(), "this machine gives no loop device") {
            return None;
        }
        let device = device.expect("just seen");
        let made = Command::new("mkfs.ext4").arg("-q").arg(device.path()).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfs.ext4 can make one");
        let disk = Mount::ext4(ground.path("disk"), device.path());
        let daemon = Daemon::start_on_a_small_disk(&ground);
        Some(Self { daemon, disk, _device: device, ground })
    }

    fn words(&self, more: &str) -> String {
        format!("burn disk --path {} --size 8MiB --rw randwrite {more}", self.disk.path().display())
    }

    /// Starts a run that is left alone; gives its id and its burner once that writes.
    fn burn(&self, more: &str) -> (String, Process) {
        let started = Ctl::new(&self.ground).words(&self.words(&format!("{more} --detach"))).run();
        let id = started.assert_status(0).stdout.trim().to_owned();
        (id, self.daemon.burning(1)[0])
    }

    /// Freezes the disk, and waits until the burner hangs for it.
    fn freeze_under(&self, burner: Process) -> FrozenMount {
        let frozen = FrozenMount::new(&self.disk);
        hangs(burner);
        frozen
    }

    fn ctl(&self, words: &str) -> Ctl {
        Ctl::new(&self.ground).words(words)
    }

    fn report(&self, id: &str) -> Value {
        Ctl::new(&self.ground).args(["report", id]).json()
    }

    /// Nothing starts while the burner is there, and `recover` can't make it go.
    fn assert_blocked(&self, id: &str) {
        let refused = self.ctl("burn cpu --duration 1s").run();
        refused.assert_status(5).assert_tells(&[id, "sstsctl recover"]);
        self.ctl("recover").run().assert_status(5);
    }

    /// Once the disk answers again the burner is gone, and the host is seen to be clean.
    fn assert_recovers(&self, id: &str, burner: Process) {
        assert!(outside::within(LONG, || !burner.is_alive()).is_some(), "it outlives the thaw");
        burner.reap();
        let recovered = outside::within(LONG, || self.ctl("recover").run().status.success());
        assert!(recovered.is_some(), "{}", self.ctl("recover").run().stdout);
        let receipt = &self.report(id)["hosts"][0]["receipt"];
        assert_eq!(receipt["state"], "clean", "{receipt:#}");
        assert_eq!(self.daemon.cgroups(), [""; 0]);
        assert_eq!(fs::read_dir(self.disk.path()).expect("it is mounted").count(), 1, "lost+found alone");
        self.ctl("burn cpu --load 20 --tolerance 100 --duration 500ms").run().assert_status(0);
    }
}

/// The same thread sleeps in the kernel at several looks: it does not merely wait for a moment.
fn hangs(burner: Process) {
    let mut before = Vec::new();
    let mut looks = 0;
    let hangs = outside::within(LONG, || {
        let now = burner.uninterruptible();
        looks = if now.is_empty() || now != before { 0 } else { looks + 1 };
        before = now;
        thread::sleep(Duration::from_millis(20));
        looks >= 10
    });
    assert!(hangs.is_some(), "it does not hang");
}

fn check<'a>(receipt: &'a Value, what: &str) -> &'a Value {
    let checks = receipt["checks"].as_array().expect("checks are a list");
    checks.iter().find(|check| check["what"] == what).expect("the receipt has it")
}

/// Left, with the burner's number and what its threads do, whatever its first thread is.
fn assert_names(receipt: &Value, burner: Process) {
    assert_eq!(receipt["state"], "left", "{receipt:#}");
    let processes = check(receipt, "processes");
    assert_eq!(processes["state"], "left", "{receipt:#}");
    let detail = processes["detail"].as_str().expect("it is text");
    for part in [&format!("disk burner {}", burner.pid), "in state D"] {
        assert!(detail.contains(part), "'{part}' is missing: {detail}");
    }
    assert_eq!(check(receipt, "memory")["state"], "unknown", "{receipt:#}");
}

/// While the daemon waits for the burner it answers everybody else, and says what it waits for.
fn assert_answers(host: &Host, waiting: &Running, burner: Process) {
    let begin = Instant::now();
    let status = host.ctl("status").json();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(status["run"]["state"], "stopping", "{status:#}");
    let told = format!("disk burner {} ", burner.pid);
    let said = || host.daemon.log().lines().any(|line| line.contains(&told) && line.contains("in state D"));
    assert!(outside::within(LONG, said).is_some(), "{}", host.daemon.log());
    assert!(waiting.process().is_alive(), "nothing was seen to be gone");
}

fn stop_over_a_hanging_burner(config: impl FnOnce(&Ground) -> String, more: &str) {
    let Some(host) = Host::new(config) else { return };
    let (id, burner) = host.burn(&format!("--duration 1m {more}"));
    let frozen = host.freeze_under(burner);
    let begin = Instant::now();
    let stopping = host.ctl("--output json stop").spawn();
    assert!(outside::within(LONG, || host.ctl("status").json()["run"]["state"] == "stopping").is_some());
    assert_answers(&host, &stopping, burner);
    let outcome = stopping.outcome();
    assert!(begin.elapsed() < ANSWERED_WITHIN, "{:?}", begin.elapsed());
    assert!(burner.is_alive());
    let stopped = outcome.assert_status(0).json();
    assert_names(&stopped["receipt"], burner);
    assert_eq!(stopped["quiet_after_s"], Value::Null, "{stopped:#}");
    assert_eq!((&stopped["run"]["verdict"], &stopped["run"]["receipt"]), (&"aborted".into(), &"left".into()));
    let report = host.report(&id);
    let events = report["hosts"][0]["events"].to_string();
    assert!(events.contains("it hangs in the kernel"), "{events}");
    assert_eq!(report["hosts"][0]["burners"][0]["ended"], "killed, and still there", "{report:#}");
    host.assert_blocked(&id);
    drop(frozen);
    host.assert_recovers(&id, burner);
}

#[test]
fn a_stop_says_who_hangs_and_where_and_nothing_starts_until_it_is_gone() {
    stop_over_a_hanging_burner(|_| String::new(), "");
}

/// Nothing but the process itself tells then that it is there. Its first thread is long dead, as the first thread of a killed process
/// is.
#[test]
fn a_stop_says_so_without_a_cgroup_and_without_io_uring() {
    stop_over_a_hanging_burner(Ground::procfs_without_cgroups, "--engine threads");
}

/// The end of the phase is a deadline too.
#[test]
fn a_run_that_comes_to_its_end_over_a_hanging_burner_is_no_pass() {
    let Some(host) = Host::new(|_| String::new()) else { return };
    let running = host.ctl(&format!("--output json {}", host.words("--duration 3s"))).spawn();
    let burner = host.daemon.burning(1)[0];
    let frozen = host.freeze_under(burner);
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(
        (&result["verdict"], &result["cause"]),
        (&"error".into(), &"burner_failed".into()),
        "{result:#}"
    );
    assert_names(&result["hosts"][0]["receipt"], burner);
    let id = result["run_id"].as_str().expect("it is text");
    host.assert_blocked(id);
    drop(frozen);
    host.assert_recovers(id, burner);
}

/// A guard ends the run, and says so within its bounds; that the burner stays is told beside.
#[test]
fn a_guard_that_trips_over_a_hanging_burner_ends_the_run_and_says_what_is_left() {
    let mut sensor = None;
    let host = Host::new(|ground| sensor.insert(Sysfs::new(ground, 40)).config());
    let (Some(host), Some(sensor)) = (host, sensor) else { return };
    let words = host.words("--duration 1m --max-temperature 70");
    let running = host.ctl(&format!("--output json {words}")).spawn();
    let burner = host.daemon.burning(1)[0];
    let frozen = host.freeze_under(burner);
    sensor.heat(75);
    let outcome = running.outcome();
    outcome.assert_status(4);
    let result = outcome.json();
    assert_eq!(result["cause"], "guard_tripped", "{result:#}");
    assert_names(&result["hosts"][0]["receipt"], burner);
    sensor.heat(60);
    drop(frozen);
    let id = result["run_id"].as_str().expect("it is text");
    sensor.heat(40);
    host.assert_recovers(id, burner);
}

/// A halt is on disk although its run does not end.
#[test]
fn a_halt_is_latched_on_disk_while_a_burner_hangs() {
    let Some(host) = Host::new(|_| String::new()) else { return };
    let (id, burner) = host.burn("--duration 1m");
    let frozen = host.freeze_under(burner);
    let halting = host.ctl("--output json halt --reason smoke").spawn();
    let latch = host.ground.state().join("halt");
    assert!(outside::within(Duration::from_secs(5), || latch.exists()).is_some(), "it is not on disk");
    assert!(halting.process().is_alive() && burner.is_alive(), "it hangs no more");
    let outcome = halting.outcome();
    let halted = outcome.assert_status(0).json();
    assert_eq!((&halted["halted"], &halted["quiet_after_s"]), (&true.into(), &Value::Null), "{halted:#}");
    assert_names(&host.report(&id)["hosts"][0]["receipt"], burner);
    drop(frozen);
    host.ctl("halt --clear").run().assert_status(0);
    host.assert_recovers(&id, burner);
}

/// Whoever asks for a disk that does not answer is told so; the daemon itself does not hang for it, and neither does its end.
#[test]
fn a_disk_that_does_not_answer_is_refused_and_does_not_keep_the_daemon() {
    let Some(mut host) = Host::new(|_| String::new()) else { return };
    let frozen = FrozenMount::new(&host.disk);
    let asked = host.ctl(&host.words("--duration 1m")).spawn();
    // Others are answered meanwhile.
    host.ctl("status").run().assert_status(0);
    asked.outcome().assert_status(2).assert_tells(&["does not answer"]);
    host.ctl("burn cpu --load 20 --tolerance 100 --duration 500ms").run().assert_status(0);
    host.daemon.signal(Signal::SIGTERM);
    let over = outside::within(LONG, || !host.ground.socket().exists());
    assert!(over.is_some(), "{}", host.daemon.log());
    // The thread that hangs holds nothing of the daemon's.
    let next = Daemon::start_on_a_small_disk(&host.ground);
    host.ctl("burn cpu --load 20 --tolerance 100 --duration 500ms").run().assert_status(0);
    drop(next);
    drop(frozen);
    host.daemon.wait(LONG).expect("it ends with the thaw");
}

/// The next daemon finds a burner of the one before it that not even `kill -9` of its daemon has ended.
#[test]
fn the_next_daemon_finds_the_burner_that_outlived_the_last_one() {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let Some(mut host) = Host::new(|_| String::new()) else { return };
    let (id, burner) = host.burn("--duration 1m");
    let cgroups = host.daemon.cgroups();
    let frozen = host.freeze_under(burner);
    host.daemon.signal(Signal::SIGKILL);
    host.daemon.wait(Duration::from_secs(5)).expect("it was killed");
    assert!(burner.is_alive());
    let first = std::mem::replace(&mut host.daemon, Daemon::start_on_a_small_disk(&host.ground));
    // Both the lock that it inherited and its cgroup tell.
    let refused = host.ctl("burn cpu --duration 1s").run();
    refused.assert_status(5).assert_tells(&[&id, "still has a hold on"]);
    if !cgroups.is_empty() {
        refused.assert_tells(&[&burner.pid.to_string(), "in state D"]);
    }
    host.assert_blocked(&id);
    drop(frozen);
    host.assert_recovers(&id, burner);
    assert_eq!(first.cgroups(), [""; 0]);
    assert_eq!(host.report(&id)["cause"], "agent_lost");
}
