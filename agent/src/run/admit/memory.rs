//! What a memory burner becomes on this host.

use std::{fs, path::Path, time::Duration};

use ssts_proto::{
    v1::{
        CpuIsa, MemoryBurner, MemoryLoop, MemoryMethod, MemoryPages, MemoryPattern,
        memory_burner::{Size, Target as WantedTarget},
    },
    validate::{MAX_SIZE_BYTES, MIN_SHARE_BYTES, Violations},
};

use super::{Offer, cpu::choose_isa, occupied};
use crate::{
    burn::{
        memory::{MemoryLoad, Method, Pages, Pattern, StreamLoop, Target},
        plan::{Load, Plan},
        profile::{LoadProfile, Shape},
    },
    host::{HostRoots, MemoryRoom},
};

/// Data that is so many times the last cache has left it when it is read again, whatever the cache prefers to keep.
const TIMES_CACHE: u64 = 4;

/// Its cores and what they do; fills in what was left open.
pub(super) fn plan(
    offer: &Offer<'_>,
    field: &str,
    memory: &mut MemoryBurner,
    found: &mut Violations,
) -> Option<(Vec<u32>, Load)> {
    let isa = choose_isa(field, memory.isa(), found)?;
    let cores = offer.choose_cores(field, &memory.cores, found)?;
    memory.cores.clone_from(&cores);
    memory.set_isa(CpuIsa::from(isa));
    let size_bytes = if memory.method() == MemoryMethod::Occupy {
        occupied::size_bytes(
            (offer.roots, offer.limits.min_available_memory_bytes),
            field,
            memory,
            cores.len(),
            found,
        )?
    } else {
        size_bytes(offer.roots, field, memory, cores.len(), found)?
    };
    if let Some(worker) = memory.inject_error_worker.filter(|worker| *worker as usize >= cores.len()) {
        found.add(
            format!("{field}.inject_error_worker"),
            format!("there is no worker {worker}: the burner has {}, counted from 0", cores.len()),
            format!("choose 0 to {}", cores.len() - 1),
        );
        return None;
    }
    let nodes = nodes(offer.roots, field, memory.numa_node, &cores, found)?;
    let method = method(offer.roots, field, memory, (size_bytes, &cores), found)?;
    if memory.pages() == MemoryPages::Unspecified {
        let pages = if method == Method::Fault { MemoryPages::Small } else { MemoryPages::Transparent };
        memory.set_pages(pages);
    }
    let load = MemoryLoad {
        size_bytes,
        method,
        pages: match memory.pages() {
            MemoryPages::Small => Pages::Small,
            MemoryPages::Unspecified | MemoryPages::Transparent => Pages::Transparent,
            MemoryPages::Huge => Pages::Huge,
        },
        nodes,
        fill_bytes_per_s: memory.fill_bytes_per_s,
        floor_bytes: offer.limits.min_available_memory_bytes,
        profile: LoadProfile::from_message(memory.load.as_ref()),
        isa,
        inject_error: memory.inject_error_worker,
        roots: offer.roots.clone(),
    };
    Some((cores, Load::Memory(load)))
}

/// What must stay available is known only when all limits are.
pub(super) fn keep_floor(plans: &mut [Plan], floor_bytes: u64) {
    for plan in plans {
        if let Load::Memory(load) = &mut plan.load {
            load.floor_bytes = floor_bytes;
        }
    }
}

/// In whole pages; a percentage is taken of what there is now.
fn size_bytes(
    roots: &HostRoots,
    field: &str,
    memory: &mut MemoryBurner,
    workers: usize,
    found: &mut Violations,
) -> Option<u64> {
    let (asked, name) = match memory.size? {
        Size::SizeBytes(bytes) => (bytes, "size_bytes"),
        Size::SizePercent(percent) => {
            let Some(left) = MemoryRoom::new(roots, None).tightest(0) else {
                found.add(
                    format!("{field}.size_percent"),
                    "it can't be read how much memory is available",
                    "give the size in bytes",
                );
                return None;
            };
            ((left.available_bytes as f64 * percent / 100.0) as u64, "size_percent")
        }
    };
    let least = MIN_SHARE_BYTES * workers as u64;
    if asked < least || asked > MAX_SIZE_BYTES {
        found.add(
            format!("{field}.{name}"),
            format!("{asked} bytes for {workers} workers"),
            format!("use at least {least} bytes, {MIN_SHARE_BYTES} for each worker"),
        );
        return None;
    }
    let bytes = asked.next_multiple_of(MIN_SHARE_BYTES);
    memory.size = Some(Size::SizeBytes(bytes));
    Some(bytes)
}

