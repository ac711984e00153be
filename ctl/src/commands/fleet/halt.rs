//! `halt` over a fleet. Nothing comes before it: every host is asked at once, and again until it has confirmed that nothing burns
//! any more, or there is no more time. Who has not is named.

use std::{future::Future, time::Duration};

use ssts_proto::v1::{HaltRequest, HaltResponse};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::Code;

use super::{Session, allow_connections, exit, json, print, title};
use crate::{
    connect::{Line, cannot_reach},
    error::{Exit, Failure},
    fleet::{Answer, Fleet, Member, each},
    json::{HaltConfirmedOut, HaltOut},
    report::{Align, Document, Table},
    status, text,
    tls::Refusal,
};

/// One attempt: an agent that has much to stop takes less, and a connection that is cut in between is not waited for.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Between attempts, at first and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A handshake that was refused: the port may have been too busy, but a certificate does not become another.
const REFUSALS: u32 = 5;

/// A host that has done as it was told.
struct Confirmed {
    response: HaltResponse,
    after: Duration,
    tries: u32,
}

/// Why an attempt came to nothing.
struct Missed {
    failure: Failure,
    /// Whether another attempt makes sense.
    is_final: bool,
    is_refusal: bool,
}

/// `halt [--clear]`.
pub(super) async fn halt(
    fleet: &Fleet,
    reason: Option<&str>,
    clear: bool,
    within_ms: u64,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let began = Instant::now();
    allow_connections(fleet.members.len());
    let request = HaltRequest { reason: reason.unwrap_or_default().to_owned(), clear };
    let until = began + Duration::from_millis(within_ms);
    let (give_up, given_up) = watch::channel(false);
    let (tell, mut told) = mpsc::unbounded_channel::<String>();
    let pki = session.global.pki.clone();
    let ask = |member: Member| {
        let (request, tell) = (request.clone(), tell.clone());
        let line = member.line(pki.as_ref());
        let given_up = given_up.clone();
        async move { until_confirmed(&member, line?, request, began, until, given_up, tell).await }
    };
    let asked = each(&fleet.members, fleet.members.len(), ask, |_| ());
    let answers = {
        let Session { global, output, interrupts } = &mut *session;
        tokio::pin!(asked);
        loop {
            tokio::select! {
                answers = &mut asked => break answers,
                Some(line) = told.recv() => {
                    if !global.quiet {
                        output.message(&text::printable(&line));
                    }
                }
                // What has been confirmed until then is told all the same.
                () = interrupts.next() => {
                    give_up.send_replace(true);
                }
            }
        }
    };
    show(&answers, clear, session)?;
    Ok(exit(&answers))
}

