//! `info`, `status`: what a host is, and does.

use ssts_proto::v1::{
    DescribeRequest, DescribeResponse, GetRunRequest, GuardOrigin, GuardState, GuardStatus, HaltState, Host,
    RunReceipt, RunSummary,
};

use super::follow::current_runs;
use crate::{
    connect::{Agent, Client},
    error::Failure,
    json::{self, HaltOut, InfoOut, StatusOut},
    output::{Format, Output},
    report::{Document, Tone, guards_table, host_document, receipt_words, to_terminal},
    status as grpc, text,
};

/// `info`.
pub(super) async fn info(agent: &mut Agent, output: &mut Output, format: Format) -> Result<(), Failure> {
    let description = describe(&mut agent.client).await?;
    match format {
        Format::Json => output.json(&InfoOut::from(&description)),
        Format::Text => output.result(&to_terminal(&host_document(&description), output.in_color())),
    }
}

/// What an agent is doing.
#[derive(Debug)]
pub(super) struct Now {
    pub(super) host: Host,
    /// Where it listens.
    pub(super) address: String,
    pub(super) halt: Option<HaltState>,
    pub(super) runs: Vec<RunSummary>,
    pub(super) unclean: Vec<RunReceipt>,
    guards: Vec<GuardStatus>,
}

impl Now {
    /// As an agent tells it.
    pub(super) async fn of(client: &mut Client) -> Result<Self, Failure> {
        let DescribeResponse { host, halt, unclean, mut guards, .. } = describe(client).await?;
        let runs = current_runs(client).await?;
        // Of several runs each has guards of its own: their reports have them.
        if let [run] = &runs[..] {
            // It may be over by now.
            let found = client.get_run(GetRunRequest { run_id: run.run_id.clone() }).await;
            let of_run = found.ok().and_then(|found| found.into_inner().run).map(|run| run.guards);
            guards = of_run.filter(|of_run| !of_run.is_empty()).unwrap_or(guards);
        }
        let host = host.unwrap_or_default();
        Ok(Self { host, address: String::new(), halt, runs, unclean, guards })
    }

    /// As `--output json` has it.
    pub(super) fn out(&self) -> StatusOut {
        StatusOut {
            host: self.host.hostname.clone(),
            address: self.address.clone(),
            agent_version: self.host.agent_version.clone(),
            halted: self.halt.is_some(),
            halt: self.halt.as_ref().map(HaltOut::from),
            run: self.runs.first().map(Into::into),
            runs: self.runs.iter().map(Into::into).collect(),
            unclean: self.unclean.iter().map(Into::into).collect(),
            guards: self.guards.iter().map(Into::into).collect(),
        }
    }
}

/// `status`.
pub(super) async fn status(agent: &mut Agent, output: &mut Output, format: Format) -> Result<(), Failure> {
    let mut now = Now::of(&mut agent.client).await?;
    now.address = agent.host.to_string();
    if format == Format::Json {
        return output.json(&now.out());
    }
    let Now { host, halt, runs, unclean, guards, .. } = now;
    let mut document = Document::default();
    let (state, tone) = match (&halt, &runs[..]) {
        (Some(_), _) => ("halted".to_owned(), Tone::Bad),
        (None, [run]) => (json::state_name(run.state()), Tone::Good),
        (None, [_, ..]) => (format!("{} runs", runs.len()), Tone::Good),
        (None, []) if !unclean.is_empty() => ("not clean".to_owned(), Tone::Bad),
        (None, []) => ("idle".to_owned(), Tone::Plain),
    };
    document.title(&format!("{} {state}", host.hostname), tone);
    document.fact("agent", format!("sstsd {} on {}", host.agent_version, agent.host));
    if let Some(halt) = &halt {
        document.fact("halted", format!("since {} by {}", json::rfc3339(halt.since_unix_ns), halt.by));
        document.fact("reason", &halt.reason);
        let quiet_after = halt.quiet_after_ns.map(|ns| text::nanoseconds(ns as f64));
        document.fact("quiet after", quiet_after.unwrap_or_default());
        document.fact("mend", "when it is safe, lift it with `sstsctl halt --clear`");
    }
    for of_run in &unclean {
        let receipt = of_run.receipt.clone().unwrap_or_default();
        let whose = if of_run.run_id.is_empty() { "an earlier run" } else { &of_run.run_id };
        document.fact("not clean", format!("{whose}: {}", receipt_words(&receipt)));
    }
    if !unclean.is_empty() {
        document.fact("mend", "nothing starts until it was looked at again: `sstsctl recover`");
    }
    let is_one = runs.len() == 1;
    for run in &runs {
        document.fact("run", &run.run_id);
        document.fact("scenario", &run.scenario);
        if !is_one {
            document.fact("state", json::state_name(run.state()));
        }
        document.fact("since", text::duration(run.duration_ns / 1_000_000));
        document.fact("phase", run.phase_index.map(|index| (index + 1).to_string()).unwrap_or_default());
    }
    let close: Vec<_> = guards.into_iter().filter(is_worth_a_line).collect();
    document.section("Guards", guards_table(&close));
    output.result(&to_terminal(&document, output.in_color()))
}

/// Of a status: what has tripped or is about to, what has derated the run, and what somebody asked for.
fn is_worth_a_line(guard: &GuardStatus) -> bool {
    let is_restless = matches!(guard.state(), GuardState::Tripped | GuardState::Pending);
    is_restless || guard.trips > 0 || guard.load_percent.is_some() || guard.origin() != GuardOrigin::Shipped
}

pub(super) async fn describe(client: &mut Client) -> Result<DescribeResponse, Failure> {
    let response = client.describe(DescribeRequest {}).await;
    Ok(response.map_err(|status| grpc::failure(&status))?.into_inner())
}
