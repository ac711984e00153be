//! What `verify` writes: every word of a sweep's data is a function of its place, so that a wrong one is known to the bit.

use super::{
    crc,
    region::{BLOCK_WORDS, Block},
};
use crate::burn::random::split_mix;

/// Words of a cache line.
pub(super) const LINE_WORDS: usize = 8;
/// A block's CRCs are of its quarters, so that four chains of CRC instructions overlap.
pub(super) const QUARTER_WORDS: usize = BLOCK_WORDS / 4;

/// The data of one sweep over a worker's memory.
#[derive(Debug, Clone)]
pub(super) enum Data {
    /// The same word everywhere.
    Constant(u64),
    /// A single one (or, inverted, a single zero) that moves on by a bit with each word.
    Walking {
        /// Where the one of the first word is.
        shift: u32,
        /// Flips every bit.
        invert: bool,
    },
    /// Each word's own address.
    Address {
        /// Flips every bit.
        invert: bool,
    },
    /// Pseudo-random blocks, told apart by a salt, that are checked by CRC.
    Random(Box<RandomData>),
}

/// The words of one block, by lines: each is the one before, rotated left, plus `add`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) first: [u64; LINE_WORDS],
    pub(super) rotate_bits: u32,
    pub(super) add: u64,
}

impl Steps {
    /// The line after `line`.
    pub(super) fn next(&self, line: [u64; LINE_WORDS]) -> [u64; LINE_WORDS] {
        line.map(|word| word.rotate_left(self.rotate_bits).wrapping_add(self.add))
    }
}

/// One random block, and what a salt that is XORed to each of its words does to its CRCs. CRCs are linear over XOR, so the
/// CRC of a salted block is known without computing it.
#[derive(Debug, Clone)]
pub(super) struct RandomData {
    pub(super) base: Block,
    seed: u64,
    base_crcs: [u32; 4],
    /// What each bit of the salt changes in a quarter's CRC.
    salt_bits: [u32; 64],
}

impl RandomData {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut base = Block::ZERO;
        base.0.fill_with(|| split_mix(&mut state));
        let mut base_crcs = [0; 4];
        for (crc, quarter) in base_crcs.iter_mut().zip(base.0.chunks_exact(QUARTER_WORDS)) {
            *crc = quarter.iter().copied().fold(!0, crc::word);
        }
        // From 0, so that only the salt's part is left.
        let salt_bits =
            std::array::from_fn(|bit| std::iter::repeat_n(1u64 << bit, QUARTER_WORDS).fold(0, crc::word));
        Self { base, seed: state, base_crcs, salt_bits }
    }

    /// What is XORed to each word of the block at that index.
    pub(super) fn salt(&self, block: u64) -> u64 {
        split_mix(&mut self.seed.wrapping_add(block.wrapping_mul(0x2545_f491_4f6c_dd1d)))
    }

    /// The CRCs of the four quarters of a block with that salt.
    pub(super) fn crcs(&self, salt: u64) -> [u32; 4] {
        let mut change = 0;
        let mut left = salt;
        while left != 0 {
            change ^= self.salt_bits[left.trailing_zeros() as usize];
            left &= left - 1;
        }
        self.base_crcs.map(|crc| crc ^ change)
    }
}

impl Data {
    /// The word at `index` of the block at index `block`, whose first byte is at `address`.
    pub(super) fn word(&self, block: u64, address: u64, index: usize) -> u64 {
        match self {
            Self::Random(random) => random.base.0[index] ^ random.salt(block),
            stepped => {
                let steps = stepped.steps(address);
                let line = (0..index / LINE_WORDS).fold(steps.first, |line, _| steps.next(line));
                line[index % LINE_WORDS]
            }
        }
    }

    /// The lines of a block at `address`. Of [`Self::Random`], which has none, zeros.
    pub(super) fn steps(&self, address: u64) -> Steps {
        let lanes = |word: &dyn Fn(u64) -> u64| std::array::from_fn(|lane| word(lane as u64));
        match *self {
            Self::Constant(word) => Steps { first: [word; LINE_WORDS], rotate_bits: 0, add: 0 },
            Self::Walking { shift, invert } => {
                let flip = if invert { !0 } else { 0 };
                let first = lanes(&|lane| 1u64.rotate_left(shift + lane as u32) ^ flip);
                Steps { first, rotate_bits: LINE_WORDS as u32, add: 0 }
            }
            Self::Address { invert } => {
                let flip = if invert { !0 } else { 0 };
                let first = lanes(&|lane| (address + lane * 8) ^ flip);
                let line = (LINE_WORDS * size_of::<u64>()) as u64;
                // !(a + 64) = !a - 64
                Steps { first, rotate_bits: 0, add: if invert { line.wrapping_neg() } else { line } }
            }
            Self::Random(_) => Steps { first: [0; LINE_WORDS], rotate_bits: 0, add: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_their_patterns_say() {
        let address = 0x7f00_0000_1000;
        for index in [0, 1, 7, 8, 63, 64, 511] {
            let bit = (index as u32 + 5) % 64;
            assert_eq!(Data::Walking { shift: 5, invert: false }.word(0, address, index), 1 << bit);
            assert_eq!(Data::Walking { shift: 5, invert: true }.word(0, address, index), !(1 << bit));
            let own = address + 8 * index as u64;
            assert_eq!(Data::Address { invert: false }.word(0, address, index), own);
            assert_eq!(Data::Address { invert: true }.word(0, address, index), !own);
            assert_eq!(Data::Constant(7).word(3, address, index), 7);
        }
    }

    #[test]
    fn the_crc_of_a_salted_block_is_known_from_its_salt() {
        let random = RandomData::new(3);
        for block in [0, 1, 2, 1 << 40] {
            let salt = random.salt(block);
            let mut salted = random.base.clone();
            salted.0.iter_mut().for_each(|word| *word ^= salt);
            let computed: Vec<u32> = salted
                .0
                .chunks_exact(QUARTER_WORDS)
                .map(|quarter| quarter.iter().copied().fold(!0, crc::word))
                .collect();
            assert_eq!(computed, random.crcs(salt));
        }
        assert_ne!(random.salt(0), random.salt(1));
    }
}
