//! Has a probe's program look at this very thread by the offsets that the probe was told: wrong ones are found even where
//! nothing can be done to cause what they are for, such as a victim of the OOM killer.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use ssts_agent_ebpf::shared::own;

use super::{error::ProbeError, program::Programs};
use crate::host::HostRoots;

/// What the program is called in each object that has one.
const PROGRAM: &str = "raw_own";
/// Where it puts down what it found.
const FOUND: &str = "OWN";
/// Other threads of this process may map something at the same moment.
const LOOKS: u32 = 5;
/// Linux keeps so much of a thread's name: TASK_COMM_LEN of include/linux/sched.h.
const NAME: usize = 16;

/// Looks for `parts`, bits of [`own`]. A kernel that runs no program on demand (Linux 5.10 does) leaves them untested.
pub(super) fn look(programs: &Programs, roots: &HostRoots, parts: &[u32]) -> Result<(), ProbeError> {
    let [first, second] = name_masks(roots);
    let found = programs.window::<AtomicU64>(FOUND, 1)?;
    let mut wrong = Vec::new();
    for _ in 0..LOOKS {
        let (least, most) = pages(roots).map_or((0, u64::MAX), |pages| (pages, pages));
        let mut arguments = [0; 12];
        arguments[..4].copy_from_slice(&[first, second, least, most]);
        if !programs.run_apart(PROGRAM, arguments)? {
            tracing::debug!("this kernel runs no program on demand: members of tasks are not tested");
            return Ok(());
        }
        let found = found[0].load(Relaxed);
        wrong = parts.iter().filter(|part| found & u64::from(**part) == 0).map(|part| words(*part)).collect();
        if wrong.is_empty() {
            return Ok(());
        }
    }
    Err(ProbeError::Canary(format!("of the thread that tests it, it can't find {}", wrong.join(" nor "))))
}

fn words(part: u32) -> &'static str {
    match part {
        own::PID => "the number",
        own::TGID => "the process's number",
        own::NAME => "the name",
        _ => "the memory that it has mapped",
    }
}

/// Which bits of its name's two words are known: those of the characters, and of the zero behind them.
fn name_masks(roots: &HostRoots) -> [u64; 2] {
    let name = fs::read(roots.proc("thread-self/comm")).unwrap_or_default();
    masks(name.strip_suffix(b"\n").unwrap_or(&name).len())
}

fn masks(len: usize) -> [u64; 2] {
    let mut known = [0; NAME];
    known[..(len + 1).min(NAME)].fill(0xff);
    [0, NAME / 2].map(|half| u64::from_ne_bytes(std::array::from_fn(|byte| known[half + byte])))
}

/// Pages that this process has mapped: the first field of proc_pid_statm(5).
fn pages(roots: &HostRoots) -> Option<u64> {
    fs::read_to_string(roots.proc("self/statm")).ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_compared_up_to_its_end() {
        let bytes = |len| masks(len).map(u64::to_ne_bytes).concat();
        assert_eq!(bytes(0), [&[0xff][..], &[0; 15]].concat());
        assert_eq!(bytes(9), [&[0xff; 10][..], &[0; 6]].concat());
        assert_eq!(bytes(15), [0xff; 16]);
        assert_eq!(bytes(20), [0xff; 16]);
    }
}
