//! A machine of its own, with a real systemd as its first process: over this machine's files, with this machine's kernel, in
//! namespaces of systemd-nspawn. What it writes goes to memory, and with it.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Mount, Programs,
    daemon::pid,
    machine::{possible, privileged, tools},
    outside::{self, Process},
};

/// On a machine that is busy with other stories.
const BOOT_TIME: Duration = Duration::from_secs(60);
/// Enough for programs with their symbols.
const LAYER_BYTES: u64 = 4 << 30;
/// What a command in the machine came to.
#[derive(Debug)]
pub struct Said {
    /// The command.
    pub command: String,
    /// Its exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it told beside.
    pub stderr: String,
}

impl Said {
    /// Fails the story where it ended otherwise.
    pub fn assert_status(self, status: i32) -> Self {
        assert!(self.status == Some(status), "should end with {status}: {self:#?}");
        self
    }

    /// The one object that it printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON object: {error}: {self:#?}"))
    }
}

/// The machine. Powered off by force when dropped.
#[derive(Debug)]
pub struct Booted {
    nspawn: Child,
    first: Process,
    root: PathBuf,
    log: PathBuf,
    /// In the order in which they go.
    _cgroups: Cgroups,
    _overlay: Overlay,
    _layer: Mount,
    folder: TempDir,
}

/// The root of the machine, while it is mounted.
#[derive(Debug)]
struct Overlay(PathBuf);

impl Drop for Overlay {
    fn drop(&mut self) {
        let _best_effort = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// The cgroups that the machine is in, in all hierarchies that a systemd uses: without them two machines would share one.
#[derive(Debug)]
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn new(name: &str) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let below = |prefix: &str| {
            let line = own.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(prefix))?;
            Some(line.trim_start_matches('/').to_owned())
        };
        let mounts = [
            ("/sys/fs/cgroup", ":"),
            ("/sys/fs/cgroup/unified", ":"),
            ("/sys/fs/cgroup/systemd", "name=systemd:"),
        ];
        let folders = mounts.into_iter().filter_map(|(mount, prefix)| {
            let folder = Path::new(mount).join(below(prefix)?).join(name);
            // A tmpfs that holds the mounts of version 1 has no such file, and takes no such folder of ours.
            Path::new(mount).join("cgroup.procs").exists().then_some(folder)
        });
        let folders: Vec<_> = folders.collect();
        for folder in &folders {
            fs::create_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        Self(folders)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // The kernel lets one go when the last of its processes is reaped, which others do.
        outside::within(Duration::from_secs(10), || {
            self.0.iter().for_each(|folder| remove_tree(folder));
            !self.0.iter().any(|folder| folder.exists())
        });
    }
}

/// Cgroups are folders whose files go with them.
fn remove_tree(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _best_effort = fs::remove_dir(folder);
}

impl Booted {
    /// Whether such a machine can be had. In CI it must be.
    pub fn possible() -> bool {
        privileged() && tools(&["systemd-nspawn", "dbus-daemon", "nsenter", "make"]) && {
            let overlays = fs::read_to_string("/proc/filesystems").unwrap_or_default().contains("overlay");
            possible(overlays, "it needs overlayfs: run `modprobe overlay`")
        }
    }

    /// Boots it, once `prepare` has put into its root folder what it is to find there.
    pub fn with(prepare: impl FnOnce(&Path)) -> Self {
        let folder =
            tempfile::Builder::new().prefix("ssts-").tempdir_in("/tmp").expect("/tmp takes a folder");
        let layer = Mount::tmpfs(folder.path().join("layer"), LAYER_BYTES);
        let [upper, work, root] = ["upper", "work", "root"].map(|name| layer.path().join(name));
        for folder in [&upper, &work, &root] {
            fs::create_dir(folder).expect("the file system is new");
        }
        let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
        mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .expect("root may mount");
        let overlay = Overlay(root.clone());
        forget_this_machine(&root);
        prepare(&root);
        let log = folder.path().join("console.log");
        // Of the story's folder, which nobody else has.
        let name = folder.path().file_name().and_then(|name| name.to_str()).expect("it is ASCII").to_owned();
        let cgroups = Cgroups::new(&name);
        let mut nspawn = boot(&root, &log, &name, &cgroups);
        let first = first_process(&mut nspawn, &log);
        let machine =
            Self { nspawn, first, root, log, _cgroups: cgroups, _overlay: overlay, _layer: layer, folder };
        // `degraded` is as good: what fails of this machine's own units is none of the story's.
        machine.until("it has booted", || {
            let state = machine.run("systemctl is-system-running").stdout;
            ["running", "degraded"].contains(&state.trim())
        });
        machine
    }

