//! One threshold: what it has seen, and what that comes to.

use std::time::Duration;

use ssts_proto::{
    catalogue::{Kind, Metric},
    guards,
    thresholds::{self, LOAD_MISSED, holds, is_ceiling, is_final, is_floor},
    v1::{
        BurnerOutcome, BurnerResult, Guard, GuardAggregate, GuardComparison, GuardMissing, GuardOrigin,
        GuardReaction, Label, LabelMatch, Threshold, ThresholdComparison, ThresholdOutcome, ThresholdResult,
        ThresholdStatistic, Violation,
    },
};

use crate::{
    clock,
    guard::{GuardSet, GuardSpec, Owned},
    observe::{
        frame::Frame,
        schema::{Column, ColumnDescription, HistogramColumn, Schema},
    },
    run::telemetry::{HistogramSeries, MOST_KEPT, Series},
};

/// Over which a counter's rate is taken, and a histogram's values are, where single readings are judged.
const READING_WINDOW_MS: u64 = 1_000;
/// How often is looked whether a run has to end: percentiles are sorted for it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a reading that went away still stands.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// Readings that are needed before a run ends for what they come to so far.
const MIN_READINGS: u64 = 20;

/// One threshold of a run.
#[derive(Debug)]
pub(in crate::run) struct Judged {
    threshold: Threshold,
    metric: &'static Metric,
    unit: String,
    /// Says which columns it looks at, and judges single readings.
    spec: GuardSpec,
    /// What it is compared with, column by column; nothing where that is not known.
    reference: Vec<Value>,
    lasting: Option<GuardSet>,
    /// The worst of what single readings said.
    worst: Option<f64>,
    schema_id: Option<u32>,
    series: Vec<Series>,
    columns: Vec<(Column, usize)>,
    histograms: Vec<HistogramSeries>,
    histogram_columns: Vec<(HistogramColumn, usize)>,
    looked: Duration,
    /// Whether a frame of its phase came.
    has_begun: bool,
    pub(super) failed: Option<ThresholdResult>,
    /// Whether that was told as an event.
    pub(super) is_told: bool,
}

/// A value, and the column that it is of.
pub(super) type Value = (f64, Vec<Label>);

impl Judged {
    /// Of the run of that id.
    pub(super) fn new(field: &str, threshold: &Threshold, run: &str) -> Result<Self, Vec<Violation>> {
        let unknown = || {
            let message = format!("there is no metric '{}'", threshold.metric);
            let (field, mend) = (format!("{field}.that"), "docs/metrics.md lists them".to_owned());
            vec![Violation { field, message, mend, ..Violation::default() }]
        };
        let metric = thresholds::metric(&threshold.metric).ok_or_else(unknown)?;
        let spec = GuardSpec::new(field, &reading_guard(threshold, metric, run), GuardOrigin::Requested)?;
        Ok(Self {
            unit: thresholds::unit(metric, threshold.statistic()),
            threshold: threshold.clone(),
            metric,
            spec,
            reference: Vec::new(),
            lasting: None,
            worst: None,
            schema_id: None,
            series: Vec::new(),
            columns: Vec::new(),
            histograms: Vec::new(),
            histogram_columns: Vec::new(),
            looked: Duration::ZERO,
            has_begun: false,
            failed: None,
            is_told: false,
        })
    }

    pub(super) fn threshold(&self) -> &Threshold {
        &self.threshold
    }

    /// Of its value: UCUM's short form.
    pub(super) fn unit(&self) -> &str {
        &self.unit
    }

    /// What says which columns it looks at.
    pub(super) fn spec(&self) -> &GuardSpec {
        &self.spec
    }

    /// Says what it is compared with, column by column.
    pub(super) fn compare_with(&mut self, reference: &[Value]) {
        self.reference = reference.to_vec();
    }

    /// What it is compared with.
    pub(super) fn reference(&self) -> &[Value] {
        &self.reference
    }

