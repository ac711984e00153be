//! What a run's telemetry comes to: for each metric least, mean, percentiles, greatest, last. In memory that does not grow
//! with the run.

mod series;

use std::{collections::HashMap, sync::Arc};

use ssts_proto::v1::MetricSummary;

pub(super) use self::series::quantile;
pub(super) use self::series::{HistogramSeries, MOST_KEPT, Series};
use crate::observe::{
    frame::Frame,
    schema::{ColumnDescription, Schema},
};

/// Samples that all series keep together: 64 MiB. Where there are so many series that this is too little, as on hosts with
/// hundreds of cores, each keeps fewer.
const KEPT_IN_ALL: usize = 1 << 24;

/// Series that are kept: some 35 for each core of a host, and no more than one message can carry to a client. Beyond it the
/// metrics with the most series are cut.
const MAX_SERIES: usize = 65_536;
/// Histograms that are kept: 4 KiB each.
const MAX_HISTOGRAMS: usize = 8_192;
/// A place that means "left out".
const NOWHERE: usize = usize::MAX;

/// Sums up the frames of one run.
#[derive(Debug, Default)]
pub(super) struct Telemetry {
    /// The run's id: what belongs to others is passed over.
    run: String,
    series: Vec<Series>,
    histograms: Vec<HistogramSeries>,
    places: HashMap<Key, usize>,
    /// For the schema of the previous frame: where each column's series is.
    schema_id: Option<u32>,
    columns: Vec<usize>,
    histogram_columns: Vec<usize>,
    /// Series that had no room.
    left_out: usize,
}

impl Telemetry {
    /// Of the run of that id.
    pub(super) fn of(run: &str) -> Self {
        Self { run: run.to_owned(), ..Self::default() }
    }

    /// Takes in one frame.
    pub(super) fn add(&mut self, schema: &Arc<Schema>, frame: &Frame) {
        if self.schema_id != Some(schema.id) {
            self.follow(schema);
        }
        let most_kept = most_kept(self.series.len());
        for (place, (reading, read)) in self.columns.iter().zip(frame.readings_in_time()) {
            if let Some(series) = self.series.get_mut(*place) {
                series.add(reading.ok(), read, most_kept);
            }
        }
        self.add_gains(frame, |_| true);
    }

    /// Takes in a frame of the time before the first phase: what is a burner's own doing, as its connects are, and nothing
    /// else.
    pub(super) fn add_preparation(&mut self, schema: &Arc<Schema>, frame: &Frame) {
        if self.schema_id != Some(schema.id) {
            self.follow(schema);
        }
        self.add_gains(frame, |series| series.is_burners);
    }

    fn add_gains(&mut self, frame: &Frame, of: impl Fn(&HistogramSeries) -> bool) {
        for gain in frame.gains() {
            let place = self.histogram_columns[gain.column.index()];
            if let Some(histogram) = self.histograms.get_mut(place).filter(|series| of(series)) {
                histogram.counts[gain.bucket as usize] += gain.count;
            }
        }
    }

    /// One summary for each series that had a sample.
    pub(super) fn summaries(&self) -> Vec<MetricSummary> {
        let scalars = self.series.iter().filter_map(Series::summary);
        scalars.chain(self.histograms.iter().filter_map(HistogramSeries::summary)).collect()
    }

    /// How many series of the latest schema had no room.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }

    fn follow(&mut self, schema: &Schema) {
        self.schema_id = Some(schema.id);
        let columns: Vec<_> = schema.columns.iter().collect();
        let histograms: Vec<_> = schema.histograms.iter().map(|histogram| &histogram.column).collect();
        let of_others = columns.iter().chain(&histograms).filter(|column| self.is_anothers(column)).count();
        let admitted = self.admit(&columns, MAX_SERIES - self.series.len());
        self.columns = places(&mut self.places, &columns, &admitted, |index| {
            self.series.push(Series::new(columns[index]));
            self.series.len() - 1
        });
        let admitted = self.admit(&histograms, MAX_HISTOGRAMS - self.histograms.len());
        self.histogram_columns = places(&mut self.places, &histograms, &admitted, |index| {
            let layout = schema.histograms[index].layout;
            self.histograms.push(HistogramSeries::new(histograms[index], layout));
            self.histograms.len() - 1
        });
        let all = self.columns.iter().chain(&self.histogram_columns);
        self.left_out = all.filter(|place| **place == NOWHERE).count() - of_others;
    }

