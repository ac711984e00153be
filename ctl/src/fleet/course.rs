//! The course of a run over a fleet: wave after wave under one id, and between them the gates.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    Borne, Fate, Fleet, FleetJudged, FleetThreshold, Gate, HostOutcome, Member, News, Order, StartOptions,
    Tally, Updates, Wave, WaveEnd, named, run_wave, worst,
};
use crate::{
    error::{Exit, Failure},
    scenario::Plan,
};

/// What came of it.
#[derive(Debug)]
pub(crate) struct Course {
    /// All waves, in order.
    pub(crate) stages: Vec<Stage>,
    /// What came of each host, in the fleet's order.
    pub(crate) outcomes: Vec<HostOutcome>,
    /// What came of the fleet's thresholds, by all hosts that were tried.
    pub(crate) thresholds: Vec<FleetJudged>,
    /// A threshold says how many failed hosts are borne.
    bears_failures: bool,
}

/// One wave.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) wave: Wave,
    /// The names of its hosts.
    pub(crate) hosts: Vec<String>,
    /// When its hosts were first asked. Absent where it never was started.
    pub(crate) asked_at_unix_ns: Option<i64>,
    /// What it came to. Absent where it never was started, or where nobody waited for its end.
    pub(crate) gate: Option<Gate>,
}

/// Runs a plan on a fleet, in the waves that it asks for.
///
/// # Errors
/// A bound that no wave could keep, or waves that nobody would wait for. Nothing has begun then.
pub(crate) async fn run_in_waves(
    fleet: &Fleet,
    run_id: &str,
    plan: &Plan,
    options: &StartOptions,
    updates: &Updates,
) -> Result<Course, Failure> {
    let waves = plan.fleet.waves.draw(fleet)?;
    let (count, thresholds) = (waves.len(), &plan.fleet.thresholds);
    let max_failures = plan.fleet.waves.max_failures;
    if options.detach && (count > 1 || max_failures.is_some() || !thresholds.is_empty()) {
        return Err(Failure::usage(
            "--detach with waves, with --max-failures or with thresholds of the fleet: nobody would be there to judge them",
            "leave --detach out; or leave --wave, --max-per, --max-watts, --max-failures and the thresholds of the fleet out",
        ));
    }
    let mut stages: Vec<_> = waves.into_iter().map(|wave| Stage::of(wave, fleet)).collect();
    let mut came: Vec<Option<HostOutcome>> = fleet.members.iter().map(|_| None).collect();
    let mut before = Tally::default();
    for (index, stage) in stages.iter_mut().enumerate() {
        let of_wave = updates.about(stage.wave.members.iter().copied());
        if count > 1 {
            let words =
                format!("wave {} of {count} ({}): {}", index + 1, stage.wave.asked_words(), stage.names());
            of_wave.tell(0, News::Wave { words, hosts: stage.hosts.len() });
        }
        let options_of_wave = StartOptions {
            // The instant was for the first; what comes later comes when it may.
            start_at_unix_ns: options.start_at_unix_ns.filter(|_| index == 0),
            // Only on purpose: else what hosts still come to is worth more than what stopping them saves.
            borne: max_failures.map(|portion| Borne { portion, before }),
            ..options.clone()
        };
        let members: Vec<Member> =
            stage.wave.members.iter().map(|place| fleet.members[*place].clone()).collect();
        stage.asked_at_unix_ns = Some(now_unix_ns());
        let WaveEnd { outcomes, cut_short } =
            run_wave(&members, run_id, plan, &options_of_wave, &of_wave).await;
        let gate = match cut_short {
            Some(why) => Gate::cut_short(&outcomes, why, thresholds),
            None => Gate::judge(&outcomes, before, max_failures, thresholds),
        };
        for (place, outcome) in stage.wave.members.iter().zip(outcomes) {
            came[*place] = Some(outcome);
        }
        if options.detach {
            break;
        }
        before = gate.after(before);
        let (is_open, reasons) = (gate.is_open(), gate.reasons.join("; "));
        stage.gate = Some(gate);
        if *options.orders.borrow() != Order::GoOn {
            break;
        }
        if !is_open {
            if index + 1 < count {
                let words = format!("wave {} failed, and no later wave starts: {reasons}", index + 1);
                of_wave.tell(0, News::GateShut(words));
            }
            break;
        }
    }
    let outcome = |(came, member): (Option<HostOutcome>, &Member)| {
        came.unwrap_or_else(|| HostOutcome { fate: Fate::NotTried, ..HostOutcome::of(member.clone()) })
    };
    let outcomes: Vec<_> = came.into_iter().zip(&fleet.members).map(outcome).collect();
    let thresholds_judged = |one: &FleetThreshold| one.judge(&outcomes);
    Ok(Course {
        thresholds: if options.detach {
            Vec::new()
        } else {
            thresholds.iter().map(thresholds_judged).collect()
        },
        bears_failures: thresholds.iter().any(FleetThreshold::counts_failures),
        stages,
        outcomes,
    })
}

impl Course {
    /// Whether failed hosts kept others from being tried, or from coming to their end.
    fn is_stopped(&self) -> bool {
        let gates = || self.stages.iter().filter_map(|stage| stage.gate.as_ref());
        let is_short = self.stages.iter().any(|stage| stage.asked_at_unix_ns.is_none());
        gates().any(|gate| gate.is_cut_short) || (is_short && gates().any(|gate| !gate.is_open()))
    }

