//! What became of a burner: whether it did what was asked, and if not, why not as far as that can be known.

mod rate;

use ssts_proto::v1::{BurnerOutcome, BurnerResult, Cause, WorkerLoad};

use super::{child::BurnerProcess, culprits::Culprits, ending::Ending, result};
use crate::burn::{memory::wrong_words, profile::LoadProfile};

/// Below these, percent of a core, a reason is none.
const WORTH_TELLING: f64 = 0.5;

/// A duty cycle's period, in ns: what the last one missed could not be made good. It matters to phases below a second.
const LAST_PERIOD_NS: f64 = 10e6;

/// What others took of a core too much is made up for as far as it lies within this time: the pacer's memory, in ns.
const MADE_UP_NS: f64 = 500e6;

/// Fills in the outcome. `ending` is the run's, where it was settled before the phase came to its end.
pub(super) fn judge(
    result: &mut BurnerResult,
    burner: &BurnerProcess,
    ending: Option<&Ending>,
    culprits: &Culprits,
    derated_by: &[String],
) {
    let (outcome, reason) = if burner.hangs() {
        let reason = "it was killed and is still there: it hangs in the kernel";
        (BurnerOutcome::Failed, reason.to_owned())
    } else if result.verify_errors > 0 {
        let words = &burner.wrong_words;
        let told = burner.failure.clone().unwrap_or_default();
        (BurnerOutcome::WrongData, if words.is_empty() { told } else { wrong_words(words) })
    } else if result::is_full(&result.io_error) {
        (BurnerOutcome::DiskFull, burner.failure.clone().unwrap_or_else(|| result.io_error.clone()))
    } else if let Some(failure) = &burner.failure {
        (BurnerOutcome::Failed, failure.clone())
    } else if burner.was_killed() && ending.is_some_and(|ending| ending.cause == Cause::OutOfMemory) {
        (BurnerOutcome::OutOfMemory, "the kernel's OOM killer ended it".into())
    } else if burner.has_failed() {
        (BurnerOutcome::Died, burner.ending())
    } else if result.io_errors > 0 {
        (BurnerOutcome::IoErrors, result.io_error.clone())
    } else if let Some(ending) = ending {
        (BurnerOutcome::Stopped, ending.message.clone())
    } else if let Some(shortage) = result::memory_shortage(burner) {
        (BurnerOutcome::MemoryShort, shortage)
    } else if let Some(core) = result::never_burned(burner) {
        (BurnerOutcome::NothingDone, format!("the worker of core {core} never ran"))
    } else if result.operations == 0 && !may_rest(burner) {
        (BurnerOutcome::NothingDone, "not a single operation was done".into())
    } else if let Some(reason) = result::failed_requests(result, burner) {
        (BurnerOutcome::RequestsFailed, reason)
    } else if result::never_remounted(burner) {
        let reason = "the phase ended before all was read back from the file system that was mounted anew";
        (BurnerOutcome::NothingDone, reason.into())
    } else if let Some(reason) = missed(result, burner.plan.load.profile(), culprits, derated_by) {
        (BurnerOutcome::Missed, reason)
    } else if let Some(reason) = rate::missed(result, burner, derated_by) {
        (BurnerOutcome::Missed, reason)
    } else {
        (BurnerOutcome::Done, String::new())
    };
    result.set_outcome(outcome);
    result.outcome_reason = reason;
}

/// What a burner that came to the end of its phase makes of a run that is not ending yet.
pub(super) fn ending(result: &BurnerResult) -> Option<Ending> {
    let of = |what: String| format!("burner {} of phase {}{what}", result.kind, result.phase);
    match result.outcome() {
        BurnerOutcome::IoErrors => Some(Ending::new(
            Cause::IoErrors,
            of(format!(": {} I/Os failed, the first with: {}", result.io_errors, result.outcome_reason)),
        )),
        BurnerOutcome::DiskFull => {
            Some(Ending::new(Cause::DiskFull, of(format!(" had no room: {}", result.outcome_reason))))
        }
        BurnerOutcome::NothingDone => {
            Some(Ending::new(Cause::NothingDone, of(format!(": {}", result.outcome_reason))))
        }
        BurnerOutcome::MemoryShort => {
            Some(Ending::new(Cause::MemoryShort, of(format!(" {}", result.outcome_reason))))
        }
        BurnerOutcome::RequestsFailed => {
            Some(Ending::new(Cause::RequestsFailed, of(format!(": {}", result.outcome_reason))))
        }
        BurnerOutcome::Missed => {
            Some(Ending::new(Cause::LoadMissed, of(format!(" missed its load: {}", result.outcome_reason))))
        }
        BurnerOutcome::Unspecified
        | BurnerOutcome::Done
        | BurnerOutcome::WrongData
        | BurnerOutcome::Died
        | BurnerOutcome::Failed
        | BurnerOutcome::OutOfMemory
        | BurnerOutcome::Restarted
        | BurnerOutcome::Stopped => None,
    }
}

/// Who fills what others leave may find nothing left, and a search may end before it asked for anything.
fn may_rest(burner: &BurnerProcess) -> bool {
    let fills = burner.plan.load.profile().is_some_and(|profile| profile.of_core);
    fills || burner.block.searched_ppm().is_some()
}