    /// Looks at a frame. `is_on`: the phase is its own, and the grace is over.
    pub(in crate::run) fn look(&mut self, schema: &Schema, frame: &Frame, is_on: bool) {
        self.has_begun |= is_on;
        if self.threshold.for_ms > 0 {
            if is_on && self.failed.is_none() {
                self.look_at_readings(schema, frame);
            }
            return;
        }
        if self.schema_id != Some(schema.id) {
            self.follow(schema);
        }
        for (column, place) in &self.columns {
            let series = &mut self.series[*place];
            if is_on {
                series.add(frame.reading(*column).ok(), frame.read_at(*column), MOST_KEPT);
            } else {
                // Where a counter stands before: what it gains from then on counts.
                series.begin_with(frame.reading(*column).ok(), frame.read_at(*column));
            }
        }
        if is_on {
            for gain in frame.gains() {
                let place = self.histogram_columns.iter().find(|(column, _)| *column == gain.column);
                if let Some((_, place)) = place {
                    self.histograms[*place].counts[gain.bucket as usize] += gain.count;
                }
            }
        }
        let is_due = frame.end.saturating_sub(self.looked) >= LOOK_EVERY;
        if is_on && is_due && self.threshold.abort_on_fail && self.failed.is_none() {
            self.looked = frame.end;
            self.look_early();
        }
    }

    /// What has come together so far, where the run is to end for it.
    fn look_early(&mut self) {
        let Some((value, labels)) = self.value() else { return };
        let readings: u64 = self.series.iter().map(Series::samples).sum::<u64>()
            + self.histograms.iter().map(HistogramSeries::samples).sum::<u64>();
        let is_settled = is_final(&self.threshold) || readings >= MIN_READINGS;
        // A total that has yet to be reached has not failed.
        let is_over =
            self.threshold.comparison() != ThresholdComparison::Equal || value > self.threshold.value;
        if is_settled && is_over && !holds(&self.compared(&labels), value) {
            self.failed = Some(self.failure(value, labels));
        }
    }

    fn look_at_readings(&mut self, schema: &Schema, frame: &Frame) {
        let spec = &self.spec;
        let set =
            self.lasting.get_or_insert_with(|| GuardSet::new(vec![spec.clone()], STALE_AFTER, frame.end));
        set.look(schema, frame, &Owned::default());
        let Some(guard) = set.guards().first() else { return };
        let value = guard.value();
        let worse = |one: f64, other: f64| {
            if is_floor(self.threshold.comparison()) { one.min(other) } else { one.max(other) }
        };
        self.worst = match (value, self.worst) {
            (Some(value), Some(worst)) => Some(worse(value, worst)),
            (value, worst) => value.or(worst),
        };
        if guard.is_tripped()
            && let Some(value) = value
        {
            let labels = guard.labels();
            self.failed = Some(self.failure(value, labels));
        }
    }

    fn follow(&mut self, schema: &Schema) {
        self.schema_id = Some(schema.id);
        let is_ours =
            |column: &ColumnDescription| *column.metric == *self.metric && self.spec.matches(&column.labels);
        self.columns.clear();
        for (column, description) in schema.columns().filter(|(_, column)| is_ours(column)) {
            let labels = description.labels_in_run();
            let known = self.series.iter().position(|series| series.labels() == labels);
            let place = known.unwrap_or_else(|| {
                self.series.push(Series::new(description));
                self.series.len() - 1
            });
            self.columns.push((column, place));
        }
        self.histogram_columns.clear();
        for (column, description) in schema.histogram_columns().filter(|(_, of)| is_ours(&of.column)) {
            let labels = description.column.labels_in_run();
            let known = self.histograms.iter().position(|series| series.labels() == labels);
            let place = known.unwrap_or_else(|| {
                self.histograms.push(HistogramSeries::new(&description.column, description.layout));
                self.histograms.len() - 1
            });
            self.histogram_columns.push((column, place));
        }
    }

    /// What all columns come to: the worst of them.
    fn value(&self) -> Option<Value> {
        self.worst_of(self.read_values().into_iter())
    }

