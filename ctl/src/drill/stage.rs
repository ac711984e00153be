//! The private agent that faults are put to, with a sysfs and a state folder of the drill's own.

use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::Signal;
use ssts_proto::v1::{
    Burner, Constant, CpuBurner, CpuKernel, DescribeRequest, Event, EventKind, GetRunRequest, InjectedError,
    Phase, Profile, ReceiptState, Run, RunState, Scenario, StartRequest, burner, profile::Shape,
};
use uuid::Uuid;

use super::{
    Seen,
    fixture::FakeSysfs,
    namespace,
    process::{self, Process},
};
use crate::{
    connect::{Client, dial},
    error::{Exit, Failure},
    local::{PrivateAgent, PrivateFolder},
    report::receipt_words,
    status,
};

/// For burners to come, and to go after the last moment in which they should.
const LONGEST: Duration = Duration::from_secs(15);
/// Longer than any fault takes.
const PHASE: Duration = Duration::from_secs(60);
/// Between two questions.
const ASK: Duration = Duration::from_millis(20);
/// Of the state folder that can be filled.
const SMALL_STATE_BYTES: u64 = 32 << 20;
/// What is to stay free there: the host's own reserve may be more than there is.
const SMALL_RESERVE_BYTES: u64 = 8 << 20;

/// What a burner does on one core.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) percent: f64,
    pub(super) wrong_result_after: Option<Duration>,
}

impl Default for Load {
    fn default() -> Self {
        Self { percent: 20.0, wrong_result_after: None }
    }
}

/// What the agent promises by its configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    pub(super) tick: Duration,
    pub(super) deadline: Duration,
    pub(super) stale_after: Duration,
    pub(super) max_celsius: f64,
}

/// The agent, and what it lives on. It and its burners are gone when this is dropped.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) sysfs: FakeSysfs,
    pub(super) client: Client,
    pub(super) promise: Promise,
    core: u32,
    agent: PrivateAgent,
    small_state: bool,
    show_log: bool,
    // Last: it holds what the agent uses.
    folder: PrivateFolder,
}

/// A run whose burners burn.
#[derive(Debug)]
pub(super) struct Burning {
    pub(super) run_id: String,
    pub(super) burners: Vec<Process>,
}

/// The instant of a fault, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    instant: Instant,
    unix_ns: i64,
}

impl Moment {
    pub(super) fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_ns: i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX) }
    }

    pub(super) fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.instant)
    }

    pub(super) fn later(self, by: Duration) -> Self {
        let ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        Self { instant: self.instant + by, unix_ns: self.unix_ns.saturating_add(ns) }
    }

    pub(super) fn earlier(self, by: Duration) -> Self {
        let ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        Self {
            instant: self.instant.checked_sub(by).unwrap_or(self.instant),
            unix_ns: self.unix_ns.saturating_sub(ns),
        }
    }

    /// The moment of a Unix time near this one.
    pub(super) fn at(self, unix_ns: i64) -> Self {
        let apart = Duration::from_nanos(unix_ns.abs_diff(self.unix_ns));
        if unix_ns < self.unix_ns { self.earlier(apart) } else { self.later(apart) }
    }

    /// From here to a later moment.
    pub(super) fn until(&self, later: Self) -> Duration {
        later.instant.saturating_duration_since(self.instant)
    }

    /// From here to the first event of that kind that is not older.
    pub(super) fn until_event(&self, run: &Run, kinds: &[EventKind]) -> Option<Duration> {
        let later = |event: &&Event| event.at_unix_ns >= self.unix_ns && kinds.contains(&event.kind());
        let at = run.events.iter().filter(later).map(|event| event.at_unix_ns).min()?;
        u64::try_from(at - self.unix_ns).ok().map(Duration::from_nanos)
    }
}

impl Stage {
    /// Starts the agent; with a state folder on a small file system of its own where asked.
    pub(super) async fn open(small_state: bool, show_log: bool) -> Result<Self, Failure> {
        let folder = PrivateFolder::new()?;
        let sysfs = FakeSysfs::new(folder.path.join("sys")).map_err(|error| {
            Failure::new(Exit::Internal, format!("can't make a sysfs of the drill's own: {error}"), "")
        })?;
        let agent = spawn(&folder, &sysfs, small_state, show_log)?;
        let (client, agent) = reach(agent).await?;
        let mut stage = Self {
            sysfs,
            client,
            promise: Promise {
                tick: Duration::ZERO,
                deadline: Duration::ZERO,
                stale_after: Duration::ZERO,
                max_celsius: 0.0,
            },
            core: 0,
            agent,
            small_state,
            show_log,
            folder,
        };
        stage.ask().await?;
        Ok(stage)
    }

