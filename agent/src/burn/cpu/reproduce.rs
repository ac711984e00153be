//! Whether a wrong result comes again: the same unit on the same core, on its sibling, on another core, and with other
//! instructions. What fails on one core with all instructions points at the core; what fails everywhere, at us.

use std::{fs, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    CpuLoad, Isa,
    branch::SEQUENCES,
    kernel::{Kernel, run_unit},
    mismatch::core_folder,
    recipe::{KernelName, Recipe},
};
use crate::{
    burn::{
        BurnError,
        worker::{Flow, Reins},
    },
    clock,
};

/// For each placement.
const LONGEST: Duration = Duration::from_millis(100);
/// The normal distribution's 97.5 % quantile: a two-sided interval of 95 %.
const Z: f64 = 1.959_964;

/// One way to compute it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rerun {
    /// Where, and with what.
    pub placement: Placement,
    /// What came of it, or why it was not done.
    pub outcome: Result<Counted, String>,
}

/// Where a unit is computed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Where it failed.
    SameCore,
    /// The other hardware thread of that core.
    Sibling,
    /// One that shares nothing with it but caches.
    OtherCore,
    /// Where it failed, with other instructions.
    OtherIsa,
    /// The known answer itself, computed anew on another core: of its one unit, 1 mismatch says that it was wrong.
    Reference,
}

impl Placement {
    /// As results name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SameCore => "same_core",
            Self::Sibling => "sibling",
            Self::OtherCore => "other_core",
            Self::OtherIsa => "other_isa",
            Self::Reference => "reference",
        }
    }
}

/// How often it was computed, and how often wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// By the kernel's number.
    pub core: u32,
    /// With which instructions.
    pub isa: Isa,
    /// Computed.
    pub units: u64,
    /// Of them wrong.
    pub mismatches: u64,
}

impl Counted {
    /// Mismatches a unit, and the bounds of Wilson's 95 % interval (Wilson: Probable inference, the law of succession, and
    /// statistical inference, 1927), which holds for rates near 0, too. None without a unit.
    pub fn rate(&self) -> Option<(f64, f64, f64)> {
        if self.units == 0 {
            return None;
        }
        let (n, p) = (self.units as f64, self.mismatches as f64 / self.units as f64);
        let widened = 1.0 + Z * Z / n;
        let middle = (p + Z * Z / (2.0 * n)) / widened;
        let half = Z / widened * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        // At the ends rounding would leave some 1e-17.
        let low = if self.mismatches == 0 { 0.0 } else { (middle - half).max(0.0) };
        let high = if self.mismatches == self.units { 1.0 } else { (middle + half).min(1.0) };
        Some((p, low, high))
    }
}

/// The worker that found it, on a thread of its own.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    pub(super) load: &'a CpuLoad,
    pub(super) reins: &'a Reins,
    /// Where it ran.
    pub(super) core: u32,
    /// Where the burner may compute at all.
    pub(super) cores: &'a [u32],
}

impl Finder<'_> {
    /// Computes it again, in all places, until the run ends.
    pub(super) fn reproduce(&self, recipe: &Recipe, prototype: &dyn Kernel) -> Vec<Rerun> {
        let siblings = self.siblings();
        let others = || self.cores.iter().copied().filter(|core| *core != self.core);
        let sibling = others().find(|core| siblings.contains(core));
        let other = others().find(|core| !siblings.contains(core));
        let on = |placement, core: Option<u32>, none: &str| Rerun {
            placement,
            outcome: core
                .ok_or_else(|| none.to_owned())
                .and_then(|core| self.repeat(core, recipe.isa, prototype).map_err(|error| error.to_string())),
        };
        let reruns = vec![
            on(Placement::SameCore, Some(self.core), ""),
            on(Placement::Sibling, sibling, "no other thread of this core is among the burner's cores"),
            on(Placement::OtherCore, other, "no other core is among the burner's"),
            Rerun { placement: Placement::OtherIsa, outcome: self.with_other_isa(recipe, prototype) },
            Rerun {
                placement: Placement::Reference,
                outcome: reference(other.or(sibling), recipe, prototype),
            },
        ];
        // What follows on this thread is where it was told to be.
        pin(self.core);
        reruns
    }

    fn with_other_isa(&self, recipe: &Recipe, prototype: &dyn Kernel) -> Result<Counted, String> {
        let mut available = Isa::available_for(recipe.kernel);
        available.retain(|isa| *isa != recipe.isa);
        // The nearest first: a wide one where the narrowest failed, else the next narrower.
        let isa = available.iter().rfind(|isa| **isa < recipe.isa).or(available.first());
        let isa = *isa.ok_or("this host has no other instructions for the kernel")?;
        let build = || -> Result<Counted, BurnError> {
            // Its answer, too, is to be that of this core: the thread was on another one.
            pin_to(self.core)?;
            let other = match prototype.with_isa(isa) {
                Some(other) => other,
                None => {
                    let mut other = Recipe { isa, ..recipe.clone() }.build()?;
                    other.learn();
                    other
                }
            };
            self.repeat(self.core, isa, &*other)
        };
        build().map_err(|error| error.to_string())
    }

    fn repeat(&self, core: u32, isa: Isa, prototype: &dyn Kernel) -> Result<Counted, BurnError> {
        pin_to(core)?;
        // Memory and threads of its own are made where they are used.
        let mut kernel = prototype.fork()?;
        let mut counted = Counted { core, isa, units: 0, mismatches: 0 };
        let mut end = clock::boottime() + LONGEST;
        while clock::boottime() < end {
            match self.reins.check() {
                Flow::Burn => {}
                Flow::Resumed(paused) => end += paused,
                Flow::Stop => break,
            }
            counted.units += 1;
            counted.mismatches += u64::from(run_unit(&mut *kernel, |_| {})?.is_some());
        }
        Ok(counted)
    }

    /// Hardware threads of the same core: Documentation/admin-guide/cputopology.rst.
    fn siblings(&self) -> Vec<u32> {
        let list = core_folder(&self.load.sys, self.core).join("topology/thread_siblings_list");
        fs::read_to_string(list).map(|text| parse_list(&text)).unwrap_or_default()
    }
}

