//! Keeps a run that is over in the history. Whatever fails is told of, and changes nothing about the run.

use std::time::Duration;

use ssts_proto::v1::{Run, RunState};

use crate::{
    error::{Exit, Failure},
    output::Output,
    store::{Access, Document, NewRun, Place, Store},
    text::printable,
};

/// Whoever waits for the end of a run waits no longer for a store.
const LONGEST: Duration = Duration::from_secs(20);
/// More for each host's run.
const FOR_EACH: Duration = Duration::from_millis(200);

/// The place that is named, or the user's own.
pub(super) fn place(named: Option<&Place>) -> Result<Place, Failure> {
    named.map_or_else(Place::of_user, |place| Ok(place.clone()))
}

/// Keeps it, and prunes what that leaves no room for.
pub(super) async fn keep(run: &Run, tags: &[String], named: Option<&Place>, output: &mut Output) {
    keep_all(&[(None, run)], tags, named, output).await;
}

/// The same of runs on hosts of a fleet, each kept under the host's name there.
pub(super) async fn keep_all(
    runs: &[(Option<String>, &Run)],
    tags: &[String],
    named: Option<&Place>,
    output: &mut Output,
) {
    let is_over = |run: &Run| run.summary.as_ref().is_some_and(|it| it.state() == RunState::Finished);
    let over: Vec<_> = runs.iter().filter(|(_, run)| is_over(run)).collect();
    let Some(run_id) = over.iter().find_map(|(_, run)| Some(&run.summary.as_ref()?.run_id)) else { return };
    let kept = async {
        let place = place(named)?;
        if place == Place::Nowhere {
            return Ok(());
        }
        let mut store = Store::open(&place, Access::Write).await?;
        let mut is_new = false;
        for (host, run) in &over {
            let document = Document::of_run(run)?;
            let document = match host {
                Some(host) => document.on_host(host),
                None => document,
            };
            is_new |= store.keep(&NewRun::now(document, tags.to_vec())).await?;
        }
        if is_new {
            let retention = store.retention().await?;
            store.prune(retention).await?;
        }
        Ok(())
    };
    let longest = LONGEST + FOR_EACH * u32::try_from(over.len()).unwrap_or(u32::MAX);
    let kept = tokio::time::timeout(longest, kept).await.unwrap_or_else(|_| {
        Err(Failure::new(
            Exit::Internal,
            format!("the store did not answer within {} s", longest.as_secs()),
            "see that it works with `sstsctl runs`",
        ))
    });
    if let Err(failure) = kept {
        for problem in &failure.problems {
            output.message(&format!("warning: the run was not kept: {}", printable(&problem.message)));
            output.message(&format!(
                "mend: {}; `sstsctl report {run_id}` keeps it later",
                printable(&problem.mend)
            ));
        }
    }
}
