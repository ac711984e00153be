//! The phases of a run one after the other, and what is decided between them.

use std::time::Duration;

use ssts_proto::v1::{
    AfterPhase, BurnerOutcome, BurnerResult, Cause, DecisionAction, DecisionPoint, JudgedCondition,
    Requirement, RunState, ThresholdResult,
};

use super::{PlannedPhase, Supervisor, command, ending::overrun, reap, set_end};
use crate::{
    burn::control::Command,
    clock,
    run::{
        child::BurnerProcess,
        decisions::{self, after_phase, before_phase},
        ending::Ending,
        failure::failure,
        outcome, thresholds,
    },
};

/// Between two steps of the load while it goes down: a tenth of a second is a duty cycle's tenfold.
const STEP: Duration = Duration::from_millis(50);
/// From the end of the load to the end of its burners: the tick looks once more.
const LAST_READINGS: Duration = Duration::from_millis(250);
/// How long burners go on by themselves beyond what they were last told.
const AHEAD: Duration = Duration::from_secs(5);
/// The tick answers within this time beyond the window, or is not asked any longer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What comes of a phase before it begins.
enum Before {
    Begin,
    /// It is left out.
    Skip,
    /// The run ends.
    End,
}

impl Supervisor<'_> {
    /// All phases, to their end or the run's.
    pub(super) fn phases(&mut self) {
        let run = self.run.clone();
        // Why the next one is left out.
        let mut left_out: Option<String> = None;
        for (index, phase) in run.admitted.phases.iter().enumerate() {
            match left_out.take() {
                Some(why) => {
                    self.skip(index, why, Vec::new(), Duration::ZERO);
                    continue;
                }
                None => match self.before(index) {
                    Before::Begin => {}
                    Before::Skip => continue,
                    Before::End => break,
                },
            }
            left_out = self.attempts(index, phase);
            if run.ending().is_some() {
                break;
            }
        }
    }

    /// A phase, and once more for as long as it fails and that is wanted. Gives the reason where the next is to be left out.
    fn attempts(&mut self, index: usize, phase: &PlannedPhase) -> Option<String> {
        let run = self.run.clone();
        let after = run.admitted.scenario.phases.get(index).and_then(|phase| phase.after);
        let mut attempt = 1;
        loop {
            self.phase(index, phase, attempt);
            let on_fail = after.map(|after| on_fail(&after, attempt));
            // To wind down is decided while its burners are still there.
            let on_fail = on_fail.filter(|action| *action != DecisionAction::WindDown)?;
            if run.ending().is_some() {
                return None;
            }
            let is_of = |result: &&BurnerResult| result.phase_index as usize == index && !result.superseded;
            let results: Vec<_> = self.results.iter().filter(is_of).cloned().collect();
            let (_, conditions) = self.judged(index, &results);
            let reason = self.decide_after(index, attempt, on_fail, conditions)?;
            match on_fail {
                DecisionAction::Repeat => {
                    for result in
                        self.results.iter_mut().filter(|result| result.phase_index as usize == index)
                    {
                        result.superseded = true;
                    }
                    run.begin_again(index, &phase.name);
                    attempt += 1;
                }
                DecisionAction::Skip => return Some(format!("phase {}: {reason}", phase.name)),
                _ => return None,
            }
        }
    }

    /// What the phase came to: its thresholds, and all that is judged of it.
    fn judged(&self, index: usize, results: &[BurnerResult]) -> (Vec<ThresholdResult>, Vec<JudgedCondition>) {
        let phase = self.run.admitted.phases.get(index).map(|phase| phase.name.as_str());
        let thresholds = self.run.judge_phase(phase.unwrap_or_default(), results);
        let conditions = after_phase(&thresholds, results);
        (thresholds, conditions)
    }

    /// Decides what follows a phase. Gives the reason where it failed.
    fn decide_after(
        &self,
        index: usize,
        attempt: u32,
        on_fail: DecisionAction,
        conditions: Vec<JudgedCondition>,
    ) -> Option<String> {
        let has_passed = conditions.iter().all(|condition| condition.held);
        let mut decision = self.run.decision(index, DecisionPoint::After, Duration::ZERO);
        decision.attempt = attempt;
        decision.set_action(if has_passed { DecisionAction::Continue } else { on_fail });
        decision.reason = if has_passed { "the phase passed".into() } else { decisions::failed(&conditions) };
        decision.conditions = conditions;
        let reason = decision.reason.clone();
        self.run.decide(decision);
        (!has_passed).then_some(reason)
    }

    /// Leaves a phase out.
    fn skip(&self, index: usize, why: String, conditions: Vec<JudgedCondition>, waited: Duration) {
        self.run.skip_phase(index, &why);
        let mut decision = self.run.decision(index, DecisionPoint::Before, waited);
        decision.set_action(DecisionAction::Skip);
        (decision.reason, decision.conditions) = (why, conditions);
        self.run.decide(decision);
    }

    /// Waits until what a phase requires holds, for as long as it says.
    fn before(&self, index: usize) -> Before {
        let run = self.run.clone();
        let Some(require) = run.admitted.scenario.phases.get(index).and_then(|phase| phase.require.as_ref())
        else {
            return Before::Begin;
        };
        // Nothing is there that a stop would have to end.
        run.note_quiet(true);
        let wait = Duration::from_millis(require.wait_ms);
        let mut waited = Duration::ZERO;
        let conditions = loop {
            let Some((conditions, took)) = self.look_once(require) else { return Before::End };
            waited += took;
            if conditions.iter().all(|condition| condition.held) || waited >= wait {
                break conditions;
            }
            waited += self.rest(STEP);
        };
        let mut decision = run.decision(index, DecisionPoint::Before, waited);
        if conditions.iter().all(|condition| condition.held) {
            decision.set_action(DecisionAction::Begin);
            (decision.reason, decision.conditions) = (decisions::begun(&conditions), conditions);
            run.decide(decision);
            return Before::Begin;
        }
        let reason = decisions::unmet(&conditions);
        let (cause, action) = match require.otherwise() {
            DecisionAction::WindDown => (Cause::WoundDown, DecisionAction::WindDown),
            DecisionAction::Fail => (Cause::RequirementFailed, DecisionAction::Fail),
            _ => {
                self.skip(index, reason, conditions, waited);
                return Before::Skip;
            }
        };
        decision.set_action(action);
        let message = format!("before phase {}: {reason}", decision.phase);
        (decision.reason, decision.conditions) = (reason, conditions);
        run.decide(decision);
        run.stop(Ending::new(cause, message));
        Before::End
    }

    /// Looks at a requirement once, over its window. Gives what was seen and how long that took, pauses left out; nothing where
    /// the run ends meanwhile.
    fn look_once(&self, require: &Requirement) -> Option<(Vec<JudgedCondition>, Duration)> {
        let run = &self.run;
        run.ask(require);
        let give_up = decisions::window(require) + ANSWERS_WITHIN;
        let mut took = Duration::ZERO;
        let mut before = clock::boottime();
        let seen = loop {
            if run.ending().is_some() {
                run.decisions.forget();
                return None;
            }
            let is_paused = run.state() == RunState::Paused;
            let now = clock::boottime();
            if !is_paused {
                took += now.saturating_sub(before);
            }
            before = now;
            match run.decisions.answer() {
                // What was read while it was paused is as good, but nothing is decided then.
                Some(_) if is_paused => run.ask(require),
                Some(seen) => break Some(seen),
                None if took >= give_up => break None,
                None => {}
            }
            self.wait(&mut [], Some(now + give_up));
        };
        run.decisions.forget();
        let counted: u64 = self.results.iter().map(|result| result.verify_errors + result.io_errors).sum();
        let conditions = before_phase(require, seen.as_ref(), counted + run.decisions.hardware_errors());
        Some((conditions, took))
    }

    /// Sleeps, less when there is an order. Gives how long, a pause left out.
    fn rest(&self, time: Duration) -> Duration {
        let begun = clock::boottime();
        if self.run.ending().is_none() {
            self.wait(&mut [], Some(begun + time));
        }
        let is_paused = self.run.state() == RunState::Paused;
        if is_paused { Duration::ZERO } else { clock::boottime().saturating_sub(begun) }
    }

    /// How long the burners of a phase have to be there beyond its end, because its failure would wind the run down.
    pub(super) fn hold(&self, index: usize, attempt: u32) -> Option<Duration> {
        let scenario = &self.run.admitted.scenario;
        let after = scenario.phases.get(index)?.after?;
        (on_fail(&after, attempt) == DecisionAction::WindDown).then(|| self.winding() + AHEAD)
    }

    fn winding(&self) -> Duration {
        let winding = self.run.admitted.scenario.wind_down.map(|wind_down| wind_down.duration_ms);
        Duration::from_millis(winding.unwrap_or_default())
    }

    /// At the end of a phase whose burners are still there: brings their loads down where it failed. Gives why the run ends, if
    /// it does.
    pub(super) fn wind_down_if_failed(
        &self,
        index: usize,
        attempt: u32,
        results: &[BurnerResult],
        phase: &PlannedPhase,
        burners: &mut [BurnerProcess],
    ) -> Option<Ending> {
        if let Some(ending) = self.untimely_end(burners) {
            return Some(ending);
        }
        self.run.finish_phase(index);
        let (judged, conditions) = self.judged(index, results);
        // What is read from here on is no longer the phase's.
        self.run.end_phase();
        let reason = self.decide_after(index, attempt, DecisionAction::WindDown, conditions);
        let Some(reason) = reason else { return self.let_end(phase, burners) };
        if let Some(ending) = self.wind_down(burners) {
            return Some(ending);
        }
        let ending = results.iter().find_map(outcome::ending).or_else(|| thresholds::ending(&judged));
        // Of what failed one of these says why.
        Some(match ending {
            Some(Ending { cause, message }) => {
                Ending::new(cause, format!("{message}; the run was wound down"))
            }
            None => Ending::new(Cause::WoundDown, reason),
        })
    }

    /// Has burners end by their own look at the clock, as they do at the end of any phase: what is killed in the run's cgroup
    /// would take those of the next phase with it (kill_seq in kernel/cgroup/cgroup.c, of a child that is cloned into it).
    fn let_end(&self, phase: &PlannedPhase, burners: &mut [BurnerProcess]) -> Option<Ending> {
        let now = clock::boottime();
        set_end(burners, now);
        let give_up = now + overrun(phase);
        while !burners.iter().all(BurnerProcess::is_gone) {
            if let Some(ending) = self.run.ending() {
                return Some(ending);
            }
            if clock::boottime() >= give_up {
                let message = format!(
                    "a burner did not end within {:?} of its phase: it hangs in the kernel",
                    overrun(phase)
                );
                return Some(Ending::new(Cause::BurnerFailed, message));
            }
            self.wait(burners, Some(give_up));
            reap(burners);
        }
        self.run.ending().or_else(|| burners.iter().find_map(failure))
    }

    /// Brings the loads down to nothing, and lets the tick look once more. Gives why it was cut short, if it was.
    fn wind_down(&self, burners: &mut [BurnerProcess]) -> Option<Ending> {
        let whole = self.winding();
        let mut gone = Duration::ZERO;
        let mut before = clock::boottime();
        loop {
            if let Some(ending) = self.untimely_end(burners) {
                return Some(ending);
            }
            let now = clock::boottime();
            let is_paused = self.run.state() == RunState::Paused;
            if !is_paused {
                gone += now.saturating_sub(before);
            }
            before = now;
            if gone >= whole + LAST_READINGS {
                return None;
            }
            self.run.wind(left_ppm(gone, whole));
            set_end(burners, now + whole.saturating_sub(gone) + AHEAD);
            command(burners, if is_paused { Command::Pause } else { Command::Burn });
            self.wait(burners, Some(now + STEP));
            reap(burners);
        }
    }
}

