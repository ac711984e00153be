//! Flags of `burn memory`.

use clap::{Args, ValueEnum};
use ssts_proto::v1::{
    MemoryLoop, MemoryMethod, MemoryPages, MemoryPattern, memory_burner::Size, profile::Shape,
};

use super::{
    LoadFlags, RunOptions,
    cpu::Isa,
    values::{Cores, core_list, duration, load, percent, size, size_or_percent},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  sstsctl burn memory --size 4GiB --duration 10m
  sstsctl burn memory --size 80% --method verify --duration 8h
  sstsctl burn memory --size 3GiB --method stream --loops copy,triad --cores 0-1 --duration 30s
  sstsctl burn memory --size 1GiB --method latency --pages small --cores 0 --duration 20s
  sstsctl burn memory --size 90% --method pressure --stalled 10 --duration 5m
  sstsctl burn memory --method occupy --used 70 --duration 10m
  sstsctl burn memory --size 256MiB --method verify --patterns random --inject-error 0 --duration 5s";

#[derive(Debug, Args)]
pub(crate) struct BurnMemory {
    /// Of all workers together: bytes, such as 4GiB, or a percentage of what is available, such as 80%.
    #[arg(
        long,
        value_name = "BYTES|PCT",
        value_parser = size_or_percent,
        allow_hyphen_values = true,
        required_unless_present = "used"
    )]
    pub(crate) size: Option<Size>,
    /// What is done with the memory.
    #[arg(long, value_name = "NAME", default_value = "fill")]
    pub(crate) method: Method,
    /// The cores, one worker on each; without it all that the agent may use.
    #[arg(long, value_name = "LIST", value_parser = core_list)]
    pub(crate) cores: Option<Cores>,
    #[command(flatten)]
    pub(crate) load: LoadFlags,
    /// Which pages it is made of.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) pages: Pages,
    /// The NUMA node that all of it is taken from; without it, for each worker the node of its core.
    #[arg(long, value_name = "N")]
    pub(crate) numa_node: Option<u32>,
    /// Bytes a second at which it is filled, such as 100MiB; without it as fast as can be.
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true)]
    pub(crate) fill_rate: Option<u64>,
    /// With which instructions.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) isa: Isa,
    /// The loops of stream, with commas between them; without it all.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) loops: Vec<Loop>,
    /// The patterns of verify, with commas between them; without it all.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) patterns: Vec<Pattern>,
    /// Of verify: the time between a sweep and the next, which reads back, such as 10s.
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) delay: Option<u64>,
    /// Of pressure: grow until some task waits for memory for this share of the time.
    #[arg(long, value_name = "PCT", value_parser = percent, allow_hyphen_values = true, conflicts_with = "reclaim")]
    pub(crate) stalled: Option<f64>,
    /// Of pressure: grow until the kernel reclaims so many bytes a second, such as 50MiB.
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true)]
    pub(crate) reclaim: Option<u64>,
    /// Of occupy: bring what all of the host use to this percentage of its memory; or over time, as --load has it.
    #[arg(long, value_name = "PCT", value_parser = load, allow_hyphen_values = true)]
    pub(crate) used: Option<Shape>,
    /// Of verify: flip a bit of this worker's memory, counted from 0, to see that it is found.
    #[arg(long, value_name = "WORKER")]
    pub(crate) inject_error: Option<u32>,
    /// How long, such as 30s or 1h30m. The clock starts when the memory is filled.
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: u64,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// Hold it, proven resident.
    Fill,
    /// STREAM's loops, with non-temporal stores.
    Stream,
    /// Read it in order.
    Read,
    /// Write it in order, past the caches.
    Write,
    /// Follow a chain of pointers: ns an access.
    Latency,
    /// Write patterns, read back, compare.
    Verify,
    /// Map, touch, unmap: page faults.
    Fault,
    /// Grow until tasks stall or the kernel reclaims.
    Pressure,
    /// Grow and give back, so that the host's used memory is a share of all.
    Occupy,
}

impl From<Method> for MemoryMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Fill => Self::Fill,
            Method::Stream => Self::Stream,
            Method::Read => Self::Read,
            Method::Write => Self::Write,
            Method::Latency => Self::Latency,
            Method::Verify => Self::Verify,
            Method::Fault => Self::Fault,
            Method::Pressure => Self::Pressure,
            Method::Occupy => Self::Occupy,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pages {
    /// Transparent; small for fault.
    Auto,
    /// 4 KiB.
    Small,
    /// 2 MiB where the kernel has them at hand.
    Transparent,
    /// 2 MiB from the pool of hugetlbfs.
    Huge,
}

impl From<Pages> for MemoryPages {
    fn from(pages: Pages) -> Self {
        match pages {
            Pages::Auto => Self::Unspecified,
            Pages::Small => Self::Small,
            Pages::Transparent => Self::Transparent,
            Pages::Huge => Self::Huge,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Loop {
    /// c = a
    Copy,
    /// b = s·c
    Scale,
    /// c = a + b
    Add,
    /// a = b + s·c
    Triad,
}

impl From<Loop> for MemoryLoop {
    fn from(kind: Loop) -> Self {
        match kind {
            Loop::Copy => Self::Copy,
            Loop::Scale => Self::Scale,
            Loop::Add => Self::Add,
            Loop::Triad => Self::Triad,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pattern {
    /// A one that moves on by a bit with each word, then a zero.
    Walking,
    /// Alternating bits, then their inverse.
    Checkerboard,
    /// A word, its inverse upwards, the word downwards.
    Inversions,
    /// Pseudo-random words, checked by CRC.
    Random,
    /// Each word its own address, then the inverse.
    Address,
}

impl From<Pattern> for MemoryPattern {
    fn from(pattern: Pattern) -> Self {
        match pattern {
            Pattern::Walking => Self::Walking,
            Pattern::Checkerboard => Self::Checkerboard,
            Pattern::Inversions => Self::Inversions,
            Pattern::Random => Self::Random,
            Pattern::Address => Self::Address,
        }
    }
}
