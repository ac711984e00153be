//! `run` and `burn`: starts a scenario, follows it, prints what was measured.

use ssts_proto::v1::{HaltRequest, RunSummary, StartRequest};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    Session, baselines, fleet_run,
    follow::{Ended, Follower, Role},
    history,
    lease::{Lease, TTL_MS},
    report::{fetch, page, print},
};
use crate::{
    cli::RunOptions,
    connect::{Agent, Fallback},
    display::{Display, Wish},
    error::{Exit, Failure},
    json::{self, CommandedOut},
    output::Format,
    report::{self, prepare_folder, write_files},
    scenario::Plan,
    status,
};

/// From the plan to the exit status.
pub(super) async fn run(
    mut plan: Plan,
    options: &RunOptions,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let fleet = session.fleet().await?;
    baselines::resolve(&mut plan, session).await?;
    plan.apply(options)?;
    for left_out in &plan.left_out {
        session.output.message(left_out);
    }
    if let Some(fleet) = fleet {
        return fleet_run::run(&fleet, &plan, options, session).await;
    }
    super::not_on_one_host(&plan, options, session)?;
    if options.detach && session.global.local {
        return Err(detached_on_private());
    }
    if let Some(folder) = &options.report {
        prepare_folder(folder)?;
    }
    let fallback = if options.detach { Fallback::Refuse } else { Fallback::Private };
    let mut agent = session.agent(fallback).await?;
    let result = on_agent(&plan, options, session, &mut agent).await;
    agent.close().await;
    result
}

async fn on_agent(
    plan: &Plan,
    options: &RunOptions,
    session: &mut Session,
    agent: &mut Agent,
) -> Result<Exit, Failure> {
    let run_id = options.start.run_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let request = StartRequest {
        run_id: run_id.clone(),
        scenario: Some(plan.scenario.clone()),
        lease_ttl_ms: (!options.detach).then_some(TTL_MS),
        start_at_unix_ns: options.start_at,
    };
    let started = match agent.client.start(request).await {
        Ok(response) => {
            RunSummary { run_id: run_id.clone(), ..response.into_inner().run.unwrap_or_default() }
        }
        Err(refusal) => return Err(not_started(plan, agent, &refusal).await),
    };
    if options.detach {
        return detached(&started, &run_id, session);
    }

    let lease = Lease::keep(agent.line.clone(), run_id.clone())?;
    let ended = follow(plan, started, session, agent).await?;
    drop(lease);
    if ended == Ended::Halted {
        after_halt(session, agent).await;
    }
    let run = fetch(&mut agent.client, &run_id).await?;
    let printed = print(&run, session.global.output, &mut session.output);
    history::keep(&run, &options.tags, session.global.store.as_ref(), &mut session.output).await;
    printed?;
    if let Some(folder) = &options.report {
        let page = page(Some(&mut agent.client), &run).await?;
        for path in write_files(&run, page, folder)? {
            session.output.message(&format!("wrote {}", path.display()));
        }
    }
    Ok(match ended {
        Ended::Finished => report::exit(&run),
        // Wrong data is told whoever ended the run.
        _ if report::exit(&run) == Exit::WrongData => Exit::WrongData,
        Ended::Interrupted | Ended::Halted | Ended::Left => Exit::Interrupted,
    })
}

async fn follow(
    plan: &Plan,
    started: RunSummary,
    session: &mut Session,
    agent: &Agent,
) -> Result<Ended, Failure> {
    let run_id = started.run_id.clone();
    let wish = progress_wish(session);
    let Session { output, interrupts, .. } = session;
    let display = Display::new(plan.scenario.clone(), started, wish, output);
    let client = agent.client.clone();
    Follower { client, run_id: &run_id, role: Role::Owner, display, output, interrupts }.follow().await
}

/// Programs that read JSON read no progress; a person beside them does.
pub(super) fn progress_wish(session: &Session) -> Wish {
    let unread = session.global.output == Format::Json && !session.output.on_terminal();
    if session.global.quiet || unread { Wish::Silence } else { Wish::Progress }
}

fn detached(run: &RunSummary, run_id: &str, session: &mut Session) -> Result<Exit, Failure> {
    if session.wants_json() {
        session.output.json(&CommandedOut::new(run))?;
    } else {
        session.output.result(&format!("{run_id}\n"))?;
        session.output.message(&format!(
            "it ends by itself; `sstsctl watch {run_id}` follows it, `sstsctl stop {run_id}` stops it"
        ));
    }
    Ok(Exit::Pass)
}

/// A private agent would stay halted for the next command, which could not know why.
async fn after_halt(session: &mut Session, agent: &mut Agent) {
    if !agent.is_private() {
        session.output.message("the agent is halted: nothing starts until `sstsctl halt --clear`");
        return;
    }
    if let Err(status) = agent.client.halt(HaltRequest { reason: String::new(), clear: true }).await {
        session.output.failure(&status::failure(&status));
    }
}

/// Why the agent did not start it, in the user's words.
async fn not_started(plan: &Plan, agent: &mut Agent, refusal: &Status) -> Failure {
    let violations = status::violations(refusal);
    if !violations.is_empty() {
        return plan.refusal(&violations);
    }
    if refusal.code() != Code::FailedPrecondition {
        return status::failure(refusal);
    }
    let described = agent.client.describe(ssts_proto::v1::DescribeRequest {}).await;
    match described.ok().and_then(|response| response.into_inner().halt) {
        Some(halt) => {
            let local = if agent.is_private() { " --local" } else { "" };
            Failure::new(
                Exit::Aborted,
                format!(
                    "the agent is halted since {} by {}: {}",
                    json::rfc3339(halt.since_unix_ns),
                    halt.by,
                    halt.reason
                ),
                format!("when it is safe, lift the halt with `sstsctl{local} halt --clear`"),
            )
        }
        // The message names it.
        None if refusal.message().contains("sstsctl recover") => Failure::agent(
            refusal.message(),
            "`sstsctl recover` looks again; `sstsctl status` shows what it is about",
        ),
        None => Failure::agent(
            refusal.message(),
            "wait for the current run, or end it with `sstsctl stop`; `sstsctl status` shows it",
        ),
    }
}

fn detached_on_private() -> Failure {
    Failure::usage(
        "--detach and --local exclude each other",
        "a private agent ends with its command: leave one out",
    )
}
