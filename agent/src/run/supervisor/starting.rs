//! Starts the burners of a phase, and its clock as soon as all are ready.

use std::time::Duration;

use ssts_proto::v1::{BurnerOutcome, Cause, EventKind, RunState};

use super::{Supervisor, command, entries, reap, set_end};
use crate::{
    burn::{control::Command, plan::Plan},
    clock,
    observe::probes::BurnerMark,
    run::{
        admit::PlannedPhase,
        child::BurnerProcess,
        ending::Ending,
        failure::{died, failure},
        recovery::Restarts,
        result,
    },
};

/// How long before the instant of a start its workers are told, so that all are awake to meet it.
const HEADS_UP: Duration = Duration::from_millis(50);

/// The same where workers are to begin in step and no instant was named.
const BREATH: Duration = Duration::from_millis(2);

impl Supervisor<'_> {
    /// Starts a process for each burner of a phase.
    pub(super) fn start(
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
    pub(super) fn revive(
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
    pub(super) fn begin(
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
}
