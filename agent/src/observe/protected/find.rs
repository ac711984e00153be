//! Where the cgroup of a unit is. systemd gives each its folder of that name: Documentation/admin-guide/cgroup-v2.rst, and
//! "The New Control Group Interfaces" of systemd.

use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::host::{self, HostRoots};

/// Slices in slices: system.slice/a.slice/a-b.slice/x.service, and users' managers below theirs.
const DEEPEST: usize = 8;
/// A host of thousands of containers has no more that are looked at.
const MOST_FOLDERS: usize = 16_384;

/// A cgroup that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its folder.
    pub folder: PathBuf,
    /// The kernel's number of it, which programs in the kernel know it by: the inode's, on 64-bit hosts.
    pub id: u64,
    /// How far below the root it is.
    pub level: u32,
}

/// The cgroup of version 2 of a unit, or at a path below the mount point; nothing while there is none.
pub fn find(roots: &HostRoots, unit: &str) -> Option<Found> {
    let mount = host::cgroup_mount(roots).ok()?;
    if unit.contains('/') {
        return found(&mount, mount.join(unit));
    }
    let mut waiting = VecDeque::from([(mount.clone(), 0)]);
    let mut seen = 0;
    while let Some((folder, depth)) = waiting.pop_front() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_str() == Some(unit) {
                return found(&mount, entry.path());
            }
            seen += 1;
            if seen > MOST_FOLDERS {
                return None;
            }
            if depth + 1 < DEEPEST {
                waiting.push_back((entry.path(), depth + 1));
            }
        }
    }
    None
}

fn found(mount: &Path, folder: PathBuf) -> Option<Found> {
    let id = fs::metadata(&folder).ok()?.ino();
    let level = folder.strip_prefix(mount).ok()?.components().count() as u32;
    Some(Found { folder, id, level })
}
