//! The specialists: how each is started, looked at and ended.
#![expect(unsafe_code, reason = "no crate in use wraps sched_setscheduler(2)")]

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ssts_tests::outside::{self, Process};

use crate::BURNS;

const EXPORTER: &str = "prometheus-node-exporter";
const EXPORTER_ADDRESS: &str = "127.0.0.1:19100";

/// Puts this thread before all that burns, so that it sees changes when they happen. Children are not: reset on fork.
pub(crate) fn look_first() {
    let parameters = libc::sched_param { sched_priority: 10 };
    // SAFETY: the structure lives through the call, and the call changes nothing but this thread's scheduling.
    let outcome = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameters)
    };
    if outcome != 0 {
        println!("not permitted to look with priority: times are less exact");
    }
}

pub(crate) fn is_installed(name: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(name).is_file())
}

/// A running stress-ng. It and all that it started are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct StressNg {
    child: Child,
    process: Process,
}

impl StressNg {
    /// Nothing where it is not installed.
    pub(crate) fn spawn(args: &[&str]) -> Option<Self> {
        let mut command = Command::new("stress-ng");
        command
            .args(args)
            .args(["--timeout", "60"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().ok()?;
        let process = Process::of(child.id().cast_signed())?;
        Some(Self { child, process })
    }

    /// Its processes below the first.
    pub(crate) fn all(&self) -> Vec<Process> {
        self.process.descendants()
    }

    /// How many of them burn.
    pub(crate) fn burning_now(&self) -> usize {
        self.all().iter().filter(|process| process.cpu_time() > Some(BURNS)).count()
    }

    /// All of them, once so many burn.
    pub(crate) fn burning(&self, count: usize) -> Vec<Process> {
        let burn = outside::within(Duration::from_secs(10), || self.burning_now() >= count);
        assert!(burn.is_some(), "stress-ng does not burn");
        self.all()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _it_may_be_gone = kill(Pid::from_raw(self.process.pid), signal);
    }

    /// Whether it has ended.
    pub(crate) fn reap(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|end| end.is_some())
    }
}

impl Drop for StressNg {
    fn drop(&mut self) {
        let all = self.all();
        let _best_effort = self.child.kill();
        let _best_effort = self.child.wait();
        all.iter().for_each(Process::kill);
        outside::within(Duration::from_secs(3), || !all.iter().any(Process::is_alive));
    }
}

/// A running node_exporter.
#[derive(Debug)]
pub(crate) struct Exporter {
    child: Child,
    process: Process,
}

impl Exporter {
    /// Nothing where it is not installed.
    pub(crate) fn spawn() -> Option<Self> {
        let mut command = Command::new(EXPORTER);
        command
            .arg(format!("--web.listen-address={EXPORTER_ADDRESS}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().ok()?;
        let process = Process::of(child.id().cast_signed())?;
        outside::within(Duration::from_secs(5), || TcpStream::connect(EXPORTER_ADDRESS).is_ok())?;
        Some(Self { child, process })
    }

    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// Reads all its metrics once, as Prometheus does.
    pub(crate) fn scrape(&self) -> Vec<u8> {
        let mut stream = TcpStream::connect(EXPORTER_ADDRESS).expect("it listens");
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut page = Vec::new();
        stream.read_to_end(&mut page).expect("it answers");
        page
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _best_effort = self.child.kill();
        let _best_effort = self.child.wait();
    }
}

/// Bogo operations a second of CPU time of one of stress-ng's ways to use a core. None where it is not installed.
pub(crate) fn bogo_per_cpu_s(method: &str) -> Option<f64> {
    let output = Command::new("stress-ng")
        .args(["--cpu", "1", "--cpu-method", method, "--taskset", "0", "--timeout", "2", "--metrics-brief"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    // stress-ng: metrc: [pid] cpu, bogo operations, real, user and system time, and the two rates.
    let row = text.lines().find(|line| line.contains("] cpu "))?;
    row.split_whitespace().last()?.parse().ok()
}
