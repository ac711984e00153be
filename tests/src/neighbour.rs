//! Somebody else on a core.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// How often the neighbour comes and goes.
const PERIOD: Duration = Duration::from_millis(10);

/// A thread of this process takes that share of core 0 while `story` goes on. Gives what the story tells, and the share that
/// the thread really had.
pub fn beside<T>(share: f64, story: impl FnOnce() -> T) -> (T, f64) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let neighbour = scope.spawn(|| take(share, &over));
        let told = story();
        over.store(true, Ordering::Relaxed);
        let had = neighbour.join().expect("the neighbour does not panic");
        (told, had)
    })
}

fn take(share: f64, over: &AtomicBool) -> f64 {
    let mut core = CpuSet::new();
    core.set(0).expect("there is a core 0");
    sched_setaffinity(Pid::from_raw(0), &core).expect("the thread is ours");
    let cpu = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("it is there"));
    let (begin, begin_cpu) = (Instant::now(), cpu());
    let mut periods = 0;
    while !over.load(Ordering::Relaxed) {
        periods += 1;
        let end = PERIOD * periods;
        while cpu() - begin_cpu < end.mul_f64(share) && !over.load(Ordering::Relaxed) {}
        thread::sleep(end.saturating_sub(begin.elapsed()));
    }
    (cpu() - begin_cpu).as_secs_f64() / begin.elapsed().as_secs_f64()
}
