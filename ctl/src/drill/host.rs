//! What is put to the host's own daemon: nothing that lasts, and 5 % of one core for some seconds.

use std::time::Duration;

use ssts_proto::v1::{
    Cause, DescribeRequest, DescribeResponse, EventKind, HaltRequest, ListRunsRequest, Run, RunState,
    RunSummary, StartRequest,
};
use uuid::Uuid;

use super::{
    Drilled, Fault, REACTION, Seen,
    stage::{self, Load, Moment},
};
use crate::{connect::Agent, error::Failure, report::verdict_line, status};

/// The shortest lease that an agent grants.
const LEASE: Duration = Duration::from_secs(1);
/// Light enough for a host that does other things.
const LOAD_PERCENT: f64 = 5.0;

pub(super) async fn put(fault: Fault, agent: &mut Agent) -> Result<Drilled, Failure> {
    let described = describe(agent).await?;
    if described.halt.is_some() {
        return Ok(Drilled::Skipped("the host is halted".into()));
    }
    if let Some(run) = current(agent).await? {
        return Ok(Drilled::Skipped(format!("run {} is on, and is not disturbed", run.run_id)));
    }
    let tick = Duration::from_secs_f64(1.0 / described.tick_rate_hz.max(0.01));
    let cores = described.host.unwrap_or_default().cores;
    let core = cores.iter().rev().find(|core| core.allowed).map_or(0, |core| core.cpu);
    let seen =
        if fault == Fault::HostHalt { halt(agent, core).await } else { lease(agent, core, tick).await };
    seen.map(|seen| Drilled::Seen(Box::new(seen)))
}

async fn describe(agent: &mut Agent) -> Result<DescribeResponse, Failure> {
    let answer = agent.client.describe(DescribeRequest {}).await;
    Ok(answer.map_err(|status| status::failure(&status))?.into_inner())
}

async fn current(agent: &mut Agent) -> Result<Option<RunSummary>, Failure> {
    let answer = agent.client.list_runs(ListRunsRequest { limit: None }).await;
    let runs = answer.map_err(|status| status::failure(&status))?.into_inner().runs;
    Ok(runs.into_iter().find(|run| run.state() != RunState::Finished))
}

async fn start(agent: &mut Agent, core: u32) -> Result<String, Failure> {
    let run_id = Uuid::now_v7().to_string();
    let request = StartRequest {
        run_id: run_id.clone(),
        scenario: Some(stage::scenario(Load { percent: LOAD_PERCENT, ..Load::default() }, core)),
        lease_ttl_ms: u64::try_from(LEASE.as_millis()).ok(),
        start_at_unix_ns: None,
    };
    agent.client.start(request).await.map_err(|status| status::failure(&status))?;
    Ok(run_id)
}

async fn lease(agent: &mut Agent, core: u32, tick: Duration) -> Result<Seen, Failure> {
    let mut seen = Seen::new(
        "a lease of one second on a load of 5 % of one core that nobody renewed; times are from its end, by the daemon's \
         own record",
    );
    let run_id = start(agent, core).await?;
    // The lease began a moment before it was answered.
    let end = Moment::now().later(LEASE);
    let run = stage::record(&mut agent.client, &run_id).await?;
    let early = REACTION * 4;
    let since = |kind| end.earlier(early).until_event(&run, &[kind]).map(|after| after.saturating_sub(early));
    seen.noticed = since(EventKind::RunStopping);
    seen.quiet = since(EventKind::RunFinished);
    let promised = tick * 2 + REACTION;
    seen.must_be_noticed_within(promised);
    seen.must_be_quiet_within(promised);
    tell(&mut seen, &run, Cause::LeaseExpired);
    Ok(seen)
}

async fn halt(agent: &mut Agent, core: u32) -> Result<Seen, Failure> {
    let mut seen =
        Seen::new("the host's daemon was halted during a load of 5 % of one core, and the halt was lifted");
    let run_id = start(agent, core).await?;
    tokio::time::sleep(LEASE / 3).await;
    let moment = Moment::now();
    let request = HaltRequest { reason: "a drill".into(), clear: false };
    let halted = agent.client.halt(request).await;
    // Whatever came of it: a drill leaves no halt behind.
    let clear = HaltRequest { reason: String::new(), clear: true };
    let cleared = agent.client.halt(clear).await;
    let answer = halted.map_err(|status| status::failure(&status))?.into_inner();
    cleared.map_err(|status| status::failure(&status))?;
    seen.quiet = answer.quiet_after_ns.map(Duration::from_nanos);
    let run = stage::record(&mut agent.client, &run_id).await?;
    seen.noticed = moment.until_event(&run, &[EventKind::RunStopping]);
    seen.must_be_noticed_within(REACTION);
    seen.must_be_quiet_within(REACTION);
    tell(&mut seen, &run, Cause::Halted);
    Ok(seen)
}

fn tell(seen: &mut Seen, run: &Run, wanted: Cause) {
    let summary = run.summary.clone().unwrap_or_default();
    seen.must_have_cause(summary.cause(), &[wanted]);
    seen.record = verdict_line(&summary);
    seen.receipt = "the daemon saw its last burner end".into();
}
