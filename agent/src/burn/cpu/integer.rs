//! 32-bit integer arithmetic: `x ← rotate(x·M + D, 7) ⊕ K` in every lane. `M` is odd, so each step is a bijection: an error in any
//! step is still there in the last. The reference computes lane by lane in 64-bit registers.

use std::sync::Arc;

use super::{
    Isa, integer_vector,
    kernel::{Kernel, Work},
};
use crate::burn::{BurnError, random::split_mix};

/// A multiplier of MurmurHash3 (Appleby), odd.
pub(super) const M: u32 = 0xcc9e_2d51;
/// 2^32 over the golden ratio.
pub(super) const D: u32 = 0x9e37_79b9;
/// Another constant of MurmurHash3.
pub(super) const K: u32 = 0x85eb_ca6b;
/// Chains that overlap: a multiplication takes 10 cycles.
pub(super) const CHAINS: usize = 12;
/// Of a unit: some 10 µs.
pub(super) const STEPS: usize = 1_024;
/// A multiplication, an addition, a rotation, an exclusive or.
const OPERATIONS: usize = 4;

/// The `integer` kernel.
#[derive(Debug)]
pub(super) struct Integer {
    isa: Isa,
    start: Arc<[u64]>,
    expected: Arc<[u64]>,
    got: Vec<u64>,
}

/// Words of one chain.
pub(super) fn words(isa: Isa) -> usize {
    match isa {
        Isa::Portable | Isa::Avx2 => 4,
        Isa::Avx512 => 8,
    }
}

impl Integer {
    pub(super) fn new(isa: Isa, seed: u64) -> Self {
        let mut state = seed;
        let start: Arc<[u64]> = (0..CHAINS * words(isa)).map(|_| split_mix(&mut state)).collect();
        Self { isa, got: start.to_vec(), start, expected: Arc::new([]) }
    }
}

impl Kernel for Integer {
    fn work(&self) -> Work {
        let lanes = CHAINS * words(self.isa) * 2;
        Work { operations: (OPERATIONS * lanes * STEPS) as u64, ..Work::default() }
    }

    fn fork(&self) -> Result<Box<dyn Kernel>, BurnError> {
        let (start, expected) = (self.start.clone(), self.expected.clone());
        Ok(Box::new(Self { isa: self.isa, got: start.to_vec(), start, expected }))
    }

    fn learn(&mut self) {
        let word = |word: &u64| end_of_lane(word & 0xffff_ffff) | end_of_lane(word >> 32) << 32;
        self.expected = self.start.iter().map(word).collect();
    }

    fn compute(&mut self) -> Result<(), BurnError> {
        integer_vector::compute(self.isa, &self.start, &mut self.got);
        Ok(())
    }

    fn outcome(&mut self) -> (&mut [u64], &[u64]) {
        (&mut self.got, &self.expected)
    }
}

/// Modulo 2^32 in 64 bits.
fn end_of_lane(start: u64) -> u64 {
    const MASK: u64 = 0xffff_ffff;
    (0..STEPS).fold(start, |x, _| {
        let sum = (x * u64::from(M) + u64::from(D)) & MASK;
        ((sum << 7 | sum >> 25) & MASK) ^ u64::from(K)
    })
}
