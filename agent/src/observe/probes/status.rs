//! What is known of each probe, for whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

    /// Notes what the probe of that name costs. Allocates nothing.
    pub(super) fn set_cost(&self, probe: &str, cost: v1::ProbeCost) {
        if let Some(status) = self.lock().iter_mut().find(|status| status.name == probe) {
            status.cost = Some(cost);
        }
    }

    /// Notes that the probe of that name is not there any more, and why.
    pub(super) fn take_out(&self, probe: &str, reason: String) {
        if let Some(status) = self.lock().iter_mut().find(|status| status.name == probe) {
            (status.attached, status.working, status.reason) = (false, false, reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<v1::ProbeStatus>> {
        // A status is whole at any moment, whoever panicked.
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
