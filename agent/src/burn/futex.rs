//! Sleeping on a word that another process changes: futex(2), which no crate wraps for shared memory.
#![expect(unsafe_code, reason = "a raw system call")]

use std::{sync::atomic::AtomicU32, time::Duration};

/// Sleeps while `word` is `expected`, at most for `timeout` (CLOCK_MONOTONIC). May return early, for any reason.
pub(super) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
    };
    // SAFETY: `word` and `timeout` are valid for the whole call; without FUTEX_PRIVATE_FLAG the kernel finds waiters of
    // other processes by the page. Every error (EAGAIN, EINTR, ETIMEDOUT) means "look again", which callers do.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const timeout);
    }
}

/// Wakes everyone, in any process, who sleeps on `word`.
pub(super) fn wake_all(word: &AtomicU32) {
    // SAFETY: `word` is valid for the call, which only reads its address.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX);
    }
}
