//! The one figure of a host that a threshold across hosts is about. Of several columns, as of disks or sensors, the worst
//! counts, as the agent has it for a threshold of one host; of a sum all do.

use ssts_proto::{
    catalogue::{Kind, Metric},
    guards::label_fits,
    thresholds::{self, LOAD_MISSED, holds, is_ceiling, is_floor},
    v1::{BurnerOutcome, BurnerResult, LabelMatch, MetricSummary, Run, Threshold, ThresholdStatistic},
};

/// Told by results with more statistics than telemetry has.
const LATENCY: &str = "burner.latency";

/// Whether a host's result tells this of a metric.
pub(super) fn is_told(metric: &Metric, statistic: ThresholdStatistic) -> bool {
    use ThresholdStatistic::{Last, P90, P999, Total};
    match statistic {
        P90 | P999 => metric.name == LATENCY,
        Last => metric.kind != Kind::Histogram,
        Total => metric.kind == Kind::Counter,
        _ => metric.name != LOAD_MISSED.name,
    }
}

/// What a run measured, of the worst column; nothing where it did not.
pub(super) fn worst_of(run: &Run, threshold: &Threshold) -> Option<f64> {
    let comparison = threshold.comparison();
    columns(run, threshold).into_iter().reduce(|one, other| {
        if is_ceiling(comparison) {
            one.max(other)
        } else if is_floor(comparison) {
            one.min(other)
        } else if holds(threshold, one) && !holds(threshold, other) {
            other
        } else {
            one
        }
    })
}

/// The same of all columns together.
pub(super) fn sum_of(run: &Run, threshold: &Threshold) -> Option<f64> {
    columns(run, threshold).into_iter().reduce(|one, other| one + other)
}

fn columns(run: &Run, threshold: &Threshold) -> Vec<f64> {
    let mut values = counted(run, threshold).unwrap_or_else(|| summarised(run, threshold));
    values.retain(|value| value.is_finite());
    values
}

/// What burners counted themselves; nothing of what only telemetry tells.
fn counted(run: &Run, threshold: &Threshold) -> Option<Vec<f64>> {
    let is_total = threshold.statistic() == ThresholdStatistic::Total;
    let of: fn(&BurnerResult) -> u64 = match threshold.metric.as_str() {
        name if name == LOAD_MISSED.name => return Some(missed(run, threshold)),
        LATENCY => return latency(run, threshold),
        "burner.verify_errors" if is_total => |result| result.verify_errors,
        "burner.io_errors" if is_total => |result| result.io_errors,
        "burner.operations" if is_total => |result| result.operations,
        "burner.bytes" if is_total => |result| result.bytes,
        "burner.flops" if is_total => |result| result.flops,
        _ => return None,
    };
    Some(ours(run, threshold, "").map(|result| of(result) as f64).collect())
}

/// Burners that missed their load, of those that were judged by one.
fn missed(run: &Run, threshold: &Threshold) -> Vec<f64> {
    let judged = ours(run, threshold, "").filter(|result| {
        matches!(result.outcome(), BurnerOutcome::Done | BurnerOutcome::Missed)
            && result.target_load_percent.is_some()
            && !result.superseded
    });
    let outcomes: Vec<_> = judged.map(BurnerResult::outcome).collect();
    let missed = outcomes.iter().filter(|outcome| **outcome == BurnerOutcome::Missed).count();
    if outcomes.is_empty() { Vec::new() } else { vec![missed as f64] }
}

fn latency(run: &Run, threshold: &Threshold) -> Option<Vec<f64>> {
    use ThresholdStatistic::{Max, P50, P90, P95, P99, P999};
    let statistic = threshold.statistic();
    if !matches!(statistic, Max | P50 | P90 | P95 | P99 | P999) {
        return None;
    }
    let mut values = Vec::new();
    for result in &run.burners {
        for latency in result.latencies.iter().filter(|latency| latency.count > 0) {
            if !is_of(result, &latency.operation, &threshold.labels) {
                continue;
            }
            let value = match statistic {
                P50 => Some(latency.p50_ns),
                P90 => Some(latency.p90_ns),
                P95 => latency.p95_ns,
                P99 => Some(latency.p99_ns),
                P999 => Some(latency.p999_ns),
                _ => Some(latency.max_ns),
            };
            values.extend(value.map(|ns| ns as f64));
        }
    }
    Some(values)
}

fn ours<'r>(
    run: &'r Run,
    threshold: &'r Threshold,
    operation: &'r str,
) -> impl Iterator<Item = &'r BurnerResult> {
    run.burners.iter().filter(move |result| is_of(result, operation, &threshold.labels))
}

/// Whether labels ask for what this burner did.
fn is_of(result: &BurnerResult, operation: &str, labels: &[LabelMatch]) -> bool {
    labels.iter().all(|wanted| {
        let place;
        let label = match wanted.name.as_str() {
            "kind" => result.kind.as_str(),
            "operation" => operation,
            "burner" => {
                place = format!("{}.{}", result.phase_index, result.burner_index);
                place.as_str()
            }
            // It is of this run, whatever its id.
            _ => return true,
        };
        label_fits(&wanted.value, label)
    })
}

/// What telemetry comes to over the run, column by column.
fn summarised(run: &Run, threshold: &Threshold) -> Vec<f64> {
    let is_ours = |summary: &&MetricSummary| {
        summary.metric == threshold.metric
            && threshold.labels.iter().all(|wanted| {
                let label = summary.labels.iter().find(|label| label.name == wanted.name);
                label_fits(&wanted.value, label.map_or("", |label| label.value.as_str()))
            })
    };
    let is_counter = thresholds::metric(&threshold.metric).is_some_and(|metric| metric.kind == Kind::Counter);
    let ours = run.telemetry.iter().filter(is_ours).filter(|summary| summary.samples > 0);
    ours.filter_map(|summary| statistic(summary, threshold.statistic(), is_counter)).collect()
}

fn statistic(summary: &MetricSummary, statistic: ThresholdStatistic, is_counter: bool) -> Option<f64> {
    use ThresholdStatistic::{Last, Max, Mean, Min, P50, P90, P95, P99, P999, Total, Unspecified};
    match statistic {
        Min => Some(summary.min),
        Max => Some(summary.max),
        Mean => Some(summary.mean),
        P50 => Some(summary.p50),
        P95 => Some(summary.p95),
        P99 => Some(summary.p99),
        Last => summary.last,
        Total => summary.increase.filter(|_| is_counter),
        P90 | P999 | Unspecified => None,
    }
}
