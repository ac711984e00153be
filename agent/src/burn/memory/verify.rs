//! Writes patterns, reads them back and compares: each sweep checks what the one before has written and writes the next.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    MemoryLoad, Method, Pattern, WrongWord,
    data::{Data, RandomData},
    load::FIRST,
    region::{BLOCK_BYTES, Block, Region},
    sweep::{UNIT_BLOCKS, count},
    vector::{self, Store},
    wrong,
};
use crate::{
    burn::{
        BurnError, control,
        cpu::Isa,
        pace::Pacer,
        random::{below, split_mix},
        worker::{Flow, Reins},
    },
    clock,
};

/// Words that are reported; the sweep in which so many are found is not carried to its end.
const MAX_WORDS: usize = 16;

/// What one sweep writes, and which way it goes.
#[derive(Debug, Clone)]
struct Step {
    pattern: Pattern,
    data: Data,
    descending: bool,
}

/// All steps of all patterns, round after round.
#[derive(Debug)]
struct Rounds {
    patterns: Vec<Pattern>,
    seed: u64,
    round: u32,
    /// Of the current round, in reverse.
    ahead: Vec<Step>,
}

impl Rounds {
    fn new(patterns: Vec<Pattern>, seed: u64) -> Self {
        Self { patterns, seed, round: 0, ahead: Vec::new() }
    }

    fn next(&mut self) -> Step {
        loop {
            if let Some(step) = self.ahead.pop() {
                return step;
            }
            for pattern in &self.patterns {
                self.ahead.extend(steps_of(*pattern, self.round, &mut self.seed));
            }
            self.ahead.reverse();
            self.round = self.round.wrapping_add(1);
        }
    }
}

fn steps_of(pattern: Pattern, round: u32, seed: &mut u64) -> Vec<Step> {
    let up = |data| Step { pattern, data, descending: false };
    match pattern {
        Pattern::WalkingOnes => {
            let shift = round % u64::BITS;
            [false, true].map(|invert| up(Data::Walking { shift, invert })).into()
        }
        Pattern::Checkerboard => {
            [0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa].map(|word| up(Data::Constant(word))).into()
        }
        Pattern::MovingInversions => {
            let word = split_mix(seed);
            let mut steps: Vec<Step> = [word, !word, word].map(|word| up(Data::Constant(word))).into();
            steps[2].descending = true;
            steps
        }
        Pattern::Random => vec![up(Data::Random(Box::new(RandomData::new(split_mix(seed)))))],
        Pattern::Address => [false, true].map(|invert| up(Data::Address { invert })).into(),
    }
}

/// One worker's sweeps.
#[derive(Debug)]
pub(super) struct Verifier {
    isa: Isa,
    store: Store,
    delay: Duration,
    region: Region,
    rounds: Rounds,
    /// What is in memory: all of it, or what the sweep has not yet come to.
    written: Step,
    /// What the sweep writes.
    writing: Step,
    /// Blocks that the sweep has done.
    done: usize,
    place: (u32, u32),
    inject_at: Option<usize>,
    wrong: Vec<WrongWord>,
}

impl Verifier {
    /// Writes the first pattern to a region that is not empty. `inject` is whether to flip a bit of it.
    pub(super) fn new(
        load: &MemoryLoad,
        mut region: Region,
        seed: u64,
        core: u32,
        inject: bool,
        reins: &Reins,
    ) -> Result<Self, BurnError> {
        let Method::Verify { patterns, delay, exceeds_caches } = &load.method else {
            return Err(BurnError::Instructions("a verifier for another method".into()));
        };
        let mut rounds = Rounds::new(patterns.clone(), seed);
        let (written, writing) = (rounds.next(), rounds.next());
        let isa = load.isa;
        for (index, block) in region.blocks_mut().iter_mut().enumerate() {
            if index % UNIT_BLOCKS == 0 && !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            write(isa, block, index, &written.data, Store::NonTemporal);
        }
        vector::fence();
        let mut state = seed;
        let words = region.words().len() as u64;
        let inject_at = (inject && words > 0).then(|| below(&mut state, words) as usize);
        // Lines that a check has just brought into the caches are changed there, and leave when their time comes. Where
        // they would not until they are read back, stores go past the caches.
        let store = if *exceeds_caches { Store::Cached } else { Store::NonTemporal };
        Ok(Self {
            isa,
            store,
            delay: *delay,
            region,
            rounds,
            written,
            writing,
            done: 0,
            place: (reins.place().0 as u32, core),
            inject_at,
            wrong: Vec::new(),
        })
    }

