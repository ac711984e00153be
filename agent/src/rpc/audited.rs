//! The service behind the audit log. What puts load on the host, or loosens what holds it, is noted on disk before it is
//! carried out; what takes load off is carried out first, whatever the disk does. What only looks is not noted, nor are renewals
//! of leases, but for the first one of somebody else than before, who takes the run over.

use std::sync::Arc;

use prost::Message as _;
use serde_json::{Value, json};
use ssts_proto::{
    audit::sha256,
    v1::{self, agent_server::Agent},
};
use tonic::{Request, Response, Status};

use super::{AgentService, keepers::Keepers, record::RecordStream, rights::Caller, watch::WatchStream};
use crate::audit::{Audit, Entry, Subject};

/// Of a caller's words in a line, in characters.
const MAX_WORDS: usize = 1_024;

/// Package `ssts.v1`'s service, with notes of who commands what.
#[derive(Debug, Clone)]
pub struct Audited {
    service: AgentService,
    audit: Audit,
    keepers: Arc<Keepers>,
}

impl Audited {
    /// Notes what is asked of `service`.
    pub fn new(service: AgentService, audit: Audit) -> Self {
        Self { service, audit, keepers: Arc::default() }
    }

    /// Whether somebody else kept a run's lease until now.
    fn hand_over(&self, run_id: &str, to: &Subject) -> bool {
        self.keepers.hand_over(run_id, to, |run_id| self.service.engine.active(run_id).is_ok())
    }

    fn noting<T>(&self, request: &Request<T>, call: &'static str, parameters: Value) -> Noting {
        let who = Caller::of(request).subject();
        Noting { audit: self.audit.clone(), who, call, parameters, open: false }
    }
}

/// One command. Where its caller goes away before it is done, that is noted.
struct Noting {
    audit: Audit,
    who: Subject,
    call: &'static str,
    parameters: Value,
    open: bool,
}

impl Noting {
    /// On disk before anything is done.
    async fn before(&mut self) -> Result<(), Status> {
        let entry = Entry::allowed(self.who.clone(), self.call, self.parameters.clone());
        let audit = self.audit.clone();
        match tokio::task::spawn_blocking(move || audit.note(&entry)).await {
            Ok(Ok(())) => {
                self.open = true;
                Ok(())
            }
            Ok(Err(error)) => Err(Status::failed_precondition(format!(
                "not carried out: the audit log can't be written: {error}; make room in the agent's state folder"
            ))),
            Err(_) => Err(Status::internal("a bug in the agent, see its log")),
        }
    }

    /// It is being carried out already.
    fn begun(&mut self) {
        self.open = true;
    }

    async fn after<T>(&mut self, outcome: &Result<Response<T>, Status>) {
        self.open = false;
        let words = match outcome {
            Ok(_) => "ok".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), cut(status.message())),
        };
        self.audit.note_after(self.entry(words)).await;
    }

    fn entry(&self, outcome: String) -> Entry {
        Entry::done(self.who.clone(), self.call, self.parameters.clone(), outcome)
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let entry = self.entry("unknown: the caller went away before it was done".to_owned());
        let audit = self.audit.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { audit.note_after(entry).await });
        }
    }
}

