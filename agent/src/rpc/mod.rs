//! The gRPC service: translates between messages and the engine, and nothing else.

mod accept;
mod audited;
mod drill;
mod keepers;
mod listen;
mod peer;
mod policy;
mod prepare;
mod rates;
mod record;
mod rights;
mod tls;
mod watch;

use std::{sync::Arc, time::Duration};

use ssts_proto::{
    refusal,
    v1::{self, RunState, agent_server::Agent},
    validate,
};
use tonic::{Request, Response, Status};
use tracing::info;

pub use accept::Incoming;
pub use audited::Audited;
pub use listen::{Address, ListenError, Listener};
pub use peer::Accepted;
pub use policy::Allowed;
use record::RecordStream;
use rights::Caller;
pub use rights::Rights;
pub use tls::{Connection, Tls, TlsError, TlsListener, check as check_tls};
use watch::WatchStream;

use crate::{
    clock,
    host::{self, HostRoots},
    locked::LockedMemory,
    observe::{probes::StatusBoard, ring::FrameRing},
    record::{Flight, NotFrozen, Recording, Shelf},
    run::{ActiveRun, Describe, Ending, Engine, EngineError, HaltWay},
};

/// Of the reason that a halt or a stop is given: it is part of many later answers.
const MAX_REASON_BYTES: usize = 1_024;

/// Answers `Describe` and describes the host in records.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Where the host shows itself.
    pub roots: HostRoots,
    /// How the probes are.
    pub probes: StatusBoard,
    /// Where records are kept.
    pub state_dir: std::path::PathBuf,
    /// How much of the agent's memory stays in RAM.
    pub locked: LockedMemory,
}

impl Describe for Inventory {
    fn host(&self) -> v1::Host {
        host::describe(&self.roots)
    }

    fn probes(&self) -> Vec<v1::ProbeStatus> {
        self.probes.snapshot()
    }
}

/// Package `ssts.v1`'s service on this host.
#[derive(Debug, Clone)]
pub struct AgentService {
    /// The runs.
    pub engine: Arc<Engine>,
    /// The frames.
    pub ring: Arc<FrameRing>,
    /// The latest frames of all.
    pub flight: Arc<Flight>,
    /// What is kept of runs.
    pub shelf: Arc<Shelf>,
    /// Who keeps it.
    pub recording: Recording,
    /// The host.
    pub inventory: Inventory,
    /// What the configuration allows, to be told.
    pub allowed: Allowed,
    /// How often frames come.
    pub tick: Duration,
}

