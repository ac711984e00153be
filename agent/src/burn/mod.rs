//! What burns. Everything here but [`control`], [`plan`] and [`profile`] runs in the burner process, which is this same
//! executable, started again by the supervisor: settings become a validated [`plan::Plan`], that becomes workers, and those
//! count into the [`control::ControlBlock`].

mod allowance;
pub mod control;
mod core_time;
pub mod cpu;
mod crew;
pub mod disk;
mod futex;
pub mod http;
pub mod inherit;
pub mod launch;
mod map;
pub mod memory;
pub mod network;
mod pace;
pub mod plan;
pub mod process;
pub mod profile;
pub(crate) mod random;
pub mod rise;
mod waited;
pub mod worker;

use std::{io, path::PathBuf};

/// Why a burner can't begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum BurnError {
    /// The kernel refused the core.
    #[error(
        "a worker could not be pinned to core {core}: the core is offline or outside the process's cpuset"
    )]
    Pin {
        /// The kernel's number.
        core: u32,
    },
    /// A thread could not be started.
    #[error("a worker thread could not be started: {0}")]
    Thread(#[source] io::Error),
    /// The file could not be made.
    #[error("no file could be made in {}: {source}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file could not be filled.
    #[error("the file in {} could not be filled beyond {written_bytes} bytes: {source}", path.display())]
    Fill {
        /// The folder.
        path: PathBuf,
        /// How far it got.
        written_bytes: u64,
        /// The kernel's reason.
        source: io::Error,
    },
    /// What was written can't be read.
    #[error("the file in {} was filled but could not be read: {source}", path.display())]
    ReadBack {
        /// The folder.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The device takes only larger blocks.
    #[error(
        "{} takes no direct I/O in blocks of {block_bytes} bytes; use a multiple of the device's logical block (4KiB fits nearly all)",
        path.display()
    )]
    Block {
        /// The folder.
        path: PathBuf,
        /// What was asked.
        block_bytes: u32,
    },
    /// The device could not be had for oneself.
    #[error("the device {} can't be used: {source}; it must not be mounted or otherwise in use", path.display())]
    Device {
        /// Its node.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file system can't be mounted, or unmounted.
    #[error("the file system of {} could not be {what}: {source}", path.display())]
    Mount {
        /// The device.
        path: PathBuf,
        /// Such as `unmounted`.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// What was read is not what was written.
    #[error("wrong data in {}{}: {mismatch}", path.display(), after_remounts(*remounts))]
    WrongBlock {
        /// The folder, or the device.
        path: PathBuf,
        /// How often its file system was mounted anew before.
        remounts: u64,
        /// How it differs.
        mismatch: Box<disk::Mismatch>,
    },
    /// io_uring is not to be had.
    #[error("io_uring can't be used: {0}; see `sstsd check`")]
    Ring(#[source] io::Error),
    /// The two threads of the kernel `context-switch` lost each other.
    #[error("the threads of the kernel context-switch lost each other: {0}")]
    Partner(#[source] io::Error),
    /// The kernel refused something about memory.
    #[error("memory could not be {what}: {source}")]
    Memory {
        /// Such as `reserved`.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A file of the kernel's can't be read.
    #[error("{} could not be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The kernel's reason, or that it has another form.
        source: io::Error,
    },
    /// Words of memory were not what had been written.
    #[error("{}", memory::wrong_words(.0))]
    WrongWords(Vec<memory::WrongWord>),
    /// The other end of a network burner, or the way there.
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    /// The service under test, or the way there.
    #[error(transparent)]
    Http(#[from] http::HttpError),
    /// Stopped, or past its deadline, while it made ready.
    #[error("stopped while it made ready")]
    Interrupted,
    /// What the daemon handed over is not what it should be.
    #[error("the daemon's instructions could not be read: {0}")]
    Instructions(String),
    /// The daemon died before this process began.
    #[error("the daemon is gone")]
    Orphaned,
}

fn after_remounts(count: u64) -> String {
    match count {
        0 => String::new(),
        count => format!(", after remount {count}"),
    }
}
