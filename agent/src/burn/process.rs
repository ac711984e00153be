//! The burner process: what `sstsd burn` does. It speaks to the daemon through the control block, and says in lines of JSON
//! on standard output when it is ready or why it can't go on.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::OwnedFd,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::{Pid, getppid, gettid},
};
use serde::{Deserialize, Serialize};

use super::{
    BurnError,
    control::{Command, ControlBlock},
    cpu::{Found, Mismatch},
    crew::crew,
    inherit,
    memory::{self, WrongWord},
    plan::{Load, Plan},
    worker::{Flow, Prepared, Reins, Worker},
};
use crate::{clock, privileges, realtime};

/// One line from the burner process to the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// All workers are ready and wait for the start.
    Ready(Prepared),
    /// It can't go on, and ends.
    Failed(String),
    /// What a search for the hottest kernel found.
    Found(Found),
    /// A worker computed a wrong result: once when it is found, once when it was tried again.
    Mismatch(Box<Mismatch>),
    /// Words of memory were not what had been written. The burner ends.
    Wrong(Vec<WrongWord>),
    /// As [`Report::Failed`], for a reason that lies with the host at the other end.
    PeerLost(String),
}

/// The exit status of a burner process that ended because the daemon no longer pushed the deadline.
pub const DEADLINE_PASSED: u8 = 3;

/// Sleeps end on time: prctl(2) PR_SET_TIMERSLACK, in ns; the default of 50 µs would blur every duty cycle.
const TIMER_SLACK_NS: u64 = 1;
/// Of a worker's stack, where many share a core. What it touches of that is some pages; but the 2 MiB that are usual span a page
/// table of their own each, and of 64 threads that is a good part of what their start takes.
const STACK_BYTES: usize = 256 << 10;
/// How often the main thread looks at the deadline itself, in case a worker can't.
const WATCH: Duration = Duration::from_millis(50);

/// Carries out the plan that the daemon handed over. `daemon` is the process that must be alive.
pub fn main(daemon: i32) -> ExitCode {
    std::panic::set_hook(Box::new(|info| report(&Report::Failed(format!("a bug in the burner: {info}")))));
    match run(daemon) {
        Ok(status) => status,
        Err(error) => {
            let reason = error.to_string();
            let is_loss = match &error {
                BurnError::Network(error) => error.is_loss(),
                BurnError::Http(error) => error.is_loss(),
                _ => false,
            };
            report(&if is_loss { Report::PeerLost(reason) } else { Report::Failed(reason) });
            ExitCode::FAILURE
        }
    }
}

fn run(daemon: i32) -> Result<ExitCode, BurnError> {
    follow(daemon)?;
    leave_stopping_to_the_daemon();
    be_the_first_to_go()?;
    // What its workers tell must not wait behind them.
    realtime::wake_soon();
    let instructions = |error: io::Error| BurnError::Instructions(error.to_string());
    // Held, and closed by the kernel with the process.
    let inherit::Inheritance { control, plan, core_busy, alive: _alive } =
        inherit::take_over().map_err(instructions)?;
    let block = Arc::new(ControlBlock::open(control).map_err(instructions)?);
    let plan: Arc<Plan> = Arc::new(read_plan(plan.into()).map_err(instructions)?);
    give_up_privileges(&plan).map_err(instructions)?;
    if plan.cores.len() != block.workers() {
        return Err(BurnError::Instructions("the plan and the control block differ in workers".into()));
    }
    match work(&block, &plan, core_busy.map(Arc::new).as_ref()) {
        Err(BurnError::WrongWords(words)) => {
            // First the details: whoever sees the count stops the run at once.
            report(&Report::Wrong(words.clone()));
            memory::count_wrong(&words, &block);
            Ok(ExitCode::FAILURE)
        }
        outcome => outcome,
    }
}

/// Dies with the daemon, `kill -9` included.
pub(crate) fn follow(daemon: i32) -> Result<(), BurnError> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| BurnError::Instructions(errno.to_string()))?;
    // It may have died before the call above.
    if getppid() == Pid::from_raw(daemon) { Ok(()) } else { Err(BurnError::Orphaned) }
}

