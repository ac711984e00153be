//! The runs of this host: admits, starts, stops, halts, remembers. One at a time for now.

use std::{
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ipnet::IpNet;
use ssts_proto::v1::{
    Cause, EventKind, Guard, GuardStatus, HaltState, Host, ProbeStatus, Run, RunReceipt, RunState,
    RunSummary, Scenario, Verdict, Violation, Waiver,
};
use tracing::{error, warn};

use super::{
    active::{ActiveRun, Recording},
    admit::Offer,
    busiest::Busiest,
    drilled::DrillNote,
    ending::Ending,
    found::FoundKernels,
    guarded::HaltWanted,
    guarding::HostGuards,
    halt::{HaltLatch, HaltWay},
    receipt::Witness,
    remains::{self, Remains},
    state::Illegal,
    store::{Store, StoreError},
    supervisor::{Settings, Supervisor},
    undo::UndoJournal,
};
use crate::{
    burn::control::{Command, ControlBlock},
    config::{BurnersConfig, HttpConfig, LimitsConfig},
    guard::{Bounds, GuardSpec, Standing},
    host::{HostRoots, cpuset},
    observe::{
        burners::BurnerBoard, file_systems::Folders, frame::Frame, probes::BurnerWatch, schema::Schema,
    },
    realtime,
};

/// Why a command can't be carried out.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It can never be carried out on this host.
    #[error("the scenario is refused")]
    Refused(Vec<Violation>),
    /// Another run is on.
    #[error("run {0} is on, and one run at a time is possible; wait for it or stop it (`sstsctl stop {0}`)")]
    Busy(String),
    /// The host is halted.
    #[error("this host is halted by {}: {}; clear it first (`sstsctl halt --clear`)", .0.by, .0.reason)]
    Halted(HaltState),
    /// A run was not seen to be gone.
    #[error("{0}; look at it again (`sstsctl recover`) before anything starts")]
    Unclean(String),
    /// The daemon ends.
    #[error("sstsd is about to end; start the run when it is back")]
    Closed,
    /// The id is taken.
    #[error("a run {0} is known already; choose another id")]
    Known(String),
    /// No such run.
    #[error("no run {0} is known; `sstsctl runs` lists those that are")]
    Unknown(String),
    /// Not in this state.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// A guard keeps it paused.
    #[error("guard {guard} keeps run {run} paused until it is clear; the run goes on by itself then")]
    Held {
        /// The run.
        run: String,
        /// The guard's name.
        guard: String,
    },
    /// A guard would end it as soon as it began.
    #[error("guard {guard} has tripped on this host: {message}; start the run when that is over")]
    Guarded {
        /// The guard's name.
        guard: String,
        /// Why it tripped.
        message: String,
    },
    /// It is over.
    #[error("run {0} is over")]
    Over(String),
    /// Records can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel refused.
    #[error("{what}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Its reason.
        source: io::Error,
    },
}

/// What the engine asks of others about this host, when a record is made.
pub trait Describe: Send + Sync + std::fmt::Debug {
    /// What this host is.
    fn host(&self) -> Host;
    /// How its probes are.
    fn probes(&self) -> Vec<ProbeStatus>;
}

/// Who wants to know of each run as it begins.
pub trait Herald: Send + Sync + std::fmt::Debug {
    /// It was accepted; nothing burns yet. Must not wait.
    fn run_started(&self, run: &Arc<ActiveRun>);
}

/// The runs of this host.
#[derive(Debug)]
pub struct Engine {
    roots: HostRoots,
    limits: LimitsConfig,
    burners: BurnersConfig,
    cores: Vec<u32>,
    /// Networks that network burners may load.
    allowed_peers: Vec<IpNet>,
    /// Services that HTTP burners may load.
    http: HttpConfig,
    describe: Box<dyn Describe>,
    guards: HostGuards,
    store: Arc<Store>,
    halt: HaltLatch,
    /// Whose making halts.
    halt_file: Option<PathBuf>,
    remains: Arc<Remains>,
    drill: DrillNote,
    board: Arc<BurnerBoard>,
    /// Held for moments only: the tick asks for the run that is on.
    active: Mutex<Option<Arc<ActiveRun>>>,
    /// Held by a start from its beginning to its end.
    starting: Mutex<()>,
    closed: AtomicBool,
    /// The sink that is there now: held like a burner.
    sink: Mutex<Option<Arc<ControlBlock>>>,
    watch: Arc<BurnerWatch>,
    heralds: Vec<Box<dyn Herald>>,
    found: FoundKernels,
    /// As of the end of the latest run: looking takes milliseconds, and a start is to take few.
    host: Mutex<Host>,
}

