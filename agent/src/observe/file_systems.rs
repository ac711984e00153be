//! How much room file systems have: those that runs write to, and that of the agent's records. statvfs(2) may hang (a server that
//! is gone), so it is read beside the tick.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sys::statvfs::statvfs;
use ssts_proto::{
    catalogue::{HOST_FILESYSTEM_AVAILABLE, HOST_FILESYSTEM_INODES_FREE},
    v1::AbsenceReason,
};

use super::{
    aside::{Aside, Pace},
    frame::Frame,
    schema::{Column, Schema},
    source::Source,
};

/// A burner at full speed fills some GiB in this time.
const PERIOD: Duration = Duration::from_millis(250);

/// Folders whose file systems are of interest now. Whoever starts a run changes it, the source reads it.
#[derive(Debug, Default)]
pub struct Folders {
    folders: Mutex<Vec<PathBuf>>,
    generation: AtomicU64,
}

impl Folders {
    /// Replaces all.
    pub fn set(&self, mut folders: Vec<PathBuf>) {
        folders.sort();
        folders.dedup();
        let mut known = self.lock();
        if *known != folders {
            *known = folders;
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        // A list can't be left half-changed.
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads them on a thread of its own.
///
/// # Errors
/// The kernel's, when it has no thread left.
pub fn source(folders: Arc<Folders>) -> std::io::Result<Box<dyn Source>> {
    let pace = Pace { period: PERIOD, stale_after: Duration::from_secs(5), guarded: false };
    let sources: Vec<Box<dyn Source>> =
        vec![Box::new(FileSystems { folders, generation: 0, read: Vec::new() })];
    Ok(Box::new(Aside::start("file-systems", pace, sources)?))
}

#[derive(Debug)]
struct FileSystems {
    folders: Arc<Folders>,
    generation: u64,
    read: Vec<(PathBuf, Column, Column)>,
}

impl Source for FileSystems {
    fn describe(&mut self, schema: &mut Schema) {
        self.generation = self.folders.generation.load(Ordering::Acquire);
        let column = |folder: &PathBuf| {
            let label = folder.to_string_lossy();
            let available = schema.column(&HOST_FILESYSTEM_AVAILABLE, &[&label]);
            (folder.clone(), available, schema.column(&HOST_FILESYSTEM_INODES_FREE, &[&label]))
        };
        self.read = self.folders.lock().iter().map(column).collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        for (folder, available, inodes) in &self.read {
            let room = room(folder);
            frame.set(*available, room.map(|room| room.available_bytes));
            frame.set(*inodes, room.and_then(|room| room.inodes_free.ok_or(AbsenceReason::Unsupported)));
        }
    }

    fn changed(&self) -> bool {
        self.folders.generation.load(Ordering::Acquire) != self.generation
    }
}

#[derive(Debug, Clone, Copy)]
struct Room {
    available_bytes: f64,
    /// None where the file system makes them as it needs them (btrfs).
    inodes_free: Option<f64>,
}

fn room(folder: &Path) -> Result<Room, AbsenceReason> {
    let found = statvfs(folder).map_err(|errno| match errno {
        nix::errno::Errno::ENOENT => AbsenceReason::Gone,
        nix::errno::Errno::EACCES => AbsenceReason::Denied,
        _ => AbsenceReason::ReadFailed,
    })?;
    let inodes_free = (found.files() > 0).then(|| found.files_available() as f64);
    Ok(Room { available_bytes: (found.blocks_available() * found.fragment_size()) as f64, inodes_free })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_and_go_and_what_is_gone_is_told() {
        let folders = Arc::new(Folders::default());
        let mut source = FileSystems { folders: folders.clone(), generation: 0, read: Vec::new() };
        assert!(!source.changed());
        let dir = tempfile::tempdir().unwrap();
        folders.set(vec![dir.path().into(), "/no/such/folder".into(), dir.path().into()]);
        assert!(source.changed());
        let mut schema = Schema::new(1);
        source.describe(&mut schema);
        assert!(!source.changed());
        let mut frame = Frame::default();
        frame.reset(&schema, 1);
        source.sample(&mut frame);
        // Sorted: "/no" comes before a folder of "/tmp" or "/var".
        let [gone, _, available, _] = frame.readings() else { panic!() };
        assert_eq!(*gone, Err(AbsenceReason::Gone));
        assert!(available.unwrap() > 0.0);
        folders.set(vec![dir.path().into(), "/no/such/folder".into()]);
        assert!(!source.changed(), "the same folders are no change");
    }
}
