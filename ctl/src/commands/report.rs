//! `report`, and how every command prints a result.

use ssts_proto::v1::{GetRunRequest, Run};

use crate::{
    cli::ReportFormat,
    connect::{Agent, Client},
    error::Failure,
    json::ResultOut,
    output::{Format, Output},
    report::{run_document, to_markdown, to_terminal},
    status,
};

/// `report RUN`.
pub(super) fn report(
    run_id: String,
    wanted: Option<ReportFormat>,
) -> impl AsyncFnOnce(&mut Agent, &mut Output, Format) -> Result<(), Failure> {
    async move |agent, output, format| {
        let run = fetch(&mut agent.client, &run_id).await?;
        match wanted {
            None => print(&run, format, output),
            Some(ReportFormat::Text) => print(&run, Format::Text, output),
            Some(ReportFormat::Json) => print(&run, Format::Json, output),
            Some(ReportFormat::Md) => output.result(&to_markdown(&run_document(&run))),
        }
    }
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
        Format::Text => output.result(&to_terminal(&run_document(run), output.in_color())),
    }
}
