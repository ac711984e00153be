//! AES-128 (FIPS 197) and SHA-256 (FIPS 180-4). Every stream encrypts its own block again and again, then one hash goes through
//! as many messages. Encryption is a bijection and so is, for one message, a round of the hash: an error is still there in
//! the last block. The reference is the standards' text, byte by byte.

use std::sync::Arc;

use super::{
    Isa, crypto_reference as reference, crypto_vector,
    kernel::{Kernel, Work},
};
use crate::burn::{BurnError, random::split_mix};

/// Words of one AES block.
pub(super) const BLOCK_WORDS: usize = 2;
/// Words of a SHA-256 state.
pub(super) const DIGEST_WORDS: usize = 4;

/// How much one unit does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Blocks that are encrypted side by side.
    pub(super) streams: usize,
    /// Encryptions of each.
    pub(super) encryptions: usize,
    /// Compressions of the hash.
    pub(super) compressions: usize,
}

/// Some 5 to 20 µs.
pub(super) fn size(isa: Isa) -> Size {
    match isa {
        Isa::Portable => Size { streams: 1, encryptions: 32, compressions: 16 },
        Isa::Avx2 => Size { streams: 8, encryptions: 64, compressions: 64 },
        Isa::Avx512 => Size { streams: 32, encryptions: 64, compressions: 64 },
    }
}

/// What a unit begins with.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) round_keys: [[u8; 16]; 11],
    pub(super) message: [u8; 64],
    /// The blocks of all streams, then the state of the hash.
    pub(super) start: Vec<u64>,
}

/// The `crypto` kernel.
#[derive(Debug)]
pub(super) struct Crypto {
    isa: Isa,
    input: Arc<Input>,
    expected: Arc<[u64]>,
    got: Vec<u64>,
}

impl Crypto {
    pub(super) fn new(isa: Isa, seed: u64) -> Self {
        let mut state = seed;
        let key = std::array::from_fn(|_| split_mix(&mut state) as u8);
        let message = std::array::from_fn(|_| split_mix(&mut state) as u8);
        let words = size(isa).streams * BLOCK_WORDS + DIGEST_WORDS;
        let start: Vec<u64> = (0..words).map(|_| split_mix(&mut state)).collect();
        let input = Arc::new(Input { round_keys: reference::round_keys(&key), message, start });
        Self { isa, got: input.start.clone(), input, expected: Arc::new([]) }
    }
}

impl Kernel for Crypto {
    fn work(&self) -> Work {
        let Size { streams, encryptions, compressions } = size(self.isa);
        let blocks = streams * encryptions;
        Work {
            operations: (blocks + compressions) as u64,
            bytes: (16 * blocks + 64 * compressions) as u64,
            flops: 0,
        }
    }

    fn fork(&self) -> Result<Box<dyn Kernel>, BurnError> {
        let (input, expected) = (self.input.clone(), self.expected.clone());
        Ok(Box::new(Self { isa: self.isa, got: input.start.clone(), input, expected }))
    }

    fn learn(&mut self) {
        let Size { streams, encryptions, compressions } = size(self.isa);
        let (blocks, digest) = self.input.start.split_at(streams * BLOCK_WORDS);
        let encrypted = blocks.chunks_exact(BLOCK_WORDS).flat_map(|words| {
            let mut block = [0; 16];
            block[..8].copy_from_slice(&words[0].to_le_bytes());
            block[8..].copy_from_slice(&words[1].to_le_bytes());
            (0..encryptions).for_each(|_| reference::encrypt(&mut block, &self.input.round_keys));
            let (low, high) = block.split_at(8);
            [low, high].map(|half| half.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
        });
        let mut state = to_state(digest);
        (0..compressions).for_each(|_| reference::compress(&mut state, &self.input.message));
        self.expected = encrypted.chain(from_state(&state)).collect();
    }

    fn compute(&mut self) -> Result<(), BurnError> {
        crypto_vector::compute(self.isa, &self.input, &mut self.got);
        Ok(())
    }

    fn outcome(&mut self) -> (&mut [u64], &[u64]) {
        (&mut self.got, &self.expected)
    }
}

/// Two 32-bit words in each 64-bit word, the lower first.
pub(super) fn to_state(words: &[u64]) -> [u32; 8] {
    std::array::from_fn(|at| (words[at / 2] >> (32 * (at % 2))) as u32)
}

pub(super) fn from_state(state: &[u32; 8]) -> [u64; DIGEST_WORDS] {
    std::array::from_fn(|at| u64::from(state[2 * at]) | u64::from(state[2 * at + 1]) << 32)
}
