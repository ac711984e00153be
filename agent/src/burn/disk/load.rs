//! What a disk burner is told to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

impl DiskLoad {
    /// One for each [`Direction`], by its discriminant.
    pub const LATENCIES: &'static [&'static str] = &["read", "write"];
}

impl Direction {
    /// Its place among [`DiskLoad::LATENCIES`].
    pub fn latency(self) -> usize {
        match self {
            Self::Read => 0,
            Self::Write => 1,
        }
    }

    /// `read`, `write`.
    pub fn name(self) -> &'static str {
        DiskLoad::LATENCIES[self.latency()]
    }
}
