//! What burners may leave behind, written down before they begin: a file that is to outlive the mount of its file system has
//! a name, and a burner that is killed can't remove it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use tracing::{info, warn};

use super::store::{self, StoreError};
use crate::burn::{disk::NamedFile, plan::Load};

/// One file a name that may have to be removed.
#[derive(Debug)]
pub(super) struct UndoJournal {
    folder: PathBuf,
}

impl UndoJournal {
    /// That of `state_dir`. What a daemon that died left in it is carried out meanwhile: a disk may take its time.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub(super) fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let folder = state_dir.join("undo");
        let unusable = |source| StoreError::Folder { path: state_dir.to_owned(), source };
        fs::create_dir_all(&folder).map_err(unusable)?;
        let left: Vec<PathBuf> =
            fs::read_dir(&folder).map_err(unusable)?.flatten().map(|entry| entry.path()).collect();
        if !left.is_empty() {
            thread::Builder::new()
                .name("undo".into())
                .spawn(move || left.iter().for_each(|record| carry_out(record)))
                .map_err(unusable)?;
        }
        Ok(Self { folder })
    }

    /// Writes down what a burner with this load may leave, durably.
    ///
    /// # Errors
    /// [`StoreError::Write`]; then it must not begin.
    pub(super) fn note(&self, load: &Load) -> Result<(), StoreError> {
        let Some(file) = named_file(load) else { return Ok(()) };
        let path = self.record(file);
        let text = serde_json::to_vec(file).unwrap_or_default();
        store::replace(&path, &text).map_err(|source| StoreError::Write { path, source })
    }

    /// After the end of a burner. One that ended well left nothing.
    pub(super) fn settle(&self, load: &Load, ended_well: bool) {
        let Some(file) = named_file(load) else { return };
        let record = self.record(file);
        if ended_well { forget(&record) } else { carry_out(&record) }
    }

    fn record(&self, file: &NamedFile) -> PathBuf {
        self.folder.join(file.name.trim_start_matches('.')).with_extension("json")
    }
}

fn named_file(load: &Load) -> Option<&NamedFile> {
    match load {
        Load::Disk(disk) => disk.remount().map(|remount| &remount.file),
        Load::Cpu(_) | Load::Memory(_) | Load::Network(_) | Load::Http(_) => None,
    }
}

/// Removes the file of a record. A record that can't be carried out stays for the next start.
fn carry_out(record: &Path) {
    let file = match read(record) {
        Ok(file) => file,
        Err(error) => {
            warn!(record = %record.display(), %error, "a record of what is to be undone is left alone");
            return;
        }
    };
    let (device, name) = (file.file_system.device.display(), &file.name);
    match file.remove() {
        Ok(true) => info!(%device, name, "removed the file that a burner left"),
        Ok(false) => {}
        Err(error) => {
            warn!(
                %device,
                name,
                %error,
                "a burner may have left this file, which could not be looked for; sstsd tries again at its next start"
            );
            return;
        }
    }
    forget(record);
}

fn read(record: &Path) -> io::Result<NamedFile> {
    Ok(serde_json::from_slice(&fs::read(record)?)?)
}

/// One that comes back is carried out once more, in vain.
fn forget(record: &Path) {
    let _best_effort = fs::remove_file(record);
}
