//! `report`, and how every command prints a result.

use std::path::Path;

use ssts_proto::v1::{DescribeResponse, GetRunRequest, Run, RunState};

use super::{
    Session,
    form::{put, put_json, put_pdf},
    history::{self, place},
    runs::kept_document,
    sides::{agent_of_records, may_be_an_agents, open, record_windows},
};
use crate::{
    cli::{ReportForm, ReportFormat},
    compare::{SideRun, Windows, keyed},
    connect::{Agent, Client, Fallback},
    error::{Exit, Failure},
    json::{ResultOut, resolved},
    output::{Format, Output},
    page::{Observed, to_html, to_plotted_html},
    record::{Source, fetch as fetch_record},
    report::{
        Document, ONSET_METRICS, Onset, findings, host_document, onsets, run_document, to_csv, to_junit,
        to_markdown, to_pdf, to_terminal, wants_record,
    },
    status,
    store::{FigureQuery, KeptRun, Place, RunFilter, Store, unknown},
    trends,
};

/// What there is of a run.
enum Known {
    /// All of it.
    Whole(Box<Run>),
    /// Its result, which was imported, or kept by an older program.
    Result(Box<KeptResult>),
}

struct KeptResult {
    /// As `--output json` printed it.
    json: serde_json::Value,
    figures: SideRun,
    document: Document,
}

/// `report RUN`.
pub(super) async fn report(
    reference: &str,
    form: &ReportForm,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let format = form.format.unwrap_or(match session.global.output {
        Format::Text => ReportFormat::Text,
        Format::Json => ReportFormat::Json,
    });
    let to = form.to.as_deref();
    let (known, mut agent) = known(reference, session).await?;
    let run = match &known {
        Known::Whole(run) => run,
        Known::Result(result) => {
            return put_result(result, format, to, &mut session.output).map(|()| Exit::Pass);
        }
    };
    if agent.is_none() && (format == ReportFormat::Html || wants_record(run)) {
        let id = run.summary.as_ref().map(|summary| summary.run_id.clone()).unwrap_or_default();
        agent = agent_of_records(&[&id], session).await?;
    }
    let Session { output, interrupts, .. } = session;
    let written = tokio::select! {
        written = put_run(run, agent.as_mut().map(|agent| &mut agent.client), format, to, output) => written,
        () = interrupts.next() => Err(Failure::interrupted()),
    };
    if let Some(agent) = agent {
        agent.close().await;
    }
    written.map(|()| Exit::Pass)
}

/// What the history has of the run; what an agent has where that is nothing, or not all. With the agent, if one was asked.
async fn known(reference: &str, session: &mut Session) -> Result<(Known, Option<Agent>), Failure> {
    let of_history = match open(session).await {
        Ok(mut store) => match store.lookup(reference).await? {
            Some(run) => Some((kept(&mut store, &run).await?, run)),
            None => None,
        },
        Err(failure) if !may_be_an_agents(reference) => return Err(failure),
        Err(failure) => {
            if !matches!(place(session.global.store.as_ref()), Ok(Place::Nowhere)) {
                let told = failure.problems.first().map(|it| it.message.as_str()).unwrap_or_default();
                session.output.message(&format!("warning: {told}"));
            }
            None
        }
    };
    if let Some((kept, run)) = of_history {
        // What was left on a host may have been seen to by now; what was clean stays so.
        if run.receipt.as_deref() == Some("clean") && matches!(kept, Known::Whole(_)) {
            return Ok((kept, None));
        }
        let mut agent = agent_of_records(&[&run.run_id], session).await?;
        if let Some(client) = agent.as_mut().map(|agent| &mut agent.client)
            && let Ok(run) = fetch(client, &run.run_id).await
        {
            return Ok((Known::Whole(Box::new(run)), agent));
        }
        if let Some(agent) = agent {
            agent.close().await;
        }
        return Ok((kept, None));
    }
    if !may_be_an_agents(reference) {
        return Err(unknown(reference));
    }
    let mut agent = session.agent(Fallback::Private).await?;
    let Session { global, output, interrupts } = session;
    let fetched = tokio::select! {
        fetched = fetch(&mut agent.client, reference) => fetched,
        () = interrupts.next() => Err(Failure::interrupted()),
    };
    match fetched {
        Ok(run) => {
            history::keep(&run, &[], global.store.as_ref(), output).await;
            Ok((Known::Whole(Box::new(run)), Some(agent)))
        }
        Err(failure) => {
            agent.close().await;
            Err(failure)
        }
    }
}

