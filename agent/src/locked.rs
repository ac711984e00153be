//! Memory that stays in RAM. When a run uses up the host's memory, the kernel takes back pages that it can read again, the
//! daemon's own code first; reading them again waits for a disk that the same run saturates. Locked, a guard's reaction waits
//! for no disk. mlockall(2); what is locked and what not: docs/decisions/0011-what-the-watch-path-waits-for.md.
#![expect(unsafe_code, reason = "mlockall(2) and mlock(2) on the process's own mappings")]

use std::{fs, hint::black_box, io, path::Path};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use rustix::thread::CapabilitySet;

use crate::privileges;

/// What the tick's thread uses of its stack at most, several times over.
const STACK_BYTES: usize = 128 << 10;
const PAGE_BYTES: usize = 4_096;

/// How much of this process stays in RAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockedMemory {
    /// All that it has touched or will touch, and all of its code.
    Whole {
        /// Of that code.
        code_bytes: u64,
    },
    /// Nothing, for a reason.
    Nothing {
        /// The kernel's, or ours.
        reason: String,
    },
}

/// Locks what this process has and will have, page by page as it is touched, so that its resident size does not grow by
/// what it never uses; and its code as a whole, because a reaction that was never needed before was never touched.
///
/// Only where no limit can be met later: a limit would make allocations fail in the middle of a run.
pub fn lock() -> LockedMemory {
    let nothing = |reason: String| LockedMemory::Nothing { reason };
    if !is_unlimited() {
        return nothing("the process has no CAP_IPC_LOCK, and RLIMIT_MEMLOCK is limited".into());
    }
    // SAFETY: changes nothing that the program can see but where its pages are.
    let outcome = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if outcome != 0 {
        return nothing(format!("mlockall: {}", io::Error::last_os_error()));
    }
    match lock_code() {
        Ok(code_bytes) => LockedMemory::Whole { code_bytes },
        Err(error) => nothing(format!("the code could not be locked: {error}")),
    }
}

/// Touches as much of the calling thread's stack as it will ever use, so that no page of it has yet to be found.
#[inline(never)]
pub fn touch_stack() {
    let mut stack = [0u8; STACK_BYTES];
    for page in stack.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    black_box(&mut stack);
}

/// Locks every page of this program's executable segments.
fn lock_code() -> io::Result<u64> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let program = fs::read_link("/proc/self/exe")?;
    let mut bytes = 0;
    for (start, end) in code(&maps, &program) {
        // SAFETY: a mapping of this process, whose content the call does not change.
        if unsafe { libc::mlock(start as *const libc::c_void, end - start) } != 0 {
            return Err(io::Error::last_os_error());
        }
        bytes += (end - start) as u64;
    }
    Ok(bytes)
}

/// The executable mappings of a file: proc_pid_maps(5).
fn code<'a>(maps: &'a str, program: &'a Path) -> impl Iterator<Item = (usize, usize)> + 'a {
    maps.lines().filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let is_code = fields.next()?.contains('x');
        // Offset, device and inode stand between; a path may hold blanks.
        let path = line.splitn(6, ' ').nth(5)?.trim_start();
        let range = || Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?));
        if is_code && Path::new(path) == program { range() } else { None }
    })
}

fn is_unlimited() -> bool {
    privileges::at_start().contains(CapabilitySet::IPC_LOCK)
        || getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_taken() {
        let maps = "55e0a0000000-55e0a0460000 r--p 00000000 08:01 123                        /usr/bin/sst sd\n\
                    55e0a0460000-55e0a0d00000 r-xp 00460000 08:01 123                        /usr/bin/sst sd\n\
                    7f0000000000-7f0000100000 r-xp 00000000 08:01 9                          /usr/lib/libc.so.6\n\
                    7f0000200000-7f0000201000 rw-p 00000000 00:00 0\n\
                    7ffd0000-7ffd1000 r-xp 00000000 00:00 0                          [vdso]\n";
        let found: Vec<_> = code(maps, Path::new("/usr/bin/sst sd")).collect();
        assert_eq!(found, [(0x55e0_a046_0000, 0x55e0_a0d0_0000)]);
    }

    #[test]
    fn a_stack_can_be_touched_in_a_thread_of_the_default_size() {
        std::thread::spawn(touch_stack).join().unwrap();
    }
}
