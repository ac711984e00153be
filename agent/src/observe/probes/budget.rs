//! Holds the probes to what observing may cost: over that, the dearest one is taken out, and its readings are gone from then
//! on.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use ssts_proto::v1::AbsenceReason;

use super::program::Programs;
use crate::observe::{
    frame::Frame,
    schema::{Column, Schema},
    source::Source,
};

/// Measurements that are judged together: one alone may meet a burst.
const JUDGED: usize = 3;

/// What all probes may cost together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Of one core: 0.01 is 1 %.
    pub core_share: f64,
    /// Of all cores of the host.
    pub host_share: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { core_share: 0.01, host_share: 0.005 }
    }
}

impl Budget {
    /// The smaller of the two, as a share of one core.
    fn of_a_core(self, cpus: usize) -> f64 {
        self.core_share.min(self.host_share * cpus.max(1) as f64)
    }
}

/// The latest costs of the probes.
#[derive(Debug)]
pub(super) struct Ledger {
    /// As a share of one core.
    limit: f64,
    latest: VecDeque<Vec<f64>>,
}

/// A probe that is to go.
#[derive(Debug, PartialEq)]
pub(super) struct Overrun {
    /// Its place among the probes.
    pub(super) probe: usize,
    /// What it cost, and what all did, as shares of one core.
    pub(super) cost: f64,
    pub(super) total: f64,
    pub(super) limit: f64,
}

impl Ledger {
    pub(super) fn new(budget: Budget, cpus: usize) -> Self {
        Self { limit: budget.of_a_core(cpus), latest: VecDeque::with_capacity(JUDGED) }
    }

    /// Takes in what each probe cost, as a share of one core; says which is to go, if all cost too much for too long.
    /// `may_go`: by the probe's place.
    pub(super) fn judge(&mut self, costs: Vec<f64>, may_go: impl Fn(usize) -> bool) -> Option<Overrun> {
        if self.latest.len() == JUDGED {
            self.latest.pop_front();
        }
        let probes = costs.len();
        self.latest.push_back(costs);
        if self.latest.len() < JUDGED {
            return None;
        }
        let mean = |probe: usize| self.latest.iter().map(|costs| costs[probe]).sum::<f64>() / JUDGED as f64;
        let total: f64 = (0..probes).map(mean).sum();
        let dearest = (0..probes)
            .filter(|probe| may_go(*probe) && mean(*probe) > 0.0)
            .max_by(|one, other| mean(*one).total_cmp(&mean(*other)))
            .filter(|_| total > self.limit)?;
        let overrun = Overrun { probe: dearest, cost: mean(dearest), total, limit: self.limit };
        // The others are judged by what they cost without it.
        self.latest.clear();
        Some(overrun)
    }
}

/// A probe's source whose readings are gone once its programs are.
#[derive(Debug)]
pub(super) struct Held {
    inner: Box<dyn Source>,
    programs: Arc<Programs>,
    /// Places of its scalar columns.
    columns: Range<u32>,
}

impl Held {
    pub(super) fn new(inner: Box<dyn Source>, programs: Arc<Programs>) -> Self {
        Self { inner, programs, columns: 0..0 }
    }
}

impl Source for Held {
    fn describe(&mut self, schema: &mut Schema) {
        let place = |schema: &Schema| u32::try_from(schema.columns.len()).unwrap_or(u32::MAX);
        let begin = place(schema);
        self.inner.describe(schema);
        self.columns = begin..place(schema);
    }

    fn sample(&mut self, frame: &mut Frame) {
        if self.programs.are_attached() {
            self.inner.sample(frame);
            return;
        }
        for column in self.columns.clone() {
            frame.set(Column(column), Err(AbsenceReason::Gone));
        }
    }

    fn changed(&self) -> bool {
        self.programs.are_attached() && self.inner.changed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_the_two_limits_holds() {
        let budget = Budget::default();
        let close = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(close(budget.of_a_core(1), 0.005));
        assert!(close(budget.of_a_core(2), 0.01));
        assert!(close(budget.of_a_core(64), 0.01));
    }

    #[test]
    fn a_burst_is_forgiven_and_what_lasts_takes_the_dearest_out() {
        let mut ledger = Ledger::new(Budget::default(), 2);
        let all = |_| true;
        for costs in [[0.001, 0.02], [0.001, 0.001], [0.001, 0.001], [0.001, 0.001]] {
            assert_eq!(ledger.judge(costs.into(), all), None);
        }
        assert_eq!(ledger.judge(vec![0.001, 0.02], all), None);
        assert_eq!(ledger.judge(vec![0.001, 0.02], all).map(|overrun| overrun.probe), Some(1));
        // Judged anew.
        assert_eq!(ledger.judge(vec![0.02, 0.0], all), None);
    }

    #[test]
    fn one_that_somebody_needs_stays() {
        let mut ledger = Ledger::new(Budget::default(), 2);
        let but_the_dearest = |probe| probe != 1;
        let judged: Vec<_> = (0..3).map(|_| ledger.judge(vec![0.001, 0.02], but_the_dearest)).collect();
        assert_eq!(judged[2].as_ref().map(|overrun| overrun.probe), Some(0));
    }
}