    /// Its root folder, seen from here.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder of the story's own, outside of it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The words of a line as a command in it, to be started.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--all", "--target", &self.first.pid.to_string(), "--wd=/", "--"])
            .args(line.split_whitespace())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("SYSTEMD_PAGER", "")
            .env("SYSTEMD_COLORS", "0")
            .stdin(Stdio::null());
        command
    }

    /// Carries out the words of a line as a command in it.
    pub fn run(&self, line: &str) -> Said {
        said(&mut self.command(line), line)
    }

    /// The same, as a user with one group beside its own.
    pub fn run_as(&self, user: u32, group: u32, line: &str) -> Said {
        let mut command =
            self.command(&format!("setpriv --reuid={user} --regid={group} --clear-groups {line}"));
        said(&mut command, line)
    }

    /// A property of a unit, as `systemctl show` has it.
    pub fn property(&self, unit: &str, property: &str) -> String {
        let line = format!("systemctl show --property={property} --value {unit}");
        self.run(&line).assert_status(0).stdout.trim().to_owned()
    }

    /// What a unit logged, as the console has it.
    pub fn journal(&self, unit: &str) -> String {
        self.run(&format!("journalctl --no-pager --output=cat --unit={unit}")).stdout
    }

    /// The process of this machine that is the unit's main one.
    pub fn main_process(&self, unit: &str) -> Option<Process> {
        let inner: i32 = self.property(unit, "MainPID").parse().ok().filter(|pid| *pid > 0)?;
        self.first.descendants().into_iter().find(|process| inner_pid(process.pid) == Some(inner))
    }

    /// Waits for what must come to be.
    pub fn until(&self, what: &str, condition: impl FnMut() -> bool) {
        let came = outside::within(BOOT_TIME, condition);
        assert!(came.is_some(), "{what}: it never came to be\n{}", self.console());
    }

    fn console(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for unit in ["sstsd.service", "sstsd.socket"] {
                crate::note(format_args!("---- {unit} ----\n{}", self.journal(unit)));
            }
        }
        // The kernel kills everything in the namespace with its first process.
        self.first.kill();
        let ended = outside::within(Duration::from_secs(10), || {
            self.nspawn.try_wait().is_ok_and(|status| status.is_some())
        });
        if ended.is_none() {
            let _best_effort = self.nspawn.kill();
            let _best_effort = self.nspawn.wait();
        }
    }
}

/// What is this machine's and would be in the way.
fn forget_this_machine(root: &Path) {
    // Where containers are made, it forbids to start services.
    let _not_there = fs::remove_file(root.join("usr/sbin/policy-rc.d"));
    fs::write(root.join("etc/machine-id"), "").expect("the layer takes it");
    // Units that its administrator has enabled: timers, servers, consoles.
    for entry in fs::read_dir(root.join("etc/systemd/system")).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "wants") {
            fs::remove_dir_all(entry.path()).expect("the layer takes it");
        }
    }
}

fn boot(root: &Path, log: &Path, name: &str, cgroups: &Cgroups) -> Child {
    let file = File::create(log).expect("the folder is ours");
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "for cgroup in $CGROUPS; do echo $$ >$cgroup/cgroup.procs; done; exec systemd-nspawn \"$@\"",
            "sh",
        ])
        .env(
            "CGROUPS",
            cgroups.0.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" "),
        )
        .arg("--directory")
        .arg(root)
        .args(["--register=no", "--keep-unit", "--private-network", "--capability=all", "--console=pipe"])
        .args([
            "--system-call-filter=bpf perf_event_open @privileged",
            "--bind=/sys/fs/bpf",
            "--link-journal=no",
        ])
        .arg(format!("--machine={name}"))
        .args(["--boot", "systemd.unit=multi-user.target"])
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("it is open"))
        .stderr(file)
        // A terminal's Ctrl-C is for the story, which powers it off.
        .process_group(0);
    command.spawn().expect("systemd-nspawn can be executed")
}

fn first_process(nspawn: &mut Child, log: &Path) -> Process {
    let ours = Process::of(pid(nspawn)).expect("a child that is not reaped is there");
    let mut first = None;
    let came = outside::within(BOOT_TIME, || {
        first = ours.descendants().into_iter().find(|process| inner_pid(process.pid) == Some(1));
        // Between the clone and the execution it is nspawn itself.
        let executes = |process: &Process| {
            fs::read_to_string(format!("/proc/{}/comm", process.pid))
                .is_ok_and(|name| name.trim() == "systemd")
        };
        first.as_ref().is_some_and(executes) || nspawn.try_wait().is_ok_and(|end| end.is_some())
    });
    let text = || fs::read_to_string(log).unwrap_or_default();
    assert!(
        came.is_some() && nspawn.try_wait().is_ok_and(|end| end.is_none()),
        "it did not boot:\n{}",
        text()
    );
    first.unwrap_or_else(|| panic!("it did not boot:\n{}", text()))
}

/// The pid of a process in its innermost namespace: proc_pid_status(5).
fn inner_pid(outer: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{outer}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let pids: Vec<_> = line.split_whitespace().collect();
    // In the namespace of this machine alone there is one number, and it is no pid of the other machine.
    if pids.len() < 2 { None } else { pids.last()?.parse().ok() }
}

fn said(command: &mut Command, line: &str) -> Said {
    let output = command.output().expect("nsenter can be executed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        command: line.to_owned(),
        status: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// `make TARGET` in the repository, with the programs of the profile under test; gives what it said.
pub fn make(target: &str, variables: &[(&str, &str)]) -> String {
    let programs = Programs::built();
    let profile = programs.sstsd.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let output = Command::new("make")
        .arg("--no-print-directory")
        .arg(target)
        .arg(format!("BUILD={}", profile.expect("a profile's name is ASCII")))
        .args(variables.iter().map(|(name, value)| format!("{name}={value}")))
        .current_dir(Programs::repository())
        .env_remove("MAKEFLAGS")
        .stdin(Stdio::null())
        .output()
        .expect("make can be executed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "make {target}: {stdout}\n{stderr}");
    stdout + &stderr
}

/// Ends a process of the machine, seen from here.
pub fn signal(process: &Process, signal: Signal) {
    kill(Pid::from_raw(process.pid), signal).expect("it is not reaped");
}
