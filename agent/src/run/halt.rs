//! The latch of the emergency stop: a file, so that a restart does not lift it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use ssts_proto::v1::HaltState;

use super::store::{self, StoreError};
use crate::clock;

/// By which way a halt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltWay {
    /// Somebody asked for it over gRPC.
    Request,
    /// The file of that name was made.
    File,
    /// The daemon got the signal.
    Signal,
    /// A guard tripped whose reaction it is.
    Guard,
}

impl HaltWay {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Request, Self::File, Self::Signal, Self::Guard];

    /// As a label has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::File => "file",
            Self::Signal => "signal",
            Self::Guard => "guard",
        }
    }
}

/// Who halted this host, when and why, if anybody did.
#[derive(Debug)]
pub(super) struct HaltLatch {
    path: PathBuf,
    halt: Mutex<Option<Halt>>,
    /// As `halt`, for the tick.
    latched: AtomicBool,
    /// How often one was lifted.
    lifted: AtomicU64,
    /// Halts since the daemon began, by way.
    counts: [AtomicU64; HaltWay::ALL.len()],
    /// What the latest halt took that had something to stop, ns; 0 before the first.
    quiet_after_ns: AtomicU64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Halt {
    since_unix_ns: i64,
    by: String,
    reason: String,
    #[serde(default)]
    way: Option<HaltWay>,
    #[serde(default)]
    quiet_after_ns: Option<u64>,
}

impl HaltLatch {
    /// As it was left in `state_dir`. A file that can't be understood halts: something was meant by it.
    pub(super) fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join("halt");
        let halt = match fs::read(&path) {
            Ok(text) => Some(serde_json::from_slice(&text).unwrap_or_else(|error| Halt {
                since_unix_ns: 0,
                by: "unknown".into(),
                reason: format!("{} is not readable as a halt: {error}", path.display()),
                way: None,
                quiet_after_ns: None,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StoreError::Folder { path: state_dir.to_owned(), source }),
        };
        Ok(Self {
            path,
            latched: AtomicBool::new(halt.is_some()),
            lifted: AtomicU64::new(0),
            halt: Mutex::new(halt),
            counts: Default::default(),
            quiet_after_ns: AtomicU64::new(0),
        })
    }

    pub(super) fn state(&self) -> Option<HaltState> {
        let halt = self.lock().clone();
        halt.map(|Halt { since_unix_ns, by, reason, way, quiet_after_ns }| HaltState {
            since_unix_ns,
            by,
            reason,
            way: way.map(HaltWay::name).unwrap_or_default().into(),
            quiet_after_ns,
        })
    }

    /// Without a lock, for the tick.
    pub(super) fn is_latched(&self) -> bool {
        self.latched.load(Ordering::Acquire)
    }

    /// Latches, in memory: nothing starts from now on. A file and a signal may be seen more than once; the first time counts.
    pub(super) fn latch(&self, way: HaltWay, by: String, reason: String) {
        self.latched.store(true, Ordering::Release);
        let mut halt = self.lock();
        let seen_again = matches!(way, HaltWay::File | HaltWay::Signal);
        if seen_again && halt.as_ref().is_some_and(|halt| halt.way == Some(way)) {
            return;
        }
        self.counts[way as usize].fetch_add(1, Ordering::Relaxed);
        let since_unix_ns = clock::unix_ns();
        *halt = Some(Halt { since_unix_ns, by, reason, way: Some(way), quiet_after_ns: None });
    }

    /// Who it was and why, known a moment later. Of another way's halt, or none, it is not said.
    pub(super) fn explain(&self, way: HaltWay, by: String, reason: String) {
        if let Some(halt) = self.lock().as_mut().filter(|halt| halt.way == Some(way)) {
            (halt.by, halt.reason) = (by, reason);
        }
    }

    /// What it took until nothing burned. Of several runs, the last one's.
    pub(super) fn note_quiet(&self, after: Duration) {
        let after_ns = clock::ns(after);
        self.quiet_after_ns.store(after_ns, Ordering::Relaxed);
        if let Some(halt) = &mut *self.lock() {
            halt.quiet_after_ns = halt.quiet_after_ns.max(Some(after_ns));
        }
    }

    /// Halts since the daemon began, by [`HaltWay::ALL`].
    pub(super) fn counts(&self) -> [u64; HaltWay::ALL.len()] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// What the latest halt took that had something to stop.
    pub(super) fn quiet_after(&self) -> Option<Duration> {
        let after_ns = self.quiet_after_ns.load(Ordering::Relaxed);
        (after_ns > 0).then(|| Duration::from_nanos(after_ns))
    }

    /// Writes what is latched, so that it outlives the daemon.
    pub(super) fn persist(&self) -> Result<(), StoreError> {
        let halt = self.lock().clone();
        let Some(halt) = halt else { return Ok(()) };
        let text = serde_json::to_vec(&halt).unwrap_or_default();
        store::replace(&self.path, &text).map_err(|source| self.failed(source))
    }

    /// How often a halt was lifted since the daemon began.
    pub(super) fn times_lifted(&self) -> u64 {
        self.lifted.load(Ordering::Acquire)
    }

    /// Lifts the halt, on disk first: one that can't be lifted there would come back.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(self.failed(source)),
            _ => {}
        }
        *self.lock() = None;
        self.latched.store(false, Ordering::Release);
        self.lifted.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Halt>> {
        self.halt.lock().unwrap_or_else(PoisonError::into_inner)
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
        latch.latch(HaltWay::File, "somebody".into(), "no reason given".into());
        latch.latch(HaltWay::File, "again".into(), "again".into());
        assert_eq!(latch.state().unwrap().by, "somebody");
        latch.explain(HaltWay::Signal, "uid 1".into(), "other".into());
        latch.explain(HaltWay::File, "uid 0".into(), "smoke".into());
        latch.note_quiet(Duration::from_millis(3));
        latch.note_quiet(Duration::from_millis(2));
        latch.persist().unwrap();
        assert_eq!((latch.counts(), latch.quiet_after()), ([0, 1, 0, 0], Some(Duration::from_millis(2))));
        let latch = HaltLatch::open(dir.path()).unwrap();
        assert!(latch.is_latched());
        let state = latch.state().unwrap();
        assert_eq!(
            (state.reason.as_str(), state.by.as_str(), state.way.as_str()),
            ("smoke", "uid 0", "file")
        );
        assert_eq!(state.quiet_after_ns, Some(3_000_000));
        latch.clear().unwrap();
        latch.clear().unwrap();
        assert!(!latch.is_latched());
        assert!(HaltLatch::open(dir.path()).unwrap().state().is_none());
    }

    #[test]
    fn a_torn_latch_halts_and_one_of_an_older_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("halt"), [0x7b, 0xff]).unwrap();
        assert!(HaltLatch::open(dir.path()).unwrap().is_latched());
        fs::write(dir.path().join("halt"), r#"{"since_unix_ns":5,"by":"uid 0","reason":"smoke"}"#).unwrap();
        let state = HaltLatch::open(dir.path()).unwrap().state().unwrap();
        assert_eq!((state.since_unix_ns, state.reason.as_str()), (5, "smoke"));
    }
}
