//! Carries what each CPU counts of dropped packets to one list of places and reasons, which doesn't grow without bound.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use ssts_agent_ebpf::shared::{DROP_SLOTS, Dropped, Drops, Place, drop_key};

use super::window::{Element, Window};

const SLOTS: usize = DROP_SLOTS as usize;
/// Pairs of a place and a reason that are told apart.
const MOST_PAIRS: usize = 64;
/// Pairs that are known: from among them come those that are told.
const MOST_KNOWN: usize = 1_024;
/// So many times as much as the least of those that are told must be counted of another one before it takes its place: each change
/// is a change of columns.
const OUTGROWN: u64 = 2;
/// So few free slots of a CPU make room.
const FEW: usize = SLOTS / 4;

#[derive(Debug)]
#[repr(C)]
struct SharedDropped {
    key: AtomicU64,
    count: AtomicU64,
}

/// [`Drops`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct SharedDrops {
    changes: AtomicU64,
    lost: AtomicU64,
    slots: [SharedDropped; SLOTS],
}

const _: () = assert!(size_of::<SharedDropped>() == size_of::<Dropped>());
const _: () = assert!(size_of::<SharedDrops>() == size_of::<Drops>());

// SAFETY: atomics, and the assertions above.
unsafe impl Element for SharedDrops {}

/// Packets that were dropped in one place for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) place: Place,
    pub(super) reason: u32,
    /// All of them.
    pub(super) count: u64,
    /// Those that were counted while the pair was told apart. All others count as such.
    pub(super) told: u64,
    pub(super) is_told: bool,
}

/// All that was dropped since the probe was attached.
#[derive(Debug)]
pub(super) struct DropReader {
    shared: Window<SharedDrops>,
    seen: Vec<Seen>,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    /// In the order in which they first came.
    pairs: Vec<Pair>,
    others: u64,
    /// Whether a pair came, or outgrew another one, since they were last chosen.
    has_changed: bool,
}

/// What a CPU's slots held when they were last read: key and count.
#[derive(Debug, Clone)]
struct Seen {
    changes: u64,
    lost: u64,
    slots: [(u64, u64); SLOTS],
}

impl DropReader {
    pub(super) fn new(shared: Window<SharedDrops>) -> Self {
        let seen = vec![Seen::NOTHING; shared.len()];
        Self { shared, seen, tally: Tally::default() }
    }

    /// Takes in what was counted meanwhile.
    pub(super) fn read(&mut self) {
        for (shared, seen) in self.shared.iter().zip(&mut self.seen) {
            read_cpu(shared, seen, &mut self.tally);
        }
    }

    /// All that are known, in the order in which they first came; none ever goes.
    pub(super) fn pairs(&self) -> &[Pair] {
        &self.tally.pairs
    }

    /// Chooses the largest to be told apart from now on.
    pub(super) fn choose(&mut self) {
        self.tally.choose();
    }

    /// Whether others should be told apart than those that were chosen.
    pub(super) fn has_changed(&self) -> bool {
        self.tally.has_changed
    }

    /// All that were not told apart when they were counted.
    pub(super) fn others(&self) -> u64 {
        self.tally.others
    }
}

impl Seen {
    const NOTHING: Self = Self { changes: 0, lost: 0, slots: [(0, 0); SLOTS] };
}

impl Tally {
    /// Allocates only for a new pair.
    fn add(&mut self, key: u64, count: u64) {
        let (place, reason) = (Place((key >> 32) as u32), key as u32);
        let known = self.pairs.iter().position(|pair| drop_key(pair.place, pair.reason) == key);
        let index = match known {
            Some(known) => known,
            None if self.pairs.len() < MOST_KNOWN => {
                // What makes it known counts as its own, if it can be told.
                let is_told = self.told().count() < MOST_PAIRS;
                self.has_changed |= is_told;
                self.pairs.push(Pair { place, reason, count: 0, told: 0, is_told });
                self.pairs.len() - 1
            }
            None => {
                self.others += count;
                return;
            }
        };
        let pair = &mut self.pairs[index];
        pair.count += count;
        if pair.is_told {
            pair.told += count;
            return;
        }
        self.others += count;
        let grown = pair.count;
        let least = self.told().map(|pair| pair.count).min();
        self.has_changed |= least.is_some_and(|least| grown > least.saturating_mul(OUTGROWN));
    }

    fn told(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(|pair| pair.is_told)
    }

    fn choose(&mut self) {
        self.has_changed = false;
        let mut counts: Vec<_> = self.pairs.iter().map(|pair| pair.count).collect();
        counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        // Of those that are as large as the last that has room, the first ones have it.
        let least = counts.get(MOST_PAIRS - 1).copied().unwrap_or(0);
        let mut room = MOST_PAIRS - counts.iter().take(MOST_PAIRS).filter(|count| **count > least).count();
        for pair in &mut self.pairs {
            let is_last = pair.count == least && room > 0;
            room -= usize::from(is_last);
            pair.is_told = pair.count > least || is_last;
        }
    }
}

