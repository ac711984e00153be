//! What has to be looked for beside the tick, because it takes many files: looked for again and again, shown as last found.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

/// The latest of what a thread finds. The thread ends by itself when this is dropped.
#[derive(Debug)]
pub(crate) struct Lookout<T> {
    shared: Arc<Shared<T>>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared<T> {
    stop: AtomicBool,
    /// Counts how often something else was found.
    generation: AtomicU64,
    /// Held for moments only.
    found: Mutex<Arc<T>>,
}

impl<T: PartialEq + Send + Sync + 'static> Lookout<T> {
    /// Looks at once, by the calling thread, and every so often from then on.
    ///
    /// # Errors
    /// The kernel's, when it has no thread left.
    pub(crate) fn start(
        name: &str,
        every: Duration,
        mut find: impl FnMut() -> T + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            found: Mutex::new(Arc::new(find())),
        });
        let theirs = shared.clone();
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
            while !theirs.stop.load(Ordering::Relaxed) {
                thread::park_timeout(every);
                theirs.note(find());
            }
        })?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// A number that changes with what is found.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// What was found last.
    pub(crate) fn found(&self) -> Arc<T> {
        self.shared.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T: PartialEq> Shared<T> {
    fn note(&self, found: T) {
        let found = Arc::new(found);
        let mut known = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != found {
            *known = found;
            self.generation.fetch_add(1, Ordering::Release);
        }
    }
}

impl<T> Drop for Lookout<T> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_found_and_counted_once() {
        let world = Arc::new(AtomicU64::new(7));
        let theirs = world.clone();
        let find = move || theirs.load(Ordering::Relaxed);
        let lookout = Lookout::start("lookout", Duration::from_millis(1), find).unwrap();
        assert_eq!((*lookout.found(), lookout.generation()), (7, 0));
        world.store(8, Ordering::Relaxed);
        for _ in 0..10_000 {
            if lookout.generation() > 0 {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!((*lookout.found(), lookout.generation()), (8, 1));
    }
}