    /// What the whole comes to: the worst of the hosts' results, and 3 where these are good and the fleet as a whole is not. Failed
    /// hosts are borne where a threshold of the fleet counts them and holds; wrong data is not.
    pub(crate) fn exit(&self) -> Exit {
        let is_good = self.thresholds.iter().all(FleetJudged::is_passed) && !self.is_stopped();
        match (worst(&self.outcomes), is_good) {
            (Exit::ThresholdFailed | Exit::Aborted | Exit::AgentFailed | Exit::Usage, true)
                if self.bears_failures =>
            {
                Exit::Pass
            }
            (Exit::Pass, false) => Exit::ThresholdFailed,
            (worst, _) => worst,
        }
    }
}

impl Stage {
    fn of(wave: Wave, fleet: &Fleet) -> Self {
        let hosts = wave.members.iter().map(|place| fleet.members[*place].name.clone()).collect();
        Self { wave, hosts, asked_at_unix_ns: None, gate: None }
    }

    /// The first few, and how many more there are.
    pub(crate) fn names(&self) -> String {
        named(&self.hosts.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn now_unix_ns() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{Cause, Verdict};

    use super::*;
    use crate::fleet::{
        Portion,
        gate::tests::{member, ran},
    };

    /// A course whose first waves were started.
    fn course(waves: &[&[Verdict]], started: usize, thresholds: &[&str]) -> Course {
        let thresholds: Vec<_> = thresholds.iter().map(|text| FleetThreshold::parse(text).unwrap()).collect();
        let mut before = Tally::default();
        let (mut stages, mut all) = (Vec::new(), Vec::new());
        for (index, verdicts) in waves.iter().enumerate() {
            let names: Vec<String> = (0..verdicts.len()).map(|host| format!("w{index}n{host}")).collect();
            let members: Vec<_> = names.iter().map(|name| member(name)).collect();
            let wave =
                Wave { members: (0..verdicts.len()).collect(), asked: "1".into(), part: None, watts: None };
            let mut stage = Stage::of(wave, &Fleet { members: members.clone(), domains: Vec::new() });
            let outcomes: Vec<_> = if index < started {
                names.iter().zip(*verdicts).map(|(name, verdict)| ran(name, *verdict)).collect()
            } else {
                let untried = |member| HostOutcome { fate: Fate::NotTried, ..HostOutcome::of(member) };
                members.into_iter().map(untried).collect()
            };
            if index < started {
                stage.asked_at_unix_ns = Some(1);
                let gate = Gate::judge(&outcomes, before, Some(Portion::Hosts(9)), &thresholds);
                before = gate.after(before);
                stage.gate = Some(gate);
            }
            stages.push(stage);
            all.extend(outcomes);
        }
        Course {
            thresholds: thresholds.iter().map(|one| one.judge(&all)).collect(),
            bears_failures: thresholds.iter().any(FleetThreshold::counts_failures),
            stages,
            outcomes: all,
        }
    }

    #[test]
    fn the_end_follows_from_hosts_and_thresholds() {
        use Verdict::{Aborted, Fail, Pass};
        let exit = |waves: &[&[Verdict]], started: usize, thresholds: &[&str]| {
            course(waves, started, thresholds).exit()
        };
        assert_eq!(exit(&[&[Pass], &[Pass]], 2, &["hosts failed == 0"]), Exit::Pass);
        assert_eq!(exit(&[&[Pass]], 1, &["hosts lost > 0"]), Exit::ThresholdFailed);
        assert_eq!(
            exit(&[&[Aborted]], 1, &["hosts lost > 0"]),
            Exit::Aborted,
            "what a host came to says more"
        );
        assert_eq!(exit(&[&[Pass, Fail]], 1, &["hosts failed <= 50%"]), Exit::Pass);
        assert_eq!(exit(&[&[Pass, Fail]], 1, &["hosts lost == 0"]), Exit::ThresholdFailed);
    }

    #[test]
    fn hosts_that_were_not_tried_are_no_success() {
        use Verdict::Pass;
        let stopped = course(&[&[Pass], &[Pass, Pass]], 1, &["hosts passed >= 2"]);
        assert!(stopped.is_stopped());
        assert_eq!(stopped.exit(), Exit::ThresholdFailed);
        let table = crate::report::waves_table(&stopped);
        let rows: Vec<_> = table.rows().map(<[String]>::to_vec).collect();
        assert!(rows[0][5].starts_with("shut: hosts passed >= 2: 1 of 1 hosts passed"), "{rows:?}");
        assert_eq!((rows[1][2].as_str(), rows[1][5].as_str()), ("w1n0, w1n1", "not started"));
    }

    #[test]
    fn a_wave_that_was_cut_short_is_no_success_whatever_is_borne() {
        use Verdict::{Fail, Pass};
        let mut cut = course(&[&[Pass, Fail]], 1, &["hosts failed <= 50%"]);
        assert_eq!(cut.exit(), Exit::Pass);
        cut.stages[0].gate = Some(Gate::cut_short(&cut.outcomes, "too many failed".into(), &[]));
        assert_eq!(cut.exit(), Exit::ThresholdFailed);
        let table = crate::report::waves_table(&cut);
        let gates: Vec<_> = table.rows().map(|row| row[5].clone()).collect();
        assert_eq!(gates, ["cut short: too many failed"], "also where it is the only one");
    }

    #[test]
    fn wrong_data_is_never_borne() {
        let mut wrong = course(&[&[Verdict::Pass, Verdict::Fail]], 1, &["hosts failed <= 50%"]);
        assert_eq!(wrong.exit(), Exit::Pass);
        let summary = wrong.outcomes[1].run.as_mut().and_then(|run| run.summary.as_mut());
        summary.unwrap().set_cause(Cause::WrongData);
        assert_eq!(wrong.exit(), Exit::WrongData);
    }
}
