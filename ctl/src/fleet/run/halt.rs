//! The emergency stop of all hosts of a fleet run at once, whatever else they do.

use std::{sync::Arc, time::Duration};

use ssts_proto::v1::HaltRequest;
use tokio::time::timeout;

use super::{Order, bounded, follow::Common, link::Link, update::News};
use crate::{error::Failure, status};

/// One that has not confirmed by then is told of.
const PATIENCE: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until a halt is wanted, and carries it out. Ends when each host has confirmed it or is told of.
pub(super) async fn when_wanted(links: Vec<Arc<Link>>, common: Arc<Common>) {
    let mut wanted = common.wanted.subscribe();
    if wanted.wait_for(|(order, _)| *order >= Order::Halt).await.is_err() {
        return;
    }
    bounded(usize::MAX, links, |link| {
        let common = common.clone();
        async move {
            let late = || {
                Failure::agent("no proof that it is halted", "`sstsctl halt` on that host, or its halt file")
            };
            let halted = timeout(PATIENCE, halt(&link)).await.unwrap_or_else(|_| Err(late()));
            common.updates.tell(link.index, News::Halted(halted));
        }
    })
    .await;
}

/// Again and again: a halt that was not confirmed is none.
async fn halt(link: &Link) -> Result<(), Failure> {
    loop {
        if let Ok(mut client) = link.client().await {
            let request = HaltRequest { reason: "sstsctl was interrupted twice".into(), clear: false };
            match client.halt(request).await {
                Ok(_) => return Ok(()),
                Err(status) if status.code() == tonic::Code::PermissionDenied => {
                    return Err(status::failure(&status));
                }
                Err(_) => link.hang_up(),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
