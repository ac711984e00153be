//! `top`: a live view of a host.

use super::Session;
use crate::{
    connect::Fallback,
    error::{Exit, Failure},
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
