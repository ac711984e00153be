//! Which tasks took cores from burners, how often and for how long, as the scheduler probe counts it.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::{
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
    time::Duration,
};

use ssts_agent_ebpf::shared::{Name, PREEMPTER_SLOTS, Preempter, Preempters};

use super::window::{Element, Window};

const SLOTS: usize = PREEMPTER_SLOTS as usize;
/// Names that are kept apart; what comes later counts as [`OTHERS`].
const MOST_NAMES: usize = 64;
const OTHERS: Name = [u64::from_ne_bytes(*b"(others)"), 0];
/// So few free slots of a CPU make room.
const FEW: usize = SLOTS / 4;

#[derive(Debug)]
#[repr(C)]
struct SharedPreempter {
    pid: AtomicU32,
    count: AtomicU32,
    ns: AtomicU64,
    name: [AtomicU64; 2],
}

/// [`Preempters`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct SharedPreempters {
    changes: AtomicU64,
    lost: AtomicU64,
    slots: [SharedPreempter; SLOTS],
}

const _: () = assert!(size_of::<SharedPreempter>() == size_of::<Preempter>());
const _: () = assert!(size_of::<SharedPreempters>() == size_of::<Preempters>());

// SAFETY: atomics, and the assertions above.
unsafe impl Element for SharedPreempters {}

/// What tasks of one name took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    name: Name,
    pub(super) count: u64,
    pub(super) ns: u64,
}

/// What tasks of one name took from burners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preempted {
    /// As `/proc/PID/comm` has it.
    pub(crate) task: String,
    /// How often.
    pub(crate) count: u64,
    /// For how long: each time up to the task's own next switch.
    pub(crate) time: Duration,
}

impl Taken {
    pub(super) fn task(&self) -> String {
        task(self.name)
    }
}

