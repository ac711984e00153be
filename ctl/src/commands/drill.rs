//! `drill`: puts faults to an agent and tells what came of each.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ssts_proto::v1::{DescribeRequest, Drill, DrillOutcome, DrilledFault, NoteDrillRequest};

use super::Session;
use crate::{
    connect::{Agent, Fallback},
    drill::{self, Fault},
    error::{Exit, Failure},
    json::DrillOut,
    report::{Align, Document, Table, Tone, to_terminal},
    status, text,
};

pub(super) async fn drill(only: Vec<Fault>, halt: bool, session: &mut Session) -> Result<Exit, Failure> {
    let whole = only.is_empty();
    let mut faults = if whole { Fault::ALL.to_vec() } else { only };
    if halt && !faults.contains(&Fault::HostHalt) {
        faults.push(Fault::HostHalt);
    }
    faults.sort_unstable();
    faults.dedup();
    if faults.contains(&Fault::HostHalt) && !halt {
        return Err(Failure::usage("host-halt halts the host's own daemon", "say so with --halt"));
    }
    let mut agent = of_the_host(session).await?;
    let began = Instant::now();
    let mut told = Vec::new();
    for fault in faults {
        let progress = !session.global.quiet && session.output.on_terminal();
        if progress {
            session.output.message(&format!("drilling {}", fault.name()));
        }
        let Session { global, interrupts, .. } = session;
        // Private agents are killed when what is done with them is dropped.
        let one = tokio::select! {
            one = drill::put(fault, agent.as_mut(), global.verbose) => one,
            () = interrupts.next() => return Err(Failure::interrupted()),
        };
        told.push(one);
    }
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut found = Drill {
        at_unix_ns: i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX),
        outcome: drill::outcome(&told).into(),
        faults: told,
        ..Drill::default()
    };
    let noted = note(agent, &mut found, whole, session).await;
    print(&found, began.elapsed(), noted, session)?;
    Ok(if found.outcome() == DrillOutcome::Pass { Exit::Pass } else { Exit::ThresholdFailed })
}

/// The host's own daemon, where one listens; a private one is no host's.
async fn of_the_host(session: &mut Session) -> Result<Option<Agent>, Failure> {
    if session.global.local {
        return Ok(None);
    }
    let is_named = !session.global.host.is_empty();
    match session.agent(Fallback::Refuse).await {
        Ok(agent) => Ok(Some(agent)),
        // Whoever named it wants it; and an interruption is none of its doing.
        Err(failure) if is_named || failure.exit == Exit::Interrupted => Err(failure),
        Err(_) => Ok(None),
    }
}

/// Hands it to the host's daemon to keep. One that left faults out on purpose replaces none that was whole, unless it failed.
async fn note(agent: Option<Agent>, found: &mut Drill, whole: bool, session: &mut Session) -> bool {
    let Some(mut agent) = agent else { return false };
    if let Ok(described) = agent.client.describe(DescribeRequest {}).await {
        found.agent_version = described.into_inner().host.unwrap_or_default().agent_version;
    }
    if !whole && found.outcome() != DrillOutcome::Fail {
        return false;
    }
    let noted = agent.client.note_drill(NoteDrillRequest { drill: Some(found.clone()) }).await;
    if let Err(status) = &noted {
        session.output.failure(&status::failure(status));
    }
    noted.is_ok()
}

fn print(found: &Drill, took: Duration, noted: bool, session: &mut Session) -> Result<(), Failure> {
    if session.wants_json() {
        return session.output.json(&DrillOut::new(found, took, noted));
    }
    let document = document(found, took, noted);
    let in_color = session.output.in_color();
    session.output.result(&to_terminal(&document, in_color))
}

fn document(found: &Drill, took: Duration, noted: bool) -> Document {
    let mut document = Document::default();
    let tone = match found.outcome() {
        DrillOutcome::Pass => Tone::Good,
        DrillOutcome::Fail | DrillOutcome::Unspecified => Tone::Bad,
        DrillOutcome::Skipped => Tone::Caution,
    };
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let count = found.faults.len();
    document.title(
        &format!("drill {}, {count} faults in {}", name(found.outcome()), text::duration(took_ms)),
        tone,
    );
    let mut table = Table::new(&[
        ("fault", Align::Left),
        ("noticed after", Align::Right),
        ("quiet after", Align::Right),
        ("receipt", Align::Left),
        ("record", Align::Left),
        ("outcome", Align::Left),
    ]);
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| text::nanoseconds(ns as f64));
    for fault in &found.faults {
        let DrilledFault { noticed_after_ns, quiet_after_ns, receipt, record, .. } = fault;
        table.row([
            fault.name.clone(),
            time(*noticed_after_ns),
            time(*quiet_after_ns),
            receipt.clone(),
            record.clone(),
            name(fault.outcome()),
        ]);
    }
    document.table(table);
    let unproven = found.faults.iter().filter(|fault| fault.outcome() != DrillOutcome::Pass);
    for fault in unproven {
        document.line(&format!("{} {}: {}", fault.name, name(fault.outcome()), fault.reason));
    }
    if !noted {
        document.line("no daemon of the host keeps this: it has none, or not all faults were drilled");
    }
    document
}

fn name(outcome: DrillOutcome) -> String {
    crate::json::plain(outcome.as_str_name(), "DRILL_OUTCOME_")
}
