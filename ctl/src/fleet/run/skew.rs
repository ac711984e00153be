//! When hosts really began, by our own clock.

use ssts_proto::v1::Run;

use crate::fleet::{HostOutcome, clock::ClockOffset};

/// How far a host's first burning instant was from the one named; nothing where nothing burned.
pub(super) fn of_run(run: &Run, clock: &ClockOffset, begin_at_ns: i64) -> Option<i64> {
    let began_ns = run.summary.as_ref()?.began_at_unix_ns?;
    // Of the first phase that burned: that whose clock it is.
    let first = run.burners.iter().map(|burner| burner.phase_index).min();
    let of_first =
        run.burners.iter().filter(|burner| Some(burner.phase_index) == first && burner.attempt <= 1);
    let off = of_first.filter_map(|burner| burner.start_skew_ns).max_by_key(|skew| skew.unsigned_abs());
    // A phase that only observes begins with its clock.
    let off = if run.burners.is_empty() { Some(0) } else { off };
    Some(clock.ours(began_ns.saturating_add(off?)).saturating_sub(begin_at_ns))
}

/// How far apart hosts began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartSkew {
    /// From the first to the last.
    pub(crate) spread_ns: u64,
    /// That is off by at most this: the clocks of the first and of the last may each be off.
    pub(crate) error_ns: u64,
    /// Hosts whose instant is known.
    pub(crate) hosts: usize,
}

/// Over the hosts that began; nothing where fewer than two did.
pub(crate) fn of_hosts(outcomes: &[HostOutcome]) -> Option<StartSkew> {
    let known: Vec<_> =
        outcomes.iter().filter_map(|outcome| Some((outcome.skew_ns?, outcome.clock_error_ns?))).collect();
    let (first, first_error) = known.iter().min()?;
    let (last, last_error) = known.iter().max()?;
    let error_ns = first_error.saturating_add(*last_error);
    (known.len() > 1).then(|| StartSkew { spread_ns: last.abs_diff(*first), error_ns, hosts: known.len() })
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{BurnerResult, RunSummary};

    use super::*;
    use crate::{cli::Host, fleet::Fleet};

    fn run(began_at_unix_ns: Option<i64>, burners: &[(u32, Option<i64>)]) -> Run {
        let summary = RunSummary { began_at_unix_ns, ..RunSummary::default() };
        let burner = |(phase_index, start_skew_ns): &(u32, Option<i64>)| BurnerResult {
            phase_index: *phase_index,
            start_skew_ns: *start_skew_ns,
            ..BurnerResult::default()
        };
        Run { summary: Some(summary), burners: burners.iter().map(burner).collect(), ..Run::default() }
    }

    #[test]
    fn a_host_began_when_its_worst_worker_of_the_first_phase_did_by_our_clock() {
        let clock = ClockOffset { offset_ns: 1_000_000, error_ns: 10 };
        let of = |run: &Run| of_run(run, &clock, 5_000_000);
        assert_eq!(
            of(&run(Some(6_000_000), &[(0, Some(300)), (0, Some(-400)), (1, Some(9_999))])),
            Some(-400)
        );
        assert_eq!(of(&run(Some(6_000_500), &[])), Some(500));
        assert_eq!(of(&run(Some(6_000_000), &[(0, None)])), None);
        assert_eq!(of(&run(None, &[(0, Some(1))])), None);
    }

    #[test]
    fn the_spread_is_from_the_first_to_the_last_and_says_how_sure_it_is() {
        let fleet = Fleet::of_hosts(&["a", "b", "c"].map(|name| Host::Tls(name.into(), 1)));
        let mut outcomes: Vec<_> = fleet.members.into_iter().map(HostOutcome::of).collect();
        assert_eq!(of_hosts(&outcomes), None);
        for (outcome, (skew, error)) in outcomes.iter_mut().zip([(-200, 30), (100, 40)]) {
            (outcome.skew_ns, outcome.clock_error_ns) = (Some(skew), Some(error));
        }
        assert_eq!(of_hosts(&outcomes), Some(StartSkew { spread_ns: 300, error_ns: 70, hosts: 2 }));
    }
}
