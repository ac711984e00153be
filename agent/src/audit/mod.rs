//! The audit log: who commanded what, whether they might, and what came of it. Lines are appended, chained by hashes
//! (`ssts_proto::audit`) and on disk before a command that puts load on a host is carried out. A disk that takes no more never
//! stops a halt or a stop: these are carried out first, and noted after.

mod entry;
mod files;
mod gate;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::warn;

pub use entry::{Entry, Subject};
use files::Files;
use gate::Gate;

use crate::config::AuditConfig;

/// The folder's name, below the state folder.
pub const FOLDER: &str = "audit";

/// Notes what callers do. Clones note in the same files.
#[derive(Debug, Clone)]
pub struct Audit {
    files: Arc<Mutex<Files>>,
    gate: Arc<Mutex<Gate>>,
}

impl Audit {
    /// Goes on with what is in the folder `audit` of a state folder, or begins it. A log that can't be opened is told and tried
    /// again with every line: who halts or looks has to get in.
    pub fn open(state_dir: &Path, config: AuditConfig) -> Self {
        let mut files = Files::new(state_dir.join(FOLDER), config);
        if let Err(error) = files.append(&Entry::begun()) {
            warn!(%error, "the audit log can't be written: nothing can be started until it can");
        }
        Self { files: Arc::new(Mutex::new(files)), gate: Arc::default() }
    }

    /// Appends a line; it is on disk when this returns.
    ///
    /// # Errors
    /// The kernel's. The line is then not there, or torn, and will be told as such.
    pub fn note(&self, entry: &Entry) -> io::Result<()> {
        locked(&self.files).append(entry)
    }

    /// The same off the runtime's threads, of what was carried out already: a failure is told in the log.
    pub async fn note_after(&self, entry: Entry) {
        let audit = self.clone();
        let noted = tokio::task::spawn_blocking(move || audit.note(&entry)).await;
        if let Ok(Err(error)) = noted {
            warn!(%error, "the audit log can't be written: what was done is only in this log");
        }
    }

    /// Notes that somebody was refused: the first few, then some a second, each with the number of those that were left out.
    /// Returns at once.
    pub fn refused(&self, entry: Entry) {
        let Some(left_out) = locked(&self.gate).pass() else { return };
        let audit = self.clone();
        let entry = entry.with_left_out(left_out);
        // Nobody waits for it.
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = audit.note(&entry) {
                warn!(%error, "the audit log can't be written: a refusal is not in it");
            }
        }));
    }
}

/// What a thread that panicked left is whole: each line is written at once.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
