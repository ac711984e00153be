//! The course of a run over a fleet: wave after wave under one id, and between them the gates.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    Fleet, FleetJudged, FleetThreshold, Gate, HostOutcome, Member, Order, StartOptions, Tally, Updates, Wave,
    named, run_wave,
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
    /// What came of its hosts; none of one that never was started.
    pub(crate) outcomes: Vec<HostOutcome>,
    /// What it came to. Absent where it never was started, or where nobody waited for its end.
    pub(crate) gate: Option<Gate>,
}

/// Runs a plan on a fleet, in the waves that it asks for; `tell` is told in a line whatever is new between waves.
///
/// # Errors
/// A bound that no wave could keep, or waves that nobody would wait for. Nothing has begun then.
pub(crate) async fn run_in_waves(
    fleet: &Fleet,
    run_id: &str,
    plan: &Plan,
    options: &StartOptions,
    updates: &Updates,
    mut tell: impl FnMut(&str),
) -> Result<Course, Failure> {
    let waves = plan.fleet.waves.draw(fleet)?;
    let (count, thresholds) = (waves.len(), &plan.fleet.thresholds);
    if options.detach && (count > 1 || !thresholds.is_empty()) {
        return Err(Failure::usage(
            "--detach with waves or with thresholds of the fleet: nobody would be there to judge them",
            "leave --detach out; or leave --wave, --max-per, --max-watts and the thresholds of the fleet out",
        ));
    }
    let mut course = Course {
        stages: waves.into_iter().map(|wave| Stage::of(wave, fleet)).collect(),
        thresholds: Vec::new(),
        bears_failures: thresholds.iter().any(FleetThreshold::counts_failures),
    };
    let mut before = Tally::default();
    for index in 0..count {
        let stage = &mut course.stages[index];
        if count > 1 {
            tell(&format!("wave {} of {count} ({}): {}", index + 1, stage.wave.asked_words(), stage.names()));
        }
        let of_wave = StartOptions {
            // The instant was for the first; what comes later comes when it may.
            start_at_unix_ns: options.start_at_unix_ns.filter(|_| index == 0),
            ..options.clone()
        };
        let members: Vec<Member> =
            stage.wave.members.iter().map(|place| fleet.members[*place].clone()).collect();
        let places = updates.about(stage.wave.members.iter().copied());
        stage.asked_at_unix_ns = Some(now_unix_ns());
        stage.outcomes = run_wave(&members, run_id, plan, &of_wave, &places).await;
        if options.detach {
            break;
        }
        let gate = Gate::judge(&stage.outcomes, before, plan.fleet.waves.max_failures, thresholds);
        before = gate.after(before);
        let (is_open, reasons) = (gate.is_open(), gate.reasons.join("; "));
        stage.gate = Some(gate);
        if *options.orders.borrow() != Order::GoOn {
            break;
        }
        if !is_open && index + 1 < count {
            tell(&format!("wave {} failed, and no later wave starts: {reasons}", index + 1));
        }
        if !is_open {
            break;
        }
    }
    if !options.detach {
        course.thresholds = thresholds.iter().map(|one| one.judge(course.outcomes())).collect();
    }
    Ok(course)
}

