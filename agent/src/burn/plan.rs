//! What a burner process is told to do, after validation: every default filled in, every choice made. The daemon writes it
//! to the process as JSON in a memfd; nothing in it needs the daemon again.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{cpu::Isa, profile::LoadProfile};

/// A burner, ready to be carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One worker for each, pinned there.
    pub cores: Vec<u32>,
    /// How long the phase lasts, for profiles.
    pub phase: Duration,
    /// Where pseudo-random sequences start.
    pub seed: u64,
    /// What the workers do.
    pub load: Load,
}

/// What the workers of a burner do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Load {
    /// Compute.
    Cpu {
        /// How busy, over time.
        profile: LoadProfile,
        /// With which instructions.
        isa: Isa,
    },
    /// Read and write an unnamed file.
    Disk(DiskLoad),
}

/// What a disk burner does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskLoad {
    /// The folder that the file is made in.
    pub path: PathBuf,
    /// Of the file; a multiple of `block_bytes`.
    pub size_bytes: u64,
    /// Reads or writes.
    pub direction: Direction,
    /// Random or sequential.
    pub random: bool,
    /// Of one I/O.
    pub block_bytes: u32,
    /// I/Os in flight.
    pub depth: u32,
    /// I/Os a second; none for as many as possible.
    pub rate_per_s: Option<u64>,
}

/// Which way a disk burner's data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the device.
    Read,
    /// To the device.
    Write,
}

impl Load {
    /// `cpu`, `disk`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cpu { .. } => "cpu",
            Self::Disk(_) => "disk",
        }
    }

    /// Whether workers record latencies.
    pub fn has_latency(&self) -> bool {
        matches!(self, Self::Disk(_))
    }

    /// Whether a load of the core is asked.
    pub fn has_target(&self) -> bool {
        matches!(self, Self::Cpu { .. })
    }
}
