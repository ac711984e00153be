//! A burner process, seen by its supervisor.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::ExitStatusExt as _,
    },
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::Signal,
    },
};

use crate::{
    burn::{
        control::ControlBlock,
        cpu::{Found, Mismatch},
        inherit::Inheritance,
        launch::{Launched, launch},
        memory::WrongWord,
        plan::Plan,
        process::{DEADLINE_PASSED, Report},
        worker::Prepared,
    },
    clock,
    host::RunCgroup,
};

/// What is read of a burner's reports; more is no report of ours.
const LONGEST_REPORTS: usize = 64 << 10;

/// A burner process that was started.
#[derive(Debug)]
pub(super) struct BurnerProcess {
    /// What it was told.
    pub plan: Plan,
    /// Where it counts.
    pub block: Arc<ControlBlock>,
    /// What it chose, once it is ready.
    pub prepared: Option<Prepared>,
    /// What its search for the hottest kernel found.
    pub found: Option<Found>,
    /// Why it can't go on, where it said so.
    pub failure: Option<String>,
    /// Wrong results, one a worker.
    pub mismatches: Vec<Mismatch>,
    /// Words of memory that it found to be wrong.
    pub wrong_words: Vec<WrongWord>,
    /// The reason lies with the host at the other end.
    pub peer_lost: bool,
    /// How it ended.
    pub ended: Option<ExitStatus>,
    /// Its last thread has left user space for good.
    silent: bool,
    /// This daemon has killed it.
    killed: bool,
    /// It was killed and does not end.
    hangs: bool,
    child: Launched,
    unread: Vec<u8>,
}

impl BurnerProcess {
    /// Starts one. To be called on a thread that outlives it: the kernel kills it with that thread.
    pub(super) fn start(
        plan: Plan,
        deadline: Duration,
        cgroup: Option<&RunCgroup>,
        core_busy: Option<BorrowedFd<'_>>,
        alive: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let block = Arc::new(ControlBlock::create(plan.cores.len(), plan.load.latencies().len(), deadline)?);
        let plan_file = plan_file(&plan)?;
        let arguments = [c"burn".into(), c"--daemon".into(), CString::new(std::process::id().to_string())?];
        let inheritance =
            Inheritance { control: block.fd(), plan: plan_file.as_fd(), core_busy, alive: Some(alive) };
        let child = launch(&arguments, &inheritance, cgroup.map(RunCgroup::place))?;
        if let Err(errno) = fcntl(&child.reports, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)) {
            child.kill();
            let _reaped = child.wait();
            return Err(errno.into());
        }
        Ok(Self {
            plan,
            block,
            prepared: None,
            found: None,
            failure: None,
            mismatches: Vec::new(),
            wrong_words: Vec::new(),
            peer_lost: false,
            ended: None,
            silent: false,
            killed: false,
            hangs: false,
            child,
            unread: Vec::new(),
        })
    }

    /// Readable when there is news, also when it ended: its end of the pipe closes with its last thread.
    pub(super) fn news(&self) -> BorrowedFd<'_> {
        self.child.reports.as_fd()
    }

    /// Reads its reports. Their end is its end.
    pub(super) fn follow(&mut self) {
        let mut chunk = [0; 4_096];
        loop {
            match self.child.reports.read(&mut chunk) {
                Ok(0) => {
                    self.silent = true;
                    break;
                }
                Ok(read) if self.unread.len() < LONGEST_REPORTS => {
                    self.unread.extend_from_slice(&chunk[..read]);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.take_reports();
    }

    /// Takes the exit status of one that is gone. The kernel may take its time with that.
    pub(super) fn reap(&mut self) {
        if self.silent && self.ended.is_none() {
            // An error can't come: nobody else reaps it.
            self.ended = self.child.wait().ok();
        }
    }

    /// Kills it. Race-free: it keeps its pid until it is reaped, and nobody else reaps it.
    pub(super) fn kill(&mut self) {
        self.killed = true;
        self.child.kill();
    }

    /// Sends it a signal, as anybody else could: how it ends by that is its own end.
    pub(super) fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            self.child.signal(signal);
        }
    }

    /// Waits for it no longer, since a kill has not ended it: whoever looks after its run does.
    pub(super) fn give_up(&mut self) {
        self.hangs = true;
    }

    /// Whether a kill has not ended it.
    pub(super) fn hangs(&self) -> bool {
        self.hangs
    }

    /// The kernel's number of it.
    pub(super) fn pid(&self) -> i32 {
        self.child.pid().as_raw()
    }

    /// Whether it was seen to end: it executes nothing any more.
    pub(super) fn is_gone(&self) -> bool {
        self.silent
    }

    /// How it ended, in words.
    pub(super) fn ending(&self) -> String {
        self.ended.map_or_else(|| "killed, and still there".into(), describe)
    }

    /// Whether it ended with a signal or a status of failure.
    pub(super) fn has_failed(&self) -> bool {
        self.ended.is_some_and(|status| !status.success()) && !(self.killed && self.ended_by_sigkill())
    }

    /// Whether SIGKILL ended it, and it was not this daemon's.
    pub(super) fn was_killed(&self) -> bool {
        !self.killed && self.ended_by_sigkill()
    }

    fn ended_by_sigkill(&self) -> bool {
        self.ended.is_some_and(|status| status.signal() == Some(Signal::SIGKILL as i32))
    }

    /// Whether it ended because the daemon no longer pushed its deadline.
    pub(super) fn missed_the_daemon(&self) -> bool {
        self.ended.is_some_and(|status| status.code() == Some(i32::from(DEADLINE_PASSED)))
    }

    /// Whether a worker is still trying a wrong result again.
    pub(super) fn is_diagnosing(&self) -> bool {
        !self.is_gone() && self.mismatches.iter().any(|mismatch| mismatch.reruns.is_none())
    }

    fn take_reports(&mut self) {
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Report::Ready(prepared)) => self.prepared = Some(prepared),
                Ok(Report::Found(found)) => self.found = Some(found),
                // The first reason is the cause, later ones follow from it.
                Ok(Report::Failed(reason)) => {
                    self.failure.get_or_insert(reason);
                }
                // The second one of a worker has more to say than the first.
                Ok(Report::Mismatch(mismatch)) => {
                    self.mismatches.retain(|known| known.worker != mismatch.worker);
                    self.mismatches.push(*mismatch);
                }
                Ok(Report::Wrong(words)) => self.wrong_words.extend(words),
                Ok(Report::PeerLost(reason)) => {
                    self.peer_lost |= self.failure.is_none();
                    self.failure.get_or_insert(reason);
                }
                Err(_) => {
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    tracing::warn!(%text, "a burner said what is no report");
                }
            }
        }
    }
}

impl Drop for BurnerProcess {
    fn drop(&mut self) {
        if self.ended.is_none() && !self.hangs {
            self.kill();
            let _reaped = self.child.wait();
        }
    }
}

fn plan_file(plan: &Plan) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"ssts-plan", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&serde_json::to_vec(plan)?)?;
    file.rewind()?;
    Ok(file)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
            format!("signal {number} ({name})")
        }
        (None, None) => status.to_string(),
    }
}

/// The instant of something that is waited for, CLOCK_BOOTTIME, as poll(2) takes it.
pub(super) fn until(instant: Duration) -> Duration {
    instant.saturating_sub(clock::boottime())
}
