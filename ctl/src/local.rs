//! A private agent: an `sstsd` as the calling user, for one command. It ends with the command, whatever happens to it:
//! it is told to stop, or killed when this is dropped, or by the kernel (`--die-with-parent`) when sstsctl dies.
//!
//! The kernel watches the thread that spawned it, so it must be spawned from the main thread.

use std::{
    env, fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use uuid::Uuid;

use crate::error::{Exit, Failure};

const FOLDER_PREFIX: &str = "sstsctl-";
const LOCK: &str = "lock";
/// A folder may be without its lock for the moment in which it is made.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(60);
const START_TIME: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(3);
const STOP_TIME: Duration = Duration::from_secs(5);
/// Lines of its log that are shown when it fails.
const SHOWN_LINES: usize = 8;
/// What sstsd ends with when its configuration is bad.
const BAD_CONFIGURATION: i32 = 2;

/// The process, and the folder that is gone with it.
#[derive(Debug)]
pub(crate) struct PrivateAgent {
    child: Child,
    folder: PrivateFolder,
    started: Instant,
}

impl PrivateAgent {
    /// Starts it. Returns before it listens.
    pub(crate) fn spawn(show_log: bool) -> Result<Self, Failure> {
        Self::spawn_on(&state_dir()?, show_log, |_| {})
    }

    /// Starts it on a state folder, with changes to its command.
    pub(crate) fn spawn_on(
        state_dir: &Path,
        show_log: bool,
        change: impl FnOnce(&mut Command),
    ) -> Result<Self, Failure> {
        let program = find_program().ok_or_else(|| {
            Failure::agent(
                "can't find sstsd, to start a private one",
                "install it beside sstsctl or on PATH, or name a running one with --host unix:PATH",
            )
        })?;
        make_private(state_dir, true)
            .map_err(|error| unusable(state_dir, &error, "make it writable, or set XDG_STATE_HOME"))?;
        let folder = PrivateFolder::new()?;
        let log = if show_log {
            Stdio::inherit()
        } else {
            let path = folder.log();
            fs::File::create(&path)
                .map_err(|error| unusable(&path, &error, "make room there, or set TMPDIR"))?
                .into()
        };
        let mut command = Command::new(&program);
        command
            .arg("serve")
            .arg(format!("--listen=unix:{}", folder.socket().display()))
            .arg("--state-dir")
            .arg(state_dir)
            .args(["--log-format", "text", "--die-with-parent", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // The terminal's Ctrl-C is for sstsctl, which then stops the run in order.
            .process_group(0);
        change(&mut command);
        let child = command.spawn().map_err(|error| {
            Failure::agent(
                format!("can't start {}: {error}", program.display()),
                "see that it can be executed",
            )
        })?;
        Ok(Self { child, folder, started: Instant::now() })
    }

    /// Where it will listen.
    pub(crate) fn socket(&self) -> &Path {
        &self.folder.socket
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // It can't be another process: the child is not reaped before `try_wait` says so.
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// Kills it and returns when it is gone.
    pub(crate) fn end(&mut self) {
        // Both fail only where it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits a little after a failed attempt to connect; fails when there is no more sense in trying.
    pub(crate) async fn wait_on(&mut self, attempt: &io::Error) -> Result<(), Failure> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(self.ended(status));
        }
        if self.started.elapsed() > START_TIME {
            let log = self.log_tail();
            return Err(Failure::agent(
                format!("the private sstsd does not answer after {} s: {attempt}{log}", START_TIME.as_secs()),
                "run the command again with -v to see its log",
            ));
        }
        tokio::time::sleep(RETRY_EVERY).await;
        Ok(())
    }

    /// Tells it to stop and returns when it is gone.
    pub(crate) async fn stop(mut self) {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        while asked.elapsed() < STOP_TIME {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
        // Dropping it kills it.
    }

    fn ended(&self, status: ExitStatus) -> Failure {
        let exit = if status.code() == Some(BAD_CONFIGURATION) { Exit::Usage } else { Exit::AgentFailed };
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => status.to_string(),
        };
        let mend = "mend what it says; `sstsd check` says what works on this host";
        Failure::new(exit, format!("the private sstsd ended at once: {how}{}", self.log_tail()), mend)
    }

    /// The last lines that it wrote, each on a line of its own; empty where it wrote none.
    fn log_tail(&self) -> String {
        let text = fs::read(self.folder.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        tail.iter().map(|line| format!("\n  {line}")).collect()
    }
}

impl Drop for PrivateAgent {
    fn drop(&mut self) {
        self.end();
    }
}

/// A folder that only this user can enter, removed with its content when dropped. A file in it is locked while its owner
/// lives, so that the next one can remove what a killed one left.
#[derive(Debug)]
pub(crate) struct PrivateFolder {
    pub(crate) path: PathBuf,
    socket: PathBuf,
    _lock: fs::File,
}

impl PrivateFolder {
    pub(crate) fn new() -> Result<Self, Failure> {
        // A socket's path can have 107 bytes: unix(7). Long folders are avoided.
        let mut candidates = vec![env::temp_dir(), PathBuf::from("/tmp")];
        if let Some(runtime) =
            env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
        {
            candidates.insert(0, runtime);
        }
        let name = format!("{FOLDER_PREFIX}{}", Uuid::now_v7().simple());
        let mut last = None;
        for parent in candidates.into_iter().filter(|parent| parent.as_os_str().len() <= 48) {
            let path = parent.join(&name);
            match make_private(&path, false) {
                Ok(()) => {
                    remove_left_over(&parent);
                    let lock = fs::File::create(path.join(LOCK)).and_then(|lock| lock.lock().map(|()| lock));
                    let lock =
                        lock.map_err(|error| unusable(&path, &error, "make room there, or set TMPDIR"))?;
                    return Ok(Self { socket: path.join("sstsd.sock"), path, _lock: lock });
                }
                Err(error) => last = Some((path, error)),
            }
        }
        Err(match last {
            Some((path, error)) => unusable(&path, &error, "make its parent writable, or set TMPDIR"),
            None => {
                Failure::agent("no temporary folder has a short enough path", "set TMPDIR to a short one")
            }
        })
    }

    fn socket(&self) -> &Path {
        &self.socket
    }

    fn log(&self) -> PathBuf {
        self.path.join("sstsd.log")
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of those that were killed before they could. Only this user's can be locked and removed.
fn remove_left_over(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(FOLDER_PREFIX))
            && entry.metadata().is_ok_and(|metadata| {
                metadata.uid() == nix::unistd::geteuid().as_raw()
                    && metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_OVER_AFTER))
            });
        if !is_ours {
            continue;
        }
        // A folder without the lock is not one of these.
        if let Ok(lock) = fs::File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Beside this executable, or on PATH.
fn find_program() -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|own| Some(own.parent()?.join("sstsd")));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path =
        env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join("sstsd"));
    beside.into_iter().chain(on_path).find(|program| program.is_file())
}

/// Whether private agents keep the telemetry of a run.
pub(crate) fn has_record(run_id: &str) -> bool {
    // As the agent's shelf has it.
    state_dir().is_ok_and(|folder| folder.join("runs").join(format!("{run_id}.rec")).exists())
}

/// Where private agents keep their runs, so that `runs` and `report` find them later.
fn state_dir() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map(|state| state.join("ssts/local")).ok_or_else(|| {
        Failure::usage("HOME is not set", "set HOME or XDG_STATE_HOME: runs are kept below it")
    })
}

