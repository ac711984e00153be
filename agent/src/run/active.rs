//! The run that is on: what the rpc, the tick and the supervisor share of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::sys::eventfd::{EfdFlags, EventFd};
use ssts_proto::v1::{Cause, Event, EventKind, RunState, RunSummary};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    admit::Admitted,
    ending::Ending,
    lease::Lease,
    state::{self, Illegal, Step},
    telemetry::Telemetry,
};
use crate::{
    burn::control::Command,
    clock,
    guard::{Guards, Trip},
    observe::{burners::BurnerBoard, frame::Frame, schema::Schema},
};

/// Events that a run keeps; a run that causes more is ill, and its first ones tell why.
const MAX_EVENTS: usize = 10_000;

/// What the supervisor is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// End the run.
    Stop(Ending),
    /// Freeze it.
    Pause,
    /// Go on.
    Resume,
}

/// The run that is on.
#[derive(Debug)]
pub struct ActiveRun {
    /// Its id.
    pub id: String,
    /// What it carries out.
    pub admitted: Admitted,
    /// When it was asked for, CLOCK_BOOTTIME.
    pub started: Duration,
    started_at_unix_ns: i64,
    lease: Option<Lease>,
    board: Arc<BurnerBoard>,
    progress: Mutex<Progress>,
    orders: Mutex<VecDeque<Order>>,
    /// Readable when there are orders.
    pub(super) wake: EventFd,
    /// Counts changes of state and events.
    changes: watch::Sender<u64>,
    watched: Mutex<Watched>,
}

#[derive(Debug)]
struct Progress {
    state: RunState,
    ending: Option<Ending>,
    phase: Option<PhaseClock>,
    /// When the last burner was seen to be gone, CLOCK_BOOTTIME.
    quiet: Option<Duration>,
    finished: Option<Duration>,
    events: Vec<Event>,
    dropped_events: u64,
}

/// The clock of a phase, CLOCK_BOOTTIME.
#[derive(Debug, Clone, Copy)]
struct PhaseClock {
    index: u32,
    started: Duration,
    paused_since: Option<Duration>,
    paused: Duration,
}

/// What the tick makes of frames.
#[derive(Debug)]
struct Watched {
    guards: Guards,
    telemetry: Telemetry,
    told_of_sensors: bool,
}

impl ActiveRun {
    pub(super) fn new(
        id: String,
        admitted: Admitted,
        lease_ttl: Option<Duration>,
        board: Arc<BurnerBoard>,
    ) -> nix::Result<Self> {
        let lease = lease_ttl.map(Lease::new);
        let guards = Guards::new(admitted.bounds, clock::monotonic());
        let run = Self {
            id,
            admitted,
            started: clock::boottime(),
            started_at_unix_ns: clock::unix_ns(),
            lease,
            board,
            progress: Mutex::new(Progress {
                state: RunState::Pending,
                ending: None,
                phase: None,
                quiet: None,
                finished: None,
                events: Vec::new(),
                dropped_events: 0,
            }),
            orders: Mutex::default(),
            wake: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            changes: watch::Sender::new(0),
            watched: Mutex::new(Watched { guards, telemetry: Telemetry::default(), told_of_sensors: false }),
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
            phase_index: progress.phase.map(|phase| phase.index),
            phase_elapsed_ns: progress.phase.map(|phase| clock::ns(phase.elapsed(now))),
            ..RunSummary::default()
        };
        summary.set_state(progress.state);
        if let Some(ending) = &progress.ending {
            summary.set_cause(ending.cause);
            summary.cause_message.clone_from(&ending.message);
            if progress.state == RunState::Finished {
                summary.set_verdict(ending.verdict());
            }
        }
        summary
    }

    /// Its state.
    pub fn state(&self) -> RunState {
        lock(&self.progress).state
    }

    /// Its events from the n-th on.
    pub fn events_from(&self, n: usize) -> Vec<Event> {
        lock(&self.progress).events.get(n..).unwrap_or_default().to_vec()
    }

    /// Moves the lease's end, and says by how much it is ahead now; nothing for a detached run.
    pub fn renew_lease(&self) -> Option<Duration> {
        self.lease.as_ref().map(Lease::renew)
    }

    /// Ends the run for the reason given, unless it is ending already: burners are told at once, by the calling thread.
    pub fn stop(&self, ending: Ending) {
        {
            let mut progress = lock(&self.progress);
            if progress.ending.is_none() && progress.state != RunState::Finished {
                progress.ending = Some(ending.clone());
            }
        }
        self.board.for_each_block(|block| block.set_command(Command::Stop));
        self.order(Order::Stop(ending));
    }

    /// Freezes the run.
    ///
    /// # Errors
    /// [`Illegal`] unless it is running.
    pub fn pause(&self) -> Result<(), Illegal> {
        self.step(Step::Pause)?;
        self.board.for_each_block(|block| block.set_command(Command::Pause));
        self.tell(EventKind::RunPaused, "paused", []);
        self.order(Order::Pause);
        Ok(())
    }

