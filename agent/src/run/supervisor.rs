//! Carries out a run: one thread that starts the burners of a phase, sees them burn and end, and goes on to the next. It
//! sleeps in poll(2) on its burners' pipes and on the run's orders.

mod decided;
mod ending;
mod starting;

use std::{os::fd::AsFd as _, sync::Arc, time::Duration};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssts_proto::v1::{
    BurnerResult, Cause, DecisionAction, DecisionPoint, EventKind, ReceiptState, ThresholdResult,
};

use self::ending::{overrun, still_there};
use super::{
    active::ActiveRun,
    admit::PlannedPhase,
    child::{BurnerProcess, until},
    confine::{self, Freezer},
    culprits::Culprits,
    ending::Ending,
    failure::{died, failure},
    found::FoundKernels,
    oom::OomKills,
    outcome, ramp,
    receipt::Witness,
    recovery::Restarts,
    remains::{self, Remains},
    result, search, suspend, thresholds,
};
use crate::{
    burn::{
        control::Command,
        plan::{Load, Plan},
    },
    clock,
    config::BurnersConfig,
    host::{HostRoots, RunCgroup},
    observe::{
        burners::{BoardEntry, BurnerBoard},
        probes::{BurnerMark, BurnerWatch},
    },
};

/// What burners may be ahead of the supervisor's clock when a pause stops that.
const LAST_INSTANT: Duration = Duration::from_millis(20);
/// What is the same for all runs of a daemon.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    /// From the configuration.
    pub config: BurnersConfig,
    /// What probes have for burners, and are told of them.
    pub watch: Arc<BurnerWatch>,
    /// The hottest kernels, as far as they are known.
    pub found: &'a FoundKernels,
    /// What burners leave behind.
    pub remains: &'a Remains,
}

/// What is kept of a phase beside its burners.
#[derive(Debug)]
struct Beside {
    marks: Vec<BurnerMark>,
    culprits: Culprits,
    restarts: Restarts,
}

