//! A run that is on: what the rpc, the tick and the supervisor share of it.

mod watching;

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU32},
    time::Duration,
};

use nix::sys::eventfd::{EfdFlags, EventFd};
use ssts_proto::v1::{Cause, Event, EventKind, Receipt, RunState, RunSummary, ThresholdResult, Trail};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    admit::Admitted,
    decisions::Decisions,
    ending::Ending,
    error::EngineError,
    guarded::{RunBoard, RunGuards},
    hardware_errors::HardwareErrors,
    held::{Held, Hold},
    lease::Lease,
    phase_clock::PhaseClock,
    recovery::Recoveries,
    search::Searches,
    settling::Settlings,
    state::{self, Illegal, Step},
    telemetry::Telemetry,
    thresholds::Thresholds,
    traced::traced,
};
use crate::{burn::control::Command, clock, observe::burners::BurnerBoard};

/// Events that a run keeps; a run that causes more is ill, and its first ones tell why.
const MAX_EVENTS: usize = 10_000;

/// A run that is on.
#[derive(Debug)]
pub struct ActiveRun {
    /// Its id.
    pub id: String,
    /// What it carries out.
    pub admitted: Admitted,
    /// When it was asked for, CLOCK_BOOTTIME.
    pub started: Duration,
    started_at_unix_ns: i64,
    /// How long the host had been suspended before.
    suspended_before: Option<Duration>,
    pub(super) lease: Lease,
    pub(super) board: Arc<BurnerBoard>,
    pub(super) searches: Searches,
    pub(super) recoveries: Recoveries,
    pub(super) settlings: Settlings,
    /// What guards took of the load, in parts of a million.
    withheld_ppm: AtomicU32,
    progress: Mutex<Progress>,
    /// Tells of `Progress::recorded`.
    recorded: Condvar,
    /// Readable when the supervisor has to look again.
    pub(super) wake: EventFd,
    /// Counts changes of state and events.
    changes: watch::Sender<u64>,
    guarded: Mutex<Guarded>,
    guard_board: Arc<RunBoard>,
    telemetry: Mutex<Telemetry>,
    pub(super) thresholds: Mutex<Thresholds>,
    /// What is decided between its phases.
    pub(super) decisions: Decisions,
    /// What came of them.
    judged: Mutex<Vec<ThresholdResult>>,
}

/// What keeps a run alive.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a run has one, and hands it on once")]
pub(super) enum Promise {
    /// A lease of so long; none for a detached run.
    Lease(Option<Duration>),
    /// It was prepared, and waits to be told when to begin.
    Hold(Hold),
}

#[derive(Debug)]
pub(super) struct Progress {
    pub(super) state: RunState,
    pub(super) ending: Option<Ending>,
    phase: Option<PhaseClock>,
    /// Its first record was written, or could not be.
    pub(super) recorded: bool,
    /// It was prepared.
    pub(super) held: Option<Held>,
    /// When it is to begin, Unix time.
    pub(super) begin_at: Option<Duration>,
    /// When its first phase that began did, Unix time.
    began_at_unix_ns: Option<i64>,
    /// When it was told to end before its time, CLOCK_BOOTTIME.
    stopped: Option<Duration>,
    /// When the last burner was seen to be gone, CLOCK_BOOTTIME.
    quiet: Option<Duration>,
    /// Where to look for what it leaves.
    trail: Trail,
    /// What was seen of that.
    receipt: Option<Receipt>,
    finished: Option<Duration>,
    events: Vec<Event>,
    /// Somebody asked for the pause.
    is_paused_by_user: bool,
    /// Guards that keep it paused.
    held_by: Vec<String>,
}

/// What the tick alone looks at.
#[derive(Debug)]
struct Guarded {
    guards: RunGuards,
    errors: HardwareErrors,
}