    /// Until the end, or the sweep in which a word was wrong.
    pub(super) fn burn(&mut self, mut pacer: Pacer, reins: &Reins) -> Result<(), BurnError> {
        if let Some(at) = self.inject_at.take() {
            self.region.words_mut()[at] ^= 1 << (at % 64);
        }
        loop {
            let mut sweep_ended = false;
            let flow = pacer.step(reins, |units| {
                for _ in 0..units {
                    if !sweep_ended {
                        sweep_ended = self.unit(reins);
                    }
                }
            });
            let found_enough = self.wrong.len() >= MAX_WORDS;
            if !self.wrong.is_empty() && (sweep_ended || found_enough || flow == Flow::Stop) {
                return Err(BurnError::WrongWords(std::mem::take(&mut self.wrong)));
            }
            if flow == Flow::Stop {
                return Ok(());
            }
            if sweep_ended && !self.delay.is_zero() && self.rest(&mut pacer, reins) == Flow::Stop {
                // Publishes what was done.
                pacer.step(reins, |_| {});
                return Ok(());
            }
        }
    }

    /// Checks and rewrites the next blocks; gives whether the sweep ended with them.
    fn unit(&mut self, reins: &Reins) -> bool {
        let blocks = self.region.blocks().len();
        let end = (self.done + UNIT_BLOCKS).min(blocks);
        for step in self.done..end {
            let index = if self.writing.descending { blocks - 1 - step } else { step };
            let block = &mut self.region.blocks_mut()[index];
            if !is_right(self.isa, block, index, &self.written.data) {
                let room = MAX_WORDS.saturating_sub(self.wrong.len());
                let found = wrong_words(block, index, &self.written, self.place);
                self.wrong.extend(found.into_iter().take(room));
            }
            write(self.isa, block, index, &self.writing.data, self.store);
        }
        if self.store == Store::NonTemporal {
            vector::fence();
        }
        count(reins, ((end - self.done) * 2 * BLOCK_BYTES) as u64);
        self.done = end;
        if end < blocks {
            return false;
        }
        self.done = 0;
        self.written = std::mem::replace(&mut self.writing, self.rounds.next());
        control::add(&reins.slot().figures[FIRST], 1);
        true
    }

    /// Leaves the memory alone for the delay, which a pause does not shorten.
    fn rest(&self, pacer: &mut Pacer, reins: &Reins) -> Flow {
        let mut due = clock::boottime() + self.delay;
        loop {
            reins.sleep_until(due.min(reins.end()));
            match reins.obey() {
                Flow::Resumed(paused) => {
                    due += paused;
                    pacer.forget(paused);
                }
                Flow::Burn if clock::boottime() < due => {}
                flow => return flow,
            }
        }
    }
}

fn address(block: &Block) -> u64 {
    std::ptr::from_ref(block).addr() as u64
}

fn write(isa: Isa, block: &mut Block, index: usize, data: &Data, store: Store) {
    match data {
        Data::Random(random) => {
            vector::write_salted(isa, block, &random.base, random.salt(index as u64), store);
        }
        stepped => {
            let steps = stepped.steps(address(block));
            vector::write_steps(isa, block, &steps, store);
        }
    }
}

fn is_right(isa: Isa, block: &Block, index: usize, data: &Data) -> bool {
    match data {
        Data::Random(random) => vector::crcs(isa, block) == random.crcs(random.salt(index as u64)),
        stepped => vector::check_steps(isa, block, &stepped.steps(address(block))),
    }
}

/// The words of a block that are wrong; the first one, without what was got, where none is any more.
fn wrong_words(block: &Block, index: usize, step: &Step, (worker, core): (u32, u32)) -> Vec<WrongWord> {
    let start = address(block);
    let expected = |word| step.data.word(index as u64, start, word);
    let got = block.clone();
    vector::flush(block);
    let word = |place: usize, got| WrongWord {
        worker,
        core,
        pattern: step.pattern.name().into(),
        address: start + 8 * place as u64,
        page_frame: wrong::page_frame(start),
        expected: expected(place),
        got,
        // Not to be taken from the copy above.
        again: *std::hint::black_box(&block.0[place]),
    };
    let differing = (0..got.0.len()).filter(|place| got.0[*place] != expected(*place));
    let mut words: Vec<_> = differing.take(MAX_WORDS).map(|place| word(place, Some(got.0[place]))).collect();
    if words.is_empty() {
        words.push(word(0, None));
    }
    words
}

