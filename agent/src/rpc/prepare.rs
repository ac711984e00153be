//! A start in two steps, so that many hosts begin at one instant: `Prepare`, `Begin`, `Release`, and the clock to tell the
//! instant by.

use std::time::Duration;

use ssts_proto::{
    v1::{self, RunState},
    validate,
};
use tonic::{Request, Response, Status};
use tracing::info;

use super::{AgentService, MAX_REASON_BYTES, blocking, caller, violation, wait_until_finished};
use crate::{
    clock,
    run::{ActiveRun, EngineError, Hold},
};

impl AgentService {
    pub(super) async fn prepare_run(
        &self,
        request: Request<v1::PrepareRequest>,
    ) -> Result<Response<v1::PrepareResponse>, Status> {
        let caller = caller(&request);
        let v1::PrepareRequest { run_id, scenario, lease_ttl_ms, hold_ms, token, wait_ms } =
            request.into_inner();
        plain("run_id", &run_id)?;
        plain("token", &token)?;
        super::lease_ttl(lease_ttl_ms)?;
        let hold_ms = hold_ms.unwrap_or(validate::DEFAULT_PREPARE_HOLD_MS);
        if !validate::PREPARE_HOLD_MS.contains(&hold_ms) {
            return Err(violation("hold_ms", format!("{hold_ms} ms"), "use 1,000 to 600,000 ms"));
        }
        let wait_ms = wait_ms.unwrap_or(validate::DEFAULT_PREPARE_WAIT_MS);
        if wait_ms > validate::MAX_PREPARE_WAIT_MS {
            return Err(violation(
                "wait_ms",
                format!("{wait_ms} ms"),
                "use at most 20,000 ms, and ask again",
            ));
        }
        let asked =
            scenario.ok_or_else(|| violation("scenario", "no scenario is given".into(), "give one"))?;
        info!(run = run_id, scenario = asked.name, %caller, "asked to prepare");
        let time = Duration::from_millis(hold_ms);
        let hold = Hold { token, asked, time, lease_ttl: lease_ttl_ms.map(Duration::from_millis) };
        let engine = self.engine.clone();
        let run = blocking(move || {
            engine
                .prepare(run_id.clone(), hold)
                .inspect_err(|error| info!(run = run_id, %error, "not prepared"))
        })
        .await?
        .into_inner();
        // It may take as long as it takes: whoever asked asks again.
        let wait = Duration::from_millis(wait_ms);
        let _ready_or_not = tokio::time::timeout(wait, wait_until_settled(&run)).await;
        run.renew_lease();
        Ok(Response::new(v1::PrepareResponse { run: Some(run.summary()) }))
    }

    pub(super) async fn begin_run(
        &self,
        request: Request<v1::BeginRequest>,
    ) -> Result<Response<v1::BeginResponse>, Status> {
        let caller = caller(&request);
        let v1::BeginRequest { run_id, begin_at_unix_ns } = request.into_inner();
        let instant = u64::try_from(begin_at_unix_ns).map(Duration::from_nanos).map_err(|_| {
            let message = format!("a begin at {begin_at_unix_ns} ns");
            violation("begin_at_unix_ns", message, "use an instant that is ahead")
        })?;
        info!(run = run_id, begin_at_unix_ns, %caller, "asked to begin");
        let engine = self.engine.clone();
        blocking(move || {
            let run = engine
                .begin(&run_id, instant)
                .inspect_err(|error| info!(run = run_id, %error, "not begun"))?;
            Ok(v1::BeginResponse { run: Some(run.summary()) })
        })
        .await
    }

    pub(super) async fn release_run(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let caller = caller(&request);
        let v1::ReleaseRequest { run_id, reason, token } = request.into_inner();
        if reason.len() > MAX_REASON_BYTES {
            return Err(violation("reason", format!("{} bytes", reason.len()), "use at most 1,024 bytes"));
        }
        info!(run = run_id, reason, %caller, "asked to release");
        let words = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let run = match self.engine.release(&run_id, &token, format!("released by {caller}{words}")) {
            // Nothing is left of it that could be let go.
            Err(EngineError::Over(_)) => {
                let engine = self.engine.clone();
                return blocking(move || Ok(v1::ReleaseResponse { run: engine.get(&run_id)?.summary })).await;
            }
            released => released?,
        };
        wait_until_finished(&run).await;
        Ok(Response::new(v1::ReleaseResponse { run: Some(run.summary()) }))
    }
}

/// What the wall clock says now, and what it said when the request came.
pub(super) fn clock_answer(received_unix_ns: i64) -> Response<v1::ClockResponse> {
    Response::new(v1::ClockResponse { received_unix_ns, answered_unix_ns: clock::unix_ns() })
}

/// Until its first burners are ready, or there is nothing to wait for.
async fn wait_until_settled(run: &ActiveRun) {
    let mut changes = run.changes();
    // One that ends is waited for: then it says why, and is out of the way.
    while !run.is_settled() || run.state() == RunState::Stopping {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn plain(field: &str, word: &str) -> Result<(), Status> {
    if validate::run_id(word) {
        return Ok(());
    }
    let cut: String = word.chars().take(100).collect();
    Err(violation(field, format!("'{cut}' can't be one"), "use 1 to 64 characters of A-Z, a-z, 0-9, '-'"))
}