async fn kept(store: &mut Store, run: &KeptRun) -> Result<Known, Failure> {
    if let Some(message) = store.message(run).await? {
        return Ok(Known::Whole(Box::new(message)));
    }
    let json = store.result(run).await?;
    let query = FigureQuery { runs: RunFilter::run(&run.run_id), ..FigureQuery::default() };
    kept_result(run, &json, &store.figures(&query).await?).map(|result| Known::Result(Box::new(result)))
}

fn kept_result(
    run: &KeptRun,
    json: &str,
    figures: &[crate::store::KeptFigure],
) -> Result<KeptResult, Failure> {
    let json = serde_json::from_str(json)
        .map_err(|error| Failure::new(Exit::Internal, format!("the kept result is no JSON: {error}"), ""))?;
    let keyed = keyed(figures.iter().map(|kept| kept.figure.clone()), run.hosts.len() > 1);
    Ok(KeptResult { json, figures: SideRun::of_history(run, keyed), document: kept_document(run, figures) })
}

/// In the forms that need no more than the result.
fn put_result(
    result: &KeptResult,
    format: ReportFormat,
    to: Option<&Path>,
    output: &mut Output,
) -> Result<(), Failure> {
    let document = &result.document;
    match format {
        ReportFormat::Text => {
            let in_color = output.in_color() && to.is_none();
            put(to_terminal(document, in_color).as_bytes(), to, output)
        }
        ReportFormat::Md => put(to_markdown(document).as_bytes(), to, output),
        ReportFormat::Json => put_json(&result.json, to, output),
        ReportFormat::Html => put(to_plotted_html(document, &[]).as_bytes(), to, output),
        ReportFormat::Csv => put(to_csv(&result.figures)?.as_bytes(), to, output),
        ReportFormat::Pdf => put_pdf("report RUN", || to_pdf(document, &Run::default()), to, output),
        ReportFormat::Junit => Err(Failure::usage(
            "of this run the history has the result alone: it was imported, or kept by an older sstsctl",
            "use another format; or ask the agent that it was of with --host, as long as it remembers the run",
        )),
    }
}

async fn put_run(
    run: &Run,
    mut client: Option<&mut Client>,
    format: ReportFormat,
    to: Option<&Path>,
    output: &mut Output,
) -> Result<(), Failure> {
    match format {
        ReportFormat::Text => {
            let onsets = since_when(client, run).await?;
            let in_color = output.in_color() && to.is_none();
            put(to_terminal(&run_document(run, &onsets), in_color).as_bytes(), to, output)
        }
        ReportFormat::Json => put_json(&ResultOut::from(run), to, output),
        ReportFormat::Md => {
            let onsets = since_when(client, run).await?;
            put(to_markdown(&run_document(run, &onsets)).as_bytes(), to, output)
        }
        ReportFormat::Html => {
            let page = page(client.as_deref_mut(), run).await?;
            put(page.as_bytes(), to, output)
        }
        ReportFormat::Junit => {
            let onsets = since_when(client, run).await?;
            put(to_junit(run, &findings(run, &onsets)).as_bytes(), to, output)
        }
        ReportFormat::Pdf => {
            let onsets = since_when(client, run).await?;
            put_pdf("report RUN", || to_pdf(&run_document(run, &onsets), run), to, output)
        }
        ReportFormat::Csv => put(to_csv(&side_run(run)?)?.as_bytes(), to, output),
    }
}