    async fn ask(&mut self) -> Result<(), Failure> {
        let described =
            self.client.describe(DescribeRequest {}).await.map_err(|status| status::failure(&status))?;
        let described = described.into_inner();
        let limits = described.limits.unwrap_or_default();
        self.promise = Promise {
            tick: Duration::from_secs_f64(1.0 / described.tick_rate_hz.max(0.01)),
            deadline: Duration::from_millis(described.burner_deadline_ms),
            stale_after: Duration::from_millis(described.stale_after_ms),
            max_celsius: limits.max_temperature_celsius.unwrap_or(95.0),
        };
        let cores = described.host.unwrap_or_default().cores;
        self.core = cores.iter().rev().find(|core| core.allowed).map_or(0, |core| core.cpu);
        Ok(())
    }

    /// Its process.
    pub(super) fn pid(&self) -> i32 {
        self.agent.pid()
    }

    /// Where its state is, as its process sees it.
    pub(super) fn state_dir(&self) -> PathBuf {
        state_dir(&self.folder)
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.agent.signal(signal);
    }

    /// Starts another agent in place of one that is dead, on the same state.
    pub(super) async fn start_anew(&mut self) -> Result<(), Failure> {
        // Until then it has the state folder to itself.
        self.agent.end();
        let agent = spawn(&self.folder, &self.sysfs, self.small_state, self.show_log)?;
        (self.client, self.agent) = reach(agent).await?;
        Ok(())
    }

    /// Ends the agent in order.
    pub(super) async fn close(self) {
        let Self { agent, folder, .. } = self;
        agent.stop().await;
        drop(folder);
    }

    /// Starts a load on one core and waits until it burns.
    pub(super) async fn burn(&mut self, load: Load, lease: Option<Duration>) -> Result<Burning, Failure> {
        let run_id = self.start(load, lease).await?;
        let burners = process::burning(self.pid(), LONGEST).await;
        if burners.is_empty() {
            return Err(Failure::new(Exit::Internal, "the load does not begin", ""));
        }
        Ok(Burning { run_id, burners })
    }

    /// Starts a load on one core; returns when it is accepted.
    pub(super) async fn start(&mut self, load: Load, lease: Option<Duration>) -> Result<String, Failure> {
        let run_id = Uuid::now_v7().to_string();
        let request = StartRequest {
            run_id: run_id.clone(),
            scenario: Some(scenario(load, self.core)),
            lease_ttl_ms: lease.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            start_at_unix_ns: None,
        };
        self.client.start(request).await.map_err(|status| status::failure(&status))?;
        Ok(run_id)
    }

    /// Waits until the burners are gone, then for the record of the run. Notes what was seen of the end.
    pub(super) async fn see_the_end(
        &mut self,
        burning: &Burning,
        moment: Moment,
        seen: &mut Seen,
    ) -> Result<Run, Failure> {
        self.see_quiet(burning, moment, seen).await;
        let run = self.record(&burning.run_id).await?;
        self.see_the_rest(burning, &run, seen);
        Ok(run)
    }

    /// Waits until the burners are gone.
    pub(super) async fn see_quiet(&self, burning: &Burning, moment: Moment, seen: &mut Seen) {
        let gone = || !burning.burners.iter().any(Process::is_alive);
        seen.quiet = process::within(LONGEST, gone).await.map(|_| moment.elapsed());
    }

    /// Notes what is left, and what the record says.
    pub(super) fn see_the_rest(&self, burning: &Burning, run: &Run, seen: &mut Seen) {
        let left = process::leftovers(self.pid(), &burning.burners);
        let receipt = run.receipt.clone().unwrap_or_default();
        if left.is_empty() {
            seen.receipt = format!("{}; no process, no cgroup left", receipt_words(&receipt));
        } else {
            seen.receipt = left.join(", ");
            seen.complain(format!("left: {}", seen.receipt.clone()));
        }
        // What the agent says of itself is one thing, what is seen from outside another: both have to hold.
        if receipt.state() != ReceiptState::Clean {
            seen.complain(format!("the run's receipt: {}", receipt_words(&receipt)));
        }
        let summary = run.summary.clone().unwrap_or_default();
        seen.record = crate::report::verdict_line(&summary);
    }

