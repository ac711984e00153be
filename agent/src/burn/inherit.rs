//! Descriptors that a burner process inherits at fixed numbers.
#![expect(unsafe_code, reason = "descriptors are taken over by number")]

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

/// Where a burner process finds its control block.
pub(super) const CONTROL_FD: RawFd = 3;
/// Where a burner process finds its plan.
pub(super) const PLAN_FD: RawFd = 4;
/// Where it finds the scheduler probe's count of core time, if there is one.
pub(super) const CORE_BUSY_FD: RawFd = 5;
/// What it holds for as long as it lives, so that others see whether it does. It does nothing with it.
pub(super) const ALIVE_FD: RawFd = 6;

/// What a burner process is started with.
#[derive(Debug)]
pub struct Inheritance<Fd> {
    /// Its control block.
    pub control: Fd,
    /// Its plan.
    pub plan: Fd,
    /// The scheduler probe's count of core time.
    pub core_busy: Option<Fd>,
    /// The lock of its daemon's burners.
    pub alive: Option<Fd>,
}

/// Takes over what [`launch`](super::launch::launch) arranged. To be called once, first thing in a burner process.
///
/// # Errors
/// When a descriptor is not open, so when this process was not started by a daemon.
pub fn take_over() -> io::Result<Inheritance<OwnedFd>> {
    let take = |fd| {
        // SAFETY: a plain system call; it fails for a number that is not open.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: open, as just seen; nothing in this process has opened or closed a descriptor before, so the number
        // is the one that the daemon left there and has no other owner.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    Ok(Inheritance {
        control: take(CONTROL_FD)?,
        plan: take(PLAN_FD)?,
        core_busy: take(CORE_BUSY_FD).ok(),
        alive: take(ALIVE_FD).ok(),
    })
}
