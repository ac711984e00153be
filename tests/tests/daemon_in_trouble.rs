//! The daemon itself in trouble while a run is on: out of descriptors, its disk full or read-only, frozen as a suspend freezes it.
//! What burns is stopped all the same, what can't be proven is not claimed, and afterwards it works as before.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};
use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground, Mount,
    outside::{self, Process},
    possible, privileged, tools,
};

fn burn(ground: &Ground) -> String {
    let started = Ctl::new(ground).words("burn cpu --load 20 --duration 1m --detach").run();
    started.assert_status(0).stdout.trim().to_owned()
}

fn passes(ground: &Ground) {
    Ctl::new(ground).words("burn cpu --load 20 --tolerance 100 --duration 2s").run().assert_status(0);
}

/// What the agent says of a run, and not what this user's history has kept of it.
fn report(ground: &Ground, id: &str) -> Value {
    Ctl::new(ground).args(["report", id, "--store", "none"]).json()
}

fn gone(burners: &[Process]) {
    let gone = outside::within(Duration::from_secs(10), || !burners.iter().any(Process::is_alive));
    assert!(gone.is_some(), "burners go on");
}

/// Not one descriptor more than it has: a halt by signal needs none, and the cgroup's files are open from the beginning.
#[test]
fn a_daemon_without_descriptors_stops_its_burners() {
    if !privileged() || !tools(&["prlimit"]) {
        return;
    }
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let id = burn(&ground);
    let burners = daemon.burning(1);
    let pid = daemon.process().pid;
    let limit = |files: &str| {
        let limited = Command::new("prlimit")
            .args(["--pid".to_owned(), pid.to_string(), format!("--nofile={files}")])
            .status();
        assert!(limited.is_ok_and(|status| status.success()));
    };
    limit("3:1024");
    // Somebody wants to be answered meanwhile: that must not cost a core.
    let _waiting = UnixStream::connect(ground.socket()).expect("the kernel takes it");
    let (begin, before) = (Instant::now(), daemon.process().cpu_time().expect("it is there"));
    std::thread::sleep(Duration::from_secs(1));
    let spent = daemon.process().cpu_time().expect("it is there") - before;
    assert!(spent < begin.elapsed() / 2, "it spins: {spent:?} of {:?}", begin.elapsed());
    daemon.signal(Signal::SIGUSR1);
    gone(&burners);
    limit("1024:1024");
    let over = outside::within(Duration::from_secs(20), || {
        Ctl::new(&ground).words("runs").run().stdout.contains("halted by uid")
    });
    assert!(over.is_some(), "{}", daemon.log());
    let cleared = outside::within(Duration::from_secs(10), || {
        Ctl::new(&ground).words("halt --clear").run().status.success()
    });
    assert!(cleared.is_some());
    // What could not be opened was not seen; now it can be.
    assert_eq!(report(&ground, &id)["hosts"][0]["events"].as_array().map(Vec::is_empty), Some(false));
    Ctl::new(&ground).words("recover").run().assert_status(0);
    assert_eq!(report(&ground, &id)["hosts"][0]["receipt"]["state"], "clean");
    passes(&ground);
}

/// What the disk does not take is kept in memory, and what a crash then loses is looked for anew.
#[test]
fn a_full_state_disk_stops_no_stop_and_no_halt() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let state = Mount::tmpfs(ground.state(), 4 << 20);
    let mut daemon = Daemon::start_on_a_small_disk(&ground);
    let id = burn(&ground);
    let burners = daemon.burning(1);
    let filler = state.path().join("filler");
    let mut bytes = 4 << 20;
    // To the last block.
    while bytes > 0 {
        let mut file = fs::File::options().append(true).create(true).open(&filler).expect("it is ours");
        if std::io::Write::write_all(&mut file, &vec![1; bytes]).is_err() {
            bytes /= 2;
        }
    }
    let stopped = Ctl::new(&ground).words("stop").json();
    gone(&burners);
    assert_eq!(stopped["receipt"]["state"], "clean", "{stopped:#}");
    assert_eq!(report(&ground, &id)["verdict"], "aborted");
    // It holds until the daemon ends, and whoever asked is told that it may not hold longer.
    let halted = Ctl::new(&ground).words("halt --reason full").run();
    assert!(!halted.status.success() && halted.stderr.contains("No space"), "{halted:?}");
    Ctl::new(&ground).words("burn cpu --duration 1s").run().assert_status(4).assert_tells(&["full"]);
    fs::remove_file(&filler).expect("it is ours");
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(5)).expect("it was killed");
    let _next = Daemon::start_on_a_small_disk(&ground);
    passes(&ground);
    let run = report(&ground, &id);
    assert_eq!(
        (&run["cause"], &run["hosts"][0]["receipt"]["state"]),
        (&"agent_lost".into(), &"clean".into())
    );
}

