//! What every kernel of the CPU burner is: a unit of work of some 5 to 50 µs whose result is known beforehand, because it was
//! computed another way.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::Isa;
use crate::burn::BurnError;

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

    /// A copy that computes the same with other instructions, where that needs nothing but what is there.
    fn with_isa(&self, _isa: Isa) -> Option<Box<dyn Kernel>> {
        None
    }

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
    use std::time::{Duration, Instant};

    use super::{
        super::recipe::{Caches, KernelName, Level, Precision, Recipe},
        *,
    };

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
                    sharers: 1,
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
            let (level, caches, seed, adds, sharers) = (Level::L1, CACHES, 0, None, 1);
            Recipe { kernel, isa, precision, memory_percent, level, caches, seed, adds, sharers }
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

    /// How much of a unit's time goes into comparing it, by kernel and instructions.
    #[test]
    #[ignore = "a measurement: cargo test --release -p ssts-agent --lib -- --ignored --nocapture share_of_comparing"]
    fn the_share_of_comparing() {
        const UNITS: usize = 400;
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        let caches = Caches { l1_bytes: 48 << 10, l2_bytes: 2 << 20, l3_bytes: 32 << 20 };
        for kernel in KernelName::ALL {
            for isa in Isa::available_for(kernel) {
                let (level, precision) = (Level::L2, Precision::Double);
                let recipe = Recipe {
                    kernel,
                    isa,
                    precision,
                    memory_percent: 10,
                    level,
                    caches,
                    seed: 1,
                    adds: None,
                    sharers: 1,
                };
                let mut kernel = ready(&recipe);
                let (mut computing, mut comparing) = (Vec::new(), Vec::new());
                for _ in 0..UNITS {
                    let begin = Instant::now();
                    kernel.compute().unwrap();
                    let computed = Instant::now();
                    let (got, expected) = kernel.outcome();
                    assert_eq!(std::hint::black_box(Difference::between(got, expected)), None);
                    computing.push(computed - begin);
                    comparing.push(computed.elapsed());
                }
                let (computing, comparing) = (median(computing), median(comparing));
                let share = 100.0 * comparing.as_secs_f64() / (computing + comparing).as_secs_f64();
                println!("{:40} {computing:10.1?} {comparing:10.1?} {share:6.2} %", recipe.describe());
            }
        }
    }
}
