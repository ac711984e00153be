//! Descriptors that a burner process inherits at fixed numbers, and what has to happen between `fork` and `exec`.
#![expect(unsafe_code, reason = "pre_exec and descriptors taken over by number")]

use std::{
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    process::Command,
};

use nix::fcntl::{FcntlArg, fcntl};

/// Where a burner process finds its control block.
const CONTROL_FD: RawFd = 3;
/// Where a burner process finds its plan.
const PLAN_FD: RawFd = 4;
/// Where it finds the scheduler probe's count of core time, if there is one.
const CORE_BUSY_FD: RawFd = 5;

/// What a burner process is started with.
#[derive(Debug)]
pub struct Inheritance<Fd> {
    /// Its control block.
    pub control: Fd,
    /// Its plan.
    pub plan: Fd,
    /// The scheduler probe's count of core time.
    pub core_busy: Option<Fd>,
}

/// Makes `command` start with these descriptors at their numbers, in a process group of its own (a
/// terminal's Ctrl-C is for the daemon), inside the cgroup whose `cgroup.procs` is given.
///
/// # Errors
/// The kernel's, when it has no descriptor left.
pub fn hand_over(
    command: &mut Command,
    inheritance: &Inheritance<BorrowedFd<'_>>,
    cgroup_procs: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    // Above the fixed numbers, so that `dup2` never overwrites one that is still needed.
    let above = |fd: BorrowedFd<'_>| -> io::Result<OwnedFd> {
        let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(CORE_BUSY_FD + 1))?;
        // SAFETY: `fcntl` just made this descriptor, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(copy) })
    };
    let Inheritance { control, plan, core_busy } = *inheritance;
    let mut handed = vec![(above(control)?, CONTROL_FD), (above(plan)?, PLAN_FD)];
    if let Some(core_busy) = core_busy {
        handed.push((above(core_busy)?, CORE_BUSY_FD));
    }
    let cgroup_procs = cgroup_procs.map(above).transpose()?;
    command.process_group(0);
    let in_child = move || {
        for (from, to) in &handed {
            // SAFETY: plain system call on descriptors that are open; `dup2` clears close-on-exec.
            if unsafe { libc::dup2(from.as_raw_fd(), *to) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        if let Some(procs) = &cgroup_procs {
            // "0" moves the writing process: cgroups(7).
            // SAFETY: writes one byte of a constant.
            if unsafe { libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) } != 1 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes only async-signal-safe calls (dup2, write) and allocates nothing.
    unsafe { command.pre_exec(in_child) };
    Ok(())
}

/// Takes over what [`hand_over`] arranged. To be called once, first thing in
/// a burner process.
///
/// # Errors
/// When a descriptor is not open, so when this process was not started by a daemon.
pub fn take_over() -> io::Result<Inheritance<OwnedFd>> {
    let take = |fd| {
        // SAFETY: a plain system call; it fails for a number that is not open.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: open, as just seen; nothing in this process has opened or closed a descriptor before, so the number
        // is the one that the daemon left there and has no other owner.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    Ok(Inheritance { control: take(CONTROL_FD)?, plan: take(PLAN_FD)?, core_busy: take(CORE_BUSY_FD).ok() })
}
