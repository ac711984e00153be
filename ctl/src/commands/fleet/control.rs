//! `stop`, `pause` and `resume` over a fleet: of the run that is named, or of the only one that each host has.

use ssts_proto::v1::{PauseRequest, ReceiptState, ResumeRequest, RunSummary, StopRequest};
use tonic::{Code, Status};

use super::{Session, ask, exit, json, print};
use crate::{
    commands::follow::the_run,
    connect::Client,
    error::{Exit, Failure},
    fleet::{Answer, Fleet},
    json::{CommandedHostOut, CommandedOut},
    report::{Align, Document, Table, Tone, receipt_words, verdict_line},
    status, text,
};

/// What became of a host's run; nothing where it has none.
type Commanded = Option<Done>;

#[derive(Debug, Default)]
struct Done {
    run: RunSummary,
    quiet_after_ns: Option<u64>,
    receipt: Option<ssts_proto::v1::Receipt>,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Stop,
    Pause,
    Resume,
}

/// `stop [RUN]`.
pub(super) async fn stop(fleet: &Fleet, run: Option<&str>, session: &mut Session) -> Result<Exit, Failure> {
    command(What::Stop, fleet, run, session).await
}

/// `pause [RUN]`.
pub(super) async fn pause(fleet: &Fleet, run: Option<&str>, session: &mut Session) -> Result<Exit, Failure> {
    command(What::Pause, fleet, run, session).await
}

/// `resume [RUN]`.
pub(super) async fn resume(fleet: &Fleet, run: Option<&str>, session: &mut Session) -> Result<Exit, Failure> {
    command(What::Resume, fleet, run, session).await
}

async fn command(
    what: What,
    fleet: &Fleet,
    run: Option<&str>,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let run = run.map(str::to_owned);
    // All at once: what ends or freezes a load is in a hurry.
    let answers =
        ask(fleet, fleet.members.len(), session, move |client| one(what, run.clone(), client)).await?;
    let is_nowhere = answers.iter().all(|answer| matches!(answer.result, Ok(None)));
    if is_nowhere {
        let message = format!("none of the {} hosts has such a run", answers.len());
        return Err(Failure::usage(message, "`sstsctl status` with the same fleet says what goes on where"));
    }
    if session.wants_json() {
        session.output.json(&json(&answers, out))?;
    } else {
        let document = document(what, &answers);
        print(&document, &answers, &mut session.output)?;
    }
    Ok(exit(&answers))
}

async fn one(what: What, run: Option<String>, mut client: Client) -> Result<Commanded, Failure> {
    let is_named = run.is_some();
    let run_id = match run {
        Some(run_id) => run_id,
        None => match the_run(&mut client).await? {
            Some(run_id) => run_id,
            None => return Ok(None),
        },
    };
    let done = match what {
        What::Stop => {
            let request = StopRequest { run_id, reason: "sstsctl stop".into() };
            client.stop(request).await.map(|response| {
                let response = response.into_inner();
                Done {
                    run: response.run.unwrap_or_default(),
                    quiet_after_ns: response.quiet_after_ns,
                    receipt: response.receipt,
                }
            })
        }
        What::Pause => {
            client.pause(PauseRequest { run_id }).await.map(|response| of_run(response.into_inner().run))
        }
        What::Resume => {
            client.resume(ResumeRequest { run_id }).await.map(|response| of_run(response.into_inner().run))
        }
    };
    match done {
        Ok(done) => Ok(Some(done)),
        Err(refusal) if is_named && is_unknown(&refusal) => Ok(None),
        Err(refusal) => Err(status::failure(&refusal)),
    }
}

fn of_run(run: Option<RunSummary>) -> Done {
    Done { run: run.unwrap_or_default(), ..Done::default() }
}

fn is_unknown(refusal: &Status) -> bool {
    refusal.code() == Code::NotFound
}

fn out(done: &Commanded) -> CommandedHostOut {
    let commanded = done.as_ref().map(|done| CommandedOut {
        quiet_after_s: done.quiet_after_ns.map(|ns| ns as f64 / 1e9),
        receipt: done.receipt.as_ref().map(Into::into),
        ..CommandedOut::new(&done.run)
    });
    CommandedHostOut { commanded }
}

fn document(what: What, answers: &[Answer<Commanded>]) -> Document {
    let mut document = Document::default();
    let done = answers.iter().filter(|answer| matches!(answer.result, Ok(Some(_)))).count();
    let failed = answers.iter().filter(|answer| answer.result.is_err()).count();
    let did = match what {
        What::Stop => "stopped",
        What::Pause => "paused",
        What::Resume => "resumed",
    };
    let tone = if failed == 0 { Tone::Good } else { Tone::Bad };
    document.title(&format!("{did} on {done} of {} hosts", answers.len()), tone);
    let mut table = Table::new(&[
        ("host", Align::Left),
        ("run", Align::Left),
        ("state", Align::Left),
        ("quiet after", Align::Right),
        ("receipt", Align::Left),
    ]);
    for answer in answers {
        let name = answer.member.name.clone();
        match &answer.result {
            Ok(Some(Done { run, quiet_after_ns, receipt })) => {
                let receipt = receipt.as_ref().filter(|it| it.state() != ReceiptState::Unspecified);
                table.row([
                    name,
                    run.run_id.clone(),
                    verdict_line(run),
                    quiet_after_ns.map(|ns| text::nanoseconds(ns as f64)).unwrap_or_default(),
                    receipt.map(receipt_words).unwrap_or_default(),
                ]);
            }
            Ok(None) => table.row([name, "-".into(), "no such run".into()]),
            Err(_) => table.row([name, "?".into(), "UNKNOWN".into()]),
        }
    }
    document.table(table);
    document
}
