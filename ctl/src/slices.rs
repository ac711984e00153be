//! Short slices for this program: on a host that burns, a stop must not wait its turn behind the burners.
#![expect(unsafe_code, reason = "sched_setattr(2), which no crate wraps")]

/// The least that the kernel grants, in ns: `__setparam_fair` of kernel/sched/syscalls.c.
const SHORTEST_NS: u64 = 100_000;

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

/// Asks for short slices for the calling thread, what it starts excepted: when it wakes it is served at once, and gets no more
/// of a core than any other. Linux 6.12; before, and in other classes than the ordinary one, nothing changes.
pub(crate) fn ask() {
    let size = size_of::<SchedAttr>() as u32;
    let mut attr = SchedAttr::default();
    // SAFETY: a plain system call on the calling thread (0) that writes at most `size` bytes to `attr`.
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    if known != 0 || attr.policy != libc::SCHED_OTHER.cast_unsigned() {
        return;
    }
    attr.flags |= libc::SCHED_FLAG_RESET_ON_FORK as u64;
    attr.runtime_ns = SHORTEST_NS;
    // SAFETY: a plain system call on the calling thread (0); `attr` lives for the call and tells its size.
    let _best_effort = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}
