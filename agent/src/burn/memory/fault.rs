//! Maps, touches and unmaps memory, over and over: page faults as fast as the kernel handles them.

use std::{collections::VecDeque, sync::atomic::Ordering};

use nix::sys::resource::{Usage, UsageWho, getrusage};

use super::{
    HUGE_BYTES,
    load::{FIRST, RESIDENT, SECOND},
    region::{Pages, Region},
    sweep::Watch,
};
use crate::burn::{
    BurnError, control,
    worker::{Flow, Reins},
};

/// Mapped, touched and unmapped at a time: 512 small pages, some 0.3 ms.
const PIECE_BYTES: usize = HUGE_BYTES;

/// Keeps up to `bytes` mapped, a piece less than that at least, and exchanges the oldest piece for a new one until the
/// end. An operation is a page that was touched first.
pub(super) fn burn(bytes: usize, pages: Pages, reins: &Reins) -> Result<(), BurnError> {
    let slot = reins.slot();
    let most = (bytes / PIECE_BYTES).max(1);
    let mut pieces = VecDeque::with_capacity(most);
    let mut watch = Watch::start(reins);
    let before = usage()?;
    loop {
        if pieces.len() == most {
            pieces.pop_front();
        }
        let mapped = Region::reserve(PIECE_BYTES, pages);
        let mut piece = mapped.map_err(|source| BurnError::Memory { what: "mapped", source })?;
        let touched = piece.touch();
        pieces.push_back(piece);
        let now = usage()?;
        control::add(&slot.operations, touched as u64);
        control::add(&slot.bytes, PIECE_BYTES as u64);
        slot.figures[RESIDENT].store((pieces.len() * PIECE_BYTES) as u64, Ordering::Relaxed);
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
