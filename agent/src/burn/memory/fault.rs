//! Maps, touches and unmaps memory, over and over: page faults as fast as the kernel handles them.

use std::{collections::VecDeque, sync::atomic::Ordering, time::Duration};

use nix::sys::resource::{Usage, UsageWho, getrusage};

use super::{
    HUGE_BYTES, MemoryLoad,
    load::{FIRST, RESIDENT, SECOND},
    region::{Pages, Region},
    sweep::Watch,
};
use crate::{
    burn::{
        BurnError, control,
        worker::{Flow, Reins},
    },
    host::MemoryRoom,
};

/// Mappings of all workers together: vm.max_map_count is 65,530 by default, and each piece may take two.
const MOST_PIECES: usize = 16_384;
/// How long a worker waits that may not map anything.
const NAP: Duration = Duration::from_millis(10);

/// Mapped, touched and unmapped at a time: 512 small pages, some 0.3 ms, and more only where there would be too many.
fn piece_bytes(bytes: usize, workers: usize) -> usize {
    bytes.div_ceil((MOST_PIECES / workers).max(1)).next_multiple_of(HUGE_BYTES)
}

/// Keeps up to `bytes` mapped, a piece less than that at least, and exchanges the oldest piece for a new one until the
/// end; less where the reserve would be touched. An operation is a page that was touched first.
pub(super) fn burn(load: &MemoryLoad, bytes: usize, reins: &Reins) -> Result<(), BurnError> {
    let slot = reins.slot();
    let (_, workers) = reins.place();
    let piece_bytes = piece_bytes(bytes, workers);
    let most = (bytes / piece_bytes).max(1);
    let room = MemoryRoom::new(&load.roots, None);
    // Others may grow by as much at the same time. Pages of the pool are nobody else's already.
    let has_room = || {
        let wanted = (piece_bytes * workers) as u64;
        load.pages == Pages::Huge
            || room.tightest(load.floor_bytes).is_none_or(|left| left.usable_bytes() >= wanted)
    };
    let mut pieces = VecDeque::new();
    let mut watch = Watch::start(reins);
    let before = usage()?;
    loop {
        let grows = pieces.len() < most && has_room();
        // What the oldest gives back the new one may take.
        if grows || pieces.pop_front().is_some() {
            let mapped = Region::reserve(piece_bytes, load.pages);
            let mut piece = mapped.map_err(|source| BurnError::Memory { what: "mapped", source })?;
            let faults = usage()?.minor_page_faults();
            let touched = piece.touch() as u64;
            // How many of the transparent pages are huge only the kernel knows.
            let touched = match load.pages {
                Pages::Transparent => usage()?.minor_page_faults().abs_diff(faults),
                Pages::Small | Pages::Huge => touched,
            };
            pieces.push_back(piece);
            control::add(&slot.operations, touched);
            control::add(&slot.bytes, piece_bytes as u64);
        } else {
            reins.sleep_until((watch.now() + NAP).min(reins.end()));
        }
        let now = usage()?;
        slot.figures[RESIDENT].store((pieces.len() * piece_bytes) as u64, Ordering::Relaxed);
        let since = |count: fn(&Usage) -> i64| (count(&now) - count(&before)).cast_unsigned();
        slot.figures[FIRST].store(since(Usage::minor_page_faults), Ordering::Relaxed);
        slot.figures[SECOND].store(since(Usage::major_page_faults), Ordering::Relaxed);
        watch.publish(reins);
        match reins.check() {
            Flow::Stop => return Ok(()),
            Flow::Resumed(paused) => watch.forget(paused),
            Flow::Burn => {}
        }
    }
}

/// Of this thread: getrusage(2).
fn usage() -> Result<Usage, BurnError> {
    getrusage(UsageWho::RUSAGE_THREAD)
        .map_err(|errno| BurnError::Memory { what: "accounted for", source: errno.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_mappings_than_the_kernel_lets_a_process_have() {
        assert_eq!(piece_bytes(4_096, 1), HUGE_BYTES);
        assert_eq!(piece_bytes(16 << 30, 2), HUGE_BYTES);
        for (bytes, workers) in [(4usize << 40, 1), (4 << 40, 128), (1 << 40, 3), (1 << 30, 1_000)] {
            let share = bytes / workers;
            let pieces = share / piece_bytes(share, workers) * workers;
            assert!(pieces <= MOST_PIECES, "{bytes} {workers}: {pieces}");
        }
    }
}