    /// What each column comes to, by frames.
    fn read_values(&self) -> Vec<Value> {
        let statistic = self.threshold.statistic();
        let series =
            self.series.iter().filter_map(|series| Some((series.statistic(statistic)?, series.labels())));
        let histograms =
            self.histograms.iter().filter_map(|series| Some((series.statistic(statistic)?, series.labels())));
        series.chain(histograms).map(|(value, labels)| (value, labels.to_vec())).collect()
    }

    /// What each column came to, once its phase is over.
    pub(super) fn values(&self, results: &[BurnerResult]) -> Vec<Value> {
        self.of_results(results).unwrap_or_else(|| self.read_values())
    }

    fn worst_of(&self, values: impl Iterator<Item = Value>) -> Option<Value> {
        let threshold = &self.threshold;
        let comparison = threshold.comparison();
        if comparison == ThresholdComparison::Within {
            // What has nothing to be compared with is not judged.
            let off = |value: &Value| {
                let reference = known_of(&self.reference, &value.1)?;
                Some(off_by(value.0, reference))
            };
            let known = values.filter_map(|value| Some((off(&value)?, value)));
            return known.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, value)| value);
        }
        values.reduce(|one, other| {
            let is_worse = if is_floor(comparison) {
                other.0 < one.0
            } else if is_ceiling(comparison) {
                other.0 > one.0
            } else {
                holds(threshold, one.0) && !holds(threshold, other.0)
            };
            if is_worse { other } else { one }
        })
    }

    /// What burners counted themselves, which no tick can miss; nothing of what only frames tell.
    fn of_results(&self, results: &[BurnerResult]) -> Option<Vec<Value>> {
        let statistic = self.threshold.statistic();
        let is_total = statistic == ThresholdStatistic::Total;
        let is_error = self.metric.name == "burner.verify_errors" || self.metric.name == "burner.io_errors";
        let counted: fn(&BurnerResult) -> u64 = match self.metric.name {
            _ if self.threshold.for_ms > 0 => return None,
            // An error in the grace is an error.
            "burner.verify_errors" if is_total => |result| result.verify_errors,
            "burner.io_errors" if is_total => |result| result.io_errors,
            "burner.load_missed" => |result| u64::from(result.outcome() == BurnerOutcome::Missed),
            _ if self.threshold.grace_ms > 0 && !is_error => return None,
            "burner.operations" if is_total => |result| result.operations,
            "burner.bytes" if is_total => |result| result.bytes,
            "burner.flops" if is_total => |result| result.flops,
            "burner.latency" => return self.latency(results),
            _ => return None,
        };
        let ours = results.iter().filter(|result| self.is_of(result, ""));
        // Who was to be judged by a load and never burned was not judged.
        let ours = ours.filter(|result| {
            *self.metric != LOAD_MISSED
                || matches!(result.outcome(), BurnerOutcome::Done | BurnerOutcome::Missed)
                    && result.target_load_percent.is_some()
                    && !result.superseded
        });
        let values: Vec<Value> = ours.map(|result| (counted(result) as f64, labels(result, None))).collect();
        if *self.metric == LOAD_MISSED {
            let missed = values.iter().map(|(value, _)| value).sum();
            return Some(if values.is_empty() { values } else { vec![(missed, Vec::new())] });
        }
        Some(values)
    }

    fn latency(&self, results: &[BurnerResult]) -> Option<Vec<Value>> {
        use ThresholdStatistic::{Max, P50, P90, P95, P99, P999};
        let statistic = self.threshold.statistic();
        // All else of a histogram is taken from frames.
        if !matches!(statistic, Max | P50 | P90 | P95 | P99 | P999) {
            return None;
        }
        let values = results.iter().flat_map(|result| {
            let counted = result.latencies.iter().filter(|latency| latency.count > 0);
            let ours = counted.filter(|latency| self.is_of(result, &latency.operation));
            ours.filter_map(move |latency| {
                let labels = labels(result, Some(&latency.operation));
                let value = match statistic {
                    P50 => latency.p50_ns,
                    P90 => latency.p90_ns,
                    P95 => latency.p95_ns?,
                    P99 => latency.p99_ns,
                    P999 => latency.p999_ns,
                    _ => latency.max_ns,
                };
                Some((value as f64, labels))
            })
        });
        Some(values.collect())
    }

    fn run_label(&self) -> String {
        let run = self.spec.message.labels.iter().find(|label| label.name == "run");
        run.map(|label| label.value.clone()).unwrap_or_default()
    }

    /// Whether it looks at what a burner counted, of an operation where it is of one.
    fn is_of(&self, result: &BurnerResult, operation: &str) -> bool {
        // Of a phase that was repeated the last time counts, of a run all that happened.
        let of_phase =
            self.threshold.phase.is_empty() || result.phase == self.threshold.phase && !result.superseded;
        of_phase
            && self.spec.matches(&[
                self.run_label(),
                place(result),
                result.kind.clone(),
                operation.to_owned(),
            ])
    }

    /// The outcome, once its phase and the run are over. `is_whole`: its phase came to its end, or of the run all did.
    pub(in crate::run) fn outcome(&self, results: &[BurnerResult], is_whole: bool) -> ThresholdResult {
        if let Some(failed) = &self.failed {
            return failed.clone();
        }
        let value = match self.of_results(results) {
            Some(values) => self.worst_of(values.into_iter()),
            None if self.threshold.for_ms > 0 => self.worst.map(|worst| (worst, Vec::new())),
            None => self.value(),
        };
        let Some((value, labels)) = value else {
            let is_compared = self.threshold.comparison() == ThresholdComparison::Within;
            let reason = match (self.has_begun || *self.metric == LOAD_MISSED, is_whole) {
                (_, true) if is_compared && self.reference.is_empty() => {
                    "what it is compared with was not measured"
                }
                (_, false) => "the run ended before it could be judged",
                (false, true) if self.threshold.grace_ms > 0 => "nothing was read after the grace",
                (_, true) => "nothing was read of it",
            };
            return self.result(ThresholdOutcome::Inconclusive, None, Vec::new(), reason.to_owned());
        };
        // Single readings that broke it did so for too short a time.
        let is_good = self.threshold.for_ms > 0 || holds(&self.compared(&labels), value);
        match (is_good, is_whole) {
            (true, true) => self.result(ThresholdOutcome::Pass, Some(value), labels, String::new()),
            (false, _) if is_whole || is_final(&self.threshold) => self.failure(value, labels),
            _ => {
                let reason = "the run ended before it could be judged".to_owned();
                self.result(ThresholdOutcome::Inconclusive, Some(value), labels, reason)
            }
        }
    }

    /// The outcome of one whose phase was left out.
    pub(super) fn skipped(&self, why: &str) -> ThresholdResult {
        let reason = format!("its phase was skipped: {why}");
        self.result(ThresholdOutcome::Inconclusive, None, Vec::new(), reason)
    }

    /// The threshold, with what the column of these labels is compared with.
    fn compared(&self, labels: &[Label]) -> Threshold {
        let reference_value = known_of(&self.reference, labels);
        Threshold { reference_value, ..self.threshold.clone() }
    }

    fn failure(&self, value: f64, labels: Vec<Label>) -> ThresholdResult {
        let place = labels.iter().map(|label| format!("{} {}", label.name, label.value)).collect::<Vec<_>>();
        let place = if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) };
        let lasted = match self.threshold.for_ms {
            0 => String::new(),
            ms => format!(", for {:?}", Duration::from_millis(ms)),
        };
        let compared = known_of(&self.reference, &labels).map(|reference| {
            format!(", and {} was {}", self.threshold.reference, guards::words(reference, &self.unit))
        });
        let compared = compared.unwrap_or_default();
        let reason = format!("it is {}{place}{lasted}{compared}", guards::words(value, &self.unit));
        self.result(ThresholdOutcome::Fail, Some(value), labels, reason)
    }

    fn result(
        &self,
        outcome: ThresholdOutcome,
        value: Option<f64>,
        labels: Vec<Label>,
        reason: String,
    ) -> ThresholdResult {
        ThresholdResult {
            threshold: Some(self.compared(&labels)),
            outcome: outcome.into(),
            value,
            unit: self.unit.clone(),
            labels: labels.into_iter().filter(|label| !label.value.is_empty()).collect(),
            reason,
            judged_at_unix_ns: clock::unix_ns(),
        }
    }
}

