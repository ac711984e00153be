//! Burners that die in a phase that starts them anew: killed on purpose or by somebody else, replaced, and watched until they do
//! again what they are to do. The supervisor's thread alone uses it.

use std::{
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use nix::sys::signal::Signal;
use ssts_proto::{
    v1::{BurnerResult, Cause, EventKind, Kill, KillSignal, Recovery},
    validate::{DEFAULT_TOLERANCE_POINTS, RECOVERY_TIME_MS},
};

use super::{active::ActiveRun, admit::PlannedPhase, child::BurnerProcess, ending::Ending};
use crate::{
    burn::control::{Command, ControlBlock, Slot},
    clock,
};

/// Over which the load of a new process is looked at.
const WINDOW: Duration = Duration::from_millis(500);
/// A worker that lives beats far more often: it looks at its deadline every 20 ms while it sleeps.
const FRESH: Duration = Duration::from_millis(250);
/// How often a new process is looked at while it makes ready, and while it is being validated.
const SOON: Duration = Duration::from_millis(2);
const LATER: Duration = Duration::from_millis(50);
/// Burners of one phase that are started anew: what dies more often is ill.
const MOST_RESTARTS: usize = 1_000;

/// The recoveries of one phase.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// Those that are due at some time of the phase.
    kills: Vec<Due>,
    /// Whose turn it is to be killed.
    turn: usize,
    /// The latest kill of each burner, CLOCK_BOOTTIME.
    killed: Vec<Option<Duration>>,
    underway: Vec<Underway>,
    restarts: Vec<u32>,
    /// What those did that died.
    pub(super) results: Vec<BurnerResult>,
}

/// A kill, and when it is next, in time of the phase.
#[derive(Debug)]
struct Due {
    kill: Kill,
    next: Option<Duration>,
}

/// One burner on its way back.
#[derive(Debug)]
struct Underway {
    recovery: Recovery,
    /// When its process was seen to be gone, CLOCK_BOOTTIME.
    gone: Duration,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The new process makes ready, then all of its workers begin.
    Beginning,
    /// Its load is looked at since an instant.
    Validating { since: Duration, before: Vec<Done> },
}

/// What a worker has done so far.
#[derive(Debug, Clone, Copy)]
struct Done {
    asked_ns: u64,
    used_ns: u64,
    operations: u64,
}

impl Restarts {
    /// Of a phase that begins.
    pub(super) fn new(phase: &PlannedPhase) -> Self {
        let due = |kill: &Kill| {
            let first_ms = kill.at_ms.or(kill.every_ms);
            Due { kill: *kill, next: first_ms.map(Duration::from_millis) }
        };
        Self {
            kills: phase.kills.iter().map(due).collect(),
            killed: vec![None; phase.plans.len()],
            restarts: vec![0; phase.plans.len()],
            ..Self::default()
        }
    }

    /// Kills whom it is time to kill, `elapsed` into the phase.
    pub(super) fn kill_due(
        &mut self,
        run: &ActiveRun,
        burners: &[BurnerProcess],
        elapsed: Duration,
        left: Duration,
    ) {
        let Self { kills, turn, killed, underway, .. } = self;
        for due in kills {
            if due.next.is_none_or(|next| next > elapsed) {
                continue;
            }
            if left < Duration::from_millis(RECOVERY_TIME_MS) {
                due.next = None;
                continue;
            }
            let index = due.kill.burner.map_or(*turn % burners.len().max(1), |index| index as usize);
            // One that is on its way back is let come back first.
            let Some(burner) = burners.get(index) else { continue };
            if burner.is_gone() || underway.iter().any(|one| one.recovery.burner_index as usize == index) {
                continue;
            }
            *turn += 1;
            due.next = due.kill.every_ms.map(|ms| {
                let every = Duration::from_millis(ms);
                let mut next = due.next.unwrap_or_default() + every;
                while next <= elapsed {
                    next += every;
                }
                next
            });
            let signal = signal(due.kill.signal());
            killed[index] = Some(clock::boottime());
            burner.signal(signal);
            let kind = burner.plan.load.kind();
            let fields = [("burner", index.to_string()), ("signal", signal.as_str().to_owned())];
            run.tell(
                EventKind::BurnerKilled,
                format!("burner {kind} was killed on purpose: {}", signal.as_str()),
                fields,
            );
        }
    }

    /// Whether a burner that has died may be started anew; otherwise the run ends, for this reason.
    pub(super) fn may_restart(&self, index: usize, burner: &BurnerProcess) -> Result<(), Ending> {
        let kind = burner.plan.load.kind();
        let begins = |one: &Underway| {
            one.recovery.burner_index as usize == index && matches!(one.stage, Stage::Beginning)
        };
        let message = if self.underway.iter().any(begins) {
            format!("burner {kind} was started anew and died before it burned: {}", burner.ending())
        } else if self.results.len() >= MOST_RESTARTS {
            format!("burners of the phase died {MOST_RESTARTS} times")
        } else {
            return Ok(());
        };
        Err(Ending::new(Cause::BurnerDied, message))
    }

