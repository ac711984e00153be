//! Chains of dependent floating-point operations in registers: the `fma` and `power` kernels.
//!
//! A multiply-add chain steps `x ← x·A + B` in every lane, from a start of its own. `A` is a little above 1 and `B` puts the
//! fixed point at 1.5: distances to it grow by e^0.5 at most over a unit, so that lanes stay between 1 and 2. There neighbouring
//! numbers stay apart (the map stretches, rounding can't merge them), and an error in any step is still there in the
//! last. Fused multiply-adds are rounded once (IEEE 754-2008, 5.4.1), so every instruction set gives the bits of the scalar
//! reference; the portable form rounds twice and has a reference of its own.
//!
//! An addition chain steps `x ← x + C`, `C` a multiple of the last bit between 1 and 2: every sum is exact, so the reference is
//! one multiplication.

use std::{sync::Arc, time::Duration};

use super::{
    Isa, chains_reference, chains_vector,
    kernel::{Kernel, Work},
    recipe::{Caches, Precision, Recipe},
    sweep::{LINE_BYTES, Line, ROUND, Sweep},
};
use crate::{
    burn::{BurnError, random::split_mix},
    clock,
};

/// 1 + 2^-14: over 8,192 steps distances grow by e^0.5.
pub(super) const A: f64 = 1.0 + 1.0 / 16_384.0;
/// Puts the fixed point at 1.5.
pub(super) const B: f64 = -1.5 / 16_384.0;
/// 171 units in the last place of binary32 between 1 and 2, 2^-23: some 2^-15.6, so that a unit's sum stays below 2.
pub(super) const C: f64 = 171.0 / 8_388_608.0;

/// Multiply-add chains alone: latency (4 to 5 cycles) times pipes (2), and some to spare.
pub(super) const FMA_CHAINS: usize = 12;
/// Where 32 registers allow it: 12 chains of multiply-adds and 12 of additions, so that pipes for additions alone
/// (Zen 3 and later) have work beside those for multiply-adds.
pub(super) const WIDE_CHAINS: usize = 24;
/// Steps of a unit of 12 chains: some 16 µs on two pipes at 3 GHz, short against a duty cycle's period and long against
/// what surrounds them (filling and draining the pipes, comparing).
const STEPS: usize = 8_192;
/// Looks at each mix of `power` before choosing; the best one counts.
const LOOKS: usize = 12;

/// What one unit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) isa: Isa,
    pub(super) precision: Precision,
    pub(super) chains: usize,
    /// Half of the chains add instead of multiplying and adding.
    pub(super) adds: bool,
    pub(super) steps: usize,
    /// Every so many steps, one moves a line of memory; 0 for never.
    pub(super) gap: usize,
}

impl Shape {
    /// Words of one register.
    pub(super) fn words(&self) -> usize {
        match self.isa {
            Isa::Portable | Isa::Avx2 => 4,
            Isa::Avx512 => 8,
        }
    }

    /// Lines that a unit moves.
    pub(super) fn lines(&self) -> usize {
        self.steps.checked_div(self.gap).unwrap_or(0)
    }

    /// Whether a chain adds only: half of them, never the first or the third.
    pub(super) fn adds_only(&self, chain: usize) -> bool {
        self.adds && if self.chains == WIDE_CHAINS { chain >= FMA_CHAINS } else { chain % 2 == 1 }
    }

    fn work(&self) -> Work {
        let lanes = self.words() * self.precision.per_word();
        let of_chain = |chain| if self.adds_only(chain) { 1 } else { 2 };
        let flops_of_step: usize = (0..self.chains).map(of_chain).sum();
        Work {
            operations: (self.chains * lanes * self.steps) as u64,
            // Loaded once, stored once.
            bytes: (2 * LINE_BYTES * self.lines()) as u64,
            flops: (flops_of_step * lanes * self.steps) as u64,
        }
    }
}

/// The `fma` and `power` kernels.
#[derive(Debug)]
pub(super) struct Chains {
    shape: Shape,
    start: Arc<[u64]>,
    /// What the chains meet in memory in one unit.
    lines: Arc<[Line]>,
    expected: Arc<[u64]>,
    got: Vec<u64>,
    /// Made when the first unit is computed, on the worker's own core.
    sweep: Option<Sweep>,
    caches: Caches,
    sharers: u32,
}

impl Chains {
    /// Registers alone.
    pub(super) fn fma(isa: Isa, precision: Precision, seed: u64) -> Self {
        let shape = Shape { isa, precision, chains: FMA_CHAINS, adds: false, steps: STEPS, gap: 0 };
        let caches = Caches { l1_bytes: 0, l2_bytes: 0, l3_bytes: 0 };
        Self::of_shape(shape, seed, caches, 1)
    }

