//! Runs that are prepared first, and begin when they are told to.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use ssts_proto::v1::Cause;

use super::Engine;
use crate::run::{
    active::{ActiveRun, Promise, Recording},
    admit,
    ending::Ending,
    error::EngineError,
    held::{Begun, Hold},
};

impl Engine {
    /// Does all of a start but to begin. Returns when it is accepted. The same once more is the same run.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn prepare(self: &Arc<Self>, id: String, hold: Hold) -> Result<Arc<ActiveRun>, EngineError> {
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = self.runs.find(&id).filter(|run| run.is_repeated(&hold)) {
            run.renew_lease();
            return Ok(run);
        }
        let scenario = hold.asked.clone();
        self.accept(id, &scenario, Promise::Hold(hold), None)
    }

    /// Tells a prepared run when to begin. Returns when that is on record.
    ///
    /// # Errors
    /// It is unknown, does not wait for that, or the instant can't be met; then nothing was changed. Where it can't be recorded,
    /// the run ends.
    pub fn begin(&self, id: &str, instant: Duration) -> Result<Arc<ActiveRun>, EngineError> {
        let run = self.active(id)?;
        let can_be_met = || {
            admit::start_at("begin_at_unix_ns", instant, &run.admitted)
                .map_err(|violation| EngineError::Refused(vec![*violation]))
        };
        if run.begin_at(instant, can_be_met)? == Begun::Now {
            // Before anything burns: whoever finds the record of a crash must not take it for one that was only prepared.
            let recording = Recording(&run);
            let written = self.store.write(self.record(&run, Vec::new()));
            if let Err(error) = &written {
                run.stop(Ending::new(Cause::AgentStopped, error.to_string()));
            }
            run.renew_lease();
            drop(recording);
            written?;
        }
        Ok(run)
    }

    /// Lets go of a prepared run; with a token, of that which was prepared with it. Waits for nobody.
    ///
    /// # Errors
    /// It is unknown, was not prepared, or has begun.
    pub fn release(&self, id: &str, token: &str, reason: String) -> Result<Arc<ActiveRun>, EngineError> {
        let run = self.active(id)?;
        run.release_held(token, Ending::new(Cause::Released, reason))?;
        Ok(run)
    }
}
