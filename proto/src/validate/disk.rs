//! Bounds of the disk burner.

use std::collections::HashSet;

use super::{Violations, known, profile, rate};
use crate::v1::{BlockShare, DiskAccess, DiskBurner, DiskEngine};

/// I/Os that a disk burner may have in flight.
pub const MAX_DEPTH: u32 = 1_024;
/// Bytes of one I/O.
pub const MAX_BLOCK_BYTES: u32 = 16 << 20;
/// Block sizes are multiples of the smallest sector.
pub const SECTOR_BYTES: u32 = 512;
/// I/Os a second that can be asked for.
pub const MAX_RATE_PER_S: u64 = 100_000_000;
/// Bytes a second that can be asked for.
pub const MAX_RATE_BYTES_PER_S: u64 = 1 << 40;
/// Block sizes of one burner.
pub const MAX_BLOCK_SIZES: usize = 16;
/// Jobs of one burner.
pub const MAX_JOBS: u32 = 256;
/// Writes between two fsyncs.
pub const MAX_FSYNC_EVERY: u32 = 1_000_000;
/// What a disk burner uses when its block size is unset.
pub const DEFAULT_BLOCK_BYTES: u32 = 4_096;
/// What a disk burner uses when its depth is unset.
pub const DEFAULT_DEPTH: u32 = 32;
/// Between two remounts, in ms.
const REMOUNT_EVERY_MS: std::ops::RangeInclusive<u64> = 100..=24 * 3_600_000;
/// Reads among reads and writes when their share is unset.
pub const DEFAULT_READ_PERCENT: u32 = 50;

pub(super) fn check(field: &str, disk: &DiskBurner, found: &mut Violations) {
    if !disk.path.starts_with('/') || disk.path.contains('\0') {
        found.add(
            format!("{field}.path"),
            format!("'{}' is not an absolute path", disk.path),
            "begin it with '/'",
        );
    }
    known::<DiskEngine>(&format!("{field}.engine"), disk.engine, found);
    match DiskAccess::try_from(disk.access) {
        Err(_) | Ok(DiskAccess::Unspecified) => found.add(
            format!("{field}.access"),
            "no access is chosen",
            "use read, write, readwrite, randread, randwrite, randrw or fill",
        ),
        Ok(DiskAccess::Fill) => fill(field, disk, found),
        Ok(access) => io(field, disk, access, found),
    }
}

/// What filling needs, and what means nothing to it.
fn fill(field: &str, disk: &DiskBurner, found: &mut Violations) {
    let percent = disk.fill_percent.unwrap_or_default();
    if !(percent > 0.0 && percent <= 100.0) {
        found.add(
            format!("{field}.fill_percent"),
            format!("filling to {percent} %"),
            "use more than 0, at most 100 %",
        );
    }
    let others = [
        ("size_bytes", disk.size_bytes > 0),
        ("block_bytes", disk.block_bytes.is_some()),
        ("blocks", !disk.blocks.is_empty()),
        ("depth", disk.depth.is_some()),
        ("rate_per_s", disk.rate_per_s.is_some()),
        ("rate_bytes_per_s", disk.rate_bytes_per_s.is_some()),
        ("read_percent", disk.read_percent.is_some()),
        ("jobs", disk.jobs.is_some_and(|jobs| jobs != 1)),
        ("fsync_every", disk.fsync_every.is_some()),
        ("verify", disk.verify),
        ("inject_error", disk.inject_error),
        ("remount_every_ms", disk.remount_every_ms.is_some()),
        ("load", disk.load.is_some()),
        ("rate_tolerance_percent", disk.rate_tolerance_percent.is_some()),
    ];
    for (name, _) in others.iter().filter(|(_, is_set)| *is_set) {
        found.add(format!("{field}.{name}"), "it means nothing to a burner that fills", "leave it out");
    }
}

fn io(field: &str, disk: &DiskBurner, access: DiskAccess, found: &mut Violations) {
    if disk.fill_percent.is_some() {
        found.add(format!("{field}.fill_percent"), "only a burner that fills has one", "leave it out");
    }
    blocks(field, disk, found);
    range(field, "depth", "a depth of {}", disk.depth, MAX_DEPTH, found);
    range(field, "jobs", "{} jobs", disk.jobs, MAX_JOBS, found);
    range(field, "fsync_every", "an fsync after {} writes", disk.fsync_every, MAX_FSYNC_EVERY, found);
    range(field, "rate_per_s", "a rate of {} I/Os a second", disk.rate_per_s, MAX_RATE_PER_S, found);
    range(
        field,
        "rate_bytes_per_s",
        "a rate of {} bytes a second",
        disk.rate_bytes_per_s,
        MAX_RATE_BYTES_PER_S,
        found,
    );
    if disk.rate_per_s.is_some() && disk.rate_bytes_per_s.is_some() {
        found.add(
            format!("{field}.rate_bytes_per_s"),
            "a rate of I/Os and one of bytes",
            "use one of the two",
        );
    }
    let has_rate = disk.rate_per_s.is_some() || disk.rate_bytes_per_s.is_some();
    rate::tolerance(field, disk.rate_tolerance_percent, has_rate, found);
    let mixes = matches!(access, DiskAccess::Readwrite | DiskAccess::Randrw);
    match disk.read_percent {
        Some(_) if !mixes => found.add(
            format!("{field}.read_percent"),
            "a share of reads without both reads and writes",
            "use it with readwrite or randrw",
        ),
        Some(percent) if !(1..=99).contains(&percent) => {
            found.add(format!("{field}.read_percent"), format!("{percent} % of reads"), "use 1 to 99 %");
        }
        Some(_) | None => {}
    }
    let reads_alone = matches!(access, DiskAccess::Read | DiskAccess::Randread);
    if disk.fsync_every.is_some() && reads_alone {
        found.add(
            format!("{field}.fsync_every"),
            "there are no writes to fsync",
            "use it with an access that writes",
        );
    }
    if disk.inject_error && !disk.verify {
        found.add(format!("{field}.inject_error"), "nothing would find the error", "use verify, too");
    }
    if let Some(load) = &disk.load {
        profile::check_shape(&format!("{field}.load"), load, found);
        if disk.rate_per_s.is_none() && disk.rate_bytes_per_s.is_none() {
            found.add(
                format!("{field}.load"),
                "percent of a rate, and no rate",
                "give the rate that is 100 %: I/Os or bytes a second",
            );
        }
    }
    if let Some(every_ms) = disk.remount_every_ms {
        remount(field, disk, every_ms, found);
    }
    let mut seen = HashSet::new();
    for core in disk.cores.iter().filter(|core| !seen.insert(**core)) {
        found.add(format!("{field}.cores"), format!("core {core} is named twice"), "name each core once");
    }
}

