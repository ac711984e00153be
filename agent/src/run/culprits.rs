//! Who took the core time that burners were to have. Looks only while one is behind: a look reads the stat file of every
//! process.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use procfs::{CurrentSI as _, process::all_processes};

use super::{child::BurnerProcess, throttled::Throttled};
use crate::{burn::control::Slot, observe::probes::Preempted};

/// How often burners are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between the two looks at processes that make a measurement.
const MEASURED: Duration = Duration::from_millis(300);
/// Measurements of a phase: they cost, and the first ones tell.
const MAX_MEASUREMENTS: u32 = 10;
/// Named at most.
const NAMED: usize = 3;
/// Less of a core, in percent, is not told.
const WORTH_TELLING: f64 = 0.5;
/// Of a second: USER_HZ, 100 on every architecture that we build for.
const TICK: Duration = Duration::from_millis(10);

/// What was found out during a phase.
#[derive(Debug, Default)]
pub(super) struct Culprits {
    next: Duration,
    /// What each worker had been asked and had had at the previous look, by burner.
    before: Vec<Vec<Had>>,
    open: Option<Look>,
    measurements: u32,
    /// CPU time by process, and the time in which it was used.
    took: HashMap<Name, Duration>,
    measured: Duration,
    /// Since the first look: what the hypervisor took of each core.
    stolen_before: HashMap<u32, u64>,
    stolen: HashMap<u32, u64>,
    began: Duration,
    ended: Duration,
    /// By quotas, all burners together: they are in one cgroup.
    throttled: Option<Throttled>,
    /// By the tasks that took cores from burners, those who took most first.
    preempted: Vec<Preempted>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Had {
    asked: Duration,
    had: Duration,
}

#[derive(Debug)]
struct Look {
    at: Duration,
    processes: HashMap<Name, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    pid: i32,
    command: String,
}

impl Culprits {
    /// Looks, if it is time; says when it is time again, CLOCK_BOOTTIME.
    pub(super) fn look(&mut self, now: Duration, burners: &[BurnerProcess]) -> Duration {
        if burners.iter().all(|burner| burner.plan.load.profile().is_none_or(|load| load.tolerance.is_none()))
        {
            return now + INTERVAL;
        }
        if now < self.next {
            return self.next;
        }
        if let Some(burner) = burners.first() {
            self.throttled.get_or_insert_with(|| Throttled::above(burner.pid())).look();
        }
        if let Some(first) = self.open.take() {
            self.close(&first, now, burners);
            self.next = now + INTERVAL;
            return self.next;
        }
        if self.stolen_before.is_empty() {
            self.stolen_before = stolen();
            self.began = now;
        }
        let behind = self.is_behind(burners);
        self.next = now + INTERVAL;
        if behind && self.measurements < MAX_MEASUREMENTS {
            self.open = Some(Look { at: now, processes: processes(burners) });
            self.next = now + MEASURED;
        }
        self.next
    }

    /// Notes what was taken from burners between two readings of all that was ever taken.
    pub(super) fn preempted_since(&mut self, before: &[Preempted], mut now: Vec<Preempted>) {
        for taken in &mut now {
            if let Some(earlier) = before.iter().find(|earlier| earlier.task == taken.task) {
                taken.count -= earlier.count;
                taken.time -= earlier.time;
            }
        }
        now.retain(|taken| taken.count > 0);
        now.sort_by_key(|taken| std::cmp::Reverse(taken.time));
        self.preempted = now;
    }

    /// The phase is over: what only a count can tell is counted up to here.
    pub(super) fn close_up(&mut self) {
        if let Some(throttled) = &mut self.throttled {
            throttled.look();
        }
    }

    /// What is known of a core that had too little, in words.
    pub(super) fn told(&self, core: u32) -> Vec<String> {
        let mut parts: Vec<String> = self.throttled.iter().filter_map(Throttled::told).collect();
        let percent =
            |part: Duration, whole: Duration| 100.0 * part.as_secs_f64() / whole.as_secs_f64().max(1e-9);
        let stolen = |of: &HashMap<u32, u64>| of.get(&core).copied().unwrap_or_default();
        let ticks = stolen(&self.stolen).saturating_sub(stolen(&self.stolen_before));
        let share =
            percent(TICK * u32::try_from(ticks).unwrap_or(u32::MAX), self.ended.saturating_sub(self.began));
        if share >= WORTH_TELLING {
            parts.push(format!("the hypervisor took {share:.1} %"));
        }
        let mut took: Vec<_> = self.took.iter().collect();
        took.sort_by_key(|(_, time)| std::cmp::Reverse(**time));
        let named: Vec<String> = took
            .into_iter()
            .map(|(name, time)| (name, percent(*time, self.measured)))
            .take(NAMED)
            .filter(|(_, share)| *share >= WORTH_TELLING)
            .map(|(name, share)| format!("{} (pid {}) {share:.0} %", name.command, name.pid))
            .collect();
        if !named.is_empty() {
            parts.push(format!("the busiest others, in percent of a core, were {}", named.join(", ")));
        }
        let preempted: Vec<String> = self
            .preempted
            .iter()
            .take(NAMED)
            .map(|taken| {
                let ms = taken.time.as_secs_f64() * 1e3;
                format!("{} ({} times, {ms:.1} ms)", taken.task, taken.count)
            })
            .collect();
        if !preempted.is_empty() {
            parts.push(format!("burners' cores were taken by {}", preempted.join(", ")));
        }
        parts
    }

