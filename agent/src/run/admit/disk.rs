//! What a disk burner becomes on this host.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use ssts_proto::{
    v1::{BlockShare, DiskAccess, DiskBurner, DiskEngine},
    validate::{self, Violations},
};

use super::{Offer, file_system, others::Claim, space};
use crate::burn::{
    disk::{self, DiskLoad, EngineChoice, Place, Rate, Room, Task},
    plan::Load,
    profile::Shape,
};

/// Its cores, one for each job, and what they do; fills in what was left open.
pub(super) fn plan(
    offer: &Offer<'_>,
    field: &str,
    disk: &mut DiskBurner,
    phase: Duration,
    found: &mut Violations,
) -> Option<(Vec<u32>, Load)> {
    let mut path: PathBuf = disk.path.clone().into();
    let cores = cores(offer, field, disk, found)?;
    let is_device = fs::metadata(&path).is_ok_and(|metadata| metadata.file_type().is_block_device());
    if is_device {
        check_claim(offer, field, &path, found)?;
    } else {
        path = offer.allowed_folder(field, &path, found)?;
    }
    if disk.access() == DiskAccess::Fill {
        space::check_folder(&format!("{field}.path"), &path, found)?;
        return Some((cores, Load::Disk(fill(offer, field, path, disk, found)?)));
    }
    if disk.blocks.is_empty() {
        let block_bytes = *disk.block_bytes.get_or_insert(validate::DEFAULT_BLOCK_BYTES);
        disk.blocks = vec![BlockShare { block_bytes, percent: 100 }];
    }
    let place = match disk.remount_every_ms.map(Duration::from_millis) {
        Some(every) if every >= phase => {
            found.add(
                format!("{field}.remount_every_ms"),
                format!("a remount every {every:?} in a phase of {phase:?}"),
                "choose a shorter time, or a longer phase: all must be read back after it, too",
            );
            return None;
        }
        Some(every) => {
            Place::FileSystem(file_system::remount(offer, field, &path, every, disk.size_bytes, found)?)
        }
        None if is_device => Place::Device,
        None => Place::Folder,
    };
    let load = io(path, place, disk);
    // Only one of the two is what was carried out.
    if disk.block_bytes.is_some() {
        disk.blocks.clear();
    }
    match load.place {
        Place::Device => check_device(offer, field, &load, cores.len(), found)?,
        Place::Folder => space::check_folder(&format!("{field}.path"), &load.path, found)?,
        Place::FileSystem(_) => {}
    }
    Some((cores, Load::Disk(load)))
}

/// One core for each job.
fn cores(offer: &Offer<'_>, field: &str, disk: &mut DiskBurner, found: &mut Violations) -> Option<Vec<u32>> {
    let jobs = disk.jobs.unwrap_or((disk.cores.len() as u32).max(1));
    let among = if disk.cores.is_empty() {
        // The last cores: interrupts and housekeeping crowd the first ones.
        offer.last_cores(field, jobs as usize, found)?
    } else {
        offer.choose_cores(field, &disk.cores, found)?
    };
    disk.jobs = Some(jobs);
    disk.cores.clone_from(&among);
    let cores: Vec<u32> = among.iter().copied().cycle().take(jobs as usize).collect();
    (!cores.is_empty()).then_some(cores)
}

fn io(path: PathBuf, place: Place, disk: &mut DiskBurner) -> DiskLoad {
    let access = disk.access();
    let read_percent = match access {
        DiskAccess::Read | DiskAccess::Randread => 100,
        DiskAccess::Write | DiskAccess::Randwrite | DiskAccess::Fill | DiskAccess::Unspecified => 0,
        DiskAccess::Readwrite | DiskAccess::Randrw => {
            *disk.read_percent.get_or_insert(validate::DEFAULT_READ_PERCENT)
        }
    };
    let share = |share: &BlockShare| disk::BlockShare { bytes: share.block_bytes, percent: share.percent };
    DiskLoad {
        path,
        place,
        task: Task::Io,
        size_bytes: disk.size_bytes,
        random: matches!(access, DiskAccess::Randread | DiskAccess::Randwrite | DiskAccess::Randrw),
        read_percent,
        blocks: disk.blocks.iter().map(share).collect(),
        depth: *disk.depth.get_or_insert(validate::DEFAULT_DEPTH),
        rate: disk.rate_per_s.map(Rate::Operations).or(disk.rate_bytes_per_s.map(Rate::Bytes)),
        rise: None,
        rate_share: disk.load.as_ref().and_then(|load| load.shape.as_ref()).map(Shape::from_message),
        fsync_every: disk.fsync_every.unwrap_or_default(),
        verify: disk.verify,
        inject_error: disk.inject_error,
        engine: match disk.engine() {
            DiskEngine::Unspecified => EngineChoice::Auto,
            DiskEngine::IoUring => EngineChoice::Uring,
            DiskEngine::Threads => EngineChoice::Threads,
        },
    }
}

