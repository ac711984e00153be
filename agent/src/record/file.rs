//! One run's record on disk. Only whole items are ever told of; what a full disk or a crash cut off is cut away.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use ssts_proto::record::MAGIC;
use tokio::sync::watch;

/// How far a record is readable, and whether it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Whole items on disk end here.
    pub bytes: u64,
    /// Nothing will be added any more.
    pub closed: bool,
}

/// A record that is being written.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: File,
    extent: watch::Sender<Extent>,
}

impl RecordFile {
    /// Creates it. One that is there already is not touched.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        let begun = file.write_all(MAGIC).and_then(|()| file.sync_data());
        if let Err(error) = begun.and_then(|()| sync_folder_of(path)) {
            let _best_effort = std::fs::remove_file(path);
            return Err(error);
        }
        let extent = Extent { bytes: MAGIC.len() as u64, closed: false };
        Ok(Self { file, extent: watch::Sender::new(extent) })
    }

    /// Tells how far it has come, at every change.
    pub(super) fn extent(&self) -> watch::Receiver<Extent> {
        self.extent.subscribe()
    }

    /// Its length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.extent.borrow().bytes
    }

    /// Adds whole items, durably.
    ///
    /// # Errors
    /// The kernel's; then nothing of them is there.
    pub(super) fn append(&mut self, items: &[u8]) -> io::Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let bytes = self.bytes();
        let written = self.file.write_all(items).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // A reader stops at the last whole item anyway, should this fail too.
            let _cut = self.file.set_len(bytes).and_then(|()| self.file.seek(SeekFrom::Start(bytes)));
            return Err(error);
        }
        self.extent.send_modify(|extent| extent.bytes += items.len() as u64);
        Ok(())
    }
}

impl Drop for RecordFile {
    fn drop(&mut self) {
        self.extent.send_modify(|extent| extent.closed = true);
    }
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_whole_items_and_says_when_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.rec");
        let mut file = RecordFile::create(&path).unwrap();
        let extent = file.extent();
        file.append(b"an item").unwrap();
        assert_eq!(*extent.borrow(), Extent { bytes: 15, closed: false });
        assert_eq!(std::fs::read(&path).unwrap(), b"SSTSREC1an item");
        drop(file);
        assert!(extent.borrow().closed);
        assert!(RecordFile::create(&path).is_err(), "a record is never overwritten");
        assert_eq!(std::fs::read(&path).unwrap().len(), 15);
    }
}