impl ActiveRun {
    pub(super) fn new(
        id: String,
        admitted: Admitted,
        promise: Promise,
        board: Arc<BurnerBoard>,
        trail: Trail,
    ) -> nix::Result<Self> {
        let (lease_ttl, held) = match promise {
            Promise::Lease(ttl) => (ttl, None),
            Promise::Hold(hold) => (Some(hold.time), Some(Held::new(hold))),
        };
        let lease = Lease::new(lease_ttl);
        let begin_at = admitted.start_at;
        let guards = RunGuards::new(admitted.bounds, admitted.guards.clone(), clock::monotonic());
        let run = Self {
            telemetry: Mutex::new(Telemetry::of(&id)),
            thresholds: Mutex::new(Thresholds::of(&admitted.scenario, &id)),
            decisions: Decisions::default(),
            judged: Mutex::default(),
            id,
            admitted,
            started: clock::boottime(),
            started_at_unix_ns: clock::unix_ns(),
            suspended_before: clock::suspended(),
            lease,
            board,
            searches: Searches::default(),
            recoveries: Recoveries::default(),
            settlings: Settlings::default(),
            progress: Mutex::new(Progress {
                state: RunState::Pending,
                ending: None,
                phase: None,
                recorded: false,
                held,
                begin_at,
                began_at_unix_ns: None,
                stopped: None,
                quiet: None,
                trail,
                receipt: None,
                finished: None,
                events: Vec::new(),
                is_paused_by_user: false,
                held_by: Vec::new(),
            }),
            recorded: Condvar::new(),
            wake: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            changes: watch::Sender::new(0),
            guard_board: guards.board(),
            guarded: Mutex::new(Guarded { guards, errors: HardwareErrors::default() }),
            withheld_ppm: AtomicU32::new(0),
        };
        run.tell(
            EventKind::RunStarted,
            format!("run {} of scenario {}", run.id, run.admitted.scenario.name),
            [],
        );
        Ok(run)
    }

    /// A number that changes with the state and with each event.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Where it stands.
    pub fn summary(&self) -> RunSummary {
        let progress = lock(&self.progress);
        let now = clock::boottime();
        let until = progress.finished.unwrap_or(now);
        let mut summary = RunSummary {
            run_id: self.id.clone(),
            scenario: self.admitted.scenario.name.clone(),
            started_at_unix_ns: self.started_at_unix_ns,
            duration_ns: clock::ns(until.saturating_sub(self.started)),
            phase_index: progress.phase.map(|phase| phase.index() as u32),
            phase_elapsed_ns: progress.phase.map(|phase| clock::ns(phase.elapsed(now))),
            begin_at_unix_ns: progress.begin_at.and_then(|at| i64::try_from(at.as_nanos()).ok()),
            began_at_unix_ns: progress.began_at_unix_ns,
            ..RunSummary::default()
        };
        summary.set_state(progress.state);
        if progress.state == RunState::Pending {
            summary.prepared = progress.held.as_ref().and_then(Held::message);
        }
        if let Some(ending) = &progress.ending {
            summary.set_cause(ending.cause);
            summary.cause_message.clone_from(&ending.message);
            if progress.state == RunState::Finished {
                summary.set_verdict(ending.verdict());
            }
        }
        if let Some(receipt) = &progress.receipt {
            summary.set_receipt(receipt.state());
        }
        summary
    }

    /// Its state.
    pub fn state(&self) -> RunState {
        lock(&self.progress).state
    }

    /// For how long the host was suspended since it was asked for, as far as that can be told.
    pub(super) fn suspended(&self) -> Option<Duration> {
        clock::suspended()?.checked_sub(self.suspended_before?)
    }

    /// Its events from the n-th on.
    pub fn events_from(&self, n: usize) -> Vec<Event> {
        lock(&self.progress).events.get(n..).unwrap_or_default().to_vec()
    }

    /// Moves the lease's end, and says by how much it is ahead now; nothing for a detached run.
    pub fn renew_lease(&self) -> Option<Duration> {
        self.lease.renew()
    }

    /// Ends the run for the reason given, unless it is ending already: burners are told at once, by the calling thread.
    pub fn stop(&self, ending: Ending) {
        let Ending { cause, message } = ending;
        self.stop_saying(cause, || message);
    }

