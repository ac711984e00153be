//! Runs that were prepared: they are made ready like any other, and held before their first phase until they are told when to
//! begin. Whoever prepared one and goes away loses it: its hold is a lease.

use std::time::Duration;

use ssts_proto::v1::{Cause, EventKind, Prepared, RunState, Scenario};

use super::{active::ActiveRun, ending::Ending, error::EngineError};
use crate::clock;

/// How a run is prepared.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    /// Tells a repeated call from another's.
    pub token: String,
    /// What was asked for, before defaults were filled in.
    pub asked: Scenario,
    /// How long it is held without a sign of life.
    pub time: Duration,
    /// Of its lease once it begins; none for a detached one.
    pub lease_ttl: Option<Duration>,
}

/// Where a prepared run stands.
#[derive(Debug)]
pub(super) struct Held {
    hold: Hold,
    is_ready: bool,
    step: HeldStep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeldStep {
    Waiting,
    Begun,
    Released,
}

/// What became of a call of Begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// It is on record next, and begins then.
    Now,
    /// That had been said before.
    Before,
}

impl Held {
    pub(super) fn new(hold: Hold) -> Self {
        Self { hold, is_ready: false, step: HeldStep::Waiting }
    }

    /// As a summary has it: only while it waits.
    pub(super) fn message(&self) -> Option<Prepared> {
        let hold_ms = u64::try_from(self.hold.time.as_millis()).unwrap_or(u64::MAX);
        (self.step == HeldStep::Waiting).then_some(Prepared { ready: self.is_ready, hold_ms })
    }
}

impl ActiveRun {
    /// Whether it waits to be told when to begin.
    pub(super) fn is_held(&self) -> bool {
        // One that was released has its end already, and must not begin meanwhile.
        self.held_as(|held| held.step != HeldStep::Begun).unwrap_or(false)
    }

    /// Whether its first burners are ready, or it needs nobody's word any more: then there is nothing to wait for.
    pub fn is_settled(&self) -> bool {
        let is_over = matches!(self.state(), RunState::Stopping | RunState::Finished);
        is_over || self.held_as(|held| held.is_ready || held.step != HeldStep::Waiting).unwrap_or(true)
    }

    /// Whether a call that prepares is the one that this run came from, once more.
    pub(super) fn is_repeated(&self, hold: &Hold) -> bool {
        self.held_as(|held| held.hold == *hold).unwrap_or(false)
    }

    /// Notes that its first burners wait.
    pub(super) fn note_ready(&self) {
        let is_news = self.with_progress(|progress| {
            progress.held.as_mut().is_some_and(|held| !std::mem::replace(&mut held.is_ready, true))
        });
        if is_news {
            self.tell(EventKind::Ready, "ready; it waits to be told when to begin", []);
        }
    }

    /// Sets the instant, Unix time, at which it begins; `check` may have something against it. Until the record is written, for
    /// which whoever is told [`Begun::Now`] has to hold a [`super::active::Recording`], nothing burns.
    ///
    /// # Errors
    /// It was not prepared, is over, or begins at another instant.
    pub(super) fn begin_at(
        &self,
        instant: Duration,
        check: impl FnOnce() -> Result<(), EngineError>,
    ) -> Result<Begun, EngineError> {
        let refused = |why: String| Err(EngineError::NotHeld { run: self.id.clone(), why });
        let lease_ttl = self.with_progress(|progress| {
            let begin_at = progress.begin_at;
            let is_pending = progress.state == RunState::Pending;
            match &mut progress.held {
                None => refused("it was not prepared".into()),
                Some(Held { step: HeldStep::Begun, .. }) if begin_at == Some(instant) => Ok(None),
                Some(Held { step: HeldStep::Begun, .. }) => {
                    let other = begin_at.map(|at| at.as_nanos()).unwrap_or_default();
                    refused(format!("it begins at another instant, {other} ns of Unix time"))
                }
                Some(held) if held.step == HeldStep::Released || !is_pending => {
                    let ending = progress.ending.as_ref().map(|ending| ending.message.as_str());
                    refused(format!("it is over: {}", ending.unwrap_or("it was released")))
                }
                Some(held) => {
                    check()?;
                    held.step = HeldStep::Begun;
                    progress.begin_at = Some(instant);
                    progress.recorded = false;
                    Ok(Some(held.hold.lease_ttl))
                }
            }
        })?;
        let Some(lease_ttl) = lease_ttl else { return Ok(Begun::Before) };
        self.lease.change(lease_ttl);
        let begin_at = instant.as_nanos().to_string();
        let ahead = instant.saturating_sub(clock::realtime());
        self.tell(EventKind::Begin, format!("it begins in {ahead:.1?}"), [("begin_at_unix_ns", begin_at)]);
        Ok(Begun::Now)
    }

    /// Lets go of it, unless it has begun.
    ///
    /// # Errors
    /// It was not prepared, was prepared with another token, or has begun.
    pub(super) fn release_held(&self, token: &str, ending: Ending) -> Result<(), EngineError> {
        self.with_progress(|progress| match &mut progress.held {
            Some(held) if !token.is_empty() && held.hold.token != token => {
                let why = "somebody else prepared it".into();
                Err(EngineError::NotHeld { run: self.id.clone(), why })
            }
            Some(held) if held.step != HeldStep::Begun => {
                held.step = HeldStep::Released;
                Ok(())
            }
            held => {
                let why = if held.is_some() { "it has begun" } else { "it was not prepared" };
                Err(EngineError::NotHeld { run: self.id.clone(), why: why.into() })
            }
        })?;
        // One that is over already keeps its end.
        self.stop(ending);
        Ok(())
    }

    /// Its lease was not renewed: what that means depends on whether it had begun.
    pub(super) fn expire(&self) {
        let cause = if self.is_held() { Cause::NotBegun } else { Cause::LeaseExpired };
        let words = || match cause {
            Cause::NotBegun => "it was prepared, and nobody began it in the time that it is held",
            _ => "the client that started the run no longer renews its lease",
        };
        self.stop_saying(cause, || words().to_owned());
    }

    fn held_as<T>(&self, look: impl FnOnce(&Held) -> T) -> Option<T> {
        self.with_progress(|progress| progress.held.as_ref().map(look))
    }
}
