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

/// The place that is named, or the user's own.
pub(super) fn place(named: Option<&Place>) -> Result<Place, Failure> {
    named.map_or_else(Place::of_user, |place| Ok(place.clone()))
}

/// Keeps it, and prunes what that leaves no room for.
pub(super) async fn keep(run: &Run, tags: &[String], named: Option<&Place>, output: &mut Output) {
    let Some(summary) = run.summary.as_ref().filter(|summary| summary.state() == RunState::Finished) else {
        return;
    };
    let run_id = &summary.run_id;
    let kept = async {
        let place = place(named)?;
        if place == Place::Nowhere {
            return Ok(());
        }
        let run = NewRun::now(Document::of_run(run)?, tags.to_vec());
        let mut store = Store::open(&place, Access::Write).await?;
        if store.keep(&run).await? {
            let retention = store.retention().await?;
            store.prune(retention).await?;
        }
        Ok(())
    };
    let kept = tokio::time::timeout(LONGEST, kept).await.unwrap_or_else(|_| {
        Err(Failure::new(
            Exit::Internal,
            format!("the store did not answer within {} s", LONGEST.as_secs()),
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