    /// Notes that a burner has died, and that a new one was started for it. `result`: what it did.
    pub(super) fn begin(&mut self, index: usize, gone: Duration, result: BurnerResult) {
        let restarts = &mut self.restarts[index];
        *restarts += 1;
        let detected = self.killed[index].take().map(|killed| clock::ns(gone.saturating_sub(killed)));
        // It died again before it was seen to be well: that is told as it is.
        let gone_ago = clock::boottime().saturating_sub(gone);
        let recovery = Recovery {
            phase: result.phase.clone(),
            burner_index: index as u32,
            kind: result.kind.clone(),
            ended: result.ended.clone(),
            on_purpose: detected.is_some(),
            at_unix_ns: clock::unix_ns() - clock::ns(gone_ago).cast_signed(),
            detected_after_ns: detected,
            restarts: *restarts,
            ..Recovery::default()
        };
        self.results.push(result);
        self.underway.push(Underway { recovery, gone, stage: Stage::Beginning });
    }

    /// Looks after those on their way back: starts the clock of each that is ready, and tells those that are well.
    pub(super) fn follow(&mut self, run: &ActiveRun, burners: &[BurnerProcess], end: Duration) {
        let mut index = 0;
        while let Some(one) = self.underway.get_mut(index) {
            let burner = &burners[one.recovery.burner_index as usize];
            if one.follow(burner, end) {
                let done = self.underway.remove(index);
                run.recoveries.add(run, done.recovery, None);
            } else {
                index += 1;
            }
        }
    }

    /// When it has to be looked at again, CLOCK_BOOTTIME; `elapsed` into the phase.
    pub(super) fn due(&self, now: Duration, elapsed: Duration) -> Option<Duration> {
        let kills =
            self.kills.iter().filter_map(|due| Some(now + due.next?.saturating_sub(elapsed).max(SOON)));
        let looks = self.underway.iter().map(|one| match one.stage {
            Stage::Beginning => now + SOON,
            Stage::Validating { .. } => now + LATER,
        });
        kills.chain(looks).min()
    }

    /// The phase is over, or dies again: those that did not come back are told. The reason to end, where there is one.
    pub(super) fn give_up(&mut self, run: &ActiveRun, index: Option<usize>) -> Option<Ending> {
        let is_meant = |one: &Underway| index.is_none_or(|index| one.recovery.burner_index as usize == index);
        let mut ending = None;
        for one in self.underway.extract_if(.., |one| is_meant(one)) {
            let kind = &one.recovery.kind;
            let what = match one.stage {
                Stage::Beginning => "it did not burn again",
                Stage::Validating { .. } => "its load was not seen to be what was asked",
            };
            let when = if index.is_some() { "before it died again" } else { "before the phase ended" };
            ending.get_or_insert(Ending::new(
                Cause::BurnerDied,
                format!("burner {kind} was started anew: {what} {when}"),
            ));
            run.recoveries.add(run, one.recovery, Some(what));
        }
        ending
    }
}

impl Underway {
    /// Whether it is back to what it was.
    fn follow(&mut self, burner: &BurnerProcess, end: Duration) -> bool {
        let now = clock::boottime();
        let block = &*burner.block;
        match &mut self.stage {
            Stage::Beginning => {
                if burner.prepared.is_some() && block.command() == Command::Prepare {
                    block.set_start(now);
                    block.set_end(end);
                    block.set_command(Command::Burn);
                }
                let first = |slot: &Slot| slot.first_burn_ns.load(Ordering::Relaxed);
                if slots(block).all(|slot| first(slot) > 0) {
                    let last = slots(block).map(first).max().unwrap_or_default();
                    self.recovery.recovered_after_ns = Some(last.saturating_sub(clock::ns(self.gone)));
                    self.stage = Stage::Validating { since: now, before: done(block) };
                }
                false
            }
            Stage::Validating { since, before } => {
                let window = now.saturating_sub(*since);
                if window < WINDOW {
                    return false;
                }
                let after = done(block);
                let is_well = beats(block, now)
                    && before
                        .iter()
                        .zip(&after)
                        .all(|(before, after)| is_on_load(burner, before, after, window));
                if is_well {
                    self.recovery.validated_after_ns = Some(clock::ns(now.saturating_sub(self.gone)));
                } else {
                    (*since, *before) = (now, after);
                }
                is_well
            }
        }
    }
}

fn slots(block: &ControlBlock) -> impl Iterator<Item = &Slot> {
    (0..block.workers()).map(|worker| block.slot(worker))
}

