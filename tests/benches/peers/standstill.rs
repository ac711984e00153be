//! Whether the machine itself stood still: a virtual one does when its own host takes all of its cores away. What was measured
//! in such a moment says nothing of us.

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

    /// How long at a stretch no core ran between two instants.
    pub(crate) fn between(&self, begin: Instant, end: Instant) -> Duration {
        // The threads are given a moment to note what has just ended.
        thread::sleep(LOOK * 4);
        let mut common: Vec<Gap> = vec![(begin, end)];
        for gaps in &self.gaps {
            let gaps = gaps.lock().unwrap_or_else(PoisonError::into_inner);
            let both = |one: &Gap, other: &Gap| (one.0.max(other.0), one.1.min(other.1));
            common = common
                .iter()
                .flat_map(|one| gaps.iter().map(|other| both(one, other)))
                .filter(|(from, to)| from < to)
                .collect();
        }
        common.iter().map(|(from, to)| *to - *from).max().unwrap_or_default()
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
