//! SIGUSR1 as a descriptor that can be waited for, with who sent it: signalfd(2).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

/// The signal that halts.
#[derive(Debug)]
pub struct HaltSignal(SignalFd);

impl HaltSignal {
    /// Takes the signal for this process. To be called before other threads are started: each would have to block it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take_over() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGUSR1);
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// Who sent it, if somebody did since the last time.
    pub(super) fn take(&self) -> Option<String> {
        let info = self.0.read_signal().ok().flatten()?;
        Some(format!("uid {} (pid {})", info.ssi_uid, info.ssi_pid))
    }
}

impl AsFd for HaltSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