fn done(block: &ControlBlock) -> Vec<Done> {
    let read = |slot: &Slot| Done {
        asked_ns: slot.asked_ns.load(Ordering::Relaxed),
        used_ns: slot.on_cpu_ns.load(Ordering::Relaxed) + slot.others_ns.load(Ordering::Relaxed),
        operations: slot.operations.load(Ordering::Relaxed),
    };
    slots(block).map(read).collect()
}

/// Whether every worker gives signs of life.
fn beats(block: &ControlBlock, now: Duration) -> bool {
    slots(block).all(|slot| {
        let beat = Duration::from_nanos(slot.heartbeat_ns.load(Ordering::Relaxed));
        now.saturating_sub(beat) <= FRESH
    })
}

/// Whether a worker did in a window what was asked of it: its load within the burner's tolerance, or anything at all where all
/// that its core gives was asked. Where no load is asked, as of memory that is held, signs of life have to do.
fn is_on_load(burner: &BurnerProcess, before: &Done, after: &Done, window: Duration) -> bool {
    let Some(profile) = burner.plan.load.profile() else { return true };
    if profile.takes_all() {
        return after.operations > before.operations;
    }
    let tolerance = profile.tolerance.unwrap_or(DEFAULT_TOLERANCE_POINTS / 100.0);
    let share = |after_ns: u64, before_ns: u64| {
        after_ns.saturating_sub(before_ns) as f64 / clock::ns(window).max(1) as f64
    };
    let (asked, had) = (share(after.asked_ns, before.asked_ns), share(after.used_ns, before.used_ns));
    (had - asked).abs() <= tolerance
}

fn signal(signal: KillSignal) -> Signal {
    match signal {
        KillSignal::Unspecified | KillSignal::Kill => Signal::SIGKILL,
        KillSignal::Segv => Signal::SIGSEGV,
        KillSignal::Ill => Signal::SIGILL,
    }
}

/// The recoveries of a run.
#[derive(Debug, Default)]
pub(super) struct Recoveries(Mutex<Vec<Recovery>>);

impl Recoveries {
    /// Adds one that is over, and tells it. `failed`: why it is none.
    fn add(&self, run: &ActiveRun, recovery: Recovery, failed: Option<&str>) {
        let told = |ns: Option<u64>| ns.map(|ns| ns.to_string()).unwrap_or_default();
        let fields = [
            ("burner", recovery.burner_index.to_string()),
            ("detected_after_ns", told(recovery.detected_after_ns)),
            ("recovered_after_ns", told(recovery.recovered_after_ns)),
            ("validated_after_ns", told(recovery.validated_after_ns)),
        ];
        let words = words(&recovery, failed);
        match failed {
            None => run.tell(EventKind::BurnerRecovered, words, fields),
            Some(_) => run.tell(EventKind::Notice, words, fields),
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(recovery);
    }

    /// All so far.
    pub(super) fn all(&self) -> Vec<Recovery> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn words(recovery: &Recovery, failed: Option<&str>) -> String {
    let mut parts = Vec::new();
    for (name, ns) in [
        ("seen", recovery.detected_after_ns),
        ("burned again", recovery.recovered_after_ns),
        ("was on its load", recovery.validated_after_ns),
    ] {
        parts.extend(ns.map(|ns| format!("{name} after {:.1?}", Duration::from_nanos(ns))));
    }
    parts.extend(failed.map(str::to_owned));
    format!("burner {} died ({}) and was started anew: {}", recovery.kind, recovery.ended, parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_is_told_with_its_times() {
        let mut recovery = Recovery {
            kind: "cpu".into(),
            ended: "signal 9 (SIGKILL)".into(),
            detected_after_ns: Some(1_500_000),
            recovered_after_ns: Some(40_000_000),
            ..Recovery::default()
        };
        assert_eq!(
            words(&recovery, Some("its load was not seen to be what was asked")),
            "burner cpu died (signal 9 (SIGKILL)) and was started anew: seen after 1.5ms, burned again after 40.0ms, \
             its load was not seen to be what was asked"
        );
        recovery.validated_after_ns = Some(540_000_000);
        assert!(words(&recovery, None).ends_with("was on its load after 540.0ms"));
    }

    #[test]
    fn kills_come_when_they_are_due() {
        let kill = |at_ms, every_ms| Kill { at_ms, every_ms, ..Kill::default() };
        let phase = PlannedPhase {
            kills: vec![kill(Some(2_000), None), kill(None, Some(5_000))],
            ..PlannedPhase::default()
        };
        let restarts = Restarts::new(&phase);
        let now = Duration::from_secs(100);
        assert_eq!(restarts.due(now, Duration::from_millis(500)), Some(now + Duration::from_millis(1_500)));
        assert_eq!(restarts.due(now, Duration::from_secs(9)), Some(now + SOON));
    }
}
