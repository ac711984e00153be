//! What a disk burner is told to do.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::file_system::NamedFile;
use crate::burn::{
    plan::{Figure, Sum},
    profile::Shape,
    rise::Rise,
};

/// What a disk burner does, after validation: every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskLoad {
    /// The folder that files are made in, or the device.
    pub path: PathBuf,
    /// What `path` is.
    pub place: Place,
    /// What the workers do there.
    pub task: Task,
    /// Of each job's file, or its part of the device; a multiple of every block size.
    pub size_bytes: u64,
    /// Random or sequential.
    pub random: bool,
    /// Reads among reads and writes, 0 to 100.
    pub read_percent: u32,
    /// Sizes of I/Os and how often each comes; the shares make 100. All are multiples of the smallest.
    pub blocks: Vec<BlockShare>,
    /// I/Os in flight, of each job.
    pub depth: u32,
    /// Of all jobs together; none for as fast as possible.
    pub rate: Option<Rate>,
    /// Where the rate comes from, of a phase that is ramped into.
    #[serde(default)]
    pub rise: Option<Rise>,
    /// Of the rate, over time; none for all of it.
    pub rate_share: Option<Shape>,
    /// Writes between two fsyncs; 0 for none.
    pub fsync_every: u32,
    /// Blocks carry what they are, and are compared when read.
    pub verify: bool,
    /// One written block is spoiled on purpose.
    pub inject_error: bool,
    /// How I/Os reach the kernel.
    pub engine: EngineChoice,
}

/// Where workers have their I/Os.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A file in a folder.
    Folder,
    /// A part of a block device that configuration gives away.
    Device,
    /// A file on the file system of a block device, which the burner mounts for itself alone.
    FileSystem(Remount),
}

/// A file system is unmounted and mounted again, and all is read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remount {
    /// The burner's file, with the name that it has meanwhile.
    pub file: NamedFile,
    /// After so much of burning.
    pub every: Duration,
}

/// What workers do in their folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// I/Os.
    Io,
    /// Takes the file system's room.
    Fill {
        /// Until so much of it is taken, in hundredths of a percent.
        until_bp: u32,
        /// What stays free whatever happens.
        reserve_bytes: u64,
    },
}

/// How often I/Os of a size come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockShare {
    /// A multiple of 512.
    pub bytes: u32,
    /// 1 to 100.
    pub percent: u32,
}

/// How fast I/Os become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// So many a second.
    Operations(u64),
    /// So many bytes a second.
    Bytes(u64),
}

/// How I/Os reach the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// io_uring, or threads where it can't be used.
    #[default]
    Auto,
    /// io_uring, or nothing.
    Uring,
    /// A thread for each I/O in flight.
    Threads,
}

/// What an I/O does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// From the device.
    Read,
    /// To the device.
    Write,
    /// Everything written so far to stable storage.
    Sync,
}

/// One I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Io {
    /// What it does.
    pub operation: Operation,
    /// 0 for a sync.
    pub bytes: u32,
    /// In the file, or in the job's part of the device.
    pub offset: u64,
}

impl Operation {
    /// Its place among [`DiskLoad::latencies`].
    pub fn latency(self) -> usize {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Sync => 2,
        }
    }
}

/// Where a burner that remounts counts it.
pub const REMOUNTS_FIGURE: usize = 4;

/// Places of a worker's figures; which of them a load has, [`DiskLoad::figures`] says.
pub(super) mod figure {
    pub(in super::super) const READ_BYTES: usize = 0;
    pub(in super::super) const WRITTEN_BYTES: usize = 1;
    pub(in super::super) const VERIFIED: usize = 2;
    pub(in super::super) const UNVERIFIED: usize = 3;
    pub(in super::super) const REMOUNTS: usize = super::REMOUNTS_FIGURE;
    pub(in super::super) const HELD_BYTES: usize = 0;
    pub(in super::super) const LEAST_FREE_BYTES: usize = 1;
}

const fn total(name: &'static str, unit: &'static str) -> Figure {
    Figure { name, unit, sum: Sum::Total }
}

