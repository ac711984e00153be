//! A leaf cgroup for each run, so that its processes can be killed in one call and be seen to be gone. cgroups(7) and
//! Documentation/admin-guide/cgroup-v2.rst of the kernel. Only version 2 can do that; a hybrid host has it too, beside its
//! version 1 controllers.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsFd as _, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{HostRoots, delegated::folder_of_runs};
use crate::burn::launch::Cgroup;

/// Every cgroup of ours is named so, then the daemon's pid and the run's id.
const PREFIX: &str = "ssts-";

/// What a check of the host calls the one that it tries to make: no run can have such an id.
pub(super) const CHECK: &str = "check_";

/// How long the kernel may take to let a cgroup go whose last process was killed.
const EMPTY_WITHIN: Duration = Duration::from_millis(200);

/// Why there is no cgroup for a run. The other ways to stop a burner remain.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No version 2 hierarchy is mounted.
    #[error("no cgroup v2 hierarchy is mounted")]
    NotMounted,
    /// The daemon's own place in it is unknown.
    #[error("/proc/self/cgroup names no cgroup of version 2")]
    NoOwn,
    /// The kernel refused.
    #[error("{}: {source}", path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel has no `cgroup.kill`: before 5.14.
    #[error("{} is missing: the kernel is older than 5.14", .0.display())]
    NoKill(PathBuf),
}

/// The folder that the cgroups of runs are in: that of the cgroup which this process was given.
///
/// # Errors
/// [`CgroupError::NotMounted`], [`CgroupError::NoOwn`].
pub fn own_folder(roots: &HostRoots) -> Result<PathBuf, CgroupError> {
    process_folder(roots).map(folder_of_runs)
}

/// The folder of the cgroup that this process is in.
pub(super) fn process_folder(roots: &HostRoots) -> Result<PathBuf, CgroupError> {
    let read = |name| fs::read_to_string(roots.proc(name)).unwrap_or_default();
    let (root, mount) = mount_of(&read("self/mountinfo")).ok_or(CgroupError::NotMounted)?;
    let own = own_path(&read("self/cgroup")).ok_or(CgroupError::NoOwn)?;
    // In a container the mount may show only a part of the tree.
    let below = Path::new(&own).strip_prefix(&root).unwrap_or(Path::new(""));
    Ok(mount.join(below.strip_prefix("/").unwrap_or(below)))
}

/// Where version 2 is mounted.
///
/// # Errors
/// [`CgroupError::NotMounted`].
pub fn cgroup_mount(roots: &HostRoots) -> Result<PathBuf, CgroupError> {
    let mountinfo = fs::read_to_string(roots.proc("self/mountinfo")).unwrap_or_default();
    mount_of(&mountinfo).map(|(_, mount)| mount).ok_or(CgroupError::NotMounted)
}

/// The folder of the cgroup that the run of this daemon is in, while there is one.
pub fn current_run_folder(roots: &HostRoots) -> Option<PathBuf> {
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let entries = fs::read_dir(own_folder(roots).ok()?).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix(&prefix)).is_some_and(|id| !id.starts_with(CHECK))
    })
}

/// Root and mount point of the first cgroup2 in a `mountinfo`: proc_pid_mountinfo(5).
fn mount_of(mountinfo: &str) -> Option<(PathBuf, PathBuf)> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = left.split(' ').skip(3);
        Some((fields.next()?.into(), fields.next()?.into()))
    })
}

/// The path of the version 2 line, `0::/path`.
fn own_path(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// The folder that the cgroup of a run of this daemon has. Nothing where there can be none.
pub fn run_folder(roots: &HostRoots, run_id: &str) -> Option<PathBuf> {
    own_folder(roots).ok().map(|own| own.join(format!("{PREFIX}{}-{run_id}", std::process::id())))
}

/// Kills and removes what daemons that no longer live have left.
pub fn sweep(roots: &HostRoots) {
    let Ok(folder) = own_folder(roots) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let daemon =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        // Of one that has died but was not reaped the link is gone already.
        let lives = |pid: u32| fs::read_link(roots.proc(pid.to_string()).join("exe")).is_ok();
        if daemon.is_some_and(|pid| !lives(pid)) {
            // What hangs in the kernel keeps it; whoever looks after that run tells.
            let _told_there = end(&entry.path());
        }
    }
}

/// What was seen of a cgroup that is to be gone.
#[derive(Debug)]
pub enum End {
    /// There is none of that name.
    Gone,
    /// These processes live in it, killed as they are.
    Populated(Vec<i32>),
    /// The kernel did not say, or did not let it go.
    Unknown(io::Error),
}

