//! The records of runs on disk: one file a run, replaced whole, so that it is valid at every instant.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::fcntl::{Flock, FlockArg};
use prost::Message as _;
use ssts_proto::v1::{Cause, ReceiptState, Run, RunState, RunSummary, Verdict};
use tracing::warn;

/// Runs that are remembered; the oldest go first.
const KEPT: usize = 1_000;
const ENDING: &str = "pb";
/// What was kept of its telemetry, by [`crate::record`].
const TELEMETRY_ENDING: &str = "rec";
/// How a replacement is named until it is whole.
const TORN: &str = ".ssts-new-";

/// Why records can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder can't be used.
    #[error("the state folder {} can't be used: {source}; make it writable or choose another with --state-dir", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Another daemon uses it.
    #[error("another sstsd (pid {pid}) uses the state folder {}; stop it, or choose another folder with --state-dir", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
        /// The other daemon.
        pid: String,
    },
    /// A record can't be written.
    #[error("the record {} can't be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A file can't be removed.
    #[error("{} can't be removed: {source}; remove it by hand, then try again", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A record can't be read.
    #[error("the record {} can't be read: {message}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// What is known without a look at the disk.
#[derive(Debug, Default)]
struct Known {
    summaries: BTreeMap<String, RunSummary>,
    /// Records that the disk did not take, or that somebody is about to complete.
    unwritten: BTreeMap<String, Run>,
    /// Runs of earlier daemons after which the host was not seen to be clean.
    doubtful: Vec<Run>,
}

/// The records of one daemon.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    known: Mutex<Known>,
    /// Held for as long as the daemon lives.
    _lock: Flock<File>,
}

impl Store {
    /// Opens the records under `state_dir`, and ends those of a daemon that died during a run.
    ///
    /// # Errors
    /// See [`StoreError`]. A record that can't be read is left alone and logged, no error.
    pub(super) fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let folder = state_dir.join("runs");
        let unusable = |source| StoreError::Folder { path: state_dir.to_owned(), source };
        fs::create_dir_all(&folder).map_err(unusable)?;
        let lock = lock(state_dir)?;
        let store = Self { folder, known: Mutex::default(), _lock: lock };
        remove_torn(state_dir);
        remove_torn(&store.folder);
        for entry in fs::read_dir(&store.folder).map_err(unusable)?.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|ending| ending != ENDING) {
                continue;
            }
            match read(&path) {
                Ok(run) => store.adopt(run),
                Err(error) => warn!(%error, "a record is left alone"),
            }
        }
        Ok(store)
    }

    /// Writes a record, durably, over what was there.
    ///
    /// # Errors
    /// [`StoreError::Write`]; then the record is kept in memory.
    pub(super) fn write(&self, run: Run) -> Result<(), StoreError> {
        let Some(summary) = run.summary.clone() else { return Ok(()) };
        let path = self.path(&summary.run_id);
        let replaced = replace(&path, &run.encode_to_vec());
        let mut known = self.lock();
        match &replaced {
            Ok(()) => known.unwritten.remove(&summary.run_id),
            Err(_) => known.unwritten.insert(summary.run_id.clone(), run),
        };
        known.summaries.insert(summary.run_id.clone(), summary);
        self.forget_oldest(&mut known);
        replaced.map_err(|source| StoreError::Write { path, source })
    }

    /// Whether a run of that id is remembered.
    pub(super) fn contains(&self, run_id: &str) -> bool {
        self.lock().summaries.contains_key(run_id)
    }

    /// Everything about one run, or nothing where it is unknown.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub(super) fn read(&self, run_id: &str) -> Result<Option<Run>, StoreError> {
        if !self.contains(run_id) {
            return Ok(None);
        }
        if let Some(run) = self.lock().unwritten.get(run_id) {
            return Ok(Some(run.clone()));
        }
        read(&self.path(run_id)).map(Some)
    }

    /// All runs, newest first.
    pub(super) fn summaries(&self) -> Vec<RunSummary> {
        let mut summaries: Vec<_> = self.lock().summaries.values().cloned().collect();
        summaries.sort_by_key(|summary| std::cmp::Reverse(summary.started_at_unix_ns));
        summaries
    }

    /// Runs of earlier daemons after which the host was not seen to be clean, once. Those that such a daemon did not end are
    /// ended, and yet to be written: on disk they stay as they are until somebody has looked.
    pub(super) fn take_doubtful(&self) -> Vec<Run> {
        std::mem::take(&mut self.lock().doubtful)
    }

    /// Takes in a record that was there at the start.
    fn adopt(&self, mut run: Run) {
        let Some(summary) = &mut run.summary else { return };
        let mut known = self.lock();
        if summary.state() == RunState::Finished {
            known.summaries.insert(summary.run_id.clone(), summary.clone());
            let waived = run.receipt.as_ref().is_some_and(|receipt| receipt.waiver.is_some());
            if matches!(summary.receipt(), ReceiptState::Left | ReceiptState::Unknown) && !waived {
                known.doubtful.push(run);
            }
            return;
        }
        summary.set_state(RunState::Finished);
        if summary.prepared.take().is_some() {
            summary.set_verdict(Verdict::Aborted);
            summary.set_cause(Cause::Released);
            summary.cause_message = "sstsd ended while the run was prepared; it had not begun".into();
        } else {
            summary.set_verdict(Verdict::Error);
            summary.set_cause(Cause::AgentLost);
            summary.cause_message = "sstsd ended during the run".into();
        }
        (summary.phase_index, summary.phase_elapsed_ns) = (None, None);
        known.summaries.insert(summary.run_id.clone(), summary.clone());
        known.unwritten.insert(summary.run_id.clone(), run.clone());
        known.doubtful.push(run);
    }

    fn forget_oldest(&self, known: &mut Known) {
        while known.summaries.len() > KEPT {
            let oldest = known.summaries.values().min_by_key(|summary| summary.started_at_unix_ns);
            let Some(id) = oldest.map(|summary| summary.run_id.clone()) else { return };
            known.summaries.remove(&id);
            known.unwritten.remove(&id);
            let _best_effort = fs::remove_file(self.path(&id));
            let _best_effort = fs::remove_file(self.path(&id).with_extension(TELEMETRY_ENDING));
        }
    }

    fn path(&self, run_id: &str) -> PathBuf {
        // Ids were checked to be plain: `ssts_proto::validate::run_id`.
        self.folder.join(run_id).with_extension(ENDING)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(state_dir: &Path) -> Result<Flock<File>, StoreError> {
    let path = state_dir.join("lock");
    let unusable = |source| StoreError::Folder { path: state_dir.to_owned(), source };
    let file =
        File::options().create(true).truncate(false).write(true).read(true).open(&path).map_err(unusable)?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        let pid = fs::read_to_string(&path).unwrap_or_default();
        StoreError::Taken { path: state_dir.to_owned(), pid: pid.trim().to_owned() }
    })?;
    let note = |file: &mut File| {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    note(&mut lock).map_err(unusable)?;
    Ok(lock)
}

