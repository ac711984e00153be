//! The ground a story plays on: folders, socket and configuration of its own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use tempfile::TempDir;

use crate::{Machine, Programs};

/// Removed with all that is in it when the story ends.
#[derive(Debug)]
pub struct Ground {
    folder: TempDir,
    disk: TempDir,
    programs: Programs,
    // Last: the machine is given back when everything else is gone.
    _machine: Option<Machine>,
}

impl Ground {
    /// For a story that measures nothing, beside others.
    pub fn new() -> Self {
        Self::with(Some(Machine::shared()))
    }

    /// For a story that measures: nobody else's burns meanwhile.
    pub fn alone() -> Self {
        Self::with(Some(Machine::exclusive()))
    }

    /// Another one for the same story: it has the machine as long as the first one has.
    pub fn beside(_first: &Self) -> Self {
        Self::with(None)
    }

    fn with(machine: Option<Machine>) -> Self {
        let programs = Programs::built();
        // Short, for sockets: unix(7) gives a path 107 bytes.
        let folder =
            tempfile::Builder::new().prefix("ssts-").tempdir_in("/tmp").expect("/tmp takes a folder");
        // A user without rights must get through to what it may use.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        for name in ["run", "home", "tmp"] {
            fs::create_dir(folder.path().join(name)).expect("the folder is new");
        }
        let disk = tempfile::Builder::new()
            .prefix("disk-")
            .tempdir_in(programs.scratch())
            .expect("target takes a folder");
        let ground = Self { folder, disk, programs, _machine: machine };
        ground.configure("");
        ground
    }

    /// What the daemon is configured with, as TOML.
    pub fn configure(&self, toml: &str) {
        fs::write(self.config(), toml).expect("the folder is ours");
    }

    /// Makes a procfs that shows everything but where cgroups are mounted; gives the configuration that makes the daemon look there.
    pub fn procfs_without_cgroups(&self) -> String {
        let proc = self.path("proc");
        fs::create_dir_all(proc.join("self")).expect("the folder is new");
        for (from, to) in [("/proc", proc.clone()), ("/proc/self", proc.join("self"))] {
            for entry in fs::read_dir(from).expect("it is there").flatten() {
                let name = entry.file_name();
                let text = name.to_string_lossy();
                if text != "self" && text != "mountinfo" && !text.starts_with(|c: char| c.is_ascii_digit()) {
                    symlink(Path::new(from).join(&name), to.join(&name)).expect("the name is new");
                }
            }
        }
        format!("[roots]\nproc = \"{}\"\n", proc.display())
    }

    /// The programs under test.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A path below the ground.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("sstsd.toml")
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.path("run/sstsd.sock")
    }

    /// Where the daemon keeps its records.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A folder for disk burners on a real file system.
    pub fn disk(&self) -> &Path {
        self.disk.path()
    }

    /// Writes a file and gives its path as the command line takes it.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("the folder is ours");
        path.to_str().expect("the path is ASCII").to_owned()
    }

    /// A shell's script in the ground's folder that may be executed.
    pub fn script(&self, name: &str, lines: &str) -> PathBuf {
        // Written by a process of its own: a child that another story starts meanwhile would hold a file that we have open for
        // writing, and what is open for writing can't be executed.
        let text = self.file(&format!("{name}.text"), &format!("#!/bin/sh\n{lines}\n"));
        let path = self.path(name);
        let copied = Command::new("install").args(["-m", "755", &text]).arg(&path).status();
        assert!(copied.as_ref().is_ok_and(ExitStatus::success), "install: {copied:?}");
        path
    }

    /// What burners left in their folder, and programs in the temporary one.
    pub fn leftovers(&self) -> Vec<String> {
        let content = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path().display().to_string())
        };
        content(self.disk()).chain(content(&self.path("tmp"))).collect()
    }
}

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}
