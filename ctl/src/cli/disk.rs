//! Flags of `burn disk`.

use clap::{Args, ValueEnum};
use ssts_proto::v1::{DiskAccess, DiskEngine, profile::Shape};

use super::{
    RunOptions,
    values::{Blocks, Cores, block_sizes, core_list, duration, load, percent, rate, rate_tolerance, size},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  sstsctl burn disk --path /var/tmp --size 1GiB --duration 30s
  sstsctl burn disk --path /data --size 8GiB --rw write --block 1MiB --depth 8 --duration 5m
  sstsctl burn disk --path /data --size 8GiB --rw randwrite --rate 2000 --fsync 32 --duration 1h
  sstsctl burn disk --path /data --size 8GiB --rw randrw --reads 70 --block 4KiB:60,16KiB:30,64KiB:10 --duration 10m
  sstsctl burn disk --path /data --size 8GiB --rw randwrite --verify --jobs 4 --duration 8h
  sstsctl burn disk --path /dev/disk/by-id/nvme-new --size 100GiB --rw write --block 128KiB --verify --duration 1h
  sstsctl burn disk --path /dev/sdb1 --size 8GiB --rw randwrite --verify --remount 5m --duration 8h
  sstsctl burn disk --path /data --rw fill --fill 95 --duration 10m";

#[derive(Debug, Args)]
pub(crate) struct BurnDisk {
    /// The folder; files in it have no name and leave nothing behind. Or a block device that the agent's configuration
    /// lists as expendable; with --remount one that it lists as mountable.
    #[arg(long, value_name = "DIR")]
    pub(crate) path: String,
    /// Size of each job's file, such as 1GiB: a multiple of the block size.
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true, required_unless_present = "fill")]
    pub(crate) size: Option<u64>,
    /// Order and direction of the I/Os.
    #[arg(long, value_name = "NAME", default_value = "randread")]
    pub(crate) rw: Access,
    /// Percent of reads of readwrite and randrw, 1 to 99. [default: 50]
    #[arg(long, value_name = "PCT")]
    pub(crate) reads: Option<u32>,
    /// Bytes of one I/O: a multiple of 512, at most 16MiB; or several sizes with their shares, such as
    /// 4KiB:70,64KiB:30. [default: 4KiB]
    #[arg(long, value_name = "BYTES", value_parser = block_sizes, allow_hyphen_values = true)]
    pub(crate) block: Option<Blocks>,
    /// I/Os in flight, of each job. [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) depth: Option<u32>,
    /// Workers with a file of their own. [default: one for each of --cores, 1 without]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: Option<u32>,
    /// The cores that jobs are pinned to; without it the last ones.
    #[arg(long, value_name = "LIST", value_parser = core_list)]
    pub(crate) cores: Option<Cores>,
    /// I/Os a second, of all jobs together; without it as many as the device takes.
    #[arg(long, value_name = "N", value_parser = rate, allow_hyphen_values = true)]
    pub(crate) rate: Option<u64>,
    /// Bytes a second, such as 100MiB, of all jobs together.
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true, conflicts_with = "rate")]
    pub(crate) bandwidth: Option<u64>,
    /// Percent of --rate or --bandwidth that may be undone at the end before the run counts as failed. [default: 2]
    #[arg(long, value_name = "PCT", value_parser = rate_tolerance, allow_hyphen_values = true)]
    pub(crate) tolerance: Option<f64>,
    /// Percent of --rate or --bandwidth over time, such as walk:10..100/10/1s or 10..90, as burn cpu has it.
    #[arg(long, value_name = "LOAD", value_parser = load, allow_hyphen_values = true)]
    pub(crate) load: Option<Shape>,
    /// An fsync after each so many writes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) fsync: Option<u32>,
    /// Write blocks that carry what they are, and compare them when they are read; what only writes reads back.
    #[arg(long)]
    pub(crate) verify: bool,
    /// After each such duration, unmount the file system of the device --path, mount it again, and compare all that is
    /// read back from it.
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true, requires = "verify")]
    pub(crate) remount: Option<u64>,
    /// Spoil one block on purpose, to see that --verify finds it.
    #[arg(long, requires = "verify")]
    pub(crate) inject_error: bool,
    /// How I/Os reach the kernel.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) engine: Engine,
    /// With --rw fill: take room until so many percent of the file system are taken.
    #[arg(long, value_name = "PCT", value_parser = percent, allow_hyphen_values = true, conflicts_with = "size")]
    pub(crate) fill: Option<f64>,
    /// How long, such as 30s or 1h30m.
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: u64,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Access {
    /// In order.
    Read,
    /// In order.
    Write,
    /// Both, in order.
    Readwrite,
    /// Anywhere in the file.
    Randread,
    /// Anywhere in the file.
    Randwrite,
    /// Both, anywhere in the file.
    Randrw,
    /// Take room and hold it; all is given back at the end.
    Fill,
}

impl From<Access> for DiskAccess {
    fn from(access: Access) -> Self {
        match access {
            Access::Read => Self::Read,
            Access::Write => Self::Write,
            Access::Readwrite => Self::Readwrite,
            Access::Randread => Self::Randread,
            Access::Randwrite => Self::Randwrite,
            Access::Randrw => Self::Randrw,
            Access::Fill => Self::Fill,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// io_uring, or threads where it can't be used.
    Auto,
    /// io_uring, or nothing.
    IoUring,
    /// A thread for each I/O in flight.
    Threads,
}

impl From<Engine> for DiskEngine {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Auto => Self::Unspecified,
            Engine::IoUring => Self::IoUring,
            Engine::Threads => Self::Threads,
        }
    }
}
