//! What a memory burner is told to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::region::Pages;
use crate::{
    burn::{
        cpu::Isa,
        plan::{Figure, Sum},
        profile::{LoadProfile, Shape},
    },
    host::HostRoots,
};

/// What a memory burner does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryLoad {
    /// Of all workers together.
    pub size_bytes: u64,
    /// With it.
    pub method: Method,
    /// Which pages it is made of.
    pub pages: Pages,
    /// By worker, the NUMA node that its part is taken from; empty for the kernel's choice.
    pub nodes: Vec<u32>,
    /// Bytes a second at which it is made resident, all workers together; none for as fast as can be.
    pub fill_bytes_per_s: Option<u64>,
    /// What has to stay available on the host, and in each cgroup with a limit.
    pub floor_bytes: u64,
    /// How busy, over time.
    pub profile: LoadProfile,
    /// With which instructions.
    pub isa: Isa,
    /// The worker that flips a bit of its own, so that it has something to find.
    pub inject_error: Option<u32>,
    /// Where the host shows what it has left.
    pub roots: HostRoots,
}

/// What a memory burner does with its memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Hold it.
    Fill,
    /// STREAM's loops, those named, in turns.
    Stream(Vec<StreamLoop>),
    /// Read it, in order.
    Read,
    /// Write it, in order, past the caches.
    Write,
    /// Follow a chain of pointers through it, in an order that no prefetcher knows.
    Latency,
    /// Write patterns, read them back and compare.
    Verify {
        /// In this order, over and over.
        patterns: Vec<Pattern>,
        /// Between a sweep's end and the next, which reads back.
        delay: Duration,
        /// Whether it is so large that what was written has left the caches when it is read back.
        exceeds_caches: bool,
    },
    /// Map, touch, unmap, over and over.
    Fault,
    /// Grow until the host feels it, and stay there.
    Pressure(Target),
    /// Grow and give back, so that what all of the host use is this share of its memory over time.
    Occupy(Shape),
}

/// A loop of the STREAM benchmark (McCalpin: Memory bandwidth and machine balance in current high performance computers,
/// 1995), with the bytes that it counts for an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamLoop {
    /// `c = a`, 16 bytes.
    Copy,
    /// `b = s·c`, 16 bytes.
    Scale,
    /// `c = a + b`, 24 bytes.
    Add,
    /// `a = b + s·c`, 24 bytes.
    Triad,
}

/// What `verify` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// A one that moves on by a bit with each word, then a zero.
    WalkingOnes,
    /// Alternating bits, then their inverse.
    Checkerboard,
    /// A word, its inverse upwards, the word downwards: each changed in place right after it was checked.
    MovingInversions,
    /// Pseudo-random words, checked by CRC-32C.
    Random,
    /// Each word its own address, then the inverse.
    Address,
}

/// When `pressure` has grown enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The share of time in which some task waits for memory: `some` of /proc/pressure/memory.
    Stalled(f64),
    /// Bytes a second that the kernel reclaims: `pgsteal_*` of /proc/vmstat.
    ReclaimedPerS(u64),
}

/// Indices into [`Slot::figures`](crate::burn::control::Slot::figures); the first is the same for all methods.
/// Bytes in RAM.
pub const RESIDENT: usize = 0;
pub(super) const FIRST: usize = 1;
pub(super) const SECOND: usize = 2;
/// Of `pressure` and `occupy`, see [`MemoryLoad::figures`].
pub const ON_TARGET: usize = SECOND;

const RESIDENT_FIGURE: Figure = Figure { name: "resident", unit: "By", sum: Sum::Total };

/// The part of the time in which the target was met.
const ON_TARGET_FIGURE: Figure = Figure { name: "on_target", unit: "ppm", sum: Sum::Min };

const fn rate(name: &'static str) -> Figure {
    Figure { name, unit: "By/s", sum: Sum::Total }
}

impl Method {
    /// As the command line names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Stream(_) => "stream",
            Self::Read => "read",
            Self::Write => "write",
            Self::Latency => "latency",
            Self::Verify { .. } => "verify",
            Self::Fault => "fault",
            Self::Pressure(_) => "pressure",
            Self::Occupy(_) => "occupy",
        }
    }
}

impl StreamLoop {
    /// All, in STREAM's order.
    pub const ALL: [Self; 4] = [Self::Copy, Self::Scale, Self::Add, Self::Triad];

    /// Arrays that take part.
    pub fn arrays(self) -> u64 {
        match self {
            Self::Copy | Self::Scale => 2,
            Self::Add | Self::Triad => 3,
        }
    }

