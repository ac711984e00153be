//! The gate after a wave: whether the next one may start. Failures are counted over the hosts that were really tried, of the
//! wave by itself and of all waves so far: many canaries that passed do not hide a wave that fails, and hosts that are yet to
//! come do not thin out those that failed.

use ssts_proto::v1::Verdict;

use super::{Fate, FleetJudged, FleetThreshold, HostOutcome, Portion, named};

/// How many hosts came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Hosts that were asked to run, whether or not they could.
    pub(crate) tried: usize,
    pub(crate) passed: usize,
    /// Ended by a guard, a halt, a lost lease or a user.
    pub(crate) aborted: usize,
    /// Could not be made ready, and never ran.
    pub(crate) unready: usize,
    pub(crate) lost: usize,
}

impl Tally {
    /// Of these hosts. One that was called off because of another was not tried.
    pub(crate) fn of<'h>(outcomes: impl IntoIterator<Item = &'h HostOutcome>) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes.into_iter().filter(|outcome| is_tried(outcome)) {
            tally.tried += 1;
            match (outcome.fate, verdict(outcome)) {
                (Fate::NotReady, _) => tally.unready += 1,
                (Fate::Lost, _) => tally.lost += 1,
                (_, Some(Verdict::Pass)) => tally.passed += 1,
                (_, Some(Verdict::Aborted)) => tally.aborted += 1,
                _ => {}
            }
        }
        tally
    }

    /// All that did not pass.
    pub(crate) fn failed(&self) -> usize {
        self.tried - self.passed
    }

    fn and(self, other: Self) -> Self {
        Self {
            tried: self.tried + other.tried,
            passed: self.passed + other.passed,
            aborted: self.aborted + other.aborted,
            unready: self.unready + other.unready,
            lost: self.lost + other.lost,
        }
    }
}

/// Of a run that is over, and of which nothing else went wrong.
fn verdict(outcome: &HostOutcome) -> Option<Verdict> {
    let run = outcome.ended().filter(|_| outcome.failure.is_none())?;
    run.summary.as_ref().map(ssts_proto::v1::RunSummary::verdict)
}

/// Whether what came of it is known, and of itself.
pub(super) fn is_tried(outcome: &HostOutcome) -> bool {
    !matches!(outcome.fate, Fate::CalledOff | Fate::GoesOn | Fate::NotTried | Fate::Stopped)
}

/// Whether it was tried and did not pass.
pub(super) fn has_failed(outcome: &HostOutcome) -> bool {
    is_tried(outcome) && !(outcome.fate == Fate::Ran && verdict(outcome) == Some(Verdict::Pass))
}

/// How many failed hosts are borne: of a wave by itself, and of all waves so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Borne {
    pub(crate) portion: Portion,
    /// What came of all waves before.
    pub(crate) before: Tally,
}

impl Borne {
    /// Why more failed than that, of so many hosts of the wave that were tried. While the wave is on that is all of its hosts: what
    /// is too much then is too much whatever the others come to.
    pub(crate) fn exceeded(self, failed: &[&str], tried: usize) -> Option<String> {
        let bears = match self.portion {
            Portion::Hosts(0) => "none may".to_owned(),
            portion => format!("at most {portion} may"),
        };
        let count = failed.len();
        if self.portion.is_exceeded_by(count, tried) {
            return Some(format!("{count} of {tried} hosts failed, and {bears}: {}", named(failed)));
        }
        let (count, tried) = (self.before.failed() + count, self.before.tried + tried);
        let words = || format!("{count} of {tried} hosts of all waves so far failed, and {bears}");
        self.portion.is_exceeded_by(count, tried).then(words)
    }
}

/// What stands between a wave and the next one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gate {
    pub(crate) tally: Tally,
    /// Too many of its hosts failed while it was on, and the others were stopped.
    pub(crate) is_cut_short: bool,
    /// What came of the fleet's thresholds, by the wave's hosts alone.
    pub(crate) thresholds: Vec<FleetJudged>,
    /// Why it is shut. Open without any.
    pub(crate) reasons: Vec<String>,
}

