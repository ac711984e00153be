//! The memory that the `power` kernel sweeps: in each level of the hierarchy two areas. Every access loads a line from one,
//! computes with it and stores it to the other; at the end of an area the two swap. So a line that was stored or loaded
//! wrongly once comes back as an operand and shows in the answer.
//!
//! Areas fill as they are stored to: the first round reads one unit's lines again and again. Ten megabytes a worker that were
//! made before would be most of what a start takes.

use super::{
    chains_vector,
    recipe::{Caches, Level},
};

/// A cache line of every x86 and most others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [u64; 8]);

/// Words of a line.
pub(super) const LINE_WORDS: usize = 8;
/// Bytes of a line.
pub(super) const LINE_BYTES: usize = 64;

/// Which level each access goes to: of 16, 8 to L1, 4 to L2, 2 to L3, 2 to DRAM.
pub(super) const ORDER: [Level; 16] = {
    use Level::{Dram, L1, L2, L3};
    [L1, L2, L1, L3, L1, L2, L1, Dram, L1, L2, L1, L3, L1, L2, L1, Dram]
};

/// How many of [`ORDER`] go to a level.
#[cfg(test)]
fn weight(level: Level) -> usize {
    ORDER.iter().filter(|of| **of == level).count()
}

/// All levels.
#[derive(Debug)]
pub(super) struct Sweep {
    levels: [Areas; 4],
}

#[derive(Debug)]
struct Areas {
    from: Vec<Line>,
    to: Vec<Line>,
    /// Lines of each, once it is full: whole units.
    full: usize,
    /// Lines that a unit moves.
    unit: usize,
    position: usize,
}

/// What one unit moves: nothing in it grows, swaps or is called, so that whoever computes in between keeps its registers.
#[derive(Debug)]
pub(super) struct Pass<'s> {
    levels: [Span<'s>; 4],
}

#[derive(Debug)]
struct Span<'s> {
    from: &'s [Line],
    to: &'s mut [Line],
    at: usize,
}

impl Areas {
    /// Makes room for one unit, and moves on by it.
    fn pass(&mut self) -> Span<'_> {
        if self.position == self.full {
            self.position = 0;
            chains_vector::settle_stores();
            std::mem::swap(&mut self.from, &mut self.to);
        }
        let (begin, end) = (self.position, self.position + self.unit);
        self.position = end;
        // Within what was reserved.
        self.to.resize(self.to.len().max(end), Line([0; LINE_WORDS]));
        // In the first round there is one unit to load.
        let source = if begin < self.from.len() { begin } else { 0 };
        Span { from: &self.from[source..], to: &mut self.to[begin..], at: 0 }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        chains_vector::settle_stores();
    }
}

impl Pass<'_> {
    /// The next line of a level, and where it is to be stored.
    #[inline(always)]
    pub(super) fn next(&mut self, level: Level) -> (&Line, &mut Line) {
        let Span { from, to, at } = &mut self.levels[level as usize];
        let line = *at;
        *at += 1;
        (&from[line], &mut to[line])
    }

    /// What is coming in a level, some accesses ahead, to be had in time: loads far apart in time are beyond what a core's
    /// own prefetchers see.
    #[inline(always)]
    pub(super) fn coming(&self, level: Level) -> (Option<&Line>, Option<&Line>) {
        let Span { from, to, at } = &self.levels[level as usize];
        (from.get(at + AHEAD), to.get(at + AHEAD))
    }
}

impl Sweep {
    /// For units that move `lines`, a multiple of 16, each time the same: level by level the areas repeat what one unit finds
    /// there.
    pub(super) fn new(caches: &Caches, sharers: u32, lines: &[Line]) -> Self {
        let areas = |level: Level| {
            let of_unit: Vec<Line> = lines
                .iter()
                .zip(ORDER.iter().cycle())
                .filter(|(_, of)| **of == level)
                .map(|(line, _)| *line)
                .collect();
            // Whole units only, so that each unit begins with the same line.
            let units = (area_bytes(caches, level, sharers) / LINE_BYTES / of_unit.len()).max(1);
            let full = units * of_unit.len();
            let (mut from, to) = (Vec::with_capacity(full), Vec::with_capacity(full));
            from.extend(of_unit);
            let unit = from.len();
            Areas { from, to, full, unit, position: 0 }
        };
        debug_assert!(lines.len().is_multiple_of(ORDER.len()));
        Self { levels: Level::ALL.map(areas) }
    }

    /// What it takes, about: two areas a level.
    pub(super) fn bytes(caches: &Caches, sharers: u32) -> u64 {
        Level::ALL.iter().map(|level| 2 * area_bytes(caches, *level, sharers) as u64).sum()
    }

    /// What the next unit moves.
    pub(super) fn pass(&mut self) -> Pass<'_> {
        Pass { levels: self.levels.each_mut().map(Areas::pass) }
    }
}

/// Of one of the two: both together fit their level and overflow the one before. Stores to DRAM pass the caches and take
/// their line out of them, so that area need not be larger than they are. Workers that take turns on a core overflow its
/// caches together: behind the first one each has a part of the area.
fn area_bytes(caches: &Caches, level: Level, sharers: u32) -> usize {
    let Caches { l1_bytes, l2_bytes, l3_bytes } = *caches;
    // Where the host does not tell: the smallest of the last fifteen years.
    let known = |bytes: u64, otherwise: u64| if bytes == 0 { otherwise } else { bytes };
    let l1 = known(l1_bytes, 32 << 10);
    let l2 = known(l2_bytes, 256 << 10);
    let l3 = known(l3_bytes, 2 << 20);
    let part = |bytes: u64| (bytes / u64::from(sharers.max(1))).max(l1);
    let bytes = match level {
        Level::L1 => l1 / 6,
        Level::L2 => part(l2 / 6),
        // A core's part of what is shared, as far as that goes.
        Level::L3 => part(l2.min(l3 / 4)),
        Level::Dram => part(1 << 20),
    };
    bytes as usize
}

/// Accesses to a level between the look ahead and the load.
const AHEAD: usize = 4;

/// Accesses of a unit must be a multiple of this.
pub(super) const ROUND: usize = ORDER.len();

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<Line> {
        (0..count as u64).map(|line| Line([line; LINE_WORDS])).collect()
    }

    #[test]
    fn every_unit_finds_the_same_lines_also_after_the_areas_swapped() {
        let caches = Caches { l1_bytes: 48 << 10, l2_bytes: 1 << 20, l3_bytes: 32 << 20 };
        let lines = lines(48);
        let mut sweep = Sweep::new(&caches, 1, &lines);
        for _ in 0..50_000 {
            let mut pass = sweep.pass();
            for (line, level) in lines.iter().zip(ORDER.iter().cycle()) {
                let (from, to) = pass.next(*level);
                assert_eq!(from, line);
                *to = *from;
            }
        }
    }

    #[test]
    fn a_line_that_was_stored_wrongly_comes_back() {
        let lines = lines(16);
        let mut sweep = Sweep::new(&Caches { l1_bytes: 0, l2_bytes: 0, l3_bytes: 0 }, 1, &lines);
        *sweep.pass().next(Level::L1).1 = Line([99; LINE_WORDS]);
        let len = sweep.levels[Level::L1 as usize].full;
        let comes_back = (0..2 * len).any(|_| sweep.pass().next(Level::L1).0.0[0] == 99);
        assert!(comes_back);
    }

    #[test]
    fn the_weights_add_up() {
        assert_eq!(Level::ALL.map(weight), [8, 4, 2, 2]);
    }
}
