//! What a run's telemetry comes to: for each metric least, mean, percentiles, greatest, last. In memory that does not grow
//! with the run.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ssts_agent_ebpf::histogram::Layout;
use ssts_proto::{
    catalogue::{Kind, Metric},
    v1::{Label, MetricSummary},
};

use crate::observe::{
    frame::Frame,
    schema::{ColumnDescription, Schema},
};

/// Samples that a series keeps for its percentiles. When it is full every second one goes, and from then on every second
/// one is left out: up to 3 minutes at 10 Hz the percentiles are exact, beyond them they are those of an even sample.
const KEPT: usize = 2_048;

/// Series that are kept: 8 KiB each at most. What comes beyond is left out: late phases of a run with very many phases on
/// very many cores. The host's own series are there from the first frame.
const MAX_SERIES: usize = 8_192;
/// A place that means "left out".
const NOWHERE: usize = usize::MAX;

/// Sums up the frames of one run.
#[derive(Debug, Default)]
pub(super) struct Telemetry {
    series: Vec<Series>,
    histograms: Vec<HistogramSeries>,
    places: HashMap<(&'static str, Vec<String>), usize>,
    /// For the schema of the previous frame: where each column's series is.
    schema_id: Option<u32>,
    columns: Vec<usize>,
    histogram_columns: Vec<usize>,
}

impl Telemetry {
    /// Takes in one frame.
    pub(super) fn add(&mut self, schema: &Arc<Schema>, frame: &Frame) {
        if self.schema_id != Some(schema.id) {
            self.follow(schema);
        }
        for (place, (reading, read)) in self.columns.iter().zip(frame.readings_in_time()) {
            if let Some(series) = self.series.get_mut(*place) {
                series.add(reading.ok(), read);
            }
        }
        for gain in frame.gains() {
            let place = self.histogram_columns[gain.column.index()];
            if let Some(histogram) = self.histograms.get_mut(place) {
                histogram.counts[gain.bucket as usize] += gain.count;
            }
        }
    }

    /// One summary for each series that had a sample.
    pub(super) fn summaries(&self) -> Vec<MetricSummary> {
        let scalars = self.series.iter().filter_map(Series::summary);
        scalars.chain(self.histograms.iter().filter_map(HistogramSeries::summary)).collect()
    }

    fn follow(&mut self, schema: &Schema) {
        self.schema_id = Some(schema.id);
        self.columns = schema
            .columns
            .iter()
            .map(|column| {
                if self.series.len() >= MAX_SERIES {
                    return NOWHERE;
                }
                let key = (column.metric.name, column.labels.clone());
                *self.places.entry(key).or_insert_with(|| {
                    self.series.push(Series::new(column));
                    self.series.len() - 1
                })
            })
            .collect();
        self.histogram_columns = schema
            .histograms
            .iter()
            .map(|histogram| {
                if self.histograms.len() >= MAX_SERIES {
                    return NOWHERE;
                }
                let key = (histogram.column.metric.name, histogram.column.labels.clone());
                *self.places.entry(key).or_insert_with(|| {
                    self.histograms.push(HistogramSeries::new(&histogram.column, histogram.layout));
                    self.histograms.len() - 1
                })
            })
            .collect();
    }
}

#[derive(Debug)]
struct Series {
    metric: &'static Metric,
    labels: Vec<Label>,
    /// Of a counter: its value at the previous sample, and when.
    previous: Option<(f64, Duration)>,
    /// Of a counter: its last value, gaps or not, and what it gained.
    gained: Option<(f64, f64)>,
    /// When the latest reading was taken: one that is shown again counts once.
    latest: Option<Duration>,
    samples: u64,
    sum: f64,
    min: f64,
    max: f64,
    last: f64,
    /// Single precision: 7 digits are more than any percentile of samples is worth.
    kept: Vec<f32>,
    /// Every how many samples one is kept.
    stride: u64,
}

impl Series {
    fn new(column: &ColumnDescription) -> Self {
        Self {
            metric: column.metric,
            labels: column.v1_labels(),
            previous: None,
            gained: None,
            latest: None,
            samples: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            last: 0.0,
            kept: Vec::new(),
            stride: 1,
        }
    }