impl Engine {
    /// With the records in `state_dir`.
    ///
    /// # Errors
    /// [`EngineError::Store`], [`EngineError::Kernel`].
    pub fn open(
        roots: HostRoots,
        limits: LimitsConfig,
        burners: BurnersConfig,
        allowed_peers: Vec<IpNet>,
        describe: Box<dyn Describe>,
        state_dir: &Path,
    ) -> Result<Self, EngineError> {
        let cores = cpuset::allowed_cores().map_err(|errno| EngineError::Kernel {
            what: "the cores could not be listed",
            source: errno.into(),
        })?;
        let store = Arc::new(Store::open(state_dir)?);
        let guards = HostGuards::new(&limits, &[], state_dir);
        let host = Mutex::new(describe.host());
        let halt = HaltLatch::open(state_dir)?;
        let undo = Arc::new(UndoJournal::open(state_dir, &roots)?);
        let remains = Arc::new(Remains::open(state_dir, &roots, store.clone(), undo)?);
        remains.look_after_the_last();
        let drill = DrillNote::open(state_dir);
        Ok(Self {
            roots,
            limits,
            burners,
            cores,
            allowed_peers,
            http: HttpConfig::default(),
            describe,
            guards,
            store,
            halt,
            halt_file: None,
            remains,
            drill,
            board: Arc::default(),
            active: Mutex::default(),
            starting: Mutex::default(),
            closed: AtomicBool::new(false),
            sink: Mutex::default(),
            watch: Arc::default(),
            heralds: Vec::new(),
            found: FoundKernels::default(),
            host,
        })
    }

    /// With what the probes have for burners: the count of core time, for those that hold a core's load.
    #[must_use]
    pub fn with_burner_watch(mut self, watch: Arc<BurnerWatch>) -> Self {
        self.watch = watch;
        self
    }

    /// With somebody more to be told of each run.
    #[must_use]
    pub fn with_herald(mut self, herald: Box<dyn Herald>) -> Self {
        self.heralds.push(herald);
        self
    }

    /// With the file whose making halts.
    #[must_use]
    pub fn with_halt_file(mut self, path: Option<PathBuf>) -> Self {
        self.halt_file = path;
        self
    }

    /// With the services that HTTP burners may load.
    #[must_use]
    pub fn with_http(mut self, http: HttpConfig) -> Self {
        self.http = http;
        self
    }

    /// With guards of the configuration beside the shipped ones.
    #[must_use]
    pub fn with_guards(mut self, configured: &[Guard], state_dir: &Path) -> Self {
        self.guards = HostGuards::new(&self.limits, configured, state_dir);
        self
    }

    /// How the host's guards stand.
    pub fn guards(&self) -> Vec<GuardStatus> {
        self.guards.statuses()
    }

    /// The host's guards and where they stand.
    pub fn guard_standings(&self) -> Vec<(Arc<GuardSpec>, Standing)> {
        self.guards.board.all()
    }

    /// Folders whose file systems the host's guards need.
    pub fn watched_folders(&self) -> Arc<Folders> {
        self.guards.folders()
    }

    /// The burners that are there now.
    pub fn board(&self) -> Arc<BurnerBoard> {
        self.board.clone()
    }

    /// The daemon's own limits.
    pub fn limits(&self) -> &LimitsConfig {
        &self.limits
    }

    /// How burners are held.
    pub fn burners(&self) -> &BurnersConfig {
        &self.burners
    }

