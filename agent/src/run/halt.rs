//! The latch of the emergency stop: a file, so that a restart does not lift it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use ssts_proto::v1::HaltState;

use super::store::{self, StoreError};

/// Who halted this host, when and why, if anybody did.
#[derive(Debug)]
pub(super) struct HaltLatch {
    path: PathBuf,
    halt: Mutex<Option<Halt>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Halt {
    since_unix_ns: i64,
    by: String,
    reason: String,
}

impl HaltLatch {
    /// As it was left in `state_dir`. A file that can't be understood halts: something was meant by it.
    pub(super) fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join("halt");
        let halt = match fs::read_to_string(&path) {
            Ok(text) => Some(serde_json::from_str(&text).unwrap_or_else(|error| Halt {
                since_unix_ns: 0,
                by: "unknown".into(),
                reason: format!("{} is not readable as a halt: {error}", path.display()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StoreError::Folder { path: state_dir.to_owned(), source }),
        };
        Ok(Self { path, halt: Mutex::new(halt) })
    }

    pub(super) fn state(&self) -> Option<HaltState> {
        let halt = self.halt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        halt.map(|Halt { since_unix_ns, by, reason }| HaltState { since_unix_ns, by, reason })
    }

    /// Without a copy, for the tick.
    pub(super) fn is_latched(&self) -> bool {
        self.halt.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Latches, in memory: nothing starts from now on.
    pub(super) fn latch(&self, since_unix_ns: i64, by: String, reason: String) {
        *self.halt.lock().unwrap_or_else(PoisonError::into_inner) = Some(Halt { since_unix_ns, by, reason });
    }

    /// Writes what is latched, so that it outlives the daemon.
    pub(super) fn persist(&self) -> Result<(), StoreError> {
        let halt = self.halt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(halt) = halt else { return Ok(()) };
        let text = serde_json::to_vec(&halt).unwrap_or_default();
        store::replace(&self.path, &text).map_err(|source| self.failed(source))
    }

    /// Lifts the halt, on disk first: one that can't be lifted there would come back.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(self.failed(source)),
            _ => {}
        }
        *self.halt.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_outlives_a_restart_until_it_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let latch = HaltLatch::open(dir.path()).unwrap();
        latch.latch(5, "uid 0".into(), "smoke".into());
        latch.persist().unwrap();
        let latch = HaltLatch::open(dir.path()).unwrap();
        assert_eq!(latch.state().unwrap().reason, "smoke");
        latch.clear().unwrap();
        latch.clear().unwrap();
        assert!(HaltLatch::open(dir.path()).unwrap().state().is_none());
    }

    #[test]
    fn a_torn_latch_halts() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("halt"), "{").unwrap();
        assert!(HaltLatch::open(dir.path()).unwrap().state().is_some());
    }
}
