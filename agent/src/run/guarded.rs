//! What guards do to a run: those of its host, and its own. Judged by the tick, with every frame.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ssts_proto::v1::{Cause, EventKind, GuardReaction, GuardState, GuardStatus, RunState};

use super::active::ActiveRun;
use crate::{
    guard::{Bounds, FULL_PPM, GuardBoard, GuardSet, GuardSpec, Order, Owned, Reaction, Watching, shipped},
    observe::{frame::Frame, schema::Schema},
};

/// Trips of one guard that are told as events; what flutters is counted on.
const MOST_TOLD: u32 = 50;
/// Sources that are read once a second have told by then whether they are there.
const SETTLED: Duration = Duration::from_secs(3);

/// The guards of one run.
#[derive(Debug)]
pub(super) struct RunGuards {
    bounds: Bounds,
    /// CLOCK_MONOTONIC.
    started: Duration,
    own: GuardSet,
    board: Arc<RunBoard>,
    own_effects: Vec<Effect>,
    host_effects: Vec<Effect>,
    /// Pauses left out.
    burned: Duration,
    latest: Duration,
    load_ppm: u32,
    told_of_unguarded: bool,
}

/// One guard's doing to the run.
#[derive(Debug)]
struct Effect {
    reaction: Reaction,
    /// Of the trips that it has had when the run last looked.
    trips: u64,
    was_tripped: bool,
    told: u32,
}

/// A guard wants the host to be halted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HaltWanted {
    pub(super) guard: String,
    pub(super) message: String,
}

impl RunGuards {
    /// Of a run that starts now, by CLOCK_MONOTONIC. `own`: those that it brings.
    pub(super) fn new(bounds: Bounds, own: Vec<GuardSpec>, started: Duration) -> Self {
        let own = GuardSet::new(own, bounds.stale_after, started);
        Self {
            bounds,
            started,
            board: Arc::new(RunBoard { own: own.board(), loads: OnceLock::new() }),
            own_effects: effects(&own),
            own,
            host_effects: Vec::new(),
            burned: Duration::ZERO,
            latest: started,
            load_ppm: FULL_PPM,
            told_of_unguarded: false,
        }
    }

    /// Looks at one frame, and does to the run what has to be done. `host`: guards that have looked at it.
    pub(super) fn follow(
        &mut self,
        run: &ActiveRun,
        host: &GuardSet,
        schema: &Schema,
        frame: &Frame,
    ) -> Option<HaltWanted> {
        let is_burning = run.state() == RunState::Running;
        if is_burning {
            self.burned += frame.end.saturating_sub(self.latest);
        }
        self.latest = frame.end;
        if self.host_effects.is_empty() {
            self.host_effects = effects(host);
        }
        let count = self.own_effects.len() + self.host_effects.len();
        let loads = self.board.loads.get_or_init(|| (0..count).map(|_| AtomicU32::new(FULL_PPM)).collect());
        self.own.look(schema, frame, &Owned::default());
        let elapsed = frame.end.saturating_sub(self.started);
        let limit = self.bounds.max_duration;
        if elapsed >= limit {
            let message = || format!("the run has lasted {elapsed:.1?}, the limit is {limit:?}");
            run.stop_for(shipped::MAX_DURATION, message);
            let fields = [("guard", shipped::MAX_DURATION.to_owned()), ("reaction", "stop".into())];
            run.tell(EventKind::GuardTripped, message(), fields);
            return None;
        }
        let own = self.own.guards().iter().zip(&mut self.own_effects);
        let all = own.chain(host.guards().iter().zip(&mut self.host_effects));
        let mut halt = None;
        for ((guard, effect), load) in all.zip(loads) {
            halt = effect.follow(run, guard, is_burning, self.burned, frame);
            load.store(effect.reaction.load_ppm(), Ordering::Relaxed);
            if halt.is_some() || run.state() == RunState::Stopping {
                break;
            }
        }
        self.own.say();
        self.own.show(&self.board.own);
        if halt.is_some() || run.state() == RunState::Stopping {
            return halt;
        }
        self.derate(run);
        self.tell_unguarded(run, host, elapsed);
        None
    }

    /// What all guards together leave of the load.
    fn derate(&mut self, run: &ActiveRun) {
        let effects = self.own_effects.iter().chain(&self.host_effects);
        let load_ppm = effects.map(|effect| effect.reaction.load_ppm()).min().unwrap_or(FULL_PPM);
        if load_ppm != self.load_ppm {
            self.load_ppm = load_ppm;
            run.derate(load_ppm);
        }
    }

