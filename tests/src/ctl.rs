//! `sstsctl` under test.

use std::{
    fs::File,
    io::{Read, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    Ground, Terminal,
    daemon::pid,
    outside::{self, Process},
};

/// Longer than any story's command takes.
const LONGEST: Duration = Duration::from_secs(120);

/// A call of `sstsctl`.
#[derive(Debug)]
pub struct Ctl(Command);

impl Ctl {
    /// With an environment of the ground's own, and no arguments yet.
    pub fn bare(ground: &Ground) -> Self {
        Self::by(ground, &ground.programs().sstsctl)
    }

    /// The same by a program that runs it, such as one of [`Wire::program`](crate::Wire::program).
    pub fn by(ground: &Ground, program: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", ground.path("home"))
            .env("XDG_STATE_HOME", ground.path("home/state"))
            .env("TMPDIR", ground.path("tmp"))
            .env("SSTSD_CONFIG", ground.config())
            .stdin(Stdio::null());
        Self(command)
    }

    /// To the daemon on the ground.
    pub fn new(ground: &Ground) -> Self {
        Self::bare(ground).args(["--host", &format!("unix:{}", ground.socket().display())])
    }

    /// With a private daemon.
    pub fn local(ground: &Ground) -> Self {
        Self::bare(ground).args(["--local"])
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<str>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds the words of a line as arguments.
    #[must_use]
    pub fn words(self, line: &str) -> Self {
        self.args(line.split_whitespace())
    }

    /// Changes the command.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.0);
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        self.spawn().outcome()
    }

    /// Runs it with `--output json`, sees that it passes, and gives what it printed.
    pub fn json(self) -> Value {
        let outcome = self.args(["--output", "json"]).run();
        outcome.assert_status(0);
        outcome.json()
    }

    /// Runs it to its end, with what it prints in a file: what is no text would not survive otherwise.
    pub fn into_file(mut self, file: File) -> ExitStatus {
        self.0.stdout(file).status().expect("sstsctl can be executed")
    }

    /// Starts it on a terminal.
    pub fn on_terminal(self) -> Terminal {
        Terminal::run(self.0)
    }

    /// Starts it.
    pub fn spawn(mut self) -> Running {
        let mut child =
            self.0.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sstsctl can be executed");
        let process = Process::of(pid(&child)).expect("a child that is not reaped is there");
        let stdout = read_all(child.stdout.take());
        let stderr = read_all(child.stderr.take());
        Running { command: format!("{:?}", self.0), child, process, readers: Some((stdout, stderr)) }
    }
}

/// A call that goes on. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    process: Process,
    readers: Option<(JoinHandle<String>, JoinHandle<String>)>,
}

impl Running {
    /// Its process.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Its private daemon, once that has burners.
    pub fn private_daemon(&self) -> (Process, Vec<Process>) {
        let mut found = None;
        outside::within(Duration::from_secs(30), || {
            found = self.process.children().into_iter().find_map(|daemon| {
                let burners = daemon.children();
                (!burners.is_empty()).then_some((daemon, burners))
            });
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("{} has no private daemon with burners", self.command))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.pid), signal).expect("it is not reaped");
    }

    /// Waits for its end.
    pub fn outcome(mut self) -> Outcome {
        let mut status = None;
        outside::within(LONGEST, || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        let status = status.unwrap_or_else(|| panic!("{} does not end", self.command));
        let (stdout, stderr) = self.readers.take().expect("they are taken once");
        let text = |reader: JoinHandle<String>| reader.join().expect("reading does not panic");
        Outcome { command: self.command.clone(), status, stdout: text(stdout), stderr: text(stderr) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _best_effort = self.child.kill();
        let _best_effort = self.child.wait();
    }
}

fn read_all(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    command: String,
    /// Its status.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it told beside.
    pub stderr: String,
}

impl Outcome {
    /// Fails the story where it ended otherwise.
    pub fn assert_status(&self, code: i32) -> &Self {
        assert!(
            self.status.code() == Some(code),
            "should end with {code}, ended with {:?} (signal {:?}): {}\n{}\n{}",
            self.status.code(),
            self.status.signal(),
            self.command,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Fails the story unless its messages hold all of these.
    pub fn assert_tells(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "'{part}' is missing: {}\n{}", self.command, self.stderr);
        }
        self
    }

    /// The one object that it printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("no JSON object: {error}: {}\n{}\n{}", self.command, self.stdout, self.stderr)
        })
    }

    /// Shows it with the story's output.
    pub fn show(&self) {
        let _best_effort = writeln!(std::io::stderr(), "{}\n{}{}", self.command, self.stdout, self.stderr);
    }
}
