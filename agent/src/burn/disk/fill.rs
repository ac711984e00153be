//! Takes a file system's room up to a share of it, holds it, and gives it back at once: what it takes belongs to one unnamed
//! file, which dies with the process.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::atomic::Ordering, time::Duration};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
    sys::statvfs::fstatvfs,
};

use super::{
    buffer::fill_random,
    burning::note_error,
    load::{DiskLoad, figure},
};
use crate::{
    burn::{
        BurnError, control,
        worker::{Flow, Prepared, Reins, Worker},
    },
    clock,
};

/// What is taken at once: a stop does not wait longer than that takes.
const STEP_BYTES: u64 = 64 << 20;
/// What is taken is a multiple of this, so that no file system rounds it up into the reserve.
const GRAIN_BYTES: u64 = 1 << 20;
/// Where room can't be taken without writing.
const WRITE_BYTES: usize = 1 << 20;
/// How often the free space is looked at while it is held: others use the file system, too.
const LOOK: Duration = Duration::from_millis(10);

/// Free and taken space, as df(1) shows them: what root alone may use is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that users may still take.
    pub free: u64,
    /// Bytes that are taken.
    pub taken: u64,
}

impl Room {
    /// Of the file system that `file` is on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(file: &impl std::os::fd::AsFd) -> io::Result<Self> {
        let space = fstatvfs(file)?;
        let unit = space.fragment_size();
        let taken = space.blocks().saturating_sub(space.blocks_free()) * unit;
        Ok(Self { free: space.blocks_available() * unit, taken })
    }

    /// How much must stay free for a share in hundredths of a percent to be taken, and a reserve to be kept.
    fn wanted_free(self, until_bp: u32, reserve_bytes: u64) -> u64 {
        let whole = u128::from(self.free + self.taken);
        let free = whole * u128::from(10_000 - until_bp.min(10_000)) / 10_000;
        u64::try_from(free).unwrap_or(u64::MAX).max(reserve_bytes)
    }

    /// What can be taken.
    pub fn to_take(self, until_bp: u32, reserve_bytes: u64) -> u64 {
        let bytes = self.free.saturating_sub(self.wanted_free(until_bp, reserve_bytes));
        bytes - bytes % GRAIN_BYTES
    }
}

/// The one worker of a burner that fills.
#[derive(Debug)]
pub(super) struct FillWorker {
    load: DiskLoad,
    until_bp: u32,
    reserve_bytes: u64,
    seed: u64,
    file: Option<File>,
    held: u64,
    /// The file system can't take room without writing.
    writes: bool,
    /// The file system refused more, though it shows room.
    refused: bool,
}

impl FillWorker {
    pub(super) fn new(load: DiskLoad, until_bp: u32, reserve_bytes: u64, seed: u64) -> Self {
        let (file, held, writes, refused) = (None, 0, false, false);
        Self { load, until_bp, reserve_bytes, seed, file, held, writes, refused }
    }

    fn fail(&self, source: io::Error) -> BurnError {
        BurnError::Fill { path: self.load.path.clone(), written_bytes: self.held, source }
    }

    /// Takes or gives back one step; whether there was one to take.
    fn step(&mut self, file: &File, reins: &Reins) -> io::Result<bool> {
        let room = Room::of(file)?;
        let slot = reins.slot();
        let least_free = &slot.figures[figure::LEAST_FREE_BYTES];
        least_free.fetch_min(room.free, Ordering::Relaxed);
        if room.free < self.reserve_bytes && self.held > 0 {
            // Others took from the reserve: it is theirs first.
            let given_back = (self.reserve_bytes - room.free).next_multiple_of(GRAIN_BYTES);
            self.held = self.held.saturating_sub(given_back);
            file.set_len(self.held)?;
            return Ok(false);
        }
        let step = room.to_take(self.until_bp, self.reserve_bytes).min(STEP_BYTES);
        if step == 0 || self.refused {
            return Ok(false);
        }
        match self.take(file, step) {
            Ok(taken) => {
                self.held += taken;
                control::add(&slot.operations, 1);
                control::add(&slot.bytes, taken);
                slot.figures[figure::HELD_BYTES].fetch_max(self.held, Ordering::Relaxed);
                Ok(taken > 0)
            }
            // Another file, a quota, or what the file system needs for itself.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) => {
                control::add(&slot.io_errors, 1);
                note_error(slot, error.raw_os_error().unwrap_or(libc::ENOSPC));
                self.refused = true;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// How much it took.
    fn take(&mut self, file: &File, bytes: u64) -> io::Result<u64> {
        if !self.writes {
            let (offset, length) = (self.held.cast_signed(), bytes.cast_signed());
            match fallocate(file, FallocateFlags::empty(), offset, length) {
                Ok(()) => return Ok(bytes),
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => self.writes = true,
                Err(errno) => return Err(errno.into()),
            }
        }
        let mut chunk = vec![0; WRITE_BYTES.min(usize::try_from(bytes).unwrap_or(WRITE_BYTES))];
        fill_random(&mut chunk, &mut self.seed);
        let written = file.write_at(&chunk, self.held)?;
        Ok(written as u64)
    }
}

impl Worker for FillWorker {
    fn prepare(&mut self, reins: &Reins) -> Result<Prepared, BurnError> {
        let create = |source| BurnError::Create { path: self.load.path.clone(), source };
        let file = tempfile::tempfile_in(&self.load.path).map_err(create)?;
        let room = Room::of(&file).map_err(create)?;
        reins.slot().figures[figure::LEAST_FREE_BYTES].store(room.free, Ordering::Relaxed);
        self.file = Some(file);
        let percent = f64::from(self.until_bp) / 100.0;
        Ok(Prepared { variant: format!("fill to {percent} %"), notices: Vec::new() })
    }

    fn burn(&mut self, reins: &Reins) -> Result<(), BurnError> {
        // Dropped on return, and with it all that it holds.
        let file = self.file.take().ok_or(BurnError::Interrupted)?;
        let mut origin = clock::boottime();
        let origin_cpu = clock::thread_cpu();
        let slot = reins.slot();
        slot.first_burn_ns.store(clock::ns(origin), Ordering::Relaxed);
        loop {
            match reins.check() {
                Flow::Stop => return Ok(()),
                Flow::Resumed(paused) => origin += paused,
                Flow::Burn => {}
            }
            let took = self.step(&file, reins).map_err(|error| self.fail(error))?;
            let now = clock::boottime();
            slot.burning_ns.store(clock::ns(now.saturating_sub(origin)), Ordering::Relaxed);
            let on_cpu = clock::thread_cpu().saturating_sub(origin_cpu);
            slot.on_cpu_ns.store(clock::ns(on_cpu), Ordering::Relaxed);
            if !took {
                reins.sleep_until((now + LOOK).min(reins.end()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_taken_and_the_reserve_stays() {
        const MIB: u64 = 1 << 20;
        let room = Room { free: 600 * MIB, taken: 400 * MIB };
        assert_eq!(room.to_take(9_000, 0), 500 * MIB);
        assert_eq!(room.to_take(9_000, 200 * MIB), 400 * MIB);
        assert_eq!(room.to_take(9_000, 200 * MIB + 1), 399 * MIB);
        assert_eq!(room.to_take(4_000, 0), 0);
        assert_eq!(room.to_take(10_000, 0), 600 * MIB);
        assert_eq!(room.to_take(10_000, 700 * MIB), 0);
    }
}