    /// What no run may exceed.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            max_duration: self.limits.max_duration,
            min_available_memory_bytes: self.limits.min_available_memory_bytes,
            max_temperature_celsius: self.limits.max_temperature_celsius,
            stale_after: self.limits.stale_after,
        }
    }

    /// Who halted this host, if anybody did.
    pub fn halt_state(&self) -> Option<HaltState> {
        self.halt.state()
    }

    /// Starts a run. Returns when it is accepted.
    ///
    /// # Errors
    /// Whatever speaks against it; then nothing was started.
    pub fn start(
        self: &Arc<Self>,
        id: String,
        scenario: &Scenario,
        lease_ttl: Option<Duration>,
        start_at: Option<Duration>,
    ) -> Result<Arc<ActiveRun>, EngineError> {
        // Only one at a time looks at files and waits for the disk; nobody else waits with it.
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        self.may_start(&id)?;
        if let Some(trouble) = self.remains.block() {
            return Err(EngineError::Unclean(trouble));
        }
        if let Some((guard, message)) = self.guards.tripped() {
            return Err(EngineError::Guarded { guard, message });
        }
        let offer = Offer {
            roots: &self.roots,
            limits: &self.limits,
            cores: &self.cores,
            allowed_peers: &self.allowed_peers,
            http: &self.http,
            drilled: self.drill.latest(),
            guards: &self.guards,
        };
        let mut admitted = offer.admit(scenario).map_err(EngineError::Refused)?;
        admitted.start_at = start_at
            .map(|instant| offer.start_at(instant, &admitted))
            .transpose()
            .map_err(|violation| EngineError::Refused(vec![violation]))?;
        let trail = self.remains.trail(&id, &admitted);
        let run = ActiveRun::new(id, admitted, lease_ttl, self.board.clone(), trail).map_err(|errno| {
            EngineError::Kernel { what: "the run could not be set up", source: errno.into() }
        })?;
        self.remains.undo().begin(&run.id);
        let run = Arc::new(run);
        let first_record = self.record(&run, Vec::new());
        // It looks at files: not while anybody waits for the lock below.
        self.guards.own(&self.roots, std::iter::once(&run.admitted));
        let (engine, supervised) = (self.clone(), run.clone());
        let mut active = self.lock();
        // A halt may have come meanwhile.
        self.still_open(&active)?;
        thread::Builder::new()
            .name("run".into())
            .spawn(move || engine.supervise_to_the_end(&supervised))
            .map_err(|source| EngineError::Kernel { what: "the supervisor could not be started", source })?;
        *active = Some(run.clone());
        self.heralds.iter().for_each(|herald| herald.run_started(&run));
        drop(active);
        // While its burners make ready, and before anything burns: a run that a crash cut off must be known afterwards.
        let recording = Recording(&run);
        let written = self.store.write(first_record);
        if let Err(error) = &written {
            run.stop(Ending::new(Cause::AgentStopped, error.to_string()));
        }
        // The disk may have taken its time, and the lease must not have run meanwhile.
        run.renew_lease();
        drop(recording);
        written?;
        Ok(run)
    }

    /// No run starts from now on: the daemon is about to end.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Whoever holds the lock may have looked before: wait until that run is known.
        drop(self.lock());
    }

    fn may_start(&self, id: &str) -> Result<(), EngineError> {
        let active = self.lock();
        if self.store.contains(id) || active.as_ref().is_some_and(|run| run.id == id) {
            return Err(EngineError::Known(id.into()));
        }
        self.still_open(&active)
    }

    fn still_open(&self, active: &Option<Arc<ActiveRun>>) -> Result<(), EngineError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(EngineError::Closed);
        }
        if let Some(halt) = self.halt.state() {
            return Err(EngineError::Halted(halt));
        }
        match active.as_ref().filter(|run| run.state() != RunState::Finished) {
            Some(run) => Err(EngineError::Busy(run.id.clone())),
            None => Ok(()),
        }
    }

    fn keep(&self, record: Run) {
        if let Err(error) = self.store.write(record) {
            error!(%error, "the record of a run could not be written; it is kept in memory");
        }
    }

    /// Whether a run of that id is on or was.
    pub fn knows(&self, id: &str) -> bool {
        self.store.contains(id) || self.lock().as_ref().is_some_and(|run| run.id == id)
    }

    /// A run that is on, or the last one that was.
    ///
    /// # Errors
    /// [`EngineError::Over`], [`EngineError::Unknown`].
    pub fn active(&self, id: &str) -> Result<Arc<ActiveRun>, EngineError> {
        if let Some(run) = self.lock().as_ref().filter(|run| run.id == id) {
            return Ok(run.clone());
        }
        if self.store.contains(id) {
            Err(EngineError::Over(id.into()))
        } else {
            Err(EngineError::Unknown(id.into()))
        }
    }

    /// The run that is on.
    pub fn current(&self) -> Option<Arc<ActiveRun>> {
        self.lock().clone().filter(|run| run.state() != RunState::Finished)
    }

    /// Halts: stops what is on at once, and lets nothing start. Gives the run that has to be waited for. The latch has yet
    /// to be written, by [`Engine::persist_halt`]: the disk must not hold up a halt.
    pub fn halt(&self, way: HaltWay, by: String, reason: String) -> Option<Arc<ActiveRun>> {
        let words = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let message = format!("halted by {by}{words}");
        self.halt.latch(way, by, reason);
        if let Some(sink) = &*self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            sink.set_command(Command::Pause);
        }
        let run = self.current();
        if let Some(run) = &run {
            run.stop_saying(Cause::Halted, || message.clone());
        }
        // After the reaction: the log may wait.
        warn!(way = way.name(), "{message}");
        run
    }

    /// Who called for the latest halt of that way and why, where that is known only afterwards.
    pub fn explain_halt(&self, way: HaltWay, by: String, reason: String) {
        self.halt.explain(way, by, reason);
    }

    /// Halts since the daemon began, by [`HaltWay::ALL`], and what the latest one took that had something to stop.
    pub fn halts(&self) -> ([u64; HaltWay::ALL.len()], Option<Duration>) {
        (self.halt.counts(), self.halt.quiet_after())
    }

    /// Runs that were not seen to be clean, and keep others from starting.
    pub fn unclean(&self) -> Vec<RunReceipt> {
        self.remains.unclean()
    }

    /// Looks again at those, and undoes what can be undone; with a waiver they no longer keep others from starting.
    pub fn recover(&self, waiver: Option<&Waiver>) -> Vec<RunReceipt> {
        self.remains.recover(waiver)
    }

    /// Makes a halt outlive the daemon.
    ///
    /// # Errors
    /// [`EngineError::Store`] when the latch could not be written; it holds until the daemon ends all the same.
    pub fn persist_halt(&self) -> Result<(), EngineError> {
        Ok(self.halt.persist()?)
    }

    /// Lifts the halt, and removes the file that halts: it would do so again at the next start.
    ///
    /// # Errors
    /// [`EngineError::Store`] when one of them could not be removed.
    pub fn clear_halt(&self) -> Result<(), EngineError> {
        if let Some(path) = &self.halt_file
            && let Err(source) = fs::remove_file(path)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(StoreError::Remove { path: path.clone(), source }.into());
        }
        Ok(self.halt.clear()?)
    }

    /// What drills of this host found.
    pub fn drill(&self) -> &DrillNote {
        &self.drill
    }

    /// All runs, newest first.
    pub fn summaries(&self) -> Vec<RunSummary> {
        let current = self.current().map(|run| run.summary());
        let mut summaries = self.store.summaries();
        if let Some(current) = current {
            // The store has it as it began.
            summaries.retain(|summary| summary.run_id != current.run_id);
            summaries.insert(0, current);
        }
        summaries
    }

    /// Everything about one run.
    ///
    /// # Errors
    /// [`EngineError::Unknown`], [`EngineError::Store`].
    pub fn get(&self, id: &str) -> Result<Run, EngineError> {
        if let Some(run) = self.current().filter(|run| run.id == id) {
            return Ok(self.record(&run, Vec::new()));
        }
        self.store.read(id)?.ok_or_else(|| EngineError::Unknown(id.into()))
    }

    /// Holds a sink from now on, or none: its deadline is pushed, and a halt closes it.
    pub fn hold_sink(&self, sink: Option<Arc<ControlBlock>>) {
        *self.sink.lock().unwrap_or_else(PoisonError::into_inner) = sink;
    }

    /// To be called at every tick, before anything else is done: burners live on.
    pub fn push_deadlines(&self) {
        self.board.for_each_block(|block| block.push_deadline(self.burners.deadline));
        if let Some(sink) = &*self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            sink.push_deadline(self.burners.deadline);
            let command = if self.halt.is_latched() { Command::Pause } else { Command::Burn };
            if sink.command() != command {
                sink.set_command(command);
            }
        }
    }

    /// To be called at every tick with its frame.
    pub fn watch(self: &Arc<Self>, schema: &Arc<Schema>, frame: &Frame) {
        let run = self.current();
        let halt = self
            .guards
            .look(schema, frame, |host| run.as_ref().and_then(|run| run.watch(schema, frame, host)));
        if let Some(HaltWanted { guard, message }) = halt {
            self.halt_for(&guard, message);
        }
    }

    /// Halts for a guard. The disk is not waited for.
    fn halt_for(self: &Arc<Self>, guard: &str, message: String) {
        self.halt(HaltWay::Guard, format!("guard {guard}"), message);
        let engine = self.clone();
        let written = thread::Builder::new().name("halt".into()).spawn(move || {
            if let Err(error) = engine.persist_halt() {
                error!(%error, "the halt could not be written: it holds until sstsd ends");
            }
        });
        if let Err(error) = written {
            error!(%error, "no thread to write the halt: it holds until sstsd ends");
        }
    }

    /// A bug in the supervisor ends its run, not the daemon.
    fn supervise_to_the_end(&self, run: &Arc<ActiveRun>) {
        // What a panic unwinds through kills its burners; what it leaves behind is settled here.
        // At ordinary priority, unlike the tick: this thread reaps children, and there the kernel spins until a preempted reader
        // of their /proc has gone on (release_task, shrink_dcache_parent). A real-time thread would keep it from that.
        let busiest = Busiest::start(&self.roots);
        realtime::wake_soon();
        let burners = panic::catch_unwind(AssertUnwindSafe(|| {
            let settings = Settings {
                config: self.burners.clone(),
                watch: self.watch.clone(),
                found: &self.found,
                remains: &self.remains,
            };
            Supervisor::new(run.clone(), self.board.clone(), settings, &self.roots).carry_out()
        }));
        let burners = burners.unwrap_or_else(|_| {
            self.board.set(Vec::new());
            run.stop(Ending::new(Cause::Unspecified, "a bug in the supervisor, see the agent's log"));
            Vec::new()
        });
        if run.receipt().is_none() {
            let receipt = self.remains.close(run, &Witness::default());
            run.tell(EventKind::Receipt, remains::words(&receipt), []);
            run.set_receipt(receipt);
        }
        if let Some(after) =
            run.quiet_after().filter(|_| run.ending().is_some_and(|end| end.cause == Cause::Halted))
        {
            self.halt.note_quiet(after);
            if let Err(error) = self.halt.persist() {
                error!(%error, "how long the halt took is known until sstsd ends, and no longer");
            }
        }
        run.wait_for_record();
        let recorded = panic::catch_unwind(AssertUnwindSafe(|| {
            *self.host.lock().unwrap_or_else(PoisonError::into_inner) = self.describe.host();
            let left_out = run.with_telemetry(super::telemetry::Telemetry::left_out);
            if left_out > 0 {
                let message = format!(
                    "{left_out} series of telemetry are too many for the result; the run's record has them"
                );
                run.tell(EventKind::Notice, message, []);
            }
            let mut record = self.record(run, burners);
            record.processes = busiest.finish();
            record.telemetry = run.with_telemetry(super::telemetry::Telemetry::summaries);
            if let Some(summary) = &mut record.summary {
                summary.set_state(RunState::Finished);
                summary.set_verdict(run.ending().map_or(Verdict::Error, |ending| ending.verdict()));
            }
            // Before anybody is told that it is over: then the record is there to be read.
            self.keep(record);
        }));
        if recorded.is_err() {
            error!(run = run.id, "a bug: the run's record could not be made");
        }
        self.guards.own(&self.roots, std::iter::empty());
        // Whatever happened: a run that never finishes would keep every other from starting.
        run.finish();
    }

    fn record(&self, run: &ActiveRun, burners: Vec<ssts_proto::v1::BurnerResult>) -> Run {
        Run {
            summary: Some(run.summary()),
            scenario: Some(run.admitted.scenario.clone()),
            limits: Some((&run.admitted.bounds).into()),
            host: Some(self.host.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            burners,
            // Once it is over: summing up takes longer than a tick may wait.
            telemetry: Vec::new(),
            events: run.events_from(0),
            probes: self.describe.probes(),
            processes: Vec::new(),
            receipt: run.receipt(),
            trail: Some(run.trail()),
            guards: run.guard_statuses(self.guards.statuses()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<ActiveRun>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