fn remount(field: &str, disk: &DiskBurner, every_ms: u64, found: &mut Violations) {
    let place = format!("{field}.remount_every_ms");
    if !REMOUNT_EVERY_MS.contains(&every_ms) {
        found.add(&*place, format!("a remount every {every_ms} ms"), "use 100 ms to 24 h");
    }
    if !disk.verify {
        found.add(&*place, "nothing would be compared after a remount", "use verify, too");
    }
    let jobs = disk.jobs.unwrap_or(disk.cores.len() as u32);
    if jobs > 1 {
        found.add(place, format!("{jobs} jobs on a file system that is unmounted"), "use one job");
    }
}

fn range<N: Copy + Ord + From<u8> + std::fmt::Display>(
    field: &str,
    name: &str,
    what: &str,
    value: Option<N>,
    most: N,
    found: &mut Violations,
) {
    if let Some(value) = value
        && !(N::from(1)..=most).contains(&value)
    {
        found.add(
            format!("{field}.{name}"),
            what.replace("{}", &value.to_string()),
            format!("use 1 to {most}"),
        );
    }
}

/// Block sizes, and the size that must be a multiple of each.
fn blocks(field: &str, disk: &DiskBurner, found: &mut Violations) {
    let single = [BlockShare { block_bytes: disk.block_bytes.unwrap_or(DEFAULT_BLOCK_BYTES), percent: 100 }];
    let (name, blocks) =
        if disk.blocks.is_empty() { ("block_bytes", &single[..]) } else { ("blocks", &disk.blocks[..]) };
    let place = format!("{field}.{name}");
    let before = found.len();
    if disk.block_bytes.is_some() && !disk.blocks.is_empty() {
        found.add(&*place, "one block size and several", "use one of the two");
    }
    if blocks.len() > MAX_BLOCK_SIZES {
        found.add(&*place, format!("{} block sizes", blocks.len()), format!("use at most {MAX_BLOCK_SIZES}"));
        return;
    }
    for BlockShare { block_bytes, .. } in blocks {
        let is_good = (SECTOR_BYTES..=MAX_BLOCK_BYTES).contains(block_bytes)
            && block_bytes.is_multiple_of(SECTOR_BYTES);
        if !is_good {
            found.add(
                &*place,
                format!("a block of {block_bytes} bytes"),
                format!("use a multiple of {SECTOR_BYTES}, at most {MAX_BLOCK_BYTES}"),
            );
        }
    }
    let sum: u64 = blocks.iter().map(|block| u64::from(block.percent)).sum();
    if sum != 100 || blocks.iter().any(|block| block.percent == 0) {
        found.add(&*place, format!("shares that make {sum} %"), "use shares of 1 to 100 that make 100");
    }
    if found.len() > before {
        return;
    }
    let smallest = blocks.iter().map(|block| block.block_bytes).min().unwrap_or(SECTOR_BYTES);
    if let Some(odd) = blocks.iter().find(|block| !block.block_bytes.is_multiple_of(smallest)) {
        found.add(
            &*place,
            format!("blocks of {} beside blocks of {smallest} bytes", odd.block_bytes),
            "use multiples of the smallest",
        );
        return;
    }
    let size_bytes = disk.size_bytes;
    let odd = blocks.iter().find(|block| !size_bytes.is_multiple_of(u64::from(block.block_bytes)));
    if let Some(block_bytes) =
        odd.or(blocks.first().filter(|_| size_bytes == 0)).map(|block| block.block_bytes)
    {
        found.add(
            format!("{field}.size_bytes"),
            format!("a size of {size_bytes} bytes with blocks of {block_bytes}"),
            "use a multiple of the block size, at least one block",
        );
    }
    if size_bytes > i64::MAX as u64 {
        found.add(
            format!("{field}.size_bytes"),
            format!("a size of {size_bytes} bytes"),
            "no file can be that large",
        );
    }
}
