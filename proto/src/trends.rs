//! What trends are called where people write them.

use crate::{
    catalogue::{self, Kind},
    thresholds::{self, Wrong},
    v1::{ThresholdStatistic, Trend, TrendKind},
};

/// Kinds as they are written.
pub const KINDS: [(&str, TrendKind); 3] =
    [("leak", TrendKind::Leak), ("drift", TrendKind::Drift), ("steady", TrendKind::Steady)];

/// Rises by less are no leak: bytes a minute, and so many a minute of what is no bytes.
pub const DEFAULT_LEAK_BYTES: f64 = 131_072.0;
/// The same of all else.
pub const DEFAULT_LEAK: f64 = 1.0;
/// Becoming worse by less in an hour is no drift, percent.
pub const DEFAULT_DRIFT_PERCENT: f64 = 5.0;

/// Reads the subject of a trend, named as thresholds have it: `host.files.open`, `disk.read.latency.p99`. The rest is still to be set.
///
/// # Errors
/// There is no such metric.
pub fn parse(text: &str) -> Result<Trend, Wrong> {
    const NOTHING: &str = " >= 0";
    let bounded =
        |wrong: Wrong| Wrong { part: wrong.part.start..wrong.part.end.min(text.len().max(1)), ..wrong };
    let read = thresholds::parse(&format!("{text}{NOTHING}"));
    // Without a statistic many readings have none, and a counter has its total.
    let means_none = match &read {
        Ok(threshold) => threshold.statistic() == ThresholdStatistic::Total,
        Err(wrong) => wrong.message.ends_with("has many readings"),
    };
    let is_histogram = |name: &str| {
        thresholds::parse(&format!("{name}.p50{NOTHING}"))
            .ok()
            .and_then(|threshold| catalogue::find(&threshold.metric))
            .is_some_and(|metric| metric.kind == Kind::Histogram)
    };
    let text = text.trim();
    let read = match means_none {
        true if text.ends_with(".total") => read,
        true if is_histogram(text) => thresholds::parse(&format!("{text}.p50{NOTHING}")),
        true => thresholds::parse(&format!("{text}.mean{NOTHING}")),
        false => read,
    };
    let threshold = read.map_err(bounded)?;
    let statistic = threshold.statistic;
    Ok(Trend { metric: threshold.metric, labels: threshold.labels, statistic, ..Trend::default() })
}

/// `leak`, `drift` or `steady`.
pub fn kind_name(kind: TrendKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("unknown", |(name, _)| name)
}

/// What is let be: in the metric's unit a minute of a leak, percent an hour of a drift.
pub fn tolerated(trend: &Trend) -> f64 {
    let of_kind = match trend.kind() {
        TrendKind::Leak if catalogue::find(&trend.metric).is_some_and(|metric| metric.unit == "By") => {
            DEFAULT_LEAK_BYTES
        }
        TrendKind::Leak => DEFAULT_LEAK,
        _ => DEFAULT_DRIFT_PERCENT,
    };
    trend.tolerate.unwrap_or(of_kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_named_as_thresholds_have_it() {
        use ThresholdStatistic::{Mean, P50, P99};
        for (text, metric, statistic, labels) in [
            ("host.files.open", "host.files.open", Mean, 0),
            ("disk.operations", "burner.operations", Mean, 1),
            ("runqueue.latency", "runqueue.latency", P50, 0),
            ("disk.read.latency.p99", "burner.latency", P99, 2),
            ("agent.resident.mean", "agent.resident", Mean, 0),
        ] {
            let read = parse(text).unwrap();
            assert_eq!(
                (read.metric.as_str(), read.statistic(), read.labels.len()),
                (metric, statistic, labels)
            );
        }
        let wrong = parse("host.file.open").unwrap_err();
        assert!(wrong.mend.contains("did you mean 'host.files.open'") && wrong.part.end <= 14, "{wrong:?}");
    }

    #[test]
    fn what_is_let_be_depends_on_what_it_is() {
        let of = |text: &str, kind| {
            let mut trend = parse(text).unwrap();
            trend.set_kind(kind);
            tolerated(&trend)
        };
        assert_eq!(of("agent.resident", TrendKind::Leak), 131_072.0);
        assert_eq!(of("host.files.open", TrendKind::Leak), 1.0);
        assert_eq!(of("agent.resident", TrendKind::Drift), 5.0);
    }
}
