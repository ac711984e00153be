//! A scheduling class that burners can't starve.
#![expect(unsafe_code, reason = "sched_setscheduler(2), which no crate wraps")]

use std::io;

/// Above every ordinary task, below most real-time ones: sched(7).
const PRIORITY: i32 = 10;

/// Puts the calling thread into SCHED_FIFO, what it starts excepted.
///
/// # Errors
/// The kernel's: without CAP_SYS_NICE or RLIMIT_RTPRIO, or in a cgroup without real-time share.
pub fn enter() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: a plain system call on the calling thread (0); `parameter` lives for the call.
    let outcome = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameter)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a thread of this process may.
///
/// # Errors
/// As of [`enter`].
pub fn try_out() -> io::Result<()> {
    let thread = std::thread::Builder::new().name("realtime".into()).spawn(enter)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}
