//! Commands against an agent that lives in the test and does what the test wants.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Parser as _;
use ssts_proto::v1::{
    self, BurnerResult, Cause, DescribeResponse, Event, EventKind, GetRunResponse, HaltResponse, HaltState,
    Host, Label, ListRunsResponse, MetricSummary, OperationLatency, RenewLeaseResponse, Run, RunState,
    RunSummary, StartResponse, StopResponse, Verdict, Violation, WatchResponse,
    agent_server::{Agent, AgentServer},
    record_item::Item as RecordItem,
    watch_response::Item,
};
use tokio::{net::UnixListener, sync::watch};
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream, wrappers::WatchStream};
use tonic::{Request, Response, Status};

use super::*;
use crate::{cli::Cli, json::tests::assert_valid};

/// What the agent of a test does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
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

#[derive(Debug)]
struct FakeAgent {
    behaviour: Behaviour,
    calls: Arc<Mutex<Vec<String>>>,
    run: watch::Sender<RunSummary>,
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

/// Text that a test reads back.
#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What a command did.
#[derive(Debug)]
struct Outcome {
    code: u8,
    results: String,
    messages: String,
    calls: Vec<String>,
}

/// An agent on a socket, and what it was asked.
struct Bed {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Bed {
    fn new(behaviour: Behaviour) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let agent =
            FakeAgent { behaviour, calls: calls.clone(), run: watch::Sender::new(RunSummary::default()) };
        let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        let server = tonic::transport::Server::builder().add_service(AgentServer::new(agent));
        tokio::spawn(server.serve_with_incoming(listener));
        Self { _folder: folder, socket, calls }
    }

    /// Carries out a command line, with interruptions at intervals after it reached the watch.
    async fn carry_out(&self, line: &str, interruptions: usize) -> Outcome {
        let host = format!("unix:{}", self.socket.display());
        let arguments =
            ["sstsctl", "--store", "none", "--host", &host].into_iter().chain(line.split_whitespace());
        let Cli { global, command } = Cli::try_parse_from(arguments).unwrap();
        let (results, messages) = (Captured::default(), Captured::default());
        let output = Output::captured(results.clone(), messages.clone());
        let (sender, interrupts) = Interrupts::by_hand();
        let mut session = Session { global, output, interrupts };
        let calls = self.calls.clone();
        let interrupt = async move {
            while !calls.lock().unwrap().iter().any(|call| call == "watch") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for _ in 0..interruptions {
                tokio::time::sleep(Duration::from_millis(50)).await;
                sender.send(()).unwrap();
            }
            std::future::pending::<()>().await;
        };
        let work = tokio::time::timeout(Duration::from_secs(20), carry_out(command, &mut session));
        let result = tokio::select! {
            result = work => result.expect("it hangs"),
            () = interrupt => unreachable!("it never ends"),
        };
        let exit = result.unwrap_or_else(|failure| {
            session.output.failure(&failure);
            failure.exit
        });
        Outcome {
            code: exit.code(),
            results: results.text(),
            messages: messages.text(),
            calls: self.calls.lock().unwrap().clone(),
        }
    }
}

async fn outcome(behaviour: Behaviour, line: &str, interruptions: usize) -> Outcome {
    Bed::new(behaviour).carry_out(line, interruptions).await
}

const BURN: &str = "burn cpu --cores 0 --duration 10s";

#[tokio::test]
async fn a_run_that_passes_is_printed_and_ends_with_0() {
    let outcome = outcome(Behaviour::Passes, BURN, 0).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(
        outcome.results.starts_with("burn-cpu pass: every phase came to its end\n"),
        "{}",
        outcome.results
    );
    assert!(outcome.messages.contains("phase burn-cpu started"), "{}", outcome.messages);
    assert_eq!(outcome.calls[0], "start");
}

#[tokio::test]
async fn json_is_one_object_that_the_schema_describes() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("--output json {BURN} --report {}", folder.path().display());
    let outcome = outcome(Behaviour::Passes, &line, 0).await;
    assert_valid(&outcome.results, "Result");
    let files =
        ["report.md", "report.json"].map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap());
    assert!(files[0].starts_with("# burn-cpu pass"), "{}", files[0]);
    assert_valid(&files[1], "Result");
    let result: serde_json::Value = serde_json::from_str(&outcome.results).unwrap();
    let burner = &result["hosts"][0]["burners"][0];
    assert_eq!(burner["rates"]["flops_per_s"], 500.0);
    assert!(burner.get("achieved_load").is_none() && burner.get("bytes").is_none(), "{burner}");
    assert_eq!(result["hosts"][0]["burners"][1]["latency_ns"]["p50"], 80);
    assert!(result["hosts"][0]["telemetry"]["host.memory.available"][0].get("max").is_none());
}