fn read(path: &Path) -> Result<Run, StoreError> {
    let failed = |message: String| StoreError::Read { path: path.to_owned(), message };
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let run = Run::decode(bytes.as_slice()).map_err(|error| failed(error.to_string()))?;
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let id = run.summary.as_ref().map(|summary| summary.run_id.as_str());
    if id.is_some() && id == name { Ok(run) } else { Err(failed("it is not the record of that run".into())) }
}

/// Removes halves of replacements that were cut off, and nothing else.
fn remove_torn(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(TORN.as_bytes()) {
            let _best_effort = fs::remove_file(entry.path());
        }
    }
}

/// Writes beside, syncs, renames, syncs the folder: rename(2) is atomic.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(TORN).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, state: RunState, started_at_unix_ns: i64) -> Run {
        let mut summary = RunSummary { run_id: id.into(), started_at_unix_ns, ..RunSummary::default() };
        summary.set_state(state);
        Run { summary: Some(summary), ..Run::default() }
    }

    #[test]
    fn a_record_outlives_the_daemon_and_an_unfinished_one_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.write(run("a", RunState::Finished, 1)).unwrap();
        store.write(run("b", RunState::Running, 2)).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        let ids: Vec<_> = store.summaries().into_iter().map(|summary| summary.run_id).collect();
        assert_eq!(ids, ["b", "a"]);
        let lost = store.read("b").unwrap().unwrap().summary.unwrap();
        assert_eq!((lost.state(), lost.cause()), (RunState::Finished, Cause::AgentLost));
        drop(store);
        // Nobody has looked yet whether it left something, so the next one must.
        let store = Store::open(dir.path()).unwrap();
        let mut doubtful = store.take_doubtful();
        assert_eq!(doubtful.len(), 1);
        let mut run = doubtful.remove(0);
        let mut written = |receipt| {
            run.summary.as_mut().unwrap().set_receipt(receipt);
            store.write(run.clone()).unwrap();
        };
        written(ReceiptState::Unknown);
        assert_eq!(store.take_doubtful(), []);
        written(ReceiptState::Clean);
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.take_doubtful(), []);
        assert_eq!(store.read("c").unwrap(), None);
        assert_eq!(store.read("b").unwrap().unwrap().summary.unwrap().cause(), Cause::AgentLost);
    }

    #[test]
    fn a_run_that_was_only_prepared_is_released_by_the_end_of_its_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut prepared = run("a", RunState::Pending, 1);
        prepared.summary.as_mut().unwrap().prepared = Some(ssts_proto::v1::Prepared::default());
        store.write(prepared).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        let summary = store.read("a").unwrap().unwrap().summary.unwrap();
        assert_eq!((summary.verdict(), summary.cause()), (Verdict::Aborted, Cause::Released));
        assert_eq!(summary.prepared, None);
    }

    #[test]
    fn a_torn_record_is_left_alone_and_the_others_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.write(run("good", RunState::Finished, 1)).unwrap();
        drop(store);
        let torn = dir.path().join("runs/torn.pb");
        fs::write(&torn, [0xff; 10]).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.summaries().len(), 1);
        assert!(torn.exists());
    }

    #[test]
    fn two_daemons_do_not_share_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Store::open(dir.path()).unwrap();
        let error = Store::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
    }

    #[test]
    fn only_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        {
            let mut known = store.lock();
            for n in 0..KEPT {
                let summary =
                    RunSummary { run_id: n.to_string(), started_at_unix_ns: n as i64, ..Default::default() };
                known.summaries.insert(n.to_string(), summary);
            }
        }
        store.write(run("newest", RunState::Finished, i64::MAX)).unwrap();
        assert!(!store.contains("0") && store.contains("1") && store.contains("newest"));
    }
}
