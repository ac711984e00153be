//! Judges a run's `[[trend]]`s by its record, once it is over, and makes the verdict follow: a trend that fails, or that can't be told,
//! is no pass.

use std::collections::BTreeMap;

use ssts_proto::{
    catalogue::{self, Metric, Worse},
    guards::label_fits,
    thresholds::{STATISTICS, unit},
    trends::{kind_name, tolerated},
    v1::{Cause, Label, Run, ThresholdOutcome, Trend, TrendKind, TrendResult, Verdict},
};

use crate::{
    compare::{Key, Windows},
    stats::{Answer, Interval, Leak, LeakTest, WorseWay, drift, steady},
    text,
};

const SECONDS_A_MINUTE: f64 = 60.0;

/// Whether the run has trends that are yet to be judged.
pub(crate) fn are_due(run: &Run) -> bool {
    run.trends.is_empty() && run.scenario.as_ref().is_some_and(|scenario| !scenario.trends.is_empty())
}

/// The metrics that they are of.
pub(crate) fn metrics(run: &Run) -> Vec<String> {
    let trends = run.scenario.iter().flat_map(|scenario| &scenario.trends);
    trends.map(|trend| trend.metric.clone()).collect()
}

/// Judges all of them, by what the record shows; without one nothing can be told.
pub(crate) fn judge(run: &mut Run, windows: Option<&Windows>) {
    let trends = run.scenario.as_ref().map(|scenario| scenario.trends.clone()).unwrap_or_default();
    run.trends = trends.iter().map(|trend| judged(trend, windows)).collect();
    let Some(summary) = &mut run.summary else { return };
    if summary.verdict() != Verdict::Pass {
        return;
    }
    for (outcome, cause) in [
        (ThresholdOutcome::Fail, Cause::ThresholdFailed),
        (ThresholdOutcome::Inconclusive, Cause::ThresholdInconclusive),
    ] {
        if let Some(result) = run.trends.iter().find(|result| result.outcome() == outcome) {
            summary.set_verdict(Verdict::Fail);
            summary.set_cause(cause);
            summary.cause_message = words(result);
            return;
        }
    }
}

/// Such as `leak of agent.resident: it rises, and goes on doing so (1.1 MiB a minute)`.
pub(crate) fn words(result: &TrendResult) -> String {
    let trend = result.trend.clone().unwrap_or_default();
    let value = value_words(result).map(|value| format!(" ({value})")).unwrap_or_default();
    format!("{}: {}{value}", subject(&trend), result.reason)
}

/// Such as `drift of burner.latency p99 in phase soak`.
pub(crate) fn subject(trend: &Trend) -> String {
    let labels: Vec<_> = trend.labels.iter().map(|label| label.value.as_str()).collect();
    let of_phase = if trend.phase.is_empty() { String::new() } else { format!(" in phase {}", trend.phase) };
    let words =
        format!("{} of {} {} {}", kind_name(trend.kind()), trend.metric, statistic(trend), labels.join(" "));
    words.split_whitespace().collect::<Vec<_>>().join(" ").replace(" mean", "") + &of_phase
}

/// The value with what it is of.
pub(crate) fn value_words(result: &TrendResult) -> Option<String> {
    let value = result.value?;
    Some(match result.trend.as_ref().map(Trend::kind).unwrap_or_default() {
        TrendKind::Leak => format!("{} a minute", text::quantity(value, &result.unit)),
        TrendKind::Drift => format!("{value:+.1} % an hour"),
        TrendKind::Steady | TrendKind::Unspecified => format!("{value:.1} %"),
    })
}

fn statistic(trend: &Trend) -> &'static str {
    let statistic = trend.statistic();
    STATISTICS.iter().find(|(_, known)| *known == statistic).map_or("mean", |(name, _)| name)
}

/// Each column by itself; the worst counts.
fn judged(trend: &Trend, windows: Option<&Windows>) -> TrendResult {
    let nothing = |reason: &str| TrendResult {
        trend: Some(trend.clone()),
        outcome: ThresholdOutcome::Inconclusive.into(),
        reason: reason.to_owned(),
        ..TrendResult::default()
    };
    let Some(windows) = windows else { return nothing("the run's record is not kept, or not any more") };
    let Some(metric) = catalogue::find(&trend.metric) else { return nothing("there is no such metric") };
    let Some(series) = windows.of_phase(&trend.phase) else {
        return nothing("the phase did not come to its end");
    };
    let columns = series.into_iter().filter(|(key, _)| fits(trend, key));
    let results = columns.map(|(key, points)| column(trend, metric, &key, &points));
    results.min_by_key(severity).unwrap_or_else(|| nothing("there is no reading of it"))
}

fn fits(trend: &Trend, key: &Key) -> bool {
    let label = |name: &str| key.labels.get(name).map_or("", String::as_str);
    *key.metric == trend.metric
        && &*key.statistic == statistic(trend)
        && trend.labels.iter().all(|wanted| label_fits(&wanted.value, label(&wanted.name)))
}

/// The least is the worst; of equally bad ones that with the greatest value.
fn severity(result: &TrendResult) -> (u8, i64) {
    let outcome = match result.outcome() {
        ThresholdOutcome::Fail => 0,
        ThresholdOutcome::Inconclusive | ThresholdOutcome::Unspecified => 1,
        ThresholdOutcome::Pass => 2,
    };
    (outcome, -(result.value.unwrap_or_default() * 1e3) as i64)
}

/// Percent.
const PERCENT: &str = "%";