/// What the column of these labels is compared with. Burners are those of the same number in their phases.
fn known_of(reference: &[Value], labels: &[Label]) -> Option<f64> {
    let is_same = |one: &Label, other: &Label| {
        let within_phase = |label: &Label| label.value.rsplit('.').next().unwrap_or_default().to_owned();
        one.name == other.name
            && (one.value == other.value || one.name == "burner" && within_phase(one) == within_phase(other))
    };
    let is_it = |known: &&Value| {
        known.1.len() == labels.len() && known.1.iter().zip(labels).all(|(one, other)| is_same(one, other))
    };
    reference.iter().find(is_it).map(|(value, _)| *value)
}

/// By which share of the reference a value is off.
fn off_by(value: f64, reference: f64) -> f64 {
    if value == reference { 0.0 } else { (value - reference).abs() / reference.abs() }
}

/// `<phase>.<burner>`, as columns have it.
fn place(result: &BurnerResult) -> String {
    format!("{}.{}", result.phase_index, result.burner_index)
}

fn labels(result: &BurnerResult, operation: Option<&str>) -> Vec<Label> {
    let label = |name: &str, value: String| Label { name: name.into(), value };
    let mut labels = vec![label("burner", place(result)), label("kind", result.kind.clone())];
    labels.extend(operation.map(|operation| label("operation", operation.into())));
    labels
}

