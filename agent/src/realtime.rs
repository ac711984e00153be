//! How threads that must not wait for burners get a core: a scheduling class that those can't starve, and short slices.
#![expect(unsafe_code, reason = "sched_setscheduler(2) and sched_setattr(2), which no crate wraps")]

use std::io;

/// What a thread does that burners must not starve. Both are above every ordinary task and below most real-time ones: sched(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It guards: the tick.
    Guard = 10,
    /// It reads for the tick, which goes before it: a driver may keep its core busy for as long as it is read.
    Read = 9,
}

/// Puts the calling thread into SCHED_FIFO, what it starts excepted.
///
/// # Errors
/// The kernel's: without CAP_SYS_NICE or RLIMIT_RTPRIO, or in a cgroup without real-time share.
pub fn enter(duty: Duty) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: duty as i32 };
    // SAFETY: a plain system call on the calling thread (0); `parameter` lives for the call.
    let outcome = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameter)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The least that the kernel grants, in ns: `__setparam_fair` of kernel/sched/syscalls.c.
const SHORTEST_SLICE_NS: u64 = 100_000;

/// The first version of `struct sched_attr`: include/uapi/linux/sched/types.h.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// Of workers that share a core, in ns: an EEVDF scheduler keeps each within about a slice of its fair part, and its own are
/// some milliseconds long.
const TURN_NS: u64 = 500_000;

/// Lets the calling thread, what it starts excepted, be served at once when it wakes on a core that burns, and not at the next
/// tick. It gets no more of the core than any other. Linux 6.12; before, and in other classes than the ordinary one, nothing
/// changes.
pub fn wake_soon() {
    request_slices(SHORTEST_SLICE_NS);
}

/// Lets the calling thread take turns with its like in half a millisecond: of 32 on a core, the last one would else come to
/// burn a tenth of a second after the first.
pub fn take_turns() {
    request_slices(TURN_NS);
}

fn request_slices(slice_ns: u64) {
    let size = size_of::<SchedAttr>() as u32;
    let mut attr = SchedAttr::default();
    // SAFETY: a plain system call on the calling thread (0) that writes at most `size` bytes to `attr`.
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    if known != 0 || attr.policy != libc::SCHED_OTHER.cast_unsigned() {
        return;
    }
    attr.flags |= libc::SCHED_FLAG_RESET_ON_FORK as u64;
    attr.runtime_ns = slice_ns;
    // SAFETY: a plain system call on the calling thread (0); `attr` lives for the call and tells its size.
    let _best_effort = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}

/// Whether a thread of this process may.
///
/// # Errors
/// As of [`enter`].
pub fn try_out() -> io::Result<()> {
    let thread = std::thread::Builder::new().name("realtime".into()).spawn(|| enter(Duty::Guard))?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}
