//! The same for many hosts, so many at once.

use std::{future::Future, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

/// Does it for each, so many at once, and gives what came of each, in their order.
pub(super) async fn bounded<I, T, F>(at_once: usize, items: Vec<I>, work: impl Fn(I) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(at_once.min(items.len()).max(1)));
    let mut running = JoinSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let (turns, doing) = (turns.clone(), work(item));
        running.spawn(async move {
            let _turn = turns.acquire_owned().await;
            (index, doing.await)
        });
    }
    let mut done = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(result) => done.push(result),
            // A bug is no host's fault: all leases end with this thread.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
