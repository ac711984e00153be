//! The thread that a fleet run has for itself.

use std::{future::Future, thread};

use tokio::sync::oneshot;

use crate::{fleet::HostOutcome, slices};

/// On a thread and a runtime that nothing else uses. Empty where there is none to be had, or where it panicked.
pub(super) async fn on_own_thread<F>(work: impl FnOnce() -> F + Send + 'static) -> Vec<HostOutcome>
where
    F: Future<Output = Vec<HostOutcome>>,
{
    let (mut done, outcomes) = oneshot::channel();
    let running = move || {
        slices::ask();
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            let outcomes = tokio::select! {
                outcomes = work() => outcomes,
                // Nobody waits for it any more.
                () = done.closed() => return,
            };
            let _nobody_waits = done.send(outcomes);
        });
        // Names that are being looked up are not waited for.
        runtime.shutdown_background();
    };
    match thread::Builder::new().name("fleet".into()).spawn(running) {
        Ok(_) => outcomes.await.unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}