/// Counts what was found. Apart from the report, which must be on its way when the daemon sees the count.
pub(in crate::burn) fn count_wrong(words: &[WrongWord], control: &control::ControlBlock) {
    for word in words {
        control.slot(word.worker as usize).verify_errors.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        burn::{control::ControlBlock, memory::region::Pages, profile::LoadProfile},
        host::HostRoots,
    };

    const BYTES: usize = 2 << 20;

    fn load(isa: Isa, patterns: &[Pattern], exceeds_caches: bool) -> MemoryLoad {
        MemoryLoad {
            size_bytes: BYTES as u64,
            method: Method::Verify { patterns: patterns.into(), delay: Duration::ZERO, exceeds_caches },
            pages: Pages::Small,
            nodes: Vec::new(),
            fill_bytes_per_s: None,
            floor_bytes: 0,
            profile: LoadProfile::FULL,
            isa,
            inject_error: None,
            roots: HostRoots::default(),
        }
    }

    fn verifier(isa: Isa, patterns: &[Pattern], exceeds_caches: bool) -> (Verifier, Reins) {
        let block = Arc::new(ControlBlock::create(1, 0, Duration::from_secs(60)).unwrap());
        let reins = Reins::new(block, 0, 0, None);
        let mut region = Region::reserve(BYTES, Pages::Small).unwrap();
        region.grow(BYTES).unwrap();
        let load = load(isa, patterns, exceeds_caches);
        (Verifier::new(&load, region, 5, 0, false, &reins).unwrap(), reins)
    }

    fn sweep(verifier: &mut Verifier, reins: &Reins) {
        while !verifier.unit(reins) {}
    }

    #[test]
    fn memory_that_keeps_its_words_passes_every_pattern() {
        for isa in Isa::available() {
            for exceeds_caches in [false, true] {
                let (mut verifier, reins) = verifier(isa, &Pattern::ALL, exceeds_caches);
                for _ in 0..25 {
                    sweep(&mut verifier, &reins);
                    assert_eq!(verifier.wrong, [], "{isa:?} {:?}", verifier.written.pattern);
                }
                let slot = reins.slot();
                assert_eq!(slot.bytes.load(Ordering::Relaxed), 25 * 2 * BYTES as u64);
                assert_eq!(slot.figures[FIRST].load(Ordering::Relaxed), 25);
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found_in_every_step_of_every_pattern() {
        for (isa, pattern) in
            Isa::available().into_iter().flat_map(|isa| Pattern::ALL.map(|pattern| (isa, pattern)))
        {
            let (mut verifier, reins) = verifier(isa, &[pattern], true);
            for step in 0..6 {
                let place = (step * 77_777 + 13) % (BYTES / 8);
                let right = verifier.region.words()[place];
                verifier.region.words_mut()[place] ^= 1 << 41;
                sweep(&mut verifier, &reins);
                let found = std::mem::take(&mut verifier.wrong);
                assert_eq!(found.len(), 1, "{isa:?} {pattern:?} {step}");
                assert_eq!(
                    (found[0].expected, found[0].got),
                    (right, Some(right ^ (1 << 41))),
                    "{pattern:?}"
                );
                assert_eq!(found[0].again, right ^ (1 << 41));
                let address = verifier.region.words()[place..].as_ptr().addr() as u64;
                assert_eq!((found[0].address, found[0].pattern.as_str()), (address, pattern.name()));
            }
        }
    }

    #[test]
    fn words_in_each_others_place_are_found_by_their_address() {
        let (mut verifier, reins) = verifier(Isa::Portable, &[Pattern::Address], true);
        let blocks = verifier.region.blocks_mut();
        blocks[7] = blocks[9].clone();
        sweep(&mut verifier, &reins);
        assert_eq!(verifier.wrong.len(), MAX_WORDS);
    }

    #[test]
    fn inversions_go_up_and_down_and_a_walking_one_comes_to_every_bit() {
        let mut rounds = Rounds::new(vec![Pattern::MovingInversions, Pattern::WalkingOnes], 1);
        let steps: Vec<Step> = (0..5 * 64).map(|_| rounds.next()).collect();
        assert_eq!(steps.iter().filter(|step| step.descending).count(), 64);
        let shifts: std::collections::HashSet<u32> = (steps.iter())
            .filter_map(|step| match step.data {
                Data::Walking { shift, invert: false } => Some(shift),
                _ => None,
            })
            .collect();
        assert_eq!(shifts.len(), 64);
    }
}
