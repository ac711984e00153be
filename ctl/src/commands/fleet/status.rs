//! `status` over a fleet.

use super::{AT_ONCE, Session, ask, exit, json, print, title};
use crate::{
    commands::info::Now,
    error::{Exit, Failure},
    fleet::Fleet,
    json::state_name,
    report::{Align, Document, Table},
    text,
};

/// `status`.
pub(super) async fn status(fleet: &Fleet, session: &mut Session) -> Result<Exit, Failure> {
    let mut answers =
        ask(fleet, AT_ONCE, session, |mut client| async move { Now::of(&mut client).await }).await?;
    if session.wants_json() {
        for answer in &mut answers {
            if let Ok(now) = &mut answer.result {
                now.address = answer.member.host.to_string();
            }
        }
        session.output.json(&json(&answers, Now::out))?;
        return Ok(exit(&answers));
    }
    let mut document = Document::default();
    title(&mut document, &answers, "answered");
    let mut table = Table::new(&[
        ("host", Align::Left),
        ("state", Align::Left),
        ("scenario", Align::Left),
        ("phase", Align::Right),
        ("since", Align::Right),
        ("run", Align::Left),
        ("sstsd", Align::Left),
    ]);
    for answer in &answers {
        let name = answer.member.name.clone();
        let Ok(now) = &answer.result else {
            table.row([name, "no answer".into()]);
            continue;
        };
        let run = now.runs.first();
        let others = now.runs.len().saturating_sub(1);
        table.row([
            name,
            state(now),
            run.map(|run| run.scenario.clone()).unwrap_or_default(),
            run.and_then(|run| run.phase_index).map(|index| (index + 1).to_string()).unwrap_or_default(),
            run.map(|run| text::duration(run.duration_ns / 1_000_000)).unwrap_or_default(),
            run.map(|run| {
                if others > 0 { format!("{} and {others} more", run.run_id) } else { run.run_id.clone() }
            })
            .unwrap_or_default(),
            now.host.agent_version.clone(),
        ]);
    }
    document.table(table);
    print(&document, &answers, &mut session.output)?;
    Ok(exit(&answers))
}

fn state(now: &Now) -> String {
    match (&now.halt, now.runs.first()) {
        (Some(_), _) => "HALTED".into(),
        (None, Some(run)) => state_name(run.state()),
        (None, None) if !now.unclean.is_empty() => "NOT CLEAN".into(),
        (None, None) => "idle".into(),
    }
}
