//! Carries out a run: one thread that starts the burners of a phase, sees them burn and end, and goes on to the next. It
//! sleeps in poll(2) on its burners' pipes and on the run's orders.

mod decided;

use std::{
    os::fd::AsFd as _,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssts_proto::v1::{
    BurnerOutcome, BurnerResult, Cause, DecisionAction, DecisionPoint, EventKind, ReceiptState, RunState,
    ThresholdResult,
};
use tracing::{error, warn};

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
    traced::whereabouts,
};
use crate::{
    burn::{
        control::Command,
        disk,
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

/// How long after the end of a phase its burners may still be ending (I/Os in flight) before they are killed.
const OVERRUN: Duration = Duration::from_secs(1);
/// What burners may be ahead of the supervisor's clock when a pause stops that.
const LAST_INSTANT: Duration = Duration::from_millis(20);
/// How often the supervisor says that a burner does not go, once it has been killed.
const COMPLAINT: Duration = Duration::from_secs(1);
/// How long a burner may take to end that was killed, beyond what its memory takes: then the run ends without it, and what was
/// seen of it is told. An I/O to a disk in trouble takes so long before its driver gives it up (30 s, /sys/block/X/device/timeout).
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// How long before the instant of a start its workers are told, so that all are awake to meet it.
const HEADS_UP: Duration = Duration::from_millis(50);
/// The same where workers are to begin in step and no instant was named.
const BREATH: Duration = Duration::from_millis(2);

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

    /// Starts a process for each burner of a phase.
    fn start(
        &self,
        phase: &PlannedPhase,
        plans: &[Plan],
        burners: &mut Vec<BurnerProcess>,
        marks: &mut Vec<BurnerMark>,
    ) -> Result<(), Ending> {
        for plan in plans {
            let has_probe = self.settings.watch.core_busy().is_some();
            if plan.load.holds_cores() && !has_probe {
                let message =
                    "the scheduler probe is not there: the cores' load is held by /proc/stat, less evenly";
                self.run.tell(EventKind::Notice, message, []);
            }
            burners.push(self.start_one(phase, plan, marks)?);
            // The tick knows only those on the board, and many take a while to start.
            for burner in burners.iter() {
                burner.block.push_deadline(self.settings.config.deadline);
            }
        }
        Ok(())
    }

    /// Starts the process of one burner.
    fn start_one(
        &self,
        phase: &PlannedPhase,
        plan: &Plan,
        marks: &mut Vec<BurnerMark>,
    ) -> Result<BurnerProcess, Ending> {
        let watch = &self.settings.watch;
        let core_busy = watch.core_busy().filter(|_| plan.load.holds_cores());
        let mut plan = plan.clone();
        self.settings.found.recall(&mut plan);
        self.settings
            .remains
            .undo()
            .note(&self.run.id, &plan.load)
            .map_err(|error| Ending::new(Cause::BurnerFailed, error.to_string()))?;
        let alive = self.settings.remains.alive().fd();
        let deadline = self.settings.config.deadline;
        let burner = BurnerProcess::start(plan, deadline, self.cgroup.as_ref(), core_busy, alive).map_err(
            |error| Ending::new(Cause::BurnerFailed, format!("a burner could not be started: {error}")),
        )?;
        if let Some(load_ppm) = self.run.searched_ppm(phase).filter(|_| burner.plan.load.has_target()) {
            burner.block.search(load_ppm);
        }
        marks.push(watch.mark(burner.pid(), core_busy.is_some()));
        Ok(burner)
    }

    /// Starts those anew that have died, where the phase asks for that.
    fn revive(
        &self,
        index: usize,
        phase: &PlannedPhase,
        burners: &mut [BurnerProcess],
        marks: &mut Vec<BurnerMark>,
        restarts: &mut Restarts,
    ) -> Result<(), Ending> {
        let gone = clock::boottime();
        let mut any = false;
        for place in 0..burners.len() {
            let burner = &burners[place];
            if !burner.is_gone() || self.run.ending().is_some() {
                continue;
            }
            let why = failure(burner).unwrap_or_else(|| died(burner));
            let why = self.oom.explain(why, burners);
            // What computed a wrong result, or said that it can't go on, has not just died.
            if why.cause != Cause::BurnerDied {
                return Err(why);
            }
            restarts.may_restart(place, burner)?;
            restarts.give_up(&self.run, Some(place));
            let mut result = result::of_burner(burner, index, place, &phase.name, self.run.started);
            result.ready_after_ns = None;
            result.set_outcome(BurnerOutcome::Restarted);
            result.outcome_reason = burner.ending();
            let message = format!("burner {} of phase {} ended: {}", result.kind, result.phase, result.ended);
            self.run.tell(EventKind::BurnerEnded, message, [("ended", result.ended.clone())]);
            burners[place] = self.start_one(phase, &phase.plans[place], marks)?;
            // Set anew when it is ready; after a pause that came before, it counts from here.
            burners[place].block.set_start(gone);
            restarts.begin(place, gone, result);
            any = true;
        }
        if any {
            self.board.set(&self.run.id, entries(&self.run.id, index, burners));
            self.run.keep_derated();
        }
        Ok(())
    }

    /// Until every burner waits for its start, the run is on record and not paused.
    fn make_ready(&self, burners: &mut [BurnerProcess]) -> Option<Ending> {
        loop {
            if let Some(ending) = self.untimely_end(burners) {
                return Some(ending);
            }
            let is_ready = burners.iter().all(|burner| burner.prepared.is_some());
            if is_ready && self.run.state() != RunState::Paused && self.run.is_recorded() {
                if !self.run.is_held() {
                    return None;
                }
                self.run.note_ready();
            }
            self.wait(burners, None);
            reap(burners);
        }
    }

    /// Starts the phase's clock as soon as all is ready. `hold`: how long its burners go on beyond its end.
    fn begin(
        &self,
        index: usize,
        phase: &PlannedPhase,
        hold: Duration,
        burners: &mut [BurnerProcess],
    ) -> Option<Ending> {
        loop {
            if let Some(ending) = self.make_ready(burners) {
                return Some(ending);
            }
            let start = self.start_of(phase);
            if let Some(early) = start.checked_sub(HEADS_UP).filter(|early| *early > clock::boottime()) {
                self.wait(burners, Some(early));
                reap(burners);
                continue;
            }
            // It fails when a stop or a pause came in between.
            if self.run.begin_phase(index, start).is_ok() {
                burners.iter().for_each(|burner| burner.block.set_start(start));
                set_end(burners, start + phase.duration + hold);
                command(burners, Command::Burn);
                break;
            }
        }
        // What was found while other burners made ready beside it may be their doing.
        if let [BurnerProcess { plan, found: Some(found), .. }] = burners
            && !self.board.is_shared(&self.run.id)
        {
            self.settings.found.keep(plan, *found);
        }
        let fields = [("phase", phase.name.clone()), ("index", index.to_string())];
        self.run.tell(EventKind::PhaseStarted, format!("phase {} started", phase.name), fields);
        let prepared = burners.iter().filter_map(|burner| burner.prepared.as_ref());
        for notice in prepared.flat_map(|prepared| &prepared.notices) {
            self.run.tell(EventKind::Notice, notice, []);
        }
        None
    }

    /// When the phase's clock starts, once all is ready.
    fn start_of(&self, phase: &PlannedPhase) -> Duration {
        // Looked up anew each time: the wall clock may be set meanwhile.
        let named = self.run.named_start().and_then(clock::boottime_at);
        let in_step = phase.plans.iter().any(|plan| plan.load.is_in_step());
        let at_once = || clock::boottime() + if in_step { BREATH } else { Duration::ZERO };
        named.unwrap_or_else(at_once)
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

    /// Brings every burner to its end: asked first, killed after the grace. Returns when none is left, or none but those that a
    /// kill does not end.
    fn end(&self, phase: &PlannedPhase, burners: &mut [BurnerProcess]) {
        command(burners, Command::Stop);
        self.freezer.thaw(self.cgroup.as_ref());
        let grace = clock::boottime() + self.settings.config.stop_grace;
        while clock::boottime() < grace && !burners.iter().all(BurnerProcess::is_gone) {
            self.wait(burners, Some(grace));
        }
        // One that is still on its way out would be taken for somebody else's.
        reap(burners);
        // One that holds much memory takes its time without hanging.
        let mut complain = Instant::now() + overrun(phase);
        let mut told = false;
        let give_up = grace + HANGS_AFTER + overrun(phase);
        let mut pause = Duration::from_millis(1);
        while !burners.iter().all(BurnerProcess::is_gone) || self.is_populated() {
            if let Some(cgroup) = &self.cgroup
                && let Err(error) = cgroup.kill()
            {
                warn!(run = self.run.id, %error, "cgroup.kill failed");
            }
            for burner in burners.iter_mut().filter(|burner| !burner.is_gone()) {
                burner.kill();
            }
            self.wait(burners, Some(clock::boottime() + pause));
            pause = (pause * 2).min(Duration::from_millis(100));
            if Instant::now() >= complain {
                let there = still_there(burners);
                error!(run = self.run.id, "{there}");
                if !told {
                    self.run.tell(EventKind::Notice, there, []);
                    told = true;
                }
                complain += COMPLAINT;
            }
            if clock::boottime() >= give_up {
                self.give_up(burners);
                break;
            }
        }
        // What lives in the cgroup and is no burner of ours has not been seen to end either.
        self.run.note_quiet(!self.is_populated() && !burners.iter().any(BurnerProcess::hangs));
        reap(burners);
    }

    /// The run ends without those that a kill does not end; whoever looks after it knows them.
    fn give_up(&self, burners: &mut [BurnerProcess]) {
        for burner in burners.iter_mut().filter(|burner| !burner.is_gone()) {
            burner.give_up();
            self.run.has_hanging(burner.pid(), burner.plan.load.kind());
            error!(
                run = self.run.id,
                pid = burner.pid(),
                "the run ends without a burner that hangs in the kernel"
            );
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

/// Who was killed and did not end, and where in the kernel it sleeps.
fn still_there(burners: &[BurnerProcess]) -> String {
    let there = burners.iter().filter(|burner| !burner.is_gone());
    let there: Vec<_> = there
        .map(|burner| format!("{} burner {}", burner.plan.load.kind(), whereabouts(burner.pid())))
        .collect();
    if there.is_empty() {
        return "what lives in the run's cgroup was killed and is still there".into();
    }
    format!("{} was killed and is still there: it hangs in the kernel", there.join(", "))
}

/// How long after the end of a phase its burners may still be ending. The kernel gives the memory of a process back before
/// it closes its files, which is what is seen here: some 5 GB/s in pages of 4 KiB, 1 GiB/s where the host is busy.
fn overrun(phase: &PlannedPhase) -> Duration {
    let held_bytes: u64 = phase.plans.iter().map(|plan| plan.load.memory_bytes()).sum();
    let remounts =
        phase.plans.iter().any(|plan| matches!(&plan.load, Load::Disk(load) if load.remount().is_some()));
    let remounting = if remounts { disk::BUSY_AT_MOST } else { Duration::ZERO };
    OVERRUN + Duration::from_secs(held_bytes >> 30) + remounting
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