#[tokio::test]
async fn every_other_command_prints_json_that_the_schema_describes() {
    for (line, definition) in [
        ("info", "Info"),
        ("status", "Status"),
        ("runs", "Runs"),
        ("halt --reason test", "Halted"),
        ("halt --clear", "Halted"),
        ("scenarios", "Scenarios"),
        ("scenarios show quick", "Scenario"),
        ("run quick --detach", "Commanded"),
        ("freeze some-run", "Commanded"),
        ("plan quick", "Plan"),
    ] {
        let outcome = outcome(Behaviour::GoesOn, &format!("--output json {line}"), 0).await;
        assert_eq!(outcome.code, 0, "{line}: {outcome:?}");
        assert_valid(&outcome.results, definition);
    }
    let halted = outcome(Behaviour::IsHalted, "--output json status", 0).await;
    assert_valid(&halted.results, "Status");
}

#[tokio::test]
async fn a_plan_that_would_be_refused_names_the_rule_and_starts_nothing() {
    let refused = outcome(Behaviour::Refuses, "--output json plan quick", 0).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_valid(&refused.results, "Plan");
    assert_eq!(refused.calls.iter().filter(|call| *call != "plan").count(), 0, "{refused:?}");
    let told = outcome(Behaviour::Refuses, "plan quick", 0).await;
    assert!(told.results.contains("policy.max_load_percent"), "{}", told.results);
    assert!(told.messages.contains("built-in scenario quick:"), "{}", told.messages);
}

#[tokio::test]
async fn ctrl_c_stops_the_run_waits_for_the_proof_and_prints_what_was_measured() {
    let outcome = outcome(Behaviour::GoesOn, BURN, 1).await;
    assert_eq!(outcome.code, 130, "{outcome:?}");
    assert!(outcome.calls.contains(&"stop".to_owned()) && outcome.calls.contains(&"renew".to_owned()));
    assert!(!outcome.calls.contains(&"halt".to_owned()));
    assert!(outcome.results.starts_with("burn-cpu aborted: stopped by a user"), "{}", outcome.results);
}

#[tokio::test]
async fn a_second_ctrl_c_halts_and_says_how_to_clear() {
    let outcome = outcome(Behaviour::OnlyHaltHelps, BURN, 2).await;
    assert_eq!(outcome.code, 130, "{outcome:?}");
    assert!(outcome.calls.contains(&"halt".to_owned()), "{outcome:?}");
    assert!(outcome.messages.contains("sstsctl halt --clear"), "{}", outcome.messages);
    assert!(outcome.results.contains("aborted: halted"), "{}", outcome.results);
}

#[tokio::test]
async fn a_record_is_read_on_where_the_connection_broke() {
    let outcome = outcome(Behaviour::GoesOn, "telemetry some-run", 0).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let values: Vec<_> = outcome.results.lines().skip(1).filter_map(|line| line.rsplit(',').next()).collect();
    assert_eq!(values, (0..20).map(|value: u32| value.to_string()).collect::<Vec<_>>());
    assert!(outcome.calls.len() > 2, "it broke: {:?}", outcome.calls);
}

