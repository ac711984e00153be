//! Halts, and whatever else ends all runs at once.

use std::{
    fs, io,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
    time::Duration,
};

use ssts_proto::v1::{Cause, HaltState};
use tracing::{error, warn};

use super::{AGENT_STOPPED, Engine};
use crate::{
    burn::control::Command,
    run::{
        active::ActiveRun, ending::Ending, error::EngineError, halt::HaltWay, on::is_on, store::StoreError,
    },
};

impl Engine {
    /// Who halted this host, if anybody did.
    pub fn halt_state(&self) -> Option<HaltState> {
        self.halt.state()
    }

    /// Halts: stops what is on at once, and lets nothing start. Gives the runs that have to be waited for. The latch has yet
    /// to be written, by [`Engine::persist_halt`]: the disk must not hold up a halt.
    pub fn halt(&self, way: HaltWay, by: String, reason: String) -> Vec<Arc<ActiveRun>> {
        let message = halt_words(&by, &reason);
        self.halt.latch(way, by, reason);
        if let Some(sink) = &*self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            sink.set_command(Command::Pause);
        }
        let runs = self.stop_all(Cause::Halted, &message);
        // After the reaction: the log may wait.
        warn!(way = way.name(), "{message}");
        runs
    }

    /// Ends all runs that are known. Nothing can start any more: who is just starting one ends it. Waits for nobody.
    pub fn stop_all(&self, cause: Cause, message: &str) -> Vec<Arc<ActiveRun>> {
        let runs = self.runs.all();
        // Burners first: the list is made afterwards. Far fewer runs than bits are at hand.
        let mut stopped = 0u64;
        for (index, run) in runs.iter().enumerate().filter(|(_, run)| is_on(run)) {
            run.stop_saying(cause, || message.to_owned());
            stopped |= 1 << index;
        }
        let was_on =
            |(index, run): (usize, &Arc<ActiveRun>)| (stopped >> index & 1 == 1).then(|| run.clone());
        runs.iter().enumerate().filter_map(was_on).collect()
    }

    /// Those that were stopped, and such as were just being started meanwhile, once they are known.
    pub fn with_latecomers(&self, mut stopped: Vec<Arc<ActiveRun>>) -> Vec<Arc<ActiveRun>> {
        self.runs.settle();
        for run in self.on() {
            if !stopped.iter().any(|known| Arc::ptr_eq(known, &run)) {
                stopped.push(run);
            }
        }
        stopped
    }

    /// Why no run may be on, if none may.
    pub(super) fn shut(&self) -> Option<Ending> {
        if self.closed.load(Ordering::Acquire) {
            return Some(Ending::new(Cause::AgentStopped, AGENT_STOPPED));
        }
        let HaltState { by, reason, .. } = self.halt.state()?;
        Some(Ending::new(Cause::Halted, halt_words(&by, &reason)))
    }

    /// Who called for the latest halt of that way and why, where that is known only afterwards.
    pub fn explain_halt(&self, way: HaltWay, by: String, reason: String) {
        self.halt.explain(way, by, reason);
    }

    /// Halts since the daemon began, by [`HaltWay::ALL`], and what the latest one took that had something to stop.
    pub fn halts(&self) -> ([u64; HaltWay::ALL.len()], Option<Duration>) {
        (self.halt.counts(), self.halt.quiet_after())
    }

    /// Makes a halt outlive the daemon.
    ///
    /// # Errors
    /// [`EngineError::Store`] when the latch could not be written; it holds until the daemon ends all the same.
    pub fn persist_halt(&self) -> Result<(), EngineError> {
        Ok(self.halt.persist()?)
    }

    /// How often a halt was lifted since the daemon began.
    pub(crate) fn times_lifted(&self) -> u64 {
        self.halt.times_lifted()
    }

    /// Lifts the halt, and removes the file that halts: it would do so again at the next start.
    ///
    /// # Errors
    /// [`EngineError::Store`] when one of them could not be removed.
    pub fn clear_halt(&self) -> Result<(), EngineError> {
        if let Some(path) = &self.halt_file
            && let Err(source) = fs::remove_file(path)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(StoreError::Remove { path: path.clone(), source }.into());
        }
        Ok(self.halt.clear()?)
    }

    /// Halts for a guard. The disk is not waited for.
    pub(super) fn halt_for(self: &Arc<Self>, guard: &str, message: String) {
        self.halt(HaltWay::Guard, format!("guard {guard}"), message);
        let engine = self.clone();
        let written = thread::Builder::new().name("halt".into()).spawn(move || {
            if let Err(error) = engine.persist_halt() {
                error!(%error, "the halt could not be written: it holds until sstsd ends");
            }
        });
        if let Err(error) = written {
            error!(%error, "no thread to write the halt: it holds until sstsd ends");
        }
    }
}

fn halt_words(by: &str, reason: &str) -> String {
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("halted by {by}{colon}{reason}")
}