fn column(trend: &Trend, metric: &Metric, key: &Key, points: &[(f64, f64)]) -> TrendResult {
    let (outcome, value, interval, unit, why) = match trend.kind() {
        TrendKind::Leak => leak(trend, metric, points),
        TrendKind::Drift | TrendKind::Unspecified => {
            let worse = match metric.worse {
                Some(Worse::Rising | Worse::Present) => WorseWay::Up,
                Some(Worse::Falling) => WorseWay::Down,
                None => WorseWay::Both,
            };
            let course = drift(points, worse, tolerated(trend));
            (outcome(course.answer), course.value, course.interval, PERCENT.to_owned(), course.why)
        }
        TrendKind::Steady => {
            let course = steady(points);
            (outcome(course.answer), course.value, course.interval, PERCENT.to_owned(), course.why)
        }
    };
    let labels: &BTreeMap<String, String> = &key.labels;
    TrendResult {
        trend: Some(trend.clone()),
        outcome: outcome.into(),
        value,
        low: interval.map(|interval| interval.low),
        high: interval.map(|interval| interval.high),
        unit,
        labels: labels
            .iter()
            .map(|(name, value)| Label { name: name.clone(), value: value.clone() })
            .collect(),
        reason: why,
    }
}

fn outcome(answer: Answer) -> ThresholdOutcome {
    match answer {
        Answer::Holds => ThresholdOutcome::Pass,
        Answer::Fails => ThresholdOutcome::Fail,
        Answer::Inconclusive => ThresholdOutcome::Inconclusive,
    }
}

type Column = (ThresholdOutcome, Option<f64>, Option<Interval>, String, String);

fn leak(trend: &Trend, metric: &Metric, points: &[(f64, f64)]) -> Column {
    // Of what there should be much of, less is what leaks.
    let sign = if metric.worse == Some(Worse::Falling) { -1.0 } else { 1.0 };
    let taken: Vec<_> = points.iter().map(|(time, value)| (*time, value * sign)).collect();
    let test = LeakTest { tolerated_per_s: tolerated(trend) / SECONDS_A_MINUTE, ..LeakTest::default() };
    let finding = test.judge(&taken);
    let outcome = match finding.leak {
        Leak::NotLeaking => ThresholdOutcome::Pass,
        Leak::Leaking => ThresholdOutcome::Fail,
        Leak::Inconclusive => ThresholdOutcome::Inconclusive,
    };
    let a_minute = |per_s: f64| per_s * SECONDS_A_MINUTE;
    let value = finding.slope.map(|(slope, _)| a_minute(slope));
    let interval = finding.slope.map(|(_, it)| Interval { low: a_minute(it.low), high: a_minute(it.high) });
    (outcome, value, interval, unit(metric, trend.statistic()), finding.why)
}

#[cfg(test)]
mod tests {
    use ssts_proto::{
        trends::parse,
        v1::{RunSummary, Scenario},
    };

    use super::*;

    fn trend(metric: &str, kind: TrendKind) -> Trend {
        let mut trend = parse(metric).unwrap();
        trend.set_kind(kind);
        trend
    }

    fn key(metric: &str) -> Key {
        Key {
            metric: metric.into(),
            labels: BTreeMap::new().into(),
            statistic: "mean".into(),
            unit: "By".into(),
        }
    }

    fn judged_column(metric: &str, kind: TrendKind, of_time: impl Fn(f64) -> f64) -> TrendResult {
        let points: Vec<_> = (0..600).map(|s| (f64::from(s), of_time(f64::from(s)))).collect();
        let metric = catalogue::find(metric).unwrap();
        column(&trend(metric.name, kind), metric, &key(metric.name), &points)
    }

    #[test]
    fn available_memory_leaks_when_it_becomes_less() {
        let less = judged_column("host.memory.available", TrendKind::Leak, |s| 1e9 - s * 1e5);
        assert_eq!(less.outcome(), ThresholdOutcome::Fail, "{less:?}");
        let words = value_words(&less).unwrap();
        assert!(words.starts_with("5.7") && words.ends_with(" MiB a minute"), "{words}");
        let more = judged_column("agent.resident", TrendKind::Leak, |s| 1e9 - s * 1e5);
        assert_eq!(more.outcome(), ThresholdOutcome::Pass, "{more:?}");
        // A file a second is more than one a minute.
        let files = judged_column("host.files.open", TrendKind::Leak, |s| 1_000.0 + s);
        assert_eq!(files.outcome(), ThresholdOutcome::Fail, "{files:?}");
    }

    #[test]
    fn fewer_operations_are_a_drift_and_more_are_none() {
        let fewer = judged_column("burner.operations", TrendKind::Drift, |s| 1e6 - s * 50.0);
        assert_eq!(fewer.outcome(), ThresholdOutcome::Fail, "{fewer:?}");
        let more = judged_column("burner.operations", TrendKind::Drift, |s| 1e6 + s * 50.0);
        assert_eq!(more.outcome(), ThresholdOutcome::Pass, "{more:?}");
    }

    #[test]
    fn what_cannot_be_told_is_no_pass_and_spoils_no_worse_verdict() {
        let run = |verdict: Verdict| {
            let mut summary = RunSummary::default();
            summary.set_verdict(verdict);
            let trends = vec![trend("agent.resident", TrendKind::Leak)];
            let scenario = Scenario { trends, ..Scenario::default() };
            let mut run = Run { summary: Some(summary), scenario: Some(scenario), ..Run::default() };
            assert!(are_due(&run));
            judge(&mut run, None);
            assert!(!are_due(&run));
            run.summary.unwrap()
        };
        let passed = run(Verdict::Pass);
        assert_eq!((passed.verdict(), passed.cause()), (Verdict::Fail, Cause::ThresholdInconclusive));
        assert!(passed.cause_message.contains("leak of agent.resident: the run's record"), "{passed:?}");
        assert_eq!(run(Verdict::Aborted).verdict(), Verdict::Aborted);
    }
}
