//! What the samples of one series come to, in memory that does not grow.

use std::time::Duration;

use ssts_agent_ebpf::histogram::Layout;
use ssts_proto::{
    catalogue::{Kind, Metric},
    v1::{Label, MetricSummary, ThresholdStatistic},
};

use crate::observe::schema::ColumnDescription;

/// Samples that a series keeps for its percentiles, at most. When it is full every second one goes, and from then on every
/// second one is left out: up to 3 minutes at 10 Hz the percentiles are exact, beyond them they are those of an even sample.
pub(in crate::run) const MOST_KEPT: usize = 2_048;
/// Readings of one column.
#[derive(Debug)]
pub(in crate::run) struct Series {
    pub(in crate::run) metric: &'static Metric,
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
    pub(in crate::run) fn new(column: &ColumnDescription) -> Self {
        Self {
            metric: column.metric,
            labels: column.labels_in_run(),
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

    /// Takes in a reading, or that there was none, at `at` of CLOCK_MONOTONIC. `most_kept`: samples, a power of two.
    pub(in crate::run) fn add(&mut self, reading: Option<f64>, at: Duration, most_kept: usize) {
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
                    self.add_sample((value - old) / (at - since).as_secs_f64(), most_kept);
                }
            }
            (_, Some(value)) => self.add_sample(value, most_kept),
            (_, None) => {}
        }
    }

    fn add_sample(&mut self, value: f64, most_kept: usize) {
        if self.samples.is_multiple_of(self.stride) {
            // More than once where other series came and took their share.
            while self.kept.len() >= most_kept {
                let mut index = 0;
                self.kept.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.stride *= 2;
            }
            self.kept.shrink_to(most_kept);
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

    /// Takes in where a counter stands before what it gains counts.
    pub(in crate::run) fn begin_with(&mut self, reading: Option<f64>, at: Duration) {
        if self.metric.kind != Kind::Counter || self.latest == Some(at) {
            return;
        }
        if let Some(value) = reading {
            self.latest = Some(at);
            self.previous = Some((value, at));
            self.gained = Some((value, self.gained.map_or(0.0, |(_, gained)| gained)));
        }
    }

    /// The labels, that of the run left out.
    pub(in crate::run) fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// How many there were.
    pub(in crate::run) fn samples(&self) -> u64 {
        self.samples
    }

    /// One number of all samples; nothing where there was none.
    pub(in crate::run) fn statistic(&self, statistic: ThresholdStatistic) -> Option<f64> {
        use ThresholdStatistic::{Last, Max, Mean, Min, P50, P90, P95, P99, P999, Total, Unspecified};
        if statistic == Total {
            // What it gained is known as soon as two of its readings are.
            return self.gained.filter(|_| self.samples > 0).map(|(_, gained)| gained);
        }
        let percentile = |share| Some(percentile(&self.sorted(), share).clamp(self.min, self.max));
        match statistic {
            _ if self.samples == 0 => None,
            Min => Some(self.min),
            Max => Some(self.max),
            Mean => Some(self.sum / self.samples as f64),
            Last => Some(self.last),
            P50 => percentile(0.5),
            P90 => percentile(0.9),
            P95 => percentile(0.95),
            P99 => percentile(0.99),
            P999 => percentile(0.999),
            Total | Unspecified => None,
        }
    }

    fn sorted(&self) -> Vec<f32> {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        sorted
    }

    /// Nothing where there was no sample.
    pub(in crate::run) fn summary(&self) -> Option<MetricSummary> {
        if self.samples == 0 {
            return None;
        }
        let sorted = self.sorted();
        let percentile = |share| percentile(&sorted, share).clamp(self.min, self.max);
        Some(MetricSummary {
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

/// Nearest rank, of at least one.
fn percentile(sorted: &[f32], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).map_or(f64::NAN, |value| f64::from(*value))
}

/// Counts of one histogram column.
#[derive(Debug)]
pub(in crate::run) struct HistogramSeries {
    metric: &'static Metric,
    labels: Vec<Label>,
    layout: Layout,
    pub(in crate::run) counts: Vec<u64>,
    /// It counts what burners do and nobody else.
    pub(in crate::run) is_burners: bool,
}

impl HistogramSeries {
    pub(in crate::run) fn new(column: &ColumnDescription, layout: Layout) -> Self {
        let labels = column.labels_in_run();
        let is_burners = labels.iter().any(|label| label.name == "who" && label.value == "burner");
        Self { metric: column.metric, labels, layout, counts: vec![0; layout.buckets()], is_burners }
    }

    /// The labels, that of the run left out.
    pub(in crate::run) fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// How many values there were.
    pub(in crate::run) fn samples(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// One number of all values; nothing where there was none.
    pub(in crate::run) fn statistic(&self, statistic: ThresholdStatistic) -> Option<f64> {
        use ThresholdStatistic::{Last, Max, Mean, Min, P50, P90, P95, P99, P999, Total, Unspecified};
        let quantile = |share| quantile(self.layout, &self.counts, share).map(|value| value as f64);
        match statistic {
            P50 => quantile(0.5),
            P90 => quantile(0.9),
            P95 => quantile(0.95),
            P99 => quantile(0.99),
            P999 => quantile(0.999),
            Min => self.summary().map(|summary| summary.min),
            Max => self.summary().map(|summary| summary.max),
            Mean => self.summary().map(|summary| summary.mean),
            Last | Total | Unspecified => None,
        }
    }

    /// Nothing where there was no sample.
    pub(in crate::run) fn summary(&self) -> Option<MetricSummary> {
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
pub(in crate::run) fn quantile(layout: Layout, counts: &[u64], share: f64) -> Option<u64> {
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
    use ssts_proto::catalogue::HOST_MEMORY_FREE;

    use super::*;

    #[test]
    fn a_series_whose_share_falls_lets_go_of_samples_evenly() {
        let column = ColumnDescription { metric: &HOST_MEMORY_FREE, labels: Vec::new() };
        let mut series = Series::new(&column);
        for n in 0..3_000u32 {
            let most_kept = if n < 2_000 { MOST_KEPT } else { 256 };
            series.add(Some(n.into()), Duration::from_secs(n.into()), most_kept);
        }
        assert!(series.kept.len() <= 256 && series.kept.capacity() <= 256, "{}", series.kept.len());
        let summary = series.summary().unwrap();
        assert!((summary.p50 - 1_500.0).abs() < 20.0 && summary.max == 2_999.0, "{summary:?}");
    }
}
