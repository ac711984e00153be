//! A start in two steps, as other programs see it: prepared twice is prepared once, begun twice is begun once, and what nobody begins
//! is let go.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ssts_proto::v1::{
    BeginRequest, Burner, Cause, ClockRequest, CpuBurner, GetRunRequest, HaltRequest, Phase, PrepareRequest,
    ReleaseRequest, RenewLeaseRequest, RunState, RunSummary, Scenario, StartRequest, StopRequest,
    agent_client::AgentClient, burner,
};
use ssts_tests::{Daemon, Ground, connect, outside};
use tonic::{Code, Status, transport::Channel};

/// A tick of the daemon, and what a busy machine adds.
const SLACK: Duration = Duration::from_secs(5);

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(since.as_nanos()).expect("it is earlier than 2262")
}

fn scenario(duration_ms: u64) -> Scenario {
    let cpu = CpuBurner { cores: vec![0], ..CpuBurner::default() };
    let phase = Phase {
        name: "burn".into(),
        duration_ms,
        burners: vec![Burner { kind: Some(burner::Kind::Cpu(cpu)) }],
        ..Phase::default()
    };
    Scenario { name: "prepared".into(), phases: vec![phase], seed: 1, ..Scenario::default() }
}

fn prepare(run_id: &str, token: &str) -> PrepareRequest {
    PrepareRequest {
        run_id: run_id.into(),
        scenario: Some(scenario(500)),
        lease_ttl_ms: Some(10_000),
        hold_ms: Some(30_000),
        token: token.into(),
        wait_ms: Some(20_000),
    }
}

struct Agent(AgentClient<Channel>);

impl Agent {
    async fn prepare(&mut self, request: PrepareRequest) -> Result<RunSummary, Status> {
        Ok(self.0.prepare(request).await?.into_inner().run.unwrap_or_default())
    }

    async fn begin(&mut self, run_id: &str, begin_at_unix_ns: i64) -> Result<RunSummary, Status> {
        let request = BeginRequest { run_id: run_id.into(), begin_at_unix_ns };
        Ok(self.0.begin(request).await?.into_inner().run.unwrap_or_default())
    }

    async fn release(&mut self, run_id: &str) -> Result<RunSummary, Status> {
        self.release_of(run_id, "").await
    }

    async fn release_of(&mut self, run_id: &str, token: &str) -> Result<RunSummary, Status> {
        let request = ReleaseRequest { run_id: run_id.into(), reason: "a story".into(), token: token.into() };
        Ok(self.0.release(request).await?.into_inner().run.unwrap_or_default())
    }

    async fn summary(&mut self, run_id: &str) -> RunSummary {
        let run = self.0.get_run(GetRunRequest { run_id: run_id.into() }).await.expect("it is known");
        run.into_inner().run.and_then(|run| run.summary).unwrap_or_default()
    }

