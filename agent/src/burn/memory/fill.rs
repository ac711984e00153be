//! Makes a worker's part resident: as fast as can be or at a rate, and never so far that the host or a cgroup runs short.

use std::{
    fs,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::{BLOCK_BYTES, HUGE_BYTES, MemoryLoad, Pages, region::Region};
use crate::{
    burn::{BurnError, worker::Reins},
    host::{MemoryRoom, field_bytes},
};

/// Made resident between two looks at the command and at what is left: some 1 ms where the host has the memory at hand.
const PIECE_BYTES: usize = 8 << 20;
/// The longest nap of a fill at a rate.
const NAP: Duration = Duration::from_millis(5);
/// Huge pages were asked for, and less than this share of the memory has become such.
const ENOUGH_HUGE: f64 = 0.9;

/// What a fill came to.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) region: Region,
    /// Why it stopped short.
    pub(super) shortage: Option<String>,
}

/// Addresses for a worker's part, bound to its node. Where pages of the pool are asked for and are not there, transparent
/// ones it is, with a notice.
pub(super) fn reserve(
    load: &MemoryLoad,
    node: Option<u32>,
    bytes: usize,
) -> Result<(Region, Vec<String>), BurnError> {
    let mut notices = Vec::new();
    let reserved = |source| BurnError::Memory { what: "reserved", source };
    let region = match Region::reserve(bytes, load.pages) {
        Err(error) if load.pages == Pages::Huge => {
            notices.push(format!(
                "the pool has not {} pages of 2 MiB ({error}), transparent ones are used; raise \
                 /proc/sys/vm/nr_hugepages",
                bytes.div_ceil(HUGE_BYTES)
            ));
            Region::reserve(bytes, Pages::Transparent).map_err(reserved)?
        }
        outcome => outcome.map_err(reserved)?,
    };
    if let Some(node) = node
        && let Err(error) = region.bind(node)
    {
        notices.push(format!(
            "memory can't be bound to NUMA node {node}: {error}; the kernel chooses where it is"
        ));
    }
    Ok((region, notices))
}

/// Fills `bytes` of a region, or as much as can be had.
pub(super) fn fill(
    load: &MemoryLoad,
    node: Option<u32>,
    mut region: Region,
    bytes: usize,
    reins: &Reins,
) -> Result<Filled, BurnError> {
    let (_, workers) = reins.place();
    let room = MemoryRoom::new(&load.roots, node);
    let rate = load.fill_bytes_per_s.map(|rate| rate as f64 / workers as f64);
    let piece = rate.map_or(PIECE_BYTES, |rate| piece_at(rate, region.pages()));
    let begin = Instant::now();
    while region.resident_bytes() < bytes {
        let due = rate.map(|rate| begin + Duration::from_secs_f64(region.resident_bytes() as f64 / rate));
        nap_until(due, reins)?;
        let piece = piece.min(bytes - region.resident_bytes());
        // Other workers take as much at the same time.
        let wanted = (piece * workers) as u64;
        // Pages of the pool were taken from the host before: what it has left says nothing about them.
        let left = if region.pages() == Pages::Huge { None } else { room.tightest(load.floor_bytes) };
        if let Some(left) = left.filter(|left| left.usable_bytes() < wanted) {
            let shortage = short(&region, bytes, &left.to_string());
            return Ok(Filled { region, shortage: Some(shortage) });
        }
        if let Err(error) = region.grow(piece) {
            let shortage = short(&region, bytes, &format!("the kernel gives no more: {error}"));
            return Ok(Filled { region, shortage: Some(shortage) });
        }
        let ppm = region.resident_bytes() as u128 * 1_000_000 / bytes as u128;
        reins.slot().prepared_ppm.store(ppm as u32, Ordering::Relaxed);
    }
    Ok(Filled { region, shortage: None })
}

fn short(region: &Region, bytes: usize, why: &str) -> String {
    format!("only {} of {bytes} bytes could be had: {why}", region.resident_bytes())
}

/// What comes in 10 ms at that rate, in whole pages.
fn piece_at(rate: f64, pages: Pages) -> usize {
    let page = if pages == Pages::Small { BLOCK_BYTES } else { HUGE_BYTES };
    ((rate / 100.0) as usize).next_multiple_of(page).clamp(page, PIECE_BYTES)
}

