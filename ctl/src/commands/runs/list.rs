//! The list: the history, and what only an agent knows.

use std::collections::HashSet;

use ssts_proto::v1::{ListRunsRequest, RunSummary};

use super::{super::info::describe, Session, place, result_line, whole_seconds};
use crate::{
    cli::Which,
    connect::{Agent, Fallback},
    error::{Exit, Failure},
    json::{self, ListedRunOut, RunsOut},
    output::Format,
    report::{Align, Document, Table, to_terminal, verdict_line},
    status as grpc,
    store::{Access, KeptRun, Place, RunFilter, Store},
    text,
};

/// What an agent tells of at once: `ListRuns`.
const MOST_OF_AGENT: u32 = 1_000;

/// One line of the list.
enum Listed {
    Kept(Box<KeptRun>),
    OfAgent { summary: Box<RunSummary>, host: String },
}

pub(super) async fn list(
    which: &Which,
    limit: u32,
    only_agent: bool,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let place = place(session.global.store.as_ref());
    let filter = RunFilter { limit: Some(limit), ..which.filter() };
    let asks_store = !only_agent && !matches!(place, Ok(Place::Nowhere));
    let kept =
        if asks_store { Store::open(&place?, Access::Read).await?.runs(&filter).await? } else { Vec::new() };
    let of_agent = of_agent(&filter, !asks_store, session).await?;
    let known: HashSet<_> = kept.iter().map(|kept| kept.run_id.as_str()).collect();
    let mut listed: Vec<_> = (of_agent.0.into_iter())
        .filter(|summary| !known.contains(summary.run_id.as_str()))
        .map(|summary| Listed::OfAgent { summary: Box::new(summary), host: of_agent.1.clone() })
        .collect();
    listed.extend(kept.into_iter().map(|run| Listed::Kept(Box::new(run))));
    listed.sort_by_key(|run| std::cmp::Reverse(started_at_ns(run)));
    listed.truncate(limit as usize);
    print(&listed, asks_store, session)
}

fn started_at_ns(run: &Listed) -> i64 {
    match run {
        Listed::Kept(run) => run.started_at_ns,
        // One that has not started yet will be the newest.
        Listed::OfAgent { summary, .. } if summary.started_at_unix_ns == 0 => i64::MAX,
        Listed::OfAgent { summary, .. } => summary.started_at_unix_ns,
    }
}

/// The runs that an agent remembers, of those that are meant, and the name of its host. Where nobody listens there are none,
/// unless the user named an agent, or asks for nothing else.
async fn of_agent(
    filter: &RunFilter,
    alone: bool,
    session: &mut Session,
) -> Result<(Vec<RunSummary>, String), Failure> {
    let is_named = alone || session.global.local || !session.global.host.is_empty();
    // No agent knows of tags.
    if !filter.tags.is_empty() {
        return Ok(Default::default());
    }
    let fallback = if alone { Fallback::Private } else { Fallback::Refuse };
    let mut agent = match session.agent(fallback).await {
        Ok(agent) => agent,
        Err(failure) if failure.exit == Exit::AgentFailed && !is_named => return Ok(Default::default()),
        Err(failure) => return Err(failure),
    };
    let Session { interrupts, .. } = session;
    let listed = tokio::select! {
        listed = ask(&mut agent, filter) => listed,
        () = interrupts.next() => Err(Failure::interrupted()),
    };
    agent.close().await;
    listed
}

async fn ask(agent: &mut Agent, filter: &RunFilter) -> Result<(Vec<RunSummary>, String), Failure> {
    let limit = filter.limit.unwrap_or(MOST_OF_AGENT).min(MOST_OF_AGENT);
    let host = describe(&mut agent.client).await?.host.unwrap_or_default().hostname;
    if filter.host.as_ref().is_some_and(|wanted| *wanted != host) {
        return Ok((Vec::new(), host));
    }
    // What is left out by the filter must not count.
    let limit = if filter.limit == Some(limit) && only_limit(filter) { limit } else { MOST_OF_AGENT };
    let response = agent.client.list_runs(ListRunsRequest { limit: Some(limit) }).await;
    let mut runs = response.map_err(|status| grpc::failure(&status))?.into_inner().runs;
    runs.retain(|run| {
        let started_ns = run.started_at_unix_ns;
        filter.since_ns.is_none_or(|since_ns| started_ns >= since_ns)
            && filter.until_ns.is_none_or(|until_ns| started_ns < until_ns)
            && filter.scenario.as_ref().is_none_or(|scenario| *scenario == run.scenario)
            && (filter.verdicts.is_empty()
                || json::verdict(run).is_some_and(|verdict| filter.verdicts.contains(&verdict)))
    });
    Ok((runs, host))
}

fn only_limit(filter: &RunFilter) -> bool {
    *filter == RunFilter { limit: filter.limit, ..RunFilter::default() }
}

fn print(runs: &[Listed], store_was_asked: bool, session: &mut Session) -> Result<Exit, Failure> {
    let output = &mut session.output;
    if session.global.output == Format::Json {
        let runs = runs.iter().map(|run| match run {
            Listed::Kept(run) => run.as_ref().into(),
            Listed::OfAgent { summary, host } => {
                ListedRunOut::of_agent(summary, host, store_was_asked.then_some(false))
            }
        });
        return output.json(&RunsOut { runs: runs.collect() }).map(|()| Exit::Pass);
    }
    if runs.is_empty() {
        return output.result("no runs\n").map(|()| Exit::Pass);
    }
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("scenario", Align::Left),
        ("host", Align::Left),
        ("started", Align::Left),
        ("duration", Align::Right),
        ("kept", Align::Left),
        ("tags", Align::Left),
        ("result", Align::Left),
    ]);
    for run in runs {
        table.row(match run {
            Listed::Kept(run) => [
                run.run_id.clone(),
                run.scenario.clone(),
                hosts(run),
                whole_seconds(run.started_at_ns),
                text::duration(run.duration_ns.unsigned_abs() / 1_000_000),
                String::new(),
                labels(run),
                result_line(run),
            ],
            Listed::OfAgent { summary, host } => [
                summary.run_id.clone(),
                summary.scenario.clone(),
                host.clone(),
                whole_seconds(summary.started_at_unix_ns),
                text::duration(summary.duration_ns / 1_000_000),
                if store_was_asked { "by the agent alone".into() } else { String::new() },
                String::new(),
                verdict_line(summary),
            ],
        });
    }
    let mut document = Document::default();
    document.table(table);
    output.result(&to_terminal(&document, output.in_color())).map(|()| Exit::Pass)
}

fn hosts(run: &KeptRun) -> String {
    run.hosts.iter().map(|host| host.host.as_str()).collect::<Vec<_>>().join(", ")
}

/// Tags, and baselines by their names.
fn labels(run: &KeptRun) -> String {
    let baselines = run.baselines.iter().map(|name| format!("baseline {name}"));
    baselines.chain(run.tags.iter().cloned()).collect::<Vec<_>>().join(", ")
}