/// A task's name in words.
pub(super) fn task(name: Name) -> String {
    let bytes: Vec<u8> =
        name.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All that was taken from burners since the probe was attached, by the tasks' names, for others than the tick.
#[derive(Debug, Default)]
pub(super) struct PreemptionBoard(Mutex<Vec<Taken>>);

impl PreemptionBoard {
    pub(super) fn snapshot(&self) -> Vec<Preempted> {
        let preempted = |taken: &Taken| Preempted {
            task: taken.task(),
            count: taken.count,
            time: Duration::from_nanos(taken.ns),
        };
        // A sum is whole at any moment, whoever panicked.
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.iter().map(preempted).collect()
    }

    /// Shows what was taken. Never waits: says whether it could.
    fn show(&self, all: &[Taken]) -> bool {
        let mut shown = match self.0.try_lock() {
            Ok(shown) => shown,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        shown.clear();
        shown.extend_from_slice(all);
        true
    }
}

/// What was taken from burners, as the tick has read it.
#[derive(Debug, Default)]
struct Sums(Vec<Taken>);

impl Sums {
    /// Allocates only for a new name.
    fn add(&mut self, name: Name, count: u64, ns: u64) {
        let all = &mut self.0;
        let place = all.iter().position(|taken| taken.name == name);
        let name = if place.is_none() && all.len() >= MOST_NAMES { OTHERS } else { name };
        match place.or_else(|| all.iter().position(|taken| taken.name == name)) {
            Some(place) => {
                all[place].count += count;
                all[place].ns += ns;
            }
            None => all.push(Taken { name, count, ns }),
        }
    }
}

/// Carries what the kernel counts to the board.
#[derive(Debug)]
pub(super) struct PreemptionReader {
    shared: Window<SharedPreempters>,
    seen: Vec<Seen>,
    sums: Sums,
    board: Arc<PreemptionBoard>,
    /// What was read last is not on the board yet: somebody held it.
    unshown: bool,
}

/// What a CPU's slots held when they were last read.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    changes: u64,
    lost: u64,
    slots: [(u32, u32, u64); SLOTS],
}

impl PreemptionReader {
    pub(super) fn new(shared: Window<SharedPreempters>) -> Self {
        let seen = vec![Seen::default(); shared.len()];
        Self { shared, seen, sums: Sums::default(), board: Arc::default(), unshown: false }
    }

    pub(super) fn board(&self) -> &Arc<PreemptionBoard> {
        &self.board
    }

    /// All that was read so far.
    pub(super) fn taken(&self) -> &[Taken] {
        &self.sums.0
    }

    /// Preemptions for which there was no slot.
    pub(super) fn lost(&self) -> u64 {
        self.seen.iter().map(|seen| seen.lost).sum()
    }

    pub(super) fn read(&mut self) {
        for (shared, seen) in self.shared.iter().zip(&mut self.seen) {
            self.unshown |= read_cpu(shared, seen, &mut self.sums);
        }
        if self.unshown {
            self.unshown = !self.board.show(&self.sums.0);
        }
    }
}

/// Says whether there was anything new.
fn read_cpu(shared: &SharedPreempters, seen: &mut Seen, sums: &mut Sums) -> bool {
    let (changes, lost) = (shared.changes.load(Acquire), shared.lost.load(Relaxed));
    let news = lost != seen.lost || changes != seen.changes;
    if lost != seen.lost {
        sums.add(OTHERS, lost.wrapping_sub(seen.lost), 0);
        seen.lost = lost;
    }
    if changes == seen.changes {
        return news;
    }
    seen.changes = changes;
    let mut unchanged = [false; SLOTS];
    for ((slot, before), unchanged) in shared.slots.iter().zip(&mut seen.slots).zip(&mut unchanged) {
        let pid = slot.pid.load(Acquire);
        let now = (pid, slot.count.load(Relaxed), slot.ns.load(Relaxed));
        let (count, ns) = if before.0 == pid {
            (now.1.wrapping_sub(before.1), now.2.wrapping_sub(before.2))
        } else {
            (now.1, now.2)
        };
        *unchanged = pid != 0 && now == *before;
        *before = now;
        if pid != 0 && (count, ns) != (0, 0) {
            let name = std::array::from_fn(|index| slot.name[index].load(Relaxed));
            sums.add(name, count.into(), ns);
        }
    }
    if seen.slots.iter().filter(|(pid, ..)| *pid == 0).count() > FEW {
        return news;
    }
    for ((slot, before), _) in
        shared.slots.iter().zip(&mut seen.slots).zip(unchanged).filter(|(_, unchanged)| *unchanged)
    {
        slot.pid.store(0, Relaxed);
        *before = (0, 0, 0);
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> SharedPreempters {
        let slot = || SharedPreempter {
            pid: AtomicU32::new(0),
            count: AtomicU32::new(0),
            ns: AtomicU64::new(0),
            name: [const { AtomicU64::new(0) }; 2],
        };
        SharedPreempters {
            changes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            slots: std::array::from_fn(|_| slot()),
        }
    }

    fn take(shared: &SharedPreempters, slot: usize, pid: u32, name: &[u8], count: u32, ns: u64) {
        let slot = &shared.slots[slot];
        slot.pid.store(pid, Relaxed);
        slot.count.store(count, Relaxed);
        slot.ns.store(ns, Relaxed);
        let mut padded = [0; 8];
        padded[..name.len()].copy_from_slice(name);
        slot.name[0].store(u64::from_ne_bytes(padded), Relaxed);
        shared.changes.fetch_add(1, Relaxed);
    }

    fn shown(sums: &Sums) -> Vec<Preempted> {
        let board = PreemptionBoard::default();
        assert!(board.show(&sums.0));
        board.snapshot()
    }

    #[test]
    fn the_tick_never_waits_for_a_reader() {
        let board = PreemptionBoard::default();
        let reading = board.0.lock().unwrap();
        assert!(!board.show(&[]));
        drop(reading);
        assert!(board.show(&[]));
    }

    #[test]
    fn tasks_of_one_name_are_summed_and_nothing_counts_twice() {
        let (shared, mut seen, mut sums) = (shared(), Seen::default(), Sums::default());
        take(&shared, 0, 32, b"kworker", 2, 10);
        take(&shared, 1, 33, b"kworker", 1, 5);
        read_cpu(&shared, &mut seen, &mut sums);
        read_cpu(&shared, &mut seen, &mut sums);
        take(&shared, 0, 32, b"kworker", 5, 40);
        read_cpu(&shared, &mut seen, &mut sums);
        let expected = Preempted { task: "kworker".into(), count: 6, time: Duration::from_nanos(45) };
        assert_eq!(shown(&sums), [expected]);
    }

    #[test]
    fn a_slot_that_another_task_took_over_counts_from_nothing() {
        let (shared, mut seen, mut sums) = (shared(), Seen::default(), Sums::default());
        take(&shared, 0, 32, b"a", 7, 70);
        read_cpu(&shared, &mut seen, &mut sums);
        take(&shared, 0, 64, b"b", 3, 30);
        read_cpu(&shared, &mut seen, &mut sums);
        let counts: Vec<_> = shown(&sums).into_iter().map(|taken| (taken.task, taken.count)).collect();
        assert_eq!(counts, [("a".to_owned(), 7), ("b".to_owned(), 3)]);
    }

    #[test]
    fn full_slots_are_freed_of_those_who_rest() {
        let (shared, mut seen, mut sums) = (shared(), Seen::default(), Sums::default());
        (0..SLOTS).for_each(|slot| take(&shared, slot, slot as u32 + 1, b"a", 1, 1));
        read_cpu(&shared, &mut seen, &mut sums);
        take(&shared, 3, 4, b"a", 2, 2);
        read_cpu(&shared, &mut seen, &mut sums);
        let left: Vec<_> =
            shared.slots.iter().map(|slot| slot.pid.load(Relaxed)).filter(|pid| *pid != 0).collect();
        assert_eq!(left, [4]);
        assert_eq!(shown(&sums)[0].count, SLOTS as u64 + 1);
    }
}