#[test]
fn a_read_only_state_disk_stops_no_stop_and_starts_nothing() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let state = Mount::tmpfs(ground.state(), 4 << 20);
    let daemon = Daemon::start_on_a_small_disk(&ground);
    let id = burn(&ground);
    let burners = daemon.burning(1);
    let none = None::<&str>;
    let remount = |flags| mount(none, state.path(), none, MsFlags::MS_REMOUNT | flags, none);
    // The recorder and the lock have files open for writing there: the mount is read-only, not the file system.
    mount(Some(state.path()), state.path(), none, MsFlags::MS_BIND, none).expect("root may mount");
    let made = remount(MsFlags::MS_BIND | MsFlags::MS_RDONLY);
    assert!(made.is_ok(), "{made:?}");
    let stopped = Ctl::new(&ground).words("stop").json();
    gone(&burners);
    assert_eq!(stopped["receipt"]["state"], "clean", "{stopped:#}");
    let refused = Ctl::new(&ground).words("burn cpu --duration 1s").run();
    assert!(!refused.status.success() && refused.stderr.contains("Read-only"), "{refused:?}");
    // It was being made ready meanwhile.
    gone(&daemon.burners());
    nix::mount::umount2(state.path(), nix::mount::MntFlags::MNT_DETACH).expect("root may");
    passes(&ground);
    assert_eq!(report(&ground, &id)["hosts"][0]["receipt"]["state"], "clean");
}

/// A cgroup of version 2 around the daemon, which a test may freeze.
struct Frozen(PathBuf);

impl Frozen {
    fn around(daemon: &Daemon) -> Option<Self> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mount = mountinfo.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
        let folder = Path::new(mount).join(format!("ssts-story-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let new = Self(folder);
        fs::write(new.0.join("cgroup.procs"), daemon.process().pid.to_string()).ok()?;
        Some(new)
    }

    fn set(&self, frozen: bool) {
        fs::write(self.0.join("cgroup.freeze"), if frozen { "1" } else { "0" }).expect("it is ours");
        let word = if frozen { "frozen 1" } else { "frozen 0" };
        let is_so = || fs::read_to_string(self.0.join("cgroup.events")).is_ok_and(|text| text.contains(word));
        assert!(outside::within(Duration::from_secs(10), is_so).is_some(), "{word} does not come");
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _best_effort = fs::write(self.0.join("cgroup.freeze"), "0");
        outside::within(Duration::from_secs(5), || fs::remove_dir(&self.0).is_ok());
    }
}

/// Daemon and burners stand still for longer than the deadline, as a suspended host does. Whoever wakes first, the burners that
/// find their deadline past or the daemon that would push it, the run is over and the host is clean.
#[test]
fn a_host_that_stood_still_for_longer_than_the_deadline_burns_no_more() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let around;
    let daemon = Daemon::start(&ground);
    let made = Frozen::around(&daemon);
    if !possible(made.is_some(), "no cgroup of version 2 can be made") {
        return;
    }
    around = made.expect("just seen");
    let id = burn(&ground);
    let burners = daemon.burning(1);
    around.set(true);
    std::thread::sleep(Duration::from_millis(2_500));
    around.set(false);
    gone(&burners);
    let is_over = || Ctl::new(&ground).words("runs").json()["runs"][0]["state"] == "finished";
    assert!(outside::within(Duration::from_secs(10), is_over).is_some(), "the run does not end");
    Ctl::new(&ground).args(["stop", &id]).run().assert_status(0);
    let run = report(&ground, &id);
    assert_eq!((&run["verdict"], &run["cause"]), (&"error".into(), &"agent_lost".into()), "{run:#}");
    assert_eq!(run["hosts"][0]["receipt"]["state"], "clean", "{run:#}");
    passes(&ground);
    drop(daemon);
}

/// For the service manager, after the daemon: nothing is started, and the exit status tells.
#[test]
fn what_a_killed_daemon_left_is_recovered_without_a_daemon() {
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    let id = burn(&ground);
    let burners = daemon.burning(1);
    let recover = || {
        let mut command = Command::new(&ground.programs().sstsd);
        command.arg("recover").arg("--config").arg(ground.config()).arg("--state-dir").arg(ground.state());
        let output = command.env_clear().output().expect("it can be executed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, _, told) = recover();
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("another sstsd") && told.contains(&daemon.process().pid.to_string()), "{told}");
    assert!(burners.iter().all(Process::is_alive), "a run that is on is nobody's to recover");
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(5)).expect("it was killed");
    let (status, told, errors) = recover();
    assert_eq!((status, told.as_str()), (Some(0), "clean\n"), "{errors}");
    assert_eq!(daemon.cgroups(), [""; 0]);
    fs::write(ground.state().join("undo/00000000000000000009.json"), "{").expect("the folder is ours");
    let (status, told, _) = recover();
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("can't be read") && told.contains("mend:"), "{told}");
    fs::remove_file(ground.state().join("undo/00000000000000000009.json")).expect("it is ours");
    assert_eq!(recover().0, Some(0));
    let _next = Daemon::start(&ground);
    assert_eq!(report(&ground, &id)["hosts"][0]["receipt"]["state"], "clean");
    passes(&ground);
}
