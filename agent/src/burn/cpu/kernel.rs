//! What every kernel of the CPU burner is: a unit of work of some 5 to 50 µs whose result is known beforehand, because it was
//! computed another way.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::{
    Isa,
    branch::Branch,
    cache::{self, Chase},
    chains::Chains,
    crypto::Crypto,
    integer::Integer,
    matrix::Matrix,
    root::Root,
    sweep::Sweep,
    switch::Switch,
};
use crate::burn::BurnError;

/// One kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelName {
    /// Multiply-adds in registers.
    Fma,
    /// Multiply-adds and additions, and a share of loads and stores.
    Power,
    /// 32-bit integer arithmetic.
    Integer,
    /// Branches that can't be predicted.
    Branch,
    /// Square roots and divisions.
    SqrtDiv,
    /// AES and SHA-256.
    Crypto,
    /// A blocked matrix product.
    Matrix,
    /// A pointer chase through one level of the memory hierarchy.
    Cache,
    /// Two threads that hand a token to and fro.
    ContextSwitch,
}

impl KernelName {
    /// All of them; what `mixed` goes through.
    pub const ALL: [Self; 9] = [
        Self::Fma,
        Self::Power,
        Self::Integer,
        Self::Branch,
        Self::SqrtDiv,
        Self::Crypto,
        Self::Matrix,
        Self::Cache,
        Self::ContextSwitch,
    ];

    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fma => "fma",
            Self::Power => "power",
            Self::Integer => "integer",
            Self::Branch => "branch",
            Self::SqrtDiv => "sqrt-div",
            Self::Crypto => "crypto",
            Self::Matrix => "matrix",
            Self::Cache => "cache",
            Self::ContextSwitch => "context-switch",
        }
    }

    /// Whether it computes with floating-point numbers of a choosable precision.
    pub fn has_precision(self) -> bool {
        matches!(self, Self::Fma | Self::Power | Self::SqrtDiv | Self::Matrix)
    }
}

/// Of floating-point numbers: IEEE 754 binary64 or binary32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 64 bits.
    Double,
    /// 32 bits.
    Single,
}

impl Precision {
    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Single => "single",
        }
    }

    /// Numbers in 64 bits.
    pub(super) fn per_word(self) -> usize {
        match self {
            Self::Double => 1,
            Self::Single => 2,
        }
    }
}

/// A level of the memory hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The core's own first cache.
    L1,
    /// The second.
    L2,
    /// The third, mostly shared.
    L3,
    /// Behind all caches.
    Dram,
}

impl Level {
    /// All, nearest first.
    pub const ALL: [Self; 4] = [Self::L1, Self::L2, Self::L3, Self::Dram];

    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::Dram => "dram",
        }
    }
}

/// Sizes in bytes of the caches that a core sees; 0 for a level that it lacks, or that the host does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caches {
    /// First, data.
    pub l1_bytes: u64,
    /// Second.
    pub l2_bytes: u64,
    /// Third.
    pub l3_bytes: u64,
}

/// Everything that decides what a kernel computes, and so its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Which.
    pub kernel: KernelName,
    /// With which instructions.
    pub isa: Isa,
    /// Of floating-point numbers, where it has any.
    pub precision: Precision,
    /// Of `power`: percent of steps that move a line of memory.
    pub memory_percent: u32,
    /// Of `cache`: where its chain lies.
    pub level: Level,
    /// Of the host.
    pub caches: Caches,
    /// Where pseudo-random numbers start.
    pub seed: u64,
    /// Of `power`: whether additions go with the multiply-adds, where it is known which does more here.
    pub adds: Option<bool>,
}

/// What one unit of work is, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Of the kernel's own kind: see docs/burners/cpu.md.
    pub operations: u64,
    /// Loaded and stored beyond registers and the first cache's stack.
    pub bytes: u64,
    /// Floating-point operations.
    pub flops: u64,
}

/// One worker's copy of a kernel.
pub trait Kernel: Debug + Send + Sync {
    /// What one unit is.
    fn work(&self) -> Work;

    /// A copy for another worker: shares what is read only, has memory of its own for what is written.
    ///
    /// # Errors
    /// When the kernel has no pipe or thread left.
    fn fork(&self) -> Result<Box<dyn Kernel>, BurnError>;

    /// Computes the known answer, another way than [`Kernel::compute`] does. Until then it is empty.
    fn learn(&mut self);

