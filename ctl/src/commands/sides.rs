//! The runs that a comparison or a trend is about: of the history, in files, and those that only an agent knows.

use std::{collections::HashMap, sync::Arc};

use ssts_proto::validate;

use super::{
    Session,
    history::place,
    report::{fetch, side_run},
};
use crate::{
    compare::{Item, Side, SideRun, Windows, keyed, result_files},
    connect::{Agent, Client, Fallback},
    error::{Exit, Failure},
    local,
    output::Output,
    record::{Source, fetch as fetch_record},
    store::{Access, Figure, FigureQuery, KeptRun, Place, RunFilter, Store, unknown},
};

/// What is asked for.
pub(super) struct Wanted<'a> {
    pub(super) sides: &'a [Vec<Item>],
    /// What `latest` and tags mean runs of.
    pub(super) filter: RunFilter,
    /// Also windows of the metrics whose names begin so, where each side is one run.
    pub(super) windows: Option<&'a [String]>,
}

/// All runs of the sides. An agent is asked only for what is neither in the history nor in files.
pub(super) async fn gathered(wanted: &Wanted<'_>, session: &mut Session) -> Result<Vec<Side>, Failure> {
    let (mut sides, missing) = known(wanted, session).await?;
    let prefixes = wanted.windows.filter(|_| are_single(wanted.sides, &sides, &missing));
    let agent = if !missing.is_empty() {
        Some(session.agent(Fallback::Private).await?)
    } else if prefixes.is_some() {
        let ids: Vec<_> = sides.iter().flat_map(|side| &side.runs).map(|run| run.id.as_str()).collect();
        agent_of_records(&ids, session).await?
    } else {
        None
    };
    let Some(mut agent) = agent else { return Ok(sides) };
    let Session { output, interrupts, .. } = session;
    let asked = tokio::select! {
        asked = ask(&mut agent.client, &mut sides, &missing, prefixes, output) => asked,
        () = interrupts.next() => Err(Failure::interrupted()),
    };
    agent.close().await;
    asked.map(|()| sides)
}

/// A run that only an agent may know, and the side that it stands on.
type Missing<'a> = (usize, &'a str);

/// What the history and files have.
async fn known<'a>(
    wanted: &Wanted<'a>,
    session: &mut Session,
) -> Result<(Vec<Side>, Vec<Missing<'a>>), Failure> {
    let of_history = wanted.sides.iter().flatten().any(|item| !matches!(item, Item::Path(_)));
    let mut store = if of_history { Some(open(session).await) } else { None };
    let (mut sides, mut missing) = (Vec::new(), Vec::new());
    for (index, items) in wanted.sides.iter().enumerate() {
        let name = items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut side = Side { name, runs: Vec::new() };
        for item in items {
            let runs = match (item, &mut store) {
                (Item::Path(path), _) => result_files(path)?,
                (Item::Tag(tag), Some(Ok(store))) => tagged(store, tag, &wanted.filter).await?,
                (Item::Run(run), Some(Ok(store))) => match kept(store, run, &wanted.filter).await? {
                    Some(run) => of_history_runs(store, &[run]).await?,
                    None if may_be_an_agents(run) => {
                        missing.push((index, run.as_str()));
                        continue;
                    }
                    None => return Err(unknown(run)),
                },
                (Item::Run(run), _) if may_be_an_agents(run) => {
                    missing.push((index, run.as_str()));
                    continue;
                }
                (Item::Tag(_) | Item::Run(_), Some(Err(failure))) => return Err(failure.clone()),
                (Item::Run(run), None) => return Err(unknown(run)),
                (Item::Tag(tag), None) => return Err(no_tagged(tag)),
            };
            runs.into_iter().try_for_each(|run| side.add(run))?;
        }
        sides.push(side);
    }
    if let Some(Err(failure)) = store.filter(|_| !missing.is_empty())
        && !matches!(place(session.global.store.as_ref()), Ok(Place::Nowhere))
    {
        // The agent may do without.
        failure.problems.iter().for_each(|it| session.output.message(&format!("warning: {}", it.message)));
    }
    Ok((sides, missing))
}

/// Opens the history to read.
pub(super) async fn open(session: &Session) -> Result<Store, Failure> {
    Store::open(&place(session.global.store.as_ref())?, Access::Read).await
}

/// Whether it can be a whole id.
pub(super) fn may_be_an_agents(reference: &str) -> bool {
    validate::run_id(reference) && reference != "latest"
}

/// The run of the history that is meant; `latest` is that of those that fit the filter.
pub(super) async fn kept(
    store: &mut Store,
    reference: &str,
    filter: &RunFilter,
) -> Result<Option<KeptRun>, Failure> {
    if reference == "latest" && !filter.is_empty() {
        return Ok(store.runs(&RunFilter { limit: Some(1), ..filter.clone() }).await?.pop());
    }
    store.lookup(reference).await
}

