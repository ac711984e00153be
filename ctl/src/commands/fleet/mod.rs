//! Commands over a fleet: all hosts are asked at once, each answers for itself, and one that fails hides no other.

mod collect;
mod control;
mod drill;
mod halt;
mod info;
mod status;

use std::{collections::BTreeSet, future::Future};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Session;
use crate::{
    cli::Command,
    connect::{Client, cannot_reach},
    error::{Exit, Failure},
    fleet::{Answer, Fleet, each},
    json::{FleetHostOut, FleetOut},
    output::Output,
    report::{Document, Tone, to_terminal},
    text::printable,
};

/// Hosts that are talked to at once where nothing is in a hurry.
const AT_ONCE: usize = 256;
/// Failures whose mends are told.
const MOST_MENDS: usize = 5;

/// Carries out a command that is about several hosts. Nothing where it is about one, or where the command sees to its fleet
/// itself.
pub(super) async fn carry_out(command: &Command, session: &mut Session) -> Result<Option<Exit>, Failure> {
    let knows_fleets = matches!(
        command,
        Command::Info
            | Command::Status
            | Command::Stop { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Halt { .. }
            | Command::Drill { .. }
            | Command::Collect(_)
    );
    if !knows_fleets {
        return Ok(None);
    }
    let asked = {
        let Session { global, interrupts, .. } = &mut *session;
        tokio::select! {
            asked = Fleet::asked(global) => asked?,
            () = interrupts.next() => return Err(Failure::interrupted()),
        }
    };
    let Some(fleet) = asked else {
        return match command {
            Command::Collect(flags) => collect::of_one(flags, session).await.map(Some),
            _ => Ok(None),
        };
    };
    let exit = match command {
        Command::Info => info::info(&fleet, session).await,
        Command::Status => status::status(&fleet, session).await,
        Command::Stop { run } => control::stop(&fleet, run.as_deref(), session).await,
        Command::Pause { run } => control::pause(&fleet, run.as_deref(), session).await,
        Command::Resume { run } => control::resume(&fleet, run.as_deref(), session).await,
        Command::Halt { reason, clear, within, .. } => {
            halt::halt(&fleet, reason.as_deref(), *clear, *within, session).await
        }
        Command::Drill { only, halt, max_age } => {
            drill::drill(&fleet, !only.is_empty() || *halt, *max_age, session).await
        }
        Command::Collect(flags) => collect::collect(&fleet, flags, session).await,
        _ => return Ok(None),
    };
    exit.map(Some)
}

/// Asks every host.
///
/// # Errors
/// The user has no patience: then nothing is told of any host.
pub(super) async fn ask<T, F>(
    fleet: &Fleet,
    at_once: usize,
    session: &mut Session,
    question: impl Fn(Client) -> F + Clone + Send + 'static,
) -> Result<Vec<Answer<T>>, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let Session { global, interrupts, .. } = session;
    allow_connections(fleet.members.len());
    let asked = each(
        &fleet.members,
        at_once,
        |member| {
            let (pki, question) = (global.pki.clone(), question.clone());
            async move {
                let line = member.line(pki.as_ref())?;
                let dialled = line.dial().await;
                question(dialled.map_err(|error| cannot_reach(&member.host, &error))?).await
            }
        },
        |_| (),
    );
    tokio::select! {
        answers = asked => Ok(answers),
        () = interrupts.next() => Err(Failure::interrupted()),
    }
}

/// Each connection is a file, and the usual bound on those is 1,024. It may be raised up to what the administrator allows; where that
/// is too little, connections fail, and say so.
pub(super) fn allow_connections(hosts: usize) {
    let wanted = hosts as u64 + 256;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
}

/// What a command comes to that needed all hosts: as the worst of them.
fn exit<T>(answers: &[Answer<T>]) -> Exit {
    let failures = || answers.iter().filter_map(|answer| answer.result.as_ref().err());
    let of = |exit: Exit| failures().any(|failure| failure.exit == exit).then_some(exit);
    of(Exit::AgentFailed).or_else(|| failures().next().map(|failure| failure.exit)).unwrap_or(Exit::Pass)
}

/// One object for each host.
fn json<T, O>(answers: &[Answer<T>], out: impl Fn(&T) -> O) -> FleetOut<O> {
    let host = |answer: &Answer<T>| FleetHostOut::new(&answer.member, answer.result.as_ref().map(&out));
    FleetOut::new(answers.iter().map(host).collect())
}

/// `8 of 9 hosts` did what the words say.
fn title<T>(document: &mut Document, answers: &[Answer<T>], did: &str) {
    let good = answers.iter().filter(|answer| answer.result.is_ok()).count();
    let tone = if good == answers.len() { Tone::Good } else { Tone::Bad };
    document.title(&format!("{good} of {} hosts {did}", answers.len()), tone);
}

/// Prints the document, and what is wrong with which host.
fn print<T>(document: &Document, answers: &[Answer<T>], output: &mut Output) -> Result<(), Failure> {
    output.result(&to_terminal(document, output.in_color()))?;
    let failures: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.result.as_ref().err().map(|failure| (&answer.member.name, failure)))
        .collect();
    for (name, failure) in &failures {
        for problem in &failure.problems {
            output.message(&format!("error: {name}: {}", printable(&problem.message)));
        }
    }
    let problems = failures.iter().flat_map(|(_, failure)| &failure.problems);
    let mends: BTreeSet<&str> =
        problems.map(|problem| problem.mend.as_str()).filter(|mend| !mend.is_empty()).collect();
    for mend in mends.into_iter().take(MOST_MENDS) {
        output.message(&format!("mend: {}", printable(mend)));
    }
    Ok(())
}