/// The reason, where a load was asked and was not there.
fn missed(
    result: &BurnerResult,
    profile: Option<&LoadProfile>,
    culprits: &Culprits,
    derated_by: &[String],
) -> Option<String> {
    let profile = profile?;
    let burning_ns = result.burning_ns.max(1) as f64;
    let tolerance = profile.tolerance? * 100.0 + 100.0 * LAST_PERIOD_NS / burning_ns;
    let loads = by_core(&result.loads);
    let worst = loads
        .iter()
        .filter(|load| is_off(load, burning_ns, tolerance))
        .max_by(|one, other| distance(one).abs().total_cmp(&distance(other).abs()))?;
    let mut reason = format!(
        "core {} had {:.1} % instead of {:.1} %",
        worst.core, worst.achieved_percent, worst.asked_percent
    );
    if distance(worst) > 0.0 {
        reason += ": single operations take too long for so small a load";
        return Some(reason);
    }
    let mut parts = Vec::new();
    if let Some(points) = worst.derated_percent {
        let guards = derated_by.join(", ");
        parts.push(format!("{guards} derated the load by {points:.1} points (guards, see the events)"));
    }
    if worst.waited_percent >= WORTH_TELLING {
        parts.push(format!("its worker waited for the core {:.1} % of the time", worst.waited_percent));
    }
    parts.extend(culprits.told(worst.core));
    if parts.is_empty() {
        parts.push("its worker slept: the kernel woke it late, or made it wait for memory or I/O".into());
    }
    reason += ": ";
    reason += &parts.join("; ");
    Some(reason)
}

/// The load of each core: what its workers were asked and had, together.
fn by_core(loads: &[WorkerLoad]) -> Vec<WorkerLoad> {
    let mut cores: Vec<WorkerLoad> = Vec::new();
    for load in loads {
        match cores.iter_mut().find(|core| core.core == load.core) {
            Some(core) => {
                core.asked_percent += load.asked_percent;
                core.achieved_percent += load.achieved_percent;
                // They also waited for each other: what all of them did.
                core.waited_percent = core.waited_percent.min(load.waited_percent);
                core.derated_percent =
                    load.derated_percent.map(|derated| derated + core.derated_percent.unwrap_or_default());
            }
            None => cores.push(*load),
        }
    }
    cores
}

fn distance(load: &WorkerLoad) -> f64 {
    load.achieved_percent - load.asked_percent
}

/// `burning_ns` is how long the worker burned. In mode `core` others may take more than the load at times; the worker makes up
/// for what they took in the latest half second, and what lies before is excused.
fn is_off(load: &WorkerLoad, burning_ns: f64, tolerance: f64) -> bool {
    let distance = distance(load);
    let others = load.excused_percent.map_or(0.0, |excused| excused + 100.0 * MADE_UP_NS / burning_ns);
    distance < -tolerance || distance > tolerance + others
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: f64 = 1e9;

    fn load(asked_percent: f64, achieved_percent: f64) -> WorkerLoad {
        WorkerLoad { asked_percent, achieved_percent, ..WorkerLoad::default() }
    }

    #[test]
    fn a_load_is_missed_beyond_the_tolerance_on_either_side() {
        for (achieved, off) in [(48.0, false), (47.9, true), (52.0, false), (52.1, true)] {
            assert_eq!(is_off(&load(50.0, achieved), SECOND, 2.0), off, "{achieved}");
        }
    }

    #[test]
    fn what_others_take_of_a_core_is_no_miss() {
        let of_core =
            |achieved, excused| WorkerLoad { excused_percent: Some(excused), ..load(50.0, achieved) };
        // A minute, of which others alone used 10 points too much.
        assert!(!is_off(&of_core(60.0, 10.0), 60.0 * SECOND, 2.0));
        assert!(is_off(&of_core(64.0, 10.0), 60.0 * SECOND, 2.0));
        assert!(is_off(&of_core(47.0, 10.0), 60.0 * SECOND, 2.0));
        // What they took at the very end was too late to be made up for.
        assert!(!is_off(&of_core(90.0, 0.0), SECOND, 2.0));
    }

    #[test]
    fn workers_that_share_a_core_are_judged_together() {
        let loads: Vec<_> = [(12.5, 11.0), (12.5, 13.5), (12.5, 11.5), (12.5, 13.5)]
            .map(|(asked, achieved)| load(asked, achieved))
            .into();
        let together = by_core(&loads);
        assert_eq!(together.len(), 1);
        assert!((together[0].asked_percent, together[0].achieved_percent) == (50.0, 49.5));
        let other = WorkerLoad { core: 1, ..load(50.0, 40.0) };
        assert_eq!(by_core(&[loads, vec![other]].concat()).len(), 2);
    }

    #[test]
    fn a_reason_names_the_core_and_both_loads() {
        let mut profile = LoadProfile::FULL;
        let loads = vec![load(100.0, 60.0)];
        let mut result = BurnerResult { loads, burning_ns: 1_000_000_000, ..BurnerResult::default() };
        result.loads[0].waited_percent = 39.0;
        // Nothing was asked.
        assert_eq!(missed(&result, Some(&profile), &Culprits::default(), &[]), None);
        profile.tolerance = Some(0.02);
        let reason = missed(&result, Some(&profile), &Culprits::default(), &[]).unwrap();
        assert!(reason.contains("60.0 % instead of 100.0 %") && reason.contains("39.0 %"), "{reason}");
        result.loads[0].derated_percent = Some(39.5);
        let derated_by = ["hot".to_owned()];
        let reason = missed(&result, Some(&profile), &Culprits::default(), &derated_by).unwrap();
        assert!(reason.contains("hot derated the load by 39.5 points"), "{reason}");
    }
}