    /// As [`ActiveRun::stop`]. Burners are told before anything else is done, and until then nothing is allocated: the words
    /// are made afterwards.
    pub fn stop_saying(&self, cause: Cause, words: impl FnOnce() -> String) {
        let message = {
            let mut progress = lock(&self.progress);
            let next = state::next(progress.state, Step::Stop);
            let (None, Ok(next)) = (&progress.ending, next) else { return };
            let now = clock::boottime();
            self.board.for_each_block_of(&self.id, |block| block.set_command(Command::Stop));
            // Whoever sees the state also sees the reason.
            let message = words();
            progress.state = next;
            progress.stopped = (progress.phase.is_some() || progress.quiet.is_none()).then_some(now);
            progress.ending = Some(Ending::new(cause, message.clone()));
            message
        };
        self.wake_supervisor();
        if cause == Cause::Completed {
            self.note_change();
        } else {
            self.tell(EventKind::RunStopping, message, []);
        }
    }

    /// Freezes the run. The supervisor carries it out.
    ///
    /// # Errors
    /// [`Illegal`] unless it is running, or paused by guards alone.
    pub fn pause(&self) -> Result<(), Illegal> {
        let is_held = {
            let mut progress = lock(&self.progress);
            let is_held = progress.state == RunState::Paused && !progress.is_paused_by_user;
            progress.is_paused_by_user |= is_held;
            is_held
        };
        if !is_held {
            self.step(Step::Pause)?;
            lock(&self.progress).is_paused_by_user = true;
        }
        self.wake_supervisor();
        self.tell(EventKind::RunPaused, "paused", []);
        Ok(())
    }

    /// Goes on with a paused run. The supervisor carries it out.
    ///
    /// # Errors
    /// [`EngineError::Illegal`] unless it is paused, [`EngineError::Held`] while a guard keeps it so.
    pub fn resume(&self) -> Result<(), EngineError> {
        let holder = lock(&self.progress).held_by.first().cloned();
        if let Some(guard) = holder {
            return Err(EngineError::Held { run: self.id.clone(), guard });
        }
        self.step(Step::Resume)?;
        lock(&self.progress).is_paused_by_user = false;
        self.wake_supervisor();
        self.tell(EventKind::RunResumed, "resumed", []);
        Ok(())
    }

    /// Notes that a phase came to its end.
    pub(super) fn finish_phase(&self, index: usize) {
        lock(&self.thresholds).finish_phase(index);
        self.finish_settling(index);
    }

    /// Notes an event.
    pub(super) fn tell<const N: usize>(
        &self,
        kind: EventKind,
        message: impl Into<String>,
        fields: [(&str, String); N],
    ) {
        let message = message.into();
        match kind {
            EventKind::GuardTripped
            | EventKind::GuardWarned
            | EventKind::LoadDerated
            | EventKind::ThresholdFailed
            | EventKind::HardwareError => warn!(run = self.id, "{message}"),
            _ => info!(run = self.id, "{message}"),
        }
        let fields: HashMap<_, _> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let event = Event { at_unix_ns: clock::unix_ns(), kind: kind.into(), message, fields };
        {
            let mut progress = lock(&self.progress);
            // How a run ended is told whatever came before.
            let is_end =
                matches!(kind, EventKind::GuardTripped | EventKind::RunStopping | EventKind::RunFinished);
            if progress.events.len() < MAX_EVENTS || is_end {
                progress.events.push(event);
            }
        }
        self.note_change();
    }

    fn step(&self, step: Step) -> Result<(), Illegal> {
        {
            let mut progress = lock(&self.progress);
            progress.state = state::next(progress.state, step)?;
            let now = clock::boottime();
            if let Some(phase) = &mut progress.phase {
                match step {
                    Step::Pause => phase.pause(now),
                    Step::Resume => phase.resume(now),
                    Step::Burn | Step::Stop | Step::Finish => {}
                }
            }
        }
        self.note_change();
        Ok(())
    }

    /// When its first phase is to begin, Unix time; nothing where none was named, or a phase has begun.
    pub(super) fn named_start(&self) -> Option<Duration> {
        let progress = lock(&self.progress);
        progress.begin_at.filter(|_| progress.began_at_unix_ns.is_none())
    }