fn read_cpu(shared: &SharedDrops, seen: &mut Seen, tally: &mut Tally) {
    let (changes, lost) = (shared.changes.load(Acquire), shared.lost.load(Relaxed));
    tally.others += lost.wrapping_sub(seen.lost);
    seen.lost = lost;
    if changes == seen.changes {
        return;
    }
    seen.changes = changes;
    let mut unchanged = [false; SLOTS];
    for ((slot, before), unchanged) in shared.slots.iter().zip(&mut seen.slots).zip(&mut unchanged) {
        let key = slot.key.load(Acquire);
        let now = (key, slot.count.load(Relaxed));
        let count = if before.0 == key { now.1.wrapping_sub(before.1) } else { now.1 };
        *unchanged = key != 0 && now == *before;
        *before = now;
        if key != 0 && count != 0 {
            tally.add(key, count);
        }
    }
    if seen.slots.iter().filter(|(key, _)| *key == 0).count() > FEW {
        return;
    }
    let slots = shared.slots.iter().zip(&mut seen.slots).zip(unchanged);
    for ((slot, before), _) in slots.filter(|(_, unchanged)| *unchanged) {
        slot.key.store(0, Relaxed);
        *before = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> SharedDrops {
        SharedDrops {
            changes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            slots: std::array::from_fn(|_| SharedDropped {
                key: AtomicU64::new(0),
                count: AtomicU64::new(0),
            }),
        }
    }

    fn drop_packets(shared: &SharedDrops, slot: usize, key: u64, count: u64) {
        shared.slots[slot].key.store(key, Relaxed);
        shared.slots[slot].count.fetch_add(count, Relaxed);
        shared.changes.fetch_add(1, Relaxed);
    }

    #[test]
    fn cpus_are_summed_and_what_was_seen_counts_once() {
        let (one, other) = (shared(), shared());
        let (mut seen_one, mut seen_other, mut tally) = (Seen::NOTHING, Seen::NOTHING, Tally::default());
        let key = drop_key(Place(7), 3);
        drop_packets(&one, 5, key, 2);
        drop_packets(&other, 9, key, 3);
        for _ in 0..2 {
            read_cpu(&one, &mut seen_one, &mut tally);
            read_cpu(&other, &mut seen_other, &mut tally);
        }
        assert_eq!(tally.pairs, [Pair { place: Place(7), reason: 3, count: 5, told: 5, is_told: true }]);
    }

    #[test]
    fn beyond_so_many_pairs_all_count_as_others() {
        let shared = shared();
        let (mut seen, mut tally) = (Seen::NOTHING, Tally::default());
        for interface in 0..SLOTS as u32 {
            drop_packets(&shared, interface as usize, drop_key(Place(interface), 3), 2);
        }
        shared.lost.store(5, Relaxed);
        read_cpu(&shared, &mut seen, &mut tally);
        assert_eq!(tally.told().count(), MOST_PAIRS);
        assert_eq!(tally.others, 2 * (SLOTS - MOST_PAIRS) as u64 + 5);
        assert!(tally.has_changed, "the first ones came");
        tally.choose();
        assert_eq!(tally.told().count(), MOST_PAIRS);
        assert!(!tally.has_changed);
    }

    #[test]
    fn a_pair_that_outgrows_another_takes_its_place_and_nothing_is_counted_twice() {
        let mut tally = Tally::default();
        let key = |interface| drop_key(Place(interface), 3);
        (0..=MOST_PAIRS as u32).for_each(|interface| tally.add(key(interface), 10));
        tally.choose();
        let last = MOST_PAIRS;
        assert!(tally.pairs[0].is_told && !tally.pairs[last].is_told);
        assert_eq!(tally.others, 10);
        tally.add(key(last as u32), 10);
        assert!(!tally.has_changed, "twice as much is not enough");
        tally.add(key(last as u32), 1);
        assert!(tally.has_changed);
        tally.choose();
        tally.add(key(last as u32), 4);
        let outgrown = tally.pairs.iter().position(|pair| !pair.is_told).unwrap();
        tally.add(key(outgrown as u32), 1);
        assert!(tally.pairs[last].is_told);
        assert_eq!((tally.pairs[last].told, tally.pairs[outgrown].told, tally.others), (4, 10, 22));
        let told: u64 = tally.pairs.iter().map(|pair| pair.told).sum();
        let all: u64 = tally.pairs.iter().map(|pair| pair.count).sum();
        assert_eq!(told + tally.others, all);
    }

    #[test]
    fn more_pairs_than_are_known_count_as_others() {
        let mut tally = Tally::default();
        (0..MOST_KNOWN as u32 + 5).for_each(|interface| tally.add(drop_key(Place(interface), 3), 1));
        assert_eq!(tally.pairs.len(), MOST_KNOWN);
        assert_eq!(tally.others, (MOST_KNOWN + 5 - MOST_PAIRS) as u64);
    }

    #[test]
    fn slots_that_stand_still_make_room_when_few_are_left() {
        let shared = shared();
        let (mut seen, mut tally) = (Seen::NOTHING, Tally::default());
        for slot in 0..SLOTS - FEW {
            drop_packets(&shared, slot, drop_key(Place(1), slot as u32 + 3), 1);
        }
        read_cpu(&shared, &mut seen, &mut tally);
        drop_packets(&shared, 0, drop_key(Place(1), 3), 1);
        read_cpu(&shared, &mut seen, &mut tally);
        let used = shared.slots.iter().filter(|slot| slot.key.load(Relaxed) != 0).count();
        assert_eq!(used, 1, "the one that is in use stays");
        let counted: u64 = tally.pairs.iter().map(|pair| pair.told).sum::<u64>() + tally.others;
        assert_eq!(counted, (SLOTS - FEW) as u64 + 1);
    }
}
