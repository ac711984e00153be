//! `plan`: what a start would come to, before it is started.

mod fleet;

use ssts_proto::v1::{PlanRequest, PlanResponse};

use super::{Session, baselines};
use crate::{
    cli::{Burn, Planned, RunOptions, Settings},
    connect::{Agent, Fallback},
    error::{Exit, Failure},
    json::PlanOut,
    report::{plan_document, to_terminal},
    scenario::{Plan, burn_cpu, burn_disk, burn_http, burn_memory, burn_network},
    status,
};

/// `plan SCENARIO` and `plan burn …`.
pub(super) async fn plan(
    what: Option<Planned>,
    scenario: Option<String>,
    settings: &Settings,
    options: RunOptions,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let (mut plan, options) = match what {
        Some(Planned::Burn(Burn::Cpu(flags))) => (burn_cpu(&flags), flags.options),
        Some(Planned::Burn(Burn::Memory(flags))) => (burn_memory(&flags), flags.options),
        Some(Planned::Burn(Burn::Disk(flags))) => (burn_disk(&flags)?, flags.options),
        Some(Planned::Burn(Burn::Network(flags))) => (burn_network(&flags), flags.options),
        Some(Planned::Burn(Burn::Http(flags))) => (burn_http(&flags)?, flags.options),
        None => (Plan::find(&scenario.unwrap_or_default(), &settings.set)?, options),
    };
    baselines::resolve(&mut plan, session).await?;
    plan.apply(&options)?;
    if let Some(fleet) = session.fleet().await? {
        return fleet::plan(&plan, &options, &fleet, session).await;
    }
    super::not_on_one_host(&plan, &options, session)?;
    let mut agent = session.agent(Fallback::Private).await?;
    let response = ask(&plan, &options, &mut agent).await;
    agent.close().await;
    let response = response?;
    print(&plan, &response, session)?;
    Ok(if !response.violations.is_empty() {
        Exit::Usage
    } else if !response.obstacles.is_empty() {
        Exit::AgentFailed
    } else {
        Exit::Pass
    })
}

async fn ask(plan: &Plan, options: &RunOptions, agent: &mut Agent) -> Result<PlanResponse, Failure> {
    let request = PlanRequest { scenario: Some(plan.scenario.clone()), start_at_unix_ns: options.start_at };
    let response = agent.client.plan(request).await.map_err(|status| status::failure(&status))?;
    Ok(response.into_inner())
}

fn print(plan: &Plan, response: &PlanResponse, session: &mut Session) -> Result<(), Failure> {
    let as_json = session.wants_json();
    let output = &mut session.output;
    if as_json {
        let findings = plan.refusals(&response.violations);
        return output.json(&PlanOut::new(response, &plan.scenario, &findings, &plan.left_out));
    }
    let document = plan_document(response, &plan.scenario, &plan.left_out);
    output.result(&to_terminal(&document, output.in_color()))?;
    if !response.violations.is_empty() {
        output.failure(&plan.refusal(&response.violations));
    }
    Ok(())
}
