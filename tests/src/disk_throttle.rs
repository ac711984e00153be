//! Reads of a disk that are held to a rate.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use nix::sys::stat::{major, minor};

use crate::Cgroup;

const VERSION_1: &str = "blkio.throttle.read_iops_device";
const VERSION_2: &str = "io.max";

/// A cgroup whose processes read no more than so often a second from the disk that the folder is on. Nothing where this user may
/// not make one, or the machine can't.
pub fn disk_throttle(folder: &Path, per_s: u32) -> Option<Cgroup> {
    let disk = disk_of(folder)?;
    let version_1 = Path::new("/sys/fs/cgroup/blkio").exists();
    let cgroup = Cgroup::new(if version_1 { "blkio" } else { "io" }, [VERSION_1, VERSION_2])?;
    let (file, limit) = if version_1 {
        (VERSION_1, format!("{disk} {per_s}"))
    } else {
        (VERSION_2, format!("{disk} riops={per_s}"))
    };
    fs::write(cgroup.file(file), limit).ok()?;
    Some(cgroup)
}

/// The number of the whole disk: that of a partition is not taken.
fn disk_of(folder: &Path) -> Option<String> {
    let device = fs::metadata(folder).ok()?.dev();
    let own = Path::new("/sys/dev/block").join(format!("{}:{}", major(device), minor(device)));
    let own = fs::canonicalize(own).ok()?;
    let disk = if own.join("partition").exists() { own.parent()?.to_owned() } else { own };
    Some(fs::read_to_string(disk.join("dev")).ok()?.trim().to_owned())
}
