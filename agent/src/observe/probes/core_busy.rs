//! What each core did, as the scheduler probe counts it, for the daemon and for processes that are not the daemon.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::{
    io,
    os::fd::BorrowedFd,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use ssts_agent_ebpf::shared::Core;

use super::window::{Element, Window};

/// Readings that meet the kernel at work before one is given up; it takes 0.2 µs to finish.
const ATTEMPTS: u32 = 1_000;

/// [`Core`] that the kernel may write at any moment.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct SharedCore {
    busy_ns: AtomicU64,
    since_ns: AtomicU64,
    running: AtomicU64,
    burner_ns: AtomicU64,
    began: AtomicU64,
    switches: AtomicU64,
    preemptions: AtomicU64,
    preempter: AtomicU64,
}

const _: () = assert!(size_of::<SharedCore>() == size_of::<Core>());

// SAFETY: atomics, and the assertion above.
unsafe impl Element for SharedCore {}

impl SharedCore {
    /// What it says now; nothing if the kernel did not stop writing.
    pub(super) fn read(&self) -> Option<Core> {
        (0..ATTEMPTS).find_map(|_| {
            let switches = self.switches.load(Ordering::Acquire);
            let core = Core {
                busy_ns: self.busy_ns.load(Ordering::Relaxed),
                since_ns: self.since_ns.load(Ordering::Relaxed),
                running: self.running.load(Ordering::Relaxed),
                burner_ns: self.burner_ns.load(Ordering::Relaxed),
                began: switches,
                switches,
                preemptions: self.preemptions.load(Ordering::Relaxed),
                preempter: self.preempter.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            (self.began.load(Ordering::Relaxed) == switches).then_some(core)
        })
    }
}

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
pub(crate) struct CoreWindow(Window<SharedCore>);

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
        loop {
            // The calling thread may have been switched away and back in between.
            if let Some(core) = self.0[0].read() {
                return CoreBusy {
                    busy_ns: core.busy_ns,
                    since_ns: core.since_ns,
                    is_running: core.running != 0,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_is_being_written_is_not_read() {
        let shared = SharedCore::default();
        shared.began.store(1, Ordering::Relaxed);
        assert!(shared.read().is_none());
        shared.busy_ns.store(7, Ordering::Relaxed);
        shared.switches.store(1, Ordering::Relaxed);
        assert_eq!(shared.read().map(|core| (core.busy_ns, core.switches)), Some((7, 1)));
    }
}
