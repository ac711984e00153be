//! A lock that each burner process of a daemon holds for as long as it lives, without doing anything for it: the kernel keeps a
//! flock(2) until the last descriptor of its open file is closed. So a later daemon sees whether burners of an earlier one live,
//! where there was no cgroup to see it by, and without looking for any process by its name.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::store::StoreError;
use crate::clock;

/// How long a burner may take to die after its daemon did: the kernel may be giving its memory back.
const DYING_FOR: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The lock of this daemon's burners.
#[derive(Debug)]
pub(super) struct AliveLock {
    path: PathBuf,
    /// Never unlocked: closing it must leave the lock to those that inherited it.
    file: File,
}

impl AliveLock {
    /// A new one below `state_dir`. Those of daemons that are gone with all their burners are removed.
    pub(super) fn take(state_dir: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Folder { path: state_dir.to_owned(), source };
        let folder = state_dir.join("alive");
        fs::create_dir_all(&folder).map_err(unusable)?;
        for entry in fs::read_dir(&folder).map_err(unusable)?.flatten() {
            if matches!(try_lock(&entry.path()), Ok(true)) {
                let _best_effort = fs::remove_file(entry.path());
            }
        }
        let path = folder.join(format!("{}-{}", std::process::id(), clock::unix_ns()));
        let file = File::create_new(&path).map_err(unusable)?;
        file.try_lock().map_err(|error| unusable(error.into()))?;
        Ok(Self { path, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// For burners to inherit.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether nobody holds the lock of an earlier daemon; waits for those that are dying. One that is not there any more was seen
/// to be free.
pub(super) fn is_free(path: &Path) -> io::Result<bool> {
    let give_up = Instant::now() + DYING_FOR;
    loop {
        match try_lock(path) {
            Ok(false) if Instant::now() < give_up => thread::sleep(LOOK_EVERY),
            outcome => return outcome,
        }
    }
}

fn try_lock(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_for_as_long_as_a_copy_of_its_descriptor_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let lock = AliveLock::take(dir.path()).unwrap();
        let (path, copy) = (lock.path().to_owned(), lock.fd().try_clone_to_owned().unwrap());
        drop(lock);
        assert!(!try_lock(&path).unwrap());
        let next = AliveLock::take(dir.path()).unwrap();
        assert!(path.exists() && next.path() != path);
        drop(copy);
        assert!(is_free(&path).unwrap());
        drop(next);
        let _third = AliveLock::take(dir.path()).unwrap();
        assert!(!path.exists());
        assert!(is_free(&path).unwrap());
    }
}