    fn is_anothers(&self, column: &ColumnDescription) -> bool {
        column.run().is_some_and(|run| run != self.run)
    }

    /// Which columns have a series or get one of the `room` that is left. Where not all can, metrics with few columns go
    /// first: a core's or a device's many don't push the host's own out.
    fn admit(&self, columns: &[&ColumnDescription], room: usize) -> Vec<bool> {
        let known = |column: &ColumnDescription| self.places.contains_key(&key(column));
        let mut admitted: Vec<bool> = columns.iter().map(|column| known(column)).collect();
        let is_new = |index: &usize| !admitted[*index] && !self.is_anothers(columns[*index]);
        let mut new: Vec<usize> = (0..columns.len()).filter(is_new).collect();
        if new.len() > room {
            let mut counts: HashMap<&str, usize> = HashMap::new();
            columns.iter().for_each(|column| *counts.entry(column.metric.name).or_default() += 1);
            let rank = |index: &usize| (counts[columns[*index].metric.name], columns[*index].metric.name);
            new.sort_by_key(rank);
            new.truncate(room);
        }
        new.into_iter().for_each(|index| admitted[index] = true);
        admitted
    }
}

/// What a series is known by.
type Key = (&'static str, Vec<String>);

fn key(column: &ColumnDescription) -> Key {
    (column.metric.name, column.labels.clone())
}

/// Where each column's series is. `make` makes that of a column's index.
fn places(
    known: &mut HashMap<Key, usize>,
    columns: &[&ColumnDescription],
    admitted: &[bool],
    mut make: impl FnMut(usize) -> usize,
) -> Vec<usize> {
    let place = |(index, (column, admitted)): (usize, (&&ColumnDescription, &bool))| match admitted {
        true => *known.entry(key(column)).or_insert_with(|| make(index)),
        false => NOWHERE,
    };
    columns.iter().zip(admitted).enumerate().map(place).collect()
}

/// Samples that each of so many series keeps at most.
fn most_kept(series: usize) -> usize {
    let fair = KEPT_IN_ALL / series.max(1);
    MOST_KEPT.min(1 << fair.max(1).ilog2())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ssts_agent_ebpf::histogram::Layout;
    use ssts_proto::{
        catalogue::{
            BLOCK_LATENCY, BURNER_OPERATIONS, BURNER_PREPARED, HOST_CPU_FORKS, HOST_CPU_TIME,
            HOST_MEMORY_FREE, Metric, TCP_CONNECT_LATENCY,
        },
        v1::AbsenceReason,
    };

    use super::*;
    use crate::observe::{
        frame::BucketGain,
        procfs::{Stat, test_tree::TestTree},
        source::Source as _,
    };

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

    fn many(schema: &mut Schema, metric: &'static Metric, count: usize) {
        let labels = |n: usize| metric.labels.iter().map(move |label| format!("{label}{n}"));
        for n in 0..count {
            let labels: Vec<String> = labels(n).collect();
            schema.column(metric, &labels.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    fn followed(telemetry: &mut Telemetry, schema: Schema) {
        let schema = Arc::new(schema);
        let mut frame = Frame::default();
        frame.reset(&schema, 0);
        telemetry.add(&schema, &frame);
    }

    #[test]
    fn many_series_of_one_metric_do_not_push_another_out() {
        let mut telemetry = Telemetry::default();
        let mut schema = Schema::new(1);
        many(&mut schema, &HOST_CPU_TIME, MAX_SERIES + 10);
        schema.column(&HOST_MEMORY_FREE, &[]);
        followed(&mut telemetry, schema);
        assert_eq!((telemetry.series.len(), telemetry.left_out()), (MAX_SERIES, 11));
        assert!(telemetry.series.iter().any(|series| series.metric == &HOST_MEMORY_FREE));
    }

    #[test]
    fn a_series_that_is_known_stays_when_there_is_no_more_room() {
        let mut telemetry = Telemetry::default();
        let mut schema = Schema::new(1);
        schema.column(&HOST_MEMORY_FREE, &[]);
        many(&mut schema, &HOST_CPU_TIME, MAX_SERIES - 1);
        followed(&mut telemetry, schema);
        let mut schema = Schema::new(2);
        many(&mut schema, &HOST_CPU_TIME, 1);
        schema.column(&HOST_MEMORY_FREE, &[]);
        schema.column(&HOST_CPU_FORKS, &[]);
        followed(&mut telemetry, schema);
        assert_eq!((&*telemetry.columns, telemetry.left_out()), (&[1, 0, NOWHERE][..], 1));
    }

    #[test]
    fn where_series_are_many_each_keeps_fewer_samples() {
        assert_eq!(most_kept(0), MOST_KEPT);
        assert_eq!(most_kept(8_192), MOST_KEPT);
        for series in [8_193, 35_000, MAX_SERIES] {
            assert!(most_kept(series) >= 256 && most_kept(series) * series <= KEPT_IN_ALL, "{series}");
        }
    }

    /// A host of 1,024 cores as /proc/stat shows it, read and summed up. Times are printed, not judged.
    #[test]
    fn a_thousand_cores_are_summed_up_beside_all_else() {
        const CORES: usize = 1_024;
        let line = |text: String, core| text + &format!("cpu{core} {core} 0 50 800 20 5 5 20 0 0\n");
        let content = (0..CORES).fold("cpu  9 9\n".to_owned(), line) + "ctxt 77\nprocesses 12\n";
        let tree = TestTree::new(&[("proc/stat", &content)]);
        let mut stat = Stat::new(&tree.roots());
        let mut schema = Schema::new(1);
        stat.describe(&mut schema);
        let free = schema.column(&HOST_MEMORY_FREE, &[]);
        let columns = schema.columns.len();
        let schema = Arc::new(schema);
        let (mut telemetry, mut frame) = (Telemetry::default(), Frame::default());
        let (mut reading, mut adding, mut first) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        const TICKS: u32 = 50;
        for tick in 0..TICKS {
            frame.reset(&schema, tick.into());
            frame.end = Duration::from_millis(100) * (tick + 1);
            let begin = Instant::now();
            stat.sample(&mut frame);
            frame.set(free, Ok(f64::from(tick)));
            let read = Instant::now();
            telemetry.add(&schema, &frame);
            match tick {
                0 => first = read.elapsed(),
                _ => {
                    reading += read - begin;
                    adding += read.elapsed();
                }
            }
        }
        let begin = Instant::now();
        let summaries = telemetry.summaries();
        println!(
            "{columns} columns: {:?} a tick to read, {:?} to take in ({first:?} the first), {:?} to sum up at the end",
            reading / (TICKS - 1),
            adding / (TICKS - 1),
            begin.elapsed(),
        );
        assert_eq!(telemetry.left_out(), 0);
        let of = |name: &str| summaries.iter().filter(|summary| summary.metric == name).count();
        assert_eq!((of("host.cpu.time"), of("host.memory.free")), (CORES * 8, 1));
    }

    #[test]
    fn what_another_runs_burners_do_is_none_of_it() {
        let mut telemetry = Telemetry::of("mine");
        let mut schema = Schema::new(1);
        for run in ["mine", "yours"] {
            schema.column(&BURNER_OPERATIONS, &[run, "0.0", "cpu"]);
        }
        followed(&mut telemetry, schema);
        assert_eq!((telemetry.series.len(), telemetry.left_out()), (1, 0));
        let mut schema = Schema::new(2);
        let column = schema.column(&BURNER_PREPARED, &["mine", "0.0", "cpu"]);
        let schema = Arc::new(schema);
        let mut frame = Frame::default();
        frame.reset(&schema, 1);
        frame.set(column, Ok(1.0));
        telemetry.add(&schema, &frame);
        let names: Vec<_> = telemetry.summaries()[0].labels.iter().map(|label| label.name.clone()).collect();
        assert_eq!(names, ["burner", "kind"], "of whose run it is goes without saying");
    }

    #[test]
    fn of_the_preparation_only_what_burners_did_is_told() {
        let layout = Layout::new(4, 36);
        let mut schema = Schema::new(1);
        let columns = ["burner", "others"].map(|who| schema.histogram(&TCP_CONNECT_LATENCY, &[who], layout));
        let schema = Arc::new(schema);
        let (mut telemetry, mut frame) = (Telemetry::default(), Frame::default());
        frame.reset(&schema, 0);
        for column in columns {
            frame.gain(BucketGain { column, bucket: 9, count: 3 });
        }
        telemetry.add_preparation(&schema, &frame);
        let summaries = telemetry.summaries();
        assert_eq!(summaries.len(), 1);
        assert_eq!((&*summaries[0].labels[0].value, summaries[0].samples), ("burner", 3));
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
