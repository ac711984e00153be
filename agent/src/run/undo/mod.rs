//! What is changed on the host beyond the life of a process, written down before it is done: each change in a file of its own,
//! synced with its folder, undone in reverse order and looked at afterwards. What a daemon that died has left in it, the next
//! one undoes.

mod record;
mod setting;

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ssts_proto::v1::ReceiptState;
use tracing::{info, warn};

pub(super) use self::record::Undone;
use self::record::{Change, Record};
pub use self::setting::Setting;
use super::store::{self, StoreError};
use crate::{
    apart::apart,
    burn::{disk::NamedFile, plan::Load},
    host::HostRoots,
};

/// What undoing may take before it is told to be unknown: twice what a device may be busy, and it goes on.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// It could not be written down first.
    #[error(transparent)]
    Note(#[from] StoreError),
    /// The host did not take it. What it was before is there again.
    #[error("{setting} could not be set to '{intended}': {source}")]
    Refused {
        /// Which.
        setting: Setting,
        /// To what.
        intended: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// The changes that are not undone yet.
#[derive(Debug)]
pub struct UndoJournal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    roots: HostRoots,
    books: Mutex<Books>,
    /// Held by whoever undoes: one at a time.
    at_work: Mutex<()>,
}

#[derive(Debug, Default)]
struct Books {
    /// Of the next record.
    sequence: u64,
    /// Runs that are on: what is theirs is left alone.
    live: HashSet<String>,
}

impl UndoJournal {
    /// That of `state_dir`. Undoes nothing yet.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub fn open(state_dir: &Path, roots: &HostRoots) -> Result<Self, StoreError> {
        let folder = state_dir.join("undo");
        let unusable = |source| StoreError::Folder { path: state_dir.to_owned(), source };
        fs::create_dir_all(&folder).map_err(unusable)?;
        // Or a crash of the host could take the folder with all that is in it.
        fs::File::open(state_dir).and_then(|folder| folder.sync_all()).map_err(unusable)?;
        let last = records(&folder).map_err(unusable)?.iter().filter_map(|path| sequence_of(path)).max();
        let books = Books { sequence: last.map_or(1, |last| last + 1), live: HashSet::new() };
        let (roots, books) = (roots.clone(), Mutex::new(books));
        Ok(Self { inner: Arc::new(Inner { folder, roots, books, at_work: Mutex::default() }) })
    }

    /// What is noted for this run from now on is left alone until it is over.
    pub fn begin(&self, run_id: &str) {
        self.inner.books().live.insert(run_id.into());
    }

    /// Writes down what a burner with this load may leave, durably.
    ///
    /// # Errors
    /// [`StoreError::Write`]; then it must not begin.
    pub(super) fn note(&self, run_id: &str, load: &Load) -> Result<(), StoreError> {
        let Some(file) = named_file(load) else { return Ok(()) };
        self.write_down(&Record::new(run_id, Change::File(file.clone()))).map(drop)
    }

    /// Changes a setting of the host until the run is over: written down first, then done, then looked at.
    ///
    /// # Errors
    /// [`UndoError`]; then it is as it was, or in the journal.
    pub fn change(&self, run_id: &str, setting: &Setting, intended: &str) -> Result<(), UndoError> {
        let roots = &self.inner.roots;
        let refused =
            |source| UndoError::Refused { setting: setting.clone(), intended: intended.into(), source };
        let original = setting.read(roots).map_err(refused)?;
        if setting::same(&original, intended) {
            return Ok(());
        }
        let change = Change::Setting { setting: setting.clone(), original, intended: intended.into() };
        let path = self.write_down(&Record::new(run_id, change.clone()))?;
        if let Err(source) = setting.write(roots, intended) {
            if change.undo(run_id, roots).state == ReceiptState::Clean {
                forget(&path);
            }
            return Err(refused(source));
        }
        info!(run = run_id, %setting, intended, "changed");
        Ok(())
    }

    /// Undoes what a run changed, the last first, now that it is over; says what was seen of each.
    pub(super) fn settle_run(&self, run_id: &str) -> Vec<Undone> {
        self.inner.books().live.remove(run_id);
        let id = run_id.to_owned();
        self.settle(run_id, move |record| record.run_id == id)
    }

    /// As [`UndoJournal::settle_run`], but for files: a burner of the run hangs, mostly for the device that they are on, and who
    /// touched it might too. They are left for a later look.
    pub(super) fn settle_settings(&self, run_id: &str) -> Vec<Undone> {
        self.inner.books().live.remove(run_id);
        let id = run_id.to_owned();
        let is_setting = |change: &Change| matches!(change, Change::Setting { .. });
        let mut undone = self.settle(run_id, move |record| record.run_id == id && is_setting(&record.change));
        let put_off = |path: PathBuf| match Record::read(&path).ok()? {
            Record { run_id: of, change: Change::File(file), .. } if of == run_id => {
                Some(Undone::put_off(run_id, &file))
            }
            _ => None,
        };
        undone.extend(records(&self.inner.folder).unwrap_or_default().into_iter().filter_map(put_off));
        undone
    }

    /// Undoes what is left of runs that are not on. What can't be read is told as unknown.
    pub(super) fn settle_lost(&self) -> Vec<Undone> {
        let live = self.inner.books().live.clone();
        self.settle("", move |record| !live.contains(&record.run_id))
    }

    /// Gives up what can't be undone: somebody has put his name to it.
    pub(super) fn waive(&self) {
        let live = self.inner.books().live.clone();
        for path in records(&self.inner.folder).unwrap_or_default() {
            if Record::read(&path).map_or(true, |record| !live.contains(&record.run_id)) {
                warn!(record = %path.display(), "what was to be undone is given up");
                forget(&path);
            }
        }
    }

    /// On a thread of its own, for a device may hang; `run_id` stands for it then.
    fn settle(&self, run_id: &str, whose: impl Fn(&Record) -> bool + Send + 'static) -> Vec<Undone> {
        let unknown = |detail: String| {
            vec![Undone {
                run_id: run_id.into(),
                is_setting: false,
                state: ReceiptState::Unknown,
                detail,
                mend: "see the agent's log, then `sstsctl recover`".into(),
            }]
        };
        match records(&self.inner.folder) {
            Ok(records) if records.is_empty() => return Vec::new(),
            Ok(_) => {}
            Err(error) => return unknown(format!("the undo journal can't be read: {error}")),
        }
        let inner = self.inner.clone();
        match apart("undo", PATIENCE, move || inner.undo(&whose)) {
            Ok(Some(undone)) => undone,
            Ok(None) => {
                unknown(format!("undoing is not done after {PATIENCE:?}, and goes on: a device may hang"))
            }
            Err(error) => unknown(format!("nothing could be undone: {error}")),
        }
    }

    fn write_down(&self, record: &Record) -> Result<PathBuf, StoreError> {
        let sequence = {
            let mut books = self.inner.books();
            books.sequence += 1;
            books.sequence
        };
        let path = self.inner.folder.join(format!("{sequence:020}.json"));
        let text = serde_json::to_vec(record).unwrap_or_default();
        store::replace(&path, &text).map_err(|source| StoreError::Write { path: path.clone(), source })?;
        Ok(path)
    }
}

