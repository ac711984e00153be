//! What the kernel's books say of an agent's burners, so that no word of the agent has to be believed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// A process, told from a later one of the same number by its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    started: u64,
}

impl Process {
    /// Whether it may still run: a zombie doesn't.
    pub(super) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Whether it has used CPU time: 10 ms and more.
    fn has_burned(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && stat.cpu_ticks > 0)
    }

    /// Its version 2 cgroup, by its mount point, and its place below it.
    pub(super) fn cgroup(&self) -> Option<PathBuf> {
        let own = fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).ok()?;
        let below = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        Some(mount()?.join(below))
    }
}

/// The living children of a process: proc_pid_task_tid_children(5).
pub(super) fn children(pid: i32) -> Vec<Process> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let pids: Vec<i32> = texts
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    let process = |pid| stat(pid).map(|stat| Process { pid, started: stat.started });
    pids.into_iter().filter_map(process).filter(Process::is_alive).collect()
}

/// Those of an agent's children that burn, once there are some.
pub(super) async fn burning(agent: i32, limit: Duration) -> Vec<Process> {
    let mut burners = Vec::new();
    within(limit, || {
        burners = children(agent);
        !burners.is_empty() && burners.iter().all(Process::has_burned)
    })
    .await;
    burners
}

/// What is left of an agent's runs: processes, and cgroups by their folders.
pub(super) fn leftovers(agent: i32, burners: &[Process]) -> Vec<String> {
    let living = burners.iter().copied().chain(children(agent)).filter(Process::is_alive);
    let mut left: Vec<_> = living.map(|process| format!("process {}", process.pid)).collect();
    left.dedup();
    if let Some(mount) = mount() {
        search(&mount, &format!("ssts-{agent}-"), &mut left);
    }
    left
}

fn search(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(format!("cgroup {}", entry.path().display()));
            }
            search(&entry.path(), prefix, found);
        }
    }
}

/// Where cgroup version 2 is mounted: proc_pid_mountinfo(5).
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// Asks every millisecond; gives the time it took to become so, or nothing when it did not within the limit.
pub(super) async fn within(limit: Duration, mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    let begin = Instant::now();
    loop {
        let elapsed = begin.elapsed();
        if is_so() {
            return Some(elapsed);
        }
        if elapsed >= limit {
            return None;
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Stat {
    state: char,
    cpu_ticks: u64,
    started: u64,
}

/// State, CPU time and start: fields 3, 14, 15 and 22 of /proc/PID/stat.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        cpu_ticks: number(14)? + number(15)?,
        started: number(22)?,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_child_is_seen_and_its_end_too() {
        let own = std::process::id().cast_signed();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().cast_signed();
        let seen = children(own).into_iter().find(|process| process.pid == pid).unwrap();
        assert!(seen.is_alive() && leftovers(own, &[]).contains(&format!("process {pid}")));
        child.kill().unwrap();
        assert!(within(Duration::from_secs(5), || !seen.is_alive()).await.is_some(), "a zombie is gone");
        child.wait().unwrap();
        assert!(!children(own).contains(&seen));
    }
}
