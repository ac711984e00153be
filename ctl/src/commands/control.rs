//! `stop`, `pause`, `resume`, `freeze`, `halt`.

use ssts_proto::v1::{
    FreezeRecordRequest, FreezeRecordResponse, HaltRequest, PauseRequest, ReceiptState, ResumeRequest,
    RunSummary, StopRequest, StopResponse,
};

use super::follow::the_run;
use crate::{
    connect::Agent,
    error::Failure,
    json::{CommandedOut, HaltOut, HaltedOut},
    output::{Format, Output},
    report::{receipt_words, verdict_line},
    status, text,
};

/// `stop [RUN]`.
pub(super) fn stop(
    run: Option<String>,
) -> impl AsyncFnOnce(&mut Agent, &mut Output, Format) -> Result<(), Failure> {
    async move |agent, output, format| {
        let run_id = chosen(run, agent).await?;
        let request = StopRequest { run_id, reason: "sstsctl stop".into() };
        let response = agent.client.stop(request).await.map_err(|status| status::failure(&status))?;
        stopped(&response.into_inner(), output, format)
    }
}

/// What a stop came to, and what it left.
fn stopped(response: &StopResponse, output: &mut Output, format: Format) -> Result<(), Failure> {
    let run = response.run.clone().unwrap_or_default();
    if format == Format::Json {
        return output.json(&CommandedOut {
            quiet_after_s: response.quiet_after_ns.map(|ns| ns as f64 / 1e9),
            receipt: response.receipt.as_ref().map(Into::into),
            ..CommandedOut::new(&run)
        });
    }
    let receipt = response.receipt.as_ref();
    let clean = match receipt.map(|receipt| (receipt.state(), receipt_words(receipt))) {
        None | Some((ReceiptState::Unspecified, _)) => String::new(),
        Some((ReceiptState::Clean, _)) => ", and the host is clean".into(),
        Some((_, words)) => {
            format!(", but the host is not clean: {words}; `sstsctl report {}` says more", run.run_id)
        }
    };
    let line = format!("run {} {}{}{clean}", run.run_id, verdict_line(&run), quiet(response.quiet_after_ns));
    output.result(&format!("{}\n", text::printable(&line)))
}

/// `pause [RUN]`.
pub(super) fn pause(
    run: Option<String>,
) -> impl AsyncFnOnce(&mut Agent, &mut Output, Format) -> Result<(), Failure> {
    async move |agent, output, format| {
        let run_id = chosen(run, agent).await?;
        let response =
            agent.client.pause(PauseRequest { run_id }).await.map_err(|status| status::failure(&status))?;
        print(&response.into_inner().run.unwrap_or_default(), output, format)
    }
}

/// `resume [RUN]`.
pub(super) fn resume(
    run: Option<String>,
) -> impl AsyncFnOnce(&mut Agent, &mut Output, Format) -> Result<(), Failure> {
    async move |agent, output, format| {
        let run_id = chosen(run, agent).await?;
        let response =
            agent.client.resume(ResumeRequest { run_id }).await.map_err(|status| status::failure(&status))?;
        print(&response.into_inner().run.unwrap_or_default(), output, format)
    }
}

/// `freeze [RUN]`.
pub(super) fn freeze(
    run: Option<String>,
    reason: Option<String>,
) -> impl AsyncFnOnce(&mut Agent, &mut Output, Format) -> Result<(), Failure> {
    async move |agent, output, format| {
        let run_id = chosen(run, agent).await?;
        let request = FreezeRecordRequest { run_id, reason: reason.unwrap_or_default() };
        let response =
            agent.client.freeze_record(request).await.map_err(|status| status::failure(&status))?;
        frozen(&response.into_inner(), output, format)
    }
}

/// How much was put into the record, which may be less than there was.
fn frozen(response: &FreezeRecordResponse, output: &mut Output, format: Format) -> Result<(), Failure> {
    let run = response.run.clone().unwrap_or_default();
    // An agent of an earlier version doesn't say.
    let ns = Some(response.window_ns).filter(|ns| *ns > 0);
    if format == Format::Json {
        let frozen_s = ns.map(|ns| ns as f64 / 1e9);
        return output.json(&CommandedOut { frozen_s, ..CommandedOut::new(&run) });
    }
    let window = ns.map(|ns| format!("; its record has the latest {}", text::nanoseconds(ns as f64)));
    let shortened = if response.shortened { ", and no room for more" } else { "" };
    let line = format!("run {} {}{}{shortened}", run.run_id, verdict_line(&run), window.unwrap_or_default());
    output.result(&format!("{}\n", text::printable(&line)))
}

/// `halt [--reason TEXT] [--clear]`.
pub(super) fn halt(
    reason: Option<String>,
    clear: bool,
) -> impl AsyncFnOnce(&mut Agent, &mut Output, Format) -> Result<(), Failure> {
    async move |agent, output, format| {
        let request = HaltRequest { reason: reason.unwrap_or_default(), clear };
        let response =
            agent.client.halt(request).await.map_err(|status| status::failure(&status))?.into_inner();
        if format == Format::Json {
            return output.json(&HaltedOut {
                halted: response.halt.is_some(),
                halt: response.halt.as_ref().map(HaltOut::from),
                quiet_after_s: response.quiet_after_ns.map(|ns| ns as f64 / 1e9),
            });
        }
        match response.halt {
            Some(_) => output.result(&format!(
                "halted{}; nothing starts until `sstsctl halt --clear`\n",
                quiet(response.quiet_after_ns)
            )),
            None => output.result("the halt is lifted\n"),
        }
    }
}

/// The run that was named, or the only one.
async fn chosen(run: Option<String>, agent: &mut Agent) -> Result<String, Failure> {
    if let Some(run_id) = run {
        return Ok(run_id);
    }
    match the_run(&mut agent.client).await? {
        Some(run_id) => Ok(run_id),
        None => Err(Failure::usage("no run goes on", "name one: `sstsctl runs` lists them")),
    }
}

fn print(run: &RunSummary, output: &mut Output, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output.json(&CommandedOut::new(run)),
        Format::Text => {
            let line = format!("run {} {}", run.run_id, verdict_line(run));
            output.result(&format!("{}\n", text::printable(&line)))
        }
    }
}

fn quiet(after_ns: Option<u64>) -> String {
    after_ns.map(|ns| format!(", quiet after {}", text::nanoseconds(ns as f64))).unwrap_or_default()
}
