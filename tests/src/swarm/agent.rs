//! The service of one simulated agent.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use ssts_proto::v1::{
    self, Cause, GuardStates, HaltState, RunState, RunSummary, Verdict, WatchRequest, WatchResponse,
    agent_server::Agent, watch_response::Item,
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    run::{Beginning, SimulatedRun, finished, unix_ns},
    template::Template,
};

/// As a real agent's, unless its configuration says otherwise.
const TICK: Duration = Duration::from_millis(100);
const GUARDS_EVERY: Duration = Duration::from_secs(1);
const DEFAULT_HOLD_MS: u64 = 60_000;
/// What it takes to be quiet: there is nothing to end.
const QUIET_NS: u64 = 1_000_000;

/// One of them. Clones are the same one.
#[derive(Clone)]
pub(super) struct SimulatedAgent(Arc<Shared>);

struct Shared {
    name: String,
    template: Arc<Template>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// From the first.
    runs: Vec<Arc<SimulatedRun>>,
    halt: Option<HaltState>,
    /// When it last answered such a call.
    called: BTreeMap<&'static str, Instant>,
}

impl fmt::Debug for SimulatedAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimulatedAgent").field(&self.0.name).finish()
    }
}

impl SimulatedAgent {
    pub(super) fn new(name: String, template: Arc<Template>) -> Self {
        Self(Arc::new(Shared { name, template, state: Mutex::default() }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn last(&self, call: &str) -> Option<Instant> {
        self.state().called.get(call).copied()
    }

    pub(super) fn burns(&self) -> bool {
        self.state().runs.iter().any(|run| run.summary().state() == RunState::Running)
    }

    pub(super) fn began_at_unix_ns(&self) -> Option<i64> {
        self.state().runs.iter().filter_map(|run| run.summary().began_at_unix_ns).max()
    }

    pub(super) fn is_halted(&self) -> bool {
        self.state().halt.is_some()
    }

    pub(super) fn forget(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the call as answered now.
    fn answer<T>(&self, call: &'static str, message: T) -> Result<Response<T>, Status> {
        self.state().called.insert(call, Instant::now());
        Ok(Response::new(message))
    }

    fn find(&self, run_id: &str) -> Result<Arc<SimulatedRun>, Status> {
        let found = self.state().runs.iter().find(|run| run.summary().run_id == run_id).cloned();
        found.ok_or_else(|| Status::not_found(format!("run {run_id} is not known here")))
    }

    fn start_one(&self, beginning: Beginning) -> Result<RunSummary, Status> {
        if let Ok(known) = self.find(&beginning.run_id) {
            let token = beginning.held.as_ref().map(|(token, _)| token);
            if token.is_none() || known.token.as_ref() != token {
                return Err(Status::already_exists(format!("run {} is known already", beginning.run_id)));
            }
            known.renew();
            return Ok(known.summary());
        }
        let mut state = self.state();
        if let Some(halt) = &state.halt {
            return Err(Status::failed_precondition(format!("the agent is halted by {}", halt.by)));
        }
        let run = Arc::new(SimulatedRun::new(beginning));
        let summary = run.summary();
        state.runs.push(run);
        Ok(summary)
    }

    async fn follow(
        self,
        request: WatchRequest,
        mut run: Option<watch::Receiver<RunSummary>>,
        sender: mpsc::Sender<Result<WatchResponse, Status>>,
    ) {
        let send = async |item: Item| sender.send(Ok(WatchResponse { item: Some(item) })).await.is_ok();
        let all = !(request.states || request.events || request.frames);
        let (states, frames) = (all || request.states, all || request.frames);
        let period = request.max_rate_hz.map_or(TICK, |hz| TICK.max(Duration::from_secs_f64(1.0 / hz)));
        let view = self.0.template.view(&request.metric_prefixes);
        if frames && !send(Item::Schema(view.schema.clone())).await {
            return;
        }
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut sequence, mut guards_told) = (0, None::<Instant>);
        loop {
            if let Some(run) = &mut run {
                let summary = run.borrow_and_update().clone();
                let is_over = summary.state() == RunState::Finished;
                if states && !send(Item::State(summary)).await || is_over {
                    return;
                }
            }
            let changed = async {
                match &mut run {
                    Some(run) => run.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                alive = changed => if !alive { return },
                () = sender.closed() => return,
                _ = ticks.tick() => {
                    if states && guards_told.is_none_or(|told| told.elapsed() >= GUARDS_EVERY) {
                        guards_told = Some(Instant::now());
                        let guards = self.0.template.described.guards.clone();
                        if !send(Item::Guards(GuardStates { guards })).await {
                            return;
                        }
                    }
                    if !frames {
                        continue;
                    }
                    let mut frame = view.frames[sequence as usize % view.frames.len()].clone();
                    sequence += 1;
                    let now = monotonic_ns();
                    (frame.sequence, frame.begin_ns, frame.end_ns) = (sequence, now, now);
                    frame.wall_offset_ns = unix_ns() - now as i64;
                    if !send(Item::Frame(frame)).await {
                        return;
                    }
                }
            }
        }
    }
}

fn monotonic_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

fn not_simulated<T>(what: &str) -> Result<Response<T>, Status> {
    Err(Status::unimplemented(format!("a simulated agent has no {what}")))
}

#[tonic::async_trait]
impl Agent for SimulatedAgent {
    async fn describe(
        &self,
        _request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let mut described = self.0.template.described.clone();
        described.halt = self.state().halt.clone();
        if let Some(host) = &mut described.host {
            host.hostname.clone_from(&self.0.name);
        }
        self.answer("Describe", described)
    }

    async fn start(&self, request: Request<v1::StartRequest>) -> Result<Response<v1::StartResponse>, Status> {
        let v1::StartRequest { run_id, scenario, lease_ttl_ms, start_at_unix_ns } = request.into_inner();
        let run = self.start_one(Beginning {
            run_id,
            scenario: scenario.unwrap_or_default(),
            lease: lease_ttl_ms.map(Duration::from_millis),
            begin_at_unix_ns: start_at_unix_ns.or(Some(unix_ns())),
            held: None,
        })?;
        self.answer("Start", v1::StartResponse { run: Some(run) })
    }

    async fn clock(
        &self,
        _request: Request<v1::ClockRequest>,
    ) -> Result<Response<v1::ClockResponse>, Status> {
        let received_unix_ns = unix_ns();
        self.answer("Clock", v1::ClockResponse { received_unix_ns, answered_unix_ns: unix_ns() })
    }

    async fn prepare(
        &self,
        request: Request<v1::PrepareRequest>,
    ) -> Result<Response<v1::PrepareResponse>, Status> {
        let request = request.into_inner();
        let hold = Duration::from_millis(request.hold_ms.unwrap_or(DEFAULT_HOLD_MS));
        let run = self.start_one(Beginning {
            run_id: request.run_id,
            scenario: request.scenario.unwrap_or_default(),
            lease: request.lease_ttl_ms.map(Duration::from_millis),
            begin_at_unix_ns: None,
            held: Some((request.token, hold)),
        })?;
        self.answer("Prepare", v1::PrepareResponse { run: Some(run) })
    }

    async fn begin(&self, request: Request<v1::BeginRequest>) -> Result<Response<v1::BeginResponse>, Status> {
        let v1::BeginRequest { run_id, begin_at_unix_ns } = request.into_inner();
        let run = self.find(&run_id)?;
        run.begin(begin_at_unix_ns);
        let summary = RunSummary { begin_at_unix_ns: Some(begin_at_unix_ns), ..run.summary() };
        self.answer("Begin", v1::BeginResponse { run: Some(summary) })
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let run = self.find(&request.get_ref().run_id)?;
        run.end(Verdict::Aborted, Cause::Released);
        let run = finished(run.changes()).await;
        self.answer("Release", v1::ReleaseResponse { run: Some(run) })
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopResponse>, Status> {
        let run = self.find(&request.get_ref().run_id)?;
        run.end(Verdict::Aborted, Cause::StoppedByUser);
        let run = finished(run.changes()).await;
        let receipt = self.0.template.run.receipt.clone();
        self.answer("Stop", v1::StopResponse { run: Some(run), quiet_after_ns: Some(QUIET_NS), receipt })
    }

    async fn halt(&self, request: Request<v1::HaltRequest>) -> Result<Response<v1::HaltResponse>, Status> {
        let v1::HaltRequest { reason, clear } = request.into_inner();
        if clear {
            self.state().halt = None;
            return self.answer("Halt, clear", v1::HaltResponse::default());
        }
        let halt = HaltState {
            since_unix_ns: unix_ns(),
            by: "whoever".into(),
            reason,
            way: "request".into(),
            quiet_after_ns: Some(QUIET_NS),
        };
        let runs = {
            let mut state = self.state();
            state.halt = Some(halt.clone());
            state.runs.clone()
        };
        for run in &runs {
            run.end(Verdict::Aborted, Cause::Halted);
        }
        for run in runs {
            finished(run.changes()).await;
        }
        self.answer("Halt", v1::HaltResponse { halt: Some(halt), quiet_after_ns: Some(QUIET_NS) })
    }

    async fn renew_lease(
        &self,
        request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        let run = self.find(&request.get_ref().run_id)?;
        run.renew();
        let ttl = run.lease.ok_or_else(|| Status::failed_precondition("the run is detached"))?;
        let state = run.summary().state;
        self.answer("RenewLease", v1::RenewLeaseResponse { ttl_ms: ttl.as_millis() as u64, state })
    }

    async fn list_runs(
        &self,
        _request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsResponse>, Status> {
        let runs = self.state().runs.iter().rev().map(|run| run.summary()).collect();
        self.answer("ListRuns", v1::ListRunsResponse { runs })
    }

    async fn get_run(
        &self,
        request: Request<v1::GetRunRequest>,
    ) -> Result<Response<v1::GetRunResponse>, Status> {
        let found = self.find(&request.get_ref().run_id)?;
        let summary = found.summary();
        let mut run = self.0.template.run.clone();
        if summary.state() != RunState::Finished {
            run.telemetry.clear();
            run.burners.clear();
            run.receipt = None;
        }
        run.scenario = Some(found.scenario.clone());
        run.summary = Some(summary);
        if let Some(host) = &mut run.host {
            host.hostname.clone_from(&self.0.name);
        }
        self.answer("GetRun", v1::GetRunResponse { run: Some(run) })
    }

    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let run = match &request.run_id {
            Some(id) => Some(self.find(id)?.changes()),
            None => None,
        };
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(self.clone().follow(request, run, sender));
        self.answer("Watch", ReceiverStream::new(receiver))
    }

    async fn plan(&self, request: Request<v1::PlanRequest>) -> Result<Response<v1::PlanResponse>, Status> {
        let described = &self.0.template.described;
        let plan = v1::PlanResponse {
            scenario: request.into_inner().scenario,
            limits: described.limits,
            guards: described.guards.clone(),
            ..v1::PlanResponse::default()
        };
        self.answer("Plan", plan)
    }

    async fn recover(
        &self,
        _request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        self.answer("Recover", v1::RecoverResponse::default())
    }

    async fn pause(
        &self,
        _request: Request<v1::PauseRequest>,
    ) -> Result<Response<v1::PauseResponse>, Status> {
        not_simulated("pause")
    }

    async fn resume(
        &self,
        _request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        not_simulated("pause")
    }

    type ReadRecordStream = ReceiverStream<Result<v1::ReadRecordResponse, Status>>;

    async fn read_record(
        &self,
        _request: Request<v1::ReadRecordRequest>,
    ) -> Result<Response<Self::ReadRecordStream>, Status> {
        not_simulated("record")
    }

    async fn freeze_record(
        &self,
        _request: Request<v1::FreezeRecordRequest>,
    ) -> Result<Response<v1::FreezeRecordResponse>, Status> {
        not_simulated("record")
    }

    async fn note_drill(
        &self,
        _request: Request<v1::NoteDrillRequest>,
    ) -> Result<Response<v1::NoteDrillResponse>, Status> {
        not_simulated("drill")
    }
}
