//! The kernel's clocks.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC: of frames.
pub fn monotonic() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME: of deadlines, for it goes on while the host is suspended. Read in user space (vDSO).
pub fn boottime() -> Duration {
    read(ClockId::CLOCK_BOOTTIME)
}

/// The calling thread's own CPU time. A system call of some 200 ns.
pub fn thread_cpu() -> Duration {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Unix time.
pub fn realtime() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// Unix time in whole nanoseconds, as messages carry it.
pub fn unix_ns() -> i64 {
    i64::try_from(realtime().as_nanos()).unwrap_or(i64::MAX)
}

/// A duration in whole nanoseconds; 584 years fit.
pub fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock).expect("Linux has had these clocks since 2.6.39");
    Duration::from(now)
}