async fn until_confirmed(
    member: &Member,
    line: Line,
    request: HaltRequest,
    began: Instant,
    until: Instant,
    mut given_up: watch::Receiver<bool>,
    tell: mpsc::UnboundedSender<String>,
) -> Result<Confirmed, Failure> {
    let mut pause = PAUSE;
    let mut refusals = 0;
    let mut last = None;
    for tries in 1.. {
        let attempt = bounded(attempt(member, &line, request.clone()), until, &mut given_up);
        let missed = match attempt.await {
            Some(Ok(response)) => return Ok(Confirmed { response, after: began.elapsed(), tries }),
            Some(Err(missed)) => missed,
            None => break,
        };
        refusals += u32::from(missed.is_refusal);
        if missed.is_final || refusals >= REFUSALS {
            return Err(missed.failure);
        }
        if last.is_none() {
            let why = missed.failure.problems.first().map(|problem| problem.message.as_str());
            // Nobody listens where the command is over.
            let _ = tell.send(format!("{}: {}; trying on", member.name, why.unwrap_or("no answer")));
        }
        last = Some(missed.failure);
        if bounded(sleep(pause), until, &mut given_up).await.is_none() {
            break;
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
    let mend = "it may still burn: see to it on that host (`sstsctl halt` there, or `touch /run/ssts/halt`), and to its network; \
                burners of runs with a lease end by themselves when that is over";
    let waited = text::duration(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    let why = last.and_then(|failure| failure.problems.into_iter().next()).map(|problem| problem.message);
    let why = why.unwrap_or_else(|| "it does not answer".into());
    Err(Failure::agent(format!("not confirmed within {waited}: {why}"), mend))
}

/// Unless there is no more time for it, or the user has none.
async fn bounded<T>(
    work: impl Future<Output = T>,
    until: Instant,
    given_up: &mut watch::Receiver<bool>,
) -> Option<T> {
    let no_patience = async {
        // Where nobody could give up any more, nobody waits either.
        let _ = given_up.wait_for(|given_up| *given_up).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = sleep_until(until) => None,
        () = no_patience => None,
    }
}

/// An agent answers a halt when every run that it knows is over, and a clearing when it is in force.
async fn attempt(member: &Member, line: &Line, request: HaltRequest) -> Result<HaltResponse, Missed> {
    let is_clearing = request.clear;
    let asking = async {
        let mut client = line.dial().await.map_err(|error| Missed {
            is_refusal: error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()).is_some(),
            failure: cannot_reach(&member.host, &error),
            is_final: false,
        })?;
        let response = client.halt(request).await.map_err(|status| Missed {
            failure: status::failure(&status),
            is_final: is_hopeless(status.code()),
            is_refusal: false,
        })?;
        Ok(response.into_inner())
    };
    let late = || Failure::agent(format!("no answer from {} in time", member.host), "");
    match timeout(ATTEMPT, asking).await {
        Ok(Ok(response)) if response.halt.is_none() && !is_clearing => Err(Missed {
            failure: Failure::agent(
                "somebody lifted the halt meanwhile",
                "see `sstsctl audit export` on that host",
            ),
            is_final: false,
            is_refusal: false,
        }),
        Ok(answer) => answer,
        Err(_) => Err(Missed { failure: late(), is_final: false, is_refusal: false }),
    }
}

/// Whether an agent would say the same again.
fn is_hopeless(code: Code) -> bool {
    matches!(
        code,
        Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented | Code::InvalidArgument
    )
}

fn show(answers: &[Answer<Confirmed>], clear: bool, session: &mut Session) -> Result<(), Failure> {
    if session.wants_json() {
        let out = |confirmed: &Confirmed| HaltConfirmedOut {
            halted: confirmed.response.halt.is_some(),
            halt: confirmed.response.halt.as_ref().map(HaltOut::from),
            quiet_after_s: confirmed.response.quiet_after_ns.map(|ns| ns as f64 / 1e9),
            confirmed_after_s: confirmed.after.as_secs_f64(),
            tries: confirmed.tries,
        };
        return session.output.json(&json(answers, out));
    }
    let mut document = Document::default();
    title(&mut document, answers, if clear { "may start again" } else { "are halted and quiet" });
    let mut table = Table::new(&[
        ("host", Align::Left),
        ("state", Align::Left),
        ("quiet after", Align::Right),
        ("confirmed after", Align::Right),
        ("tries", Align::Right),
    ]);
    for answer in answers {
        let name = answer.member.name.clone();
        match &answer.result {
            Ok(Confirmed { response, after, tries }) => {
                let state = if response.halt.is_some() { "halted" } else { "not halted" };
                let quiet = response.quiet_after_ns.map(|ns| text::nanoseconds(ns as f64));
                let after = text::nanoseconds(after.as_nanos() as f64);
                table.row([name, state.into(), quiet.unwrap_or_default(), after, tries.to_string()]);
            }
            Err(_) => table.row([name, if clear { "unknown" } else { "NOT CONFIRMED" }.into()]),
        }
    }
    document.table(table);
    if !clear && answers.iter().any(|answer| answer.result.is_ok()) {
        document.line("nothing starts there until `sstsctl halt --clear`");
    }
    print(&document, answers, &mut session.output)
}
