//! The machine that the stories share, and what they need of it.

use std::{
    env,
    fmt::Display,
    fs::File,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::geteuid,
};

use crate::Programs;

/// Debian's and most others' `nobody`.
const NOBODY: u32 = 65_534;

/// A share of the machine: stories that measure have it alone, across all test programs.
#[derive(Debug)]
pub struct Machine(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Machine {
    /// Waits for it and keeps everybody else away.
    pub fn exclusive() -> Self {
        Self::take(FlockArg::LockExclusive)
    }

    /// Beside others who measure nothing.
    pub fn shared() -> Self {
        Self::take(FlockArg::LockShared)
    }

    fn take(how: FlockArg) -> Self {
        let path = Programs::built().scratch().join("machine.lock");
        let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(Flock::lock(file, how).unwrap_or_else(|(_, errno)| panic!("{}: {errno}", path.display())))
    }
}

/// Whether the story can be told as this user. In CI it must be.
pub fn privileged() -> bool {
    possible(geteuid().is_root(), "it needs root: run `sudo make test`")
}

/// Whether the programs that the story needs are installed. In CI they must be.
pub fn tools(names: &[&str]) -> bool {
    let missing: Vec<_> = names.iter().filter(|name| !on_path(name)).collect();
    possible(missing.is_empty(), &format!("not installed: {missing:?}; run `make setup`"))
}

/// Whether the story can be told here, as its teller found out. In CI it must be.
pub fn possible(can: bool, why_not: &str) -> bool {
    if !can {
        assert!(env::var("CI").as_deref() != Ok("true"), "{why_not}");
        note(format_args!("NOT TESTED: {why_not}"));
    }
    can
}

/// Prometheus or promtool, installed or unpacked by `make setup`. In CI they must be there.
pub fn prometheus_tool(name: &str) -> Option<PathBuf> {
    let unpacked = Programs::built().target.join("tools/prometheus/usr/bin").join(name);
    if unpacked.is_file() {
        return Some(unpacked);
    }
    tools(&[name]).then(|| name.into())
}

fn on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin".into(), "/sbin".into()];
    env::split_paths(&path).chain(more).any(|folder| folder.join(name).is_file())
}

/// Tells something beside the story, for whoever reads its output.
pub fn note(text: impl Display) {
    eprintln!("{text}");
}

/// Makes the command run as a user without rights.
pub fn as_nobody(command: &mut Command) -> &mut Command {
    command.uid(NOBODY).gid(NOBODY).stdin(Stdio::null())
}
