//! `runs`: lists the history, and works with it.

mod edit;
mod list;
mod remove;
mod show;
mod transfer;

pub(super) use self::show::kept_document;
use super::{Session, history::place};
use crate::{
    cli::{Runs, RunsCommand},
    error::{Exit, Failure},
    json,
    store::{Access, KeptRun, Store},
};

/// `runs …`.
pub(super) async fn runs(asked: Runs, session: &mut Session) -> Result<Exit, Failure> {
    let Runs { command, which, limit, agent } = asked;
    match command {
        None => list::list(&which, limit, agent, session).await,
        Some(RunsCommand::Show { run }) => show::show(&run, session).await,
        Some(RunsCommand::Tag { run, tags, remove }) => edit::tag(&run, &tags, remove, session).await,
        Some(RunsCommand::Baseline { run, name, remove }) => edit::baseline(run, name, remove, session).await,
        Some(RunsCommand::Rm { runs, older_than, which, yes, dry_run }) => {
            let mut filter = which.filter();
            filter.until_ns = filter.until_ns.or(older_than);
            remove::remove(&runs, filter, yes, dry_run, session).await
        }
        Some(RunsCommand::Prune { keep_for, keep_size, save, dry_run }) => {
            let mut store = open(session, Access::Write).await?;
            let mut retention = store.retention().await?;
            retention.keep_for = keep_for.map_or(retention.keep_for, |bound| bound.0);
            retention.keep_bytes = keep_size.map_or(retention.keep_bytes, |bound| bound.0);
            remove::prune(store, retention, save, dry_run, session).await
        }
        Some(RunsCommand::Export { file, which }) => transfer::export(&file, &which, session).await,
        Some(RunsCommand::Import { file }) => transfer::import(&file, session).await,
    }
}

async fn open(session: &Session, access: Access) -> Result<Store, Failure> {
    Store::open(&place(session.global.store.as_ref())?, access).await
}

fn whole_seconds(unix_ns: i64) -> String {
    json::rfc3339(unix_ns / 1_000_000_000 * 1_000_000_000)
}

fn result_line(run: &KeptRun) -> String {
    match run.cause_message.as_ref().or(run.cause.as_ref()) {
        Some(cause) => format!("{}: {cause}", run.verdict),
        None => run.verdict.clone(),
    }
}
