//! What verification remembers: the generation of every block, which blocks are in flight, and what was written and not yet
//! read back.

use std::collections::VecDeque;

use super::{
    block::{Mismatch, Stamp},
    load::{DiskLoad, Io, Operation},
    mix::Mix,
};

/// Of the books, for each block: its generation, whether it is in flight, and whether it is unread.
pub(super) const BYTES_PER_UNIT: u64 = 6;
/// Writes between two rounds of reading back, where nothing else is read.
const BACKLOG: usize = 256;
/// Places that are tried before an I/O waits for those in flight.
const TRIES: usize = 64;
/// The content is not known: a write to it failed.
const UNKNOWN: u32 = 0;
/// What preparation writes.
const FIRST: u32 = 1;

/// The books of one file.
#[derive(Debug)]
pub(super) struct Verifier {
    tag: u64,
    /// Of the file in what blocks name as their offset.
    base: u64,
    unit_bytes: u32,
    generations: Vec<u32>,
    in_flight: Vec<bool>,
    /// Written while burning, and not compared since.
    unread: Vec<bool>,
    /// Written and not read back, oldest first; kept where the load itself reads nothing.
    backlog: Option<VecDeque<Io>>,
    reads_back: bool,
    /// What was dealt and touched something in flight.
    waiting: Option<Io>,
    /// How far everything was read, where that comes first.
    read_until: Option<u64>,
    /// Of the reads of that.
    largest_block: u32,
    spoil_next: bool,
    /// Blocks that were compared.
    pub(super) verified: u64,
    /// Blocks that were written while burning and not compared since.
    pub(super) unverified: u64,
}

impl Verifier {
    /// For a file that starts at `base` of its device.
    pub(super) fn new(load: &DiskLoad, tag: u64, base: u64) -> Self {
        let unit_bytes = load.smallest_block();
        let units = (load.size_bytes / u64::from(unit_bytes)) as usize;
        Self {
            tag,
            base,
            unit_bytes,
            generations: vec![FIRST; units],
            in_flight: vec![false; units],
            unread: vec![false; units],
            backlog: (load.read_percent == 0).then(VecDeque::new),
            reads_back: false,
            waiting: first_read(load),
            read_until: None,
            largest_block: load.largest_block(),
            spoil_next: load.inject_error && load.read_percent == 0,
            verified: 0,
            unverified: 0,
        }
    }

    /// Writes what the file holds at first. Where an error is asked for and something is read, its first block is spoiled.
    pub(super) fn fill(&mut self, load: &DiskLoad, chunk: &mut [u8], offset: u64) {
        let stamp = |unit: u64| Stamp { tag: self.tag, offset: self.base + unit, generation: FIRST };
        for (index, unit) in chunk.chunks_exact_mut(self.unit_bytes as usize).enumerate() {
            stamp(offset + index as u64 * u64::from(self.unit_bytes)).write(unit);
        }
        if offset == 0 && load.inject_error && load.read_percent > 0 {
            spoil(chunk);
        }
    }

