//! The lease on a run: renewed while sstsctl lives, so that the run ends soon after it does.

use std::time::Duration;

use ssts_proto::v1::RenewLeaseRequest;
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use crate::connect::Client;

/// After this long without a sign of life the agent stops the run.
pub(super) const TTL_MS: u64 = 10_000;
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Renews a lease until it is dropped. On a thread of its own beside the main one: a terminal that holds up our output
/// does not end the run.
#[derive(Debug)]
pub(super) struct Lease(JoinHandle<()>);

impl Lease {
    pub(super) fn keep(client: Client, run_id: String) -> Self {
        Self(tokio::spawn(renew(client, run_id)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A failed renewal is tried again; whether the run is over, and why, its watch tells.
async fn renew(mut client: Client, run_id: String) {
    let mut ticks = tokio::time::interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let _ = client.renew_lease(RenewLeaseRequest { run_id: run_id.clone() }).await;
    }
}
