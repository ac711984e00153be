//! The runs of this host: admits, starts, remembers.

mod barrier;
mod halting;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ipnet::IpNet;
use ssts_proto::v1::{
    Cause, Guard, GuardStatus, Host, ProbeStatus, Run, RunReceipt, RunSummary, Scenario, Violation, Waiver,
};

use super::{
    active::{ActiveRun, Promise, Recording},
    admit::{self, Admitted, Offer, Others},
    drilled::DrillNote,
    ending::Ending,
    error::EngineError,
    found::FoundKernels,
    guarded::HaltWanted,
    guarding::HostGuards,
    halt::HaltLatch,
    on::{Runs, is_on},
    remains::Remains,
    store::Store,
    undo::UndoJournal,
};
use crate::{
    burn::control::{Command, ControlBlock},
    config::{BurnersConfig, HttpConfig, LimitsConfig, PolicyConfig},
    guard::{Bounds, GuardSpec, Standing},
    host::{HostRoots, cpuset},
    observe::{
        burners::BurnerBoard, file_systems::Folders, frame::Frame, probes::BurnerWatch, schema::Schema,
    },
};

/// Why runs end that are on when the daemon does.
pub const AGENT_STOPPED: &str = "sstsd was told to stop";

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
    pub(super) roots: HostRoots,
    limits: LimitsConfig,
    policy: PolicyConfig,
    pub(super) burners: BurnersConfig,
    cores: Vec<u32>,
    /// Networks that network burners may load.
    allowed_peers: Vec<IpNet>,
    /// Services that HTTP burners may load.
    http: HttpConfig,
    pub(super) describe: Box<dyn Describe>,
    pub(super) guards: HostGuards,
    /// Held by whoever tells the guards of the runs that are on.
    owning: Mutex<()>,
    pub(super) store: Arc<Store>,
    pub(super) halt: HaltLatch,
    /// Whose making halts.
    halt_file: Option<PathBuf>,
    pub(super) remains: Arc<Remains>,
    drill: DrillNote,
    pub(super) board: Arc<BurnerBoard>,
    runs: Runs,
    /// Held by a start from its beginning to its end.
    starting: Mutex<()>,
    closed: AtomicBool,
    /// The sink that is there now: held like a burner.
    sink: Mutex<Option<Arc<ControlBlock>>>,
    pub(super) watch: Arc<BurnerWatch>,
    heralds: Vec<Box<dyn Herald>>,
    pub(super) found: FoundKernels,
    /// As of the end of the latest run: looking takes milliseconds, and a start is to take few.
    pub(super) host: Mutex<Host>,
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
            policy: PolicyConfig::default(),
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
            owning: Mutex::default(),
            board: Arc::default(),
            runs: Runs::default(),
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

    /// With what the host's administrator allows.
    #[must_use]
    pub fn with_policy(mut self, policy: PolicyConfig) -> Self {
        self.cores.retain(|core| !policy.never_cores.contains(core));
        self.policy = policy;
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
        self.accept(id, scenario, Promise::Lease(lease_ttl), start_at)
    }

    fn accept(
        self: &Arc<Self>,
        id: String,
        scenario: &Scenario,
        promise: Promise,
        start_at: Option<Duration>,
    ) -> Result<Arc<ActiveRun>, EngineError> {
        self.may_start(&id)?;
        if let Some(trouble) = self.remains.block() {
            return Err(EngineError::Unclean(trouble));
        }
        let admitted = self.admit(scenario, start_at).map_err(EngineError::Refused)?;
        // After what can never be: that is to be told whatever the host is like now.
        if let Some((guard, message)) = self.guards.tripped() {
            return Err(EngineError::Guarded { guard, message });
        }
        let trail = self.remains.trail(&id, &admitted);
        let run = ActiveRun::new(id, admitted, promise, self.board.clone(), trail).map_err(|errno| {
            EngineError::Kernel { what: "the run could not be set up", source: errno.into() }
        })?;
        let run = Arc::new(run);
        let first_record = self.record(&run, Vec::new());
        // A halt may have come meanwhile.
        self.runs.add(run.clone(), |runs| self.still_open(runs))?;
        self.remains.undo().begin(&run.id);
        let (engine, supervised) = (self.clone(), run.clone());
        let spawned =
            thread::Builder::new().name("run".into()).spawn(move || engine.supervise_to_the_end(&supervised));
        let supervisor = match spawned {
            Ok(supervisor) => supervisor,
            Err(source) => {
                // Whoever stops it already waits for its end.
                run.stop(Ending::new(Cause::AgentStopped, "its supervisor could not be started"));
                run.finish();
                self.runs.remove(&run.id);
                return Err(EngineError::Kernel { what: "the supervisor could not be started", source });
            }
        };
        // One that came while it was being added did not see it, and does not wait.
        if let Some(ending) = self.shut() {
            run.stop(ending);
        }
        self.tell_guards(None);
        self.heralds.iter().for_each(|herald| herald.run_started(&run));
        // While its burners make ready, and before anything burns: a run that a crash cut off must be known afterwards.
        let recording = Recording(&run);
        let written = self.store.write(first_record);
        if let Err(error) = &written {
            run.stop(Ending::new(Cause::AgentStopped, error.to_string()));
        }
        // The disk may have taken its time, and the lease must not have run meanwhile.
        run.renew_lease();
        drop(recording);
        if let Err(error) = written {
            // Who is refused may ask again at once: its cores and memory are free by then. A bug in the supervisor ends its run
            // alone and is logged there, and a burner that hangs is given up after the grace.
            let _over = supervisor.join();
            return Err(error.into());
        }
        Ok(run)
    }

    /// What a scenario would be here, or all that speaks against it. Nothing is started and nothing is changed.
    pub(super) fn admit(
        &self,
        scenario: &Scenario,
        start_at: Option<Duration>,
    ) -> Result<Admitted, Vec<Violation>> {
        let others = self.others();
        let offer = Offer {
            roots: &self.roots,
            limits: &self.limits,
            policy: &self.policy,
            others: &others,
            shared_cores: scenario.shared_cores,
            cores: &self.cores,
            allowed_peers: &self.allowed_peers,
            http: &self.http,
            drilled: self.drill.latest(),
            guards: &self.guards,
        };
        let mut admitted = offer.admit(scenario)?;
        if let Some(instant) = start_at {
            admit::start_at("start_at_unix_ns", instant, &admitted).map_err(|violation| vec![*violation])?;
        }
        admitted.start_at = start_at;
        Ok(admitted)
    }

    /// What keeps every run from starting just now, in words.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        obstacles.extend(self.still_open(&self.runs.all()).err().map(|error| error.to_string()));
        obstacles.extend(self.remains.block().map(|trouble| EngineError::Unclean(trouble).to_string()));
        if let Some((guard, message)) = self.guards.tripped() {
            obstacles.push(EngineError::Guarded { guard, message }.to_string());
        }
        obstacles
    }

    /// What the runs that are on hold.
    fn others(&self) -> Others {
        let mut others = Others::default();
        for run in self.on() {
            others.add(&run.id, &run.admitted, &self.board.of(&run.id));
        }
        others
    }

    /// No run starts from now on: the daemon is about to end.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Whoever adds one may have looked before: wait until that run is known.
        self.runs.settle();
    }

    fn may_start(&self, id: &str) -> Result<(), EngineError> {
        if self.knows(id) {
            return Err(EngineError::Known(id.into()));
        }
        self.still_open(&self.runs.all())
    }

    fn still_open(&self, runs: &[Arc<ActiveRun>]) -> Result<(), EngineError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(EngineError::Closed);
        }
        if let Some(halt) = self.halt.state() {
            return Err(EngineError::Halted(halt));
        }
        let on: Vec<_> = runs.iter().filter(|run| is_on(run)).map(|run| run.id.clone()).collect();
        let max = self.policy.max_runs;
        if on.len() < max { Ok(()) } else { Err(EngineError::Busy { on, max }) }
    }

    /// Whether a run of that id is on or was.
    pub fn knows(&self, id: &str) -> bool {
        self.store.contains(id) || self.runs.find(id).is_some()
    }

    /// A run that is on, or one of the few that ended last.
    ///
    /// # Errors
    /// [`EngineError::Over`], [`EngineError::Unknown`].
    pub fn active(&self, id: &str) -> Result<Arc<ActiveRun>, EngineError> {
        if let Some(run) = self.runs.find(id) {
            return Ok(run);
        }
        if self.store.contains(id) {
            Err(EngineError::Over(id.into()))
        } else {
            Err(EngineError::Unknown(id.into()))
        }
    }

    /// The runs that are on, in the order of their starts.
    pub fn on(&self) -> Vec<Arc<ActiveRun>> {
        self.runs.on()
    }

    /// Tells the guards of the runs that are on, but for one that is about to be over.
    pub(super) fn tell_guards(&self, over: Option<&str>) {
        let _one_at_a_time = self.owning.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = self.on();
        let others = runs.iter().filter(|run| over != Some(run.id.as_str()));
        self.guards.own(&self.roots, others.map(|run| &run.admitted));
    }

    /// Runs that were not seen to be clean, and keep others from starting.
    pub fn unclean(&self) -> Vec<RunReceipt> {
        self.remains.unclean()
    }

    /// Looks again at those, and undoes what can be undone; with a waiver they no longer keep others from starting.
    pub fn recover(&self, waiver: Option<&Waiver>) -> Vec<RunReceipt> {
        self.remains.recover(waiver)
    }

    /// What drills of this host found.
    pub fn drill(&self) -> &DrillNote {
        &self.drill
    }

    /// All runs, newest first.
    pub fn summaries(&self) -> Vec<RunSummary> {
        let on: Vec<RunSummary> = self.on().iter().rev().map(|run| run.summary()).collect();
        let mut summaries = self.store.summaries();
        // The store has them as they began.
        summaries.retain(|summary| !on.iter().any(|on| on.run_id == summary.run_id));
        summaries.splice(0..0, on);
        summaries
    }

    /// Everything about one run.
    ///
    /// # Errors
    /// [`EngineError::Unknown`], [`EngineError::Store`].
    pub fn get(&self, id: &str) -> Result<Run, EngineError> {
        if let Some(run) = self.runs.find(id).filter(is_on) {
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
        let runs = self.runs.all();
        let halt = self.guards.look(schema, frame, |host| {
            let mut halt = None;
            for run in runs.iter() {
                halt = run.watch(schema, frame, host).or(halt);
            }
            halt
        });
        if let Some(HaltWanted { guard, message }) = halt {
            self.halt_for(&guard, message);
        }
    }
}
