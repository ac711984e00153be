//! A process that was killed and may not have ended: whether it is still there, and where in the kernel its threads sleep.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    sys::wait::{WaitPidFlag, waitpid},
    unistd::Pid,
};
use ssts_proto::v1::TracedProcess;

/// Threads that are told one by one: they mostly wait for the same.
const TOLD: usize = 3;

/// What tells a process from a later one of its number.
pub(super) fn traced(pid: i32, kind: &str) -> TracedProcess {
    let text = fs::read_to_string(folder(pid).join("stat")).unwrap_or_default();
    let start_ticks = Stat::parse(&text).map_or(0, |stat| stat.start_ticks);
    TracedProcess { pid: pid.cast_unsigned(), start_ticks, kind: kind.into() }
}

/// What is left of a process, in words; nothing once it is gone. One that has ended is taken from the kernel's books.
///
/// # Errors
/// The kernel does not say.
pub(super) fn life(process: &TracedProcess) -> io::Result<Option<String>> {
    let pid = process.pid.cast_signed();
    // Those of this daemon's own children, wherever the host's procfs is.
    let text = match fs::read_to_string(folder(pid).join("stat")) {
        Ok(text) => text,
        Err(error) if is_gone(&error) => {
            // A procfs that hides it would say the same.
            return fs::read_to_string("/proc/self/stat").map(|_| None);
        }
        Err(error) => return Err(error),
    };
    let stat = Stat::parse(&text).ok_or_else(|| io::Error::other("its stat is not understood"))?;
    if stat.start_ticks != process.start_ticks {
        return Ok(None);
    }
    // The state of a process is that of its first thread, which is `Z` as soon as that one has ended: others may hang.
    if let Some(words) = threads(pid)? {
        return Ok(Some(words));
    }
    // Its number is its own until it is waited for. It may be somebody else's child: then it is theirs to wait for.
    let _not_ours = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
    Ok(None)
}

/// Where the threads of a process are, as far as it can be seen: `4711 (thread 4712 burn-0 in state D in percpu_rwsem_wait)`.
pub(super) fn whereabouts(pid: i32) -> String {
    match threads(pid) {
        Ok(Some(words)) => format!("{pid} ({words})"),
        Ok(None) => format!("{pid} (ended)"),
        Err(_) => pid.to_string(),
    }
}

/// Its threads that have not ended; nothing where all have.
fn threads(pid: i32) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(folder(pid).join("task")) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let living: Vec<String> = entries.flatten().filter_map(|entry| thread(&entry.path())).collect();
    if living.is_empty() {
        return Ok(None);
    }
    let mut words = living.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(more) = living.len().checked_sub(TOLD).filter(|more| *more > 0) {
        words += &format!(" and {more} threads more");
    }
    Ok(Some(words))
}

/// One thread, unless it has ended.
fn thread(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("stat")).ok()?;
    let Stat { name, state, .. } = Stat::parse(&text)?;
    if matches!(state, 'Z' | 'X') {
        return None;
    }
    let tid = folder.file_name()?.to_string_lossy();
    // The function that put it to sleep; "0" where it runs, and for whoever may not trace it: proc_pid_wchan(5).
    let wchan = fs::read_to_string(folder.join("wchan")).unwrap_or_default();
    let place = match wchan.trim() {
        "" | "0" => String::new(),
        place => format!(" in {place}"),
    };
    Some(format!("thread {tid} {name} in state {state}{place}"))
}

/// What /proc/PID/stat says: proc_pid_stat(5).
struct Stat<'a> {
    name: &'a str,
    state: char,
    start_ticks: u64,
}

impl<'a> Stat<'a> {
    /// Fields 2, 3 and 22; the name may hold anything.
    fn parse(text: &'a str) -> Option<Self> {
        let (begin, end) = (text.find('(')?, text.rfind(')')?);
        let mut fields = text[end + 1..].split_whitespace();
        let state = fields.next()?.chars().next()?;
        Some(Self { name: text.get(begin + 1..end)?, state, start_ticks: fields.nth(18)?.parse().ok()? })
    }
}

fn folder(pid: i32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::Instant,
    };

    use super::*;

    fn of(pid: u32) -> TracedProcess {
        traced(pid.cast_signed(), "cpu")
    }

    #[test]
    fn a_process_is_there_until_it_has_ended_and_its_number_says_nothing() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let process = of(child.id());
        assert!(process.start_ticks > 0);
        let begin = Instant::now();
        while !life(&process).unwrap().unwrap().contains("sleep in state S") {
            assert!(begin.elapsed().as_secs() < 10, "{:?}", life(&process));
        }
        let other = TracedProcess { start_ticks: process.start_ticks + 1, ..process.clone() };
        assert_eq!(life(&other).unwrap(), None);
        child.kill().unwrap();
        while life(&process).unwrap().is_some() {
            assert!(begin.elapsed().as_secs() < 20);
        }
        // It was waited for.
        assert!(child.wait().is_err());
        assert_eq!(whereabouts(child.id().cast_signed()), format!("{} (ended)", child.id()));
    }

    #[test]
    fn each_thread_is_told_and_a_name_may_hold_anything() {
        let own = whereabouts(std::process::id().cast_signed());
        assert!(own.contains("in state "), "{own}");
        let stat = Stat::parse("7 (a) b (c) D 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 99 0 0").unwrap();
        assert_eq!((stat.name, stat.state, stat.start_ticks), ("a) b (c", 'D', 99));
        assert!(Stat::parse("7 (a").is_none());
    }
}