/// What is left of the load, in parts of a million: a straight line to nothing.
fn left_ppm(gone: Duration, whole: Duration) -> u32 {
    let left = whole.saturating_sub(gone).as_secs_f64() / whole.as_secs_f64().max(1e-9);
    (left.clamp(0.0, 1.0) * 1e6) as u32
}

/// What is done when a phase fails for the n-th time.
fn on_fail(after: &AfterPhase, attempt: u32) -> DecisionAction {
    match after.on_fail() {
        DecisionAction::Repeat if attempt > after.repeats.unwrap_or_default() => match after.otherwise() {
            DecisionAction::Unspecified => DecisionAction::Continue,
            otherwise => otherwise,
        },
        action => action,
    }
}

/// Whether a burner of a phase that was repeated still speaks against the run: what it found does, what it missed was made good.
pub(super) fn still_counts(result: &BurnerResult) -> bool {
    !result.superseded || !matches!(result.outcome(), BurnerOutcome::Missed | BurnerOutcome::RequestsFailed)
}

/// Whether something went wrong after its result was taken.
pub(super) fn is_worse(now: &BurnerResult, before: &BurnerResult) -> bool {
    let has_failed = matches!(
        now.outcome(),
        BurnerOutcome::WrongData | BurnerOutcome::Died | BurnerOutcome::Failed | BurnerOutcome::OutOfMemory
    );
    has_failed || now.verify_errors > before.verify_errors || now.io_errors > before.io_errors
}