    /// Whichever of multiply-adds alone and multiply-adds with additions does more here, and a share of memory.
    pub(super) fn power(recipe: &Recipe) -> Self {
        let chains = if recipe.isa == Isa::Avx512 { WIDE_CHAINS } else { FMA_CHAINS };
        let shape = |adds| {
            let steps = STEPS * FMA_CHAINS / chains;
            let Recipe { isa, precision, memory_percent, .. } = *recipe;
            if memory_percent == 0 {
                return Shape { isa, precision, chains, adds, steps, gap: 0 };
            }
            let gap = (100.0 / f64::from(memory_percent)).round() as usize;
            let rounds = (steps / (gap * ROUND)).max(1);
            Shape { isa, precision, chains, adds, steps: rounds * gap * ROUND, gap }
        };
        // Without memory: its time would blur which pipes are there.
        let rate = |adds| {
            let bare = Shape { gap: 0, ..shape(adds) };
            Self::of_shape(bare, recipe.seed, recipe.caches, 1).flops_per_s()
        };
        let adds = recipe.adds.unwrap_or_else(|| rate(true) > rate(false));
        Self::of_shape(shape(adds), recipe.seed, recipe.caches, recipe.sharers)
    }

    fn of_shape(shape: Shape, seed: u64, caches: Caches, sharers: u32) -> Self {
        let mut state = seed;
        let words = shape.chains * shape.words();
        let start: Arc<[u64]> = (0..words).map(|_| word_near_middle(shape.precision, &mut state)).collect();
        let addend = |state: &mut u64| addend_word(shape.precision, state);
        let lines = (0..shape.lines()).map(|_| Line(std::array::from_fn(|_| addend(&mut state)))).collect();
        Self {
            shape,
            got: start.to_vec(),
            start,
            lines,
            expected: Arc::new([]),
            sweep: None,
            caches,
            sharers,
        }
    }

    /// By this thread's CPU clock, the best of some units.
    fn flops_per_s(mut self) -> f64 {
        let mut best = Duration::MAX;
        for _ in 0..LOOKS {
            let begin = clock::thread_cpu();
            chains_vector::compute(&self.shape, &self.start, &mut self.got, None);
            best = best.min(clock::thread_cpu().saturating_sub(begin));
        }
        self.shape.work().flops as f64 / best.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Kernel for Chains {
    fn work(&self) -> Work {
        self.shape.work()
    }

    fn fork(&self) -> Result<Box<dyn Kernel>, BurnError> {
        Ok(Box::new(Self {
            shape: self.shape,
            start: self.start.clone(),
            lines: self.lines.clone(),
            expected: self.expected.clone(),
            got: self.start.to_vec(),
            sweep: None,
            caches: self.caches,
            sharers: self.sharers,
        }))
    }

    fn learn(&mut self) {
        self.expected = chains_reference::ends(&self.shape, &self.start, &self.lines).into();
    }

    fn compute(&mut self) -> Result<(), BurnError> {
        let make = || Sweep::new(&self.caches, self.sharers, &self.lines);
        let sweep = (self.shape.gap > 0).then(|| self.sweep.get_or_insert_with(make));
        chains_vector::compute(&self.shape, &self.start, &mut self.got, sweep);
        Ok(())
    }

    fn outcome(&mut self) -> (&mut [u64], &[u64]) {
        (&mut self.got, &self.expected)
    }

    fn adds(&self) -> Option<bool> {
        Some(self.shape.adds)
    }

    fn variant(&self) -> Option<String> {
        let mix = if self.shape.adds { "multiply-adds and additions" } else { "multiply-adds" };
        (self.shape.chains == WIDE_CHAINS || self.shape.gap > 0 || self.shape.adds).then(|| mix.into())
    }
}

/// Numbers in (1.25, 1.75), as many as fit, all bits of their fractions in use.
pub(super) fn word_near_middle(precision: Precision, state: &mut u64) -> u64 {
    let random = split_mix(state);
    match precision {
        Precision::Double => (1.25 + (random >> 13) as f64 / (1u64 << 52) as f64).to_bits(),
        Precision::Single => {
            let lane = |bits: u64| u64::from((1.25 + (bits >> 10) as f32 / (1u32 << 23) as f32).to_bits());
            lane(random >> 32) << 32 | lane(random & 0xffff_ffff)
        }
    }
}

/// Numbers near [`B`], apart by up to 2^-8 of it.
fn addend_word(precision: Precision, state: &mut u64) -> u64 {
    let random = split_mix(state);
    let near = |bits: u64| B * (1.0 + (bits >> 8) as f64 / f64::from(1u32 << 24) / 256.0);
    match precision {
        Precision::Double => near(random >> 32).to_bits(),
        Precision::Single => {
            let lane = |bits: u64| u64::from((near(bits) as f32).to_bits());
            lane(random >> 32) << 32 | lane(random & 0xffff_ffff)
        }
    }
}
