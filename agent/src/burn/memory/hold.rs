//! Holds memory, and looks again and again whether it is all still in RAM.

use std::{sync::atomic::Ordering, time::Duration};

use super::{load::RESIDENT, region::Region, sweep::Watch};
use crate::burn::{
    BurnError, control,
    worker::{Flow, Reins},
};

/// How often a piece is looked at, and counters are published.
const INTERVAL: Duration = Duration::from_millis(10);
/// A piece: 64 MiB, some 0.1 ms for mincore(2).
const PIECE_BLOCKS: usize = 16_384;

/// Until the end. An operation is a piece that was looked at.
pub(super) fn burn(region: &Region, reins: &Reins) -> Result<(), BurnError> {
    let mut watch = Watch::start(reins);
    let blocks = region.blocks().len();
    // Of each piece, when it was last looked at; before all have been once, what was proven before the start stands.
    let mut pieces: Vec<u64> = Vec::with_capacity(blocks.div_ceil(PIECE_BLOCKS));
    let mut at = 0;
    loop {
        let end = (at + PIECE_BLOCKS).min(blocks);
        let proven =
            region.proven_bytes(at..end).map_err(|source| BurnError::Memory { what: "looked at", source })?;
        match pieces.get_mut(at / PIECE_BLOCKS) {
            Some(piece) => *piece = proven as u64,
            None => pieces.push(proven as u64),
        }
        // At each piece, not at each pass: one takes 16 s for 100 GiB.
        if pieces.len() >= blocks.div_ceil(PIECE_BLOCKS) {
            reins.slot().figures[RESIDENT].store(pieces.iter().sum(), Ordering::Relaxed);
        }
        at = if end == blocks { 0 } else { end };
        if blocks > 0 {
            control::add(&reins.slot().operations, 1);
        }
        if watch.rest(INTERVAL, reins) == Flow::Stop {
            return Ok(());
        }
    }
}
