//! Hosts of a wave that failed while it is on, and what follows when they are more than is borne: nobody begins any more, and who
//! runs is stopped.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ssts_proto::v1::Cause;

use super::{Order, follow::Common, update::News};
use crate::fleet::{Borne, Fate, HostOutcome, gate::has_failed};

/// An agent takes 1,024 bytes: a stop is not to be refused for its words.
const MAX_REASON_BYTES: usize = 900;

/// How many failed, and what is borne.
#[derive(Debug)]
pub(super) struct Toll {
    /// Without it, any number.
    borne: Option<Borne>,
    /// Hosts of the wave.
    hosts: usize,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// Their names, as they failed.
    failed: Vec<String>,
    /// Why the others were stopped, once they were.
    cut_short: Option<String>,
}

impl Toll {
    pub(super) fn new(borne: Option<Borne>, hosts: usize) -> Self {
        Self { borne, hosts, now: Mutex::default() }
    }

    /// Notes that a host failed. Why that is one too many, told once.
    fn note(&self, name: &str) -> Option<String> {
        let borne = self.borne?;
        let mut now = self.lock();
        // Who is stopped has not failed, and one that was lost may be told of again when it is given up.
        if now.cut_short.is_some() || now.failed.iter().any(|known| known == name) {
            return None;
        }
        now.failed.push(name.to_owned());
        let names: Vec<&str> = now.failed.iter().map(String::as_str).collect();
        let why = borne.exceeded(&names, self.hosts)?;
        now.cut_short = Some(why.clone());
        Some(why)
    }

    /// Why the others were stopped.
    pub(super) fn cut_short(&self) -> Option<String> {
        self.lock().cut_short.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        // Nobody leaves it half-changed.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Common {
    /// Takes note of what came of a host.
    pub(super) fn note_outcome(&self, outcome: &HostOutcome) {
        if has_failed(outcome) {
            self.note_failed(&outcome.member.name);
        }
    }

    /// A host has failed, or its run has ended by itself as far away as it is.
    pub(super) fn note_failed(&self, name: &str) {
        // What is being stopped already, for whatever reason, fails for that reason.
        if self.wanted.borrow().0 != Order::GoOn {
            return;
        }
        if let Some(why) = self.toll.note(name) {
            self.updates.tell(0, News::CutShort(format!("{why}: all others are stopped")));
            self.want(Order::Stop, reason(&why));
        }
    }

    /// Tells hosts that were stopped because of others from those that failed.
    pub(super) fn tell_stopped(&self, outcomes: &mut [HostOutcome]) {
        let Some(why) = self.toll.cut_short() else { return };
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.failure.is_none()) {
            let summary = outcome.ended().and_then(|run| run.summary.as_ref());
            let is_stopped = summary.is_some_and(|summary| {
                summary.cause() == Cause::StoppedByUser && summary.cause_message.contains(reason(&why))
            });
            if is_stopped {
                outcome.fate = Fate::Stopped;
            }
        }
    }
}

fn reason(why: &str) -> &str {
    &why[..why.floor_char_boundary(MAX_REASON_BYTES)]
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::Verdict;
    use tokio::sync::mpsc;

    use super::*;
    use crate::fleet::{FleetUpdate, Portion, Tally, Updates, gate::tests::ran};

    fn toll(borne: &str, before: Tally, hosts: usize) -> Toll {
        let portion = Portion::parse(borne).unwrap();
        Toll::new(Some(Borne { portion, before }), hosts)
    }

    #[test]
    fn one_more_than_is_borne_is_told_once_and_names_all() {
        let toll = toll("1", Tally::default(), 4);
        assert_eq!(toll.note("a"), None);
        assert_eq!(toll.note("a"), None, "it is one host");
        let why = "2 of 4 hosts failed, and at most 1 may: a, b";
        assert_eq!(toll.note("b").as_deref(), Some(why));
        assert_eq!((toll.note("c"), toll.cut_short().as_deref()), (None, Some(why)));
    }

    #[test]
    fn a_share_is_one_of_all_hosts_of_the_wave_while_it_is_on() {
        let quarter = toll("25%", Tally::default(), 8);
        assert_eq!((quarter.note("a"), quarter.note("b")), (None, None), "1 of 1 is no reason yet");
        let why = "3 of 8 hosts failed, and at most 25% may: a, b, c";
        assert_eq!(quarter.note("c").as_deref(), Some(why));
        let none = toll("0%", Tally::default(), 8);
        assert_eq!(none.note("a").as_deref(), Some("1 of 8 hosts failed, and at most 0% may: a"));
    }

    #[test]
    fn hosts_that_failed_in_waves_before_count() {
        let before = Tally { tried: 10, passed: 8, ..Tally::default() };
        let why = "3 of 14 hosts of all waves so far failed, and at most 2 may";
        assert_eq!(toll("2", before, 4).note("a").as_deref(), Some(why));
    }

    #[test]
    fn without_a_word_any_number_is_borne() {
        let toll = Toll::new(None, 2);
        assert_eq!((toll.note("a"), toll.note("b"), toll.cut_short()), (None, None, None));
    }

    fn stopped(name: &str, why: &str) -> HostOutcome {
        let mut outcome = ran(name, Verdict::Aborted);
        if let Some(summary) = outcome.run.as_mut().and_then(|run| run.summary.as_mut()) {
            summary.set_cause(Cause::StoppedByUser);
            summary.cause_message = why.into();
        }
        outcome
    }

    fn common(borne: &str) -> (Common, mpsc::UnboundedReceiver<FleetUpdate>) {
        let (sender, news) = mpsc::unbounded_channel();
        let common = Common::new("r".into(), Updates::new(sender), None);
        (Common { toll: toll(borne, Tally::default(), 3), ..common }, news)
    }

    #[test]
    fn one_too_many_has_the_others_stopped_and_only_these_are_told_as_stopped() {
        let (common, mut news) = common("0");
        common.note_outcome(&ran("b", Verdict::Pass));
        assert_eq!(common.wanted.borrow().0, Order::GoOn);
        common.note_outcome(&ran("a", Verdict::Fail));
        let why = "1 of 3 hosts failed, and none may: a";
        assert_eq!(*common.wanted.borrow(), (Order::Stop, why.to_owned()));
        assert!(matches!(news.try_recv().unwrap().news, News::CutShort(words) if words.starts_with(why)));
        let mut outcomes = [
            stopped("b", &format!("stopped by ctl: {why}")),
            stopped("c", "stopped by ann"),
            ran("a", Verdict::Fail),
        ];
        common.tell_stopped(&mut outcomes);
        assert_eq!(outcomes.map(|outcome| outcome.fate), [Fate::Stopped, Fate::Ran, Fate::Ran]);
    }

    /// Ctrl-C ends all runs, and none of them is a failure of its host.
    #[test]
    fn what_the_user_stops_is_no_failure() {
        let (common, mut news) = common("0");
        common.want(Order::Stop, "sstsctl was interrupted");
        common.note_outcome(&stopped("a", "stopped by ctl: sstsctl was interrupted"));
        assert!(common.toll.cut_short().is_none() && news.try_recv().is_err());
    }

    #[test]
    fn a_reason_is_as_long_as_an_agent_takes() {
        assert_eq!(reason("short"), "short");
        assert_eq!(reason(&"é".repeat(600)).len(), 900);
        assert_eq!(reason(&("a".to_owned() + &"é".repeat(600))).len(), 899);
    }
}
