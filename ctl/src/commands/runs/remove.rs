//! Takes runs out of the history.

use std::io::{IsTerminal as _, stdin};

use super::{Session, open};
use crate::{
    error::{Exit, Failure},
    json::{RemovedOut, RetentionOut},
    store::{Access, KeptRun, Retention, RunFilter, Store},
    text,
};

pub(super) async fn remove(
    named: &[String],
    filter: RunFilter,
    yes: bool,
    dry_run: bool,
    session: &mut Session,
) -> Result<Exit, Failure> {
    if named.is_empty() && filter.is_empty() {
        return Err(Failure::usage(
            "no runs are named",
            "name them, or say which with --older-than, --scenario, --on-host, --verdict, --tag; see `sstsctl runs rm --help`",
        ));
    }
    let mut store = open(session, if dry_run { Access::Read } else { Access::Write }).await?;
    let mut runs = Vec::new();
    if named.is_empty() {
        runs = store.runs(&filter).await?;
    }
    for reference in named {
        let run = store.find(reference).await?;
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    if !dry_run && !runs.is_empty() && !yes {
        confirm(&runs, session).await?;
    }
    if !dry_run {
        store.remove_runs(&runs).await?;
    }
    runs.sort_by_key(|run| run.started_at_ns);
    let out = RemovedOut {
        bytes: runs.iter().map(|run| run.bytes).sum(),
        removed: runs.into_iter().map(|run| run.run_id).collect(),
        dry_run,
        retention: None,
    };
    tell_removed(&out, session)
}

/// Asks on a terminal; elsewhere nobody would answer.
async fn confirm(runs: &[KeptRun], session: &mut Session) -> Result<(), Failure> {
    let what = match runs {
        [one] => format!("run {} of {}", one.run_id, one.scenario),
        several => format!("{} runs", several.len()),
    };
    if !stdin().is_terminal() || !session.output.on_terminal() {
        return Err(Failure::usage(
            format!("{what} would be removed for good, and nobody can be asked"),
            "say so with --yes, or look first with --dry-run",
        ));
    }
    session.output.message(&format!("Remove {what} from the history for good? [y/N]"));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        // No answer is none.
        let _ = stdin().read_line(&mut line);
        line
    });
    let answer = tokio::select! {
        answer = answer => answer.unwrap_or_default(),
        () = session.interrupts.next() => return Err(Failure::interrupted()),
    };
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::usage("nothing was removed", "answer y to remove them")),
    }
}

pub(super) async fn prune(
    mut store: Store,
    retention: Retention,
    save: bool,
    dry_run: bool,
    session: &mut Session,
) -> Result<Exit, Failure> {
    if save && !dry_run {
        store.set_retention(retention).await?;
    }
    let pruned = if dry_run { store.to_prune(retention).await? } else { store.prune(retention).await? };
    let out = RemovedOut {
        retention: Some(RetentionOut::new(retention, &pruned)),
        removed: pruned.run_ids,
        bytes: pruned.bytes,
        dry_run,
    };
    tell_removed(&out, session)
}

fn tell_removed(out: &RemovedOut, session: &mut Session) -> Result<Exit, Failure> {
    if session.wants_json() {
        return session.output.json(out).map(|()| Exit::Pass);
    }
    let count = out.removed.len();
    let would = if out.dry_run { "would be " } else { "" };
    let plural = if count == 1 { "" } else { "s" };
    let mut told = match count {
        0 => format!("no runs {would}removed\n"),
        _ => format!("{count} run{plural} {would}removed, {}\n", text::bytes(out.bytes as f64)),
    };
    if let Some(RetentionOut { kept_runs, kept_bytes, .. }) = out.retention {
        told += &format!("{kept_runs} kept, {}\n", text::bytes(kept_bytes as f64));
    }
    session.output.result(&told).map(|()| Exit::Pass)
}
