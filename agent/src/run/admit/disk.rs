//! What a disk burner becomes on this host.

use ssts_proto::{
    v1::{DiskAccess, DiskBurner},
    validate::{self, Violations},
};

use super::{Offer, space};
use crate::burn::{
    disk::{Direction, DiskLoad},
    plan::Load,
};

/// Its core and what it does there; fills in what was left open.
pub(super) fn plan(
    offer: &Offer<'_>,
    field: &str,
    disk: &mut DiskBurner,
    found: &mut Violations,
) -> Option<(Vec<u32>, Load)> {
    let access = disk.access();
    let load = DiskLoad {
        path: disk.path.clone().into(),
        size_bytes: disk.size_bytes,
        direction: match access {
            DiskAccess::Write | DiskAccess::Randwrite => Direction::Write,
            DiskAccess::Unspecified | DiskAccess::Read | DiskAccess::Randread => Direction::Read,
        },
        random: matches!(access, DiskAccess::Randread | DiskAccess::Randwrite),
        block_bytes: *disk.block_bytes.get_or_insert(validate::DEFAULT_BLOCK_BYTES),
        depth: *disk.depth.get_or_insert(validate::DEFAULT_DEPTH),
        rate_per_s: disk.rate_per_s,
    };
    space::check_folder(&format!("{field}.path"), &load.path, found)?;
    // The last core: interrupts and housekeeping crowd the first ones.
    let core = *offer.cores.last()?;
    Some((vec![core], Load::Disk(load)))
}
