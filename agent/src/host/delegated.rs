//! A cgroup that a service manager gave to the daemon to divide: `Delegate=yes` of systemd, its CGROUP_DELEGATION document. The
//! kernel gives controllers to the children of a cgroup only when no process is in it ("no internal process constraint" of
//! Documentation/admin-guide/cgroup-v2.rst), so the daemon goes into a child, beside those of the runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::getxattr;
use tracing::{info, warn};

use super::{HostRoots, cgroup::process_folder};

/// The daemon's own.
const NAME: &str = "daemon";
/// What the cgroups of runs are to have: memory.max. Not `cpu`, which a kernel with CONFIG_RT_GROUP_SCHED gives to no cgroup
/// that has real-time threads.
const CONTROLLER: &str = "memory";

/// Makes room for the cgroups of runs, where there is something to gain: the daemon's cgroup is its to divide, and has the
/// controller. To be called while the daemon has started no other process.
pub fn make_room(roots: &HostRoots) {
    let Ok(own) = process_folder(roots) else { return };
    let controllers = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    if !is_delegated(&own) || !controllers.split_whitespace().any(|name| name == CONTROLLER) {
        return;
    }
    match divide(&own) {
        Ok(()) => info!(cgroup = %own.display(), "the memory of runs can be limited"),
        Err(error) => warn!(cgroup = %own.display(), %error, "the memory of runs can't be limited"),
    }
}

fn divide(own: &Path) -> io::Result<()> {
    let child = own.join(NAME);
    match fs::create_dir(&child) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(child.join("cgroup.procs"), std::process::id().to_string())?;
    fs::write(own.join("cgroup.subtree_control"), format!("+{CONTROLLER}"))
}

/// Where the cgroups of runs are, for a process in `own`.
pub(super) fn folder_of_runs(own: PathBuf) -> PathBuf {
    match own.parent() {
        Some(parent) if own.file_name().is_some_and(|name| name == NAME) && is_delegated(parent) => {
            parent.to_owned()
        }
        _ => own,
    }
}

/// As systemd marks what it delegates: `trusted.delegate`, and since 251 `user.delegate`, which needs no privilege.
fn is_delegated(folder: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0; 1];
        getxattr(folder, *name, &mut value).is_ok_and(|length| length == 1) && value == *b"1"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_marked_is_divided() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(NAME);
        fs::create_dir(&own).unwrap();
        assert_eq!(folder_of_runs(own.clone()), own);
        // tmpfs and the like may not take it.
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(folder.path(), "user.delegate", b"1", flags).is_ok() {
            assert_eq!(folder_of_runs(own), folder.path());
        }
    }
}
