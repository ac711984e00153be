//! The kernel's clocks.

use std::{cell::Cell, time::Duration};

use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC: of frames.
pub fn monotonic() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME: of deadlines, for it goes on while the host is suspended. Read in user space (vDSO).
pub fn boottime() -> Duration {
    read(ClockId::CLOCK_BOOTTIME)
}

/// How long the host has been suspended since it was booted: by so much CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC. Exact to
/// what passes between two readings, some 50 ns; nothing where the thread loses its core in between again and again.
pub fn suspended() -> Option<Duration> {
    (0..4).find_map(|_| {
        let before = monotonic();
        let boottime = boottime();
        let after = monotonic();
        (after.saturating_sub(before) < SAME_INSTANT).then(|| boottime.saturating_sub(after))
    })
}

/// Far less than any suspend lasts.
const SAME_INSTANT: Duration = Duration::from_millis(1);

thread_local! {
    /// See [`count_partner`].
    static PARTNER: Cell<Option<ClockId>> = const { Cell::new(None) };
}

/// From now on the calling thread's CPU time includes that of a thread that computes for it.
pub fn count_partner(clock: ClockId) {
    PARTNER.set(Some(clock));
}

/// The calling thread's own CPU time, and its partner's. A system call of some 200 ns.
pub fn thread_cpu() -> Duration {
    let own = read(ClockId::CLOCK_THREAD_CPUTIME_ID);
    // A partner that is gone computes no more.
    let partner = PARTNER.get().and_then(|partner| clock_gettime(partner).ok());
    partner.map_or(own, |partner| own + Duration::from(partner))
}

/// Unix time.
pub fn realtime() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// Unix time in whole nanoseconds, as messages carry it.
pub fn unix_ns() -> i64 {
    i64::try_from(realtime().as_nanos()).unwrap_or(i64::MAX)
}

/// The Unix time of an instant of CLOCK_BOOTTIME, as the wall clock stands now.
pub fn unix_ns_at(instant: Duration) -> i64 {
    let (boottime, realtime) = boottime_and_realtime();
    let unix_ns = realtime.as_nanos().cast_signed() + instant.as_nanos().cast_signed()
        - boottime.as_nanos().cast_signed();
    i64::try_from(unix_ns).unwrap_or(i64::MAX)
}

/// The instant of CLOCK_BOOTTIME of a Unix time, as the wall clock stands now; nothing for one that is past.
pub fn boottime_at(unix: Duration) -> Option<Duration> {
    let (boottime, realtime) = boottime_and_realtime();
    Some(boottime + unix.checked_sub(realtime)?)
}

/// Both clocks at one instant, as far as that can be had: whoever loses the core between two readings reads again.
fn boottime_and_realtime() -> (Duration, Duration) {
    let pair = || {
        let before = boottime();
        let realtime = realtime();
        let took = boottime().saturating_sub(before);
        (took, before + took / 2, realtime)
    };
    let mut best = pair();
    for _ in 0..3 {
        if best.0 <= SHORT {
            break;
        }
        let again = pair();
        if again.0 < best.0 {
            best = again;
        }
    }
    (best.1, best.2)
}

/// Three readings in user space take some 150 ns; far more says that something came in between.
const SHORT: Duration = Duration::from_micros(5);

/// A duration in whole nanoseconds; 584 years fit.
pub fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock).expect("Linux has had these clocks since 2.6.39");
    Duration::from(now)
}