async fn tagged(store: &mut Store, tag: &str, filter: &RunFilter) -> Result<Vec<SideRun>, Failure> {
    let tags = [&filter.tags[..], &[tag.to_owned()]].concat();
    let runs = store.runs(&RunFilter { tags, ..filter.clone() }).await?;
    if runs.is_empty() {
        return Err(no_tagged(tag));
    }
    of_history_runs(store, &runs).await
}

fn no_tagged(tag: &str) -> Failure {
    Failure::usage(
        format!("no run of the history has the tag '{tag}' and is of those that are asked for"),
        format!("`sstsctl runs --tag {tag}` lists those that have it; `sstsctl runs tag RUN {tag}` adds one"),
    )
}

/// With their figures, which are read at once.
async fn of_history_runs(store: &mut Store, runs: &[KeptRun]) -> Result<Vec<SideRun>, Failure> {
    let run_ids = runs.iter().map(|run| run.run_id.clone()).collect();
    let filter = RunFilter { run_ids, ..RunFilter::default() };
    let figures = store.figures(&FigureQuery { runs: filter, ..FigureQuery::default() }).await?;
    let mut of_run: HashMap<Arc<str>, Vec<Figure>> = HashMap::new();
    for kept in figures {
        of_run.entry(kept.run_id).or_default().push(kept.figure);
    }
    let to_side = |run: &KeptRun| {
        let figures = of_run.remove(run.run_id.as_str()).unwrap_or_default();
        SideRun::of_history(run, keyed(figures, run.hosts.len() > 1))
    };
    Ok(runs.iter().map(to_side).collect())
}

/// Whether each side is one run, and no file.
fn are_single(items: &[Vec<Item>], sides: &[Side], missing: &[Missing<'_>]) -> bool {
    let of_files = items.iter().flatten().any(|item| matches!(item, Item::Path(_)));
    let runs = |index: usize, side: &Side| {
        side.runs.len() + missing.iter().filter(|(of_side, _)| *of_side == index).count()
    };
    !of_files && sides.iter().enumerate().all(|(index, side)| runs(index, side) == 1)
}

/// An agent that may have the telemetry of these runs. None where nobody listens, unless a private one would have it: it isn't
/// worth the time that starting one takes.
pub(super) async fn agent_of_records(ids: &[&str], session: &mut Session) -> Result<Option<Agent>, Failure> {
    if session.global.local || !session.global.host.is_empty() {
        return session.agent(Fallback::Private).await.map(Some);
    }
    match session.agent(Fallback::Refuse).await {
        Ok(agent) => Ok(Some(agent)),
        Err(failure) if failure.exit == Exit::AgentFailed => {
            if ids.iter().any(|id| local::has_record(id)) {
                session.agent(Fallback::Private).await.map(Some)
            } else {
                Ok(None)
            }
        }
        Err(failure) => Err(failure),
    }
}

async fn ask(
    client: &mut Client,
    sides: &mut [Side],
    missing: &[Missing<'_>],
    prefixes: Option<&[String]>,
    output: &mut Output,
) -> Result<(), Failure> {
    for (index, id) in missing {
        let run = of_agent(client, id).await?;
        if let Some(side) = sides.get_mut(*index) {
            side.add(run)?;
        }
    }
    let Some(prefixes) = prefixes else { return Ok(()) };
    for run in sides.iter_mut().flat_map(|side| &mut side.runs) {
        run.windows = windows(client, run, prefixes, output).await?.by_phase();
    }
    Ok(())
}

/// A run's figures, from its result.
async fn of_agent(client: &mut Client, id: &str) -> Result<SideRun, Failure> {
    match fetch(client, id).await {
        Ok(run) => side_run(&run),
        // Neither does the history.
        Err(failure) if failure.exit == Exit::Usage => Err(unknown(id)),
        Err(failure) => Err(failure),
    }
}

/// What a run's record shows; nothing where it is not kept any more.
async fn windows(
    client: &mut Client,
    run: &SideRun,
    prefixes: &[String],
    output: &mut Output,
) -> Result<Windows, Failure> {
    let is_over = !run.verdict.is_empty();
    match record_windows(client, &run.id, is_over, prefixes).await? {
        Some(windows) => Ok(windows),
        None => {
            output.message(&format!("the telemetry of run {} is not kept, or not any more", run.id));
            Ok(Windows::default())
        }
    }
}

/// The same, of a run by its id.
pub(super) async fn record_windows(
    client: &mut Client,
    id: &str,
    is_over: bool,
    prefixes: &[String],
) -> Result<Option<Windows>, Failure> {
    let mut windows = Windows::new(prefixes.to_vec());
    // The record of a run that has just ended is closed a moment later.
    let source = if is_over { Source::RunToItsEnd(id.to_owned()) } else { Source::Run(id.to_owned()) };
    match fetch_record(client, &source, |item| windows.take(item)).await {
        Ok(_) => Ok(Some(windows)),
        Err(failure) if failure.exit == Exit::Usage => Ok(None),
        Err(failure) => Err(failure),
    }
}
