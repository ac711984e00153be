//! How I/Os reach the kernel: io_uring, or threads where it can't be used.

use std::{io, sync::Arc, time::Duration};

use super::{
    file::DiskFile,
    load::{DiskLoad, EngineChoice, Io},
    pool::Pool,
    ring::Ring,
};

/// One of the two.
#[derive(Debug)]
pub(super) enum Engine {
    Ring(Box<Ring>),
    Pool(Pool),
}

impl Engine {
    /// The one that was chosen; with `Auto` io_uring, and where it can't be used threads and the reason.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new(load: &DiskLoad, file: DiskFile, seed: u64) -> io::Result<(Self, Option<io::Error>)> {
        let (depth, buffer_bytes, file) = (load.depth, load.largest_block(), file.into_file());
        let pool = |file| Pool::new(&Arc::new(file), depth, buffer_bytes, seed).map(Self::Pool);
        let ring = |file| Ring::new(file, depth, buffer_bytes, seed).map(Box::new);
        match load.engine {
            EngineChoice::Uring => Ok((Self::Ring(ring(file)?), None)),
            EngineChoice::Threads => Ok((pool(file)?, None)),
            EngineChoice::Auto => match ring(file.try_clone()?) {
                Ok(ring) => Ok((Self::Ring(ring), None)),
                Err(error) => Ok((pool(file)?, Some(error))),
            },
        }
    }

    /// As the result names it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ring(_) => "io_uring",
            Self::Pool(_) => "threads",
        }
    }

    /// A buffer that is not in flight.
    pub(super) fn buffer(&mut self, buffer: u32) -> &mut [u8] {
        match self {
            Self::Ring(ring) => ring.buffer(buffer),
            Self::Pool(pool) => pool.buffer(buffer),
        }
    }

    /// Queues one I/O through a buffer that is not in flight.
    pub(super) fn start(&mut self, buffer: u32, io: Io) {
        match self {
            Self::Ring(ring) => ring.start(buffer, io),
            Self::Pool(pool) => pool.start(buffer, io),
        }
    }

    /// Submits what is queued and waits for a completion: for a few ms at most, or for less.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn submit_and_wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        match (self, at_most) {
            (Self::Ring(ring), None) => ring.submit_and_wait(),
            (Self::Ring(ring), Some(timeout)) => ring.submit_and_wait_for(timeout),
            (Self::Pool(pool), timeout) => {
                pool.submit_and_wait(timeout.unwrap_or(Duration::MAX));
                Ok(())
            }
        }
    }

    /// Calls `each` with the number, outcome and buffer of every I/O that completed: bytes moved, or the kernel's errno.
    pub(super) fn completed(&mut self, each: impl FnMut(u32, Result<u32, i32>, &mut [u8])) {
        match self {
            Self::Ring(ring) => ring.completed(each),
            Self::Pool(pool) => pool.completed(each),
        }
    }

    /// CPU time that threads of its own used.
    pub(super) fn on_cpu(&self) -> Duration {
        match self {
            Self::Ring(_) => Duration::ZERO,
            Self::Pool(pool) => pool.on_cpu(),
        }
    }
}
