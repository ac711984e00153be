//! Branches that depend on pseudo-random bits. Vector registers make the bits (xorshift, one sequence a lane), scalar code
//! branches on each. Both arms are bijections, so an error in any of them is still there in the last. The sequences
//! of some units differ, or else the predictor would learn them by heart. The reference has no branch.

use std::sync::Arc;

use super::{
    Isa, branch_vector,
    kernel::{Kernel, Work},
};
use crate::burn::{BurnError, random::split_mix};

/// Branches of a unit: some 10 µs when half of them are mispredicted.
pub(super) const BRANCHES: usize = 4_096;
/// Units that differ: 65,536 branches are more than a predictor keeps.
pub(super) const SEQUENCES: usize = 16;
/// 32-bit words of the widest register.
pub(super) const LANES: usize = 16;

/// Sequences of bits, one a lane.
pub(super) type Sequences = [u32; LANES];

/// Lanes that a form uses.
pub(super) fn lanes(isa: Isa) -> usize {
    match isa {
        Isa::Portable | Isa::Avx2 => 8,
        Isa::Avx512 => LANES,
    }
}

/// Marsaglia: Xorshift RNGs, 2003; period 2^32 - 1.
pub(super) fn xorshift(mut x: u32) -> u32 {
    x ^= x << 13;
    x ^= x >> 17;
    x ^ x << 5
}

/// The arm taken at a 1.
#[inline(always)]
pub(super) fn one(x: u64) -> u64 {
    x.wrapping_mul(5).wrapping_add(1)
}

/// The arm taken at a 0.
#[inline(always)]
pub(super) fn zero(x: u64) -> u64 {
    (x ^ x >> 7).rotate_left(9)
}

/// The `branch` kernel.
#[derive(Debug)]
pub(super) struct Branch {
    isa: Isa,
    starts: Arc<[Sequences]>,
    expected: Arc<[u64]>,
    turn: usize,
    got: [u64; 1],
}

impl Branch {
    pub(super) fn new(isa: Isa, seed: u64) -> Self {
        let mut state = seed;
        // 0 would stay 0.
        let mut start = || -> Sequences { std::array::from_fn(|_| split_mix(&mut state) as u32 | 1) };
        let starts = (0..SEQUENCES).map(|_| start()).collect();
        Self { isa, starts, expected: Arc::new([]), turn: 0, got: [0] }
    }

    fn answer(&self, mut bits: Sequences) -> u64 {
        let lanes = lanes(self.isa);
        let mut x = 1;
        for _ in 0..BRANCHES / lanes {
            for lane in &mut bits[..lanes] {
                *lane = xorshift(*lane);
                let mask = u64::from(*lane >> 31).wrapping_neg();
                x = one(x) & mask | zero(x) & !mask;
            }
        }
        x
    }
}

impl Kernel for Branch {
    fn work(&self) -> Work {
        Work { operations: BRANCHES as u64, ..Work::default() }
    }

    fn fork(&self) -> Result<Box<dyn Kernel>, BurnError> {
        let (starts, expected) = (self.starts.clone(), self.expected.clone());
        Ok(Box::new(Self { isa: self.isa, starts, expected, turn: 0, got: [0] }))
    }

    fn learn(&mut self) {
        self.expected = self.starts.iter().map(|start| self.answer(*start)).collect();
    }

    fn compute(&mut self) -> Result<(), BurnError> {
        self.turn = (self.turn + 1) % SEQUENCES;
        self.got[0] = branch_vector::compute(self.isa, &self.starts[self.turn]);
        Ok(())
    }

    fn outcome(&mut self) -> (&mut [u64], &[u64]) {
        (&mut self.got, self.expected.get(self.turn..=self.turn).unwrap_or_default())
    }
}
