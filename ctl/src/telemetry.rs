//! Turns the schema and the frames of a watch into readings by metric and labels: values of gauges, rates of counters,
//! quantiles of histograms. What is absent stays absent.

use std::{collections::HashMap, fmt};

use ssts_proto::{
    catalogue::Metric,
    v1::{AbsenceReason, Frame, HistogramDelta, Label, MetricKind, Schema},
};

/// Why a frame can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// It came before its schema.
    #[error("a frame refers to a schema that did not come")]
    UnknownSchema,
    /// The number of values does not match.
    #[error("a frame does not have the columns of its schema")]
    Columns,
    /// A histogram or bucket does not exist.
    #[error("a frame counts in a histogram or bucket that its schema does not have")]
    Buckets,
}

/// The latest readings of a stream.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    schema_id: Option<u32>,
    scalars: Vec<Scalar>,
    histograms: Vec<Histogram>,
    layouts: Vec<Vec<u64>>,
    /// When the latest frame was read, CLOCK_MONOTONIC.
    latest_ns: Option<u64>,
}

#[derive(Debug)]
struct Scalar {
    metric: String,
    unit: String,
    labels: Labels,
    is_counter: bool,
    value: Option<f64>,
    /// Why there is no value.
    absence: AbsenceReason,
    /// When the value was read.
    read_ns: u64,
    rate_per_s: Option<f64>,
}

#[derive(Debug)]
struct Histogram {
    metric: String,
    unit: String,
    labels: Labels,
    layout: usize,
    counts: Vec<(u32, u64)>,
}

/// The labels of a column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Labels(Vec<(String, String)>);

impl Labels {
    /// Names and values, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a label; empty where there is none of that name.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// `device=vda;operation=read`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

impl From<Vec<Label>> for Labels {
    fn from(labels: Vec<Label>) -> Self {
        Self(labels.into_iter().map(|label| (label.name, label.value)).collect())
    }
}

impl Telemetry {
    /// Takes over new columns. What a counter read last is kept, so that its rate goes on.
    pub(crate) fn accept_schema(&mut self, schema: Schema) {
        let mut old: HashMap<(String, Labels), Scalar> = self
            .scalars
            .drain(..)
            .map(|scalar| ((scalar.metric.clone(), scalar.labels.clone()), scalar))
            .collect();
        self.scalars = schema
            .columns
            .into_iter()
            .map(|column| {
                let key = (column.metric, Labels::from(column.labels));
                old.remove(&key).unwrap_or_else(|| Scalar {
                    metric: key.0,
                    unit: column.unit,
                    labels: key.1,
                    is_counter: column.kind == i32::from(MetricKind::Counter),
                    value: None,
                    absence: AbsenceReason::Pending,
                    read_ns: 0,
                    rate_per_s: None,
                })
            })
            .collect();
        self.histograms = schema
            .histograms
            .into_iter()
            .map(|column| Histogram {
                metric: column.metric,
                unit: column.unit,
                labels: column.labels.into(),
                layout: column.layout as usize,
                counts: Vec::new(),
            })
            .collect();
        self.layouts = schema.layouts.into_iter().map(|layout| layout.upper_bounds).collect();
        self.schema_id = Some(schema.id);
    }

    /// Takes over new readings. A frame that is malformed changes nothing.
    pub(crate) fn accept_frame(&mut self, frame: &Frame) -> Result<(), Malformed> {
        if self.schema_id != Some(frame.schema_id) {
            return Err(Malformed::UnknownSchema);
        }
        let values = self.spread(frame)?;
        if !frame.histograms.iter().all(|delta| self.fits(delta)) {
            return Err(Malformed::Buckets);
        }
        for ((index, scalar), value) in self.scalars.iter_mut().enumerate().zip(values) {
            match held_ns(frame, index) {
                // Shown again, not read again: the rate that was known still holds.
                Some(read_ns) if value.is_some() && scalar.value.is_some() && read_ns == scalar.read_ns => {}
                read_ns => scalar.accept(value, read_ns.unwrap_or(frame.end_ns)),
            }
        }
        for (column, reason) in frame.absent_columns.iter().zip(&frame.absent_reasons) {
            if let Some(scalar) = self.scalars.get_mut(*column as usize) {
                scalar.absence = AbsenceReason::try_from(*reason).unwrap_or_default();
            }
        }
        for histogram in &mut self.histograms {
            histogram.counts.clear();
        }
        for delta in &frame.histograms {
            let counts = delta.buckets.iter().copied().zip(delta.counts.iter().copied());
            self.histograms[delta.column as usize].counts.extend(counts);
        }
        self.latest_ns = Some(frame.end_ns);
        Ok(())
    }

