//! Reads tracefs, mounted or not: where it is not, through a mount that has no place in any tree, so that nothing changes
//! on the host. That takes Linux 5.2 and CAP_SYS_ADMIN.
#![expect(unsafe_code, reason = "neither libc nor nix has fsopen, fsconfig and fsmount")]

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    ptr,
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};

use super::{error::ProbeError, format::Format};
use crate::host::HostRoots;

// include/uapi/linux/mount.h
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const MOUNT_ATTR_RDONLY: libc::c_uint = 1;

#[derive(Debug)]
pub(super) struct Tracefs {
    root: OwnedFd,
}

impl Tracefs {
    pub(super) fn open(roots: &HostRoots) -> Result<Self, ProbeError> {
        let path = &roots.tracefs;
        let root =
            if path.join("events").is_dir() { File::open(path).map(OwnedFd::from) } else { mount_aside() };
        root.map(|root| Self { root }).map_err(|source| ProbeError::NoTracefs { path: path.clone(), source })
    }

    /// The number by which perf_event_open knows the tracepoint `event`, such as `sched/sched_switch`.
    pub(super) fn id(&self, event: &str) -> Result<u64, ProbeError> {
        let wrong = |reason: String| ProbeError::Tracepoint { event: event.into(), file: "id", reason };
        let text = self.read(event, "id").map_err(|e| wrong(e.to_string()))?;
        text.trim().parse().map_err(|_| wrong(format!("`{}` is not a number", text.trim())))
    }

    /// Hands the layout of the tracepoint's record to `ask`.
    pub(super) fn format<T>(
        &self,
        event: &str,
        ask: impl FnOnce(&Format<'_>) -> Result<T, super::format::FormatError>,
    ) -> Result<T, ProbeError> {
        let wrong = |reason: String| ProbeError::Tracepoint { event: event.into(), file: "format", reason };
        let text = self.read(event, "format").map_err(|e| wrong(e.to_string()))?;
        Format::parse(&text).and_then(|format| ask(&format)).map_err(|e| wrong(e.to_string()))
    }

    /// What one of the files of an event holds.
    #[cfg(test)]
    pub(super) fn text(&self, event: &str, file: &str) -> io::Result<String> {
        self.read(event, file)
    }

    fn read(&self, event: &str, file: &str) -> io::Result<String> {
        let path = Path::new("events").join(event).join(file);
        let fd = openat(&self.root, &path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text)?;
        Ok(text)
    }
}

/// The root of a tracefs that is mounted nowhere and gone when closed.
fn mount_aside() -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string that outlives the call.
    let context = unsafe { owned(libc::syscall(libc::SYS_fsopen, c"tracefs".as_ptr(), FSOPEN_CLOEXEC)) }?;
    let null = ptr::null::<libc::c_char>();
    // SAFETY: the command takes neither key nor value.
    let created = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            null,
            null,
            0 as libc::c_int,
        )
    };
    if created < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it takes plain numbers only.
    unsafe {
        owned(libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY))
    }
}

/// Takes over what a system call returned.
///
/// # Safety
/// `result` must be negative, or a descriptor that nothing else owns.
unsafe fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(result as libc::c_int) })
}