    /// The next I/O that touches nothing in flight: of `mix`, or reading back. None when all that were tried touch some.
    pub(super) fn next(&mut self, mix: &mut Mix) -> Option<Io> {
        if let Some(offset) = self.read_until {
            return self.read_on(offset);
        }
        if let Some(backlog) = &self.backlog {
            self.reads_back = (self.reads_back && !backlog.is_empty()) || backlog.len() >= BACKLOG;
            if self.reads_back {
                return self.read_back();
            }
        }
        let mut io = self.waiting.take().unwrap_or_else(|| mix.deal());
        for _ in 0..TRIES {
            if !self.touches(io) {
                self.mark(io, true);
                return Some(io);
            }
            io.offset = mix.place(io.bytes);
        }
        self.waiting = Some(io);
        // Nearly everything waits to be read back.
        self.reads_back = self.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty());
        if self.reads_back { self.read_back() } else { None }
    }

    /// Deals reads of everything, in order, and nothing else until [`Verifier::go_on`].
    pub(super) fn read_all(&mut self) {
        self.read_until = Some(0);
        self.backlog.iter_mut().for_each(VecDeque::clear);
        self.reads_back = false;
    }

    /// Whether all that [`Verifier::read_all`] asked for was dealt.
    pub(super) fn has_read_all(&self) -> bool {
        self.read_until == Some(self.generations.len() as u64 * u64::from(self.unit_bytes))
    }

    /// Back to what the mix deals.
    pub(super) fn go_on(&mut self) {
        self.read_until = None;
    }

    fn read_on(&mut self, offset: u64) -> Option<Io> {
        let left = self.generations.len() as u64 * u64::from(self.unit_bytes) - offset;
        let bytes = u64::from(self.largest_block).min(left) as u32;
        if bytes == 0 {
            return None;
        }
        let io = Io { operation: Operation::Read, bytes, offset };
        self.read_until = Some(offset + u64::from(bytes));
        self.mark(io, true);
        Some(io)
    }

    /// The oldest write, to be read.
    fn read_back(&mut self) -> Option<Io> {
        let backlog = self.backlog.as_mut()?;
        let io = Io { operation: Operation::Read, ..*backlog.front()? };
        if self.in_flight[self.units(io)].contains(&true) {
            return None;
        }
        self.backlog.as_mut()?.pop_front();
        self.mark(io, true);
        Some(io)
    }

    /// Makes the content of a write that is about to be submitted.
    pub(super) fn stamp(&mut self, io: Io, buffer: &mut [u8]) {
        let first = self.first_unit(io);
        for (index, unit) in
            buffer[..io.bytes as usize].chunks_exact_mut(self.unit_bytes as usize).enumerate()
        {
            let generation = next_generation(self.generations[first + index]);
            self.stamp_of(first + index, generation).write(unit);
        }
        if std::mem::take(&mut self.spoil_next) {
            spoil(buffer);
        }
    }

    /// Notes how an I/O ended, and compares what was read.
    ///
    /// # Errors
    /// The first block that is wrong.
    pub(super) fn end(&mut self, io: Io, went_well: bool, buffer: &[u8]) -> Result<(), Mismatch> {
        self.mark(io, false);
        match io.operation {
            Operation::Sync => Ok(()),
            Operation::Read if !went_well => {
                // Counted as a failed I/O; it may be written again.
                self.units(io).for_each(|unit| self.set_unread(unit, false));
                Ok(())
            }
            Operation::Read => self.compare(io, buffer),
            Operation::Write => {
                for unit in self.units(io) {
                    let generation = &mut self.generations[unit];
                    *generation = if went_well { next_generation(*generation) } else { UNKNOWN };
                    self.set_unread(unit, went_well);
                }
                if let Some(backlog) = self.backlog.as_mut().filter(|_| went_well) {
                    backlog.push_back(io);
                }
                Ok(())
            }
        }
    }

    fn compare(&mut self, io: Io, buffer: &[u8]) -> Result<(), Mismatch> {
        let first = self.first_unit(io);
        for (index, unit) in buffer[..io.bytes as usize].chunks_exact(self.unit_bytes as usize).enumerate() {
            let generation = self.generations[first + index];
            if generation != UNKNOWN {
                self.set_unread(first + index, false);
                self.stamp_of(first + index, generation).check(unit)?;
                self.verified += 1;
            }
        }
        Ok(())
    }

    fn set_unread(&mut self, unit: usize, unread: bool) {
        let was = std::mem::replace(&mut self.unread[unit], unread);
        self.unverified = self.unverified + u64::from(unread) - u64::from(was);
    }

    fn stamp_of(&self, unit: usize, generation: u32) -> Stamp {
        let offset = self.base + unit as u64 * u64::from(self.unit_bytes);
        Stamp { tag: self.tag, offset, generation }
    }

    fn first_unit(&self, io: Io) -> usize {
        (io.offset / u64::from(self.unit_bytes)) as usize
    }

    fn units(&self, io: Io) -> std::ops::Range<usize> {
        let first = self.first_unit(io);
        first..first + (io.bytes / self.unit_bytes) as usize
    }

    /// Something in flight, or what would be overwritten before it was read back.
    fn touches(&self, io: Io) -> bool {
        let waits_for_reading = self.backlog.is_some() && self.unread[self.units(io)].contains(&true);
        waits_for_reading || self.in_flight[self.units(io)].contains(&true)
    }

    fn mark(&mut self, io: Io, in_flight: bool) {
        let units = self.units(io);
        self.in_flight[units].fill(in_flight);
    }
}

/// Never [`UNKNOWN`].
fn next_generation(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(FIRST)
}

/// Where an error is asked for, the first I/O meets it.
fn first_read(load: &DiskLoad) -> Option<Io> {
    let io = Io { operation: Operation::Read, bytes: load.smallest_block(), offset: 0 };
    (load.inject_error && load.read_percent > 0).then_some(io)
}

