//! A chain of pointers through all lines of a worker's memory, each line the next one's only key: an access can begin only
//! when the one before has ended, and its time is memory's.

use super::region::{BLOCK_WORDS, Region};
use crate::{
    burn::{
        BurnError, control,
        pace::Pacer,
        random::split_mix,
        worker::{Flow, Reins},
    },
    clock,
};

/// Words of a line; the first holds the number of the next line.
const LINE_WORDS: usize = 8;
/// Accesses of one unit of work, timed together: some 25 µs where one takes 100 ns, so that the clock's own 50 ns vanish.
const UNIT_ACCESSES: u32 = 256;
/// Lines written between two looks at the command.
const PREPARED_LINES: usize = 1 << 16;

/// One cycle through all of `lines`, in an order that follows from a seed.
#[derive(Debug)]
struct Order {
    lines: u64,
    mask: u64,
    shift: u32,
    factors: [u64; 2],
    inverses: [u64; 2],
}

impl Order {
    fn new(lines: u64, seed: u64) -> Self {
        let bits = (u64::BITS - lines.saturating_sub(1).leading_zeros()).max(2);
        let mut state = seed;
        // Odd factors can be undone modulo a power of two.
        let factors = [split_mix(&mut state) | 1, split_mix(&mut state) | 1];
        Self {
            lines,
            mask: u64::MAX >> (u64::BITS - bits),
            shift: bits.div_ceil(2),
            factors,
            inverses: factors.map(inverse),
        }
    }

    /// A permutation of the numbers up to the mask: each step of it can be undone.
    fn mix(&self, mut number: u64) -> u64 {
        for factor in self.factors {
            number = number.wrapping_mul(factor) & self.mask;
            // Its own inverse, because the shift is at least half the width.
            number ^= number >> self.shift;
        }
        number
    }

    fn unmix(&self, mut number: u64) -> u64 {
        for inverse in self.inverses.iter().rev() {
            number ^= number >> self.shift;
            number = number.wrapping_mul(*inverse) & self.mask;
        }
        number
    }

    /// The line after one: `mix` of 0, 1, 2 and so on is a cycle through all numbers; those that are no line are passed.
    fn next(&self, line: u64) -> u64 {
        let mut place = self.unmix(line);
        loop {
            place = (place + 1) & self.mask;
            let next = self.mix(place);
            if next < self.lines {
                return next;
            }
        }
    }
}

/// Of an odd number modulo 2^64: Newton's iteration doubles the right bits, of which `factor` itself has three.
fn inverse(factor: u64) -> u64 {
    (0..5).fold(factor, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(factor.wrapping_mul(inverse))))
}

/// The chain, and where in it the worker is.
#[derive(Debug)]
pub(super) struct Chain {
    region: Region,
    line: usize,
}

impl Chain {
    /// The region is not empty.
    pub(super) fn new(mut region: Region, seed: u64, reins: &Reins) -> Result<Self, BurnError> {
        let lines = region.words().len() / LINE_WORDS;
        let order = Order::new(lines as u64, seed);
        for (index, line) in region.words_mut().chunks_exact_mut(LINE_WORDS).enumerate() {
            if index % PREPARED_LINES == 0 && !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            line[0] = order.next(index as u64);
        }
        Ok(Self { region, line: 0 })
    }

    /// Until the end. An operation is an access, and moves a line.
    pub(super) fn burn(&mut self, mut pacer: Pacer, reins: &Reins) {
        while pacer.step(reins, |units| {
            for _ in 0..units {
                let begin = clock::boottime();
                self.follow(UNIT_ACCESSES);
                let took = clock::boottime().saturating_sub(begin);
                // Rounded: the histogram's unit is a nanosecond.
                reins.count_latency(
                    0,
                    (clock::ns(took) + u64::from(UNIT_ACCESSES / 2)) / u64::from(UNIT_ACCESSES),
                );
            }
            let accesses = u64::from(units) * u64::from(UNIT_ACCESSES);
            control::add(&reins.slot().operations, accesses);
            control::add(&reins.slot().bytes, accesses * (LINE_WORDS * size_of::<u64>()) as u64);
        }) != Flow::Stop
        {}
    }

    fn follow(&mut self, accesses: u32) {
        let words = self.region.words();
        let mut line = self.line;
        for _ in 0..accesses {
            line = words[line * LINE_WORDS] as usize;
        }
        self.line = line;
    }
}

const _: () = assert!(BLOCK_WORDS.is_multiple_of(LINE_WORDS));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_visited_once_before_any_twice() {
        for lines in [1, 2, 3, 64, 100, 1_000, 4_096, 5_000] {
            for seed in 0..5 {
                let order = Order::new(lines, seed);
                let mut seen = vec![false; lines as usize];
                let mut line = 0;
                for _ in 0..lines {
                    assert!(!std::mem::replace(&mut seen[line as usize], true), "{lines} {seed} {line}");
                    line = order.next(line);
                }
                assert_eq!(line, 0, "{lines} {seed}");
            }
        }
    }

    #[test]
    fn neighbours_in_the_chain_are_no_neighbours_in_memory() {
        let lines = 1 << 16;
        let order = Order::new(lines, 7);
        let near = (0..lines).filter(|line| order.next(*line).abs_diff(*line) <= 64).count();
        // By chance some 130 of 65,536.
        assert!(near < 400, "{near}");
    }
}