    /// Goes on with a paused run.
    ///
    /// # Errors
    /// [`Illegal`] unless it is paused.
    pub fn resume(&self) -> Result<(), Illegal> {
        self.step(Step::Resume)?;
        self.tell(EventKind::RunResumed, "resumed", []);
        self.order(Order::Resume);
        Ok(())
    }

    /// Called by the tick with every frame: guards look at it, telemetry takes it in.
    pub fn watch(&self, schema: &Arc<Schema>, frame: &Frame) {
        let state = self.state();
        if state == RunState::Finished {
            return;
        }
        let trip = {
            let mut watched = lock(&self.watched);
            let trip = watched.guards.check(schema, frame);
            if trip.is_none() && !watched.told_of_sensors {
                watched.told_of_sensors = true;
                if !watched.guards.sees_temperature() {
                    self.tell(
                        EventKind::Notice,
                        "no temperature sensor can be read: temperature is not guarded",
                        [],
                    );
                }
            }
            if matches!(state, RunState::Running | RunState::Paused) {
                watched.telemetry.add(schema, frame);
            }
            trip
        };
        if state == RunState::Stopping {
            return;
        }
        if let Some(Trip { guard, message }) = trip {
            self.stop(Ending::new(Cause::GuardTripped, format!("guard {guard}: {message}")));
            self.tell(EventKind::GuardTripped, message, [("guard", guard.to_owned())]);
        }
        if self.lease.as_ref().is_some_and(Lease::has_expired) {
            self.stop(Ending::new(
                Cause::LeaseExpired,
                "the client that started the run no longer renews its lease",
            ));
        }
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
            EventKind::GuardTripped => warn!(run = self.id, "{message}"),
            _ => info!(run = self.id, "{message}"),
        }
        let fields: HashMap<_, _> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let event = Event { at_unix_ns: clock::unix_ns(), kind: kind.into(), message, fields };
        {
            let mut progress = lock(&self.progress);
            if progress.events.len() < MAX_EVENTS {
                progress.events.push(event);
            } else {
                progress.dropped_events += 1;
            }
        }
        self.note_change();
    }

    pub(super) fn step(&self, step: Step) -> Result<(), Illegal> {
        {
            let mut progress = lock(&self.progress);
            progress.state = state::next(progress.state, step)?;
            let now = clock::boottime();
            if let Some(phase) = &mut progress.phase {
                match step {
                    Step::Pause => phase.paused_since = Some(now),
                    Step::Resume => {
                        phase.paused += phase.paused_since.take().map_or(Duration::ZERO, |since| now - since);
                    }
                    Step::Burn | Step::Stop | Step::Finish => {}
                }
            }
        }
        self.note_change();
        Ok(())
    }

    /// Starts the clock of a phase.
    pub(super) fn begin_phase(&self, index: usize, now: Duration) -> Result<(), Illegal> {
        {
            let mut progress = lock(&self.progress);
            progress.state = state::next(progress.state, Step::Burn)?;
            progress.phase = Some(PhaseClock {
                index: index as u32,
                started: now,
                paused_since: None,
                paused: Duration::ZERO,
            });
        }
        self.note_change();
        Ok(())
    }

    pub(super) fn end_phase(&self) {
        lock(&self.progress).phase = None;
    }

    /// Why the run ends, once that is settled.
    pub(super) fn ending(&self) -> Option<Ending> {
        lock(&self.progress).ending.clone()
    }

    /// Settles why the run ends, unless it is settled.
    pub(super) fn settle(&self, ending: Ending) -> Ending {
        lock(&self.progress).ending.get_or_insert(ending).clone()
    }

    /// When the last burner was seen to be gone, CLOCK_BOOTTIME; nothing while one may be there.
    pub fn quiet(&self) -> Option<Duration> {
        lock(&self.progress).quiet
    }

    /// Notes that no burner is left, and none will be started.
    pub(super) fn note_quiet(&self) {
        lock(&self.progress).quiet = Some(clock::boottime());
    }

    pub(super) fn finish(&self) {
        {
            let mut progress = lock(&self.progress);
            progress.phase = None;
            progress.finished = Some(clock::boottime());
        }
        // From stopping, where the supervisor has just brought it, there is this way.
        let finished = self.step(Step::Finish);
        debug_assert!(finished.is_ok());
    }

    /// When its supervisor is no more.
    pub(super) fn finish_from_any_state(&self) {
        let _stopping_or_finished = self.step(Step::Stop);
        if self.state() != RunState::Finished {
            self.finish();
        }
    }

    pub(super) fn take_order(&self) -> Option<Order> {
        lock(&self.orders).pop_front()
    }

    pub(super) fn with_telemetry<T>(&self, look: impl FnOnce(&Telemetry) -> T) -> T {
        look(&lock(&self.watched).telemetry)
    }

    fn order(&self, order: Order) {
        lock(&self.orders).push_back(order);
        // It can fail only when the counter is full, and then the supervisor is awake.
        let _awake = self.wake.write(1);
    }

    fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl PhaseClock {
    fn elapsed(&self, now: Duration) -> Duration {
        self.paused_since.unwrap_or(now).saturating_sub(self.started).saturating_sub(self.paused)
    }
}

/// No holder of these locks can leave half a change behind, so a panic elsewhere must not spread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
