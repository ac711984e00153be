//! A cgroup of a story's own, of whichever version the machine has.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::{Ground, outside};

/// Removed when dropped; by then all that was put into it must be gone.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Below the root of a controller, such as `cpu`. Of `files`, the first is a file of version 1's and the second one of
    /// version 2's that every cgroup with that controller has. Nothing where this user may not make one, or the machine can't.
    pub fn new(controller: &str, files: [&str; 2]) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let version_1 = root.join(controller);
        let is_version_1 = version_1.join("cgroup.procs").exists();
        if !is_version_1 {
            // It may be there already.
            let _best_effort = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        // Stories of one program run side by side.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ssts-story-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let parent = if is_version_1 { version_1 } else { root.to_owned() };
        let cgroup = Self(parent.join(name));
        fs::create_dir(&cgroup.0).ok()?;
        let has = |file: &&str| cgroup.0.join(file).exists();
        files.iter().any(has).then_some(cgroup)
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A program that runs another one here from its first instruction on: what `Daemon::start_program` takes.
    pub fn program(&self, ground: &Ground, program: &Path) -> PathBuf {
        let (procs, program) = (self.file("cgroup.procs"), program.display());
        ground.script("in-the-cgroup", &format!("echo $$ >{} && exec {program} \"$@\"", procs.display()))
    }

    /// Moves a process here, and all that it starts from then on. Memory that it has already stays counted where it was.
    pub fn put(&self, pid: i32) {
        fs::write(self.file("cgroup.procs"), pid.to_string()).expect("the cgroup is ours");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel takes a moment to forget processes.
        outside::within(Duration::from_secs(5), || fs::remove_dir(&self.0).is_ok());
    }
}