    fn add(&mut self, reading: Option<f64>, at: Duration) {
        if reading.is_some() && self.latest.replace(at) == Some(at) {
            return;
        }
        if let (Kind::Counter, Some(value)) = (self.metric.kind, reading) {
            let (before, gained) = self.gained.unwrap_or((value, 0.0));
            self.gained = Some((value, gained + (value - before).max(0.0)));
        }
        match (self.metric.kind, reading) {
            (Kind::Counter, None) => self.previous = None,
            (Kind::Counter, Some(value)) => {
                let before = self.previous.replace((value, at));
                // A counter that fell began anew: no rate can be told.
                if let Some((old, since)) = before.filter(|(old, since)| *old <= value && *since < at) {
                    self.add_sample((value - old) / (at - since).as_secs_f64());
                }
            }
            (_, Some(value)) => self.add_sample(value),
            (_, None) => {}
        }
    }

    fn add_sample(&mut self, value: f64) {
        if self.samples.is_multiple_of(self.stride) {
            if self.kept.len() == KEPT {
                let mut index = 0;
                self.kept.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.stride *= 2;
            }
            if self.samples.is_multiple_of(self.stride) {
                self.kept.push(value as f32);
            }
        }
        self.samples += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.last = value;
    }

    fn summary(&self) -> Option<MetricSummary> {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        // Nearest rank, between the exact extremes.
        let percentile = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            f64::from(sorted[rank.clamp(1, sorted.len()) - 1]).clamp(self.min, self.max)
        };
        (self.samples > 0).then(|| MetricSummary {
            metric: self.metric.name.into(),
            labels: self.labels.clone(),
            unit: if self.metric.kind == Kind::Counter {
                format!("{}/s", self.metric.unit)
            } else {
                self.metric.unit.into()
            },
            samples: self.samples,
            min: self.min,
            mean: self.sum / self.samples as f64,
            p50: percentile(0.5),
            p95: percentile(0.95),
            p99: percentile(0.99),
            max: self.max,
            last: Some(self.last),
            increase: self.gained.map(|(_, gained)| gained),
        })
    }
}

#[derive(Debug)]
struct HistogramSeries {
    metric: &'static Metric,
    labels: Vec<Label>,
    layout: Layout,
    counts: Vec<u64>,
}

impl HistogramSeries {
    fn new(column: &ColumnDescription, layout: Layout) -> Self {
        Self { metric: column.metric, labels: column.v1_labels(), layout, counts: vec![0; layout.buckets()] }
    }

    fn summary(&self) -> Option<MetricSummary> {
        let samples: u64 = self.counts.iter().sum();
        let used =
            || self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bucket, _)| bucket);
        let middle =
            |bucket| (self.layout.lower_bound(bucket) as f64 + self.layout.upper_bound(bucket) as f64) / 2.0;
        let sum: f64 =
            self.counts.iter().enumerate().map(|(bucket, count)| middle(bucket) * *count as f64).sum();
        let quantile = |share| quantile(self.layout, &self.counts, share).unwrap_or_default() as f64;
        let (first, last) = (used().next()?, used().next_back()?);
        let max = self.layout.upper_bound(last) as f64;
        Some(MetricSummary {
            metric: self.metric.name.into(),
            labels: self.labels.clone(),
            unit: self.metric.unit.into(),
            samples,
            min: self.layout.lower_bound(first) as f64,
            mean: sum / samples as f64,
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max,
            last: None,
            increase: None,
        })
    }
}

/// The upper bound of the bucket that holds the value at `share` of all counts, by nearest rank; nothing where none was
/// counted.
pub(super) fn quantile(layout: Layout, counts: &[u64], share: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    let rank = ((share * total as f64).ceil() as u64).clamp(1, total.max(1));
    let mut below = 0;
    counts
        .iter()
        .position(|count| {
            below += count;
            below >= rank
        })
        .filter(|_| total > 0)
        .map(|bucket| layout.upper_bound(bucket))
}

#[cfg(test)]
mod tests {
    use ssts_proto::{
        catalogue::{BLOCK_LATENCY, HOST_CPU_FORKS, HOST_MEMORY_FREE},
        v1::AbsenceReason,
    };

    use super::*;
    use crate::observe::frame::BucketGain;

