//! Blocks that say what they are, so that a wrong one is seen whatever went wrong on its way: each carries the tag of its
//! burner, its offset, its generation and a CRC-32 over the whole.
//!
//! Layout, little-endian: magic 0..8, tag 8..16, offset 16..24, generation 24..28, CRC-32 28..32, then words that depend on
//! all of these, so that no two blocks are alike and a block torn between two generations has a wrong checksum.

use std::fmt;

use crate::burn::random;

/// "SSTSBLOK".
const MAGIC: u64 = u64::from_le_bytes(*b"SSTSBLOK");
const CRC_AT: usize = 28;
/// Where the words begin.
pub(super) const HEADER_BYTES: usize = 32;
/// Of a block's words: the golden ratio's, as in SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bytes of each that a message shows.
const SHOWN_BYTES: usize = 8;

/// What a block should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Of the burner that wrote it.
    pub(super) tag: u64,
    /// In the file or device, in bytes.
    pub(super) offset: u64,
    /// How often it was written.
    pub(super) generation: u32,
}

impl Stamp {
    /// Fills a block; its length is a multiple of 8, at least [`HEADER_BYTES`].
    pub(super) fn write(&self, block: &mut [u8]) {
        let (header, words) = block.split_at_mut(HEADER_BYTES);
        header[..8].copy_from_slice(&MAGIC.to_le_bytes());
        header[8..16].copy_from_slice(&self.tag.to_le_bytes());
        header[16..24].copy_from_slice(&self.offset.to_le_bytes());
        header[24..CRC_AT].copy_from_slice(&self.generation.to_le_bytes());
        let mut word = self.first_word();
        for chunk in words.chunks_exact_mut(8) {
            chunk.copy_from_slice(&scrambled(word).to_le_bytes());
            word = word.wrapping_add(STEP);
        }
        let crc = checksum(block);
        block[CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// Whether a block is what it should be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self, block: &[u8]) -> Result<(), Mismatch> {
        let found = Found::of(block);
        let is_right = found.magic == MAGIC
            && found.tag == self.tag
            && found.offset == self.offset
            && found.generation == self.generation
            && found.crc == checksum(block);
        if is_right { Ok(()) } else { Err(self.mismatch(block, &found)) }
    }

    #[cold]
    fn mismatch(&self, block: &[u8], found: &Found) -> Mismatch {
        let mut expected = vec![0; block.len()];
        self.write(&mut expected);
        let first =
            expected.iter().zip(block).position(|(expected, got)| expected != got).unwrap_or_default();
        let shown = |bytes: &[u8]| bytes[first..].iter().copied().take(SHOWN_BYTES).collect();
        let crc_holds = found.crc == checksum(block);
        let kind = if found.magic != MAGIC {
            "no block of ours stands there".to_owned()
        } else if !crc_holds {
            format!(
                "its checksum is wrong (it says offset {}, generation {})",
                found.offset, found.generation
            )
        } else if found.tag != self.tag {
            "it is of another run".to_owned()
        } else if found.offset != self.offset {
            format!("it belongs at offset {}", found.offset)
        } else {
            format!("it is generation {}", found.generation)
        };
        Mismatch { stamp: *self, first, expected: shown(&expected), got: shown(block), kind }
    }

    fn first_word(&self) -> u64 {
        let mut state = self.tag ^ self.offset.rotate_left(17) ^ u64::from(self.generation).rotate_left(43);
        random::split_mix(&mut state)
    }
}

/// What a block that was read says.
struct Found {
    magic: u64,
    tag: u64,
    offset: u64,
    generation: u32,
    crc: u32,
}

impl Found {
    fn of(block: &[u8]) -> Self {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&block[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let last = word(24);
        Self {
            magic: word(0),
            tag: word(8),
            offset: word(16),
            generation: last as u32,
            crc: (last >> 32) as u32,
        }
    }
}

/// How a block differs from what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    stamp: Stamp,
    /// The first byte that differs, in the block.
    first: usize,
    expected: Vec<u8>,
    got: Vec<u8>,
    kind: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp { offset, generation, .. } = self.stamp;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        write!(
            f,
            "the block at offset {offset}, generation {generation}, is wrong from its byte {} on: expected {}, got {}; {}",
            self.first,
            hex(&self.expected),
            hex(&self.got),
            self.kind
        )
    }
}

/// Scrambles a counter: one multiplication is enough for what is only to be unlike its neighbours and not to compress.
fn scrambled(word: u64) -> u64 {
    let mixed = (word ^ (word >> 32)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 29)
}

/// CRC-32 (IEEE 802.3) of all but the place where it stands.
fn checksum(block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[..CRC_AT]);
    hasher.update(&block[HEADER_BYTES..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { tag: 7, offset: 8_192, generation: 3 };

    fn block() -> Vec<u8> {
        let mut block = vec![0; 512];
        STAMP.write(&mut block);
        block
    }

    #[test]
    fn a_block_is_what_it_was_written_as() {
        STAMP.check(&block()).unwrap();
    }

    #[test]
    fn every_single_flipped_bit_is_found_and_named_with_its_byte() {
        for bit in 0..512 * 8 {
            let mut block = block();
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(STAMP.check(&block).unwrap_err().first, bit / 8);
        }
    }

    #[test]
    fn what_went_wrong_is_told_apart() {
        let told = |stamp: Stamp, block: &[u8]| stamp.check(block).unwrap_err().to_string();
        let good = block();
        assert!(told(Stamp { generation: 4, ..STAMP }, &good).ends_with("it is generation 3"));
        assert!(told(Stamp { offset: 0, ..STAMP }, &good).ends_with("it belongs at offset 8192"));
        assert!(told(Stamp { tag: 8, ..STAMP }, &good).ends_with("it is of another run"));
        assert!(told(STAMP, &[0; 512]).contains("no block of ours"));
        // Its second half is of the generation before.
        let mut torn = vec![0; 512];
        Stamp { generation: 2, ..STAMP }.write(&mut torn);
        torn[..256].copy_from_slice(&good[..256]);
        let message = told(STAMP, &torn);
        assert!(message.contains("from its byte 256 on") && message.contains("checksum"), "{message}");
    }

    #[test]
    fn blocks_do_not_compress() {
        // No 8 bytes of a block come twice in it.
        let block = block();
        let words: std::collections::HashSet<_> = block.chunks_exact(8).collect();
        assert_eq!(words.len(), 64);
    }
}
