//! What a disk burner burns on: a file that never has a name that outlives the call that made it, so that nothing is left
//! behind whatever dies, or a part of a block device that configuration gives away.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::statfs::{TMPFS_MAGIC, fstatfs},
};

use super::{
    buffer::{AlignedBuffer, fill_random},
    load::DiskLoad,
    verify::Verifier,
};
use crate::burn::{BurnError, worker::Reins};

/// What is written at once while filling; also how often a stop is looked for.
const FILL_BYTES: usize = 1 << 20;

/// An unnamed file, or a device.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
    direct: bool,
    in_memory: bool,
}

/// How long a device that was asked for may still be held by one who is gone.
///
/// The kernel drops the files registered with an io_uring from a work queue, after their process has been reaped
/// (`io_ring_exit_work` in io_uring/io_uring.c), so the next run can come before the last one's claim is gone.
pub const CLAIM_LASTS_AT_MOST: Duration = Duration::from_secs(1);

/// Opens the device past the page cache and for its opener alone, as soon as who has just left it has let go, for which it
/// waits so long.
///
/// # Errors
/// What open(2) says; `EBUSY` while it is mounted or otherwise in use.
pub fn open_claimed(device: &Path, patience: Duration) -> io::Result<File> {
    let give_up = Instant::now() + patience;
    loop {
        let opened =
            File::options().read(true).write(true).custom_flags(libc::O_DIRECT | libc::O_EXCL).open(device);
        match opened {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < give_up => {
                thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

impl DiskFile {
    /// Makes a file in `folder`: without a name from the start where the file system can (`O_TMPFILE`), unlinked at once
    /// where it can't; for direct I/O where the file system has that.
    ///
    /// # Errors
    /// [`BurnError::Create`] with the kernel's reason.
    pub fn create(folder: &Path) -> Result<Self, BurnError> {
        let file = tempfile::tempfile_in(folder)
            .map_err(|source| BurnError::Create { path: folder.to_owned(), source })?;
        Self::of(file, folder)
    }

    /// A file that is there, known as one of `path`; for direct I/O where its file system has that.
    ///
    /// # Errors
    /// [`BurnError::Create`] with the kernel's reason.
    pub(super) fn of(file: File, path: &Path) -> Result<Self, BurnError> {
        let direct = match fcntl(&file, FcntlArg::F_SETFL(OFlag::O_DIRECT)) {
            Ok(_) => true,
            // open(2): the file system does not support O_DIRECT.
            Err(Errno::EINVAL) => false,
            Err(errno) => return Err(BurnError::Create { path: path.to_owned(), source: errno.into() }),
        };
        // tmpfs takes O_DIRECT since 6.6, and has no disk below it all the same.
        let in_memory = fstatfs(&file).is_ok_and(|system| system.filesystem_type() == TMPFS_MAGIC);
        Ok(Self { file, path: path.to_owned(), direct, in_memory })
    }

    /// Takes a block device for this process alone: `O_EXCL` fails while it is mounted or otherwise in use (open(2)).
    ///
    /// # Errors
    /// [`BurnError::Device`] with the kernel's reason.
    pub fn claim(device: &Path) -> Result<Self, BurnError> {
        let file = open_claimed(device, CLAIM_LASTS_AT_MOST)
            .map_err(|source| BurnError::Device { path: device.to_owned(), source })?;
        Ok(Self { file, path: device.to_owned(), direct: true, in_memory: false })
    }

    /// The same one, for another worker.
    pub(super) fn share(&self) -> Result<Self, BurnError> {
        let file =
            self.file.try_clone().map_err(|source| BurnError::Device { path: self.path.clone(), source })?;
        Ok(Self { file, path: self.path.clone(), ..*self })
    }

    /// Whether I/O goes past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// What a reader of the result should know of it.
    pub(super) fn notice(&self) -> Option<String> {
        let path = self.path.display();
        if self.in_memory {
            Some(format!("{path}: the file system lives in memory; no disk takes part in what is measured"))
        } else if self.direct {
            None
        } else {
            Some(format!(
                "{path}: the file system has no direct I/O; the page cache takes part in what is measured"
            ))
        }
    }

    /// Fills the file, or the device from `base` on: with blocks that can be verified, else with bytes that neither
    /// compress nor repeat, so that reads find data and writes find blocks.
    ///
    /// # Errors
    /// [`BurnError::Fill`] with how far it got; [`BurnError::Block`] where the device takes no blocks that small.
    pub(super) fn fill(
        &self,
        load: &DiskLoad,
        base: u64,
        seed: u64,
        mut verifier: Option<&mut Verifier>,
        reins: &Reins,
    ) -> Result<(), BurnError> {
        let fail = |written_bytes, source: io::Error| {
            let errno = source.raw_os_error().unwrap_or(libc::EIO);
            reins.slot().io_errno.store(errno.cast_unsigned(), Ordering::Relaxed);
            BurnError::Fill { path: self.path.clone(), written_bytes, source }
        };
        // A whole number of blocks, whatever their size.
        let block = load.smallest_block() as usize;
        let chunk_bytes = (FILL_BYTES / block).max(1) * block;
        let mut buffer = AlignedBuffer::new(chunk_bytes).map_err(|source| fail(0, source))?;
        let mut state = seed;
        let mut written = 0;
        while written < load.size_bytes {
            if !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            let left = usize::try_from(load.size_bytes - written).unwrap_or(chunk_bytes);
            let chunk = &mut buffer.as_mut_slice()[..left.min(chunk_bytes)];
            match &mut verifier {
                Some(verifier) => verifier.fill(load, chunk, written),
                None => fill_random(chunk, &mut state),
            }
            self.file.write_all_at(chunk, base + written).map_err(|source| match source.raw_os_error() {
                Some(libc::EINVAL) if self.direct => self.block_error(load),
                _ => fail(written, source),
            })?;
            written += chunk.len() as u64;
            let ppm = u128::from(written) * 1_000_000 / u128::from(load.size_bytes);
            reins.slot().prepared_ppm.store(ppm as u32, Ordering::Relaxed);
        }
        // What is still on its way to the device must not be measured as load.
        self.file.sync_all().map_err(|source| fail(written, source))?;
        if !self.direct {
            return Ok(());
        }
        let last = &mut buffer.as_mut_slice()[..block];
        self.file.read_exact_at(last, base + load.size_bytes - block as u64).map_err(|source| {
            match source.raw_os_error() {
                Some(libc::EINVAL) => self.block_error(load),
                _ => BurnError::ReadBack { path: self.path.clone(), source },
            }
        })
    }

    /// The descriptor.
    pub fn into_file(self) -> File {
        self.file
    }

    fn block_error(&self, load: &DiskLoad) -> BurnError {
        BurnError::Block { path: self.path.clone(), block_bytes: load.smallest_block() }
    }
}
