//! A cgroup whose reads of a disk are held to a rate, of whichever version the machine has.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::sys::stat::{major, minor};

use crate::outside;

/// Removed when dropped; by then all that was put into it must be gone.
#[derive(Debug)]
pub struct DiskThrottle(PathBuf);

impl DiskThrottle {
    /// So many reads a second of the disk that the folder is on. Nothing where this user may not make one, or the machine can't.
    pub fn of_reads(folder: &Path, per_s: u32) -> Option<Self> {
        let disk = disk_of(folder)?;
        // Stories of one program run side by side.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ssts-story-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let version_1 = Path::new("/sys/fs/cgroup/blkio");
        let (parent, file, limit) = if version_1.join("blkio.throttle.read_iops_device").exists() {
            (version_1, "blkio.throttle.read_iops_device", format!("{disk} {per_s}"))
        } else {
            let version_2 = Path::new("/sys/fs/cgroup");
            // It may be there already.
            let _best_effort = fs::write(version_2.join("cgroup.subtree_control"), "+io");
            (version_2, "io.max", format!("{disk} riops={per_s}"))
        };
        let cgroup = Self(parent.join(name));
        fs::create_dir(&cgroup.0).ok()?;
        fs::write(cgroup.0.join(file), limit).ok()?;
        Some(cgroup)
    }

    /// Moves a process here, and all that it starts from then on.
    pub fn put(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("the cgroup is ours");
    }
}

impl Drop for DiskThrottle {
    fn drop(&mut self) {
        // The kernel takes a moment to forget processes.
        outside::within(Duration::from_secs(5), || fs::remove_dir(&self.0).is_ok());
    }
}

/// The number of the whole disk: that of a partition is not taken.
fn disk_of(folder: &Path) -> Option<String> {
    let device = fs::metadata(folder).ok()?.dev();
    let own = Path::new("/sys/dev/block").join(format!("{}:{}", major(device), minor(device)));
    let own = fs::canonicalize(own).ok()?;
    let disk = if own.join("partition").exists() { own.parent()?.to_owned() } else { own };
    Some(fs::read_to_string(disk.join("dev")).ok()?.trim().to_owned())
}