fn make_private(path: &Path, with_parents: bool) -> io::Result<()> {
    fs::DirBuilder::new().recursive(with_parents).mode(0o700).create(path)
}

fn unusable(path: &Path, error: &io::Error, mend: &str) -> Failure {
    Failure::agent(format!("can't use {}: {error}", path.display()), mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(script: &str) -> PrivateAgent {
        let folder = PrivateFolder::new().unwrap();
        let log = fs::File::create(folder.log()).unwrap();
        let child = Command::new("/bin/sh").args(["-c", script]).stderr(log).spawn().unwrap();
        PrivateAgent { child, folder, started: Instant::now() }
    }

    async fn failure_of(mut agent: PrivateAgent) -> Failure {
        loop {
            if let Err(failure) = agent.wait_on(&io::ErrorKind::NotFound.into()).await {
                return failure;
            }
        }
    }

    #[tokio::test]
    async fn an_agent_that_dies_at_once_is_reported_with_its_last_words() {
        let failure = failure_of(agent("echo no such luck >&2; exit 1")).await;
        assert_eq!(failure.exit, Exit::AgentFailed);
        assert!(failure.to_string().contains("exit 1\n  no such luck"), "{failure}");
        assert_eq!(failure_of(agent("exit 2")).await.exit, Exit::Usage);
    }

    #[tokio::test]
    async fn it_is_told_to_stop_and_its_folder_is_gone() {
        let agent = agent("exec sleep 60");
        let (folder, pid) = (agent.folder.path.clone(), agent.child.id());
        let began = Instant::now();
        agent.stop().await;
        assert!(began.elapsed() < STOP_TIME);
        assert!(!folder.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn dropping_it_kills_it() {
        let agent = agent("trap '' TERM; sleep 60");
        let (folder, pid) = (agent.folder.path.clone(), agent.child.id());
        drop(agent);
        assert!(!folder.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn what_a_killed_one_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - 2 * LEFT_OVER_AFTER;
        let make = |name: &str, with_lock: bool| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            let lock = with_lock.then(|| fs::File::create(path.join(LOCK)).unwrap());
            fs::File::open(&path).unwrap().set_modified(old).unwrap();
            (path, lock)
        };
        let (dead, lock) = make("sstsctl-dead", true);
        drop(lock);
        let (living, lock) = make("sstsctl-living", true);
        lock.as_ref().unwrap().lock().unwrap();
        let (foreign, _) = make("sstsctl-notes", false);
        let (young, _) = make("sstsctl-young", true);
        fs::File::open(&young).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        remove_left_over(parent.path());
        assert!(!dead.exists() && living.exists() && foreign.exists() && young.exists());
    }

    #[test]
    fn only_its_user_can_enter_the_folder() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = PrivateFolder::new().unwrap();
        assert_eq!(fs::metadata(&folder.path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(folder.socket().as_os_str().len() <= 107);
    }
}