    async fn finished(&mut self, run_id: &str) -> RunSummary {
        for _ in 0..600 {
            let summary = self.summary(run_id).await;
            if summary.state() == RunState::Finished {
                return summary;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("run {run_id} does not end");
    }
}

async fn agent() -> (Ground, Daemon, Agent) {
    let ground = Ground::new();
    ground.configure("[observe]\nprobes = false\n");
    let daemon = Daemon::start(&ground);
    let agent = Agent(AgentClient::new(connect(&ground).await));
    (ground, daemon, agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_twice_is_once_and_begun_twice_is_once() {
    let (_ground, daemon, mut agent) = agent().await;
    let first = agent.prepare(prepare("a", "mine")).await.expect("nothing speaks against it");
    assert_eq!(first.state(), RunState::Pending);
    assert_eq!(first.prepared.map(|it| (it.ready, it.hold_ms)), Some((true, 30_000)));
    assert_eq!(daemon.burners().len(), 1, "its burner waits");
    let again = agent.prepare(prepare("a", "mine")).await.expect("it is the same call");
    assert_eq!(again.started_at_unix_ns, first.started_at_unix_ns);
    // Another caller, another scenario, another way: all are refused.
    let taken = |result: Result<RunSummary, Status>| {
        assert_eq!(result.map_err(|it| it.code()), Err(Code::AlreadyExists));
    };
    taken(agent.prepare(prepare("a", "theirs")).await);
    taken(agent.prepare(PrepareRequest { scenario: Some(scenario(501)), ..prepare("a", "mine") }).await);
    let start = StartRequest { run_id: "a".into(), scenario: Some(scenario(500)), ..StartRequest::default() };
    assert_eq!(agent.0.start(start).await.map(drop).map_err(|it| it.code()), Err(Code::AlreadyExists));
    // Its core is taken.
    let other = agent.prepare(prepare("b", "theirs")).await.map_err(|it| it.code());
    assert!(matches!(other, Err(Code::InvalidArgument | Code::FailedPrecondition)), "{other:?}");

    let clock = agent.0.clock(ClockRequest {}).await.expect("whoever may look may ask").into_inner();
    assert!(
        clock.answered_unix_ns >= clock.received_unix_ns
            && clock.received_unix_ns.abs_diff(now_ns()) < 30_000_000_000
    );
    let past = agent.begin("a", now_ns() - 1_000_000_000).await.map_err(|it| it.code());
    assert_eq!(past.map(drop), Err(Code::InvalidArgument));
    let at = now_ns() + 1_500_000_000;
    agent.begin("a", at).await.expect("it is ahead");
    agent.begin("a", at).await.expect("it is the same instant");
    let other = agent.begin("a", at + 1).await.map(drop).map_err(|it| it.code());
    assert_eq!(other, Err(Code::FailedPrecondition));
    // What has begun is stopped, not released.
    assert_eq!(agent.release("a").await.map(drop).map_err(|it| it.code()), Err(Code::FailedPrecondition));
    let end = agent.finished("a").await;
    assert_eq!((end.cause(), end.begin_at_unix_ns), (Cause::Completed, Some(at)), "{end:?}");
    // It began then, or as soon as a busy machine let it.
    let began = end.began_at_unix_ns.expect("it began");
    // The instants are of two clocks, and one is not read at the same time as the other.
    assert!((-1_000_000..2_000_000_000).contains(&(began - at)), "{} ns late", began - at);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_is_released_stopped_or_halted_and_leaves_nothing() {
    let (_ground, daemon, mut agent) = agent().await;
    agent.prepare(prepare("a", "t")).await.expect("nothing speaks against it");
    let theirs = agent.release_of("a", "another").await.map(drop).map_err(|it| it.code());
    assert_eq!(theirs, Err(Code::FailedPrecondition), "it is not theirs");
    let released = agent.release("a").await.expect("it was prepared");
    assert_eq!((released.state(), released.cause()), (RunState::Finished, Cause::Released));
    assert!(daemon.burners().is_empty());
    agent.release("a").await.expect("it is released already");
    assert_eq!(agent.release("never").await.map(drop).map_err(|it| it.code()), Err(Code::NotFound));
    let begun = agent.begin("a", now_ns() + 1_000_000_000).await.map(drop).map_err(|it| it.code());
    assert_eq!(begun, Err(Code::FailedPrecondition));

    agent.prepare(prepare("b", "t")).await.expect("the core is free again");
    let stop = StopRequest { run_id: "b".into(), reason: "a story".into() };
    let stopped = agent.0.stop(stop).await.expect("it is known").into_inner().run.unwrap_or_default();
    assert_eq!(stopped.cause(), Cause::StoppedByUser);

    agent.prepare(prepare("c", "t")).await.expect("the core is free again");
    let halt = HaltRequest { reason: "a story".into(), clear: false };
    agent.0.halt(halt).await.expect("it can always be halted");
    assert_eq!(agent.finished("c").await.cause(), Cause::Halted);
    assert!(daemon.burners().is_empty());
    assert!(agent.prepare(prepare("d", "t")).await.is_err(), "a halted host prepares nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_by_itself_unless_it_is_renewed() {
    let (_ground, daemon, mut agent) = agent().await;
    let short = |id: &str| PrepareRequest { hold_ms: Some(1_500), ..prepare(id, "t") };
    agent.prepare(short("a")).await.expect("nothing speaks against it");
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        agent.0.renew_lease(RenewLeaseRequest { run_id: "a".into() }).await.expect("it is held");
    }
    assert!(agent.summary("a").await.prepared.is_some(), "it is held far beyond its time");
    let gone = outside::within(Duration::from_millis(1_500) + SLACK, || daemon.burners().is_empty());
    assert!(gone.is_some(), "nobody renews it, and it is still there");
    assert_eq!(agent.finished("a").await.cause(), Cause::NotBegun);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_is_refused_before_anything_is_held() {
    let (_ground, daemon, mut agent) = agent().await;
    for request in [
        PrepareRequest { token: String::new(), ..prepare("a", "t") },
        PrepareRequest { run_id: "../a".into(), ..prepare("a", "t") },
        PrepareRequest { hold_ms: Some(999), ..prepare("a", "t") },
        PrepareRequest { wait_ms: Some(20_001), ..prepare("a", "t") },
        PrepareRequest { lease_ttl_ms: Some(0), ..prepare("a", "t") },
        PrepareRequest { scenario: None, ..prepare("a", "t") },
        PrepareRequest { scenario: Some(Scenario::default()), ..prepare("a", "t") },
    ] {
        let refused = agent.prepare(request).await.map_err(|it| it.code());
        assert_eq!(refused.map(drop), Err(Code::InvalidArgument));
    }
    assert_eq!(
        agent.begin("a", i64::MIN).await.map(drop).map_err(|it| it.code()),
        Err(Code::InvalidArgument)
    );
    let unknown = agent.begin("a", now_ns() + 1_000_000_000).await.map(drop).map_err(|it| it.code());
    assert_eq!(unknown, Err(Code::NotFound));
    assert!(daemon.burners().is_empty());
}
