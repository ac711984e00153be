//! Whom the OOM killer chose, as the memory probe records it.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use aya::maps::{MapData, RingBuf};
use ssts_agent_ebpf::shared::OomKill;

use super::window::Window;

/// No task has a higher number: PID_MAX_LIMIT of include/linux/threads.h.
const HIGHEST_PID: u32 = 1 << 22;

/// Victims that are kept.
const MOST_KEPT: usize = 64;

/// A victim of the OOM killer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Victim {
    pid: u32,
    name: String,
    mapped_bytes: u64,
    asker_pid: u32,
    asker_name: String,
}

/// All victims since the probe was attached.
#[derive(Debug)]
pub(super) struct OomBoard {
    kept: Mutex<Kept>,
    lost: Window<AtomicU64>,
}

struct Kept {
    ring: RingBuf<MapData>,
    victims: Vec<Victim>,
    count: u64,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The ring can't be shown.
        f.debug_struct("Kept")
            .field("victims", &self.victims)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl OomBoard {
    pub(super) fn new(ring: RingBuf<MapData>, lost: Window<AtomicU64>) -> Self {
        Self { kept: Mutex::new(Kept { ring, victims: Vec::new(), count: 0 }), lost }
    }

    /// How many there were, with those that the kernel had no room to tell of.
    pub(super) fn count(&self) -> u64 {
        self.lock().count + self.lost()
    }

    /// Those that the kernel had no room to tell of.
    pub(super) fn lost(&self) -> u64 {
        self.lost[0].load(Relaxed)
    }

    /// Those after the first `known`, as far as they are kept.
    pub(super) fn after(&self, known: u64) -> Vec<Victim> {
        let kept = self.lock();
        let new = usize::try_from(kept.count.saturating_sub(known)).unwrap_or(usize::MAX);
        kept.victims[kept.victims.len().saturating_sub(new)..].to_vec()
    }

    /// Takes in what the kernel recorded meanwhile.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A list is whole at any moment, whoever panicked.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { ring, victims, count } = &mut *kept;
        while let Some(record) = ring.next() {
            *count += 1;
            if victims.len() == MOST_KEPT {
                victims.remove(0);
            }
            victims.extend(Victim::parse(&record));
        }
        kept
    }
}

impl Victim {
    /// From an [`OomKill`] as it lies in memory. Nothing where it can't be of a victim: where a tracepoint's record has its number
    /// is not tested, and somebody else is not to be named. It counts all the same.
    fn parse(record: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?));
        let name = |at: usize| {
            let bytes = record.get(at..at + 16)?;
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
        };
        let at = std::mem::offset_of!(OomKill, pages);
        let pages = u64::from_ne_bytes(record.get(at..at + 8)?.try_into().ok()?);
        let pid = number(std::mem::offset_of!(OomKill, pid))?;
        (1..=HIGHEST_PID).contains(&pid).then_some(Self {
            pid,
            name: name(std::mem::offset_of!(OomKill, name))?,
            mapped_bytes: pages * procfs::page_size(),
            asker_pid: number(std::mem::offset_of!(OomKill, asker_pid))?,
            asker_name: name(std::mem::offset_of!(OomKill, asker_name))?,
        })
    }

    /// Its number.
    #[cfg(test)]
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the OOM killer chose ")?;
        match &*self.name {
            "" => write!(f, "pid {}", self.pid)?,
            name => write!(f, "{name} (pid {})", self.pid)?,
        }
        if self.mapped_bytes > 0 {
            write!(f, ", which had {} MiB mapped,", self.mapped_bytes >> 20)?;
        }
        write!(f, " when {} (pid {}) asked for memory", self.asker_name, self.asker_pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_in_words() {
        let mut record = vec![0; size_of::<OomKill>()];
        record[..4].copy_from_slice(&7u32.to_ne_bytes());
        record[4..8].copy_from_slice(&9u32.to_ne_bytes());
        record[8..12].copy_from_slice(b"hog\0");
        record[24..29].copy_from_slice(b"asker");
        let victim = Victim::parse(&record).unwrap();
        assert_eq!(
            victim.to_string(),
            "the OOM killer chose hog (pid 7) when asker (pid 9) asked for memory"
        );
        assert_eq!(Victim::parse(&record[..20]), None);
        for nobody in [0u32, HIGHEST_PID + 1] {
            record[..4].copy_from_slice(&nobody.to_ne_bytes());
            assert_eq!(Victim::parse(&record), None);
        }
    }
}
