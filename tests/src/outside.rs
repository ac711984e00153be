//! What the kernel's books say of a process, so that no figure of the programs under test has to be believed.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// A process, told from a later one of the same id by its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    started: u64,
}

impl Process {
    /// The one that has this id now.
    pub fn of(pid: i32) -> Option<Self> {
        let (_, started) = stat(&format!("/proc/{pid}/stat"))?;
        Some(Self { pid, started })
    }

    /// Whether it may still run: a zombie doesn't. Its state is that of its first thread, and others may outlive that.
    pub fn is_alive(&self) -> bool {
        let is_there = || Self::of(self.pid).is_some_and(|now| now.started == self.started);
        is_there() && self.states().iter().any(|(_, state)| !matches!(state, 'Z' | 'X'))
    }

    /// Its threads that sleep in the kernel, where no signal wakes them.
    pub fn uninterruptible(&self) -> Vec<i32> {
        self.states().into_iter().filter_map(|(tid, state)| (state == 'D').then_some(tid)).collect()
    }

    /// Whether SIGSTOP has taken hold: of those that sleep in the kernel as soon as they want to leave it.
    pub fn is_stopped(&self) -> bool {
        self.states().iter().all(|(_, state)| matches!(state, 'T' | 'D' | 'Z' | 'X'))
    }

    fn states(&self) -> Vec<(i32, char)> {
        let state = |tid: i32| Some((tid, stat(&format!("/proc/{}/task/{tid}/stat", self.pid))?.0));
        self.threads().into_iter().filter_map(state).collect()
    }

    /// Its children: proc_pid_task_tid_children(5).
    pub fn children(&self) -> Vec<Self> {
        let mut children = Vec::new();
        for thread in self.threads() {
            let text = fs::read_to_string(self.path(format!("task/{thread}/children"))).unwrap_or_default();
            children.extend(text.split_whitespace().filter_map(|pid| Self::of(pid.parse().ok()?)));
        }
        children
    }

    /// All that descend from it.
    pub fn descendants(&self) -> Vec<Self> {
        let children = self.children();
        let further: Vec<_> = children.iter().flat_map(Self::descendants).collect();
        children.into_iter().chain(further).collect()
    }

    /// Its threads' ids, the first one's first.
    pub fn threads(&self) -> Vec<i32> {
        let entries = fs::read_dir(self.path("task")).into_iter().flatten().flatten();
        let mut threads: Vec<i32> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        threads.sort_unstable();
        threads
    }

    /// Its threads that work: all but the first.
    pub fn workers(&self) -> Vec<Thread> {
        let workers = self.threads().into_iter().filter(|tid| *tid != self.pid);
        workers.map(|tid| Thread { pid: self.pid, tid }).collect()
    }

    /// The CPU time of its workers.
    pub fn worker_time(&self) -> Duration {
        self.workers().iter().filter_map(Thread::cpu_time).sum()
    }

    /// The CPU time of the whole process, by its CPU clock: clock_getcpuclockid(3).
    pub fn cpu_time(&self) -> Option<Duration> {
        // MAKE_PROCESS_CPUCLOCK of include/linux/posix-timers_types.h, with CPUCLOCK_SCHED.
        let clock = ClockId::from_raw((!self.pid << 3) | 2);
        clock_gettime(clock).ok().map(Duration::from)
    }

    /// Bytes of memory that it has in RAM.
    pub fn resident_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(self.path("status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
    }

    /// Kills it, if it is still the same one.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Sends it a signal, if it is still the same one.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            let _it_may_have_ended = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Takes its exit status, should it be ours: a subreaper's orphans are.
    pub fn reap(&self) {
        let _not_ours = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(below)
    }
}

/// One thread of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    pid: i32,
    tid: i32,
}

impl Thread {
    /// Its CPU time: the first field of /proc/PID/task/TID/schedstat, exact to a scheduler's tick.
    pub fn cpu_time(&self) -> Option<Duration> {
        let text = fs::read_to_string(self.path("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    }

    /// The time it could have run and did not: the second field.
    pub fn waiting_time(&self) -> Option<Duration> {
        let text = fs::read_to_string(self.path("schedstat")).ok()?;
        text.split(' ').nth(1)?.parse().ok().map(Duration::from_nanos)
    }

    /// The cores it may run on, as the kernel lists them.
    pub fn allowed_cores(&self) -> Option<String> {
        let text = fs::read_to_string(self.path("status")).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .map(|list| list.trim().to_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/task/{}/{name}", self.pid, self.tid))
    }
}

/// What a thread did over a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// CPU time over wall time, percent.
    pub percent: f64,
    /// Time that it could have run and had to wait, percent: neighbours.
    pub waited_percent: f64,
}

/// The load of a thread over the window that begins now.
pub fn load(thread: Thread, window: Duration) -> Load {
    let read = || (Instant::now(), thread.cpu_time(), thread.waiting_time());
    let (begin, cpu, waiting) = read();
    thread::sleep(window);
    let (end, cpu_after, waiting_after) = read();
    let share = |before: Option<Duration>, after: Option<Duration>| {
        let spent = after
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before))
            .expect("the thread is there");
        100.0 * spent.as_secs_f64() / (end - begin).as_secs_f64()
    };
    Load { percent: share(cpu, cpu_after), waited_percent: share(waiting, waiting_after) }
}

/// Asks every millisecond; gives the time it took to become true, or nothing when it did not within the limit.
pub fn within(limit: Duration, mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    let begin = Instant::now();
    loop {
        let elapsed = begin.elapsed();
        if is_so() {
            return Some(elapsed);
        }
        if elapsed >= limit {
            return None;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The cgroups that a daemon of this pid made for its runs.
pub fn run_cgroups(pid: i32) -> Vec<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount =
        mountinfo.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let mut found = Vec::new();
    if let Some(mount) = mount {
        search(Path::new(mount), &format!("ssts-{pid}-"), &mut found);
    }
    found
}

fn search(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path().display().to_string());
            }
            search(&entry.path(), prefix, found);
        }
    }
}

/// State and start time: fields 3 and 22 of a process's or a thread's `stat`.
fn stat(path: &str) -> Option<(char, u64)> {
    let text = fs::read_to_string(path).ok()?;
    // The name before may hold anything.
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}
