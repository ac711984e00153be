//! Flags of `burn cpu`.

use clap::{Args, ValueEnum};
use ssts_proto::v1::{CpuIsa, CpuKernel};

use super::{
    LoadFlags, RunOptions,
    values::{Cores, core_list, duration},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  sstsctl burn cpu --duration 30s
  sstsctl burn cpu --cores 0-3,8 --load 75 --duration 10m --max-temperature 90
  sstsctl burn cpu --load 10..90 --isa avx2 --duration 1h30m --detach
  sstsctl burn cpu --load square:0..100/2s --in-step --start-at +5s --duration 1m
  sstsctl burn cpu --load 60 --mode core --duration 5m";

#[derive(Debug, Args)]
pub(crate) struct BurnCpu {
    /// The cores, one worker on each; without it all that the agent may use.
    #[arg(long, value_name = "LIST", value_parser = core_list)]
    pub(crate) cores: Option<Cores>,
    #[command(flatten)]
    pub(crate) load: LoadFlags,
    /// What is computed.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) kernel: Kernel,
    /// With which instructions.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) isa: Isa,
    /// How long, such as 30s or 1h30m.
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: u64,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// The agent chooses.
    Auto,
    /// Fused multiply-adds in double precision.
    Fma,
}

impl From<Kernel> for CpuKernel {
    fn from(kernel: Kernel) -> Self {
        match kernel {
            Kernel::Auto => Self::Unspecified,
            Kernel::Fma => Self::Fma,
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