    /// Computes one unit, always the same.
    ///
    /// # Errors
    /// When a system call fails that can't.
    fn compute(&mut self) -> Result<(), BurnError>;

    /// What the last unit computed, and what every unit must compute, word for word.
    fn outcome(&mut self) -> (&mut [u64], &[u64]);

    /// What it chose itself, in words.
    fn variant(&self) -> Option<String> {
        None
    }

    /// Whether additions go with its multiply-adds, where it chose that.
    fn adds(&self) -> Option<bool> {
        None
    }

    /// The clock of a thread that computes for this one, whose time counts as the worker's.
    fn partner(&self) -> Option<nix::time::ClockId> {
        None
    }
}

impl Recipe {
    /// The kernel, its answer not yet computed.
    ///
    /// # Errors
    /// When it can't be had here.
    pub fn build(&self) -> Result<Box<dyn Kernel>, BurnError> {
        assert!(self.isa.is_available_for(self.kernel), "admission lets through what the host has");
        Ok(match self.kernel {
            KernelName::Fma => Box::new(Chains::fma(self.isa, self.precision, self.seed)),
            KernelName::Power => Box::new(Chains::power(self)),
            KernelName::Integer => Box::new(Integer::new(self.isa, self.seed)),
            KernelName::Branch => Box::new(Branch::new(self.isa, self.seed)),
            KernelName::SqrtDiv => Box::new(Root::new(self.isa, self.precision, self.seed)),
            KernelName::Crypto => Box::new(Crypto::new(self.isa, self.seed)),
            KernelName::Matrix => Box::new(Matrix::new(self.isa, self.precision, self.seed)),
            KernelName::Cache => Box::new(Chase::new(self.isa, self.level, &self.caches, self.seed)),
            KernelName::ContextSwitch => Box::new(Switch::new(self.isa, self.seed)?),
        })
    }

    /// Bytes that so many workers keep beyond some pages each.
    pub fn memory_bytes(&self, workers: u64) -> u64 {
        match self.kernel {
            KernelName::Power if self.memory_percent > 0 => workers * Sweep::bytes(&self.caches),
            // With the order of visits, 4 bytes a line, while it is built.
            KernelName::Cache => cache::area_bytes(&self.caches, self.level) / 16 * 17,
            _ => 0,
        }
    }

    /// In words: `fma, avx512, double`.
    pub fn describe(&self) -> String {
        let mut words = vec![self.kernel.name(), self.isa.name()];
        if self.kernel.has_precision() {
            words.push(self.precision.name());
        }
        if self.kernel == KernelName::Cache {
            words.push(self.level.name());
        }
        words.join(", ")
    }
}

/// Where a result differs from the known answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The first word of 64 bits that is wrong.
    pub word: u64,
    /// What it must be.
    pub expected: u64,
    /// What it is.
    pub got: u64,
    /// How many words are wrong.
    pub wrong_words: u64,
    /// How many bits are wrong, in all words.
    pub wrong_bits: u64,
}

impl Difference {
    /// Between what was computed and the known answer.
    pub(super) fn between(got: &[u64], expected: &[u64]) -> Option<Self> {
        if got == expected {
            return None;
        }
        let wrong = || got.iter().zip(expected).enumerate().filter(|(_, (got, expected))| got != expected);
        // An answer of another length would be a bug of ours; it must not pass as right.
        let (word, (&got_word, &expected_word)) = wrong().next().unwrap_or((got.len(), (&0, &0)));
        Some(Self {
            word: word as u64,
            expected: expected_word,
            got: got_word,
            wrong_words: wrong().count() as u64,
            wrong_bits: wrong().map(|(_, (got, expected))| u64::from((got ^ expected).count_ones())).sum(),
        })
    }
}

