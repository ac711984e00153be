//! A block device for one story.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// A loop device on a file. Detached when dropped.
#[derive(Debug)]
pub struct LoopDevice(PathBuf);

impl LoopDevice {
    /// On a new file of zeros. Nothing where this machine gives none.
    pub fn new(file: &Path, bytes: u64) -> Option<Self> {
        File::create(file).and_then(|file| file.set_len(bytes)).expect("the folder is ours");
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        let node = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| Self(node.trim().into()))
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _best_effort = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}