#[tonic::async_trait]
impl Agent for AgentService {
    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let Self { engine, inventory, tick, .. } = self.clone();
        let policy = self.allowed.message(Caller::of(&request).role_name());
        blocking(move || {
            let probes = inventory.probes();
            let limits = engine.limits();
            Ok(v1::DescribeResponse {
                host: Some(inventory.host()),
                capabilities: host::check(&inventory.roots, &inventory.state_dir, &probes, &inventory.locked),
                probes,
                limits: Some(v1::Limits {
                    max_duration_ms: u64::try_from(limits.max_duration.as_millis()).ok(),
                    min_available_memory_bytes: Some(limits.min_available_memory_bytes),
                    max_temperature_celsius: Some(limits.max_temperature_celsius),
                }),
                tick_rate_hz: 1.0 / tick.as_secs_f64(),
                halt: engine.halt_state(),
                policy: Some(policy),
                unclean: engine.unclean(),
                drill: engine.drill().read().ok().flatten(),
                burner_deadline_ms: u64::try_from(engine.burners().deadline.as_millis()).unwrap_or(u64::MAX),
                stale_after_ms: u64::try_from(limits.stale_after.as_millis()).unwrap_or(u64::MAX),
                guards: engine.guards(),
            })
        })
        .await
    }

    async fn start(&self, request: Request<v1::StartRequest>) -> Result<Response<v1::StartResponse>, Status> {
        let caller = caller(&request);
        let v1::StartRequest { run_id, scenario, lease_ttl_ms, start_at_unix_ns } = request.into_inner();
        if !validate::run_id(&run_id) {
            return Err(violation(
                "run_id",
                format!("'{run_id}' is no run id"),
                "use 1 to 64 characters of A-Z, a-z, 0-9, '-'",
            ));
        }
        lease_ttl(lease_ttl_ms)?;
        let scenario =
            scenario.ok_or_else(|| violation("scenario", "no scenario is given".into(), "give one"))?;
        info!(run = run_id, scenario = scenario.name, %caller, "asked to start");
        let engine = self.engine.clone();
        let ttl = lease_ttl_ms.map(Duration::from_millis);
        let start_at = start_at_unix_ns.map(instant).transpose()?;
        blocking(move || {
            let run = engine
                .start(run_id.clone(), &scenario, ttl, start_at)
                .inspect_err(|error| info!(run = run_id, %error, "not started"))?;
            Ok(v1::StartResponse { run: Some(run.summary()) })
        })
        .await
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopResponse>, Status> {
        let received = clock::boottime();
        let caller = caller(&request);
        let v1::StopRequest { run_id, reason } = request.into_inner();
        if reason.len() > MAX_REASON_BYTES {
            return Err(violation("reason", format!("{} bytes", reason.len()), "use at most 1,024 bytes"));
        }
        info!(run = run_id, reason, %caller, "asked to stop");
        let run = match self.engine.active(&run_id) {
            Err(EngineError::Over(_)) => {
                let engine = self.engine.clone();
                return blocking(move || {
                    let v1::Run { summary, receipt, .. } = engine.get(&run_id)?;
                    Ok(v1::StopResponse { run: summary, quiet_after_ns: None, receipt })
                })
                .await;
            }
            found => found?,
        };
        let was_over = run.state() == RunState::Finished;
        let words = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        run.stop(Ending::new(v1::Cause::StoppedByUser, format!("stopped by {caller}{words}")));
        wait_until_finished(&run).await;
        let quiet_after_ns = quiet_after(&run, received).filter(|_| !was_over);
        let receipt = run.receipt();
        Ok(Response::new(v1::StopResponse { run: Some(run.summary()), quiet_after_ns, receipt }))
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseResponse>, Status> {
        info!(run = request.get_ref().run_id, caller = %caller(&request), "asked to pause");
        let run = self.engine.active(&request.get_ref().run_id)?;
        run.pause().map_err(EngineError::from)?;
        Ok(Response::new(v1::PauseResponse { run: Some(run.summary()) }))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        info!(run = request.get_ref().run_id, caller = %caller(&request), "asked to resume");
        let run = self.engine.active(&request.get_ref().run_id)?;
        run.resume()?;
        Ok(Response::new(v1::ResumeResponse { run: Some(run.summary()) }))
    }

    async fn halt(&self, request: Request<v1::HaltRequest>) -> Result<Response<v1::HaltResponse>, Status> {
        let received = clock::boottime();
        let rights = Caller::of(&request);
        let caller = rights.to_string();
        let v1::HaltRequest { reason, clear } = request.into_inner();
        if clear {
            rights.lift_halt()?;
            info!(%caller, "asked to lift the halt");
            let engine = self.engine.clone();
            return blocking(move || {
                engine.clear_halt()?;
                Ok(v1::HaltResponse::default())
            })
            .await;
        }
        if reason.len() > MAX_REASON_BYTES {
            return Err(violation("reason", format!("{} bytes", reason.len()), "use at most 1,024 bytes"));
        }
        let reason = if reason.is_empty() { "no reason given".into() } else { reason };
        let (by, why) = (caller.clone(), reason.clone());
        let halted = self.engine.halt(HaltWay::Request, by, why);
        // Afterwards: whoever reads the log may take his time.
        tracing::warn!(%caller, reason, "asked to halt");
        let runs = self.engine.with_latecomers(halted);
        // On disk at once: a burner that hangs must not keep the latch from it.
        let engine = self.engine.clone();
        let written = blocking(move || engine.persist_halt());
        // Should it fail, it fails again below, and is told.
        let (_told_below, ()) = tokio::join!(written, wait_until_all_finished(&runs));
        let quiet_after_ns = runs.iter().filter_map(|run| quiet_after(run, received)).max();
        let engine = self.engine.clone();
        blocking(move || {
            engine.persist_halt()?;
            Ok(v1::HaltResponse { halt: engine.halt_state(), quiet_after_ns })
        })
        .await
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let by = caller(&request);
        let v1::RecoverRequest { force, reason } = request.into_inner();
        if reason.len() > MAX_REASON_BYTES {
            return Err(violation("reason", format!("{} bytes", reason.len()), "use at most 1,024 bytes"));
        }
        if force && reason.trim().is_empty() {
            return Err(violation("reason", "no reason is given".into(), "say why it may be passed over"));
        }
        info!(caller = %by, force, reason, "asked to recover");
        let waiver = force.then(|| v1::Waiver { at_unix_ns: clock::unix_ns(), by, reason });
        let engine = self.engine.clone();
        blocking(move || {
            let receipts = engine.recover(waiver.as_ref());
            Ok(v1::RecoverResponse { receipts, blocked: !engine.unclean().is_empty() })
        })
        .await
    }

    async fn renew_lease(
        &self,
        request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        let run = self.engine.active(&request.get_ref().run_id)?;
        let ttl = run
            .renew_lease()
            .ok_or_else(|| Status::failed_precondition("the run is detached: it has no lease"))?;
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Ok(Response::new(v1::RenewLeaseResponse { ttl_ms, state: run.state().into() }))
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsResponse>, Status> {
        let limit = request.get_ref().limit.unwrap_or(100);
        if !(1..=1_000).contains(&limit) {
            return Err(violation("limit", format!("{limit} runs"), "use 1 to 1,000"));
        }
        let mut runs = self.engine.summaries();
        runs.truncate(limit as usize);
        Ok(Response::new(v1::ListRunsResponse { runs }))
    }

    async fn get_run(
        &self,
        request: Request<v1::GetRunRequest>,
    ) -> Result<Response<v1::GetRunResponse>, Status> {
        let engine = self.engine.clone();
        let id = request.into_inner().run_id;
        blocking(move || Ok(v1::GetRunResponse { run: Some(engine.get(&id)?) })).await
    }

    type WatchStream = WatchStream;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        if let Some(rate) = request.max_rate_hz.filter(|rate| !(0.01..=100.0).contains(rate)) {
            return Err(violation("max_rate_hz", format!("{rate} frames a second"), "use 0.01 to 100"));
        }
        let run = match &request.run_id {
            None => None,
            Some(id) => Some(self.engine.active(id)?),
        };
        Ok(Response::new(watch::start(self.ring.clone(), self.engine.clone(), run, request)))
    }

    type ReadRecordStream = RecordStream;

    async fn read_record(
        &self,
        request: Request<v1::ReadRecordRequest>,
    ) -> Result<Response<Self::ReadRecordStream>, Status> {
        let v1::ReadRecordRequest { run_id, offset, follow } = request.into_inner();
        let Some(id) = run_id else {
            if offset > 0 || follow {
                let message = "the flight recorder, from a later place or followed".into();
                return Err(violation("run_id", message, "read it from 0, and use Watch for what comes"));
            }
            return Ok(Response::new(record::of_flight(&self.flight)));
        };
        // A run that is not known has no record, whatever its id would name.
        if !self.engine.knows(&id) {
            return Err(EngineError::Unknown(id).into());
        }
        let source = self.shelf.find(&id).ok_or_else(|| {
            Status::not_found(format!("the telemetry of run {id} is not kept, or not any more"))
        })?;
        Ok(Response::new(record::of_run(source, offset, follow)))
    }

    async fn freeze_record(
        &self,
        request: Request<v1::FreezeRecordRequest>,
    ) -> Result<Response<v1::FreezeRecordResponse>, Status> {
        let caller = caller(&request);
        let v1::FreezeRecordRequest { run_id, reason } = request.into_inner();
        if reason.len() > MAX_REASON_BYTES {
            return Err(violation("reason", format!("{} bytes", reason.len()), "use at most 1,024 bytes"));
        }
        let run = self.engine.active(&run_id)?;
        if run.state() == RunState::Finished {
            return Err(EngineError::Over(run_id).into());
        }
        let words = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let frozen = self.recording.freeze(&run_id, format!("asked for by {caller}{words}")).await?;
        Ok(Response::new(v1::FreezeRecordResponse {
            run: Some(run.summary()),
            window_ns: clock::ns(frozen.span),
            shortened: frozen.is_shortened,
        }))
    }

    async fn note_drill(
        &self,
        request: Request<v1::NoteDrillRequest>,
    ) -> Result<Response<v1::NoteDrillResponse>, Status> {
        let caller = caller(&request);
        let drill = drill::checked(request.into_inner().drill, caller)?;
        let engine = self.engine.clone();
        blocking(move || {
            engine.drill().write(&drill)?;
            Ok(v1::NoteDrillResponse { drill: Some(drill) })
        })
        .await
    }

    async fn plan(&self, request: Request<v1::PlanRequest>) -> Result<Response<v1::PlanResponse>, Status> {
        let v1::PlanRequest { scenario, start_at_unix_ns } = request.into_inner();
        let scenario =
            scenario.ok_or_else(|| violation("scenario", "no scenario is given".into(), "give one"))?;
        let start_at = start_at_unix_ns.map(instant).transpose()?;
        let engine = self.engine.clone();
        blocking(move || Ok(engine.plan(&scenario, start_at))).await
    }

    async fn clock(&self, _: Request<v1::ClockRequest>) -> Result<Response<v1::ClockResponse>, Status> {
        let received_unix_ns = clock::unix_ns();
        Ok(prepare::clock_answer(received_unix_ns))
    }

    async fn prepare(
        &self,
        request: Request<v1::PrepareRequest>,
    ) -> Result<Response<v1::PrepareResponse>, Status> {
        self.prepare_run(request).await
    }

    async fn begin(&self, request: Request<v1::BeginRequest>) -> Result<Response<v1::BeginResponse>, Status> {
        self.begin_run(request).await
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        self.release_run(request).await
    }
}

/// From the receipt of a request to the proof that no burner was left, ns.
fn quiet_after(run: &ActiveRun, received: Duration) -> Option<u64> {
    run.quiet().map(|quiet| clock::ns(quiet.saturating_sub(received)))
}

/// Until the last burner of a run is gone and its record is written.
pub async fn wait_until_finished(run: &ActiveRun) {
    let mut changes = run.changes();
    while run.state() != RunState::Finished {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// The same of several.
pub async fn wait_until_all_finished(runs: &[Arc<ActiveRun>]) {
    for run in runs {
        wait_until_finished(run).await;
    }
}

impl From<EngineError> for Status {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Refused(violations) => refusal::to_status(violations),
            EngineError::Closed => Self::unavailable(message),
            EngineError::Busy { .. }
            | EngineError::Halted(_)
            | EngineError::Unclean(_)
            | EngineError::Held { .. }
            | EngineError::Guarded { .. }
            | EngineError::Illegal(_)
            | EngineError::NotHeld { .. }
            | EngineError::Over(_) => Self::failed_precondition(message),
            EngineError::Known(_) => Self::already_exists(message),
            EngineError::Unknown(_) => Self::not_found(message),
            EngineError::Store(_) | EngineError::Kernel { .. } => Self::internal(message),
        }
    }
}

impl From<NotFrozen> for Status {
    fn from(error: NotFrozen) -> Self {
        let message = error.to_string();
        match error {
            NotFrozen::JustDone { .. } | NotFrozen::Nothing => Self::resource_exhausted(message),
            NotFrozen::NoRecord | NotFrozen::Full => Self::failed_precondition(message),
            NotFrozen::Unwritable(_) | NotFrozen::Restarted => Self::internal(message),
        }
    }
}

/// Unix time at which a run is to begin.
fn instant(unix_ns: i64) -> Result<Duration, Status> {
    u64::try_from(unix_ns).map(Duration::from_nanos).map_err(|_| {
        violation("start_at_unix_ns", format!("a start at {unix_ns} ns"), "use an instant that is ahead")
    })
}

fn lease_ttl(ttl_ms: Option<u64>) -> Result<(), Status> {
    match ttl_ms.filter(|ttl| !validate::LEASE_TTL_MS.contains(ttl)) {
        None => Ok(()),
        Some(ttl) => {
            let message = format!("a lease of {ttl} ms");
            Err(violation("lease_ttl_ms", message, "use 1,000 to 3,600,000 ms"))
        }
    }
}

fn violation(field: &str, message: String, mend: &str) -> Status {
    refusal::to_status(vec![v1::Violation {
        field: field.into(),
        message,
        mend: mend.into(),
        ..v1::Violation::default()
    }])
}

/// Who is at the other end of the socket.
fn caller<T>(request: &Request<T>) -> String {
    Caller::of(request).to_string()
}

/// Runs what touches files on a thread where that may take its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<Response<T>, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(Response::new(outcome?)),
        Err(_) => Err(Status::internal("a bug in the agent, see its log")),
    }
}
