//! Which I/O comes next: direction, size and place, from nothing but the settings and a seed.
//!
//! Directions and sizes are dealt from shuffled decks of 100 cards, so that any 100 in a row that begin a deck hold exactly
//! the shares that were asked, and the same seed deals the same cards.

use super::load::{DiskLoad, Io, Operation};
use crate::burn::random;

/// Cards of a deck: shares are in percent.
const DECK: usize = 100;

/// Deals I/Os.
#[derive(Debug)]
pub(super) struct Mix {
    directions: Deck,
    sizes: Deck,
    block_bytes: Vec<u32>,
    random: bool,
    places: u64,
    cursor: u64,
    size_bytes: u64,
}

impl Mix {
    pub(super) fn new(load: &DiskLoad, seed: u64) -> Self {
        let mut state = seed;
        let mut sub_seed = || random::split_mix(&mut state);
        let sizes: Vec<u32> = load.blocks.iter().map(|block| block.percent).collect();
        Self {
            directions: Deck::new(&[load.read_percent, 100 - load.read_percent], sub_seed()),
            sizes: Deck::new(&sizes, sub_seed()),
            block_bytes: load.blocks.iter().map(|block| block.bytes).collect(),
            random: load.random,
            places: sub_seed(),
            cursor: 0,
            size_bytes: load.size_bytes,
        }
    }

    /// The next I/O; its offset is in the file.
    pub(super) fn deal(&mut self) -> Io {
        let operation = if self.directions.deal() == 0 { Operation::Read } else { Operation::Write };
        let bytes = self.block_bytes[self.sizes.deal()];
        Io { operation, bytes, offset: self.place(bytes) }
    }

    /// Another place for an I/O of that size.
    pub(super) fn place(&mut self, bytes: u32) -> u64 {
        let length = u64::from(bytes);
        if self.random {
            return random::below(&mut self.places, self.size_bytes / length) * length;
        }
        if self.cursor + length > self.size_bytes {
            self.cursor = 0;
        }
        let place = self.cursor;
        self.cursor += length;
        place
    }
}

/// Cards in an order that is new for every round.
#[derive(Debug)]
struct Deck {
    cards: Vec<u8>,
    dealt: usize,
    state: u64,
}

impl Deck {
    /// So many cards of each kind, [`DECK`] in all.
    fn new(percents: &[u32], seed: u64) -> Self {
        let kinds = percents.iter().enumerate();
        let mut cards: Vec<u8> =
            kinds.flat_map(|(kind, percent)| std::iter::repeat_n(kind as u8, *percent as usize)).collect();
        debug_assert_eq!(cards.len(), DECK);
        // All alike: one is enough.
        if cards.first() == cards.last() {
            cards.truncate(1);
        }
        let dealt = cards.len();
        Self { cards, dealt, state: seed }
    }

    fn deal(&mut self) -> usize {
        if self.cards.len() == 1 {
            return usize::from(self.cards[0]);
        }
        if self.dealt == self.cards.len() {
            self.shuffle();
        }
        let card = self.cards[self.dealt];
        self.dealt += 1;
        usize::from(card)
    }

    /// Fisher and Yates.
    fn shuffle(&mut self) {
        for last in (1..self.cards.len()).rev() {
            let other = random::below(&mut self.state, last as u64 + 1) as usize;
            self.cards.swap(last, other);
        }
        self.dealt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::disk::load::BlockShare;

    fn load(read_percent: u32, blocks: &[(u32, u32)]) -> DiskLoad {
        DiskLoad {
            read_percent,
            random: true,
            size_bytes: 64 << 20,
            blocks: blocks.iter().map(|&(bytes, percent)| BlockShare { bytes, percent }).collect(),
            ..DiskLoad::test()
        }
    }

    #[test]
    fn every_deck_has_exactly_the_shares_that_were_asked() {
        let load = load(70, &[(4_096, 60), (16_384, 30), (65_536, 10)]);
        let mut mix = Mix::new(&load, 1);
        for _ in 0..50 {
            let dealt: Vec<Io> = (0..DECK).map(|_| mix.deal()).collect();
            let count = |is: &dyn Fn(&Io) -> bool| dealt.iter().filter(|io| is(io)).count();
            assert_eq!(count(&|io| io.operation == Operation::Read), 70);
            assert_eq!(count(&|io| io.bytes == 4_096), 60);
            assert_eq!(count(&|io| io.bytes == 16_384), 30);
            assert_eq!(count(&|io| io.bytes == 65_536), 10);
        }
    }

    #[test]
    fn the_same_seed_deals_the_same_and_another_seed_another() {
        let load = load(50, &[(4_096, 50), (8_192, 50)]);
        let deal = |seed| {
            let mut mix = Mix::new(&load, seed);
            (0..1_000).map(|_| mix.deal()).collect::<Vec<_>>()
        };
        assert_eq!(deal(1), deal(1));
        assert_ne!(deal(1), deal(2));
    }

    #[test]
    fn random_places_are_aligned_to_their_size_inside_the_file_and_all_over_it() {
        let load = load(100, &[(4_096, 50), (65_536, 50)]);
        let mut mix = Mix::new(&load, 3);
        let mut quarters = [0; 4];
        for _ in 0..1_000 {
            let io = mix.deal();
            assert!(io.offset.is_multiple_of(io.bytes.into()));
            assert!(io.offset + u64::from(io.bytes) <= load.size_bytes);
            quarters[(io.offset / (load.size_bytes / 4)) as usize] += 1;
        }
        assert!(quarters.iter().all(|&count| count > 150), "{quarters:?}");
    }

    #[test]
    fn sequential_places_follow_each_other_and_begin_again() {
        let load = DiskLoad { random: false, size_bytes: 10 * 4_096, ..load(100, &[(4_096, 100)]) };
        let mut mix = Mix::new(&load, 1);
        let places: Vec<u64> = (0..11).map(|_| mix.deal().offset / 4_096).collect();
        assert_eq!(places, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    }
}
