//! An agent that does what a test wants.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use ssts_proto::v1::{
    self, BurnerResult, Cause, DescribeResponse, Event, EventKind, GetRunResponse, HaltResponse, HaltState,
    Host, Label, ListRunsResponse, MetricSummary, OperationLatency, RenewLeaseResponse, Run, RunState,
    RunSummary, StartResponse, StopResponse, Verdict, Violation, WatchResponse, agent_server::Agent,
    record_item::Item as RecordItem, watch_response::Item,
};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};

/// What the agent of a test does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// The run passes at once.
    Passes,
    /// It goes on until it is stopped.
    GoesOn,
    /// It goes on, and a stop does not help.
    OnlyHaltHelps,
    Refuses,
    IsHalted,
    /// The connection breaks during the watch.
    Vanishes,
    FindsWrongData,
}

/// Answers as its behaviour has it, and notes what it was asked.
#[derive(Debug)]
pub(super) struct FakeAgent {
    pub(super) behaviour: Behaviour,
    pub(super) calls: Arc<Mutex<Vec<String>>>,
    pub(super) run: watch::Sender<RunSummary>,
}

impl FakeAgent {
    fn called(&self, call: &str) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.to_owned());
    }

    fn end(&self, verdict: Verdict, cause: Cause) -> RunSummary {
        self.run.send_modify(|run| {
            run.state = RunState::Finished.into();
            run.verdict = verdict.into();
            run.cause = cause.into();
        });
        self.run.borrow().clone()
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Items = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

fn item(item: Item) -> WatchResponse {
    WatchResponse { item: Some(item) }
}

#[tonic::async_trait]
impl Agent for FakeAgent {
    async fn describe(&self, _: Request<v1::DescribeRequest>) -> Answer<DescribeResponse> {
        let halt = (self.behaviour == Behaviour::IsHalted).then(|| HaltState {
            since_unix_ns: 1,
            by: "somebody".into(),
            reason: "smoke".into(),
            ..HaltState::default()
        });
        let host = Host { hostname: "fake".into(), ..Host::default() };
        Ok(Response::new(DescribeResponse { host: Some(host), halt, ..DescribeResponse::default() }))
    }

    async fn start(&self, request: Request<v1::StartRequest>) -> Answer<StartResponse> {
        let v1::StartRequest { run_id, scenario, lease_ttl_ms, start_at_unix_ns: _ } = request.into_inner();
        self.called(if lease_ttl_ms.is_some() { "start" } else { "start detached" });
        match self.behaviour {
            Behaviour::Refuses => {
                let violation = Violation {
                    field: "scenario.phases[0].burners[0].cores".into(),
                    message: "core 99 does not exist".into(),
                    mend: "use 0-1".into(),
                    ..Violation::default()
                };
                return Err(ssts_proto::refusal::to_status(vec![violation]));
            }
            Behaviour::IsHalted => return Err(Status::failed_precondition("halted")),
            _ => {}
        }
        self.run.send_modify(|run| {
            *run = RunSummary {
                run_id,
                scenario: scenario.unwrap_or_default().name,
                state: RunState::Running.into(),
                started_at_unix_ns: 1_700_000_000_000_000_000,
                phase_index: Some(0),
                phase_elapsed_ns: Some(0),
                ..RunSummary::default()
            }
        });
        match self.behaviour {
            Behaviour::Passes => drop(self.end(Verdict::Pass, Cause::Completed)),
            Behaviour::FindsWrongData => drop(self.end(Verdict::Fail, Cause::WrongData)),
            _ => {}
        }
        Ok(Response::new(StartResponse { run: Some(self.run.borrow().clone()) }))
    }

    async fn stop(&self, _: Request<v1::StopRequest>) -> Answer<StopResponse> {
        self.called("stop");
        if self.behaviour == Behaviour::OnlyHaltHelps {
            std::future::pending::<()>().await;
        }
        let run = self.end(Verdict::Aborted, Cause::StoppedByUser);
        let receipt = Some(receipt(v1::ReceiptState::Clean));
        Ok(Response::new(StopResponse { run: Some(run), quiet_after_ns: Some(3_000_000), receipt }))
    }

    async fn pause(&self, _: Request<v1::PauseRequest>) -> Answer<v1::PauseResponse> {
        Err(Status::not_found("no run of this id"))
    }

    async fn resume(&self, _: Request<v1::ResumeRequest>) -> Answer<v1::ResumeResponse> {
        Err(Status::failed_precondition("it is not paused"))
    }

    async fn halt(&self, request: Request<v1::HaltRequest>) -> Answer<HaltResponse> {
        let clear = request.into_inner().clear;
        self.called(if clear { "clear" } else { "halt" });
        if clear {
            return Ok(Response::new(HaltResponse::default()));
        }
        self.end(Verdict::Aborted, Cause::Halted);
        let halt =
            HaltState { since_unix_ns: 1, by: "uid 0".into(), reason: "test".into(), ..HaltState::default() };
        Ok(Response::new(HaltResponse { halt: Some(halt), quiet_after_ns: Some(1) }))
    }

    /// Something is left until it is given up.
    async fn recover(&self, request: Request<v1::RecoverRequest>) -> Answer<v1::RecoverResponse> {
        self.called("recover");
        let v1::RecoverRequest { force, reason } = request.into_inner();
        let waiver = force.then(|| v1::Waiver { at_unix_ns: 1, by: "uid 0".into(), reason });
        let receipt = v1::Receipt { waiver, ..receipt(v1::ReceiptState::Left) };
        let receipts = vec![v1::RunReceipt { run_id: "r".into(), receipt: Some(receipt) }];
        Ok(Response::new(v1::RecoverResponse { receipts, blocked: !force }))
    }

    async fn renew_lease(&self, _: Request<v1::RenewLeaseRequest>) -> Answer<RenewLeaseResponse> {
        self.called("renew");
        Ok(Response::new(RenewLeaseResponse::default()))
    }

    async fn list_runs(&self, _: Request<v1::ListRunsRequest>) -> Answer<ListRunsResponse> {
        let run = self.run.borrow().clone();
        let runs = if run.run_id.is_empty() { Vec::new() } else { vec![run] };
        Ok(Response::new(ListRunsResponse { runs }))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Answer<GetRunResponse> {
        let summary = self.run.borrow().clone();
        if request.into_inner().run_id != summary.run_id {
            return Err(Status::not_found("no run of this id"));
        }
        Ok(Response::new(GetRunResponse { run: Some(measured(summary)) }))
    }

    type WatchStream = Items;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Answer<Items> {
        self.called("watch");
        if self.behaviour == Behaviour::Vanishes {
            let first = item(Item::State(self.run.borrow().clone()));
            return Ok(Response::new(Box::pin(tokio_stream::iter([Ok(first)]))));
        }
        let event = Event { message: "phase burn-cpu started".into(), ..Event::default() };
        let states = WatchStream::new(self.run.subscribe()).map(|run| Ok(item(Item::State(run))));
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(item(Item::Event(event)))]).chain(states))))
    }

    type ReadRecordStream = Pieces;

    /// The connection breaks every 300 bytes.
    async fn read_record(&self, request: Request<v1::ReadRecordRequest>) -> Answer<Pieces> {
        self.called("read");
        let offset = request.into_inner().offset;
        let rest = record().split_off(offset as usize);
        let piece = v1::ReadRecordResponse { offset, data: rest.iter().copied().take(300).collect() };
        let end = (rest.len() > 300).then(|| Err(Status::unavailable("a broken cable")));
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(piece)].into_iter().chain(end)))))
    }

    async fn freeze_record(&self, _: Request<v1::FreezeRecordRequest>) -> Answer<v1::FreezeRecordResponse> {
        self.called("freeze");
        Ok(Response::new(v1::FreezeRecordResponse {
            run: Some(self.run.borrow().clone()),
            window_ns: 60_000_000_000,
            shortened: false,
        }))
    }

    async fn note_drill(&self, request: Request<v1::NoteDrillRequest>) -> Answer<v1::NoteDrillResponse> {
        self.called("note");
        Ok(Response::new(v1::NoteDrillResponse { drill: request.into_inner().drill }))
    }

    async fn plan(&self, request: Request<v1::PlanRequest>) -> Answer<v1::PlanResponse> {
        self.called("plan");
        let scenario = request.into_inner().scenario;
        if self.behaviour == Behaviour::Refuses {
            let violation = Violation {
                field: "phases[0].burners[0].load".into(),
                message: "a load of 50 %".into(),
                mend: "ask for 10 % at most".into(),
                rule: "policy.max_load_percent".into(),
                asked: "a load of 50 %".into(),
                allowed: "10".into(),
            };
            let obstacles = vec!["this host is halted".into()];
            return Ok(Response::new(v1::PlanResponse {
                violations: vec![violation],
                obstacles,
                ..Default::default()
            }));
        }
        let burner = v1::PlannedBurner {
            kind: "cpu".into(),
            workers: 2,
            cores: vec![0, 1],
            memory_bytes: Some(1 << 20),
            ..v1::PlannedBurner::default()
        };
        Ok(Response::new(v1::PlanResponse { scenario, burners: vec![burner], ..Default::default() }))
    }

    async fn clock(&self, _: Request<v1::ClockRequest>) -> Answer<v1::ClockResponse> {
        Err(Status::unimplemented("it is of no fleet"))
    }

    async fn prepare(&self, _: Request<v1::PrepareRequest>) -> Answer<v1::PrepareResponse> {
        Err(Status::unimplemented("it is of no fleet"))
    }

    async fn begin(&self, _: Request<v1::BeginRequest>) -> Answer<v1::BeginResponse> {
        Err(Status::unimplemented("it is of no fleet"))
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Answer<v1::ReleaseResponse> {
        Err(Status::unimplemented("it is of no fleet"))
    }
}

