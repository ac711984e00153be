//! The loops of `vector` without instructions beyond the architecture's base.

use super::{
    crc,
    data::{LINE_WORDS, QUARTER_WORDS, Steps},
    region::Block,
    vector::Store,
};

fn each(to: &mut [Block], value: impl Fn(usize, usize) -> f64) {
    for (index, block) in to.iter_mut().enumerate() {
        for (place, word) in block.0.iter_mut().enumerate() {
            *word = value(index, place).to_bits();
        }
    }
}

fn number(blocks: &[Block], index: usize, place: usize) -> f64 {
    f64::from_bits(blocks[index].0[place])
}

pub(super) fn copy(from: &[Block], to: &mut [Block]) {
    to.clone_from_slice(from);
}

pub(super) fn scale(factor: f64, from: &[Block], to: &mut [Block]) {
    each(to, |index, place| factor * number(from, index, place));
}

pub(super) fn add(a: &[Block], b: &[Block], to: &mut [Block]) {
    each(to, |index, place| number(a, index, place) + number(b, index, place));
}

pub(super) fn triad(factor: f64, a: &[Block], b: &[Block], to: &mut [Block]) {
    each(to, |index, place| number(a, index, place) + factor * number(b, index, place));
}

pub(super) fn read(blocks: &[Block]) -> u64 {
    blocks.iter().flat_map(|block| &block.0).fold(0, |or, word| or | *word)
}

pub(super) fn write_steps(block: &mut Block, steps: &Steps, _store: Store) {
    let mut expected = steps.first;
    for line in block.0.chunks_exact_mut(LINE_WORDS) {
        line.copy_from_slice(&expected);
        expected = steps.next(expected);
    }
}

pub(super) fn check_steps(block: &Block, steps: &Steps) -> bool {
    let mut expected = steps.first;
    let mut differing = 0;
    for line in block.0.chunks_exact(LINE_WORDS) {
        differing = line.iter().zip(expected).fold(differing, |or, (got, word)| or | (got ^ word));
        expected = steps.next(expected);
    }
    differing == 0
}

pub(super) fn write_salted(block: &mut Block, base: &Block, salt: u64, _store: Store) {
    for (word, base) in block.0.iter_mut().zip(&base.0) {
        *word = base ^ salt;
    }
}

pub(super) fn crcs(block: &Block) -> [u32; 4] {
    let mut crcs = [!0; 4];
    for (crc, quarter) in crcs.iter_mut().zip(block.0.chunks_exact(QUARTER_WORDS)) {
        *crc = quarter.iter().copied().fold(!0, crc::word);
    }
    crcs
}