    /// Whether a frame has come.
    pub(crate) fn has_readings(&self) -> bool {
        self.latest_ns.is_some()
    }

    /// The present readings of a gauge, or sums of a counter.
    pub(crate) fn values<'a>(&'a self, metric: &'a Metric) -> impl Iterator<Item = (&'a Labels, f64)> + 'a {
        self.of(metric).filter_map(|scalar| Some((&scalar.labels, scalar.value?)))
    }

    /// The rates of a counter between the two latest frames, per second.
    pub(crate) fn rates<'a>(&'a self, metric: &'a Metric) -> impl Iterator<Item = (&'a Labels, f64)> + 'a {
        self.of(metric).filter_map(|scalar| Some((&scalar.labels, scalar.rate_per_s?)))
    }

    /// Of each column of a metric the value, or of a counter the rate; where there is none, why. A counter without a rate yet is
    /// pending.
    pub(crate) fn latest<'a>(
        &'a self,
        metric: &'a Metric,
    ) -> impl Iterator<Item = (&'a Labels, Result<f64, AbsenceReason>)> + 'a {
        self.of(metric).map(|scalar| {
            let reading = match (scalar.value, scalar.is_counter) {
                (None, _) => Err(scalar.absence),
                (Some(_), true) => scalar.rate_per_s.ok_or(AbsenceReason::Pending),
                (Some(value), false) => Ok(value),
            };
            (&scalar.labels, reading)
        })
    }

    /// Labels of a metric's histograms, whether they counted something or not.
    pub(crate) fn histogram_labels<'a>(
        &'a self,
        metric: &'a Metric,
    ) -> impl Iterator<Item = &'a Labels> + 'a {
        self.histograms
            .iter()
            .filter(|histogram| histogram.metric == metric.name)
            .map(|histogram| &histogram.labels)
    }

    /// What histograms counted since the previous frame; those that counted nothing are left out.
    pub(crate) fn counts<'a>(
        &'a self,
        metric: &'a Metric,
    ) -> impl Iterator<Item = (&'a Labels, Counts<'a>)> + 'a {
        self.histograms
            .iter()
            .filter(|histogram| histogram.metric == metric.name && !histogram.counts.is_empty())
            .map(|histogram| {
                let counts =
                    Counts { counts: &histogram.counts, upper_bounds: &self.layouts[histogram.layout] };
                (&histogram.labels, counts)
            })
    }

    /// The latest of each gauge and counter: a counter that has no rate yet is left out, as is what is absent.
    pub(crate) fn readings(&self) -> impl Iterator<Item = Reading<'_>> {
        self.scalars.iter().filter_map(|scalar| {
            let (unit, value) = if scalar.is_counter {
                (Unit::PerSecond, scalar.rate_per_s?)
            } else {
                (Unit::Own, scalar.value?)
            };
            Some(Reading {
                metric: &scalar.metric,
                labels: &scalar.labels,
                own_unit: &scalar.unit,
                unit,
                value,
            })
        })
    }

    /// Metric, unit, labels and counts of each histogram that counted something since the previous frame.
    pub(crate) fn histograms(&self) -> impl Iterator<Item = (&str, &str, &Labels, Counts<'_>)> {
        self.histograms.iter().filter(|histogram| !histogram.counts.is_empty()).map(|histogram| {
            let counts = Counts { counts: &histogram.counts, upper_bounds: &self.layouts[histogram.layout] };
            (histogram.metric.as_str(), histogram.unit.as_str(), &histogram.labels, counts)
        })
    }

    fn of<'a>(&'a self, metric: &'a Metric) -> impl Iterator<Item = &'a Scalar> + 'a {
        self.scalars.iter().filter(|scalar| scalar.metric == metric.name)
    }

    /// One value for each column, absent ones included.
    fn spread(&self, frame: &Frame) -> Result<Vec<Option<f64>>, Malformed> {
        let columns = self.scalars.len();
        let mut values = frame.values.iter().copied();
        let mut spread = Vec::with_capacity(columns);
        let mut absent = frame.absent_columns.iter().map(|column| *column as usize).peekable();
        while spread.len() < columns {
            if absent.next_if_eq(&spread.len()).is_some() {
                spread.push(None);
            } else {
                spread.push(Some(values.next().ok_or(Malformed::Columns)?).filter(|value| value.is_finite()));
            }
        }
        if values.next().is_some() || absent.next().is_some() {
            return Err(Malformed::Columns);
        }
        Ok(spread)
    }

    fn fits(&self, delta: &HistogramDelta) -> bool {
        let layout =
            self.histograms.get(delta.column as usize).and_then(|column| self.layouts.get(column.layout));
        layout.is_some_and(|bounds| {
            delta.buckets.len() == delta.counts.len()
                && delta.buckets.iter().all(|bucket| (*bucket as usize) < bounds.len())
        })
    }
}