const READ: Figure = total("read_bytes", "By");
const WRITTEN: Figure = total("written_bytes", "By");
const VERIFIED: Figure = total("verified_blocks", "1");
const UNVERIFIED: Figure = total("unverified_blocks", "1");
/// How often all was read back from a file system that was mounted anew.
const REMOUNTS: Figure = total("remounts", "1");
/// How far behind its rate it was at its end.
const LAG: Figure = Figure { name: "lag", unit: "ns", sum: Sum::Max };

/// Of filling.
const FILL_FIGURES: [Figure; 2] =
    [total("held_most_bytes", "By"), Figure { name: "least_free_bytes", unit: "By", sum: Sum::Min }];

impl DiskLoad {
    /// Names of the latency histograms, one for each [`Operation`].
    pub fn latencies(&self) -> &'static [&'static str] {
        match self.task {
            Task::Io => &["read", "write", "fsync"],
            Task::Fill { .. } => &[],
        }
    }

    /// What its workers count beyond what all do.
    pub fn figures(&self) -> &'static [Figure] {
        match self.task {
            Task::Fill { .. } => &FILL_FIGURES,
            Task::Io => match (self.verify, self.remount().is_some(), self.rate.is_some()) {
                (false, _, false) => &[READ, WRITTEN],
                (false, _, true) => &[READ, WRITTEN, LAG],
                (true, false, false) => &[READ, WRITTEN, VERIFIED, UNVERIFIED],
                (true, false, true) => &[READ, WRITTEN, VERIFIED, UNVERIFIED, LAG],
                (true, true, false) => &[READ, WRITTEN, VERIFIED, UNVERIFIED, REMOUNTS],
                (true, true, true) => &[READ, WRITTEN, VERIFIED, UNVERIFIED, REMOUNTS, LAG],
            },
        }
    }

    /// How its file system is mounted anew, where it is.
    pub fn remount(&self) -> Option<&Remount> {
        match &self.place {
            Place::FileSystem(remount) => Some(remount),
            Place::Folder | Place::Device => None,
        }
    }

    /// The place of the lag behind a rate among the figures.
    pub(super) fn lag_place(&self) -> Option<usize> {
        self.rate.is_some().then(|| self.figures().len() - 1)
    }

    /// The largest block.
    pub fn largest_block(&self) -> u32 {
        self.blocks.iter().map(|block| block.bytes).max().unwrap_or_default()
    }

    /// The smallest block: what verification goes by.
    pub fn smallest_block(&self) -> u32 {
        self.blocks.iter().map(|block| block.bytes).min().unwrap_or_default()
    }

    /// Memory of one job: its buffers, and what verification has to remember.
    pub fn memory_bytes(&self) -> u64 {
        let buffers = u64::from(self.largest_block()) * u64::from(self.depth);
        let units = self.size_bytes / u64::from(self.smallest_block().max(1));
        let books = if self.verify { units.saturating_mul(super::verify::BYTES_PER_UNIT) } else { 0 };
        buffers.saturating_add(books)
    }

    /// Such as `random read`, `sequential mix of 70 % reads, verified`.
    pub(super) fn describe(&self) -> String {
        let order = if self.random { "random" } else { "sequential" };
        let what = match self.read_percent {
            0 => "write".to_owned(),
            100 => "read".to_owned(),
            percent => format!("mix of {percent} % reads"),
        };
        let verified = match (self.verify, self.remount()) {
            (false, _) => "",
            (true, None) => ", verified",
            (true, Some(_)) => ", verified across remounts",
        };
        format!("{order} {what}{verified}")
    }
}

#[cfg(test)]
impl DiskLoad {
    /// 4 KiB random reads of 1 MiB, 4 in flight, in the temporary folder.
    pub(crate) fn test() -> Self {
        Self {
            path: std::env::temp_dir(),
            place: Place::Folder,
            task: Task::Io,
            size_bytes: 1 << 20,
            random: true,
            read_percent: 100,
            blocks: vec![BlockShare { bytes: 4_096, percent: 100 }],
            depth: 4,
            rate: None,
            rise: None,
            rate_share: None,
            fsync_every: 0,
            verify: false,
            inject_error: false,
            engine: EngineChoice::Auto,
        }
    }
}
