//! Keeps a sink process: starts it, passes on what it says, starts it anew when it dies.

use std::{
    ffi::CString,
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, Write as _},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use tracing::{info, warn};

use super::{News, SinkPlan};
use crate::{
    burn::{
        control::{Command, ControlBlock},
        inherit::Inheritance,
        launch::{Launched, launch},
    },
    clock,
    run::Engine,
};

/// How long a sink may take to listen.
const START_TIME: Duration = Duration::from_secs(5);
/// Between the death of one and the start of the next.
const BACKOFF: Duration = Duration::from_secs(1);
/// How long one may take to end before it is killed.
const GRACE: Duration = Duration::from_millis(300);

/// Why there is no sink.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Its process or thread could not be started.
    #[error("the sink could not be started: {0}")]
    Start(#[from] io::Error),
    /// It said why.
    #[error("the sink can't begin: {0}")]
    Refused(String),
    /// It said nothing.
    #[error("the sink did not begin to listen within {START_TIME:?}")]
    Silent,
}

/// A sink, as long as this lives.
#[derive(Debug)]
pub struct Keeper {
    engine: Arc<Engine>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Returns when the sink listens.
    ///
    /// # Errors
    /// See [`KeeperError`]; then no process is left.
    pub fn start(plan: SinkPlan, deadline: Duration, engine: Arc<Engine>) -> Result<Self, KeeperError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, first) = mpsc::channel();
        let body = {
            let (engine, stop) = (engine.clone(), stop.clone());
            move || keep(&plan, deadline, &engine, &stop, &sender)
        };
        // A thread of its own: the kernel kills the sink with the thread that started it.
        let thread = thread::Builder::new().name("sink".into()).spawn(body)?;
        let keeper = Self { engine, stop, thread: Some(thread) };
        match first.recv_timeout(START_TIME) {
            Ok(News::Failed(reason)) => Err(KeeperError::Refused(reason)),
            Ok(News::Listening(_) | News::Told(_)) => Ok(keeper),
            Err(_) => Err(KeeperError::Silent),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.engine.hold_sink(None);
        if let Some(thread) = self.thread.take() {
            let _it_panicked = thread.join();
        }
    }
}

fn keep(plan: &SinkPlan, deadline: Duration, engine: &Engine, stop: &AtomicBool, first: &mpsc::Sender<News>) {
    while !stop.load(Ordering::Relaxed) {
        match start(plan, deadline, engine.halt_state().is_some()) {
            Ok((child, block)) => {
                engine.hold_sink(Some(block.clone()));
                follow(&child, &block, stop, first);
            }
            Err(error) => {
                let _nobody_waits = first.send(News::Failed(error.to_string()));
                warn!(%error, "the sink could not be started");
            }
        }
        let again = Instant::now() + BACKOFF;
        while !stop.load(Ordering::Relaxed) && Instant::now() < again {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn start(plan: &SinkPlan, deadline: Duration, halted: bool) -> io::Result<(Launched, Arc<ControlBlock>)> {
    let block = Arc::new(ControlBlock::create(1, 0, deadline)?);
    // Closed from its first moment where the host is halted; the next tick follows what changes.
    block.set_command(if halted { Command::Pause } else { Command::Burn });
    let mut file = File::from(memfd_create(c"ssts-sink-plan", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&serde_json::to_vec(plan)?)?;
    file.rewind()?;
    let arguments = [c"sink".into(), c"--daemon".into(), CString::new(std::process::id().to_string())?];
    let inheritance = Inheritance { control: block.fd(), plan: file.as_fd(), core_busy: None, alive: None };
    let child = launch(&arguments, &inheritance, None)?;
    // A thread of its own waits for what it says.
    fcntl(&child.reports, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((child, block))
}

/// Until the process is gone.
fn follow(child: &Launched, block: &Arc<ControlBlock>, stop: &AtomicBool, first: &mpsc::Sender<News>) {
    thread::scope(|scope| {
        let reports = &child.reports;
        let reader = scope.spawn(move || {
            for line in BufReader::new(reports).lines() {
                match line.as_deref().map(serde_json::from_str::<News>) {
                    Ok(Ok(news)) => pass_on(news, first),
                    Ok(Err(_)) => warn!("the sink said what is no news"),
                    Err(_) => return,
                }
            }
        });
        while !stop.load(Ordering::Relaxed) && !reader.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        block.set_command(Command::Stop);
        let end = clock::boottime() + GRACE;
        while !reader.is_finished() && clock::boottime() < end {
            thread::sleep(Duration::from_millis(5));
        }
        child.kill();
    });
    match child.wait() {
        _ if stop.load(Ordering::Relaxed) => {}
        Ok(status) => warn!(%status, "the sink ended unasked"),
        Err(error) => warn!(%error, "the sink is gone"),
    }
}

fn pass_on(news: News, first: &mpsc::Sender<News>) {
    match &news {
        News::Listening(addresses) => info!(?addresses, "the sink listens"),
        News::Failed(reason) => warn!(reason, "the sink can't go on"),
        News::Told(text) => info!("sink: {text}"),
    }
    let _nobody_waits = first.send(news);
}