impl Gate {
    /// By what came of a wave's hosts; `before` of all waves before it.
    pub(crate) fn judge(
        wave: &[HostOutcome],
        before: Tally,
        borne: Option<Portion>,
        thresholds: &[FleetThreshold],
    ) -> Self {
        let tally = Tally::of(wave);
        let mut reasons = Vec::new();
        if tally.tried == 0 {
            reasons.push("no host of it was tried".to_owned());
        }
        // Who counts failed hosts by a threshold has said there what is borne.
        let is_counted = thresholds.iter().any(FleetThreshold::counts_failures);
        if let Some(portion) = borne.or((!is_counted).then_some(Portion::Hosts(0))) {
            let failed = wave.iter().filter(|outcome| has_failed(outcome));
            let failed: Vec<&str> = failed.map(|outcome| outcome.member.name.as_str()).collect();
            reasons.extend(Borne { portion, before }.exceeded(&failed, tally.tried));
        }
        Self { tally, is_cut_short: false, thresholds: Vec::new(), reasons }.and(wave, thresholds)
    }

    /// After a wave of which too many hosts failed while it was on. What is said of them then is not said again of the few hosts that
    /// came to their end.
    pub(crate) fn cut_short(wave: &[HostOutcome], why: String, thresholds: &[FleetThreshold]) -> Self {
        Self { tally: Tally::of(wave), is_cut_short: true, thresholds: Vec::new(), reasons: vec![why] }
            .and(wave, thresholds)
    }

    /// With what came of the fleet's thresholds.
    fn and(mut self, wave: &[HostOutcome], thresholds: &[FleetThreshold]) -> Self {
        let of_waves = thresholds.iter().filter(|one| one.is_of_waves());
        self.thresholds = of_waves.map(|one| one.judge(wave)).collect();
        let broken = self.thresholds.iter().filter(|one| !one.is_passed());
        self.reasons.extend(broken.map(|one| format!("{}: {}", one.that, one.reason)));
        self
    }

    pub(crate) fn is_open(&self) -> bool {
        self.reasons.is_empty()
    }

