//! The runs that are on, in the order of their starts, and the few that ended last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ssts_proto::v1::RunState;

use super::active::ActiveRun;

/// Runs that are over and still at hand: who stops or watches one at its end shall find it.
const JUST_OVER: usize = 4;

/// A list that is replaced whole: who looks at it, as the tick does, holds no lock meanwhile, and others may change it.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Held for moments only, nothing is allocated or freed meanwhile.
    now: Mutex<Arc<Vec<Arc<ActiveRun>>>>,
    /// Held by whoever changes the list, with the list before: then the tick, which may still look at it, is not the one who
    /// frees it.
    before: Mutex<Arc<Vec<Arc<ActiveRun>>>>,
}

impl Runs {
    /// All that are at hand, the latest last.
    pub(super) fn all(&self) -> Arc<Vec<Arc<ActiveRun>>> {
        self.lock().clone()
    }

    /// Those that are not over.
    pub(super) fn on(&self) -> Vec<Arc<ActiveRun>> {
        self.all().iter().filter(|run| is_on(run)).cloned().collect()
    }

    /// That of an id, on or just over.
    pub(super) fn find(&self, id: &str) -> Option<Arc<ActiveRun>> {
        self.all().iter().find(|run| run.id == id).cloned()
    }

    /// Adds one that begins, if `check`, which sees those that are on, has nothing against it.
    pub(super) fn add<E>(
        &self,
        run: Arc<ActiveRun>,
        check: impl FnOnce(&[Arc<ActiveRun>]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.change(|runs| {
            check(runs)?;
            let mut surplus = runs.iter().filter(|run| !is_on(run)).count().saturating_sub(JUST_OVER);
            runs.retain(|run| {
                let goes = surplus > 0 && !is_on(run);
                surplus -= usize::from(goes);
                !goes
            });
            runs.push(run);
            Ok(())
        })
    }

    /// Takes one away that could not begin.
    pub(super) fn remove(&self, id: &str) {
        let removed: Result<(), ()> = self.change(|runs| {
            runs.retain(|run| run.id != id);
            Ok(())
        });
        debug_assert!(removed.is_ok());
    }

    /// Returns when whoever is changing the list has done so.
    pub(super) fn settle(&self) {
        drop(self.before.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn change<E>(&self, change: impl FnOnce(&mut Vec<Arc<ActiveRun>>) -> Result<(), E>) -> Result<(), E> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let mut runs = Vec::clone(&self.all());
        change(&mut runs)?;
        let runs = Arc::new(runs);
        let old = std::mem::replace(&mut *self.lock(), runs);
        *before = old;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Vec<Arc<ActiveRun>>>> {
        // A handle can't be left half-changed.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is not over.
pub(super) fn is_on(run: &Arc<ActiveRun>) -> bool {
    run.state() != RunState::Finished
}