/// A burner that fills; its size is what there is to take now.
fn fill(
    offer: &Offer<'_>,
    field: &str,
    path: PathBuf,
    disk: &mut DiskBurner,
    found: &mut Violations,
) -> Option<DiskLoad> {
    let percent = disk.fill_percent.unwrap_or_default();
    let until_bp = (percent * 100.0).round() as u32;
    let reserve_bytes = offer.limits.disk_reserve_bytes;
    let room = File::open(&path).and_then(|folder| Room::of(&folder));
    let room = match room {
        Ok(room) => room,
        Err(error) => {
            found.add(
                format!("{field}.path"),
                format!("the free space of {} can't be read: {error}", path.display()),
                "choose another folder",
            );
            return None;
        }
    };
    let size_bytes = room.to_take(until_bp, reserve_bytes);
    if size_bytes == 0 {
        found.add(
            format!("{field}.fill_percent"),
            format!(
                "{} is already filled to {percent} %, or to the agent's reserve: {} bytes are taken, {} are free, \
                 {reserve_bytes} of them are kept in reserve",
                path.display(),
                room.taken,
                room.free
            ),
            "fill to more, free some space, or choose another folder",
        );
        return None;
    }
    let task = Task::Fill { until_bp, reserve_bytes };
    disk.jobs = Some(1);
    Some(DiskLoad {
        task,
        size_bytes,
        blocks: Vec::new(),
        depth: 0,
        ..io(path, Place::Folder, &mut disk.clone())
    })
}

/// Whether no other run has the device, or the file system on it.
fn check_claim(offer: &Offer<'_>, field: &str, path: &Path, found: &mut Violations) -> Option<()> {
    let Some(run) = Claim::on(path).and_then(|claim| offer.others.claimant_of(claim)) else {
        return Some(());
    };
    found.add(
        format!("{field}.path"),
        format!("{} is in use by run {run}", path.display()),
        "choose another device, or wait for that run",
    );
    None
}

/// Whether the device is given away, free, and large enough for all jobs.
fn check_device(
    offer: &Offer<'_>,
    field: &str,
    load: &DiskLoad,
    jobs: usize,
    found: &mut Violations,
) -> Option<()> {
    let path = load.path.display();
    if !is_listed(&load.path, &offer.limits.expendable_devices) {
        found.add(
            format!("{field}.path"),
            format!("{path} is a block device, and the agent's configuration does not give it away: its content would be lost"),
            "name a folder, or list the device in limits.expendable_devices of the agent's configuration",
        );
        return None;
    }
    // As the burner will.
    let claimed = disk::open_claimed(&load.path, disk::CLAIM_LASTS_AT_MOST)
        .and_then(|mut device| device.seek(SeekFrom::End(0)));
    match claimed {
        Err(error) => {
            found.add(
                format!("{field}.path"),
                format!("{path} can't be had: {}", space::plain(&error)),
                "unmount it and end whatever uses it, such as swap, LVM or RAID",
            );
            None
        }
        Ok(device_bytes) if load.size_bytes.checked_mul(jobs as u64).is_none_or(|all| all > device_bytes) => {
            found.add(
                format!("{field}.size_bytes"),
                format!("{jobs} times {} bytes are more than {path} has: {device_bytes}", load.size_bytes),
                "choose a smaller size or fewer jobs",
            );
            None
        }
        Ok(_) => Some(()),
    }
}

/// By device number: a device has many names.
pub(super) fn is_listed(path: &Path, listed: &[PathBuf]) -> bool {
    let number = |path: &Path| {
        let metadata = fs::metadata(path).ok().filter(|metadata| metadata.file_type().is_block_device())?;
        Some(metadata.rdev())
    };
    number(path).is_some_and(|asked| listed.iter().any(|listed| number(listed) == Some(asked)))
}
