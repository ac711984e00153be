//! A small file system for one process: a tmpfs in a mount namespace that ends with it, so that nothing is mounted on the
//! host. mount_namespaces(7).
#![expect(unsafe_code, reason = "unshares and mounts between fork and exec")]

use std::{ffi::CString, io, os::unix::process::CommandExt as _, process::Command};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Makes the command run with a tmpfs of so many bytes on `folder`, which nobody else sees but through /proc/PID/root.
/// Where that is not permitted it does not start.
pub(super) fn small_file_system(command: &mut Command, folder: CString, bytes: u64) -> io::Result<()> {
    let options = CString::new(format!("size={bytes},mode=700"))?;
    let enter = move || {
        let none = None::<&std::ffi::CStr>;
        unshare(CloneFlags::CLONE_NEWNS)?;
        // Else it would be mounted on the host as well, where mounts are shared.
        mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some(c"tmpfs"), folder.as_c_str(), Some(c"tmpfs"), MsFlags::empty(), Some(options.as_c_str()))?;
        Ok(())
    };
    // SAFETY: between fork and exec `enter` makes plain system calls on strings that were made before; nothing is allocated.
    unsafe { command.pre_exec(enter) };
    Ok(())
}