    /// Whether a run's record has an event of that kind, or gets it in time.
    pub(super) async fn event_of(
        &mut self,
        run_id: &str,
        kind: EventKind,
        limit: Duration,
    ) -> Result<bool, Failure> {
        let begin = Instant::now();
        loop {
            let request = GetRunRequest { run_id: run_id.to_owned() };
            let run = self.client.get_run(request).await.map_err(|status| status::failure(&status))?;
            let run = run.into_inner().run.unwrap_or_default();
            if run.events.iter().any(|event| event.kind() == kind) {
                return Ok(true);
            }
            if begin.elapsed() > limit {
                return Ok(false);
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// The record of a run that is over, waiting for its end.
    pub(super) async fn record(&mut self, run_id: &str) -> Result<Run, Failure> {
        record(&mut self.client, run_id).await
    }
}

/// The record of a run that is over, waiting for its end.
pub(super) async fn record(client: &mut Client, run_id: &str) -> Result<Run, Failure> {
    let begin = Instant::now();
    loop {
        let request = GetRunRequest { run_id: run_id.to_owned() };
        let run = client.get_run(request).await.map_err(|status| status::failure(&status))?;
        let run = run.into_inner().run.unwrap_or_default();
        if run.summary.as_ref().is_some_and(|summary| summary.state() == RunState::Finished) {
            return Ok(run);
        }
        if begin.elapsed() > LONGEST {
            return Err(Failure::new(Exit::Internal, format!("run {run_id} does not end"), ""));
        }
        tokio::time::sleep(ASK).await;
    }
}

/// One burner on one core.
pub(super) fn scenario(load: Load, core: u32) -> Scenario {
    let after_ms = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let cpu = CpuBurner {
        cores: vec![core],
        kernel: CpuKernel::Integer.into(),
        load: Some(Profile {
            shape: Some(Shape::Constant(Constant { load_percent: load.percent })),
            tolerance_points: Some(100.0),
            ..Profile::default()
        }),
        inject_error: load
            .wrong_result_after
            .map(|after| InjectedError { worker: 0, after_ms: after_ms(after) }),
        ..CpuBurner::default()
    };
    let burners = vec![Burner { kind: Some(burner::Kind::Cpu(cpu)) }];
    let phase = Phase { name: "drill".into(), duration_ms: after_ms(PHASE), burners, ..Phase::default() };
    Scenario { name: "drill".into(), phases: vec![phase], ..Scenario::default() }
}

fn state_dir(folder: &PrivateFolder) -> PathBuf {
    folder.path.join("state")
}

fn spawn(
    folder: &PrivateFolder,
    sysfs: &FakeSysfs,
    small_state: bool,
    show_log: bool,
) -> Result<PrivateAgent, Failure> {
    let state = state_dir(folder);
    let mut unfit = None;
    let change = |command: &mut Command| {
        // Over the host's own configuration: its limits are those that are drilled.
        command
            .env("SSTSD_ROOTS__SYS", sysfs.root())
            .env("SSTSD_METRICS__LISTEN", "[]")
            .env("SSTSD_NETWORK__SINK__LISTEN", "[]")
            .env("SSTSD_OBSERVE__PROBES", "false");
        if small_state {
            command.env("SSTSD_LIMITS__DISK_RESERVE_BYTES", SMALL_RESERVE_BYTES.to_string());
            let folder = CString::new(state.as_os_str().as_bytes());
            let made = folder.map_err(Into::into);
            unfit = made
                .and_then(|folder| namespace::small_file_system(command, folder, SMALL_STATE_BYTES))
                .err();
        }
    };
    let agent = PrivateAgent::spawn_on(&state, show_log, change)?;
    match unfit {
        None => Ok(agent),
        Some(error) => Err(Failure::new(Exit::Internal, format!("{}: {error}", state.display()), "")),
    }
}

async fn reach(mut agent: PrivateAgent) -> Result<(Client, PrivateAgent), Failure> {
    loop {
        match dial(agent.socket()).await {
            Ok(client) => return Ok((client, agent)),
            Err(error) => agent.wait_on(&error).await?,
        }
    }
}
