//! A command that prints an inventory. There is no shell between, and it has some time, not all the time.

use std::{
    io::{self, Read},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep},
};

use super::{all_of, as_text};
use crate::error::Failure;

/// For all that it does.
const TIME: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How much of what it complains of is shown: the end.
const SHOWN_LINES: usize = 10;

/// What it prints.
///
/// # Errors
/// It can't be started, takes too long, or ends with another status than 0: with what it wrote to standard error.
pub(super) async fn printed(words: &[String]) -> Result<String, Failure> {
    within(words, TIME).await
}

async fn within(words: &[String], time: Duration) -> Result<String, Failure> {
    let [program, arguments @ ..] = words else {
        return Err(Failure::usage("no command follows 'exec:'", "write it as exec:'CMD ARGS'"));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = command.spawn().map_err(|error| {
        Failure::usage(
            format!("can't start {program}: {error}"),
            "see that it is there and can be executed; there is no shell: write exec:'sh -c …' for one",
        )
    })?;
    let mut group = Group { child, is_ended: false };
    let stdout = group.child.stdout.take().map(reader);
    let stderr = group.child.stderr.take().map(reader);
    let deadline = Instant::now() + time;
    while !group.is_over() && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
    }
    let is_over = group.is_over();
    // Whoever it left behind would keep its pipes open.
    let status = group.end().filter(|_| is_over);
    let (printed, complaint) = (read(stdout).await, read(stderr).await);
    let complaint = complaint.map(|bytes| tail(&bytes)).unwrap_or_default();
    match status {
        Some(status) if status.success() => {
            let printed = printed.map_err(|error| {
                Failure::usage(format!("can't read what {program} prints: {error}"), "run it by hand")
            })?;
            as_text(program, printed)
        }
        Some(status) => Err(Failure::usage(
            format!("{program} ended with {}{complaint}", how(status)),
            "mend what it says, or run it by hand",
        )),
        None => Err(Failure::usage(
            format!("{program} is not done after {} s, and was killed{complaint}", time.as_secs()),
            "let it print the inventory sooner, or write that to a file",
        )),
    }
}

/// A process and all that it starts; they are gone when it is dropped.
struct Group {
    child: Child,
    is_ended: bool,
}

impl Group {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Whether the command itself has ended. It stays to be waited for: until then its number is nobody else's.
    fn is_over(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive))
    }

    /// Kills what is left of it, and says how the command ended.
    fn end(&mut self) -> Option<ExitStatus> {
        if !self.is_ended {
            self.is_ended = true;
            // It fails only where nothing is left.
            let _ = killpg(self.pid(), Signal::SIGKILL);
        }
        self.child.wait().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

fn reader(from: impl Read + Send + 'static) -> JoinHandle<io::Result<Vec<u8>>> {
    spawn_blocking(move || all_of(from))
}

async fn read(reader: Option<JoinHandle<io::Result<Vec<u8>>>>) -> io::Result<Vec<u8>> {
    match reader {
        Some(reader) => reader.await.map_err(io::Error::other)?,
        None => Ok(Vec::new()),
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The last lines, each on a line of its own.
fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].iter().map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn what_it_prints_is_taken_and_what_it_complains_of_is_told() {
        assert_eq!(printed(&shell("echo '{}'; echo careful >&2")).await, Ok("{}\n".to_owned()));
        let failure = printed(&shell("echo no such realm >&2; exit 3")).await.expect_err("it failed");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("exit status 3\n  no such realm"), "{failure}");
        let failure = printed(&["/no/such/program".to_owned()]).await.expect_err("it is not there");
        assert!(failure.to_string().contains("can't start /no/such/program"), "{failure}");
        let failure = printed(&shell("kill -9 $$")).await.expect_err("it died");
        assert!(failure.to_string().contains("signal 9"), "{failure}");
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; echo waiting >&2; wait", pid.display());
        let failure = within(&shell(&script), Duration::from_secs(1)).await.expect_err("it is not done");
        assert!(failure.to_string().contains("not done after 1 s"), "{failure}");
        assert!(failure.to_string().contains("waiting"), "{failure}");
        let pid = std::fs::read_to_string(&pid).unwrap();
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        let until = Instant::now() + Duration::from_secs(10);
        while !gone() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        assert!(gone());
    }
}
