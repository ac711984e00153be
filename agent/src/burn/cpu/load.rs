//! What a CPU burner is told to do.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::recipe::{KernelName, Recipe};
use crate::burn::{
    plan::{Figure, Sum},
    profile::LoadProfile,
};

/// What a CPU burner does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CpuLoad {
    /// How busy, over time.
    pub profile: LoadProfile,
    /// Which kernel.
    pub choice: Choice,
    /// With which settings; of `choice` the kernel, of `auto` and `mixed` its instructions are the widest that may be used.
    pub recipe: Recipe,
    /// What a search for the hottest found on these cores before; none to search now.
    pub known: Option<Found>,
    /// A result to corrupt on purpose.
    pub inject: Option<InjectedError>,
    /// Where a worker that finds a wrong result reads what the host was like.
    pub proc: PathBuf,
    /// See `proc`.
    pub sys: PathBuf,
}

/// How the kernel is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The one that the recipe names.
    Named,
    /// The hottest: found while the burner makes ready.
    Auto,
    /// All in turn.
    Mixed,
}

/// What the search for the hottest found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The kernel.
    pub kernel: KernelName,
    /// Whether additions go with its multiply-adds.
    pub adds: Option<bool>,
}

/// An error that is made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectedError {
    /// Index of the worker.
    pub worker: u32,
    /// Burning time after which its next result is corrupted.
    pub after: Duration,
}

impl CpuLoad {
    /// What its workers count besides what all do.
    pub const FIGURES: &'static [Figure] = &[Figure { name: "verified_units", unit: "1", sum: Sum::Total }];

    /// One recipe for each kernel that a worker goes through.
    pub(super) fn recipes(&self) -> Vec<Recipe> {
        let of = |kernel: KernelName| {
            let isa = self.recipe.isa.narrowed_for(kernel);
            Recipe { kernel, isa, ..self.recipe.clone() }
        };
        match self.choice {
            Choice::Named => vec![self.recipe.clone()],
            Choice::Mixed => KernelName::ALL.map(of).to_vec(),
            Choice::Auto => [KernelName::Power, KernelName::Fma, KernelName::Matrix].map(of).to_vec(),
        }
    }

    /// Whether there is something to be searched for: the hottest kernel, or which mix of `power` does more.
    pub fn searches(&self) -> bool {
        match self.choice {
            Choice::Auto => true,
            Choice::Named => self.recipe.kernel == KernelName::Power,
            Choice::Mixed => false,
        }
    }

    /// What is known already.
    pub(super) fn known_recipe(&self) -> Option<Recipe> {
        let Found { kernel, adds } = self.known?;
        let recipe = self.recipes().into_iter().find(|recipe| recipe.kernel == kernel)?;
        Some(Recipe { adds, ..recipe })
    }

    /// Bytes that a burner with so many workers keeps.
    pub fn memory_bytes(&self, workers: u64) -> u64 {
        self.recipes().iter().map(|recipe| recipe.memory_bytes(workers)).sum()
    }
}
