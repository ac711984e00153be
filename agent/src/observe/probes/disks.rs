//! The disks that requests are issued to, as sysfs shows them.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::sys::stat;

use crate::host::HostRoots;

/// A whole disk that takes requests. Those that pass everything on (LVM, RAID, zram) are left out: theirs are seen at the
/// disks below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    /// The kernel's name, such as `nvme0n1`.
    pub(super) name: Arc<str>,
    /// Its number as the kernel has it: 12 bits major, 20 bits minor.
    pub(super) dev: u32,
}

impl Disk {
    /// Whether the kernel says that it has nothing in flight: reads and writes, as sysfs counts them.
    pub(super) fn is_idle(&self, roots: &HostRoots) -> bool {
        let path = roots.sys("block").join(self.name.replace('/', "!")).join("inflight");
        fs::read_to_string(path).is_ok_and(|counts| counts.split_whitespace().all(|count| count == "0"))
    }
}

/// The disks that hold something, by name.
pub(super) fn scan(roots: &HostRoots) -> Vec<Disk> {
    let Ok(entries) = fs::read_dir(roots.sys("block")) else { return Vec::new() };
    let mut disks: Vec<_> = entries.flatten().filter_map(|entry| disk_at(&entry.path())).collect();
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    disks
}

fn disk_at(folder: &Path) -> Option<Disk> {
    let sectors: u64 = fs::read_to_string(folder.join("size")).ok()?.trim().parse().ok()?;
    if sectors == 0 || !folder.join("mq").is_dir() {
        return None;
    }
    let dev = fs::read_to_string(folder.join("dev")).ok()?;
    let (major, minor) = dev.trim().split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(Disk { name: name_of(folder)?.into(), dev: major << 20 | minor })
}

/// sysfs writes `!` for the slash of names such as `cciss/c0d0`.
fn name_of(folder: &Path) -> Option<String> {
    Some(folder.file_name()?.to_str()?.replace('!', "/"))
}

/// The names of the disks that are loaded by whoever loads a file, a folder's file system or a device: those of [`below`], and
/// below the files that loop devices lie on.
pub fn loaded_with(roots: &HostRoots, path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    // Deeper than anybody stacks them.
    let mut paths = vec![path.to_owned()];
    for _ in 0..4 {
        let names: Vec<String> = paths.iter().flat_map(|path| below(roots, path)).collect();
        let backing = |name: &String| {
            let file = roots.sys("block").join(name.replace('/', "!")).join("loop/backing_file");
            fs::read_to_string(file).ok().map(|path| PathBuf::from(path.trim_end()))
        };
        paths = names.iter().filter_map(backing).collect();
        found.extend(names);
        if paths.is_empty() {
            break;
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The names of the disks that hold the file's data, through partitions and what passes requests on. None for a file
/// system without a device of its own.
pub(super) fn below(roots: &HostRoots, file: &Path) -> Vec<String> {
    let Ok(meta) = fs::metadata(file) else { return Vec::new() };
    let dev = if meta.file_type().is_block_device() { meta.rdev() } else { meta.dev() };
    let node = roots.sys(format!("dev/block/{}:{}", stat::major(dev), stat::minor(dev)));
    let mut found = Vec::new();
    if let Ok(folder) = node.canonicalize() {
        descend(&folder, &mut found);
    }
    found
}

fn descend(folder: &Path, found: &mut Vec<String>) {
    if folder.join("partition").exists() {
        if let Some(whole) = folder.parent() {
            descend(whole, found);
        }
        return;
    }
    let lower: Vec<PathBuf> = fs::read_dir(folder.join("slaves"))
        .map(|entries| entries.flatten().filter_map(|entry| entry.path().canonicalize().ok()).collect())
        .unwrap_or_default();
    if lower.is_empty() {
        found.extend(name_of(folder));
    }
    lower.iter().for_each(|lower| descend(lower, found));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, HostRoots) {
        let root = tempfile::tempdir().unwrap();
        let roots = HostRoots { sys: root.path().into(), ..HostRoots::default() };
        for (name, dev, size, mq) in [
            ("sda", "8:0", "100", true),
            ("loop0", "7:0", "0", true),
            ("dm-0", "253:0", "90", false),
            ("cciss!c0d0", "104:16", "5", true),
        ] {
            let folder = root.path().join("block").join(name);
            fs::create_dir_all(folder.join("slaves")).unwrap();
            fs::write(folder.join("dev"), format!("{dev}\n")).unwrap();
            fs::write(folder.join("size"), format!("{size}\n")).unwrap();
            if mq {
                fs::create_dir(folder.join("mq")).unwrap();
            }
        }
        let partition = root.path().join("block/sda/sda1");
        fs::create_dir_all(&partition).unwrap();
        fs::write(partition.join("partition"), "1\n").unwrap();
        (root, roots)
    }

    #[test]
    fn only_disks_that_take_requests_and_hold_something_count() {
        let (_root, roots) = tree();
        let disks = scan(&roots);
        assert_eq!(
            disks,
            [
                Disk { name: "cciss/c0d0".into(), dev: 104 << 20 | 16 },
                Disk { name: "sda".into(), dev: 8 << 20 }
            ]
        );
    }

    #[test]
    fn a_disk_is_idle_when_the_kernel_says_so() {
        let (root, roots) = tree();
        let disk = scan(&roots).remove(0);
        let path = root.path().join("block/cciss!c0d0/inflight");
        assert!(!disk.is_idle(&roots), "not known");
        fs::write(&path, "       0        3\n").unwrap();
        assert!(!disk.is_idle(&roots));
        fs::write(&path, "       0        0\n").unwrap();
        assert!(disk.is_idle(&roots));
    }

    #[test]
    fn a_file_is_traced_to_the_disk_below_its_volume() {
        let (root, roots) = tree();
        std::os::unix::fs::symlink(
            root.path().join("block/sda/sda1"),
            root.path().join("block/dm-0/slaves/sda1"),
        )
        .unwrap();
        let dev = fs::metadata(root.path()).unwrap().dev();
        fs::create_dir_all(root.path().join("dev/block")).unwrap();
        let node = root.path().join(format!("dev/block/{}:{}", stat::major(dev), stat::minor(dev)));
        std::os::unix::fs::symlink(root.path().join("block/dm-0"), node).unwrap();
        assert_eq!(below(&roots, root.path()), ["sda"]);
    }
}
