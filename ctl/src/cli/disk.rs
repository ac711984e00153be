//! Flags of `burn disk`.

use clap::{Args, ValueEnum};
use ssts_proto::v1::DiskAccess;

use super::{
    RunOptions,
    values::{duration, rate, size},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  sstsctl burn disk --path /var/tmp --size 1GiB --duration 30s
  sstsctl burn disk --path /data --size 8GiB --rw write --block 1MiB --depth 8 --duration 5m
  sstsctl burn disk --path /data --size 8GiB --rw randwrite --rate 2000 --duration 1h";

#[derive(Debug, Args)]
pub(crate) struct BurnDisk {
    /// The folder; the file in it has no name and leaves nothing behind.
    #[arg(long, value_name = "DIR")]
    pub(crate) path: String,
    /// Size of the file, such as 1GiB: a multiple of the block size.
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true)]
    pub(crate) size: u64,
    /// Order and direction of the I/Os.
    #[arg(long, value_name = "NAME", default_value = "randread")]
    pub(crate) rw: Access,
    /// Bytes of one I/O: a multiple of 512, at most 16MiB. [default: 4KiB]
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true)]
    pub(crate) block: Option<u64>,
    /// I/Os in flight. [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) depth: Option<u32>,
    /// I/Os a second; without it as many as the device takes.
    #[arg(long, value_name = "N", value_parser = rate, allow_hyphen_values = true)]
    pub(crate) rate: Option<u64>,
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
    /// Anywhere in the file.
    Randread,
    /// Anywhere in the file.
    Randwrite,
}

impl From<Access> for DiskAccess {
    fn from(access: Access) -> Self {
        match access {
            Access::Read => Self::Read,
            Access::Write => Self::Write,
            Access::Randread => Self::Randread,
            Access::Randwrite => Self::Randwrite,
        }
    }
}
