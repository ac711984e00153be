//! The file that halts: whoever may make it halts the host. What is in it is the reason, who owns it is who. Seen by inotify(7)
//! on its folder.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};

/// What is taken of the reason.
const MAX_REASON_BYTES: u64 = 1_024;

/// The file, and what the kernel tells of its folder.
#[derive(Debug)]
pub(super) struct HaltFile {
    path: PathBuf,
    inotify: Inotify,
    armed: bool,
}

/// What a file that halts tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// Whose it is.
    pub(super) uid: u32,
    /// The same, for people.
    pub(super) by: String,
    pub(super) reason: String,
}

impl HaltFile {
    /// At `path`, whether or not its folder is there.
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mut new = Self { path, inotify, armed: false };
        new.arm();
        Ok(new)
    }

    /// Where it would be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder is watched.
    pub(super) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Watches the folder, if it is there.
    pub(super) fn arm(&mut self) {
        let Some(folder) = self.path.parent() else { return };
        let what = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ONLYDIR;
        self.armed = self.inotify.add_watch(folder, what).is_ok();
    }

    /// Readable when there may be something.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.armed.then(|| self.inotify.as_fd())
    }

    /// Whether it was made, or written to, since the last time. Does not touch its file system.
    pub(super) fn take(&mut self) -> bool {
        let mut made = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        made |= event.name.as_deref().is_some_and(|name| Some(name) == self.path.file_name());
                        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                            self.armed = false;
                        }
                        // Too much happened to be told one by one.
                        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                            made |= self.exists();
                        }
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return made,
            }
        }
    }

    /// Whether it is there.
    pub(super) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Who made it and what is in it. Nothing where it is not there.
    pub(super) fn read(&self) -> Option<Told> {
        let metadata = fs::symlink_metadata(&self.path).ok()?;
        let by = format!("uid {} (file {})", metadata.uid(), self.path.display());
        let reason = match contents(&self.path) {
            Ok(text) if text.is_empty() => "no reason given".into(),
            Ok(text) => text,
            Err(error) => format!("no reason could be read: {error}"),
        };
        Some(Told { uid: metadata.uid(), by, reason })
    }
}

/// A link could lead to what its maker may not read, and this process may.
fn contents(path: &Path) -> io::Result<String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.nlink() > 1 {
        return Err(io::Error::other("it is no plain file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_REASON_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_file_is_seen_however_it_comes_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("halt");
        let mut file = HaltFile::new(path.clone()).unwrap();
        assert!(!file.take() && !file.exists());
        fs::write(dir.path().join("other"), "x").unwrap();
        assert!(!file.take());
        fs::write(&path, "smoke\nin rack 7\n").unwrap();
        assert!(file.take() && !file.take());
        let Told { uid, by, reason } = file.read().unwrap();
        assert_eq!(uid, nix::unistd::getuid().as_raw());
        assert!(by.starts_with(&format!("uid {}", nix::unistd::getuid())), "{by}");
        assert_eq!(reason, "smoke in rack 7");
        fs::remove_file(&path).unwrap();
        assert!(!file.take());
        fs::rename(dir.path().join("other"), &path).unwrap();
        assert!(file.take());
    }

    #[test]
    fn a_link_halts_and_what_it_leads_to_is_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let (path, secret) = (dir.path().join("halt"), dir.path().join("secret"));
        fs::write(&secret, "hunter2").unwrap();
        let mut file = HaltFile::new(path.clone()).unwrap();
        symlink(&secret, &path).unwrap();
        assert!(file.take());
        assert!(!file.read().unwrap().reason.contains("hunter2"));
        fs::remove_file(&path).unwrap();
        fs::hard_link(&secret, &path).unwrap();
        assert!(!file.read().unwrap().reason.contains("hunter2"));
    }

    #[test]
    fn a_folder_that_comes_later_is_watched_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("ssts");
        let mut file = HaltFile::new(folder.join("halt")).unwrap();
        assert!(!file.is_armed());
        fs::create_dir(&folder).unwrap();
        file.arm();
        assert!(file.is_armed() && !file.take());
        fs::write(folder.join("halt"), "").unwrap();
        assert!(file.take());
        assert_eq!(file.read().unwrap().reason, "no reason given");
        fs::remove_dir_all(&folder).unwrap();
        file.take();
        assert!(!file.is_armed());
    }
}
