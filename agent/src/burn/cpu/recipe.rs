//! Which kernel is computed, and with which settings: all that decides the answer of a unit.

use serde::{Deserialize, Serialize};

use super::{
    Isa,
    branch::Branch,
    cache::{self, Chase},
    chains::Chains,
    crypto::Crypto,
    integer::Integer,
    kernel::Kernel,
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
    /// Of `power`: workers of a core at most, which share the areas behind its first cache.
    pub sharers: u32,
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
            KernelName::Power if self.memory_percent > 0 => {
                workers * Sweep::bytes(&self.caches, self.sharers)
            }
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