/// Looks at the command at least once.
fn nap_until(due: Option<Instant>, reins: &Reins) -> Result<(), BurnError> {
    loop {
        if !reins.go_on() {
            return Err(BurnError::Interrupted);
        }
        let left = due.map(|due| due.saturating_duration_since(Instant::now())).unwrap_or_default();
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(NAP));
    }
}

/// Keeps it from being swapped out; a notice where that can't be.
pub(super) fn keep(load: &MemoryLoad, region: &Region) -> Option<String> {
    let meminfo = fs::read_to_string(load.roots.proc("meminfo")).unwrap_or_default();
    let swap = field_bytes(&meminfo, "SwapTotal:").unwrap_or(0);
    if swap == 0 {
        // Without swap there is nowhere else for it to go.
        return None;
    }
    let error = region.lock().err()?;
    Some(format!("memory may be swapped out: it could not be locked: {error}; give the agent CAP_IPC_LOCK"))
}

/// Which part of the region is in transparent huge pages; none for pages of another kind.
pub(super) fn huge_share(region: &Region) -> Option<f64> {
    if region.pages() != Pages::Transparent || region.resident_bytes() == 0 {
        return None;
    }
    let address = region.blocks().as_ptr().addr();
    let bytes = huge_bytes(&fs::read_to_string("/proc/self/smaps").ok()?, address, region.bytes())?;
    Some(bytes as f64 / region.resident_bytes() as f64)
}

/// `AnonHugePages` of the mapping at an address: proc_pid_smaps(5). Mappings that the kernel merged count to their part.
fn huge_bytes(smaps: &str, address: usize, bytes: usize) -> Option<usize> {
    let mut inside = false;
    let mut whole = 0;
    for line in smaps.lines() {
        let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        if let Some((start, end)) = range {
            let start = usize::from_str_radix(start, 16);
            let end = usize::from_str_radix(end, 16);
            if let (Ok(start), Ok(end)) = (start, end) {
                inside = start <= address && address < end;
                whole = end.saturating_sub(start);
            }
        } else if inside && let Some(kb) = line.strip_prefix("AnonHugePages:") {
            let kb: usize = kb.trim().trim_end_matches(" kB").parse().ok()?;
            let share = (bytes as f64 / whole.max(1) as f64).min(1.0);
            return Some(((kb << 10) as f64 * share) as usize);
        }
    }
    None
}

/// A notice where huge pages were asked for and the kernel had too few at hand.
pub(super) fn missing_huge_pages(load: &MemoryLoad, share: Option<f64>, core: u32) -> Option<String> {
    let share = share.filter(|share| load.pages == Pages::Transparent && *share < ENOUGH_HUGE)?;
    Some(format!(
        "core {core}: {:.0} % of the memory came in pages of 2 MiB, the rest in pages of 4 KiB: see \
         /sys/kernel/mm/transparent_hugepage/enabled",
        100.0 * share
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_of_a_mapping_are_found_among_others() {
        let smaps = "7f0000000000-7f0000400000 rw-p 00000000 00:00 0 \nSize: 4096 kB\nAnonHugePages:      4096 kB\n\
                     7f0000400000-7f0000800000 rw-p 00000000 00:00 0 \nSize: 4096 kB\nAnonHugePages:      2048 kB\n";
        assert_eq!(huge_bytes(smaps, 0x7f00_0000_0000, 4 << 20), Some(4 << 20));
        assert_eq!(huge_bytes(smaps, 0x7f00_0040_0000, 4 << 20), Some(2 << 20));
        assert_eq!(huge_bytes(smaps, 0x7f00_0040_0000, 2 << 20), Some(1 << 20));
        assert_eq!(huge_bytes(smaps, 0x1000, 1), None);
    }

    #[test]
    fn pieces_of_a_slow_fill_are_whole_pages() {
        assert_eq!(piece_at(1.0, Pages::Small), BLOCK_BYTES);
        assert_eq!(piece_at(1e6, Pages::Transparent), HUGE_BYTES);
        assert_eq!(piece_at(1e12, Pages::Small), PIECE_BYTES);
    }
}