/// Carries out one run.
#[derive(Debug)]
pub(super) struct Supervisor<'a> {
    run: Arc<ActiveRun>,
    board: Arc<BurnerBoard>,
    settings: Settings<'a>,
    cgroup: Option<RunCgroup>,
    freezer: Freezer,
    results: Vec<BurnerResult>,
    /// What burners of the phase before were told.
    before: Vec<Plan>,
    /// Burner processes whose end was waited for.
    waited_for: usize,
    oom: OomKills,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        run: Arc<ActiveRun>,
        board: Arc<BurnerBoard>,
        settings: Settings<'a>,
        roots: &HostRoots,
    ) -> Self {
        let cgroup = RunCgroup::create(roots, &run.id)
            .inspect_err(|error| {
                run.has_no_cgroup();
                let message =
                    format!("no cgroup for the run, its processes are followed one by one: {error}");
                run.tell(EventKind::Notice, message, []);
            })
            .ok();
        let limit = confine::memory_limit(&run.admitted.phases);
        if let Some((cgroup, limit)) = cgroup.as_ref().zip(limit)
            && let Err(error) = cgroup.limit_memory(limit)
        {
            run.tell(EventKind::Notice, format!("the run's memory is not limited: {error}"), []);
        }
        let oom = OomKills::since_now(roots);
        let freezer = Freezer::default();
        Self {
            run,
            board,
            settings,
            cgroup,
            freezer,
            results: Vec::new(),
            before: Vec::new(),
            waited_for: 0,
            oom,
        }
    }

    /// To the end of the run. Returns when no burner is left, with what each did.
    pub(super) fn carry_out(mut self) -> Vec<BurnerResult> {
        let run = self.run.clone();
        self.phases();
        let quiet_after = run.quiet_after();
        if let Some(after) = quiet_after {
            let fields = [("quiet_after_ns", clock::ns(after).to_string())];
            run.tell(EventKind::Quiet, format!("nothing burns any more, {after:.1?} after the stop"), fields);
        }
        let receipt = self.settings.remains.close(&run, &Witness { waited_for: Some(self.waited_for) });
        let clean = receipt.state() == ReceiptState::Clean;
        run.tell(EventKind::Receipt, remains::words(&receipt), []);
        run.set_receipt(receipt);
        let judged = run.judge(&self.results);
        run.stop(self.completed(clean, &judged));
        let message = run.ending().map(|ending| ending.message).unwrap_or_default();
        run.tell(EventKind::RunFinished, message, []);
        self.results
    }

    /// Every phase came to its end: did it do what was asked, and leave the host as it was?
    fn completed(&self, clean: bool, judged: &[ThresholdResult]) -> Ending {
        let counting = self.results.iter().filter(|result| decided::still_counts(result));
        if let Some(ending) = counting.clone().find_map(outcome::ending) {
            return ending;
        }
        if !clean {
            let message = "all phases came to their end, but the host was not seen to be clean afterwards";
            return Ending::new(Cause::LeftBehind, message);
        }
        if let Some(ending) = thresholds::ending(judged) {
            return ending;
        }
        if let Some(ending) = search::ending(&self.run.search_results()) {
            return ending;
        }
        let skipped = self.skipped();
        if let Some(ending) = decided::unproven(&skipped, judged) {
            return ending;
        }
        let message = match skipped.len() {
            0 => "all phases came to their end".to_owned(),
            count => format!("all phases came to their end but {count}, which were skipped"),
        };
        Ending::new(Cause::Completed, message)
    }

    /// Phases that were left out, and why.
    fn skipped(&self) -> Vec<(String, String)> {
        let taken = self.run.decisions.taken();
        let skipped = taken.into_iter().filter(|decision| {
            decision.point() == DecisionPoint::Before && decision.action() == DecisionAction::Skip
        });
        skipped.map(|decision| (decision.phase, decision.reason)).collect()
    }

    /// One phase, to its end or the run's.
    fn phase(&mut self, index: usize, phase: &PlannedPhase, attempt: u32) {
        let run = self.run.clone();
        let asked = if index == 0 && attempt == 1 { self.run.started } else { clock::boottime() };
        self.run.note_quiet(false);
        let mut burners = Vec::with_capacity(phase.plans.len());
        let mut marks = Vec::with_capacity(phase.plans.len());
        let preempted = self.settings.watch.preemptions();
        let oom_kills = self.settings.watch.oom_kills();
        let has_disks = phase.plans.iter().any(|plan| matches!(plan.load, Load::Disk(_)));
        if has_disks {
            self.settings.watch.begin_slowest();
        }
        let plans = match run.admitted.scenario.phases.get(index) {
            Some(asked) => ramp::ramped(asked, &phase.plans, &self.before),
            None => phase.plans.clone(),
        };
        let started = self.start(phase, &plans, &mut burners, &mut marks);
        self.before = plans;
        self.board.set(&self.run.id, entries(&self.run.id, index, &burners));
        self.run.keep_derated();
        let hold = self.hold(index, attempt);
        let mut beside = Beside { marks, culprits: Culprits::default(), restarts: Restarts::new(phase) };
        let mut ended = match started {
            Ok(()) => self.burn(index, phase, hold, &mut burners, &mut beside),
            Err(ending) => Some(ending),
        };
        let Beside { marks, mut culprits, mut restarts } = beside;
        culprits.close_up();
        // What they did in the phase, where they go on beyond it.
        let mut at_end = Vec::new();
        if hold.is_some() && ended.is_none() {
            let each = burners.iter().enumerate();
            at_end = each.map(|of| self.result(of, index, phase, asked, attempt, &culprits)).collect();
            ended = self.wind_down_if_failed(index, attempt, &at_end, phase, &mut burners);
        }
        if let Some(ending) = ended {
            self.run.stop(suspend::explain(self.oom.explain(ending, &burners), &self.run));
        }
        self.end(phase, &mut burners);
        if hold.is_some()
            && let Some(ending) = burners.iter().find_map(failure)
        {
            self.run.stop(self.oom.explain(ending, &burners));
        }
        drop(marks);
        if let Some(ending) = restarts.give_up(&self.run, None) {
            self.run.stop(ending);
        }
        self.waited_for += restarts.results.len();
        self.results.append(&mut restarts.results);
        self.waited_for += burners.iter().filter(|burner| burner.ended.is_some()).count();
        if burners.iter().any(BurnerProcess::hangs) {
            self.run.stop(Ending::new(Cause::BurnerFailed, still_there(&burners)));
        }
        for victim in self.settings.watch.oom_victims_after(oom_kills) {
            self.run.tell(EventKind::Notice, victim.to_string(), []);
        }
        if has_disks {
            for request in self.settings.watch.slowest_requests() {
                self.run.tell(EventKind::Notice, request.to_string(), []);
            }
        }
        culprits.preempted_since(&preempted, self.settings.watch.preemptions());
        for (burner_index, burner) in burners.iter().enumerate() {
            let mut result = self.result((burner_index, burner), index, phase, asked, attempt, &culprits);
            if let Some(before) = at_end.get(burner_index)
                && !decided::is_worse(&result, before)
            {
                result = BurnerResult { ended: result.ended, ..before.clone() };
            }
            let message = format!("burner {} of phase {} ended: {}", result.kind, result.phase, result.ended);
            self.run.tell(EventKind::BurnerEnded, message, [("ended", result.ended.clone())]);
            self.results.push(result);
        }
        self.board.set(&self.run.id, Vec::new());
        self.run.end_phase();
        self.run.end_search();
        if self.run.ending().is_none() {
            self.run.finish_phase(index);
            self.run.keep_baselines(&phase.name, &self.results);
            let fields = [("phase", phase.name.clone())];
            self.run.tell(EventKind::PhaseFinished, format!("phase {} finished", phase.name), fields);
        }
    }

    /// What a burner of a phase did up to now.
    fn result(
        &self,
        (burner_index, burner): (usize, &BurnerProcess),
        index: usize,
        phase: &PlannedPhase,
        asked: Duration,
        attempt: u32,
        culprits: &Culprits,
    ) -> BurnerResult {
        let mut result = result::of_burner(burner, index, burner_index, &phase.name, asked);
        result.attempt = attempt;
        let ending = self.run.ending();
        outcome::judge(&mut result, burner, ending.as_ref(), culprits, &self.run.derated_by());
        result
    }

    /// From the start of the phase's clock to its end. Pauses are read off the clock: it alone knows of them. `hold`: burners
    /// are still there afterwards, and go on for so long unless they are told otherwise.
    fn burn(
        &self,
        index: usize,
        phase: &PlannedPhase,
        hold: Option<Duration>,
        burners: &mut [BurnerProcess],
        beside: &mut Beside,
    ) -> Option<Ending> {
        let Beside { marks, culprits, restarts } = beside;
        let beyond = hold.unwrap_or_default();
        if let Some(ending) = self.begin(index, phase, beyond, burners) {
            return Some(ending);
        }
        let mut burning = true;
        let mut give_up = None;
        loop {
            let now = clock::boottime();
            let phase_clock = self.run.phase_clock()?;
            let elapsed = phase_clock.elapsed(now);
            let mut left = phase.duration.saturating_sub(elapsed);
            if self.run.is_searched_out() && !left.is_zero() && !phase_clock.is_paused() {
                left = Duration::ZERO;
                set_end(burners, now);
            }
            // A pause in the last instant may find burners that have just ended by their own look at the clock.
            let ended_in_time =
                left <= LAST_INSTANT && !burners.is_empty() && burners.iter().all(BurnerProcess::is_gone);
            if left.is_zero() && hold.is_some() {
                return None;
            }
            if left.is_zero() || ended_in_time {
                // Who is still making ready would wait for a start that does not come.
                if let Some(ending) = restarts.give_up(&self.run, None) {
                    return Some(ending);
                }
                if burners.iter().all(BurnerProcess::is_gone) {
                    return self.run.ending().or_else(|| burners.iter().find_map(failure));
                }
                let give_up = *give_up.get_or_insert(now + overrun(phase));
                if now >= give_up {
                    let message = format!(
                        "a burner did not end within {:?} of its phase: it hangs in the kernel",
                        overrun(phase)
                    );
                    return Some(Ending::new(Cause::BurnerFailed, message));
                }
                self.wait(burners, Some(give_up));
                reap(burners);
                continue;
            }
            if phase.restart
                && let Err(ending) = self.revive(index, phase, burners, marks, restarts)
            {
                return Some(ending);
            }
            if let Some(ending) = self.untimely_end(burners) {
                return Some(ending);
            }
            if !phase_clock.is_paused() {
                restarts.follow(&self.run, burners, phase_clock.end_of(phase.duration));
                restarts.kill_due(&self.run, burners, elapsed, left);
            }
            match (burning, phase_clock.is_paused()) {
                (true, true) => {
                    command(burners, Command::Pause);
                    self.freezer.pause(now, phase);
                }
                // A pause and its end may both have come since the last look, and a guard freezes the burners itself.
                (_, false) => {
                    self.freezer.thaw(self.cgroup.as_ref());
                    go_on_until(burners, phase_clock.end_of(phase.duration) + beyond);
                }
                (false, true) => {}
            }
            burning = !phase_clock.is_paused();
            self.oom.look_again(now);
            let look = culprits.look(now, burners);
            self.freezer.freeze(now, self.cgroup.as_ref());
            let look = restarts.due(now, elapsed).map_or(look, |due| look.min(due));
            self.wait(burners, if burning { Some((now + left).min(look)) } else { self.freezer.due() });
            reap(burners);
        }
    }

    fn is_populated(&self) -> bool {
        self.cgroup.as_ref().is_some_and(RunCgroup::is_populated)
    }

    /// A burner that ended, or is about to, and was not told to.
    fn untimely_end(&self, burners: &[BurnerProcess]) -> Option<Ending> {
        // A stop tells burners at once and the supervisor a moment later.
        if let Some(ending) = self.run.ending() {
            return Some(ending);
        }
        burners.iter().find_map(|burner| failure(burner).or_else(|| burner.is_gone().then(|| died(burner))))
    }

    /// Sleeps until there is news or an order, at most to an instant of CLOCK_BOOTTIME.
    fn wait(&self, burners: &mut [BurnerProcess], instant: Option<Duration>) {
        let mut polled: Vec<PollFd<'_>> = burners
            .iter()
            .filter(|burner| !burner.is_gone())
            .map(|burner| PollFd::new(burner.news(), PollFlags::POLLIN))
            .collect();
        polled.push(PollFd::new(self.run.wake.as_fd(), PollFlags::POLLIN));
        // Rounded up: poll counts milliseconds, and waking early would spin.
        let timeout = instant.map_or(PollTimeout::NONE, |instant| {
            let left = until(instant) + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        if poll(&mut polled, timeout).is_err() {
            // A signal; whoever called looks again.
            return;
        }
        let _drained = self.run.wake.read();
        for burner in burners.iter_mut().filter(|burner| !burner.is_gone()) {
            burner.follow();
        }
    }
}

fn reap(burners: &mut [BurnerProcess]) {
    burners.iter_mut().for_each(BurnerProcess::reap);
}

/// After a pause, or a guard's.
fn go_on_until(burners: &[BurnerProcess], end: Duration) {
    set_end(burners, end);
    // One that was started anew begins when it is ready.
    for burner in burners.iter().filter(|burner| burner.block.command() == Command::Pause) {
        burner.block.set_command(Command::Burn);
    }
}

fn set_end(burners: &[BurnerProcess], end: Duration) {
    for burner in burners {
        burner.block.set_end(end);
    }
}

fn command(burners: &[BurnerProcess], command: Command) {
    // One that was told already is not woken again.
    for burner in burners.iter().filter(|burner| burner.block.command() != command) {
        burner.block.set_command(command);
    }
}

fn entries(run: &str, phase: usize, burners: &[BurnerProcess]) -> Vec<BoardEntry> {
    let run: Arc<str> = run.into();
    let entry = |(index, burner): (usize, &BurnerProcess)| BoardEntry {
        run: run.clone(),
        id: format!("{phase}.{index}"),
        kind: burner.plan.load.kind(),
        has_target: burner.plan.load.has_target(),
        latencies: burner.plan.load.latencies(),
        block: burner.block.clone(),
    };
    burners.iter().enumerate().map(entry).collect()
}
