//! Whether a host has room for what a phase asks: on its file systems and in memory.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use nix::sys::{
    statfs::{TMPFS_MAGIC, statfs},
    statvfs::statvfs,
};
use ssts_proto::validate::Violations;

use super::others::Others;
use crate::{
    apart::apart,
    burn::{
        disk::{DiskLoad, Place},
        memory::{HUGE_BYTES, Method, Pages},
        plan::{Load, Plan},
    },
    host::{HostRoots, MemoryRoom},
};

/// A disk under load takes its time for a new file; one that is dead takes it all.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The disk burners of a phase, with their places in it and their jobs.
fn disks(plans: &[Plan]) -> impl Iterator<Item = (usize, &DiskLoad, u64)> {
    plans.iter().enumerate().filter_map(|(index, plan)| match &plan.load {
        Load::Disk(load) => Some((index, load, plan.cores.len() as u64)),
        Load::Cpu(_) | Load::Memory(_) | Load::Network(_) | Load::Http(_) => None,
    })
}

/// All files of a phase together must fit, with the reserve, on each file system. `phase` is its place in the message.
pub(super) fn check_disks(
    phase: &str,
    plans: &[Plan],
    reserve_bytes: u64,
    others: &Others,
    found: &mut Violations,
) {
    let mut asked: Vec<(u64, u64)> = Vec::new();
    for (index, load, jobs) in disks(plans).filter(|(_, load, _)| load.place == Place::Folder) {
        let (Ok(metadata), Ok(space)) = (fs::metadata(&load.path), statvfs(&load.path)) else { continue };
        let before = asked.iter().position(|(device, _)| *device == metadata.dev()).unwrap_or_else(|| {
            asked.push((metadata.dev(), 0));
            asked.len() - 1
        });
        let bytes = asked[before].1.saturating_add(load.size_bytes.saturating_mul(jobs));
        asked[before].1 = bytes;
        let unit = space.fragment_size();
        let (whole, free) = (space.blocks() * unit, space.blocks_available() * unit);
        let promised = others.promised_room(metadata.dev());
        if bytes > free.saturating_sub(reserve_bytes).saturating_sub(promised.bytes) {
            found.add(
                format!("{phase}.burners[{index}].size_bytes"),
                format!(
                    "{bytes} bytes are more than the file system of {} can give: {free} of {whole} bytes are free, \
                     {reserve_bytes} of them are kept in reserve{promised}",
                    load.path.display()
                ),
                "choose a smaller size, free some space, or choose another folder",
            );
            let left = free.saturating_sub(promised.bytes);
            found.name_rule("limits.disk_reserve_bytes", left.saturating_sub(bytes), reserve_bytes);
        }
    }
}

/// Memory that is to be filled, buffers, and files of file systems that live in memory must fit above what the guard
/// keeps available, and inside the limits of the cgroups around the agent.
pub(super) fn check_memory(
    phase: &str,
    plans: &[Plan],
    reserve_bytes: u64,
    roots: &HostRoots,
    others: &Others,
    found: &mut Violations,
) {
    let promised = others.promised_memory();
    let Some(left) = MemoryRoom::new(roots, None).tightest(reserve_bytes) else { return };
    let mut asked = 0u64;
    let mut pool_bytes = free_pool_bytes(roots);
    for (index, plan) in plans.iter().enumerate() {
        let Some(mut want) = Want::of(plan) else { continue };
        let pooled = from_pool(plan, pool_bytes);
        pool_bytes -= pooled;
        want.bytes = want.bytes.saturating_sub(pooled);
        asked = asked.saturating_add(want.bytes);
        if asked > left.usable_bytes().saturating_sub(promised.bytes) {
            found.add(
                format!("{phase}.burners[{index}].{}", want.field),
                format!("{} are more than the memory can hold: {left}{promised}", want.what),
                want.mend,
            );
            let rest = left.available_bytes.saturating_sub(promised.bytes).saturating_sub(asked);
            found.name_rule("limits.min_available_memory_bytes", rest, reserve_bytes);
        }
    }
}