    fn run(
        readings: impl IntoIterator<Item = (f64, Result<f64, AbsenceReason>)>,
        metric: &'static Metric,
    ) -> MetricSummary {
        let mut schema = Schema::new(1);
        let column = schema.column(metric, &[]);
        let schema = Arc::new(schema);
        let mut telemetry = Telemetry::default();
        let mut frame = Frame::default();
        for (second, reading) in readings {
            frame.reset(&schema, 0);
            frame.end = Duration::from_secs_f64(second);
            frame.set(column, reading);
            telemetry.add(&schema, &frame);
        }
        telemetry.summaries().remove(0)
    }

    #[test]
    fn a_counter_is_summed_up_by_its_rate_and_an_anew_begun_one_is_not_negative() {
        let summary = run(
            [(0.0, Ok(10.0)), (1.0, Ok(20.0)), (3.0, Ok(60.0)), (4.0, Ok(1.0)), (5.0, Ok(5.0))],
            &HOST_CPU_FORKS,
        );
        assert_eq!((summary.samples, summary.min, summary.max, summary.last), (3, 4.0, 20.0, Some(4.0)));
        assert_eq!(summary.unit, "1/s");
    }

    #[test]
    fn what_a_counter_gained_is_told_across_gaps() {
        let missing = Err(AbsenceReason::ReadFailed);
        let summary = run(
            [(0.0, Ok(5.0)), (1.0, Ok(6.0)), (2.0, missing), (3.0, Ok(9.0)), (4.0, Ok(2.0)), (5.0, Ok(3.0))],
            &HOST_CPU_FORKS,
        );
        assert_eq!(summary.increase, Some(5.0));
    }

    #[test]
    fn a_reading_that_is_shown_again_counts_once_and_its_rate_is_over_the_time_between_readings() {
        let mut schema = Schema::new(1);
        let column = schema.column(&HOST_CPU_FORKS, &[]);
        let schema = Arc::new(schema);
        let mut telemetry = Telemetry::default();
        let mut frame = Frame::default();
        for tick in 0..30u64 {
            frame.reset(&schema, tick);
            frame.end = Duration::from_millis(5_000 + tick * 100);
            // Read once a second: 0, 10, 20.
            let second = tick / 10;
            frame.hold(column, Ok(second as f64 * 10.0), Duration::from_secs(4 + second));
            telemetry.add(&schema, &frame);
        }
        let summary = telemetry.summaries().remove(0);
        assert_eq!((summary.samples, summary.min, summary.max), (2, 10.0, 10.0));
    }

    #[test]
    fn missing_readings_do_not_count_as_zero() {
        let summary =
            run([(0.0, Ok(8.0)), (1.0, Err(AbsenceReason::ReadFailed)), (2.0, Ok(4.0))], &HOST_MEMORY_FREE);
        assert_eq!((summary.samples, summary.min, summary.mean), (2, 4.0, 6.0));
    }

    #[test]
    fn percentiles_of_a_long_run_stay_close_in_bounded_memory() {
        let summary = run((0..100_000).map(|n| (f64::from(n), Ok(f64::from(n)))), &HOST_MEMORY_FREE);
        assert_eq!((summary.min, summary.max, summary.samples), (0.0, 99_999.0, 100_000));
        assert!(
            (summary.p50 - 50_000.0).abs() < 200.0 && (summary.p99 - 99_000.0).abs() < 200.0,
            "{summary:?}"
        );
    }

    #[test]
    fn histograms_are_added_up() {
        let layout = Layout::new(4, 36);
        let mut schema = Schema::new(1);
        let column = schema.histogram(&BLOCK_LATENCY, &["vda", "read"], layout);
        let schema = Arc::new(schema);
        let mut telemetry = Telemetry::default();
        let mut frame = Frame::default();
        for value in [100u64, 100, 100_000] {
            frame.reset(&schema, 0);
            frame.gain(BucketGain { column, bucket: layout.index(value) as u32, count: 50 });
            telemetry.add(&schema, &frame);
        }
        let summary = telemetry.summaries().remove(0);
        assert_eq!(summary.samples, 150);
        assert_eq!(summary.p50, layout.upper_bound(layout.index(100)) as f64);
        assert_eq!(summary.p95, layout.upper_bound(layout.index(100_000)) as f64);
    }
}