    fn is_behind(&mut self, burners: &[BurnerProcess]) -> bool {
        let now: Vec<Vec<Had>> = burners
            .iter()
            .map(|burner| {
                (0..burner.block.workers()).map(|worker| Had::of(burner.block.slot(worker))).collect()
            })
            .collect();
        let before = std::mem::replace(&mut self.before, now);
        let pairs = burners.iter().zip(before.iter().zip(&self.before));
        pairs.into_iter().any(|(burner, (before, now))| {
            let tolerance = burner.plan.load.profile().and_then(|profile| profile.tolerance);
            tolerance.is_some_and(|tolerance| {
                before.iter().zip(now).any(|(before, now)| {
                    let missing = (now.asked.saturating_sub(before.asked))
                        .saturating_sub(now.had.saturating_sub(before.had));
                    missing > INTERVAL.mul_f64(tolerance)
                })
            })
        })
    }

    fn close(&mut self, first: &Look, now: Duration, burners: &[BurnerProcess]) {
        for (name, ticks) in processes(burners) {
            let Some(before) = first.processes.get(&name) else { continue };
            let used = TICK * u32::try_from(ticks.saturating_sub(*before)).unwrap_or(u32::MAX);
            if !used.is_zero() {
                *self.took.entry(name).or_default() += used;
            }
        }
        self.measured += now.saturating_sub(first.at);
        self.measurements += 1;
        self.stolen = stolen();
        self.ended = now;
    }
}

impl Had {
    fn of(slot: &Slot) -> Self {
        let time = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed));
        Self { asked: time(&slot.asked_ns), had: time(&slot.on_cpu_ns) + time(&slot.others_ns) }
    }
}

/// CPU time of every process but the burners, in ticks.
fn processes(burners: &[BurnerProcess]) -> HashMap<Name, u64> {
    let ours = |pid: i32| burners.iter().any(|burner| burner.pid() == pid);
    // What can't be read has ended, or is hidden from us.
    let all = all_processes().into_iter().flatten().flatten();
    all.filter(|process| !ours(process.pid))
        .filter_map(|process| process.stat().ok())
        .map(|stat| (Name { pid: stat.pid, command: stat.comm }, stat.utime + stat.stime))
        .collect()
}

/// Ticks that the hypervisor took, by core.
fn stolen() -> HashMap<u32, u64> {
    let Ok(stat) = procfs::KernelStats::current() else { return HashMap::new() };
    (0u32..).zip(stat.cpu_time).map(|(core, time)| (core, time.steal.unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_busiest_are_told_first_and_the_idle_not_at_all() {
        let name = |pid, command: &str| Name { pid, command: command.into() };
        let culprits = Culprits {
            took: HashMap::from([
                (name(1, "init"), Duration::from_micros(1)),
                (name(7, "cc1"), Duration::from_millis(150)),
                (name(8, "ld"), Duration::from_millis(250)),
            ]),
            measured: Duration::from_millis(500),
            ..Culprits::default()
        };
        let told = culprits.told(0);
        assert_eq!(
            told,
            ["the busiest others, in percent of a core, were ld (pid 8) 50 %, cc1 (pid 7) 30 %"]
        );
    }

    #[test]
    fn what_was_taken_before_a_phase_is_not_told_of_it() {
        let taken =
            |task: &str, count, ms| Preempted { task: task.into(), count, time: Duration::from_millis(ms) };
        let mut culprits = Culprits::default();
        let now = vec![taken("old", 4, 100), taken("cc1", 5, 20), taken("ld", 2, 30)];
        culprits.preempted_since(&[taken("old", 4, 100), taken("cc1", 1, 10)], now);
        assert_eq!(
            culprits.told(0),
            ["burners' cores were taken by ld (2 times, 30.0 ms), cc1 (4 times, 10.0 ms)"]
        );
    }

    #[test]
    fn this_process_is_seen_to_use_time() {
        let own = |all: HashMap<Name, u64>| {
            all.into_iter()
                .find(|(name, _)| name.pid == std::process::id().cast_signed())
                .map(|(_, ticks)| ticks)
        };
        let before = own(processes(&[])).unwrap();
        let begin = clock::thread_cpu();
        while clock::thread_cpu() - begin < TICK * 5 {}
        assert!(own(processes(&[])).unwrap() > before);
    }
}
