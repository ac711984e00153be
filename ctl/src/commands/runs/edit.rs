//! Tags and baselines.

use super::{Session, open, whole_seconds};
use crate::{
    error::{Exit, Failure},
    json::{BaselinesOut, TaggedOut},
    report::{Align, Document, Table, to_terminal},
    store::Access,
};

pub(super) async fn tag(
    reference: &str,
    tags: &[String],
    remove: bool,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let mut store = open(session, Access::Write).await?;
    let run = store.find(reference).await?;
    if remove {
        store.untag(&run, tags).await?;
    } else {
        store.tag(&run, tags).await?;
    }
    let run = store.find(&run.run_id).await?;
    if session.wants_json() {
        session.output.json(&TaggedOut { run: (&run).into() })?;
    } else {
        let tags = if run.tags.is_empty() { "no tags".to_owned() } else { run.tags.join(", ") };
        session.output.result(&format!("{}: {tags}\n", run.run_id))?;
    }
    Ok(Exit::Pass)
}

pub(super) async fn baseline(
    run: Option<String>,
    name: Option<String>,
    removed: Option<String>,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let is_question = run.is_none() && removed.is_none();
    let mut store = open(session, if is_question { Access::Read } else { Access::Write }).await?;
    if let Some(name) = removed {
        store.remove_baseline(&name).await?;
    }
    if let (Some(run), Some(name)) = (run, name) {
        let run = store.find(&run).await?;
        store.set_baseline(&run, &name).await?;
    }
    let baselines = store.baselines().await?;
    if session.wants_json() {
        session.output.json(&BaselinesOut { baselines: baselines.iter().map(Into::into).collect() })?;
        return Ok(Exit::Pass);
    }
    if baselines.is_empty() {
        return session.output.result("no baselines\n").map(|()| Exit::Pass);
    }
    let mut table = Table::new(&[
        ("baseline", Align::Left),
        ("run", Align::Left),
        ("scenario", Align::Left),
        ("set", Align::Left),
    ]);
    for one in baselines {
        table.row([one.name, one.run_id, one.scenario, whole_seconds(one.set_at_ns)]);
    }
    let mut document = Document::default();
    document.table(table);
    session.output.result(&to_terminal(&document, session.output.in_color())).map(|()| Exit::Pass)
}
