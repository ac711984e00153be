//! Which processes beside the burners used the host during a run: by CPU time and by I/O to devices. Wide and slow, so on a thread
//! of its own, and only while there is a run.

use std::{
    collections::HashMap,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use procfs::process::{Process, all_processes_with_root};
use ssts_proto::v1::ProcessUse;
use tracing::warn;

use crate::host::HostRoots;

/// Between two looks: what lives for a shorter time may be missed. A look reads a file of each process, some 15 µs.
const PERIOD: Duration = Duration::from_secs(2);
/// Before the first look, which would keep burners from their cores just when they start.
const FIRST: Duration = Duration::from_millis(200);
/// What the last look may take: the kernel keeps whoever reads of a process that hangs in execve(2), and no run waits for that.
const PATIENCE: Duration = Duration::from_secs(2);
/// Told by CPU time, and as many by I/O.
const TOLD: usize = 10;
/// Processes that are remembered: a host that forks without end must not fill the agent.
const MAX_KNOWN: usize = 16_384;
/// Of a second: USER_HZ, 100 on every architecture that we build for.
const TICKS_PER_S: u64 = 100;
const NS_PER_S: u64 = 1_000_000_000;

/// The thread that looks.
#[derive(Debug)]
pub(super) struct Busiest {
    stop: Sender<()>,
    seen: Receiver<Known>,
}

/// A process by its id and start: ids are used again.
type Key = (i32, u64);
type Known = HashMap<Key, Use>;

/// What a process had used when it was first seen, and last.
#[derive(Debug)]
struct Use {
    command: String,
    cpu_ticks: (u64, u64),
    /// Read and written; not to be seen for processes of others without privileges.
    io_bytes: Option<([u64; 2], [u64; 2])>,
}

impl Busiest {
    /// Looks from now on.
    pub(super) fn start(roots: &HostRoots) -> Self {
        let ((stop, stopped), (done, seen)) = (mpsc::channel(), mpsc::channel());
        let proc = roots.proc.clone();
        let watch = move || {
            let own = std::process::id().cast_signed();
            let mut known = Known::new();
            let mut wait = FIRST;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                look(&proc, own, &mut known);
                wait = PERIOD;
            }
            // Whoever was never looked at has gained nothing.
            if !known.is_empty() {
                look(&proc, own, &mut known);
            }
            let _nobody_waits_any_more = done.send(known);
        };
        let thread = thread::Builder::new().name("busiest".into()).spawn(watch);
        if let Err(error) = &thread {
            warn!(%error, "no thread to follow other processes with");
        }
        Self { stop, seen }
    }

    /// Looks once more; the busiest by CPU time, then those by I/O that are not among them.
    pub(super) fn finish(self) -> Vec<ProcessUse> {
        // It waits for this and for nothing else.
        let _told = self.stop.send(());
        match self.seen.recv_timeout(PATIENCE) {
            Ok(known) => busiest(&known),
            Err(error) => {
                warn!(%error, "what other processes used is not known");
                Vec::new()
            }
        }
    }
}

fn look(proc: &std::path::Path, own: i32, known: &mut Known) {
    // What can't be read has ended, or is hidden from us.
    for process in all_processes_with_root(proc).into_iter().flatten().flatten() {
        let Ok(stat) = process.stat() else { continue };
        if stat.pid == own || stat.ppid == own {
            continue;
        }
        let cpu_ticks = stat.utime + stat.stime;
        let key = (stat.pid, stat.starttime);
        let has_room = known.len() < MAX_KNOWN;
        match known.get_mut(&key) {
            // One that used no CPU time did no I/O either.
            Some(seen) if seen.cpu_ticks.1 == cpu_ticks => {}
            Some(seen) => {
                seen.cpu_ticks.1 = cpu_ticks;
                if let (Some((_, last)), Some(now)) = (&mut seen.io_bytes, io_bytes(&process)) {
                    *last = now;
                }
            }
            None if has_room => {
                let io_bytes = io_bytes(&process).map(|now| (now, now));
                known.insert(key, Use { command: stat.comm, cpu_ticks: (cpu_ticks, cpu_ticks), io_bytes });
            }
            None => {}
        }
    }
}

/// What it caused to be read from and written to devices: proc_pid_io(5).
fn io_bytes(process: &Process) -> Option<[u64; 2]> {
    process.io().ok().map(|io| [io.read_bytes, io.write_bytes])
}

fn busiest(known: &Known) -> Vec<ProcessUse> {
    let mut all: Vec<ProcessUse> = known.iter().map(|((pid, _), used)| used.message(*pid)).collect();
    let io = |used: &ProcessUse| used.read_bytes.unwrap_or_default() + used.written_bytes.unwrap_or_default();
    all.retain(|used| used.cpu_time_ns > 0 || io(used) > 0);
    all.sort_by_key(|used| (std::cmp::Reverse(used.cpu_time_ns), used.pid));
    let mut others = all.split_off(TOLD.min(all.len()));
    others.retain(|used| io(used) > 0);
    others.sort_by_key(|used| (std::cmp::Reverse(io(used)), used.pid));
    all.extend(others.into_iter().take(TOLD));
    all
}

impl Use {
    fn message(&self, pid: i32) -> ProcessUse {
        let gained =
            |which: usize| self.io_bytes.map(|(first, last)| last[which].saturating_sub(first[which]));
        ProcessUse {
            pid: pid.cast_unsigned(),
            command: self.command.clone(),
            cpu_time_ns: self.cpu_ticks.1.saturating_sub(self.cpu_ticks.0) * (NS_PER_S / TICKS_PER_S),
            read_bytes: gained(0),
            written_bytes: gained(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(command: &str, ticks: u64, io: Option<u64>) -> Use {
        let io_bytes = io.map(|bytes| ([100, 100], [100 + bytes, 100]));
        Use { command: command.into(), cpu_ticks: (50, 50 + ticks), io_bytes }
    }

    #[test]
    fn the_busiest_come_first_then_those_by_io_and_the_idle_are_left_out() {
        let mut known: Known = (0..20).map(|n| ((n, 0), used("cc1", 10 + n as u64, Some(0)))).collect();
        known.insert((100, 0), used("dd", 1, Some(4_096)));
        known.insert((101, 0), used("idle", 0, Some(0)));
        known.insert((102, 0), used("hidden", 9, None));
        let told = busiest(&known);
        assert_eq!(told.len(), TOLD + 1);
        assert_eq!((told[0].pid, told[0].cpu_time_ns), (19, 290_000_000));
        assert_eq!((told[TOLD].command.as_str(), told[TOLD].read_bytes), ("dd", Some(4_096)));
    }

    #[test]
    fn a_process_that_is_no_child_is_followed() {
        // Whoever started this test.
        let parent = nix::unistd::getppid().as_raw();
        let mut known = Known::new();
        look(std::path::Path::new("/proc"), std::process::id().cast_signed(), &mut known);
        assert!(known.keys().any(|(pid, _)| *pid == parent));
        assert!(known.keys().all(|(pid, _)| *pid != std::process::id().cast_signed()));
    }
}
