//! A pointer chase: one chain through all lines of an area that fits the chosen level and overflows the one before, in random
//! order, so that no prefetcher helps. Every line is read in full. Where in the chain a line stands follows from its
//! content, and sums of consecutive places have a formula: the answer is known without a single load.

use std::sync::Arc;

use super::{
    Isa, cache_vector,
    kernel::{Kernel, Work},
    recipe::{Caches, Level},
    sweep::{LINE_BYTES, LINE_WORDS, Line},
};
use crate::burn::{
    BurnError,
    random::{below, split_mix},
};

/// More is no farther away.
const LARGEST_BYTES: u64 = 1 << 30;

/// The lines, shared by all workers: nobody writes them.
#[derive(Debug)]
pub(super) struct Chain {
    /// Word 0 is the index of the next line; word `n` its place in the chain, from 1, times `factors[n]`.
    lines: Vec<Line>,
    /// The line at which place 1 is.
    first: usize,
    factors: [u64; LINE_WORDS],
}

/// The `cache` kernel.
#[derive(Debug)]
pub(super) struct Chase {
    isa: Isa,
    level: Level,
    seed: u64,
    lines: usize,
    chain: Option<Arc<Chain>>,
    /// Where the next unit begins: the line and, by the formula, its place from 0.
    at: usize,
    place: u64,
    expected: [u64; LINE_WORDS],
    got: [u64; LINE_WORDS],
}

/// What the area of a level takes, and all caches before it do not hold.
pub(crate) fn area_bytes(caches: &Caches, level: Level) -> u64 {
    let Caches { l1_bytes, l2_bytes, l3_bytes } = *caches;
    match level {
        Level::L1 => l1_bytes / 2,
        Level::L2 => l2_bytes / 2,
        // A core's part of what is shared, as far as that goes.
        Level::L3 => (4 * l2_bytes).min(l3_bytes / 2),
        Level::Dram => (4 * l3_bytes.max(l2_bytes)).clamp(64 << 20, LARGEST_BYTES),
    }
}

/// Of a unit: some 5 to 20 µs.
fn hops(level: Level) -> u64 {
    match level {
        Level::L1 => 4_096,
        Level::L2 => 1_024,
        Level::L3 => 256,
        Level::Dram => 128,
    }
}

impl Chase {
    pub(super) fn new(isa: Isa, level: Level, caches: &Caches, seed: u64) -> Self {
        let lines = (area_bytes(caches, level) as usize / LINE_BYTES).max(64);
        let (expected, got) = ([0; LINE_WORDS], [0; LINE_WORDS]);
        Self { isa, level, seed, lines, chain: None, at: 0, place: 0, expected, got }
    }

    /// Sums over the places of one unit, times each word's factor; in word 0 the place after it, times the first factor.
    fn answer(&self, factors: &[u64; LINE_WORDS]) -> [u64; LINE_WORDS] {
        let (lines, hops) = (self.lines as u64, hops(self.level));
        // Whole rounds, the rest before the end of the chain, and the rest after it.
        let (rounds, rest) = (hops / lines, hops % lines);
        let before = rest.min(lines - self.place);
        let sum = rounds * run(0, lines) + run(self.place, before) + run(0, rest - before);
        let mut answer = factors.map(|factor| factor.wrapping_mul(sum));
        answer[0] = factors[1].wrapping_mul((self.place + hops) % lines + 1);
        answer
    }
}

/// The sum of `count` consecutive places, the first `before` + 1.
fn run(before: u64, count: u64) -> u64 {
    count * before + count * (count + 1) / 2
}

impl Chain {
    /// The lines are visited in an order that Fisher and Yates would draw, and then again.
    fn new(lines: usize, seed: u64) -> Self {
        let mut state = seed;
        let factors = std::array::from_fn(|_| split_mix(&mut state) | 1);
        let mut order: Vec<u32> = (0..lines as u32).collect();
        for last in (1..lines).rev() {
            order.swap(last, below(&mut state, last as u64 + 1) as usize);
        }
        let mut all = vec![Line([0; LINE_WORDS]); lines];
        for (place, &line) in order.iter().enumerate() {
            let words = &mut all[line as usize].0;
            *words = factors.map(|factor: u64| factor.wrapping_mul(place as u64 + 1));
            words[0] = u64::from(order[(place + 1) % lines]);
        }
        Self { lines: all, first: order[0] as usize, factors }
    }
}