    /// Floating-point operations for an element.
    pub fn flops(self) -> u64 {
        match self {
            Self::Copy => 0,
            Self::Scale | Self::Add => 1,
            Self::Triad => 2,
        }
    }

    /// Its place among the figures.
    pub(super) fn figure(self) -> usize {
        FIRST + self as usize
    }
}

impl Pattern {
    /// All, in the order of a round.
    pub const ALL: [Self; 5] =
        [Self::WalkingOnes, Self::Checkerboard, Self::MovingInversions, Self::Random, Self::Address];

    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::WalkingOnes => "walking",
            Self::Checkerboard => "checkerboard",
            Self::MovingInversions => "inversions",
            Self::Random => "random",
            Self::Address => "address",
        }
    }
}

impl MemoryLoad {
    /// A part of the whole for each worker, a multiple of a page; the first have what doesn't divide.
    pub fn share_bytes(&self, worker: usize, workers: usize) -> u64 {
        let page = super::region::BLOCK_BYTES as u64;
        let (pages, workers) = (self.size_bytes.div_ceil(page), workers as u64);
        (pages / workers + u64::from((worker as u64) < pages % workers)) * page
    }

    /// Names of its latency histograms.
    pub fn latencies(&self) -> &'static [&'static str] {
        match self.method {
            Method::Latency => &["access"],
            _ => &[],
        }
    }

    /// Its own numbers, in the order of the indices above.
    pub fn figures(&self) -> &'static [Figure] {
        match &self.method {
            Method::Stream(_) => {
                const { &[RESIDENT_FIGURE, rate("copy"), rate("scale"), rate("add"), rate("triad")] }
            }
            Method::Verify { .. } => {
                const {
                    &[
                        RESIDENT_FIGURE,
                        // Of the slowest worker: so often has every word been read back.
                        Figure { name: "sweeps", unit: "1", sum: Sum::Min },
                    ]
                }
            }
            Method::Fault => {
                const {
                    &[
                        RESIDENT_FIGURE,
                        Figure { name: "minor_faults", unit: "1", sum: Sum::Total },
                        Figure { name: "major_faults", unit: "1", sum: Sum::Total },
                    ]
                }
            }
            Method::Pressure(Target::Stalled(_)) => {
                const {
                    &[
                        RESIDENT_FIGURE,
                        Figure { name: "stalled", unit: "ppm", sum: Sum::Mean },
                        ON_TARGET_FIGURE,
                    ]
                }
            }
            Method::Pressure(Target::ReclaimedPerS(_)) => {
                const {
                    &[
                        RESIDENT_FIGURE,
                        Figure { name: "reclaimed", unit: "By/s", sum: Sum::Mean },
                        ON_TARGET_FIGURE,
                    ]
                }
            }
            Method::Occupy(_) => {
                const {
                    &[
                        RESIDENT_FIGURE,
                        // Of the host, by all: the same for each worker.
                        Figure { name: "used", unit: "ppm", sum: Sum::Mean },
                        ON_TARGET_FIGURE,
                    ]
                }
            }
            Method::Fill | Method::Read | Method::Write | Method::Latency => const { &[RESIDENT_FIGURE] },
        }
    }

    /// Whether the method follows the profile.
    pub fn is_paced(&self) -> bool {
        match &self.method {
            Method::Stream(_) | Method::Read | Method::Write | Method::Latency => true,
            Method::Verify { delay, .. } => delay.is_zero(),
            Method::Fill | Method::Fault | Method::Pressure(_) | Method::Occupy(_) => false,
        }
    }

    /// Whether all of the size has to be resident for the burner to have done what was asked.
    pub fn must_be_resident(&self) -> bool {
        !matches!(self.method, Method::Fault | Method::Pressure(_) | Method::Occupy(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_whole_pages() {
        let load = |size_bytes| MemoryLoad {
            size_bytes,
            method: Method::Fill,
            pages: Pages::Small,
            nodes: Vec::new(),
            fill_bytes_per_s: None,
            floor_bytes: 0,
            profile: LoadProfile::FULL,
            isa: Isa::Portable,
            inject_error: None,
            roots: HostRoots::default(),
        };
        for (size, workers, whole) in [(4_096 * 7, 3, 4_096 * 7), (1, 1, 4_096), (1 << 30, 2, 1 << 30)] {
            let shares: Vec<u64> =
                (0..workers).map(|worker| load(size).share_bytes(worker, workers)).collect();
            assert_eq!(shares.iter().sum::<u64>(), whole);
            assert!(shares.iter().all(|share| share.is_multiple_of(4_096)), "{shares:?}");
        }
    }
}