/// When a column was read, if before the frame's window.
fn held_ns(frame: &Frame, column: usize) -> Option<u64> {
    let at = frame.held.partition_point(|held| held.first_column as usize <= column);
    let held = at.checked_sub(1).map(|index| &frame.held[index]);
    held.filter(|held| column < held.first_column as usize + held.columns as usize).map(|held| held.read_ns)
}

impl Scalar {
    fn accept(&mut self, value: Option<f64>, read_ns: u64) {
        if self.is_counter {
            self.rate_per_s = match (self.value, value) {
                // One that fell began anew: what it counted before is unknown.
                (Some(before), Some(now)) if now >= before && read_ns > self.read_ns => {
                    Some((now - before) * 1e9 / (read_ns - self.read_ns) as f64)
                }
                _ => None,
            };
        }
        // An absent reading leaves a gap: the next rate is not taken across it.
        (self.value, self.read_ns) = (value, read_ns);
    }
}

/// One reading, whatever its metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) metric: &'a str,
    pub(crate) labels: &'a Labels,
    own_unit: &'a str,
    unit: Unit,
    /// Of a gauge its value, of a counter its rate.
    pub(crate) value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Own,
    PerSecond,
}

impl Reading<'_> {
    /// Such as `By` or `By/s`.
    pub(crate) fn unit(&self) -> String {
        match self.unit {
            Unit::Own => self.own_unit.to_owned(),
            Unit::PerSecond => format!("{}/s", self.own_unit),
        }
    }

    /// Whether it is a counter's.
    pub(crate) fn is_rate(&self) -> bool {
        self.unit == Unit::PerSecond
    }
}

/// What one histogram counted in one window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts<'a> {
    counts: &'a [(u32, u64)],
    upper_bounds: &'a [u64],
}

impl Counts<'_> {
    /// Upper bound of a bucket and how many values lie in it, rising.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts
            .iter()
            .filter_map(|(bucket, count)| Some((*self.upper_bounds.get(*bucket as usize)?, *count)))
    }

    /// How many values.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The upper bound of the bucket in which the `q`-th part of all values lies, 0 < q <= 1.
    pub(crate) fn quantile(&self, q: f64) -> Option<u64> {
        quantile(self.counts.iter().copied(), self.upper_bounds, q)
    }
}

