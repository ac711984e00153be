//! What burners may leave behind, written down before they begin: a file that is to outlive the mount of its file system has
//! a name, and a burner that is killed can't remove it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tracing::{info, warn};

use super::{
    active::ActiveRun,
    store::{self, StoreError},
};
use crate::burn::{disk::NamedFile, plan::Load};

/// One file a name that may have to be removed.
#[derive(Debug)]
pub(super) struct UndoJournal {
    folder: PathBuf,
    /// Held by whoever carries out what was left: one at a time.
    at_work: Arc<Mutex<()>>,
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
        let at_work = Arc::default();
        let left = records(&folder).map_err(unusable)?;
        if !left.is_empty() {
            let at_work = Arc::clone(&at_work);
            thread::Builder::new()
                .name("undo".into())
                .spawn(move || carry_out_all(&left, &at_work))
                .map_err(unusable)?;
        }
        Ok(Self { folder, at_work })
    }

    /// Once no burner of a run lives: tries again what is still to be undone, of a device that was busy, say, or of a run
    /// whose supervisor failed. What the `others` that are on have noted is theirs.
    pub(super) fn settle_rest(&self, others: impl FnOnce() -> Vec<Arc<ActiveRun>>) {
        match records(&self.folder) {
            Ok(mut left) => {
                // After the look at the records: who has one of these is on, or its supervisor has settled it.
                let others = others();
                left.retain(|record| !others.iter().any(|run| self.is_of(record, run)));
                carry_out_all(&left, &self.at_work);
            }
            Err(error) => {
                warn!(folder = %self.folder.display(), %error, "what is to be undone can't be read");
            }
        }
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

    fn is_of(&self, record: &Path, run: &ActiveRun) -> bool {
        let mut plans = run.admitted.phases.iter().flat_map(|phase| &phase.plans);
        plans.any(|plan| named_file(&plan.load).is_some_and(|file| self.record(file) == record))
    }

    fn record(&self, file: &NamedFile) -> PathBuf {
        self.folder.join(file.name.trim_start_matches('.')).with_extension("json")
    }
}

fn records(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect())
}

fn carry_out_all(records: &[PathBuf], at_work: &Mutex<()>) {
    let _one_at_a_time = at_work.lock().unwrap_or_else(PoisonError::into_inner);
    // The other may have carried out some.
    records.iter().filter(|record| record.exists()).for_each(|record| carry_out(record));
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
