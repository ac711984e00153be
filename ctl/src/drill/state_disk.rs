//! A full state disk: the private agent's state folder is a tmpfs of 32 MiB in a mount namespace of its own, which the drill
//! fills. A guard ends the run that is on, or it can still be stopped; its record must still be told; a new one must be
//! refused, for nobody would know of it after a crash.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use nix::unistd::geteuid;
use ssts_proto::v1::{Cause, EventKind, RunSummary, StopRequest};

use super::{
    Drilled, REACTION, Seen, process,
    stage::{Load, Moment, Stage},
};
use crate::{
    error::{Exit, Failure},
    status,
};

/// Room is looked at once a second.
const LOOKED_AT: Duration = Duration::from_secs(3);
/// What a refusal of the next run names: the guard, or the record that can't be written.
const REFUSALS: [&str; 2] = ["disk_space", "can't be written"];

pub(super) async fn fill(show_log: bool) -> Result<Drilled, Failure> {
    if !geteuid().is_root() {
        let reason = "a small file system for the private agent needs root; the host's own is not filled";
        return Ok(Drilled::Skipped(reason.into()));
    }
    let mut stage = match Stage::open(true, show_log).await {
        Ok(stage) => stage,
        Err(failure) => {
            let words = failure.problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
            return Ok(Drilled::Skipped(format!(
                "no small file system for the private agent could be had: {words}"
            )));
        }
    };
    let seen = see(&mut stage).await;
    stage.close().await;
    seen.map(|seen| Drilled::Seen(Box::new(seen)))
}

async fn see(stage: &mut Stage) -> Result<Seen, Failure> {
    let burning = stage.burn(Load::default(), None).await?;
    let mut seen = Seen::new("a tmpfs of the private agent's own was filled during a run");
    let state = format!("/proc/{}/root{}", stage.pid(), stage.state_dir().display());
    let moment = Moment::now();
    take_all(Path::new(&state))
        .map_err(|error| Failure::new(Exit::Internal, format!("{state} could not be filled: {error}"), ""))?;

    let gone = || !burning.burners.iter().any(process::Process::is_alive);
    let wanted = if process::within(LOOKED_AT, gone).await.is_some() {
        seen.quiet = Some(moment.elapsed());
        Cause::GuardTripped
    } else {
        seen.how += "; no guard ended it, quiet is from a stop";
        let moment = Moment::now();
        let request = StopRequest { run_id: burning.run_id.clone(), reason: "a drill".into() };
        let mut client = stage.client.clone();
        let (answer, ()) = tokio::join!(
            async move { client.stop(request).await },
            stage.see_quiet(&burning, moment, &mut seen)
        );
        answer.map_err(|status| status::failure(&status))?;
        Cause::StoppedByUser
    };
    let run = stage.record(&burning.run_id).await?;
    stage.see_the_rest(&burning, &run, &mut seen);
    seen.noticed = moment.until_event(&run, &[EventKind::GuardTripped]);
    seen.must_be_quiet_within(if wanted == Cause::GuardTripped { LOOKED_AT } else { REACTION });
    let cause = run.summary.as_ref().map_or(Cause::Unspecified, RunSummary::cause);
    seen.must_have_cause(cause, &[wanted]);

    match stage.start(Load::default(), None).await {
        Ok(_) => seen.complain("a run started that could not be put on record"),
        Err(refusal) => {
            let words: Vec<_> = refusal.problems.iter().map(|problem| problem.message.clone()).collect();
            let words = words.join("; ");
            if !REFUSALS.iter().any(|reason| words.contains(reason)) {
                seen.complain(format!("the refusal of the next run does not say why: {words}"));
            }
            let pid = stage.pid();
            if process::within(LOOKED_AT, || process::children(pid).is_empty()).await.is_none() {
                seen.complain("a burner of the refused run is there");
            }
        }
    }
    Ok(seen)
}

/// Writes until there is no room.
fn take_all(folder: &Path) -> io::Result<()> {
    let mut file = fs::File::create(folder.join("drill-ballast"))?;
    let chunk = vec![0; 1 << 16];
    loop {
        match file.write_all(&chunk) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