/// A guard that looks at the same columns, and trips where single readings break the threshold for long enough.
pub(in crate::run) fn reading_guard(threshold: &Threshold, metric: &'static Metric, run: &str) -> Guard {
    let mut labels = threshold.labels.clone();
    if metric.labels.contains(&"run") {
        labels.push(LabelMatch { name: "run".into(), value: run.into() });
    }
    // What is known in no frame has the labels of what burners do.
    let name = if *metric == LOAD_MISSED { "burner.operations" } else { metric.name };
    let mut guard = Guard { name: "threshold".into(), metric: name.into(), labels, ..Guard::default() };
    guard.set_reaction(GuardReaction::Warn);
    guard.set_missing(GuardMissing::Ignore);
    guard.set_comparison(GuardComparison::Above);
    guard.value = 0.5;
    if threshold.for_ms == 0 {
        return guard;
    }
    guard.for_ms = threshold.for_ms;
    if metric.kind != Kind::Gauge {
        guard.window_ms = Some(READING_WINDOW_MS);
    }
    use ThresholdStatistic::{Max, Mean, Min, P50, P90, P95, P99, P999};
    guard.set_aggregate(match threshold.statistic() {
        Min => GuardAggregate::Min,
        Max => GuardAggregate::Max,
        Mean => GuardAggregate::Mean,
        P50 => GuardAggregate::P50,
        P90 => GuardAggregate::P90,
        P95 => GuardAggregate::P95,
        P99 => GuardAggregate::P99,
        P999 => GuardAggregate::P999,
        _ => GuardAggregate::Unspecified,
    });
    // At its limit a guard is on the good side.
    let (comparison, value) = match threshold.comparison() {
        ThresholdComparison::Below => (GuardComparison::Above, threshold.value.next_down()),
        ThresholdComparison::Above => (GuardComparison::Below, threshold.value.next_up()),
        ThresholdComparison::AtLeast => (GuardComparison::Below, threshold.value),
        _ => (GuardComparison::Above, threshold.value),
    };
    guard.set_comparison(comparison);
    guard.value = value;
    guard
}