#[tokio::test]
async fn an_agent_that_vanishes_ends_the_command_with_5() {
    let outcome = outcome(Behaviour::Vanishes, BURN, 0).await;
    assert_eq!(outcome.code, 5, "{outcome:?}");
    assert!(outcome.messages.contains("lost the agent during run"), "{}", outcome.messages);
    assert_eq!(outcome.results, "");
}

#[tokio::test]
async fn a_refusal_names_the_flag_and_the_mend() {
    let outcome = outcome(Behaviour::Refuses, BURN, 0).await;
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert_eq!(outcome.messages, "error: --cores: core 99 does not exist\nmend: use 0-1\n");
}

#[tokio::test]
async fn a_halted_agent_starts_nothing_and_the_mend_is_told() {
    let outcome = outcome(Behaviour::IsHalted, BURN, 0).await;
    assert_eq!(outcome.code, 4, "{outcome:?}");
    assert!(outcome.messages.contains("by somebody: smoke"), "{}", outcome.messages);
    assert!(outcome.messages.contains("sstsctl halt --clear"), "{}", outcome.messages);
}

#[tokio::test]
async fn wrong_data_ends_with_6() {
    assert_eq!(outcome(Behaviour::FindsWrongData, BURN, 0).await.code, 6);
}

#[tokio::test]
async fn a_detached_run_has_no_lease_and_its_id_is_printed() {
    let outcome = outcome(Behaviour::GoesOn, &format!("{BURN} --detach"), 0).await;
    assert_eq!(outcome.code, 0);
    assert_eq!(outcome.calls, ["start detached"]);
    assert!(ssts_proto::validate::run_id(outcome.results.trim_end()), "{}", outcome.results);
}

#[tokio::test]
async fn runs_are_watched_controlled_and_reported_later() {
    let bed = Bed::new(Behaviour::GoesOn);
    let run_id = bed.carry_out(&format!("{BURN} --detach"), 0).await.results.trim_end().to_owned();
    let watched = bed.carry_out("watch", 1).await;
    assert_eq!((watched.code, watched.results.as_str()), (130, ""), "{watched:?}");
    let stopped = bed.carry_out("--output json stop", 0).await;
    assert_valid(&stopped.results, "Commanded");
    let watched = bed.carry_out(&format!("--output json watch {run_id}"), 0).await;
    assert_eq!(watched.code, 4, "{watched:?}");
    assert_valid(&watched.results, "Result");
    let markdown = bed.carry_out(&format!("report {run_id} --format md"), 0).await;
    assert!(markdown.code == 0 && markdown.results.starts_with("# burn-cpu aborted"), "{markdown:?}");
}

#[tokio::test]
async fn what_is_left_is_told_and_blocks_until_it_is_given_up() {
    let bed = Bed::new(Behaviour::GoesOn);
    let told = bed.carry_out("recover", 0).await;
    assert_eq!(told.code, 5, "{told:?}");
    assert!(
        ["nothing starts", "processes", "some words", "end it"]
            .iter()
            .all(|part| told.results.contains(part))
    );
    let given_up = bed.carry_out("--output json recover --force --reason gone", 0).await;
    assert_eq!(given_up.code, 0, "{given_up:?}");
    assert_valid(&given_up.results, "Recovered");
    assert!(given_up.results.contains("\"gone\""), "{given_up:?}");
    assert_eq!(given_up.calls, ["recover", "recover"]);
}

#[tokio::test]
async fn a_run_that_is_unknown_or_missing_is_an_error_of_usage() {
    for line in [
        "report no-such-run",
        "watch no-such-run",
        "pause no-such-run",
        "stop",
        "resume",
        "--output json watch",
    ] {
        let outcome = outcome(Behaviour::GoesOn, line, 0).await;
        assert_eq!(outcome.code, 2, "{line}: {outcome:?}");
        assert!(outcome.messages.contains("mend: ") && outcome.results.is_empty(), "{outcome:?}");
    }
}
