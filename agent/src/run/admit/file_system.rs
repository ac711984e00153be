//! Whether the burner can have a file system for itself, to unmount it and mount it again.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
    time::Duration,
};

use nix::sys::stat::{major, minor};
use ssts_proto::validate::Violations;

use super::{Offer, disk::is_listed, space};
use crate::{
    burn::{
        disk::{FileSystem, NamedFile, Remount, Room},
        plan::{Load, Plan},
        random,
    },
    clock,
    host::HostRoots,
};

/// What a disk burner on the file system of the device `path` is told of it. Tries the very thing that it will do: mounts
/// it, makes a file without a name, and unmounts it.
pub(super) fn remount(
    offer: &Offer<'_>,
    field: &str,
    path: &Path,
    every: Duration,
    size_bytes: u64,
    found: &mut Violations,
) -> Option<Remount> {
    let shown = path.display();
    let place = format!("{field}.path");
    if !fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device()) {
        found.add(
            place,
            format!("{shown} is no block device, and a file system that others use can't be unmounted"),
            "name the device, as `findmnt --noheadings --output SOURCE --target FOLDER` says it, and unmount it",
        );
        return None;
    }
    if !is_listed(path, &offer.limits.mountable_devices) {
        found.add(
            place,
            format!("the agent's configuration does not say that the file system of {shown} may be mounted"),
            "list the device in limits.mountable_devices of the agent's configuration",
        );
        return None;
    }
    let file_system = match FileSystem::on(path) {
        Ok(Some(file_system)) => file_system,
        Ok(None) => {
            found.add(place, format!("{shown} has no ext4, XFS, btrfs or F2FS"), "make one of these on it");
            return None;
        }
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let users = mounted_at(offer.roots, path);
            let why = if users.is_empty() { "in use".into() } else { format!("mounted at {users}") };
            found.add(place, format!("{shown} is {why}"), "unmount it: the burner mounts it for itself");
            return None;
        }
        Err(error) => {
            let message = format!("{shown} can't be read: {}", space::plain(&error));
            found.add(place, message, "see what the kernel says of it");
            return None;
        }
    };
    match room_on(&file_system) {
        Err(error) => {
            let message = format!("the file system of {shown} can't be used: {}", space::plain(&error));
            found.add(place, message, "check it with fsck; mounting needs root and Linux 5.2");
            None
        }
        Ok(room) if size_bytes > room.free.saturating_sub(offer.limits.disk_reserve_bytes) => {
            found.add(
                format!("{field}.size_bytes"),
                format!(
                    "{size_bytes} bytes are more than the file system of {shown} can give: {} bytes are free, {} of \
                     them are kept in reserve",
                    room.free, offer.limits.disk_reserve_bytes
                ),
                "choose a smaller size or free some space",
            );
            None
        }
        Ok(_) => Some(Remount { file: NamedFile { file_system, name: new_name() }, every }),
    }
}

/// Two burners of a phase can't both unmount one file system. `phase` is its place in the message.
pub(super) fn check_shared(phase: &str, plans: &[Plan], found: &mut Violations) {
    let mut seen = HashSet::new();
    for (index, plan) in plans.iter().enumerate() {
        let Load::Disk(load) = &plan.load else { continue };
        if let Some(remount) = load.remount()
            && !seen.insert(remount.file.file_system.uuid)
        {
            found.add(
                format!("{phase}.burners[{index}].path"),
                format!("another burner of the phase mounts the file system of {}, too", load.path.display()),
                "use one of them, or another device",
            );
        }
    }
}

fn room_on(file_system: &FileSystem) -> io::Result<Room> {
    let mounted = file_system.mount()?;
    mounted.unnamed_file()?;
    Room::of(mounted.root())
}

/// Unlike any that was given before.
fn new_name() -> String {
    let mut state = clock::ns(clock::realtime()) ^ u64::from(std::process::id()).rotate_left(40);
    format!(".ssts-{:016x}{:016x}", random::split_mix(&mut state), random::split_mix(&mut state))
}

/// The folders that a device is mounted at, as far as this process sees them: proc_pid_mountinfo(5).
fn mounted_at(roots: &HostRoots, device: &Path) -> String {
    let Ok(metadata) = fs::metadata(device) else { return String::new() };
    let number = format!("{}:{}", major(metadata.rdev()), minor(metadata.rdev()));
    let mounts = fs::read_to_string(roots.proc("self/mountinfo")).unwrap_or_default();
    let folder = |line: &str| {
        let mut fields = line.split(' ').skip(2);
        (fields.next() == Some(&number)).then(|| fields.nth(1).map(str::to_owned)).flatten()
    };
    mounts.lines().filter_map(folder).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ() {
        let names: HashSet<_> = (0..64).map(|_| new_name()).collect();
        assert_eq!(names.len(), 64);
    }
}
