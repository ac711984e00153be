//! Starts a process of this same executable, inside a cgroup from its first instruction on.
//!
//! By clone3(2) with CLONE_INTO_CGROUP (Linux 5.7) rather than by moving the child: a move waits for an RCU grace period,
//! milliseconds on an idle host and longer on a busy one (`cgroup_attach_permissions`, `percpu_down_write` in
//! kernel/cgroup/cgroup.c). Where the kernel refuses, the child moves itself.
#![expect(unsafe_code, reason = "clone3(2), and what has to happen between it and execve(2)")]

use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{self, PipeReader},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::process::ExitStatusExt as _,
    },
    process::ExitStatus,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    sys::{
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::inherit::{ALIVE_FD, CONTROL_FD, CORE_BUSY_FD, Inheritance, PLAN_FD};

/// Said on standard output by a child that could not become the program.
const NOT_EXECUTED: &[u8] = b"{\"failed\":\"its program could not be executed\"}\n";
/// The exit status of such a child, as a shell has it.
const NOT_EXECUTED_STATUS: i32 = 126;

/// include/uapi/linux/sched.h; the constant of the libc crate is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A cgroup to start in.
#[derive(Debug, Clone, Copy)]
pub struct Cgroup<'a> {
    /// Its folder.
    pub folder: BorrowedFd<'a>,
    /// Its `cgroup.procs`, open for writing.
    pub procs: BorrowedFd<'a>,
}

/// A child of this process. It keeps its number until it is waited for, which only its owner does.
#[derive(Debug)]
pub struct Launched {
    pid: Pid,
    /// What it writes to standard output.
    pub reports: PipeReader,
}

impl Launched {
    /// The kernel's number of it.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Ends it. To be called only before [`Launched::wait`] has returned.
    pub fn kill(&self) {
        // The number is still its own, so that nobody else can be hit; it may have ended by itself.
        let _already_ended = kill(self.pid, Signal::SIGKILL);
    }

    /// Sends it a signal. To be called only before [`Launched::wait`] has returned.
    pub fn signal(&self, signal: Signal) {
        // As above.
        let _already_ended = kill(self.pid, signal);
    }

    /// Waits for its end, and takes its exit status. To be called once.
    ///
    /// # Errors
    /// The kernel's; none is known for a child that nobody else waits for.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            match waitpid(self.pid, None) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(ExitStatus::from_raw(code << 8)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(ExitStatus::from_raw(signal as i32)),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Starts this executable with `arguments` after its name, no environment, a process group of its own (a terminal's
/// Ctrl-C is for the daemon), nothing to read, and these descriptors at their numbers.
///
/// To be called on a thread that outlives the child, should that ask to die with its parent: prctl(2) means the thread.
///
/// # Errors
/// The kernel's. A program that can't be executed is told as a report.
pub fn launch(
    arguments: &[CString],
    inheritance: &Inheritance<BorrowedFd<'_>>,
    cgroup: Option<Cgroup<'_>>,
) -> io::Result<Launched> {
    let (reports, output) = io::pipe()?;
    let nothing = File::open("/dev/null")?;
    let Inheritance { control, plan, core_busy, alive } = *inheritance;
    let mut handed = vec![
        (above(nothing.as_fd())?, 0),
        (above(output.as_fd())?, 1),
        (above(control)?, CONTROL_FD),
        (above(plan)?, PLAN_FD),
    ];
    for (fd, number) in [(core_busy, CORE_BUSY_FD), (alive, ALIVE_FD)] {
        if let Some(fd) = fd {
            handed.push((above(fd)?, number));
        }
    }
    let procs = cgroup.map(|cgroup| above(cgroup.procs)).transpose()?;
    let name = c"/proc/self/exe";
    let argv: Vec<*const libc::c_char> = std::iter::once(name)
        .chain(arguments.iter().map(CString::as_c_str))
        .map(CStr::as_ptr)
        .chain([std::ptr::null()])
        .collect();
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    let into = cgroup.map(|cgroup| clone_process(Some(cgroup.folder)));
    let (moved, child) = match into {
        Some(Ok(child)) => (true, child),
        Some(Err(_)) | None => (false, clone_process(None)?),
    };
    let Some(pid) = child else {
        let move_by = procs.as_ref().filter(|_| !moved);
        // SAFETY: this is the child. Everything was made before the clone and lives until `execve` or the end; from here on
        // there are only async-signal-safe calls, no allocation, no lock and no unwinding.
        unsafe {
            become_program(&handed, move_by, name, &argv, &environment);
            libc::write(1, NOT_EXECUTED.as_ptr().cast(), NOT_EXECUTED.len());
            libc::_exit(NOT_EXECUTED_STATUS)
        }
    };
    Ok(Launched { pid, reports })
}

/// A copy above the fixed numbers, so that `dup2` never overwrites one that is still needed.
fn above(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(ALIVE_FD + 1))?;
    // SAFETY: `fcntl` just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// fork(2), into a cgroup on request: the child's pid, or nothing in the child.
fn clone_process(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Option<Pid>> {
    // SAFETY: a structure of numbers, for which 0 is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(folder) = cgroup {
        args.flags = CLONE_INTO_CGROUP;
        args.cgroup = folder.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child has a copy of everything, its stack included, as after fork(2); what it may do in
    // a process that had other threads is the caller's care. `args` lives through the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match pid {
        -1 if cgroup.is_none() && matches!(Errno::last(), Errno::ENOSYS | Errno::EPERM) => fork(),
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(pid as i32))),
    }
}

/// For where seccomp hides clone3.
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: as in `clone_process`.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(pid))),
    }
}

/// Returns only when it can't.
///
/// # Safety
/// To be called in a new child alone; `argv` and `environment` end with a null pointer and point to strings.
unsafe fn become_program(
    handed: &[(OwnedFd, RawFd)],
    move_by: Option<&OwnedFd>,
    name: &CStr,
    argv: &[*const libc::c_char],
    environment: &[*const libc::c_char],
) {
    // SAFETY: plain system calls on descriptors that are open and strings that live; `dup2` clears close-on-exec.
    unsafe {
        for (from, to) in handed {
            if libc::dup2(from.as_raw_fd(), *to) < 0 {
                return;
            }
        }
        // What whoever started the daemon left open is none of the child's. On Linux before 5.11 only the numbers that
        // would be mistaken are closed.
        for number in [CORE_BUSY_FD, ALIVE_FD] {
            if !handed.iter().any(|(_, to)| *to == number) {
                libc::close(number);
            }
        }
        libc::syscall(libc::SYS_close_range, ALIVE_FD + 1, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        libc::setpgid(0, 0);
        // "0" moves the writing process: cgroups(7).
        if let Some(procs) = move_by
            && libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) != 1
        {
            return;
        }
        libc::execve(name.as_ptr(), argv.as_ptr(), environment.as_ptr());
    }
}
