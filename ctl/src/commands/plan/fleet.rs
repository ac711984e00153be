//! `plan` over a fleet: every host is asked, and what each would do, in which wave, and why not elsewhere is shown.

use std::path::PathBuf;

use ssts_proto::v1::{PlanRequest, PlanResponse};

use super::Session;
use crate::{
    cli::RunOptions,
    connect::cannot_reach,
    error::{Exit, Failure},
    fleet::{Fleet, FleetPlan, Member, each},
    json::FleetPlanOut,
    report::{fleet_plan_document, to_terminal},
    scenario::Plan,
    status,
};

/// Hosts that are asked at a time.
const AT_ONCE: usize = 64;

/// Asks all, and prints what they said.
pub(super) async fn plan(
    plan: &Plan,
    options: &RunOptions,
    fleet: &Fleet,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let waves = plan.fleet.waves.draw(fleet)?;
    let request = PlanRequest { scenario: Some(plan.scenario.clone()), start_at_unix_ns: options.start_at };
    let pki = session.global.pki.clone();
    let question = |member: Member| ask(member, request.clone(), pki.clone());
    let asked = each(&fleet.members, AT_ONCE, question, |_| {});
    let hosts = tokio::select! {
        hosts = asked => hosts,
        () = session.interrupts.next() => return Err(Failure::interrupted()),
    };
    let planned = FleetPlan { waves, hosts };
    if session.wants_json() {
        session.output.json(&FleetPlanOut::new(&planned, plan))?;
    } else {
        let document = fleet_plan_document(&planned, plan);
        let in_color = session.output.in_color();
        session.output.result(&to_terminal(&document, in_color))?;
    }
    Ok(planned.exit())
}

async fn ask(member: Member, request: PlanRequest, pki: Option<PathBuf>) -> Result<PlanResponse, Failure> {
    let line = member.line(pki.as_ref())?;
    let mut client = line.dial().await.map_err(|error| cannot_reach(&member.host, &error))?;
    let response = client.plan(request).await.map_err(|status| status::failure(&status))?;
    Ok(response.into_inner())
}
