//! How long a core was not idle, as the scheduler probe counts it, for a process that is not the daemon.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::{
    io,
    os::fd::BorrowedFd,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use ssts_agent_ebpf::shared::Busy;

use super::window::{Element, Window};

/// [`Busy`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C, align(64))]
struct SharedBusy {
    busy_ns: AtomicU64,
    since_ns: AtomicU64,
    pid: AtomicU64,
}

const _: () = assert!(size_of::<SharedBusy>() == size_of::<Busy>());

// SAFETY: atomics, and the assertion above.
unsafe impl Element for SharedBusy {}

/// What one core did since the probe was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoreBusy {
    /// Up to the latest switch.
    pub(crate) busy_ns: u64,
    /// When that was, CLOCK_MONOTONIC.
    pub(crate) since_ns: u64,
    /// Whether a task runs since, and not the idle task.
    pub(crate) is_running: bool,
}

/// A view of one core's count.
#[derive(Debug)]
pub(crate) struct CoreWindow(Window<SharedBusy>);

impl CoreWindow {
    /// Of the core's element in the map that the daemon shares.
    ///
    /// # Errors
    /// The kernel's, when the descriptor is no such map or the map has no such element.
    pub(crate) fn open(map: BorrowedFd<'_>, core: u32) -> io::Result<Self> {
        Window::open(map, core as usize, 1).map(Self)
    }

    /// What it says now. To be called on that core, where nobody can be caught in the middle of writing it.
    pub(crate) fn read(&self) -> CoreBusy {
        let shared = &self.0[0];
        loop {
            let since_ns = shared.since_ns.load(Ordering::Acquire);
            let busy_ns = shared.busy_ns.load(Ordering::Relaxed);
            let is_running = shared.pid.load(Ordering::Relaxed) != 0;
            fence(Ordering::Acquire);
            // The calling thread may have been switched away and back in between.
            if shared.since_ns.load(Ordering::Relaxed) == since_ns {
                return CoreBusy { busy_ns, since_ns, is_running };
            }
        }
    }
}
