//! Chains of double-precision multiply-adds in registers.
//!
//! Each lane steps `x ← x·A + B` from a start of its own. `A` is a little above 1 and `B` moves the fixed point to 1.5, so that
//! starts in (1, 2) drift apart slowly, stay finite, and an error in any step is still there in the last. Fused
//! multiply-adds are rounded once (IEEE 754-2008, 5.4.1), so every instruction set and the scalar reference give the same
//! bits; the portable form rounds twice and has a reference of its own.

use super::{Isa, fma_vector};

/// Chains that must overlap to fill the pipes: latency (4 to 5 cycles) times pipes (2), and some to spare.
pub(super) const CHAINS: usize = 12;
/// Doubles of the widest register.
pub(super) const LANES: usize = 8;
/// Steps of one block: some 13 µs on one 512-bit pipe at 3.7 GHz, short against a duty cycle's period.
pub(super) const STEPS: usize = 4_096;
/// 1 + 2^-13: over a block distances grow by e^0.5.
pub(super) const A: f64 = 1.0 + 1.0 / 8_192.0;
/// Puts the fixed point at 1.5.
pub(super) const B: f64 = -1.5 / 8_192.0;

/// One value for each lane of each chain.
pub(super) type Lanes = [[f64; LANES]; CHAINS];

/// A block's start and its known end.
#[derive(Debug)]
pub struct Answer {
    isa: Isa,
    start: Lanes,
    end: Lanes,
}

impl Answer {
    /// Computes the reference for a seed, one lane after the other, with scalar operations.
    ///
    /// # Panics
    /// When this host lacks the instructions.
    pub fn new(isa: Isa, seed: u64) -> Self {
        assert!(isa.is_available());
        let start = starts(seed);
        let step: fn(f64) -> f64 = match isa {
            Isa::Portable => |x| x * A + B,
            Isa::Avx2 | Isa::Avx512 => |x| x.mul_add(A, B),
        };
        // Only lanes that the form computes: AVX2 registers hold half as many.
        let end = start.map(|chain| chain.map(|x| (0..STEPS).fold(x, |x, _| step(x))));
        Self { isa, start, end }
    }

    /// Computes one block and says whether every lane came out as it must, to the bit.
    pub fn compute_and_compare(&self) -> bool {
        let end = fma_vector::compute(self.isa, &self.start);
        let lanes = self.lanes();
        let same = |(got, expected): (&[f64; LANES], &[f64; LANES])| {
            got[..lanes]
                .iter()
                .zip(&expected[..lanes])
                .all(|(got, expected)| got.to_bits() == expected.to_bits())
        };
        end.iter().zip(&self.end).all(same)
    }

    /// The instructions that it computes with.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// A multiplication and an addition a lane and step.
    pub fn flops_per_block(&self) -> u64 {
        (2 * CHAINS * self.lanes() * STEPS) as u64
    }

    fn lanes(&self) -> usize {
        match self.isa {
            Isa::Portable | Isa::Avx2 => LANES / 2,
            Isa::Avx512 => LANES,
        }
    }
}

/// Values in (1, 2), all mantissa bits in use: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, OOPSLA 2014).
fn starts(seed: u64) -> Lanes {
    let mut state = seed;
    let mut lanes = [[0.0; LANES]; CHAINS];
    for lane in lanes.as_flattened_mut() {
        *lane = 1.0 + (crate::burn::random::split_mix(&mut state) >> 12) as f64 / (1u64 << 52) as f64;
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_of_this_host_finds_the_known_answer() {
        for isa in Isa::available() {
            for seed in 0..20 {
                assert!(Answer::new(isa, seed).compute_and_compare(), "{isa:?} {seed}");
            }
        }
    }

    #[test]
    fn one_flipped_bit_of_one_lane_is_found() {
        for isa in Isa::available() {
            let mut answer = Answer::new(isa, 1);
            let lane = answer.lanes() - 1;
            let wrong = &mut answer.end[CHAINS - 1][lane];
            *wrong = f64::from_bits(wrong.to_bits() ^ 1);
            assert!(!answer.compute_and_compare(), "{isa:?}");
        }
    }

    #[test]
    fn an_error_in_an_early_step_survives_to_the_end() {
        let clean = Answer::new(Isa::Portable, 1);
        let x = clean.start[0][0];
        let end = |x: f64| (0..STEPS).fold(x, |x, _| x * A + B);
        let disturbed = f64::from_bits(x.to_bits() ^ (1 << 8));
        assert_ne!(end(x).to_bits(), end(disturbed).to_bits());
    }

    #[test]
    fn lanes_stay_ordinary_numbers() {
        for end in Answer::new(Isa::Portable, 3).end.as_flattened() {
            assert!(end.is_normal() && (0.1..4.0).contains(end), "{end}");
        }
    }
}