/// Computes one unit and compares; `corrupt` may tamper with the result before that.
///
/// # Errors
/// As [`Kernel::compute`].
pub(super) fn run_unit(
    kernel: &mut dyn Kernel,
    corrupt: impl FnOnce(&mut [u64]),
) -> Result<Option<Difference>, BurnError> {
    kernel.compute()?;
    let (got, expected) = kernel.outcome();
    corrupt(got);
    Ok(Difference::between(got, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHES: Caches = Caches { l1_bytes: 32 << 10, l2_bytes: 256 << 10, l3_bytes: 4 << 20 };

    /// Every kernel, instruction set, precision, level and share of memory that this host can do.
    fn recipes(seed: u64) -> Vec<Recipe> {
        let mut recipes = Vec::new();
        for kernel in KernelName::ALL {
            for isa in Isa::available_for(kernel) {
                let plain = Recipe {
                    kernel,
                    isa,
                    precision: Precision::Double,
                    memory_percent: 0,
                    level: Level::L1,
                    caches: CACHES,
                    seed,
                    adds: None,
                };
                if kernel.has_precision() {
                    recipes.push(Recipe { precision: Precision::Single, ..plain.clone() });
                }
                if kernel == KernelName::Power {
                    for memory_percent in [1, 10, 33, 100] {
                        recipes.push(Recipe { memory_percent, ..plain.clone() });
                        recipes.push(Recipe {
                            memory_percent,
                            precision: Precision::Single,
                            ..plain.clone()
                        });
                    }
                }
                if kernel == KernelName::Cache {
                    recipes.extend([Level::L2, Level::L3].map(|level| Recipe { level, ..plain.clone() }));
                }
                recipes.push(plain);
            }
        }
        recipes
    }

    fn ready(recipe: &Recipe) -> Box<dyn Kernel> {
        let mut prototype = recipe.build().unwrap();
        prototype.learn();
        prototype.fork().unwrap()
    }

    #[test]
    fn every_kernel_finds_the_known_answer_with_every_instruction_set() {
        for seed in 0..2 {
            for recipe in recipes(seed) {
                let mut kernel = ready(&recipe);
                for unit in 0..20 {
                    let difference = run_unit(&mut *kernel, |_| {}).unwrap();
                    assert_eq!(difference, None, "{recipe:?}, unit {unit}");
                }
                assert!(!kernel.outcome().1.is_empty());
            }
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_in_a_result_is_found() {
        for recipe in recipes(3) {
            let mut kernel = ready(&recipe);
            let words = kernel.outcome().0.len();
            for at in [0, words / 2, words - 1] {
                for bit in [0, 31, 63] {
                    let found = run_unit(&mut *kernel, |got| got[at] ^= 1 << bit).unwrap().unwrap();
                    assert_eq!(found.word, at as u64, "{recipe:?}");
                    assert_eq!(found.got ^ found.expected, 1 << bit);
                    assert_eq!((found.wrong_words, found.wrong_bits), (1, 1));
                }
            }
            assert_eq!(run_unit(&mut *kernel, |_| {}).unwrap(), None, "{recipe:?}");
        }
    }

    #[test]
    fn another_seed_has_another_answer() {
        for (one, other) in recipes(1).iter().zip(recipes(2)) {
            if one.kernel == KernelName::Cache {
                // Its answer is of the lines that it happens to visit first.
                continue;
            }
            let (mut one, mut other) = (ready(one), ready(&other));
            assert_ne!(one.outcome().1, other.outcome().1);
        }
    }

    #[test]
    fn work_is_stated_as_documented() {
        let work = |kernel, precision, memory_percent| {
            let isa = Isa::Portable;
            let (level, caches, seed, adds) = (Level::L1, CACHES, 0, None);
            Recipe { kernel, isa, precision, memory_percent, level, caches, seed, adds }
                .build()
                .unwrap()
                .work()
        };
        // Chains x lanes x steps, two each.
        let lane_steps = 12 * 4 * 8_192;
        let fma = Work { operations: lane_steps, bytes: 0, flops: 2 * lane_steps };
        assert_eq!(work(KernelName::Fma, Precision::Double, 0), fma);
        assert_eq!(work(KernelName::Fma, Precision::Single, 0).flops, 4 * lane_steps);
        assert_eq!(work(KernelName::Integer, Precision::Double, 0).operations, 12 * 8 * 1_024 * 4);
        assert_eq!(work(KernelName::Branch, Precision::Double, 0).operations, 4_096);
        assert_eq!(work(KernelName::SqrtDiv, Precision::Double, 0).flops, 3 * 4 * 4 * 512);
        assert_eq!(work(KernelName::Matrix, Precision::Double, 0).flops, 2 * 64 * 72 * 64);
        assert_eq!(work(KernelName::Crypto, Precision::Double, 0).operations, 32 + 16);
        assert_eq!(work(KernelName::Cache, Precision::Double, 0).bytes, 4_096 * 64);
        assert_eq!(work(KernelName::ContextSwitch, Precision::Double, 0).operations, 16);
        // Every tenth of 8,160 steps: a whole number of rounds of 16.
        assert_eq!(work(KernelName::Power, Precision::Double, 10).bytes, 816 * 128);
    }
}