impl Course {
    /// What came of all hosts that were tried, wave by wave.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &HostOutcome> {
        self.stages.iter().flat_map(|stage| &stage.outcomes)
    }

    /// Hosts of waves that never were started.
    pub(crate) fn untried(&self) -> impl Iterator<Item = &str> {
        let never = self.stages.iter().filter(|stage| stage.asked_at_unix_ns.is_none());
        never.flat_map(|stage| stage.hosts.iter().map(String::as_str))
    }

    /// Why a gate kept later waves from starting, and of which wave; nothing where none did.
    pub(crate) fn stopped_by(&self) -> Option<(usize, &[String])> {
        let shut = self.stages.iter().enumerate().find_map(|(index, stage)| {
            let gate = stage.gate.as_ref().filter(|gate| !gate.is_open())?;
            Some((index + 1, gate.reasons.as_slice()))
        });
        shut.filter(|_| self.untried().next().is_some())
    }

    /// What the whole comes to, by `worst`: what the hosts' own results do. Failed hosts are borne where a threshold of the
    /// fleet counts them and holds; wrong data is not.
    pub(crate) fn exit(&self, worst: Exit) -> Exit {
        let is_good = self.thresholds.iter().all(FleetJudged::is_passed) && self.stopped_by().is_none();
        match (worst, is_good) {
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
        Self { wave, hosts, asked_at_unix_ns: None, outcomes: Vec::new(), gate: None }
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
    use ssts_proto::v1::Verdict;

    use super::*;
    use crate::fleet::{
        Portion,
        gate::tests::{member, ran},
    };

    fn course(verdicts: &[&[Verdict]], started: usize, thresholds: &[&str]) -> Course {
        let thresholds: Vec<_> =
            thresholds.iter().map(|text| FleetThreshold::parse(text).unwrap()).collect();
        let mut before = Tally::default();
        let mut stages = Vec::new();
        for (index, verdicts) in verdicts.iter().enumerate() {
            let names: Vec<String> = (0..verdicts.len()).map(|host| format!("w{index}n{host}")).collect();
            let members = names.iter().map(|name| member(name)).collect();
            let wave = Wave { members: (0..verdicts.len()).collect(), asked: "1".into(), part: None, watts: None };
            let mut stage = Stage::of(wave, &Fleet { members, domains: Vec::new() });
            if index < started {
                stage.asked_at_unix_ns = Some(1);
                stage.outcomes = names.iter().zip(*verdicts).map(|(name, verdict)| ran(name, *verdict)).collect();
                let gate = Gate::judge(&stage.outcomes, before, Some(Portion::Hosts(0)), &thresholds);
                before = gate.after(before);
                stage.gate = Some(gate);
            }
            stages.push(stage);
        }
        let all = || stages.iter().flat_map(|stage| &stage.outcomes);
        Course {
            thresholds: thresholds.iter().map(|one| one.judge(all())).collect(),
            stages,
            bears_failures: thresholds.iter().any(FleetThreshold::counts_failures),
        }
    }

    #[test]
    fn a_gate_that_is_shut_names_who_was_not_tried() {
        use Verdict::{Fail, Pass};
        let stopped = course(&[&[Fail], &[Pass, Pass]], 1, &[]);
        assert_eq!(stopped.untried().collect::<Vec<_>>(), ["w1n0", "w1n1"]);
        let (wave, reasons) = stopped.stopped_by().unwrap();
        assert_eq!((wave, reasons), (1, &["1 of 1 hosts failed, and none may: w0n0".to_owned()][..]));
        let whole = course(&[&[Pass], &[Pass, Fail]], 2, &[]);
        assert!(whole.stopped_by().is_none() && whole.untried().next().is_none());
    }

    #[test]
    fn the_end_follows_from_hosts_and_thresholds() {
        use Verdict::{Fail, Pass};
        let passed = course(&[&[Pass]], 1, &["hosts failed == 0"]);
        assert_eq!(passed.exit(Exit::Pass), Exit::Pass);
        let broken = course(&[&[Pass]], 1, &["hosts lost > 0"]);
        assert_eq!(broken.exit(Exit::Pass), Exit::ThresholdFailed);
        assert_eq!(broken.exit(Exit::Aborted), Exit::Aborted, "what a host came to says more");
        let borne = course(&[&[Pass, Fail]], 1, &["hosts failed <= 50%"]);
        assert_eq!(borne.exit(Exit::ThresholdFailed), Exit::Pass);
        assert_eq!(borne.exit(Exit::WrongData), Exit::WrongData, "that is never borne");
        assert_eq!(borne.exit(Exit::Interrupted), Exit::Interrupted);
        let unsaid = course(&[&[Pass, Fail]], 1, &["hosts lost == 0"]);
        assert_eq!(unsaid.exit(Exit::ThresholdFailed), Exit::ThresholdFailed);
    }
}
