//! What comes of each frame: guards act, thresholds judge, telemetry keeps it.

use std::sync::{Arc, atomic::Ordering};

use ssts_proto::v1::{BurnerResult, Cause, EventKind, GuardStatus, RunState, ThresholdResult};

use super::{ActiveRun, lock};
use crate::{
    burn::control::Command,
    clock,
    guard::{FULL_PPM, GuardSet},
    observe::{frame::Frame, schema::Schema},
    run::{
        guarded::HaltWanted,
        state::Step,
        thresholds::{self, Burning},
    },
};

impl ActiveRun {
    /// Freezes the run for a guard: burners are told at once, by the calling thread.
    pub(in crate::run) fn hold(&self, guard: &str) {
        lock(&self.progress).held_by.push(guard.to_owned());
        if self.step(Step::Pause).is_ok() {
            self.board.for_each_block_of(&self.id, |block| block.set_command(Command::Pause));
        }
        self.wake_supervisor();
        self.tell(EventKind::RunPaused, format!("paused by guard {guard}"), [("guard", guard.to_owned())]);
    }

    /// Goes on for a guard, unless another or somebody keeps the run paused. The supervisor carries it out.
    pub(in crate::run) fn release(&self, guard: &str) {
        let goes_on = {
            let mut progress = lock(&self.progress);
            progress.held_by.retain(|holder| holder != guard);
            progress.held_by.is_empty() && !progress.is_paused_by_user
        };
        if goes_on && self.step(Step::Resume).is_ok() {
            self.wake_supervisor();
            let fields = [("guard", guard.to_owned())];
            self.tell(EventKind::RunResumed, format!("resumed: guard {guard} is clear"), fields);
        }
    }

    /// Has the burners of now and of later phases burn so much of their load, in parts of a million.
    pub(in crate::run) fn derate(&self, load_ppm: u32) {
        self.withheld_ppm.store(FULL_PPM.saturating_sub(load_ppm), Ordering::Relaxed);
        self.keep_derated();
    }

    /// Tells the burners of now what guards left of their load: some may be there that were not when it was decided.
    pub(in crate::run) fn keep_derated(&self) {
        // Read while the board is held: whoever comes last has the latest.
        let left_ppm = || self.decisions.left_of(FULL_PPM - self.withheld_ppm.load(Ordering::Relaxed));
        self.board.for_each_block_of(&self.id, |block| block.derate(left_ppm()));
    }

    /// Whether guards took a part of the load.
    pub(in crate::run) fn is_derated(&self) -> bool {
        self.withheld_ppm.load(Ordering::Relaxed) > 0
    }

    /// How the guards of this run stand; `host`: those of its host.
    pub fn guard_statuses(&self, host: Vec<GuardStatus>) -> Vec<GuardStatus> {
        self.guard_board.statuses(host)
    }

    /// The guards that derated its load so far.
    pub(in crate::run) fn derated_by(&self) -> Vec<String> {
        let progress = lock(&self.progress);
        let derated = progress.events.iter().filter(|event| event.kind() == EventKind::LoadDerated);
        let mut names: Vec<String> = derated.filter_map(|event| event.fields.get("guard").cloned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Called by the tick with every frame: guards look at it, telemetry takes it in. Says when a guard wants a halt.
    pub(in crate::run) fn watch(
        &self,
        schema: &Arc<Schema>,
        frame: &Frame,
        host: &GuardSet,
    ) -> Option<HaltWanted> {
        let state = self.state();
        if matches!(state, RunState::Stopping | RunState::Finished) {
            return None;
        }
        let halt = lock(&self.guarded).guards.follow(self, host, schema, frame);
        // Who started it has no answer before it is recorded, and can't renew.
        if self.is_recorded() && self.lease.has_expired() {
            self.expire();
        }
        self.search(state, schema, frame);
        self.settle(state, schema, frame);
        let rises = lock(&self.guarded).errors.check(schema, frame);
        self.decisions.note_errors(&rises);
        for rise in rises {
            let message = rise.message();
            let fields = [
                ("metric", rise.metric.to_owned()),
                ("place", rise.place),
                ("increase", rise.by.to_string()),
            ];
            self.tell(EventKind::HardwareError, message, fields);
        }
        // After the reaction. Nobody else takes this lock before the run is over.
        let mut telemetry = lock(&self.telemetry);
        if state == RunState::Pending {
            telemetry.add_preparation(schema, frame);
        } else {
            telemetry.add(schema, frame);
        }
        drop(telemetry);
        self.judge_frame(state, schema, frame);
        if self.decisions.look(schema, frame) {
            self.wake_supervisor();
        }
        halt
    }

    /// Thresholds look at a frame; one that fails may end the run.
    fn judge_frame(&self, state: RunState, schema: &Schema, frame: &Frame) {
        let phase = (state == RunState::Running).then(|| self.phase_clock()).flatten();
        let now = clock::boottime();
        // The start of a phase may lie ahead.
        let burning = phase.filter(|phase| phase.has_begun(now));
        let burning = burning.map(|phase| Burning { phase: phase.index(), elapsed: phase.elapsed(now) });
        let failed = lock(&self.thresholds).look(schema, frame, &self.admitted.phases, burning);
        for failed in failed {
            if failed.aborts {
                self.stop_saying(Cause::ThresholdFailed, || thresholds::words(&failed.result));
            }
            self.tell_failed(&failed.result);
        }
    }

    pub(in crate::run) fn tell_failed(&self, result: &ThresholdResult) {
        let that = result.threshold.as_ref().map(|threshold| threshold.that.clone()).unwrap_or_default();
        let value = result.value.map(|value| value.to_string()).unwrap_or_default();
        let fields = [("threshold", that), ("value", value), ("unit", result.unit.clone())];
        self.tell(EventKind::ThresholdFailed, thresholds::words(result), fields);
    }

    /// Judges the thresholds by what was measured and what burners counted: all phases are over that will be.
    pub(in crate::run) fn judge(&self, results: &[BurnerResult]) -> Vec<ThresholdResult> {
        let (all, untold) = lock(&self.thresholds).outcomes(results, &self.admitted.phases);
        untold.iter().for_each(|result| self.tell_failed(result));
        lock(&self.judged).clone_from(&all);
        all
    }

    /// What came of the thresholds; none before the end.
    pub(in crate::run) fn threshold_results(&self) -> Vec<ThresholdResult> {
        lock(&self.judged).clone()
    }
}
