//! `report`, and how every command prints a result.

use std::io::{self, IsTerminal as _};

use ssts_proto::v1::{DescribeResponse, GetRunRequest, Run, RunState};

use super::history;
use crate::{
    cli::ReportFormat,
    compare::{SideRun, Windows},
    connect::{Agent, Client},
    error::{Exit, Failure},
    json::ResultOut,
    output::{Format, Output},
    page::{Observed, to_html},
    record::{Source, fetch as fetch_record},
    report::{
        ONSET_METRICS, Onset, findings, host_document, onsets, run_document, to_csv, to_junit, to_markdown,
        to_pdf, to_terminal, wants_record,
    },
    status,
    store::Place,
};

/// `report RUN`.
pub(super) fn report(
    run_id: String,
    wanted: Option<ReportFormat>,
    store: Option<Place>,
) -> impl AsyncFnOnce(&mut Agent, &mut Output, Format) -> Result<(), Failure> {
    async move |agent, output, format| {
        let run = fetch(&mut agent.client, &run_id).await?;
        history::keep(&run, &[], store.as_ref(), output).await;
        let format = wanted.unwrap_or(match format {
            Format::Text => ReportFormat::Text,
            Format::Json => ReportFormat::Json,
        });
        match format {
            ReportFormat::Text => {
                let onsets = since_when(&mut agent.client, &run).await?;
                output.result(&to_terminal(&run_document(&run, &onsets), output.in_color()))
            }
            ReportFormat::Json => print(&run, Format::Json, output),
            ReportFormat::Md => {
                let onsets = since_when(&mut agent.client, &run).await?;
                output.result(&to_markdown(&run_document(&run, &onsets)))
            }
            ReportFormat::Html => {
                let page = page(&mut agent.client, &run).await?;
                output.result(&page)
            }
            ReportFormat::Junit => {
                let onsets = since_when(&mut agent.client, &run).await?;
                output.result(&to_junit(&run, &findings(&run, &onsets)))
            }
            ReportFormat::Pdf if io::stdout().is_terminal() => Err(Failure::usage(
                "a PDF can't be shown on a terminal",
                "write it into a file: `sstsctl report RUN --format pdf > run.pdf`",
            )),
            ReportFormat::Pdf => {
                let onsets = since_when(&mut agent.client, &run).await?;
                output.bytes(&to_pdf(&run_document(&run, &onsets), &run)?)
            }
            ReportFormat::Csv => output.result(&to_csv(&side_run(&run)?)?),
        }
    }
}

/// The page about a run, with plots where its telemetry was kept.
pub(super) async fn page(client: &mut Client, run: &Run) -> Result<String, Failure> {
    let id = run.summary.as_ref().map(|summary| summary.run_id.clone()).unwrap_or_default();
    let is_over = run.summary.as_ref().is_some_and(|summary| summary.state() == RunState::Finished);
    // The record of a run that has just ended is closed a moment later.
    let source = if is_over { Source::RunToItsEnd(id) } else { Source::Run(id) };
    let mut observed = Observed::default();
    let observed = match fetch_record(client, &source, |item| observed.take(item)).await {
        Ok(_) => Some(observed),
        // It has made room for newer ones, or is from before records were kept.
        Err(failure) if failure.exit == Exit::Usage => None,
        Err(failure) => return Err(failure),
    };
    let onsets = since_when(client, run).await?;
    let mut document = run_document(run, &onsets);
    if observed.is_none() {
        document.line("Its telemetry is not kept, or not any more: there are no plots.");
    }
    let description =
        DescribeResponse { host: run.host.clone(), limits: run.limits, ..DescribeResponse::default() };
    let scenario = run.scenario.as_ref().map(|scenario| format!("{scenario:#?}")).unwrap_or_default();
    Ok(to_html(&document, observed.as_ref(), &host_document(&description), &scenario))
}

/// Since when loads were missed; the record is read only where some were.
async fn since_when(client: &mut Client, run: &Run) -> Result<Vec<Onset>, Failure> {
    if !wants_record(run) {
        return Ok(Vec::new());
    }
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

/// Everything about a run.
pub(super) async fn fetch(client: &mut Client, run_id: &str) -> Result<Run, Failure> {
    let response = client.get_run(GetRunRequest { run_id: run_id.to_owned() }).await;
    response.map_err(|status| status::failure(&status))?.into_inner().run.ok_or_else(|| {
        Failure::agent("the agent's answer holds no run", "bring sstsctl and sstsd to the same version")
    })
}

/// Prints a result.
pub(super) fn print(run: &Run, format: Format, output: &mut Output) -> Result<(), Failure> {
    match format {
        Format::Json => output.json(&ResultOut::from(run)),
        Format::Text => output.result(&to_terminal(&run_document(run, &[]), output.in_color())),
    }
}
