//! The ways to halt a host that need no gRPC: a file, and a signal. A thread of real-time priority waits for both in poll(2), so
//! that nothing stands between them and the halt; and the tick looks too, without ever waiting, so that a thread that is held up
//! can't lose one.

mod file;
mod signal;

use std::{
    io,
    os::fd::AsFd as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use serde_json::json;
use tracing::{error, warn};

use self::file::{HaltFile, Told};
pub use self::signal::HaltSignal;
use crate::{
    audit::{Audit, Entry, Subject},
    privileges,
    realtime::{self, Duty},
    run::{Engine, HaltWay},
};

/// How often a folder is looked for that is not there, or was removed.
const REARM: u16 = 1_000;
/// How long whoever made the file may take to write its reason into it.
const WRITTEN_WITHIN: Duration = Duration::from_millis(20);

/// What both look at.
#[derive(Debug)]
struct Calls {
    engine: Arc<Engine>,
    signal: Arc<HaltSignal>,
    file: Option<HaltFile>,
    /// How often a halt had been lifted when the file was last looked for.
    times_lifted: u64,
}

/// What the tick looks at, before it does anything else.
#[derive(Debug)]
pub struct HaltLook {
    calls: Calls,
    /// Wakes the thread, which has the disk to write to.
    news: Arc<EventFd>,
}

/// Puts halts on disk, for the thread alone: after they were carried out, whatever the disk does.
#[derive(Debug)]
struct Scribe {
    audit: Audit,
    /// The beginning of the halt that is in the audit log already: a file is seen more than once.
    noted: Option<i64>,
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub struct HaltWatch {
    news: Arc<EventFd>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Watches for a file at `path`, if one is named, and for the signal. A file that is there already halts at once. Who it was
/// is noted in the audit log.
///
/// # Errors
/// The kernel's, when it has no descriptor or thread left.
pub fn watch(
    engine: &Arc<Engine>,
    path: Option<&Path>,
    signal: HaltSignal,
    audit: Audit,
) -> io::Result<(HaltLook, HaltWatch)> {
    let signal = Arc::new(signal);
    let calls = || {
        let file = path.map(Path::to_owned).map(HaltFile::new).transpose()?;
        io::Result::Ok(Calls {
            engine: engine.clone(),
            signal: signal.clone(),
            file,
            times_lifted: engine.times_lifted(),
        })
    };
    let news = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let stop = Arc::new(AtomicBool::new(false));
    let look = HaltLook { calls: calls()?, news: news.clone() };
    let mut watched = calls()?;
    let (woken, stopped) = (news.clone(), stop.clone());
    let mut scribe = Scribe { audit, noted: None };
    let body = move || {
        if let Err(error) = realtime::enter(Duty::Guard) {
            warn!(%error, "the watch for halts has no real-time priority: under full load it may be late");
        }
        if let Err(error) = privileges::settle(privileges::Duty::Answer, false) {
            warn!(%error, "the watch for halts keeps capabilities that it doesn't need");
        }
        if watched.file.as_ref().is_some_and(HaltFile::exists) {
            watched.halt_by_file();
            watched.write_down(&mut scribe);
        }
        while !stopped.load(Ordering::Acquire) {
            watched.wait(&woken, &mut scribe);
        }
    };
    let thread = thread::Builder::new().name("halt".into()).spawn(body)?;
    Ok((look, HaltWatch { news, stop, thread: Some(thread) }))
}

impl HaltLook {
    /// Halts if somebody called for it. Two system calls where nobody did; never waits.
    pub fn look(&mut self) {
        if self.calls.take() {
            let _awake = self.news.write(1);
        }
    }
}

impl Calls {
    /// Whether there was a call; the halt has begun then.
    fn take(&mut self) -> bool {
        if let Some(sender) = self.signal.take() {
            self.engine.halt(HaltWay::Signal, sender, "SIGUSR1".into());
            return true;
        }
        let times_lifted = self.engine.times_lifted();
        let was_lifted = std::mem::replace(&mut self.times_lifted, times_lifted) != times_lifted;
        // Tick and thread are told of it each by itself: a halt that one of them began may have been lifted, and its file removed,
        // before the other one looks.
        let made = self.file.as_mut().is_some_and(|file| file.take() && (!was_lifted || file.exists()));
        if made {
            self.halt_by_file();
        }
        made
    }

    /// First the halt, then a look at who and why.
    fn halt_by_file(&self) {
        let path = self.file.as_ref().map(|file| file.path().display().to_string()).unwrap_or_default();
        self.engine.halt(HaltWay::File, format!("file {path}"), String::new());
    }

    /// For the thread alone: sleeps until there is something.
    fn wait(&mut self, news: &EventFd, scribe: &mut Scribe) {
        let mut polled = vec![PollFd::new(news.as_fd(), PollFlags::POLLIN)];
        polled.push(PollFd::new((*self.signal).as_fd(), PollFlags::POLLIN));
        polled.extend(self.file.as_ref().and_then(HaltFile::fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let unarmed = self.file.as_ref().is_some_and(|file| !file.is_armed());
        let timeout = if unarmed { PollTimeout::from(REARM) } else { PollTimeout::NONE };
        let polled = poll(&mut polled, timeout);
        let told = news.read().is_ok();
        if polled.is_err() {
            return;
        }
        let mut made = false;
        if let Some(file) = self.file.as_mut().filter(|file| !file.is_armed()) {
            file.arm();
            // It may have come with its folder.
            made = file.is_armed() && file.exists();
        }
        if made {
            self.halt_by_file();
        }
        if self.take() || made || told {
            self.write_down(scribe);
        }
    }

    /// After the halt: who and why, if the file tells, and on disk.
    fn write_down(&self, scribe: &mut Scribe) {
        // Now: a halt by another way may follow.
        let Some(halt) = self.engine.halt_state() else { return };
        // Between its making and its writing a shell takes microseconds.
        thread::sleep(WRITTEN_WITHIN);
        let told = self.file.as_ref().and_then(HaltFile::read);
        if let Some(Told { by, reason, .. }) = told.clone() {
            self.engine.explain_halt(HaltWay::File, by, reason);
        }
        let persisted = self.engine.persist_halt();
        let outcome = match &persisted {
            Ok(()) => "ok".to_owned(),
            Err(error) => format!("halted until sstsd ends, and no longer: {error}"),
        };
        if let Err(error) = persisted {
            error!(%error, "the halt holds until sstsd ends, and no longer");
        }
        if scribe.noted == Some(halt.since_unix_ns) {
            return;
        }
        let (who, parameters) = if halt.way == HaltWay::File.name() {
            let path = self.file.as_ref().map(|file| file.path().display().to_string());
            let reason = told.as_ref().map(|told| told.reason.clone());
            let who = Subject { uid: told.map(|told| told.uid), ..Subject::default() };
            (who, json!({ "way": halt.way, "path": path, "reason": reason }))
        } else if halt.way == HaltWay::Signal.name() {
            let (uid, pid) = self.signal.sender();
            let who = Subject { uid: Some(uid), pid: i32::try_from(pid).ok(), ..Subject::default() };
            (who, json!({ "way": halt.way }))
        } else {
            // Of another way's halt its own words are in the log.
            return;
        };
        scribe.noted = Some(halt.since_unix_ns);
        if let Err(error) = scribe.audit.note(&Entry::done(who, "Halt", parameters, outcome)) {
            warn!(%error, "the audit log can't be written: a halt is only in this log");
        }
    }
}

impl Drop for HaltWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _awake = self.news.write(1);
        if let Some(thread) = self.thread.take() {
            let _it_panicked = thread.join();
        }
    }
}
