//! The file of a disk burner. It never has a name that outlives the call that made it, so nothing is left behind whatever
//! dies.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
};

use super::{
    super::{BurnError, random, worker::Reins},
    load::DiskLoad,
    ring::AlignedBuffer,
};

/// What is written at once while filling; also how often a stop is looked for.
const FILL_BYTES: usize = 1 << 20;

/// An unnamed file.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    folder: PathBuf,
    direct: bool,
}

impl DiskFile {
    /// Makes one in `folder`: without a name from the start where the file system can (`O_TMPFILE`), unlinked at once
    /// where it can't; for direct I/O where the file system has that.
    ///
    /// # Errors
    /// [`BurnError::Create`] with the kernel's reason.
    pub fn create(folder: &Path) -> Result<Self, BurnError> {
        let fail = |source| BurnError::Create { path: folder.to_owned(), source };
        let file = tempfile::tempfile_in(folder).map_err(fail)?;
        let direct = match fcntl(&file, FcntlArg::F_SETFL(OFlag::O_DIRECT)) {
            Ok(_) => true,
            // open(2): the file system does not support O_DIRECT.
            Err(Errno::EINVAL) => false,
            Err(errno) => return Err(fail(errno.into())),
        };
        Ok(Self { file, folder: folder.to_owned(), direct })
    }

    /// Whether I/O goes past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Fills the file with bytes that neither compress nor repeat, so that reads find data and writes find blocks.
    ///
    /// # Errors
    /// [`BurnError::Fill`] with how far it got; [`BurnError::Block`] where the device takes no blocks that small.
    pub(super) fn fill(&self, load: &DiskLoad, seed: u64, reins: &Reins) -> Result<(), BurnError> {
        let fail =
            |written_bytes, source| BurnError::Fill { path: self.folder.clone(), written_bytes, source };
        let mut buffer = AlignedBuffer::new(FILL_BYTES).map_err(|source| fail(0, source))?;
        let mut state = seed;
        let mut written = 0;
        while written < load.size_bytes {
            if !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            let length = usize::try_from(load.size_bytes - written).unwrap_or(FILL_BYTES).min(FILL_BYTES);
            let chunk = &mut buffer.as_mut_slice()[..length];
            fill_random(chunk, &mut state);
            self.file.write_all_at(chunk, written).map_err(|source| match source.raw_os_error() {
                Some(libc::EINVAL) if self.direct => self.block_error(load),
                _ => fail(written, source),
            })?;
            written += length as u64;
            let ppm = u128::from(written) * 1_000_000 / u128::from(load.size_bytes);
            reins.slot().prepared_ppm.store(ppm as u32, Ordering::Relaxed);
        }
        // What is still on its way to the device must not be measured as load.
        self.file.sync_all().map_err(|source| fail(written, source))?;
        if !self.direct {
            return Ok(());
        }
        let block = &mut buffer.as_mut_slice()[..(load.block_bytes as usize).min(FILL_BYTES)];
        self.file.read_exact_at(block, load.size_bytes - block.len() as u64).map_err(|source| {
            match source.raw_os_error() {
                Some(libc::EINVAL) => self.block_error(load),
                _ => BurnError::ReadBack { path: self.folder.clone(), source },
            }
        })
    }

    /// The descriptor.
    pub fn into_file(self) -> File {
        self.file
    }

    fn block_error(&self, load: &DiskLoad) -> BurnError {
        BurnError::Block { path: self.folder.clone(), block_bytes: load.block_bytes }
    }
}

pub(super) fn fill_random(mut buffer: &mut [u8], state: &mut u64) {
    while !buffer.is_empty() {
        let word = random::split_mix(state).to_ne_bytes();
        let length = word.len().min(buffer.len());
        // Writing to a slice moves its start on and fails only when it is full.
        let _written = buffer.write(&word[..length]);
    }
}