    /// Starts the clock of a phase.
    pub(super) fn begin_phase(&self, index: usize, now: Duration) -> Result<(), Illegal> {
        {
            let mut progress = lock(&self.progress);
            progress.state = state::next(progress.state, Step::Burn)?;
            progress.began_at_unix_ns.get_or_insert_with(|| clock::unix_ns_at(now));
            progress.phase = Some(PhaseClock::starting(index, now));
        }
        self.note_change();
        Ok(())
    }

    /// The clock of the phase that is on.
    pub(super) fn phase_clock(&self) -> Option<PhaseClock> {
        lock(&self.progress).phase
    }

    pub(super) fn end_phase(&self) {
        lock(&self.progress).phase = None;
    }

    /// Why the run ends, once that is settled.
    pub(super) fn ending(&self) -> Option<Ending> {
        lock(&self.progress).ending.clone()
    }

    /// When the last burner was seen to be gone, CLOCK_BOOTTIME; nothing while one may be there.
    pub fn quiet(&self) -> Option<Duration> {
        lock(&self.progress).quiet
    }

    /// From the order to end to the proof that nothing burned; nothing where it came to its end by itself, or where there is no
    /// such proof.
    pub fn quiet_after(&self) -> Option<Duration> {
        let progress = lock(&self.progress);
        Some(progress.quiet?.saturating_sub(progress.stopped?))
    }

    /// Notes whether no burner is left.
    pub(super) fn note_quiet(&self, is_quiet: bool) {
        lock(&self.progress).quiet = is_quiet.then(clock::boottime);
    }

    /// Where to look for what it leaves.
    pub(super) fn trail(&self) -> Trail {
        lock(&self.progress).trail.clone()
    }

    /// Notes that its processes are in no cgroup of its own.
    pub(super) fn has_no_cgroup(&self) {
        lock(&self.progress).trail.cgroup.clear();
    }

    /// Notes a process that was killed and does not end.
    pub(super) fn has_hanging(&self, pid: i32, kind: &str) {
        let process = traced(pid, kind);
        lock(&self.progress).trail.processes.push(process);
    }

    /// What was seen of the host afterwards.
    pub fn receipt(&self) -> Option<Receipt> {
        lock(&self.progress).receipt.clone()
    }

    pub(super) fn set_receipt(&self, receipt: Receipt) {
        lock(&self.progress).receipt = Some(receipt);
    }

    /// Notes that its first record was written, or could not be.
    fn note_recorded(&self) {
        lock(&self.progress).recorded = true;
        self.recorded.notify_all();
        self.wake_supervisor();
    }

    /// Whether a crash from now on would leave it known.
    pub(super) fn is_recorded(&self) -> bool {
        lock(&self.progress).recorded
    }

    /// Waits for the first record: a later one must not be overwritten by it.
    pub(super) fn wait_for_record(&self) {
        let recorded = self.recorded.wait_while(lock(&self.progress), |progress| !progress.recorded);
        drop(recorded.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn finish(&self) {
        {
            let mut progress = lock(&self.progress);
            progress.phase = None;
            progress.finished = Some(clock::boottime());
        }
        // From stopping, where whoever finishes it has brought it, there is this way.
        let finished = self.step(Step::Finish);
        debug_assert!(finished.is_ok());
    }

    pub(super) fn with_telemetry<T>(&self, look: impl FnOnce(&Telemetry) -> T) -> T {
        look(&lock(&self.telemetry))
    }

    /// Lets go of what its telemetry took: it is summed up.
    pub(super) fn forget_telemetry(&self) {
        drop(std::mem::take(&mut *lock(&self.telemetry)));
    }

    pub(super) fn wake_supervisor(&self) {
        // It can fail only when the counter is full, and then the supervisor is awake.
        let _awake = self.wake.write(1);
    }

    pub(super) fn with_progress<T>(&self, look: impl FnOnce(&mut Progress) -> T) -> T {
        look(&mut lock(&self.progress))
    }

    fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Whoever writes a run's first record holds this meanwhile: whatever comes of it, nobody waits for ever.
#[derive(Debug)]
pub(super) struct Recording<'a>(pub(super) &'a ActiveRun);

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.0.note_recorded();
    }
}

/// No holder of these locks can leave half a change behind, so a panic elsewhere must not spread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
