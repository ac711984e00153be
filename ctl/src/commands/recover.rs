//! `recover`: what runs have left, looked at again.

use ssts_proto::v1::{RecoverRequest, RecoverResponse};

use super::Session;
use crate::{
    connect::{Agent, Fallback},
    error::{Exit, Failure},
    json::RecoveredOut,
    output::{Format, Output},
    report::{Document, Tone, receipt_section, to_terminal},
    status,
};

/// `recover [--force --reason TEXT]`. Ends with 5 while something still keeps runs from starting.
pub(super) async fn recover(
    force: bool,
    reason: Option<String>,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let mut blocked = false;
    let told = &mut blocked;
    let work = async move |agent: &mut Agent, output: &mut Output, format: Format| {
        let request = RecoverRequest { force, reason: reason.unwrap_or_default() };
        let response = agent.client.recover(request).await.map_err(|status| status::failure(&status))?;
        let response = response.into_inner();
        *told = response.blocked;
        match format {
            Format::Json => output.json(&RecoveredOut::from(&response)),
            Format::Text => output.result(&to_terminal(&document(&response), output.in_color())),
        }
    };
    let exit = session.with_agent(Fallback::Refuse, work).await?;
    Ok(if blocked { Exit::AgentFailed } else { exit })
}

fn document(response: &RecoverResponse) -> Document {
    let mut document = Document::default();
    let (title, tone) = match (response.blocked, response.receipts.is_empty()) {
        (true, _) => ("the host is not seen to be clean, and nothing starts", Tone::Bad),
        (false, true) => ("nothing is left to be looked at", Tone::Good),
        (false, false) => ("runs may start again", Tone::Good),
    };
    document.title(title, tone);
    for of_run in &response.receipts {
        let receipt = of_run.receipt.clone().unwrap_or_default();
        let whose = if of_run.run_id.is_empty() { "an earlier run" } else { &of_run.run_id };
        receipt_section(&format!("After {whose}"), &receipt, &mut document);
    }
    document
}
