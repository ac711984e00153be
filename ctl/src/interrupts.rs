//! The user's wish to end: Ctrl-C, a closed terminal, `kill`. Commands wait for it beside their work, so that each ends
//! in order.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::error::{Exit, Failure};

/// Comes once for each SIGINT, SIGTERM and SIGHUP.
#[derive(Debug)]
pub(crate) struct Interrupts {
    receiver: UnboundedReceiver<()>,
}

impl Interrupts {
    /// From the signals of this process, which no longer kill it.
    pub(crate) fn of_process() -> Result<Self, Failure> {
        let (sender, receiver) = unbounded_channel();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let signals = signal(kind).map_err(|error| {
                Failure::new(
                    Exit::Internal,
                    format!("can't listen for signal {}: {error}", kind.as_raw_value()),
                    "",
                )
            })?;
            tokio::spawn(forward(signals, sender.clone()));
        }
        Ok(Self { receiver })
    }

    /// From a test.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (UnboundedSender<()>, Self) {
        let (sender, receiver) = unbounded_channel();
        (sender, Self { receiver })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        if self.receiver.recv().await.is_none() {
            // Nobody can interrupt any more.
            std::future::pending::<()>().await;
        }
    }
}

async fn forward(mut signals: Signal, sender: UnboundedSender<()>) {
    while signals.recv().await.is_some() && sender.send(()).is_ok() {}
}
