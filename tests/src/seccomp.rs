//! What a container's runtime forbids.
#![expect(unsafe_code, reason = "installs a seccomp filter between fork and exec")]

use std::{io, os::unix::process::CommandExt as _, process::Command};

/// io_uring_setup(2), on every architecture.
const IO_URING_SETUP: u32 = 425;

/// fsopen(2), the same.
const FSOPEN: u32 = 430;

/// Makes the command, and all that it starts, run without io_uring, as Docker's default profile does: EPERM.
pub fn without_io_uring(command: &mut Command) -> &mut Command {
    without(IO_URING_SETUP, command)
}

/// Makes the command, and all that it starts, unable to mount a file system where nobody sees it, as that profile does.
pub fn without_fsopen(command: &mut Command) -> &mut Command {
    without(FSOPEN, command)
}

fn without(call: u32, command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only async-signal-safe system calls are made, and nothing is allocated.
    unsafe { command.pre_exec(move || forbid(call)) }
}

fn forbid(call: u32) -> io::Result<()> {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        // The number of the call, the first word of seccomp_data.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: prctl(2) reads the program, which lives through the call.
    let outcome = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
