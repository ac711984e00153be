//! A daemon under test.

use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Ctl, Ground,
    outside::{self, Process},
};

/// A debug build on a busy machine, with probes to load and to try.
const START_TIME: Duration = Duration::from_secs(30);

/// Shipped guards that a neighbour can trip, and that would end a story's run.
const NEIGHBOURS: &str = "memory_pressure,swapping,oom_kill,kernel_stalls,kernel_trouble";

/// `sstsd serve` on a ground. Killed, with its burners, when dropped; a failing story shows its log.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    process: Process,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and returns when it listens.
    pub fn start(ground: &Ground) -> Self {
        Self::start_with(ground, |_| {})
    }

    /// A daemon whose state disk never has the room that its guard asks for.
    pub fn start_on_a_small_disk(ground: &Ground) -> Self {
        Self::start_with(ground, |command| {
            command.env("SSTSD_LIMITS__GUARDS_OFF", format!("disk_space,{NEIGHBOURS}"));
        })
    }

    /// With changes to its command.
    pub fn start_with(ground: &Ground, change: impl FnOnce(&mut Command)) -> Self {
        Self::start_program(ground, &ground.programs().sstsd, change)
    }

    /// Another copy of the program, with changes to its command.
    pub fn start_program(ground: &Ground, program: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let mut daemon = Self::spawn(ground, program, change);
        let listens = || {
            UnixStream::connect(ground.socket()).is_ok()
                || daemon.child.try_wait().is_ok_and(|end| end.is_some())
        };
        let came = outside::within(START_TIME, listens);
        assert!(came.is_some() && daemon.process.is_alive(), "sstsd did not come up:\n{}", daemon.log());
        // It listens a moment before it has its folders; it answers when it has.
        Ctl::new(ground).args(["status"]).run().assert_status(0);
        daemon
    }

    fn spawn(ground: &Ground, program: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let log = ground.path("sstsd.log");
        let file = File::options().create(true).append(true).open(&log).expect("the folder is ours");
        let mut command = Self::command_of(ground, program);
        command.stderr(file);
        change(&mut command);
        let child = command.spawn().expect("sstsd can be executed");
        let process = Process::of(pid(&child)).expect("a child that is not reaped is there");
        Self { child, process, log }
    }

    /// Runs a command that must not become a daemon, to its end; gives its exit status and what it told.
    pub fn refusal(mut command: Command) -> (Option<i32>, String) {
        let mut child =
            command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sstsd can be executed");
        let ended = outside::within(START_TIME, || child.try_wait().is_ok_and(|end| end.is_some()));
        if ended.is_none() {
            let _best_effort = child.kill();
        }
        let output = child.wait_with_output().expect("it is our child");
        assert!(ended.is_some(), "it should have refused to start: {command:?}");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// `sstsd serve` with the ground's configuration, socket and folders.
    pub fn command(ground: &Ground) -> Command {
        Self::command_of(ground, &ground.programs().sstsd)
    }

    fn command_of(ground: &Ground, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("serve")
            .arg("--config")
            .arg(ground.config())
            .arg("--state-dir")
            .arg(ground.state())
            .arg(format!("--listen=unix:{}", ground.socket().display()))
            .env_clear()
            .env("TMPDIR", ground.path("tmp"))
            // There is one such port, and many stories.
            .env("SSTSD_METRICS__LISTEN", "")
            // These look at what other stories, and other users of the machine, do to it.
            .env("SSTSD_LIMITS__GUARDS_OFF", NEIGHBOURS)
            .stdin(Stdio::null());
        command
    }

    /// Its process.
    pub fn process(&self) -> Process {
        self.process
    }

    /// The burner processes that are there now.
    pub fn burners(&self) -> Vec<Process> {
        self.process.children().into_iter().filter(Process::is_alive).collect()
    }

    /// Waits until so many burners burn: each has used CPU time since it was first seen.
    pub fn burning(&self, count: usize) -> Vec<Process> {
        let mut burners = Vec::new();
        let burn = outside::within(Duration::from_secs(20), || {
            burners = self.burners();
            burners.len() == count
                && burners.iter().all(|burner| burner.worker_time() > Duration::from_millis(20))
        });
        assert!(burn.is_some(), "{count} burners should burn, there are {burners:?}\n{}", self.log());
        burners
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.pid), signal).expect("it is not reaped");
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        outside::within(limit, || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The cgroups of its runs that are there.
    pub fn cgroups(&self) -> Vec<String> {
        outside::run_cgroups(self.process.pid)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let burners = self.burners();
        // It may be stopped or gone.
        let _best_effort = kill(Pid::from_raw(self.process.pid), Signal::SIGKILL);
        let _best_effort = self.child.wait();
        outside::within(Duration::from_secs(5), || !burners.iter().any(Process::is_alive));
        burners.iter().for_each(Process::reap);
        for cgroup in self.cgroups() {
            let _best_effort = fs::remove_dir(cgroup);
        }
        if std::thread::panicking() {
            show(&self.log);
        }
    }
}

fn show(log: &Path) {
    eprintln!("---- {} ----\n{}----", log.display(), fs::read_to_string(log).unwrap_or_default());
}

pub(crate) fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("a pid is positive")
}