impl Kernel for Chase {
    fn work(&self) -> Work {
        let hops = hops(self.level);
        Work { operations: hops, bytes: hops * LINE_BYTES as u64, flops: 0 }
    }

    fn fork(&self) -> Result<Box<dyn Kernel>, BurnError> {
        let at = self.chain.as_ref().map_or(0, |chain| chain.first);
        let (isa, level, seed, lines) = (self.isa, self.level, self.seed, self.lines);
        let (expected, got) = ([0; LINE_WORDS], [0; LINE_WORDS]);
        Ok(Box::new(Self { isa, level, seed, lines, chain: self.chain.clone(), at, place: 0, expected, got }))
    }

    fn with_isa(&self, isa: Isa) -> Option<Box<dyn Kernel>> {
        // The area is the same, and may be a gigabyte.
        let (expected, got) = ([0; LINE_WORDS], [0; LINE_WORDS]);
        let at = self.chain.as_ref()?.first;
        Some(Box::new(Self { isa, at, place: 0, expected, got, chain: self.chain.clone(), ..*self }))
    }

    fn learn(&mut self) {
        let chain = Arc::new(Chain::new(self.lines, self.seed));
        self.at = chain.first;
        self.chain = Some(chain);
    }

    fn compute(&mut self) -> Result<(), BurnError> {
        let Some(chain) = &self.chain else { return Ok(()) };
        (self.got, self.at) = cache_vector::compute(self.isa, &chain.lines, self.at, hops(self.level));
        self.got[0] = chain.lines[self.at].0[1];
        self.expected = self.answer(&chain.factors);
        self.place = (self.place + hops(self.level)) % self.lines as u64;
        Ok(())
    }

    fn outcome(&mut self) -> (&mut [u64], &[u64]) {
        (&mut self.got, &self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_visits_every_line_once() {
        let chain = Chain::new(1_000, 3);
        let mut seen = vec![false; 1_000];
        let mut at = chain.first;
        for place in 1..=1_000 {
            assert!(!std::mem::replace(&mut seen[at], true));
            assert_eq!(chain.lines[at].0[3], chain.factors[3].wrapping_mul(place));
            at = chain.lines[at].0[0] as usize;
        }
        assert_eq!(at, chain.first);
    }

    #[test]
    fn other_instructions_chase_through_the_same_area() {
        let caches = Caches { l1_bytes: 8 << 10, l2_bytes: 0, l3_bytes: 0 };
        let mut chase = Chase::new(Isa::Portable, Level::L1, &caches, 1);
        assert!(chase.with_isa(Isa::Portable).is_none(), "there is no area yet");
        chase.learn();
        for isa in Isa::available() {
            let mut other = chase.with_isa(isa).unwrap();
            assert_eq!(Arc::strong_count(chase.chain.as_ref().unwrap()), 2, "no area of its own");
            for _ in 0..3 {
                other.compute().unwrap();
                let (got, expected) = other.outcome();
                assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn one_flipped_bit_of_any_word_of_a_line_is_found() {
        let caches = Caches { l1_bytes: 8 << 10, l2_bytes: 0, l3_bytes: 0 };
        for isa in Isa::available() {
            for word in 1..LINE_WORDS {
                let mut chase = Chase::new(isa, Level::L1, &caches, 1);
                chase.learn();
                let chain = Arc::get_mut(chase.chain.as_mut().unwrap()).unwrap();
                chain.lines[17].0[word] ^= 1 << 40;
                chase.compute().unwrap();
                let (got, expected) = chase.outcome();
                assert_ne!(got, expected, "{isa:?} {word}");
            }
        }
    }
}
