//! The records that are there: where they lie, who reads them, which go when there are too many.

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::sync::watch;
use tracing::{info, warn};

use super::file::{Extent, RecordFile};

/// What a record's name ends with.
const ENDING: &str = "rec";

/// A record to be read.
#[derive(Debug)]
pub struct RecordSource {
    /// The file.
    pub path: PathBuf,
    /// How far it can be read. Nothing for one that nobody writes: to its end.
    pub extent: Option<watch::Receiver<Extent>>,
}

/// All records of this host.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    max_total_bytes: u64,
    open: Mutex<HashMap<String, watch::Receiver<Extent>>>,
}

impl Shelf {
    /// Those in `folder`, which is there.
    pub fn new(folder: PathBuf, max_total_bytes: u64) -> Self {
        Self { folder, max_total_bytes, open: Mutex::default() }
    }

    /// The record of a run; nothing where there is none.
    pub fn find(&self, run_id: &str) -> Option<RecordSource> {
        let path = self.path(run_id);
        path.exists().then(|| RecordSource { path, extent: self.lock().get(run_id).cloned() })
    }

    /// Begins a record.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn create(&self, run_id: &str) -> io::Result<RecordFile> {
        let file = RecordFile::create(&self.path(run_id))?;
        self.lock().insert(run_id.to_owned(), file.extent());
        Ok(file)
    }

    /// Removes the oldest records until those that are there leave `room` bytes. None that is being written goes.
    pub(super) fn make_room(&self, room: u64) {
        let mut open = self.lock();
        open.retain(|_, extent| !extent.borrow().closed);
        let mut records: Vec<_> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let path = entry.path();
                path.extension().filter(|ending| *ending == ENDING)?;
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), path))
            })
            .collect();
        records.sort();
        let mut total: u64 = records.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in records {
            if total.saturating_add(room) <= self.max_total_bytes {
                return;
            }
            let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if open.contains_key(id) {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => {
                    total -= bytes;
                    info!(run = id, bytes, "its telemetry made room for that of newer runs");
                }
                Err(error) => warn!(%error, record = %path.display(), "an old record can't be removed"),
            }
        }
    }

    fn path(&self, run_id: &str) -> PathBuf {
        // Ids were checked to be plain: `ssts_proto::validate::run_id`.
        self.folder.join(run_id).with_extension(ENDING)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Extent>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_go_first_and_never_one_that_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path().to_owned(), 3_000);
        for (age_s, id) in [(300, "oldest"), (200, "older"), (100, "old")] {
            let path = dir.path().join(id).with_extension("rec");
            fs::write(&path, [0; 1_000]).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age_s);
            fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        }
        fs::write(dir.path().join("oldest.pb"), "what came of it stays").unwrap();
        let mut written = shelf.create("written").unwrap();
        written.append(&[0; 500]).unwrap();
        shelf.make_room(900);
        let there = |id: &str| shelf.find(id).is_some();
        assert_eq!(
            [there("oldest"), there("older"), there("old"), there("written")],
            [false, false, true, true]
        );
        shelf.make_room(u64::MAX);
        assert_eq!([there("old"), there("written")], [false, true]);
        assert!(dir.path().join("oldest.pb").exists());
    }
}