    /// What the next gate is told of all waves up to this one.
    pub(crate) fn after(&self, before: Tally) -> Tally {
        before.and(self.tally)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use ssts_proto::v1::{Run, RunState, RunSummary};

    use super::*;
    use crate::{cli::Host, error::Failure, fleet::Member};

    pub(crate) fn member(name: &str) -> Member {
        let host = Host::Unix(PathBuf::from(format!("/run/{name}")));
        Member { name: name.into(), host, labels: BTreeMap::new(), watts: None }
    }

    pub(crate) fn ran(name: &str, verdict: Verdict) -> HostOutcome {
        let summary =
            RunSummary { verdict: verdict.into(), state: RunState::Finished.into(), ..RunSummary::default() };
        let run = Run { summary: Some(summary), ..Run::default() };
        HostOutcome { run: Some(run), ..HostOutcome::of(member(name)) }
    }

    fn hosts(count: usize, verdict: Verdict) -> Vec<HostOutcome> {
        (0..count).map(|index| ran(&format!("{verdict:?}{index}"), verdict)).collect()
    }

    fn unready(name: &str) -> HostOutcome {
        HostOutcome::failed(member(name), Fate::NotReady, Failure::agent("it does not answer", ""))
    }

    fn judged(wave: &[HostOutcome], before: Tally, borne: &str) -> Gate {
        Gate::judge(wave, before, Some(Portion::parse(borne).unwrap()), &[])
    }

    #[test]
    fn hosts_are_counted_by_what_came_of_them() {
        let mut all = hosts(3, Verdict::Pass);
        all.extend(hosts(2, Verdict::Aborted));
        all.extend(hosts(1, Verdict::Error));
        all.push(unready("gone"));
        all.push(HostOutcome { fate: Fate::Lost, ..ran("lost", Verdict::Pass) });
        all.push(HostOutcome { fate: Fate::CalledOff, ..HostOutcome::of(member("off")) });
        all.push(HostOutcome::of(member("untold")));
        let tally = Tally::of(&all);
        assert_eq!(tally, Tally { tried: 9, passed: 3, aborted: 2, unready: 1, lost: 1 });
        assert_eq!(tally.failed(), 6);
    }

    #[test]
    fn without_a_word_one_failure_shuts_the_gate_and_it_is_named() {
        let mut wave = hosts(4, Verdict::Pass);
        assert!(Gate::judge(&wave, Tally::default(), None, &[]).is_open());
        wave.push(ran("n7", Verdict::Fail));
        let gate = Gate::judge(&wave, Tally::default(), None, &[]);
        assert_eq!(gate.reasons, ["1 of 5 hosts failed, and none may: n7"]);
    }

    /// ansible#32255, ansible#18021: a share that never applied.
    #[test]
    fn a_share_of_failures_is_one_of_hosts_that_were_tried_and_not_of_the_whole_fleet() {
        let mut wave = hosts(8, Verdict::Pass);
        wave.extend(hosts(2, Verdict::Fail));
        assert!(judged(&wave, Tally::default(), "20%").is_open());
        let gate = judged(&wave, Tally::default(), "19%");
        assert_eq!(gate.reasons.len(), 1);
        assert!(gate.reasons[0].starts_with("2 of 10 hosts failed, and at most 19% may: "), "{gate:?}");
        // One of one is all of it, however many more there are.
        assert!(!judged(&hosts(1, Verdict::Fail), Tally::default(), "99%").is_open());
    }

    #[test]
    fn a_host_that_could_not_be_reached_has_failed() {
        let mut wave = hosts(9, Verdict::Pass);
        wave.push(unready("gone"));
        assert!(!judged(&wave, Tally::default(), "5%").is_open());
        assert!(judged(&wave, Tally::default(), "10%").is_open());
        assert!(judged(&wave, Tally::default(), "9").is_open());
    }

    /// GitLab delivery#951: the canaries in each batch made a stage that failed as a whole look as if half of it was well.
    #[test]
    fn waves_that_passed_do_not_hide_one_that_fails() {
        let before = Tally { tried: 90, passed: 90, ..Tally::default() };
        let gate = judged(&hosts(4, Verdict::Fail), before, "5%");
        assert!(!gate.is_open(), "4 of 94 are less than 5 %, and 4 of 4 are not");
        assert!(gate.reasons[0].starts_with("4 of 4 hosts failed"), "{gate:?}");
    }

    #[test]
    fn a_number_of_failures_is_one_of_all_waves_so_far() {
        let before = Tally { tried: 10, passed: 8, ..Tally::default() };
        let wave = hosts(1, Verdict::Fail);
        assert!(judged(&wave, before, "3").is_open());
        let gate = judged(&wave, before, "2");
        assert_eq!(gate.reasons, ["3 of 11 hosts of all waves so far failed, and at most 2 may"]);
        assert_eq!(gate.after(before), Tally { tried: 11, passed: 8, ..Tally::default() });
    }

    #[test]
    fn hosts_that_were_stopped_because_of_others_have_not_failed() {
        let stopped = HostOutcome { fate: Fate::Stopped, ..ran("n2", Verdict::Aborted) };
        let wave = [ran("n1", Verdict::Fail), ran("n3", Verdict::Pass), stopped];
        let why = "1 of 3 hosts failed, and none may: n1".to_owned();
        let gate = Gate::cut_short(&wave, why.clone(), &[]);
        assert_eq!(gate.tally, Tally { tried: 2, passed: 1, ..Tally::default() });
        assert!(!gate.is_open() && gate.is_cut_short);
        assert_eq!(gate.reasons, [why], "and not once more of the two");
    }

    #[test]
    fn a_wave_of_which_no_host_was_tried_proves_nothing() {
        let off = HostOutcome { fate: Fate::CalledOff, ..HostOutcome::of(member("off")) };
        let gate = judged(&[off], Tally::default(), "100%");
        assert_eq!(gate.reasons, ["no host of it was tried"]);
    }

    #[test]
    fn a_threshold_of_the_fleet_shuts_the_gate_and_says_what_failures_are_borne() {
        let of = |text: &str| [FleetThreshold::parse(text).unwrap()];
        let mut wave = hosts(9, Verdict::Pass);
        wave.push(ran("n9", Verdict::Fail));
        assert!(Gate::judge(&wave, Tally::default(), None, &of("hosts failed <= 10%")).is_open());
        let gate = Gate::judge(&wave, Tally::default(), None, &of("hosts failed <= 9%"));
        assert_eq!(gate.reasons, ["hosts failed <= 9%: 1 of 10 hosts failed"]);
        let both = Gate::judge(&wave, Tally::default(), Some(Portion::Hosts(0)), &of("hosts failed <= 10%"));
        assert!(!both.is_open(), "what is said on purpose holds, too");
        let cool = of("max across hosts of host.temperature.max < 85");
        let gate = Gate::judge(&wave, Tally::default(), Some(Portion::Hosts(1)), &cool);
        assert!(gate.reasons[0].contains("no host has measured it"), "{gate:?}");
        let sum = of("sum across hosts of disk.bytes > 1GB");
        assert!(
            Gate::judge(&wave, Tally::default(), Some(Portion::Hosts(1)), &sum).is_open(),
            "not of waves"
        );
    }
}
