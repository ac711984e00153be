//! Mounts the burner's file system anew, so that neither the page cache nor the file system's own caches can answer for the
//! device.
//!
//! The file has no name but for the moments in between, and whoever started the burner has that name written down.

use std::{fs::File, io};

use super::{
    DiskFile,
    file_system::{Mounted, NamedFile},
    load::{DiskLoad, Remount},
};
use crate::burn::BurnError;

/// The mount of a burner, from one round to the next.
#[derive(Debug)]
pub(super) struct Remounting {
    load: DiskLoad,
    file: NamedFile,
    /// With a descriptor of the file beside the engine's.
    mounted: Option<(Mounted, File)>,
}

impl Remounting {
    /// Mounts the file system and makes the file.
    ///
    /// # Errors
    /// [`BurnError::Mount`], [`BurnError::Create`].
    pub(super) fn begin(load: &DiskLoad, remount: &Remount) -> Result<(Self, DiskFile), BurnError> {
        let mut new = Self { load: load.clone(), file: remount.file.clone(), mounted: None };
        let mounted = new.mount()?;
        let file = mounted
            .create(&new.file.name)
            .map_err(|source| BurnError::Create { path: load.path.clone(), source })?;
        let file = new.keep(mounted, file)?;
        Ok((new, file))
    }

    /// Unmounts the file system, sees to it that it is gone, and mounts it again. All other descriptors of the file must be
    /// closed; gives the one that takes their place.
    ///
    /// # Errors
    /// [`BurnError::Mount`].
    pub(super) fn round(&mut self) -> Result<DiskFile, BurnError> {
        let Some((mounted, file)) = self.mounted.take() else {
            return Err(self.failed("unmounted", io::ErrorKind::NotFound.into()));
        };
        file.sync_all().map_err(|source| self.failed("synced", source))?;
        drop((file, mounted));
        self.file.file_system.wait_until_unmounted().map_err(|source| self.failed("unmounted", source))?;
        let mounted = self.mount()?;
        let file = mounted.open(&self.file.name).map_err(|source| self.failed("read again", source))?;
        self.keep(mounted, file)
    }

    /// Removes the file.
    ///
    /// # Errors
    /// [`BurnError::Mount`].
    pub(super) fn end(self) -> Result<(), BurnError> {
        let Some((mounted, _)) = &self.mounted else { return Ok(()) };
        mounted.remove(&self.file.name).map(drop).map_err(|source| self.failed("rid of its file", source))
    }

    fn keep(&mut self, mounted: Mounted, file: File) -> Result<DiskFile, BurnError> {
        let path = &self.load.path;
        let kept = file.try_clone().map_err(|source| BurnError::Create { path: path.clone(), source })?;
        self.mounted = Some((mounted, kept));
        DiskFile::of(file, path)
    }

    fn mount(&self) -> Result<Mounted, BurnError> {
        self.file.file_system.mount().map_err(|source| self.failed("mounted", source))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> BurnError {
        BurnError::Mount { path: self.load.path.clone(), what, source }
    }
}
