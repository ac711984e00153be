//! Which tasks took cores from burners, how often and for how long, as the scheduler probe counts it.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU8, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
    time::Duration,
};

use ssts_agent_ebpf::shared::{PREEMPTER_SLOTS, Preempter, Preempters};

use super::window::{Element, Window};

const SLOTS: usize = PREEMPTER_SLOTS as usize;
/// Names that are kept apart; what comes later counts as [`OTHERS`].
const MOST_NAMES: usize = 64;
const OTHERS: Name = *b"(others)\0\0\0\0\0\0\0\0";
/// So few free slots of a CPU make room.
const FEW: usize = SLOTS / 4;

/// As the kernel has it: padded with zeros.
type Name = [u8; 16];

#[derive(Debug)]
#[repr(C)]
struct SharedPreempter {
    pid: AtomicU32,
    count: AtomicU32,
    ns: AtomicU64,
    comm: [AtomicU8; 16],
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
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        String::from_utf8_lossy(&self.name[..end]).into_owned()
    }
}

/// All that was taken from burners since the probe was attached, by the tasks' names.
#[derive(Debug, Default)]
pub(super) struct PreemptionBoard(Mutex<Vec<Taken>>);

impl PreemptionBoard {
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Taken>> {
        // A sum is whole at any moment, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Vec<Preempted> {
        let preempted = |taken: &Taken| Preempted {
            task: taken.task(),
            count: taken.count,
            time: Duration::from_nanos(taken.ns),
        };
        self.lock().iter().map(preempted).collect()
    }

    /// Allocates only for a new name.
    fn add(&self, name: Name, count: u64, ns: u64) {
        let mut all = self.lock();
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
    board: Arc<PreemptionBoard>,
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
        Self { shared, seen, board: Arc::default() }
    }

    pub(super) fn board(&self) -> &Arc<PreemptionBoard> {
        &self.board
    }

    pub(super) fn read(&mut self) {
        for (shared, seen) in self.shared.iter().zip(&mut self.seen) {
            read_cpu(shared, seen, &self.board);
        }
    }
}

fn read_cpu(shared: &SharedPreempters, seen: &mut Seen, board: &PreemptionBoard) {
    let (changes, lost) = (shared.changes.load(Acquire), shared.lost.load(Relaxed));
    if lost != seen.lost {
        board.add(OTHERS, lost.wrapping_sub(seen.lost), 0);
        seen.lost = lost;
    }
    if changes == seen.changes {
        return;
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
            let name = std::array::from_fn(|index| slot.comm[index].load(Relaxed));
            board.add(name, count.into(), ns);
        }
    }
    if seen.slots.iter().filter(|(pid, ..)| *pid == 0).count() > FEW {
        return;
    }
    for ((slot, before), _) in
        shared.slots.iter().zip(&mut seen.slots).zip(unchanged).filter(|(_, unchanged)| *unchanged)
    {
        slot.pid.store(0, Relaxed);
        *before = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> SharedPreempters {
        let slot = || SharedPreempter {
            pid: AtomicU32::new(0),
            count: AtomicU32::new(0),
            ns: AtomicU64::new(0),
            comm: [const { AtomicU8::new(0) }; 16],
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
        slot.comm.iter().zip(name).for_each(|(to, from)| to.store(*from, Relaxed));
        shared.changes.fetch_add(1, Relaxed);
    }

    #[test]
    fn tasks_of_one_name_are_summed_and_nothing_counts_twice() {
        let (shared, mut seen, board) = (shared(), Seen::default(), PreemptionBoard::default());
        take(&shared, 0, 32, b"kworker", 2, 10);
        take(&shared, 1, 33, b"kworker", 1, 5);
        read_cpu(&shared, &mut seen, &board);
        read_cpu(&shared, &mut seen, &board);
        take(&shared, 0, 32, b"kworker", 5, 40);
        read_cpu(&shared, &mut seen, &board);
        let expected = Preempted { task: "kworker".into(), count: 6, time: Duration::from_nanos(45) };
        assert_eq!(board.snapshot(), [expected]);
    }

    #[test]
    fn a_slot_that_another_task_took_over_counts_from_nothing() {
        let (shared, mut seen, board) = (shared(), Seen::default(), PreemptionBoard::default());
        take(&shared, 0, 32, b"a", 7, 70);
        read_cpu(&shared, &mut seen, &board);
        take(&shared, 0, 64, b"b", 3, 30);
        read_cpu(&shared, &mut seen, &board);
        let counts: Vec<_> = board.snapshot().into_iter().map(|taken| (taken.task, taken.count)).collect();
        assert_eq!(counts, [("a".to_owned(), 7), ("b".to_owned(), 3)]);
    }

    #[test]
    fn full_slots_are_freed_of_those_who_rest() {
        let (shared, mut seen, board) = (shared(), Seen::default(), PreemptionBoard::default());
        (0..SLOTS).for_each(|slot| take(&shared, slot, slot as u32 + 1, b"a", 1, 1));
        read_cpu(&shared, &mut seen, &board);
        take(&shared, 3, 4, b"a", 2, 2);
        read_cpu(&shared, &mut seen, &board);
        let left: Vec<_> =
            shared.slots.iter().map(|slot| slot.pid.load(Relaxed)).filter(|pid| *pid != 0).collect();
        assert_eq!(left, [4]);
        assert_eq!(board.snapshot()[0].count, SLOTS as u64 + 1);
    }
}
