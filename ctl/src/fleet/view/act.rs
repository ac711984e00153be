//! What is commanded from a fleet's view.

use std::{sync::Arc, time::Duration};

use ssts_proto::v1::{HaltRequest, StopRequest};
use tokio::{sync::mpsc::UnboundedSender, task::JoinSet, time::sleep};
use tonic::Code;

use super::feed::{Board, words};
use crate::{connect::Client, status};

/// Between two attempts at a host that has not confirmed.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// After so many it is named, and somebody has to go there. Each waits for a connection, besides.
const ATTEMPTS: u32 = 25;
/// Names that there is room for.
const NAMED: usize = 4;

/// What is done to each host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Halt,
    /// Stops the run of this id.
    Stop(String),
}

/// Does it to all of these at once, and tells how far it is, in words.
pub(crate) async fn carry_out(
    act: Act,
    places: Vec<usize>,
    board: Arc<Board>,
    told: UnboundedSender<String>,
) {
    let all = places.len();
    let mut asked = JoinSet::new();
    for place in places {
        let (act, board) = (act.clone(), Arc::clone(&board));
        asked.spawn(async move { (place, confirmed(&act, place, &board).await) });
    }
    let verb = if act == Act::Halt { "halting" } else { "stopping" };
    let (mut done, mut missing) = (0, Vec::new());
    while let Some(ended) = asked.join_next().await {
        match ended {
            Ok((_, Ok(()))) => done += 1,
            Ok((place, Err(why))) => {
                let name = board.members.get(place).map_or("", |member| member.name.as_str());
                missing.push(format!("{name} ({why})"));
            }
            Err(_) => missing.push("a host whose task ended".into()),
        }
        let mut line = format!("{verb}: {done} of {all} are quiet");
        if !missing.is_empty() {
            let more = missing.len().saturating_sub(NAMED);
            let named = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            line += &format!("; not confirmed by {named}");
            if more > 0 {
                line += &format!(" and {more} more");
            }
        }
        // Nobody looks any more; what was commanded goes on.
        let _gone = told.send(line);
    }
}

/// Until the host has confirmed it.
async fn confirmed(act: &Act, place: usize, board: &Board) -> Result<(), String> {
    let mut why = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(TRY_AGAIN).await;
        }
        let client = match board.reached(place).await {
            Ok(client) => client,
            Err(unreachable) => {
                why = unreachable;
                continue;
            }
        };
        match once(act, client).await {
            Ok(()) => {
                if *act == Act::Halt {
                    board.halted(place);
                }
                board.look_anew(place);
                return Ok(());
            }
            Err(status) => {
                why = words(&status::failure(&status));
                if matches!(
                    status.code(),
                    Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument
                ) {
                    break;
                }
            }
        }
    }
    Err(why)
}

async fn once(act: &Act, mut client: Client) -> Result<(), tonic::Status> {
    match act {
        Act::Halt => {
            let request = HaltRequest { reason: "sstsctl top".into(), clear: false };
            client.halt(request).await.map(|_| ())
        }
        Act::Stop(run_id) => {
            let request = StopRequest { run_id: run_id.clone(), reason: "sstsctl top".into() };
            match client.stop(request).await {
                // It has no such run: there is nothing to be stopped.
                Err(status) if status.code() == Code::NotFound => Ok(()),
                stopped => stopped.map(|_| ()),
            }
        }
    }
}