impl Inner {
    fn undo(&self, whose: &impl Fn(&Record) -> bool) -> Vec<Undone> {
        let _one_at_a_time = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcomes = Vec::new();
        // The other may have undone some.
        for path in records(&self.folder).unwrap_or_default() {
            let record = match Record::read(&path) {
                Ok(record) => record,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    warn!(record = %path.display(), %error, "a record of what is to be undone is left alone");
                    outcomes.push(Undone {
                        run_id: String::new(),
                        is_setting: false,
                        state: ReceiptState::Unknown,
                        detail: format!("{} can't be read: {error}", path.display()),
                        mend: "undo what it says by hand, then `sstsctl recover --force --reason TEXT`"
                            .into(),
                    });
                    continue;
                }
            };
            if !whose(&record) {
                continue;
            }
            let undone = record.change.undo(&record.run_id, &self.roots);
            let detail = &undone.detail;
            if undone.state == ReceiptState::Clean {
                info!(run = record.run_id, "{detail}");
                forget(&path);
            } else {
                warn!(run = record.run_id, "{detail}");
            }
            outcomes.push(undone);
        }
        outcomes
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them, the last first; those of versions that had no order before all others.
fn records(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort_by_key(|path| std::cmp::Reverse(sequence_of(path).unwrap_or(u64::MAX)));
    Ok(paths)
}

fn sequence_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn named_file(load: &Load) -> Option<&NamedFile> {
    match load {
        Load::Disk(disk) => disk.remount().map(|remount| &remount.file),
        Load::Cpu(_) | Load::Memory(_) | Load::Network(_) | Load::Http(_) => None,
    }
}

/// One that comes back is carried out once more, in vain.
fn forget(record: &Path) {
    let _best_effort = fs::remove_file(record);
}

#[cfg(test)]
mod tests;
