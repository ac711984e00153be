//! `top`: a live view of a host, or of a fleet.

use super::{Session, fleet::allow_connections};
use crate::{
    connect::Fallback,
    error::{Exit, Failure},
    fleet::{Fleet, fleet_live, fleet_once},
    output::Format,
    top,
};

/// `top [--rate HZ] [--once]`.
pub(super) async fn top(rate_hz: f64, once: bool, session: &mut Session) -> Result<Exit, Failure> {
    if session.global.output == Format::Json {
        return Err(Failure::usage(
            "top is a picture, not one object",
            "leave --output json out; `sstsctl telemetry` has the readings as values",
        ));
    }
    if !once {
        top::needs_terminal()?;
    }
    let asked = tokio::select! {
        asked = Fleet::asked(&session.global) => asked?,
        () = session.interrupts.next() => return Err(Failure::interrupted()),
    };
    if let Some(fleet) = asked {
        return of_fleet(fleet, once, session).await;
    }
    let agent = session.agent(Fallback::Refuse).await?;
    let client = agent.client.clone();
    let result = if once {
        let Session { output, interrupts, .. } = session;
        tokio::select! {
            result = top::once(client, output) => result.map(|()| Exit::Pass),
            () = interrupts.next() => Err(Failure::interrupted()),
        }
    } else {
        let in_color = session.output.in_color();
        top::live(client, rate_hz, in_color, &mut session.interrupts).await
    };
    agent.close().await;
    result
}

async fn of_fleet(fleet: Fleet, once: bool, session: &mut Session) -> Result<Exit, Failure> {
    allow_connections(fleet.members.len());
    let pki = session.global.pki.clone();
    let Session { output, interrupts, .. } = session;
    if !once {
        return fleet_live(fleet, pki, output.in_color(), interrupts).await;
    }
    tokio::select! {
        result = fleet_once(fleet, pki, output) => result,
        () = interrupts.next() => Err(Failure::interrupted()),
    }
}