/// One bit of the last byte of a buffer's first 512.
fn spoil(buffer: &mut [u8]) {
    buffer[511] ^= 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(read_percent: u32, inject_error: bool) -> (DiskLoad, Verifier, Mix) {
        let load = DiskLoad { read_percent, inject_error, verify: true, ..DiskLoad::test() };
        let verifier = Verifier::new(&load, 9, 0);
        let mix = Mix::new(&load, 1);
        (load, verifier, mix)
    }

    #[test]
    fn no_two_ios_in_flight_touch_the_same_block() {
        let (load, mut verifier, mut mix) = verifier(50, false);
        let blocks = load.size_bytes / 4_096;
        let mut seen = std::collections::HashSet::new();
        while let Some(io) = verifier.next(&mut mix) {
            assert!(seen.insert(io.offset), "{io:?}");
        }
        assert!(seen.len() as u64 > blocks * 9 / 10, "{} of {blocks}", seen.len());
    }

    #[test]
    fn what_is_written_is_read_back_and_a_spoiled_block_is_found() {
        // In the larger file a backlog fits, the smaller one is all backlog soon.
        for (inject_error, size_bytes) in
            [(false, 1 << 20), (true, 1 << 20), (false, 64 << 10), (true, 64 << 10), (true, 4 << 10)]
        {
            let (load, ..) = verifier(0, inject_error);
            let load = DiskLoad { size_bytes, ..load };
            let (mut verifier, mut mix) = (Verifier::new(&load, 9, 0), Mix::new(&load, 1));
            let mut file = vec![0; load.size_bytes as usize];
            verifier.fill(&load, &mut file, 0);
            let mut found = 0;
            for _ in 0..4 * BACKLOG {
                let io = verifier.next(&mut mix).unwrap();
                let place = io.offset as usize..io.offset as usize + io.bytes as usize;
                if io.operation == Operation::Write {
                    verifier.stamp(io, &mut file[place.clone()]);
                }
                found += u64::from(verifier.end(io, true, &file[place]).is_err());
            }
            assert_eq!(found, u64::from(inject_error));
            assert!(verifier.verified >= 2 * BACKLOG as u64 - BACKLOG as u64 / 2);
            assert!(verifier.unverified <= BACKLOG as u64);
        }
    }

    #[test]
    fn a_lost_write_is_found_and_a_failed_one_is_not_held_against_the_device() {
        let (load, mut verifier, mut mix) = verifier(50, false);
        let mut file = vec![0; load.size_bytes as usize];
        verifier.fill(&load, &mut file, 0);
        let io = Io { operation: Operation::Write, bytes: 4_096, offset: 8_192 };
        let read = Io { operation: Operation::Read, ..io };
        let old = file[8_192..12_288].to_vec();
        let mut buffer = old.clone();
        verifier.stamp(io, &mut buffer);
        verifier.end(io, true, &buffer).unwrap();
        verifier.end(read, true, &buffer).unwrap();
        let told = verifier.end(read, true, &old).unwrap_err().to_string();
        assert!(told.contains("offset 8192, generation 2") && told.contains("it is generation 1"), "{told}");
        verifier.end(io, false, &old).unwrap();
        verifier.end(read, true, &old).unwrap();
        let _still_deals = verifier.next(&mut mix).unwrap();
    }

    #[test]
    fn everything_is_read_in_order_before_the_mix_goes_on() {
        let (load, ..) = verifier(0, false);
        let load = DiskLoad {
            blocks: vec![(4_096, 50), (12_288, 50)]
                .into_iter()
                .map(|(bytes, percent)| super::super::load::BlockShare { bytes, percent })
                .collect(),
            size_bytes: 96 << 10,
            ..load
        };
        let (mut verifier, mut mix) = (Verifier::new(&load, 9, 0), Mix::new(&load, 1));
        let mut file = vec![0; load.size_bytes as usize];
        verifier.fill(&load, &mut file, 0);
        for _ in 0..3 {
            let io = verifier.next(&mut mix).unwrap();
            let place = io.offset as usize..io.offset as usize + io.bytes as usize;
            verifier.stamp(io, &mut file[place.clone()]);
            verifier.end(io, true, &file[place]).unwrap();
        }
        verifier.read_all();
        let mut offset = 0;
        while let Some(io) = verifier.next(&mut mix) {
            assert_eq!((io.operation, io.offset, io.bytes), (Operation::Read, offset, 12_288));
            offset += u64::from(io.bytes);
            verifier.end(io, true, &file[io.offset as usize..offset as usize]).unwrap();
        }
        assert_eq!((offset, verifier.unverified), (96 << 10, 0));
        verifier.go_on();
        assert_eq!(verifier.next(&mut mix).unwrap().operation, Operation::Write);
    }

    #[test]
    fn a_spoiled_first_block_is_found_by_a_read() {
        let (load, mut verifier, _) = verifier(100, true);
        let mut file = vec![0; load.size_bytes as usize];
        verifier.fill(&load, &mut file, 0);
        let io = Io { operation: Operation::Read, bytes: 4_096, offset: 0 };
        assert!(verifier.end(io, true, &file[..4_096]).is_err());
    }
}