/// For each worker the node that its memory comes from; none where the kernel knows no nodes.
fn nodes(
    roots: &HostRoots,
    field: &str,
    asked: Option<u32>,
    cores: &[u32],
    found: &mut Violations,
) -> Option<Vec<u32>> {
    let folder = roots.sys("devices/system/node");
    let all = numbers_after("node", &folder);
    if let Some(node) = asked {
        if !all.contains(&node) {
            let names: Vec<_> = all.iter().map(u32::to_string).collect();
            found.add(
                format!("{field}.numa_node"),
                format!("this host has no NUMA node {node}"),
                format!("choose among {}", names.join(", ")),
            );
            return None;
        }
        return Some(vec![node; cores.len()]);
    }
    let node_of =
        |core: &u32| all.iter().copied().find(|node| folder.join(format!("node{node}/cpu{core}")).exists());
    // All or none: where a core's node is unknown, the kernel's own choice is the local one.
    Some(cores.iter().map(node_of).collect::<Option<_>>().unwrap_or_default())
}

fn numbers_after(prefix: &str, folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn method(
    roots: &HostRoots,
    field: &str,
    memory: &mut MemoryBurner,
    (size_bytes, cores): (u64, &[u32]),
    found: &mut Violations,
) -> Option<Method> {
    if memory.method() == MemoryMethod::Unspecified {
        memory.set_method(MemoryMethod::Fill);
    }
    Some(match memory.method() {
        MemoryMethod::Unspecified | MemoryMethod::Fill => Method::Fill,
        MemoryMethod::Stream => Method::Stream(loops(memory)),
        MemoryMethod::Read => Method::Read,
        MemoryMethod::Write => Method::Write,
        MemoryMethod::Latency => Method::Latency,
        MemoryMethod::Verify => Method::Verify {
            patterns: patterns(memory),
            delay: Duration::from_millis(memory.delay_ms.unwrap_or(0)),
            exceeds_caches: exceeds_caches(roots, size_bytes, cores),
        },
        MemoryMethod::Fault => Method::Fault,
        MemoryMethod::Occupy => Method::Occupy(Shape::from_message(memory.used.as_ref()?.shape.as_ref()?)),
        MemoryMethod::Pressure => Method::Pressure(target(roots, field, memory.target?, found)?),
    })
}

/// What was asked for, or all.
fn loops(memory: &mut MemoryBurner) -> Vec<StreamLoop> {
    if memory.loops.is_empty() {
        let all = [MemoryLoop::Copy, MemoryLoop::Scale, MemoryLoop::Add, MemoryLoop::Triad];
        memory.loops = all.map(i32::from).into();
    }
    let one = |kind| match kind {
        MemoryLoop::Unspecified | MemoryLoop::Copy => StreamLoop::Copy,
        MemoryLoop::Scale => StreamLoop::Scale,
        MemoryLoop::Add => StreamLoop::Add,
        MemoryLoop::Triad => StreamLoop::Triad,
    };
    memory.loops().map(one).collect()
}

/// What was asked for, or all.
fn patterns(memory: &mut MemoryBurner) -> Vec<Pattern> {
    if memory.patterns.is_empty() {
        let all = [
            MemoryPattern::Walking,
            MemoryPattern::Checkerboard,
            MemoryPattern::Inversions,
            MemoryPattern::Random,
            MemoryPattern::Address,
        ];
        memory.patterns = all.map(i32::from).into();
    }
    let one = |pattern| match pattern {
        MemoryPattern::Unspecified | MemoryPattern::Walking => Pattern::WalkingOnes,
        MemoryPattern::Checkerboard => Pattern::Checkerboard,
        MemoryPattern::Inversions => Pattern::MovingInversions,
        MemoryPattern::Random => Pattern::Random,
        MemoryPattern::Address => Pattern::Address,
    };
    memory.patterns().map(one).collect()
}

fn target(roots: &HostRoots, field: &str, wanted: WantedTarget, found: &mut Violations) -> Option<Target> {
    let target = match wanted {
        WantedTarget::StalledPercent(percent) => Target::Stalled(percent / 100.0),
        WantedTarget::ReclaimedBytesPerS(bytes) => Target::ReclaimedPerS(bytes),
    };
    if matches!(target, Target::Stalled(_)) && fs::read(roots.proc("pressure/memory")).is_err() {
        found.add(
            format!("{field}.stalled_percent"),
            "this kernel does not tell how long tasks wait for memory",
            "boot it with psi=1 (CONFIG_PSI), or ask for reclaimed bytes a second",
        );
        return None;
    }
    Some(target)
}

/// Whether the workers behind each last cache have so much memory between them that a sweep empties it.
fn exceeds_caches(roots: &HostRoots, size_bytes: u64, cores: &[u32]) -> bool {
    let Some(caches) = cores.iter().map(|core| last_cache(roots, *core)).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let share_bytes = size_bytes / cores.len().max(1) as u64;
    caches.iter().all(|(sharers, cache_bytes)| {
        let workers = caches.iter().filter(|(others, _)| others == sharers).count() as u64;
        share_bytes.saturating_mul(workers) >= cache_bytes.saturating_mul(TIMES_CACHE)
    })
}

/// Who shares the largest cache that a core has, and its bytes: `/sys/devices/system/cpu/cpu0/cache/index*/size`, such as
/// `266240K`, and `shared_cpu_list`. A host may have several of them.
fn last_cache(roots: &HostRoots, core: u32) -> Option<(String, u64)> {
    let folder = roots.sys(format!("devices/system/cpu/cpu{core}/cache"));
    let read = |index: u32, name: &str| fs::read_to_string(folder.join(format!("index{index}/{name}"))).ok();
    let size = |index: u32| -> Option<(u64, u32)> {
        let kib = read(index, "size")?.trim().strip_suffix('K')?.parse::<u64>().ok()?;
        Some((kib << 10, index))
    };
    let (bytes, index) = numbers_after("index", &folder).into_iter().filter_map(size).max()?;
    Some((read(index, "shared_cpu_list").unwrap_or_else(|| core.to_string()), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::TestTree;

    #[test]
    fn a_worker_takes_the_memory_of_its_cores_node() {
        let tree = TestTree::new(&[
            ("sys/devices/system/node/node0/cpu0/x", ""),
            ("sys/devices/system/node/node0/cpu1/x", ""),
            ("sys/devices/system/node/node2/cpu4/x", ""),
        ]);
        let mut found = Violations::default();
        let mut of = |asked, cores: &[u32]| nodes(&tree.roots(), "m", asked, cores, &mut found);
        assert_eq!(of(None, &[0, 4, 1]), Some(vec![0, 2, 0]));
        assert_eq!(of(Some(2), &[0, 1]), Some(vec![2, 2]));
        assert_eq!(of(None, &[0, 9]), Some(vec![]));
        assert_eq!(of(Some(1), &[0]), None);
        let violation = found.into_vec().remove(0);
        assert_eq!(violation.field, "m.numa_node");
        assert!(violation.mend.contains("0, 2"), "{}", violation.mend);
    }

    #[test]
    fn each_last_cache_has_to_be_exceeded_by_those_behind_it() {
        let tree = TestTree::new(&[
            ("sys/devices/system/cpu/cpu0/cache/index0/size", "48K\n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/size", "32768K\n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list", "0-1\n"),
            ("sys/devices/system/cpu/cpu1/cache/index3/size", "32768K\n"),
            ("sys/devices/system/cpu/cpu1/cache/index3/shared_cpu_list", "0-1\n"),
            ("sys/devices/system/cpu/cpu2/cache/index3/size", "32768K\n"),
            ("sys/devices/system/cpu/cpu2/cache/index3/shared_cpu_list", "2-3\n"),
        ]);
        let roots = tree.roots();
        assert_eq!(last_cache(&roots, 0), Some(("0-1\n".into(), 32 << 20)));
        let exceeds = |mib: u64, cores: &[u32]| exceeds_caches(&roots, mib << 20, cores);
        assert!(exceeds(128, &[0, 1]) && !exceeds(127, &[0, 1]));
        // Two caches take twice as much, more where the memory is not shared out evenly between them.
        assert!(exceeds(256, &[0, 2]) && !exceeds(255, &[0, 2]));
        assert!(exceeds(384, &[0, 1, 2]) && !exceeds(383, &[0, 1, 2]));
        // A core of which nothing is known.
        assert!(!exceeds(1 << 20, &[0, 9]));
    }

    #[test]
    fn stalls_are_no_target_where_the_kernel_does_not_tell_them() {
        let tree = TestTree::new(&[]);
        let mut found = Violations::default();
        assert_eq!(target(&tree.roots(), "m", WantedTarget::StalledPercent(10.0), &mut found), None);
        assert!(found.into_vec().remove(0).mend.contains("psi=1"));
    }
}
