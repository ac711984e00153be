//! Bounds of the disk burner.

use super::Violations;
use crate::v1::{DiskAccess, DiskBurner};

/// I/Os that a disk burner may have in flight.
pub const MAX_DEPTH: u32 = 1_024;
/// Bytes of one I/O.
pub const MAX_BLOCK_BYTES: u32 = 16 << 20;
/// Block sizes are multiples of the smallest sector.
pub const SECTOR_BYTES: u32 = 512;
/// I/Os a second that can be asked for.
pub const MAX_RATE_PER_S: u64 = 100_000_000;
/// What a disk burner uses when its block size is unset.
pub const DEFAULT_BLOCK_BYTES: u32 = 4_096;
/// What a disk burner uses when its depth is unset.
pub const DEFAULT_DEPTH: u32 = 32;

pub(super) fn check(field: &str, disk: &DiskBurner, found: &mut Violations) {
    if !disk.path.starts_with('/') || disk.path.contains('\0') {
        found.add(
            format!("{field}.path"),
            format!("'{}' is not an absolute path", disk.path),
            "begin it with '/'",
        );
    }
    if matches!(DiskAccess::try_from(disk.access), Err(_) | Ok(DiskAccess::Unspecified)) {
        found.add(format!("{field}.access"), "no access is chosen", "use read, write, randread or randwrite");
    }
    let block_bytes = disk.block_bytes.unwrap_or(DEFAULT_BLOCK_BYTES);
    let block_is_good =
        (SECTOR_BYTES..=MAX_BLOCK_BYTES).contains(&block_bytes) && block_bytes.is_multiple_of(SECTOR_BYTES);
    if !block_is_good {
        found.add(
            format!("{field}.block_bytes"),
            format!("a block of {block_bytes} bytes"),
            format!("use a multiple of {SECTOR_BYTES}, at most {MAX_BLOCK_BYTES}"),
        );
    } else if disk.size_bytes == 0 || !disk.size_bytes.is_multiple_of(u64::from(block_bytes)) {
        found.add(
            format!("{field}.size_bytes"),
            format!("a size of {} bytes with blocks of {block_bytes}", disk.size_bytes),
            "use a multiple of the block size, at least one block",
        );
    }
    if disk.size_bytes > i64::MAX as u64 {
        found.add(
            format!("{field}.size_bytes"),
            format!("a size of {} bytes", disk.size_bytes),
            "no file can be that large",
        );
    }
    let depth = disk.depth.unwrap_or(DEFAULT_DEPTH);
    if !(1..=MAX_DEPTH).contains(&depth) {
        found.add(format!("{field}.depth"), format!("a depth of {depth}"), format!("use 1 to {MAX_DEPTH}"));
    }
    if let Some(rate) = disk.rate_per_s
        && !(1..=MAX_RATE_PER_S).contains(&rate)
    {
        found.add(
            format!("{field}.rate_per_s"),
            format!("a rate of {rate} I/Os a second"),
            format!("use 1 to {MAX_RATE_PER_S}"),
        );
    }
}