type Pieces = Pin<Box<dyn Stream<Item = Result<v1::ReadRecordResponse, Status>> + Send>>;

/// One that looked for processes alone.
fn receipt(state: v1::ReceiptState) -> v1::Receipt {
    let check = v1::ReceiptCheck {
        what: "processes".into(),
        state: state.into(),
        detail: "some words".into(),
        mend: if state == v1::ReceiptState::Clean { String::new() } else { "end it".into() },
    };
    v1::Receipt { state: state.into(), observed_at_unix_ns: 1, checks: vec![check], ..v1::Receipt::default() }
}

/// A record of some frames with one gauge.
fn record() -> Vec<u8> {
    let metric = &ssts_proto::catalogue::HOST_MEMORY_FREE;
    let mut bytes = ssts_proto::record::MAGIC.to_vec();
    let columns = vec![crate::telemetry::tests::column(metric, &[])];
    ssts_proto::record::append(
        RecordItem::Schema(v1::Schema { id: 1, columns, ..Default::default() }),
        &mut bytes,
    );
    let mut builder = ssts_proto::record::BlockBuilder::default();
    for frame in 0..20u64 {
        let header = v1::Frame { schema_id: 1, sequence: frame, ..v1::Frame::default() };
        builder.push(&header, [Ok(frame as f64)].into_iter(), std::iter::empty());
        ssts_proto::record::append(RecordItem::Block(builder.finish()), &mut bytes);
    }
    bytes
}

