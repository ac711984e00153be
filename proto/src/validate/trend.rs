//! The bounds of a trend, on any host.

use super::Violations;
use crate::{
    catalogue::{Kind, Metric},
    v1::{Scenario, ThresholdStatistic, Trend, TrendKind},
};

/// Trends a scenario may have.
const MAX_TRENDS: usize = 64;
/// Labels that a trend may match.
const MAX_MATCHES: usize = 8;

/// Every bound that a scenario's trends break.
pub(super) fn all(scenario: &Scenario, found: &mut Violations) {
    let count = scenario.trends.len();
    if count > MAX_TRENDS {
        found.add("trends", format!("{count} trends"), format!("use at most {MAX_TRENDS}"));
    }
    for (index, one) in scenario.trends.iter().enumerate().take(MAX_TRENDS) {
        let field = format!("trends[{index}]");
        super::of_phase::check(&field, &one.phase, scenario, found);
        trend(&field, one, found);
    }
}

fn trend(field: &str, trend: &Trend, found: &mut Violations) {
    let at = |part: &str| format!("{field}.{part}");
    let Some(metric) = super::guard::metric(&at("metric"), &trend.metric, found) else { return };
    super::guard::labels(field, metric, &trend.labels, MAX_MATCHES, found);
    let statistic = trend.statistic();
    let fits = match metric.kind {
        Kind::Histogram => matches!(statistic, ThresholdStatistic::P50 | ThresholdStatistic::P99),
        Kind::Counter | Kind::Gauge => statistic == ThresholdStatistic::Mean,
    };
    if !fits {
        let mend = match metric.kind {
            Kind::Histogram => "use p50 or p99",
            Kind::Counter | Kind::Gauge => {
                "leave the statistic out: its mean over each part of the time counts"
            }
        };
        found.add(
            at("metric"),
            format!("no trend is looked for in such a statistic of {}", metric.name),
            mend,
        );
    }
    kind(field, trend, metric, found);
}

fn kind(field: &str, trend: &Trend, metric: &Metric, found: &mut Violations) {
    let at = |part: &str| format!("{field}.{part}");
    match trend.kind() {
        TrendKind::Unspecified => {
            found.add(at("kind"), "a trend of no kind", "use leak, drift or steady");
        }
        TrendKind::Leak if metric.kind != Kind::Gauge => found.add(
            at("kind"),
            format!("{} is nothing that could leak", metric.name),
            "use a gauge such as host.files.open or agent.resident, or kind = \"drift\"",
        ),
        TrendKind::Steady if trend.tolerate.is_some() => found.add(
            at("tolerate"),
            "what a steady state may be off by is SNIA's",
            "leave tolerate out, or use kind = \"drift\"",
        ),
        TrendKind::Leak | TrendKind::Drift | TrendKind::Steady => {}
    }
    if let Some(tolerate) = trend.tolerate
        && !(tolerate.is_finite() && tolerate >= 0.0)
    {
        found.add(at("tolerate"), format!("{tolerate} is tolerated"), "use 0 or more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Phase;

    fn refused(metric: &str, change: impl FnOnce(&mut Trend)) -> String {
        let mut trend = Trend { metric: metric.into(), ..Trend::default() };
        trend.set_statistic(ThresholdStatistic::Mean);
        trend.set_kind(TrendKind::Drift);
        change(&mut trend);
        let phase = Phase { name: "one".into(), duration_ms: 1_000, ..Phase::default() };
        let scenario = Scenario { phases: vec![phase], trends: vec![trend], ..Scenario::default() };
        let mut found = Violations::default();
        all(&scenario, &mut found);
        let found = found.into_vec();
        assert!(found.iter().all(|one| !one.mend.is_empty()), "{found:?}");
        found.iter().map(|one| format!("{}: {}; {}\n", one.field, one.message, one.mend)).collect()
    }

    #[test]
    fn what_can_be_judged_is_taken() {
        assert_eq!(refused("host.files.open", |one| one.set_kind(TrendKind::Leak)), "");
        assert_eq!(refused("burner.operations", |one| one.set_kind(TrendKind::Steady)), "");
        assert_eq!(refused("block.latency", |one| one.set_statistic(ThresholdStatistic::P99)), "");
    }

    #[test]
    fn what_can_not_be_judged_is_refused() {
        for (told, part) in [
            (refused("quack", |_| {}), "no metric 'quack'"),
            (refused("block.latency", |_| {}), "use p50 or p99"),
            (
                refused("host.files.open", |one| one.set_statistic(ThresholdStatistic::Max)),
                "leave the statistic",
            ),
            (refused("burner.operations", |one| one.set_kind(TrendKind::Leak)), "nothing that could leak"),
            (refused("host.files.open", |one| one.set_kind(TrendKind::Unspecified)), "leak, drift or steady"),
            (refused("host.files.open", |one| one.phase = "ona".into()), "did you mean 'one'"),
            (refused("host.files.open", |one| one.tolerate = Some(-1.0)), "0 or more"),
            (
                refused("host.files.open", |one| {
                    one.set_kind(TrendKind::Steady);
                    one.tolerate = Some(1.0);
                }),
                "SNIA's",
            ),
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