/// Whether the answer that all workers compare with is what another core computes: the one that learnt it may be the bad
/// one, and then every good core seems wrong.
fn reference(core: Option<u32>, recipe: &Recipe, prototype: &dyn Kernel) -> Result<Counted, String> {
    if recipe.kernel == KernelName::Cache {
        return Err("workers compute this kernel's answers themselves, unit by unit".into());
    }
    let core = core.ok_or("no other core is among the burner's")?;
    learn_again(core, recipe.isa, prototype).map_err(|error| error.to_string())
}

fn learn_again(core: u32, isa: Isa, prototype: &dyn Kernel) -> Result<Counted, BurnError> {
    pin_to(core)?;
    let (mut anew, mut known) = (prototype.fork()?, prototype.fork()?);
    anew.learn();
    let mut is_same = true;
    // Units of some kernels take turns, each with an answer of its own.
    for _ in 0..SEQUENCES {
        anew.compute()?;
        known.compute()?;
        is_same &= anew.outcome().1 == known.outcome().1;
    }
    Ok(Counted { core, isa, units: 1, mismatches: u64::from(!is_same) })
}

fn pin_to(core: u32) -> Result<(), BurnError> {
    if pin(core) { Ok(()) } else { Err(BurnError::Pin { core }) }
}

fn pin(core: u32) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core as usize })
}

/// `0-1,8`, as the kernel writes lists.
fn parse_list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::{super::kernel::Work, *};

    fn counted(units: u64, mismatches: u64) -> Counted {
        Counted { core: 0, isa: Isa::Portable, units, mismatches }
    }

    #[test]
    fn intervals_are_those_of_the_formula() {
        // Newcombe: Two-sided confidence intervals for the single proportion, 1998, table I, method 3.
        for (units, mismatches, low, high) in [
            (263, 81, 0.2553, 0.3662),
            (148, 15, 0.0624, 0.1605),
            (20, 0, 0.0, 0.1611),
            (29, 1, 0.0061, 0.1718),
        ] {
            let (_, found_low, found_high) = counted(units, mismatches).rate().unwrap();
            assert!((found_low - low).abs() < 5e-5, "{units} {mismatches}: {found_low}");
            assert!((found_high - high).abs() < 5e-5, "{units} {mismatches}: {found_high}");
        }
        assert_eq!(counted(5, 5).rate().unwrap().2, 1.0);
        assert_eq!(counted(0, 0).rate(), None);
    }

    /// Its answer is `learnt`, and `right` once it learns again.
    #[derive(Debug, Clone)]
    struct Known {
        learnt: u64,
        right: u64,
        got: u64,
    }

    impl Kernel for Known {
        fn work(&self) -> Work {
            Work::default()
        }

        fn fork(&self) -> Result<Box<dyn Kernel>, BurnError> {
            Ok(Box::new(self.clone()))
        }

        fn learn(&mut self) {
            self.learnt = self.right;
        }

        fn compute(&mut self) -> Result<(), BurnError> {
            self.got = self.right;
            Ok(())
        }

        fn outcome(&mut self) -> (&mut [u64], &[u64]) {
            (slice::from_mut(&mut self.got), slice::from_ref(&self.learnt))
        }
    }

    #[test]
    fn an_answer_that_was_learnt_wrongly_is_found() {
        let core = core_affinity::get_core_ids().unwrap()[0].id as u32;
        for (learnt, mismatches) in [(7, 0), (6, 1)] {
            let prototype = Known { learnt, right: 7, got: 0 };
            let told = learn_again(core, Isa::Portable, &prototype).unwrap();
            assert_eq!(told, Counted { core, isa: Isa::Portable, units: 1, mismatches });
        }
    }

    #[test]
    fn lists_of_the_kernel_are_read() {
        assert_eq!(parse_list("0-2,8\n"), [0, 1, 2, 8]);
        assert!(parse_list("\n").is_empty());
    }
}
