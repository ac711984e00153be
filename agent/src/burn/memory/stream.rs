//! STREAM's loops over three arrays of doubles, one third of the worker's memory each.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    data::Data,
    load::StreamLoop,
    region::{BLOCK_BYTES, BLOCK_WORDS, Region},
    sweep::count,
    vector::{self, Store},
};
use crate::{
    burn::{
        BurnError, control,
        cpu::Isa,
        pace::Pacer,
        worker::{Flow, Reins},
    },
    clock,
};

/// Blocks of each array in one unit of work: 1 MiB, some 100 to 150 µs. A loop fills the caches' queues at its beginning and empties
/// them at its end: short units leave memory idle meanwhile.
const UNIT_BLOCKS: usize = 256;
/// √2 - 1: one round of all four loops multiplies `a` by 2s + s², which is 1, so that numbers neither grow nor shrink
/// however long it lasts.
const FACTOR: f64 = std::f64::consts::SQRT_2 - 1.0;

/// Bytes that a loop counted, and the time that it took.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    bytes: u64,
    time: Duration,
}

/// Runs the loops in turns, each over the whole arrays.
#[derive(Debug)]
pub(super) struct Streamer {
    isa: Isa,
    loops: Vec<StreamLoop>,
    region: Region,
    /// Of each array.
    blocks: usize,
    turn: usize,
    at: usize,
    tallies: [Tally; StreamLoop::ALL.len()],
}

impl Streamer {
    pub(super) fn new(
        isa: Isa,
        loops: Vec<StreamLoop>,
        mut region: Region,
        reins: &Reins,
    ) -> Result<Self, BurnError> {
        let blocks = region.blocks().len() / 3;
        for (index, block) in region.blocks_mut().iter_mut().enumerate() {
            if index % UNIT_BLOCKS == 0 && !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            // STREAM's own start: 1, 2 and 0.
            let number: f64 = [1.0, 2.0, 0.0][(index / blocks.max(1)).min(2)];
            let steps = Data::Constant(number.to_bits()).steps(0);
            vector::write_steps(isa, block, &steps, Store::NonTemporal);
        }
        vector::fence();
        let tallies = [Tally::default(); StreamLoop::ALL.len()];
        Ok(Self { isa, loops, region, blocks, turn: 0, at: 0, tallies })
    }

    pub(super) fn burn(&mut self, mut pacer: Pacer, reins: &Reins) {
        while pacer.step(reins, |units| (0..units).for_each(|_| self.unit(reins))) != Flow::Stop {}
    }

    fn unit(&mut self, reins: &Reins) {
        let end = (self.at + UNIT_BLOCKS).min(self.blocks);
        let kind = self.loops[self.turn];
        let begin = clock::boottime();
        self.compute(kind, self.at, end);
        let tally = &mut self.tallies[kind as usize];
        let blocks = (end - self.at) as u64;
        let bytes = blocks * BLOCK_BYTES as u64 * kind.arrays();
        tally.bytes += bytes;
        tally.time += clock::boottime().saturating_sub(begin);
        count(reins, bytes);
        control::add(&reins.slot().flops, blocks * BLOCK_WORDS as u64 * kind.flops());
        let rate = tally.bytes as f64 / tally.time.as_secs_f64().max(f64::MIN_POSITIVE);
        reins.slot().figures[kind.figure()].store(rate as u64, Ordering::Relaxed);
        self.at = end;
        if end == self.blocks {
            self.at = 0;
            self.turn = (self.turn + 1) % self.loops.len();
        }
    }

    fn compute(&mut self, kind: StreamLoop, from: usize, to: usize) {
        let (isa, blocks) = (self.isa, self.blocks);
        let (a, rest) = self.region.blocks_mut().split_at_mut(blocks);
        let (b, c) = rest.split_at_mut(blocks);
        let (a, b, c) = (&mut a[from..to], &mut b[from..to], &mut c[from..to]);
        match kind {
            StreamLoop::Copy => vector::copy(isa, a, c),
            StreamLoop::Scale => vector::scale(isa, FACTOR, c, b),
            StreamLoop::Add => vector::add(isa, a, b, c),
            StreamLoop::Triad => vector::triad(isa, FACTOR, b, c, a),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::burn::{control::ControlBlock, memory::region::Pages};

    #[test]
    fn rounds_of_all_loops_keep_the_numbers_and_count_as_stream_does() {
        let block = Arc::new(ControlBlock::create(1, 0, Duration::from_secs(60)).unwrap());
        let reins = Reins::new(block.clone(), 0, 0, None);
        let mut region = Region::reserve(6 << 20, Pages::Small).unwrap();
        region.grow(6 << 20).unwrap();
        let isa = *Isa::available().last().unwrap();
        let mut streamer = Streamer::new(isa, StreamLoop::ALL.to_vec(), region, &reins).unwrap();
        let rounds = 100;
        for _ in 0..rounds * 4 * (512 / UNIT_BLOCKS) {
            streamer.unit(&reins);
        }
        let numbers = |array: usize| f64::from_bits(streamer.region.blocks()[array * 512 + 511].0[511]);
        for (array, expected) in [(0, 1.0), (1, FACTOR), (2, 1.0 + FACTOR)] {
            assert!((numbers(array) - expected).abs() < 1e-12, "{array}: {}", numbers(array));
        }
        let bytes = block.slot(0).bytes.load(Ordering::Relaxed);
        assert_eq!(bytes, rounds as u64 * (2 + 2 + 3 + 3) * (2 << 20));
        assert_eq!(block.slot(0).flops.load(Ordering::Relaxed), rounds as u64 * (1 + 1 + 2) * (2 << 20) / 8);
        for kind in StreamLoop::ALL {
            assert!(block.slot(0).figures[kind.figure()].load(Ordering::Relaxed) > 0);
        }
    }
}
