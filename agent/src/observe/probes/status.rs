//! What is known of each probe, for whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use ssts_proto::v1;

/// The probes' statuses, shared between the daemon and the sampler of costs. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StatusBoard {
    statuses: Arc<Mutex<Vec<v1::ProbeStatus>>>,
}

impl StatusBoard {
    /// The statuses as they are now.
    pub fn snapshot(&self) -> Vec<v1::ProbeStatus> {
        self.lock().clone()
    }

    pub(super) fn add(&self, status: v1::ProbeStatus) {
        self.lock().push(status);
    }

    /// Shows these statuses from now on, unless somebody reads at this instant: says whether it could. Never waits, for the
    /// tick must not wait for a reader that has lost its core.
    pub(super) fn show(&self, statuses: &[v1::ProbeStatus]) -> bool {
        let mut shown = match self.statuses.try_lock() {
            Ok(shown) => shown,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        statuses.clone_into(&mut shown);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<v1::ProbeStatus>> {
        // A status is whole at any moment, whoever panicked.
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tick_never_waits_for_a_reader() {
        let board = StatusBoard::default();
        let status = v1::ProbeStatus { name: "block".into(), ..v1::ProbeStatus::default() };
        let reading = board.lock();
        assert!(!board.show(std::slice::from_ref(&status)));
        drop(reading);
        assert!(board.show(std::slice::from_ref(&status)));
        assert_eq!(board.snapshot(), [status]);
    }
}