/// The page about a run, with plots where its telemetry was kept.
pub(super) async fn page(mut client: Option<&mut Client>, run: &Run) -> Result<String, Failure> {
    let id = run.summary.as_ref().map(|summary| summary.run_id.clone()).unwrap_or_default();
    let is_over = run.summary.as_ref().is_some_and(|summary| summary.state() == RunState::Finished);
    // The record of a run that has just ended is closed a moment later.
    let source = if is_over { Source::RunToItsEnd(id) } else { Source::Run(id) };
    let mut observed = Observed::default();
    let observed = match client.as_deref_mut() {
        None => None,
        Some(client) => match fetch_record(client, &source, |item| observed.take(item)).await {
            Ok(_) => Some(observed),
            // It has made room for newer ones, or is from before records were kept.
            Err(failure) if failure.exit == Exit::Usage => None,
            Err(failure) => return Err(failure),
        },
    };
    let onsets = since_when(client, run).await?;
    let mut document = run_document(run, &onsets);
    if observed.is_none() {
        document.line("Its telemetry is not kept, or not any more: there are no plots.");
    }
    let description =
        DescribeResponse { host: run.host.clone(), limits: run.limits, ..DescribeResponse::default() };
    let scenario =
        run.scenario.as_ref().and_then(resolved).map(|json| format!("{json:#}")).unwrap_or_default();
    Ok(to_html(&document, observed.as_ref(), &host_document(&description), &scenario))
}

/// Since when loads were missed; the record is read only where some were.
async fn since_when(client: Option<&mut Client>, run: &Run) -> Result<Vec<Onset>, Failure> {
    let Some(client) = client.filter(|_| wants_record(run)) else { return Ok(Vec::new()) };
    let id = run.summary.as_ref().map(|summary| summary.run_id.clone()).unwrap_or_default();
    let mut windows = Windows::new(ONSET_METRICS.map(str::to_owned).to_vec());
    let is_over = run.summary.as_ref().is_some_and(|summary| summary.state() == RunState::Finished);
    let source = if is_over { Source::RunToItsEnd(id) } else { Source::Run(id) };
    match fetch_record(client, &source, |item| windows.take(item)).await {
        Ok(_) => Ok(onsets(run, &windows)),
        // It is not kept any more.
        Err(failure) if failure.exit == Exit::Usage => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

/// The figures of a result.
pub(super) fn side_run(run: &Run) -> Result<SideRun, Failure> {
    let result = serde_json::to_value(ResultOut::from(run))
        .map_err(|error| Failure::new(Exit::Internal, format!("can't read a result: {error}"), ""))?;
    SideRun::of_result(&result, "the agent's answer")
}

/// Everything about a run; with its trends judged, once it is over.
pub(crate) async fn fetch(client: &mut Client, run_id: &str) -> Result<Run, Failure> {
    let response = client.get_run(GetRunRequest { run_id: run_id.to_owned() }).await;
    let run = response.map_err(|status| status::failure(&status))?.into_inner().run;
    let mut run = run.ok_or_else(|| {
        Failure::agent("the agent's answer holds no run", "bring sstsctl and sstsd to the same version")
    })?;
    let is_over = run.summary.as_ref().is_some_and(|summary| summary.state() == RunState::Finished);
    if is_over && trends::are_due(&run) {
        let windows = record_windows(client, run_id, is_over, &trends::metrics(&run)).await?;
        trends::judge(&mut run, windows.as_ref());
    }
    Ok(run)
}

/// Prints a result.
pub(super) fn print(run: &Run, format: Format, output: &mut Output) -> Result<(), Failure> {
    match format {
        Format::Json => output.json(&ResultOut::from(run)),
        Format::Text => output.result(&to_terminal(&run_document(run, &[]), output.in_color())),
    }
}