#[tonic::async_trait]
impl Agent for Audited {
    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        self.service.describe(request).await
    }

    async fn start(&self, request: Request<v1::StartRequest>) -> Result<Response<v1::StartResponse>, Status> {
        let mut noting = self.noting(&request, "Start", of_start(request.get_ref()));
        noting.before().await?;
        let run_id = request.get_ref().run_id.clone();
        let outcome = self.service.start(request).await;
        if outcome.is_ok() {
            self.hand_over(&run_id, &noting.who);
        }
        noting.after(&outcome).await;
        outcome
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopResponse>, Status> {
        let v1::StopRequest { run_id, reason } = request.get_ref();
        let parameters = json!({ "run_id": cut(run_id), "reason": cut(reason) });
        let mut noting = self.noting(&request, "Stop", parameters);
        noting.begun();
        let outcome = self.service.stop(request).await;
        noting.after(&outcome).await;
        outcome
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseResponse>, Status> {
        let parameters = json!({ "run_id": cut(&request.get_ref().run_id) });
        let mut noting = self.noting(&request, "Pause", parameters);
        noting.begun();
        let outcome = self.service.pause(request).await;
        noting.after(&outcome).await;
        outcome
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        let parameters = json!({ "run_id": cut(&request.get_ref().run_id) });
        let mut noting = self.noting(&request, "Resume", parameters);
        noting.before().await?;
        let outcome = self.service.resume(request).await;
        noting.after(&outcome).await;
        outcome
    }

    async fn halt(&self, request: Request<v1::HaltRequest>) -> Result<Response<v1::HaltResponse>, Status> {
        let v1::HaltRequest { reason, clear } = request.get_ref();
        let parameters = json!({ "reason": cut(reason), "clear": clear });
        let mut noting = self.noting(&request, "Halt", parameters);
        if *clear {
            let caller = Caller::of(&request);
            caller.lift_halt().inspect_err(|status| {
                self.audit.refused(Entry::refused(caller.subject(), "Halt, clear", cut(status.message())));
            })?;
            noting.before().await?;
        } else {
            noting.begun();
        }
        let outcome = self.service.halt(request).await;
        noting.after(&outcome).await;
        outcome
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let v1::RecoverRequest { force, reason } = request.get_ref();
        let parameters = json!({ "force": force, "reason": cut(reason) });
        let mut noting = self.noting(&request, "Recover", parameters);
        noting.before().await?;
        let outcome = self.service.recover(request).await;
        noting.after(&outcome).await;
        outcome
    }

    async fn renew_lease(
        &self,
        request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        let run_id = request.get_ref().run_id.clone();
        let noting = self.noting(&request, "RenewLease", json!({ "run_id": cut(&run_id) }));
        let outcome = self.service.renew_lease(request).await;
        if outcome.is_ok() && self.hand_over(&run_id, &noting.who) {
            self.audit.note_after(noting.entry("ok: the run is taken over".to_owned())).await;
        }
        outcome
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsResponse>, Status> {
        self.service.list_runs(request).await
    }

    async fn get_run(
        &self,
        request: Request<v1::GetRunRequest>,
    ) -> Result<Response<v1::GetRunResponse>, Status> {
        self.service.get_run(request).await
    }

    type WatchStream = WatchStream;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.service.watch(request).await
    }

    type ReadRecordStream = RecordStream;

    async fn read_record(
        &self,
        request: Request<v1::ReadRecordRequest>,
    ) -> Result<Response<Self::ReadRecordStream>, Status> {
        self.service.read_record(request).await
    }

    async fn freeze_record(
        &self,
        request: Request<v1::FreezeRecordRequest>,
    ) -> Result<Response<v1::FreezeRecordResponse>, Status> {
        let v1::FreezeRecordRequest { run_id, reason } = request.get_ref();
        let parameters = json!({ "run_id": cut(run_id), "reason": cut(reason) });
        let mut noting = self.noting(&request, "FreezeRecord", parameters);
        noting.before().await?;
        let outcome = self.service.freeze_record(request).await;
        noting.after(&outcome).await;
        outcome
    }

    async fn note_drill(
        &self,
        request: Request<v1::NoteDrillRequest>,
    ) -> Result<Response<v1::NoteDrillResponse>, Status> {
        let faults = request.get_ref().drill.as_ref().map_or(0, |drill| drill.faults.len());
        let mut noting = self.noting(&request, "NoteDrill", json!({ "faults": faults }));
        noting.before().await?;
        let outcome = self.service.note_drill(request).await;
        noting.after(&outcome).await;
        outcome
    }

    async fn plan(&self, request: Request<v1::PlanRequest>) -> Result<Response<v1::PlanResponse>, Status> {
        self.service.plan(request).await
    }

    async fn clock(&self, request: Request<v1::ClockRequest>) -> Result<Response<v1::ClockResponse>, Status> {
        self.service.clock(request).await
    }

    async fn prepare(
        &self,
        request: Request<v1::PrepareRequest>,
    ) -> Result<Response<v1::PrepareResponse>, Status> {
        let mut noting = self.noting(&request, "Prepare", of_prepare(request.get_ref()));
        noting.before().await?;
        let run_id = request.get_ref().run_id.clone();
        let outcome = self.service.prepare(request).await;
        if outcome.is_ok() {
            self.hand_over(&run_id, &noting.who);
        }
        noting.after(&outcome).await;
        outcome
    }

    async fn begin(&self, request: Request<v1::BeginRequest>) -> Result<Response<v1::BeginResponse>, Status> {
        let v1::BeginRequest { run_id, begin_at_unix_ns } = request.get_ref();
        let parameters = json!({ "run_id": cut(run_id), "begin_at_unix_ns": begin_at_unix_ns });
        let mut noting = self.noting(&request, "Begin", parameters);
        noting.before().await?;
        let outcome = self.service.begin(request).await;
        noting.after(&outcome).await;
        outcome
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let v1::ReleaseRequest { run_id, reason, .. } = request.get_ref();
        let parameters = json!({ "run_id": cut(run_id), "reason": cut(reason) });
        let mut noting = self.noting(&request, "Release", parameters);
        noting.begun();
        let outcome = self.service.release(request).await;
        noting.after(&outcome).await;
        outcome
    }
}

/// Which scenario it was, without what stands in it: that is in the run's record.
fn of_start(request: &v1::StartRequest) -> Value {
    let mut parameters = json!({ "run_id": cut(&request.run_id) });
    note_scenario(&mut parameters, request.scenario.as_ref());
    if let Some(ttl) = request.lease_ttl_ms {
        parameters["lease_ttl_ms"] = ttl.into();
    }
    if let Some(start_at) = request.start_at_unix_ns {
        parameters["start_at_unix_ns"] = start_at.into();
    }
    parameters
}

/// The same; its token is the caller's own business.
fn of_prepare(request: &v1::PrepareRequest) -> Value {
    let mut parameters = json!({ "run_id": cut(&request.run_id) });
    note_scenario(&mut parameters, request.scenario.as_ref());
    for (name, ms) in [("lease_ttl_ms", request.lease_ttl_ms), ("hold_ms", request.hold_ms)] {
        if let Some(ms) = ms {
            parameters[name] = ms.into();
        }
    }
    parameters
}

fn note_scenario(parameters: &mut Value, scenario: Option<&v1::Scenario>) {
    if let Some(scenario) = scenario {
        let burners: usize = scenario.phases.iter().map(|phase| phase.burners.len()).sum();
        let duration_ms =
            scenario.phases.iter().fold(0u64, |sum, phase| sum.saturating_add(phase.duration_ms));
        parameters["scenario"] = json!({
            "name": cut(&scenario.name),
            "phases": scenario.phases.len(),
            "burners": burners,
            "duration_ms": duration_ms,
            "sha256": sha256(&scenario.encode_to_vec()),
        });
    }
}

fn cut(words: &str) -> String {
    words.chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_holds_is_not_in_the_line() {
        let header = v1::HttpHeader { name: "authorization".into(), value: "Bearer s3cret".into() };
        let http = v1::HttpBurner { headers: vec![header], ..v1::HttpBurner::default() };
        let burner = v1::Burner { kind: Some(v1::burner::Kind::Http(http)) };
        let phase =
            v1::Phase { name: "one".into(), duration_ms: 7, burners: vec![burner], ..v1::Phase::default() };
        let scenario = v1::Scenario { name: "x".into(), phases: vec![phase], ..v1::Scenario::default() };
        let request =
            v1::StartRequest { run_id: "r".into(), scenario: Some(scenario), ..v1::StartRequest::default() };
        let value = of_start(&request);
        assert!(!value.to_string().contains("s3cret"), "{value}");
        assert_eq!(value["scenario"]["duration_ms"], 7);
        assert_eq!(value["scenario"]["burners"], 1);
        assert_eq!(value["scenario"]["sha256"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn a_caller_cannot_make_a_line_as_long_as_a_message() {
        assert_eq!(cut(&"é".repeat(5_000)).chars().count(), 1_024);
    }
}
