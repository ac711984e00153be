//! SIGUSR1 as a descriptor that can be waited for, with who sent it: signalfd(2).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

/// The signal that halts.
#[derive(Debug)]
pub struct HaltSignal {
    descriptor: SignalFd,
    /// User and process of the latest one, for whoever writes it down: the tick takes signals, too, and must not wait.
    sender: AtomicU64,
}

impl HaltSignal {
    /// Takes the signal for this process. To be called before other threads are started: each would have to block it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take_over() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGUSR1);
        set.thread_block()?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { descriptor, sender: AtomicU64::new(0) })
    }

    /// Who sent it, if somebody did since the last time.
    pub(super) fn take(&self) -> Option<String> {
        let info = self.descriptor.read_signal().ok().flatten()?;
        self.sender.store(u64::from(info.ssi_uid) << 32 | u64::from(info.ssi_pid), Ordering::Release);
        Some(format!("uid {} (pid {})", info.ssi_uid, info.ssi_pid))
    }

    /// User and process that sent the latest one that was taken.
    pub(super) fn sender(&self) -> (u32, u32) {
        let sender = self.sender.load(Ordering::Acquire);
        ((sender >> 32) as u32, sender as u32)
    }
}

impl AsFd for HaltSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
