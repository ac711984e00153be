//! Memory that grows and shrinks while its burner burns: towards what was asked, as far as there is room.

use std::sync::atomic::Ordering;

use super::{
    BLOCK_BYTES, MemoryLoad, Pages,
    load::{ON_TARGET, RESIDENT},
    region::Region,
};
use crate::{
    burn::{BurnError, worker::Reins},
    host::{Left, MemoryRoom},
};

/// A worker's part of it, and the wall that the reserve is.
#[derive(Debug)]
pub(super) struct Elastic {
    region: Region,
    floor_bytes: u64,
    room: MemoryRoom,
}

/// In how many looks what was asked was met.
#[derive(Debug, Default)]
pub(super) struct Met {
    looks: u64,
    met: u64,
}

impl Elastic {
    pub(super) fn new(load: &MemoryLoad, node: Option<u32>, region: Region) -> Self {
        Self { region, floor_bytes: load.floor_bytes, room: MemoryRoom::new(&load.roots, node) }
    }

    /// From the start of the region up to where it was made resident.
    pub(super) fn resident_bytes(&self) -> usize {
        self.region.resident_bytes()
    }

    /// Whether there are no more addresses.
    pub(super) fn is_full(&self) -> bool {
        self.region.resident_bytes() >= self.region.bytes()
    }

    /// The least that it grows by.
    pub(super) fn page_bytes(&self) -> usize {
        self.region.page_blocks() * BLOCK_BYTES
    }

    /// Where there is least room left.
    pub(super) fn tightest(&self) -> Option<Left> {
        self.room.tightest(self.floor_bytes)
    }

    /// Grows, up to the end of its addresses, if there is room for all workers to do so at once, or by `least` bytes if that is
    /// more. What the kernel doesn't give is not asked for again before the next look.
    ///
    /// # Errors
    /// The kernel's, but for want of memory.
    pub(super) fn grow(&mut self, bytes: usize, least: usize, workers: usize) -> Result<(), BurnError> {
        let bytes = bytes.min(self.region.bytes() - self.region.resident_bytes());
        let needed = (bytes.max(least) as u64).saturating_mul(workers as u64);
        // Pages of the pool are nobody else's already.
        let has_room = self.region.pages() == Pages::Huge
            || self.tightest().is_none_or(|left| left.usable_bytes() >= needed);
        if bytes == 0 || !has_room {
            return Ok(());
        }
        match self.region.grow(bytes) {
            Err(error) if error.raw_os_error() != Some(libc::ENOMEM) => {
                Err(BurnError::Memory { what: "made resident", source: error })
            }
            _ => Ok(()),
        }
    }

    /// Gives back what is beyond `bytes`.
    ///
    /// # Errors
    /// The kernel's; none is known for memory of one's own.
    pub(super) fn shrink_to(&mut self, bytes: usize) -> Result<(), BurnError> {
        self.region.shrink_to(bytes).map_err(|source| BurnError::Memory { what: "given back", source })
    }

    /// Tells what is resident.
    pub(super) fn publish(&self, reins: &Reins) {
        reins.slot().figures[RESIDENT].store(self.region.resident_bytes() as u64, Ordering::Relaxed);
    }
}

impl Met {
    /// Counts a look, and tells in what part of all it was met.
    pub(super) fn count(&mut self, is_met: bool, reins: &Reins) {
        self.looks += 1;
        self.met += u64::from(is_met);
        reins.slot().figures[ON_TARGET].store(self.met * 1_000_000 / self.looks, Ordering::Relaxed);
    }
}
