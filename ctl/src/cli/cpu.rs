//! Flags of `burn cpu`.

use clap::{Args, ValueEnum};
use ssts_proto::v1::{CpuIsa, CpuKernel, CpuPrecision, InjectedError, MemoryLevel};

use super::{
    LoadFlags, RunOptions,
    values::{Cores, core_list, duration, injected_error},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  sstsctl burn cpu --duration 30s
  sstsctl burn cpu --cores 0-3,8 --load 75 --duration 10m --max-temperature 90
  sstsctl burn cpu --load 10..90 --isa avx2 --duration 1h30m --detach
  sstsctl burn cpu --load square:0..100/2s --in-step --start-at +5s --duration 1m
  sstsctl burn cpu --load 60 --mode core --duration 5m
  sstsctl burn cpu --kernel power --precision single --memory-share 20 --duration 1h
  sstsctl burn cpu --kernel cache --level l3 --cores 4 --duration 1m
  sstsctl burn cpu --workers 64 --duration 1m
  sstsctl burn cpu --kernel mixed --inject-error 0@2s --duration 10s";

#[derive(Debug, Args)]
pub(crate) struct BurnCpu {
    /// The cores; without it all that the agent may use.
    #[arg(long, value_name = "LIST", value_parser = core_list)]
    pub(crate) cores: Option<Cores>,
    /// How many workers, 1 to 1024, dealt to the cores in turn; those of one core share its load. [default: one on each core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<u32>,
    #[command(flatten)]
    pub(crate) load: LoadFlags,
    /// What is computed.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) kernel: Kernel,
    /// With which instructions.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) isa: Isa,
    /// Of floating-point numbers; for fma, power, sqrt-div, matrix, mixed and auto. [default: double]
    #[arg(long, value_name = "NAME")]
    pub(crate) precision: Option<Precision>,
    /// Percent of the steps of power (or auto, or mixed) that also move a line of memory, 0 to 100. [default: 10]
    #[arg(long, value_name = "PCT")]
    pub(crate) memory_share: Option<u32>,
    /// Where the pointer chase of cache (or mixed) goes. [default: l2]
    #[arg(long, value_name = "NAME")]
    pub(crate) level: Option<Level>,
    /// Corrupt a result of one worker, counted from 0, at once or after some burning time, such as 0@2s: the run must
    /// fail with status 6 and say all about it.
    #[arg(long, value_name = "WORKER[@AFTER]", value_parser = injected_error)]
    pub(crate) inject_error: Option<InjectedError>,
    /// How long, such as 30s or 1h30m.
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: u64,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// The hottest of power, fma and matrix on this host.
    Auto,
    /// Chains of fused multiply-adds in registers.
    Fma,
    /// Multiply-adds, additions and a share of memory: the heat limit.
    Power,
    /// 32-bit integer arithmetic.
    Integer,
    /// Branches that can't be predicted.
    Branch,
    /// Square roots and divisions.
    SqrtDiv,
    /// AES-128 and SHA-256.
    Crypto,
    /// A blocked matrix product.
    Matrix,
    /// A pointer chase through one level of memory.
    Cache,
    /// Two threads that hand a token to and fro.
    ContextSwitch,
    /// All of these in turn.
    Mixed,
}

impl From<Kernel> for CpuKernel {
    fn from(kernel: Kernel) -> Self {
        match kernel {
            Kernel::Auto => Self::Auto,
            Kernel::Fma => Self::Fma,
            Kernel::Power => Self::Power,
            Kernel::Integer => Self::Integer,
            Kernel::Branch => Self::Branch,
            Kernel::SqrtDiv => Self::SqrtDiv,
            Kernel::Crypto => Self::Crypto,
            Kernel::Matrix => Self::Matrix,
            Kernel::Cache => Self::Cache,
            Kernel::ContextSwitch => Self::ContextSwitch,
            Kernel::Mixed => Self::Mixed,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// 64 bits.
    Double,
    /// 32 bits.
    Single,
}

impl From<Precision> for CpuPrecision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Double => Self::Double,
            Precision::Single => Self::Single,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// The core's own first cache.
    L1,
    /// The second.
    L2,
    /// The third.
    L3,
    /// Behind all caches.
    Dram,
}

impl From<Level> for MemoryLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::L1 => Self::L1,
            Level::L2 => Self::L2,
            Level::L3 => Self::L3,
            Level::Dram => Self::Dram,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Isa {
    /// The widest that the host has.
    Auto,
    /// Nothing beyond the architecture's base.
    Portable,
    /// AVX2 and FMA3.
    Avx2,
    /// AVX-512 F.
    Avx512,
}

impl From<Isa> for CpuIsa {
    fn from(isa: Isa) -> Self {
        match isa {
            Isa::Auto => Self::Unspecified,
            Isa::Portable => Self::Portable,
            Isa::Avx2 => Self::Avx2,
            Isa::Avx512 => Self::Avx512,
        }
    }
}
