//! Pushes what `/metrics` has to a collector, by OTLP. All of it is cumulative: what a push that failed had, the next one has
//! too, so nothing is queued and nothing is sent twice.

mod collector;
mod message;

use std::{sync::Arc, time::Duration};

use hyper::body::Bytes;
use nix::unistd::gethostname;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

pub use self::collector::Misconfigured;
use self::collector::{Collector, PushError};
use super::{Shared, gathered::Filled};
use crate::{clock, config::OtlpConfig};

/// Who pushes.
#[derive(Debug)]
pub(super) struct Pusher {
    collector: Collector,
    every: Duration,
}

impl Pusher {
    /// Of a configuration that names a collector.
    pub(super) fn new(config: &OtlpConfig) -> Result<Option<Self>, Misconfigured> {
        let collector = Collector::new(config)?;
        Ok(collector.map(|collector| Self { collector, every: config.interval }))
    }

    /// Pushes until it is aborted. What goes wrong is told once, and once when it is mended.
    pub(super) async fn run(self, shared: Arc<Shared>) {
        let url = self.collector.url().to_string();
        let hostname = gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            ticks.tick().await;
            let outcome = self.push(&shared, &hostname).await;
            shared.note_push(outcome.is_ok());
            let is_well = outcome.is_ok();
            match outcome {
                Ok(()) if before != Some(true) => info!(url, "metrics are pushed every {:?}", self.every),
                Err(error) if before != Some(false) => {
                    warn!(url, %error, "metrics could not be pushed; it is tried again every {:?}", self.every);
                }
                Ok(()) | Err(_) => {}
            }
            before = Some(is_well);
        }
    }

    async fn push(&self, shared: &Arc<Shared>, hostname: &str) -> Result<(), PushError> {
        // Nobody closes it.
        let turn = shared.turn.clone().acquire_owned().await;
        let (shared, hostname) = (shared.clone(), hostname.to_owned());
        let encode = move |families: &[Filled<'_>]| {
            message::encode(families, &hostname, clock::unix_ns().cast_unsigned())
        };
        let made = tokio::task::spawn_blocking(move || {
            let bytes = Bytes::from(shared.gather(encode));
            drop(turn);
            bytes
        });
        match made.await {
            Ok(bytes) => self.collector.push(bytes).await,
            Err(error) => {
                warn!(%error, "a bug: metrics could not be encoded");
                Ok(())
            }
        }
    }
}
