//! What the latest drill of this host found: one file in the state folder, so that it outlives the daemon and `sstsd check`
//! can read it beside one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use prost::Message as _;
use ssts_proto::v1::{Drill, DrillOutcome};

use super::store::{self, StoreError};
use crate::clock;

const NAME: &str = "drill.pb";

/// Where a host's latest drill is noted.
#[derive(Debug, Clone)]
pub struct DrillNote {
    path: PathBuf,
}

/// The latest drill in brief.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drilled {
    /// There was none, or its note can't be read: that proves nothing.
    Never,
    /// Something did not pass, or was not tried.
    Incomplete {
        /// How long ago; zero where the clock was set back since.
        ago: Duration,
    },
    /// Everything passed.
    Passed {
        /// As above.
        ago: Duration,
    },
}

impl DrillNote {
    /// That of `state_dir`.
    pub fn open(state_dir: &Path) -> Self {
        Self { path: state_dir.join(NAME) }
    }

    /// The latest drill, if there was one.
    ///
    /// # Errors
    /// The kernel's, or `InvalidData` where the note is none.
    pub fn read(&self) -> io::Result<Option<Drill>> {
        match fs::read(&self.path) {
            Ok(bytes) => Drill::decode(bytes.as_slice()).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes a drill over the one before, durably.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn write(&self, drill: &Drill) -> Result<(), StoreError> {
        let written = store::replace(&self.path, &drill.encode_to_vec());
        written.map_err(|source| StoreError::Write { path: self.path.clone(), source })
    }

    /// The latest drill in brief.
    pub fn latest(&self) -> Drilled {
        let Ok(Some(drill)) = self.read() else { return Drilled::Never };
        let ago_ns = clock::unix_ns().saturating_sub(drill.at_unix_ns);
        let ago = Duration::from_nanos(u64::try_from(ago_ns).unwrap_or(0));
        if drill.outcome() == DrillOutcome::Pass {
            Drilled::Passed { ago }
        } else {
            Drilled::Incomplete { ago }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_outlives_the_daemon_and_what_is_no_note_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let note = DrillNote::open(dir.path());
        assert_eq!(note.latest(), Drilled::Never);
        let mut drill = Drill { at_unix_ns: clock::unix_ns() - 5_000_000_000, ..Drill::default() };
        drill.set_outcome(DrillOutcome::Pass);
        note.write(&drill).unwrap();
        let Drilled::Passed { ago } = DrillNote::open(dir.path()).latest() else { panic!("it passed") };
        assert!((4..60).contains(&ago.as_secs()), "{ago:?}");
        drill.set_outcome(DrillOutcome::Skipped);
        note.write(&drill).unwrap();
        assert!(matches!(note.latest(), Drilled::Incomplete { .. }));
        fs::write(dir.path().join(NAME), [0xff; 9]).unwrap();
        assert_eq!(note.latest(), Drilled::Never);
        assert!(note.read().is_err());
    }
}
