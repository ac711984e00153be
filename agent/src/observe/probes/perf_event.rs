//! Attaches a program to a tracepoint by the tracepoint's number. aya would want the name, and a tracefs that is mounted.
#![expect(unsafe_code, reason = "neither libc nor nix has perf_event_open")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// `struct perf_event_attr` as its first version has it; the kernel takes what follows for zero.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config1: u64,
}

// include/uapi/linux/perf_event.h
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
const _: () = assert!(size_of::<Attributes>() == 64, "PERF_ATTR_SIZE_VER0");

/// Runs `program` at the tracepoint, on all CPUs, until the returned descriptor is closed.
pub(super) fn attach(program: BorrowedFd<'_>, tracepoint: u64) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<Attributes>() as u32,
        config: tracepoint,
        ..Attributes::default()
    };
    // Any one CPU: programs run wherever the tracepoint is hit.
    let (every_process, cpu, no_group) = (-1, 0, -1);
    // SAFETY: the attributes outlive the call and state their size.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            every_process as libc::pid_t,
            cpu as libc::c_int,
            no_group as libc::c_int,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let event = unsafe { OwnedFd::from_raw_fd(event as libc::c_int) };
    // SAFETY: both take a plain number.
    let done = unsafe {
        libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()) >= 0
            && libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_ENABLE, 0) >= 0
    };
    if done { Ok(event) } else { Err(io::Error::last_os_error()) }
}