/// Kills what lives in the cgroup of a run, removes it, and looks what came of that.
pub fn end(folder: &Path) -> End {
    let give_up = Instant::now() + EMPTY_WITHIN;
    loop {
        match fs::symlink_metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return End::Gone,
            Err(error) => return End::Unknown(error),
            Ok(_) => {}
        }
        let late = Instant::now() >= give_up;
        match populated(folder) {
            Ok(true) => {
                // A frozen process is killed all the same: cgroup-v2.rst, cgroup.freeze.
                if let Err(error) = fs::write(folder.join("cgroup.kill"), "1") {
                    return End::Unknown(error);
                }
                if late {
                    return members(folder).map_or_else(End::Unknown, End::Populated);
                }
            }
            Ok(false) => match fs::remove_dir(folder) {
                Err(error) if late => return End::Unknown(error),
                _ => {}
            },
            Err(error) if is_gone(&error) => {}
            Err(error) => return End::Unknown(error),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The processes that are in a cgroup.
fn members(folder: &Path) -> io::Result<Vec<i32>> {
    let text = fs::read_to_string(folder.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|pid| pid.parse().ok()).collect())
}

fn populated(folder: &Path) -> io::Result<bool> {
    Ok(!fs::read_to_string(folder.join("cgroup.events"))?.contains("populated 0"))
}

/// What reading a file of a cgroup says that was removed meanwhile.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// A cgroup of one run. Removed when dropped, once nothing lives in it.
#[derive(Debug)]
pub struct RunCgroup {
    folder: PathBuf,
    opened: File,
    procs: File,
    /// Open from the beginning: an end must not fail for want of a descriptor.
    kill: File,
    events: File,
}

impl RunCgroup {
    /// Makes one below the daemon's own.
    ///
    /// # Errors
    /// See [`CgroupError`].
    pub fn create(roots: &HostRoots, run_id: &str) -> Result<Self, CgroupError> {
        let folder = own_folder(roots)?.join(format!("{PREFIX}{}-{run_id}", std::process::id()));
        let refused = |path: &Path, source| CgroupError::Refused { path: path.to_owned(), source };
        fs::create_dir(&folder).map_err(|source| refused(&folder, source))?;
        let open = |name: &str, write: bool| {
            let path = folder.join(name);
            let opened = OpenOptions::new().read(!write).write(write).open(&path);
            opened.map_err(|source| match name {
                "cgroup.kill" if source.kind() == io::ErrorKind::NotFound => CgroupError::NoKill(path),
                _ => refused(&path, source),
            })
        };
        let opened = || {
            Ok(Self {
                kill: open("cgroup.kill", true)?,
                events: open("cgroup.events", false)?,
                procs: open("cgroup.procs", true)?,
                opened: File::open(&folder).map_err(|source| refused(&folder, source))?,
                folder: folder.clone(),
            })
        };
        opened().inspect_err(|_| {
            let _best_effort = fs::remove_dir(&folder);
        })
    }

    /// For processes that are to live here.
    pub fn place(&self) -> Cgroup<'_> {
        Cgroup { folder: self.opened.as_fd(), procs: self.procs.as_fd() }
    }

    /// Kills everything in it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kill(&self) -> io::Result<()> {
        self.kill.write_all_at(b"1", 0)
    }

    /// Whether anything lives in it. Unknown counts as yes; but one that is gone was empty, for the kernel lets no other go.
    pub fn is_populated(&self) -> bool {
        let mut text = [0; 256];
        match self.events.read_at(&mut text, 0) {
            Ok(read) => !String::from_utf8_lossy(&text[..read]).contains("populated 0"),
            Err(error) => !is_gone(&error),
        }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes its processes off the cores, or lets them go on. The kernel does so a moment later.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.freeze"), if frozen { "1" } else { "0" })
    }

    /// Lets its processes have so much memory, and when they want more, lets the kernel end all of them and nobody else.
    /// False where the memory controller is not given to the daemon's cgroup.
    ///
    /// # Errors
    /// The kernel's.
    pub fn limit_memory(&self, bytes: u64) -> io::Result<bool> {
        let max = self.folder.join("memory.max");
        if !max.exists() {
            return Ok(false);
        }
        fs::write(max, bytes.to_string())?;
        // Linux 4.19.
        fs::write(self.folder.join("memory.oom.group"), "1").map(|()| true)
    }
}

impl Drop for RunCgroup {
    fn drop(&mut self) {
        // What still lives in it keeps it; the next start of a daemon sweeps.
        let _best_effort = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_pure_and_hybrid() {
        let pure = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(mount_of(pure), Some(("/".into(), "/sys/fs/cgroup".into())));
        let hybrid = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      40 30 0:35 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_of(hybrid), Some(("/".into(), "/sys/fs/cgroup/unified".into())));
        assert_eq!(mount_of("31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
    }

    #[test]
    fn the_own_path_is_that_of_version_2() {
        assert_eq!(own_path("4:memory:/a\n0::/user.slice/b\n").as_deref(), Some("/user.slice/b"));
        assert_eq!(own_path("4:memory:/a\n"), None);
    }
}
