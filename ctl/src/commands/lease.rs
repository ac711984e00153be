//! The lease on a run: renewed while sstsctl lives, so that the run ends soon after it does. On a connection and a thread of its
//! own: neither a terminal that holds up our output nor megabytes of telemetry on the other connection end the run.

use std::{
    io,
    thread::{self, JoinHandle},
    time::Duration,
};

use ssts_proto::v1::RenewLeaseRequest;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, timeout},
};
use tonic::Code;

use crate::{
    connect::{Client, Line},
    error::{Exit, Failure},
};

/// After this long without a sign of life the agent stops the run.
pub(super) const TTL_MS: u64 = 10_000;
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// A renewal that takes longer is given up, and tried again on a new connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Renews a lease until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lease {
    /// On the run of that id, of the agent at the end of that line.
    ///
    /// # Errors
    /// The kernel has no thread left.
    pub(super) fn keep(line: Line, run_id: String) -> Result<Self, Failure> {
        let id = run_id.clone();
        Self::on_thread(line, run_id).map_err(|error| {
            Failure::new(
                Exit::Internal,
                format!("the lease of run {id} can't be renewed: {error}"),
                "the run stops by itself in a few seconds; start it anew when the system has a thread to spare",
            )
        })
    }

    fn on_thread(line: Line, run_id: String) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let renewing = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = renew(&line, &run_id) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("lease".into()).spawn(renewing)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _it_panicked = thread.join();
        }
    }
}

/// A failed renewal is tried again; whether the run is over, and why, its watch tells.
async fn renew(line: &Line, run_id: &str) {
    let mut ticks = tokio::time::interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client: Option<Client> = None;
    loop {
        ticks.tick().await;
        if client.is_none() {
            client = timeout(PATIENCE, line.dial()).await.ok().and_then(Result::ok);
        }
        let Some(connected) = &mut client else { continue };
        let request = RenewLeaseRequest { run_id: run_id.to_owned() };
        match timeout(PATIENCE, connected.renew_lease(request)).await {
            Ok(Ok(_)) => {}
            // The agent answered: it has no lease to renew any more.
            Ok(Err(status)) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => return,
            Ok(Err(_)) | Err(_) => client = None,
        }
    }
}
