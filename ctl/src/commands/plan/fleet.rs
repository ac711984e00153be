//! `plan` over a fleet: every host is asked, and what each would do, in which wave, and why not elsewhere is shown.

use ssts_proto::v1::PlanRequest;

use super::Session;
use crate::{
    cli::RunOptions,
    commands::fleet::ask,
    connect::Client,
    error::{Exit, Failure},
    fleet::{Fleet, FleetPlan},
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
    let question = move |mut client: Client| {
        let request = request.clone();
        async move {
            let response = client.plan(request).await.map_err(|status| status::failure(&status))?;
            Ok(response.into_inner())
        }
    };
    let hosts = ask(fleet, AT_ONCE, session, question).await?;
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