/// A result with something in every part.
fn measured(summary: RunSummary) -> Run {
    let cpu = BurnerResult {
        kind: "cpu".into(),
        phase: "burn-cpu".into(),
        workers: 2,
        cores: vec![0, 1],
        target_load_percent: Some(50.0),
        achieved_load_percent: Some(f64::NAN),
        operations: 10,
        flops: 1_000,
        burning_ns: 2_000_000_000,
        verify_errors: u64::from(summary.cause() == Cause::WrongData),
        ..BurnerResult::default()
    };
    let latency =
        OperationLatency { operation: "read".into(), count: 10, p50_ns: 80, ..OperationLatency::default() };
    let disk = BurnerResult { kind: "disk".into(), operations: 10, latencies: vec![latency], ..cpu.clone() };
    let metric = MetricSummary {
        metric: "host.memory.available".into(),
        labels: vec![Label { name: "x".into(), value: "y".into() }],
        min: 5.0,
        max: f64::INFINITY,
        ..MetricSummary::default()
    };
    let event = Event {
        at_unix_ns: summary.started_at_unix_ns,
        kind: EventKind::PhaseStarted.into(),
        message: "phase 1".into(),
        fields: [("phase".to_owned(), "burn-cpu".to_owned())].into(),
    };
    Run {
        summary: Some(summary),
        burners: vec![cpu, disk],
        telemetry: vec![metric],
        events: vec![event],
        probes: vec![v1::ProbeStatus { name: "block".into(), ..v1::ProbeStatus::default() }],
        receipt: Some(receipt(v1::ReceiptState::Clean)),
        ..Run::default()
    }
}