/// What skipped phases make of a run that nothing else speaks against: what is left has to prove it.
pub(super) fn unproven(skipped: &[(String, String)], judged: &[ThresholdResult]) -> Option<Ending> {
    let (phase, why) = skipped.first()?;
    // All of them were passed, or this would not be asked.
    if !judged.is_empty() {
        return None;
    }
    let more = if skipped.len() > 1 { format!(" and {} more", skipped.len() - 1) } else { String::new() };
    let message = format!(
        "inconclusive: phase {phase}{more} was skipped ({why}), and no threshold proves what is left"
    );
    Some(Ending::new(Cause::PhaseSkipped, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_goes_down_in_a_straight_line() {
        let whole = Duration::from_secs(10);
        let left = [0, 5, 10, 11].map(|seconds| left_ppm(Duration::from_secs(seconds), whole));
        assert_eq!(left, [1_000_000, 500_000, 0, 0]);
        assert_eq!(left_ppm(Duration::ZERO, Duration::ZERO), 0);
    }

    #[test]
    fn a_phase_is_repeated_so_often_and_then_something_else_is_done() {
        let mut after = AfterPhase { repeats: Some(2), ..AfterPhase::default() };
        use DecisionAction::{Continue, Repeat, WindDown};
        after.set_on_fail(Repeat);
        assert_eq!([1, 2, 3].map(|attempt| on_fail(&after, attempt)), [Repeat, Repeat, Continue]);
        after.set_otherwise(WindDown);
        assert_eq!([2, 3].map(|attempt| on_fail(&after, attempt)), [Repeat, WindDown]);
    }

    #[test]
    fn a_skipped_phase_leaves_a_run_unproven_unless_a_threshold_proves_it() {
        let skipped = [("a".to_owned(), "it was hot".to_owned())];
        assert_eq!(unproven(&[], &[]), None);
        assert_eq!(unproven(&skipped, &[ThresholdResult::default()]), None);
        let ending = unproven(&skipped, &[]).unwrap();
        assert!(ending.cause == Cause::PhaseSkipped && ending.message.contains("it was hot"), "{ending:?}");
    }

    #[test]
    fn what_a_repeated_phase_missed_no_longer_counts_and_what_it_found_does() {
        let result = |outcome: BurnerOutcome| BurnerResult {
            outcome: outcome.into(),
            superseded: true,
            ..BurnerResult::default()
        };
        assert!(!still_counts(&result(BurnerOutcome::Missed)));
        assert!(still_counts(&result(BurnerOutcome::IoErrors)));
        assert!(still_counts(&BurnerResult { superseded: false, ..result(BurnerOutcome::Missed) }));
    }
}