/// A service manager that stops the unit tells all of its processes at once. A burner that ended by that would look like one that
/// failed, should the daemon see its end before it sees its own signal. Threads inherit this; SIGKILL is untouched by it.
fn leave_stopping_to_the_daemon() {
    let mut told = SigSet::empty();
    told.add(Signal::SIGTERM);
    let _cannot_fail = told.thread_block();
}

/// What it does not burn with. Before there are workers: threads have capabilities of their own.
fn give_up_privileges(plan: &Plan) -> io::Result<()> {
    if let Load::Memory(_) = &plan.load {
        memory::open_pagemap();
    }
    let mounts = matches!(&plan.load, Load::Disk(load) if load.remount().is_some());
    privileges::settle_burner(mounts)
}

/// Should memory run out, the burner goes before anything else: proc_pid_oom_score_adj(5). Raising one's own is always
/// permitted; where /proc is not there the daemon's guard still is. One that would go last, as its daemon does, must not burn.
fn be_the_first_to_go() -> Result<(), BurnError> {
    const PATH: &str = "/proc/self/oom_score_adj";
    let Err(error) = std::fs::write(PATH, "1000") else { return Ok(()) };
    let score = std::fs::read_to_string(PATH).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if score.is_some_and(|score| score < 0) {
        return Err(BurnError::Instructions(format!("{PATH}: {error}: the OOM killer would spare it")));
    }
    Ok(())
}

fn read_plan(mut file: File) -> io::Result<Plan> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// What worker threads tell the main thread.
enum News {
    /// All of them.
    Ready(Vec<Prepared>),
    /// One of them.
    Ended(Result<(), BurnError>),
}

/// Gathers what workers chose. The last one tells of all: the main thread is not woken for each of many.
struct Assembly {
    workers: usize,
    prepared: Mutex<Vec<Prepared>>,
}

impl Assembly {
    fn joined_by(&self, one: Prepared) -> Option<Vec<Prepared>> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.push(one);
        (prepared.len() == self.workers).then(|| std::mem::take(&mut *prepared))
    }
}