fn quantile(counts: impl Iterator<Item = (u32, u64)> + Clone, upper_bounds: &[u64], q: f64) -> Option<u64> {
    let total = counts.clone().fold(0u64, |sum, (_, count)| sum.saturating_add(count));
    if total == 0 {
        return None;
    }
    let rank = ((total as f64 * q).ceil() as u64).clamp(1, total);
    let mut seen = 0u64;
    for (bucket, count) in counts {
        seen = seen.saturating_add(count);
        if seen >= rank {
            return upper_bounds.get(bucket as usize).copied();
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use ssts_proto::{
        catalogue,
        v1::{Column, HeldColumns, HistogramColumn, HistogramLayout},
    };

    use super::*;

    /// A column of the catalogue.
    pub(crate) fn column(metric: &Metric, labels: &[&str]) -> Column {
        Column {
            metric: metric.name.into(),
            labels: labels_of(metric, labels),
            unit: metric.unit.into(),
            kind: MetricKind::from(metric.kind).into(),
        }
    }

    /// A histogram column of the catalogue, of the layout 0.
    pub(crate) fn histogram(metric: &Metric, labels: &[&str]) -> HistogramColumn {
        HistogramColumn {
            metric: metric.name.into(),
            labels: labels_of(metric, labels),
            unit: metric.unit.into(),
            layout: 0,
        }
    }

    fn labels_of(metric: &Metric, values: &[&str]) -> Vec<Label> {
        let pairs = metric.labels.iter().zip(values);
        pairs.map(|(name, value)| Label { name: (*name).into(), value: (*value).into() }).collect()
    }

    fn frame(end_s: u64, values: &[f64], absent: &[u32]) -> Frame {
        Frame {
            schema_id: 1,
            end_ns: end_s * 1_000_000_000,
            values: values.to_vec(),
            absent_columns: absent.to_vec(),
            ..Frame::default()
        }
    }

    fn two_columns() -> Telemetry {
        let mut telemetry = Telemetry::default();
        telemetry.accept_schema(Schema {
            id: 1,
            columns: vec![
                column(&catalogue::HOST_TEMPERATURE, &["hwmon0/temp1", "cpu", "", ""]),
                column(&catalogue::BURNER_OPERATIONS, &["r", "0.0", "cpu"]),
            ],
            histograms: vec![histogram(&catalogue::BURNER_LATENCY, &["r", "0.0", "disk", "read"])],
            layouts: vec![HistogramLayout { upper_bounds: vec![10, 20, 40, 80] }],
            ..Schema::default()
        });
        telemetry
    }

    fn rate(telemetry: &Telemetry) -> Option<f64> {
        telemetry.rates(&catalogue::BURNER_OPERATIONS).next().map(|(_, rate)| rate)
    }

    #[test]
    fn values_and_rates_are_found_by_metric_and_labels() {
        let mut telemetry = two_columns();
        assert!(!telemetry.has_readings());
        telemetry.accept_frame(&frame(1, &[40.0, 100.0], &[])).unwrap();
        assert_eq!(rate(&telemetry), None);
        telemetry.accept_frame(&frame(3, &[41.5, 300.0], &[])).unwrap();
        assert_eq!(rate(&telemetry), Some(100.0));
        let (labels, value) = telemetry.values(&catalogue::HOST_TEMPERATURE).next().unwrap();
        assert_eq!((labels.get("sensor"), labels.get("none"), value), ("hwmon0/temp1", "", 41.5));
    }

    #[test]
    fn a_counter_that_is_read_less_often_than_shown_keeps_its_rate() {
        let mut telemetry = two_columns();
        let mut shown = |end_s, operations, read_s: u64| {
            let held = vec![HeldColumns { first_column: 1, columns: 1, read_ns: read_s * 1_000_000_000 }];
            telemetry.accept_frame(&Frame { held, ..frame(end_s, &[40.0, operations], &[]) }).unwrap();
            rate(&telemetry)
        };
        assert_eq!(shown(11, 100.0, 10), None);
        assert_eq!(shown(14, 300.0, 12), Some(100.0));
        assert_eq!(shown(15, 300.0, 12), Some(100.0));
        assert_eq!(shown(16, 340.0, 16), Some(10.0));
    }

    #[test]
    fn what_is_absent_is_never_zero() {
        let mut telemetry = two_columns();
        telemetry.accept_frame(&frame(1, &[100.0], &[0])).unwrap();
        assert_eq!(telemetry.values(&catalogue::HOST_TEMPERATURE).count(), 0);
        assert_eq!(telemetry.values(&catalogue::BURNER_OPERATIONS).count(), 1);
        telemetry.accept_frame(&frame(2, &[40.0], &[1])).unwrap();
        telemetry.accept_frame(&frame(3, &[40.0, 900.0], &[])).unwrap();
        assert_eq!(rate(&telemetry), None, "no rate across a gap");
    }

    #[test]
    fn a_counter_that_began_anew_has_no_rate() {
        let mut telemetry = two_columns();
        telemetry.accept_frame(&frame(1, &[40.0, 100.0], &[])).unwrap();
        telemetry.accept_frame(&frame(2, &[40.0, 5.0], &[])).unwrap();
        assert_eq!(rate(&telemetry), None);
    }

    #[test]
    fn a_rate_goes_on_across_a_new_schema() {
        let mut telemetry = two_columns();
        telemetry.accept_frame(&frame(1, &[40.0, 100.0], &[])).unwrap();
        telemetry.accept_schema(Schema {
            id: 2,
            columns: vec![column(&catalogue::BURNER_OPERATIONS, &["r", "0.0", "cpu"])],
            ..Schema::default()
        });
        assert_eq!(telemetry.accept_frame(&frame(2, &[40.0, 1.0], &[])), Err(Malformed::UnknownSchema));
        telemetry.accept_frame(&Frame { schema_id: 2, ..frame(2, &[150.0], &[]) }).unwrap();
        assert_eq!(rate(&telemetry), Some(50.0));
    }

    #[test]
    fn quantiles_are_upper_bounds_of_their_buckets() {
        let mut telemetry = two_columns();
        let delta = HistogramDelta { column: 0, buckets: vec![0, 2, 3], counts: vec![50, 49, 1] };
        let with_counts = Frame { histograms: vec![delta], ..frame(1, &[1.0, 1.0], &[]) };
        telemetry.accept_frame(&with_counts).unwrap();
        let (_, counts) = telemetry.counts(&catalogue::BURNER_LATENCY).next().unwrap();
        let quantiles = [0.0001, 0.5, 0.51, 0.99, 1.0].map(|q| counts.quantile(q));
        assert_eq!(quantiles, [Some(10), Some(10), Some(40), Some(40), Some(80)]);
        telemetry.accept_frame(&frame(2, &[1.0, 1.0], &[])).unwrap();
        assert_eq!(telemetry.counts(&catalogue::BURNER_LATENCY).count(), 0);
    }

    #[test]
    fn malformed_frames_are_refused() {
        let mut telemetry = two_columns();
        for bad in [
            frame(1, &[1.0], &[]),
            frame(1, &[1.0, 2.0, 3.0], &[]),
            frame(1, &[1.0, 2.0], &[0]),
            frame(1, &[1.0], &[5]),
            frame(1, &[], &[1, 0]),
        ] {
            assert_eq!(telemetry.accept_frame(&bad), Err(Malformed::Columns), "{bad:?}");
        }
        for delta in [
            HistogramDelta { column: 1, ..HistogramDelta::default() },
            HistogramDelta { column: 0, buckets: vec![4], counts: vec![1] },
            HistogramDelta { column: 0, buckets: vec![1], counts: vec![] },
        ] {
            let bad = Frame { histograms: vec![delta], ..frame(1, &[1.0, 2.0], &[]) };
            assert_eq!(telemetry.accept_frame(&bad), Err(Malformed::Buckets), "{bad:?}");
        }
        assert!(!telemetry.has_readings());
    }
}
