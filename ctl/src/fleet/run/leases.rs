//! The leases of all hosts, renewed from the one thread that a fleet run has: as long as it lives their runs go on. Nothing that
//! is printed, drawn or written to disk is done there.

use std::{sync::Arc, time::Duration};

use ssts_proto::v1::RenewLeaseRequest;
use tokio::{
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tonic::Code;

use super::link::Link;

/// After this long without a sign of life an agent stops its run, or releases what was prepared.
pub(crate) const TTL: Duration = Duration::from_secs(10);
/// Four may fail in a row. A thousand hosts are renewed 500 times a second.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// One that takes longer is given up, and tried again on a new connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// A lease that is renewed until this is dropped.
#[derive(Debug)]
pub(super) struct Kept(AbortHandle);

impl Kept {
    /// From now on.
    pub(super) fn of(link: Arc<Link>, run_id: Arc<str>) -> Self {
        Self(tokio::spawn(async move { renew(&link, &run_id).await }).abort_handle())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Until the agent says that there is nothing to renew. Whether the run is over, and why, its watch tells.
async fn renew(link: &Link, run_id: &str) {
    // Not all at once.
    let first = RENEW_EVERY.mul_f64(fastrand::f64());
    let mut ticks = interval_at(Instant::now() + first, RENEW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(mut client) = link.client().await else { continue };
        let request = RenewLeaseRequest { run_id: run_id.to_owned() };
        match timeout(PATIENCE, client.renew_lease(request)).await {
            Ok(Ok(_)) => link.note_heard(),
            // The agent answered: it has no lease to renew any more.
            Ok(Err(status)) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => return,
            Ok(Err(_)) | Err(_) => link.hang_up(),
        }
    }
}
