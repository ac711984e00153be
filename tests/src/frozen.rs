//! A file system that stands still, as a dead disk's does: whoever writes waits in the kernel, where no signal reaches him.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use crate::Mount;

/// The second word of the line is the mount. It thaws when its standard input ends, with the story's process if need be.
const SCRIPT: &str = r#"fsfreeze --freeze "$1" && echo frozen && read -r _; fsfreeze --unfreeze "$1""#;

/// Frozen until dropped. A process of its own sees to that: no machine is left with a frozen file system, however the story ends.
#[derive(Debug)]
pub struct FrozenMount(Child);

impl FrozenMount {
    /// Freezes a file system whose kernel side can do that.
    pub fn new(mount: &Mount) -> Self {
        let mut keeper = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(mount.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal's Ctrl-C is for the story.
            .process_group(0)
            .spawn()
            .expect("every machine has sh");
        let mut said = String::new();
        let output = keeper.stdout.take().expect("it is piped");
        let _nothing_said = BufReader::new(output).read_line(&mut said);
        let frozen = Self(keeper);
        assert_eq!(said.trim(), "frozen", "{}", mount.path().display());
        frozen
    }
}

impl Drop for FrozenMount {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _best_effort = self.0.wait();
    }
}