    fn tell_unguarded(&mut self, run: &ActiveRun, host: &GuardSet, elapsed: Duration) {
        if self.told_of_unguarded || elapsed < SETTLED {
            return;
        }
        self.told_of_unguarded = true;
        for guard in host.guards().iter().filter(|guard| guard.state() == GuardState::Unguarded) {
            let spec = guard.spec();
            let fields = [("guard", spec.name().to_owned()), ("metric", spec.metric.name.to_owned())];
            run.tell(
                EventKind::NotGuarded,
                format!("{} does not guard: {}", spec.name(), spec.unguarded()),
                fields,
            );
        }
    }

    /// What others see of them.
    pub(super) fn board(&self) -> Arc<RunBoard> {
        self.board.clone()
    }
}

/// How the guards of a run stand, for others than the tick.
#[derive(Debug)]
pub(super) struct RunBoard {
    own: GuardBoard,
    /// What each left of the load, in parts of a million: the run's own first.
    loads: OnceLock<Box<[AtomicU32]>>,
}

impl RunBoard {
    /// How the run's own stand, then the host's, with what each left of the load.
    pub(super) fn statuses(&self, host: Vec<GuardStatus>) -> Vec<GuardStatus> {
        let mut all = self.own.statuses();
        all.extend(host);
        for (status, load) in all.iter_mut().zip(self.loads.get().into_iter().flatten()) {
            let load_ppm = load.load(Ordering::Relaxed);
            status.load_percent = (load_ppm < FULL_PPM).then(|| f64::from(load_ppm) / 1e4);
        }
        all
    }
}

impl Effect {
    fn follow(
        &mut self,
        run: &ActiveRun,
        guard: &Watching,
        is_burning: bool,
        burned: Duration,
        frame: &Frame,
    ) -> Option<HaltWanted> {
        let is_tripped = guard.is_tripped();
        let name = guard.spec().name();
        // First what is to be done: words take longer.
        let order = self.reaction.follow(is_tripped, is_burning, burned);
        let mut halt = None;
        match order {
            Some(Order::Stop { after_pauses: None }) => run.stop_for(name, || guard.message()),
            Some(Order::Stop { after_pauses: Some(pauses) }) => {
                run.stop_for(name, || format!("{}; it has paused the run {pauses} times", guard.message()));
            }
            Some(Order::Pause) => run.hold(name),
            Some(Order::Resume) => run.release(name),
            Some(Order::Halt) => {
                halt = Some(HaltWanted { guard: name.to_owned(), message: guard.message() });
            }
            Some(Order::Derate(load_ppm)) => {
                let percent = load_ppm / 10_000;
                let message = format!("guard {name} derates the load to {percent} % of what was asked");
                let fields = [("guard", name.to_owned()), ("load_percent", percent.to_string())];
                run.tell(EventKind::LoadDerated, message, fields);
            }
            None => {}
        }
        self.tell(run, guard, is_tripped, frame);
        halt
    }

    fn tell(&mut self, run: &ActiveRun, guard: &Watching, is_tripped: bool, frame: &Frame) {
        let is_new = is_tripped && (!self.was_tripped || guard.trips() != self.trips);
        let is_over = !is_tripped && self.was_tripped;
        (self.was_tripped, self.trips) = (is_tripped, guard.trips());
        if !(is_new || is_over) || self.told >= MOST_TOLD {
            return;
        }
        let spec = guard.spec();
        let reaction = spec.message.reaction();
        let name = spec.name().to_owned();
        if is_over {
            let fields = [("guard", name), ("metric", spec.metric.name.to_owned())];
            return run.tell(
                EventKind::GuardCleared,
                format!("guard {} is clear again", spec.name()),
                fields,
            );
        }
        self.told += 1;
        let kind =
            if reaction == GuardReaction::Warn { EventKind::GuardWarned } else { EventKind::GuardTripped };
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let fields = [
            ("guard", name),
            ("metric", spec.metric.name.to_owned()),
            ("reaction", ssts_proto::guards::reaction_name(reaction).to_owned()),
            ("value", number(guard.value())),
            ("limit", spec.message.value.to_string()),
            ("unit", spec.unit.clone()),
            ("read_unix_ns", frame.unix_ns(guard.read_at()).to_string()),
        ];
        run.tell(kind, guard.message(), fields);
    }
}

impl ActiveRun {
    /// Ends the run for a guard; its words are made once burners are told.
    fn stop_for(&self, guard: &str, message: impl FnOnce() -> String) {
        self.stop_saying(Cause::GuardTripped, || format!("guard {guard}: {}", message()));
    }
}

fn effects(set: &GuardSet) -> Vec<Effect> {
    let effect = |reaction| Effect { reaction, trips: 0, was_tripped: false, told: 0 };
    set.reactions().into_iter().map(effect).collect()
}