/// What the last one chose, with each of their notices once.
fn merged(all: Vec<Prepared>) -> Option<Prepared> {
    let mut notices = Vec::new();
    let mut variant = None;
    for one in all {
        for notice in one.notices {
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
        variant = Some(one.variant);
    }
    variant.map(|variant| Prepared { variant, notices })
}

fn work(
    block: &Arc<ControlBlock>,
    plan: &Arc<Plan>,
    core_busy: Option<&Arc<OwnedFd>>,
) -> Result<ExitCode, BurnError> {
    let (sender, news) = mpsc::channel();
    // Threads inherit it. Without it duty cycles are less exact, nothing more.
    let _best_effort = prctl::set_timerslack(TIMER_SLACK_NS);
    let assembly = Arc::new(Assembly { workers: plan.cores.len(), prepared: Mutex::default() });
    let mut teams: BTreeMap<u32, Vec<Ready>> = BTreeMap::new();
    for (index, (worker, &core)) in crew(plan)?.into_iter().zip(&plan.cores).enumerate() {
        let reins =
            Reins::new(block.clone(), index, core, core_busy.cloned()).shared_by(plan.workers_on(core));
        let (assembly, sender) = (assembly.clone(), sender.clone());
        teams.entry(core).or_default().push(Ready { worker, core, reins, assembly, sender });
    }
    start(teams)?;
    drop(sender);
    watch(block, plan.cores.len(), &news)
}

/// A worker that has yet to get its thread.
struct Ready {
    worker: Box<dyn Worker>,
    core: u32,
    reins: Reins,
    assembly: Arc<Assembly>,
    sender: mpsc::Sender<News>,
}

impl Ready {
    fn start(mut self) -> Result<(), BurnError> {
        let name = format!("burn-{}", self.core);
        let is_one_of_many = self.reins.shares_its_core();
        let body = move || {
            let outcome = self.carry_out();
            let _main_has_gone = self.sender.send(News::Ended(outcome));
        };
        let mut builder = thread::Builder::new().name(name);
        if is_one_of_many {
            builder = builder.stack_size(STACK_BYTES);
        }
        builder.spawn(body).map(drop).map_err(BurnError::Thread)
    }

    /// The whole life of its thread.
    fn carry_out(&mut self) -> Result<(), BurnError> {
        let Self { worker, core, reins, assembly, sender } = self;
        reins.slot().tid.store(gettid().as_raw().cast_unsigned(), Ordering::Relaxed);
        if reins.shares_its_core() {
            // Whoever made it is on that core, and so is this.
            realtime::take_turns();
        } else {
            pin(*core)?;
        }
        let prepared = worker.prepare(reins)?;
        reins.slot().prepared_ppm.store(1_000_000, Ordering::Relaxed);
        if let Some(all) = assembly.joined_by(prepared) {
            let _main_has_gone = sender.send(News::Ready(all));
        }
        match reins.wait_for_start() {
            Flow::Stop => Ok(()),
            Flow::Burn | Flow::Resumed(_) => worker.burn(reins),
        }
    }
}

/// Gives each worker a thread. Where many are to share a core, a thread that is there already makes them: they begin on it,
/// and need not be moved one by one, which takes the kernel's stopper thread some tenth of a millisecond each.
fn start(teams: BTreeMap<u32, Vec<Ready>>) -> Result<(), BurnError> {
    thread::scope(|scope| {
        let mut starters = Vec::new();
        for (core, team) in teams {
            if team.len() == 1 {
                team.into_iter().try_for_each(Ready::start)?;
                continue;
            }
            let start_all = move || {
                pin(core)?;
                realtime::wake_soon();
                team.into_iter().try_for_each(Ready::start)
            };
            starters.push(thread::Builder::new().spawn_scoped(scope, start_all).map_err(BurnError::Thread)?);
        }
        // One that panicked has told why by the hook.
        starters.into_iter().try_for_each(|starter| {
            starter.join().unwrap_or_else(|_| Err(BurnError::Thread(io::Error::other("a starter panicked"))))
        })
    })
}

fn pin(core: u32) -> Result<(), BurnError> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core as usize }) {
        Ok(())
    } else {
        Err(BurnError::Pin { core })
    }
}

/// Waits for the workers, and ends the process at the deadline even if one of them hangs.
fn watch(block: &ControlBlock, workers: usize, news: &mpsc::Receiver<News>) -> Result<ExitCode, BurnError> {
    let mut ended = 0;
    while ended < workers {
        match news.recv_timeout(WATCH) {
            Ok(News::Ready(all)) => {
                if let Some(prepared) = merged(all) {
                    report(&Report::Ready(prepared));
                }
            }
            Ok(News::Ended(outcome)) => {
                ended += 1;
                let now = clock::boottime();
                let untimely = block.command() != Command::Stop && now < block.end();
                if untimely && now >= block.deadline() {
                    return Ok(ExitCode::from(DEADLINE_PASSED));
                }
                outcome?;
                if untimely {
                    // A worker that found wrong data, or the deadline behind it, ends the burner as a whole.
                    return Ok(ExitCode::from(DEADLINE_PASSED));
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // A worker panicked; the hook has told why.
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(ExitCode::FAILURE),
        }
        if clock::boottime() >= block.deadline() {
            return Ok(ExitCode::from(DEADLINE_PASSED));
        }
    }
    let too_early = block.command() != Command::Stop && clock::boottime() >= block.deadline();
    Ok(if too_early { ExitCode::from(DEADLINE_PASSED) } else { ExitCode::SUCCESS })
}

/// Best effort: a daemon that no longer reads is dead or about to see this process end.
pub(super) fn report(report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let _best_effort = io::stdout().write_all(&line);
    }
}