/// Huge pages that the burners of this host may take: they are no part of what is available otherwise.
fn free_pool_bytes(roots: &HostRoots) -> u64 {
    let free = roots.sys("kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    let pages = fs::read_to_string(free).ok().and_then(|text| text.trim().parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(HUGE_BYTES as u64)
}

/// What a burner takes out of a pool with so much left. A worker takes all of its part there or, where that doesn't fit,
/// none.
fn from_pool(plan: &Plan, mut pool_bytes: u64) -> u64 {
    let Load::Memory(load) = &plan.load else { return 0 };
    if load.pages != Pages::Huge {
        return 0;
    }
    let before = pool_bytes;
    let workers = plan.cores.len();
    for worker in 0..workers {
        let part = load.share_bytes(worker, workers).next_multiple_of(HUGE_BYTES as u64);
        pool_bytes = pool_bytes.checked_sub(part).unwrap_or(pool_bytes);
    }
    before - pool_bytes
}

/// Bytes that a burner takes of the host's memory.
pub(super) fn memory_bytes(plan: &Plan) -> u64 {
    match &plan.load {
        Load::Cpu(load) => load.memory_bytes(plan.cores.len() as u64),
        _ => Want::of(plan).map_or(0, |want| want.bytes),
    }
}

/// What a burner needs of the host's memory.
struct Want {
    bytes: u64,
    field: &'static str,
    what: String,
    mend: &'static str,
}

impl Want {
    fn of(plan: &Plan) -> Option<Self> {
        match &plan.load {
            Load::Cpu(_) | Load::Network(_) | Load::Http(_) => None,
            Load::Disk(load) => Some(Self::of_disk(load, plan.cores.len() as u64)),
            // They feel their way.
            Load::Memory(load) if matches!(load.method, Method::Pressure(_) | Method::Occupy(_)) => None,
            Load::Memory(load) => Some(Self {
                bytes: load.size_bytes,
                field: "size_bytes",
                what: format!("{} bytes", load.size_bytes),
                mend: "choose a smaller size",
            }),
        }
    }

    fn of_disk(load: &DiskLoad, jobs: u64) -> Self {
        let in_memory = load.place == Place::Folder && lives_in_memory(&load.path);
        let file = if in_memory { load.size_bytes.saturating_mul(jobs) } else { 0 };
        let buffers = load.memory_bytes().saturating_mul(jobs);
        let (field, what) = if file > buffers {
            ("size_bytes", format!("{file} bytes of files in memory ({})", load.path.display()))
        } else if load.verify {
            ("size_bytes", format!("{buffers} bytes for blocks in flight and what verification remembers"))
        } else {
            let (depth, block_bytes) = (u64::from(load.depth) * jobs, load.largest_block());
            ("depth", format!("{depth} blocks of {block_bytes} bytes in flight"))
        };
        let bytes = file.saturating_add(buffers);
        Self { bytes, field, what, mend: "choose a smaller size, depth or block size" }
    }
}

fn lives_in_memory(path: &Path) -> bool {
    statfs(path).is_ok_and(|file_system| file_system.filesystem_type() == TMPFS_MAGIC)
}

/// Whether an unnamed file can be made in `path`. Tries the very thing that the burner will do: make an unnamed file there.
pub(super) fn check_folder(field: &str, path: &Path, found: &mut Violations) -> Option<()> {
    let folder = path.to_owned();
    let (message, mend) = match apart("try-folder", ANSWERS_WITHIN, move || try_folder(&folder)) {
        Ok(Some(Ok(()))) => return Some(()),
        Ok(Some(Err(refusal))) => refusal,
        Ok(None) => (
            format!("the file system of {} does not answer within {ANSWERS_WITHIN:?}", path.display()),
            "see whether its disk works, or choose another folder",
        ),
        Err(error) => (format!("{} could not be tried: {error}", path.display()), "see the agent's log"),
    };
    found.add(field, message, mend);
    None
}

/// What speaks against it, with the mend.
fn try_folder(path: &Path) -> Result<(), (String, &'static str)> {
    Err(match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => (format!("{} is no folder", path.display()), "name a folder"),
        Ok(_) => match tempfile::tempfile_in(path) {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) => (
                format!("the file system of {} is full", path.display()),
                "free some space or choose another folder",
            ),
            Err(error) => (
                format!("the agent can't make a file in {}: {}", path.display(), plain(&error)),
                "make it writable for the agent's user or choose another folder",
            ),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (format!("{} does not exist", path.display()), "make the folder or choose another")
        }
        Err(error) => (
            format!("{} can't be used: {}", path.display(), plain(&error)),
            "choose a folder that the agent may use",
        ),
    })
}

/// The kernel's words, without what Rust adds around them.
pub(super) fn plain(error: &io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |errno| nix::errno::Errno::from_raw(errno).desc().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        burn::{cpu::Isa, memory::MemoryLoad, profile::LoadProfile},
        observe::procfs::test_tree::TestTree,
    };

    #[test]
    fn huge_pages_come_out_of_their_pool_as_far_as_it_goes() {
        // 40 MiB are available, and 10 pages in the pool.
        let tree = TestTree::new(&[
            ("proc/meminfo", "MemAvailable: 73728 kB\n"),
            ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "10\n"),
        ]);
        let refused = |pages, mib: u64| {
            let load = MemoryLoad {
                size_bytes: mib << 20,
                method: Method::Fill,
                pages,
                nodes: Vec::new(),
                fill_bytes_per_s: None,
                floor_bytes: 0,
                profile: LoadProfile::FULL,
                isa: Isa::Portable,
                inject_error: None,
                roots: tree.roots(),
            };
            let load = Load::Memory(load);
            let plan = Plan {
                cores: vec![0, 1],
                phase: Duration::from_secs(1),
                seed: 1,
                load,
                rate_tolerance: None,
            };
            let mut found = Violations::default();
            check_memory("p", &[plan], 0, &tree.roots(), &Others::default(), &mut found);
            !found.into_vec().is_empty()
        };
        assert!(!refused(Pages::Small, 40) && refused(Pages::Small, 41));
        // One of the two workers finds its part in the pool.
        assert!(!refused(Pages::Huge, 20) && !refused(Pages::Huge, 40));
        // None does: transparent pages are what it becomes.
        assert!(refused(Pages::Huge, 44));
    }
}
