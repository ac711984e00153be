//! Wakes the runtime at an instant, to the kernel's exactness: tokio's own timers have milliseconds.
#![expect(unsafe_code, reason = "tokio takes a descriptor of one's own only on a promise")]

use std::{
    cell::Cell,
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    time::Duration,
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::{Interest, unix::AsyncFd};

/// A timerfd of CLOCK_BOOTTIME.
#[derive(Debug)]
pub(super) struct Timer {
    fd: AsyncFd<Descriptor>,
    armed: Cell<Duration>,
}

#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// To be called in the runtime that it wakes.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let fd = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        // SAFETY: `Descriptor` owns an open descriptor, gives that one each time, and closes it only when it is dropped.
        let fd = unsafe { AsyncFd::register_with_interest(Descriptor(fd), Interest::READABLE) }?;
        Ok(Self { fd, armed: Cell::new(Duration::MAX) })
    }

    /// Has it go off at an instant, and no earlier one.
    pub(super) fn arm(&self, instant: Duration) -> io::Result<()> {
        self.armed.set(instant);
        // 0 would disarm it.
        let instant = TimeSpec::from_duration(instant.max(Duration::from_nanos(1)));
        Ok(self.fd.get_ref().0.set(Expiration::OneShot(instant), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Has it go off at an instant at the latest.
    pub(super) fn no_later_than(&self, instant: Duration) -> io::Result<()> {
        if instant < self.armed.get() { self.arm(instant) } else { Ok(()) }
    }

    /// Until it goes off.
    pub(super) async fn wait(&self) -> io::Result<()> {
        // The kernel tells each expiry once (EPOLLET), and arming anew clears the count: nothing has to be read.
        self.fd.readable().await?.clear_ready();
        self.armed.set(Duration::MAX);
        Ok(())
    }
}
