//! Whether a core stood still: a virtual one does when the machine's own host takes it away. What was measured in such a moment
//! says nothing of us.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::peer;

/// How often each core is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// What a core may be late without being noted.
const LATE: Duration = Duration::from_millis(4);

type Gap = (Instant, Instant);

/// A thread on every core that goes before all that burns, and notes when it could not run.
#[derive(Debug)]
pub(crate) struct Standstills {
    over: Arc<AtomicBool>,
    /// By core.
    gaps: Vec<Arc<Mutex<Vec<Gap>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Standstills {
    pub(crate) fn watch() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let gaps: Vec<Arc<Mutex<Vec<Gap>>>> = (0..cores).map(|_| Arc::default()).collect();
        let look = |(core, gaps): (usize, &Arc<Mutex<Vec<Gap>>>)| {
            let (over, gaps) = (over.clone(), gaps.clone());
            thread::spawn(move || {
                peer::look_first();
                let mut set = CpuSet::new();
                let pinned = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
                pinned.unwrap_or_else(|error| panic!("core {core}: {error}"));
                while !over.load(Ordering::Relaxed) {
                    let before = Instant::now();
                    thread::sleep(LOOK);
                    if before.elapsed() > LOOK + LATE {
                        let mut gaps = gaps.lock().unwrap_or_else(PoisonError::into_inner);
                        gaps.push((before, Instant::now()));
                    }
                }
            })
        };
        let threads = gaps.iter().enumerate().map(look).collect();
        Self { over, gaps, threads }
    }

    /// How long at a stretch a core did not run between two instants: what is pinned to it, and what is its turn there, waits.
    pub(crate) fn between(&self, begin: Instant, end: Instant) -> Duration {
        // The threads are given a moment to note what has just ended.
        thread::sleep(LOOK * 4);
        let longest = |gaps: &Arc<Mutex<Vec<Gap>>>| {
            let gaps = gaps.lock().unwrap_or_else(PoisonError::into_inner);
            let within = |gap: &Gap| gap.1.min(end).saturating_duration_since(gap.0.max(begin));
            gaps.iter().map(within).max()
        };
        self.gaps.iter().filter_map(longest).max().unwrap_or_default()
    }
}

impl Drop for Standstills {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}
