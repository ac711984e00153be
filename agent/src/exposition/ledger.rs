//! What was counted since the agent began. Frames carry what histograms gained, and burners count from their own start: here
//! both go on for ever.

use std::{collections::HashMap, sync::Arc};

use ssts_proto::{
    catalogue::{self, Kind, Metric},
    names::{Family, Merge},
};

use super::{
    buckets::Histogram,
    gathered::{Gathered, Series, Value},
};
use crate::{
    clock,
    observe::{
        frame::Frame,
        ring::FrameRing,
        schema::{Column, ColumnDescription, Schema},
    },
};

/// Sums over all frames, and the latest frame.
#[derive(Debug)]
pub(super) struct Ledger {
    ring: Arc<FrameRing>,
    /// Frames of the ring that were read.
    read: u64,
    pub(super) lost_frames: u64,
    frame: Frame,
    schema: Option<Arc<Schema>>,
    /// In the catalogue's order.
    families: Vec<Planned>,
    histograms: Vec<Counted<Histogram>>,
    /// For each of the schema's histograms its place in `histograms`.
    places: Vec<usize>,
    sums: Vec<Counted<f64>>,
    /// The schema's columns that go into `sums`.
    summed: Vec<Summed>,
}

/// A family and where its series come from.
#[derive(Debug)]
struct Planned {
    family: Family,
    series: Vec<(Vec<String>, From)>,
}

#[derive(Debug)]
enum From {
    /// One column of the latest frame.
    Column(Column),
    /// Several of them.
    Merged(Vec<Column>),
    /// A place in `histograms`.
    Histogram(usize),
    /// A place in `sums`.
    Sum(usize),
}

/// What was counted under one name and labels.
#[derive(Debug)]
struct Counted<T> {
    metric: &'static Metric,
    /// Those that are exposed.
    labels: Vec<String>,
    counted: T,
}

/// A counter that begins anew with its burner.
#[derive(Debug)]
struct Summed {
    column: Column,
    place: usize,
    last: f64,
    description: ColumnDescription,
}

impl Ledger {
    /// Of the frames that are published from now on.
    pub(super) fn new(ring: Arc<FrameRing>) -> Self {
        let read = ring.published();
        Self {
            ring,
            read,
            lost_frames: 0,
            frame: Frame::default(),
            schema: None,
            families: Vec::new(),
            histograms: Vec::new(),
            places: Vec::new(),
            sums: Vec::new(),
            summed: Vec::new(),
        }
    }

    /// How many frames were published.
    pub(super) fn frames(&self) -> u64 {
        self.read
    }

    /// Counts what came since the last call.
    pub(super) fn take_frames(&mut self) {
        while let Some((schema, lost)) = self.ring.read_after(self.read, &mut self.frame) {
            self.read += lost + 1;
            self.lost_frames += lost;
            if self.schema.as_ref().is_none_or(|known| known.id != schema.id) {
                self.follow(&schema);
                self.schema = Some(schema);
            }
            for gain in self.frame.gains() {
                self.histograms[self.places[gain.column.index()]].counted.add(gain.bucket, gain.count);
            }
            for summed in &mut self.summed {
                let Ok(now) = self.frame.reading(summed.column) else { continue };
                // Where it fell, another burner counts from 0.
                let gain = if now >= summed.last { now - summed.last } else { now };
                self.sums[summed.place].counted += gain;
                summed.last = now;
            }
        }
    }

    /// Adds every family that has a reading now.
    pub(super) fn add<'a>(&'a self, gathered: &mut Gathered<'a>) {
        for Planned { family, series } in &self.families {
            let number = |value: f64| value.is_finite().then_some(Value::Number(value / family.divisor));
            let value = |from: &From| match from {
                From::Column(column) => number(self.frame.reading(*column).ok()?),
                From::Merged(columns) => {
                    let readings = columns.iter().filter_map(|column| self.frame.reading(*column).ok());
                    let merged = match family.merge {
                        Merge::Least => readings.reduce(f64::min),
                        Merge::Sum | Merge::None => readings.reduce(|sum, reading| sum + reading),
                    };
                    number(merged?)
                }
                From::Histogram(place) => {
                    let histogram = &self.histograms[*place].counted;
                    // Most of what could be counted never is: a flush of a disk without a cache.
                    (!histogram.is_empty()).then_some(Value::Counts(histogram))
                }
                From::Sum(place) => number(self.sums[*place].counted),
            };
            let series = series.iter().filter_map(|(labels, from)| {
                let labels = labels.iter().map(|label| label.as_str().into()).collect();
                value(from).map(|value| Series { labels, value })
            });
            gathered.add(family, series.collect());
        }
    }

    /// Finds the columns of a new schema. What was counted of a device that went is forgotten, of burners it is kept.
    fn follow(&mut self, schema: &Schema) {
        let families: HashMap<&str, Family> =
            catalogue::ALL.iter().filter_map(|metric| Some((metric.name, Family::of(metric)?))).collect();
        self.follow_histograms(schema, &families);
        self.follow_sums(schema, &families);
        let mut series: HashMap<&str, Vec<(Vec<String>, From)>> = HashMap::new();
        for (column, description) in schema.columns() {
            let metric = description.metric;
            let Some(family) = families.get(metric.name) else { continue };
            let of_metric = series.entry(metric.name).or_default();
            match (family.merge, metric.kind) {
                (Merge::None, _) => of_metric.push((description.labels.clone(), From::Column(column))),
                // Among the sums.
                (_, Kind::Counter | Kind::Histogram) => {}
                (Merge::Sum | Merge::Least, Kind::Gauge) => {
                    let labels = exposed(description, family);
                    match of_metric.iter_mut().find(|(known, _)| *known == labels) {
                        Some((_, From::Merged(columns))) => columns.push(column),
                        _ => of_metric.push((labels, From::Merged(vec![column]))),
                    }
                }
            }
        }
        for (place, Counted { metric, labels, .. }) in self.histograms.iter().enumerate() {
            series.entry(metric.name).or_default().push((labels.clone(), From::Histogram(place)));
        }
        for (place, Counted { metric, labels, .. }) in self.sums.iter().enumerate() {
            series.entry(metric.name).or_default().push((labels.clone(), From::Sum(place)));
        }
        let mut families = families;
        let planned = catalogue::ALL.iter().filter_map(|metric| {
            let (family, series) = (families.remove(metric.name)?, series.remove(metric.name)?);
            Some(Planned { family, series })
        });
        self.families = planned.collect();
    }

    fn follow_histograms(&mut self, schema: &Schema, families: &HashMap<&str, Family>) {
        let mut known: HashMap<(&str, Vec<String>), Counted<Histogram>> = HashMap::new();
        for counted in std::mem::take(&mut self.histograms) {
            known.insert((counted.metric.name, counted.labels.clone()), counted);
        }
        let mut places: HashMap<(&str, Vec<String>), usize> = HashMap::new();
        self.places.clear();
        for histogram in &schema.histograms {
            let metric = histogram.column.metric;
            let labels =
                families.get(metric.name).map_or_else(Vec::new, |family| exposed(&histogram.column, family));
            let key = (metric.name, labels);
            let place = *places.entry(key).or_insert_with_key(|key| {
                let begun = known.remove(key).unwrap_or_else(|| Counted {
                    metric,
                    labels: key.1.clone(),
                    counted: Histogram::new(histogram.layout, clock::unix_ns()),
                });
                self.histograms.push(begun);
                self.histograms.len() - 1
            });
            self.places.push(place);
        }
        let outlive =
            |metric: &Metric| families.get(metric.name).is_some_and(|family| family.merge != Merge::None);
        self.histograms.extend(known.into_values().filter(|counted| outlive(counted.metric)));
    }

    fn follow_sums(&mut self, schema: &Schema, families: &HashMap<&str, Family>) {
        let before = std::mem::take(&mut self.summed);
        for (column, description) in schema.columns() {
            let metric = description.metric;
            let family = families.get(metric.name).filter(|family| family.merge != Merge::None);
            let Some(family) = family.filter(|_| metric.kind == Kind::Counter) else { continue };
            let labels = exposed(description, family);
            let known = self.sums.iter().position(|sum| sum.metric == metric && sum.labels == labels);
            let place = known.unwrap_or_else(|| {
                self.sums.push(Counted { metric, labels, counted: 0.0 });
                self.sums.len() - 1
            });
            let last = before
                .iter()
                .find(|summed| summed.description == *description)
                .map_or(0.0, |summed| summed.last);
            self.summed.push(Summed { column, place, last, description: description.clone() });
        }
    }
}

/// The values of those labels that the family has.
fn exposed(description: &ColumnDescription, family: &Family) -> Vec<String> {
    let all = description.metric.labels.iter().zip(&description.labels);
    all.filter(|(name, _)| family.labels.contains(name)).map(|(_, value)| value.clone()).collect()
}

#[cfg(test)]
mod tests {
    use ssts_agent_ebpf::histogram::Layout;
    use ssts_proto::{catalogue as metrics, v1::AbsenceReason};

    use super::*;
    use crate::observe::frame::BucketGain;

    const LAYOUT: Layout = Layout::new(4, 36);

    /// A host with one disk, and a burner or none.
    struct Host {
        ring: Arc<FrameRing>,
        ledger: Ledger,
        sequence: u64,
    }

    impl Host {
        fn new() -> Self {
            let ring = Arc::new(FrameRing::default());
            Self { ledger: Ledger::new(ring.clone()), ring, sequence: 0 }
        }

        /// Publishes a frame in which the disk counted one request, and each burner has done so many operations.
        fn tick(&mut self, id: u32, burners: &[(&str, f64)]) {
            let mut schema = Schema::new(id);
            let disk = schema.histogram(&metrics::BLOCK_LATENCY, &["vda", "read"], LAYOUT);
            let columns: Vec<_> = burners
                .iter()
                .map(|(burner, _)| schema.column(&metrics::BURNER_OPERATIONS, &["r", burner, "cpu"]))
                .collect();
            let latency = schema.histogram(&metrics::BURNER_LATENCY, &["r", "0.0", "disk", "read"], LAYOUT);
            let mut frame = Frame::default();
            frame.reset(&schema, self.sequence);
            frame.gain(BucketGain { column: disk, bucket: 100, count: 1 });
            for (column, (_, operations)) in columns.into_iter().zip(burners) {
                frame.set(column, Ok(*operations));
            }
            frame.gain(BucketGain { column: latency, bucket: 50, count: 2 });
            self.sequence += 1;
            self.ring.publish(&Arc::new(schema), &frame);
        }

        /// The one value of a series of that name: a number, or a histogram's count.
        fn value(&mut self, name: &str) -> Option<f64> {
            self.ledger.take_frames();
            let mut gathered = Gathered::with_room_for(1_000);
            self.ledger.add(&mut gathered);
            let families = gathered.finish();
            let filled = families.iter().find(|filled| filled.family.sample_name() == name)?;
            assert_eq!(filled.series.len(), 1);
            match &filled.series[0].value {
                Value::Number(value) => Some(*value),
                Value::Counts(counts) => {
                    Some(counts.tell(filled.family.unit, filled.family.divisor).count as f64)
                }
            }
        }
    }

    #[test]
    fn histograms_go_on_over_schemas_and_forget_what_went() {
        let mut host = Host::new();
        host.tick(1, &[]);
        host.tick(1, &[]);
        assert_eq!(host.value("ssts_block_latency_seconds"), Some(2.0));
        host.tick(2, &[]);
        assert_eq!(host.value("ssts_block_latency_seconds"), Some(3.0));
        assert_eq!(host.value("ssts_burner_latency_seconds"), Some(6.0));
        // Without any disk, nor burners.
        let schema = Arc::new(Schema::new(3));
        let mut frame = Frame::default();
        frame.reset(&schema, 3);
        host.ring.publish(&schema, &frame);
        assert_eq!(host.value("ssts_block_latency_seconds"), None);
        assert_eq!(host.value("ssts_burner_latency_seconds"), Some(6.0));
        host.tick(4, &[]);
        assert_eq!(host.value("ssts_block_latency_seconds"), Some(1.0));
        assert_eq!(host.value("ssts_burner_latency_seconds"), Some(8.0));
    }

    #[test]
    fn burners_add_up_over_runs() {
        let mut host = Host::new();
        let name = "ssts_burner_operations_total";
        host.tick(1, &[("0.0", 10.0), ("0.1", 5.0)]);
        assert_eq!(host.value(name), Some(15.0));
        // The same burners by another schema, one after it began anew.
        host.tick(2, &[("0.0", 4.0), ("0.1", 7.0)]);
        assert_eq!(host.value(name), Some(21.0));
        host.tick(3, &[]);
        assert_eq!(host.value(name), Some(21.0));
        host.tick(4, &[("0.0", 100.0)]);
        assert_eq!(host.value(name), Some(121.0));
    }

    #[test]
    fn what_is_absent_has_no_series() {
        let mut host = Host::new();
        let mut schema = Schema::new(1);
        let free = schema.column(&metrics::HOST_MEMORY_FREE, &[]);
        let dirty = schema.column(&metrics::HOST_MEMORY_DIRTY, &[]);
        let slowest = schema.column(&metrics::BLOCK_SLOWEST_PID, &["vda"]);
        let targets =
            ["0", "1"].map(|worker| schema.column(&metrics::BURNER_TARGET, &["r", "0.0", "cpu", worker]));
        let mut frame = Frame::default();
        frame.reset(&schema, 0);
        frame.set(free, Ok(5.0));
        frame.set(dirty, Err(AbsenceReason::Denied));
        frame.set(slowest, Ok(77.0));
        targets.iter().for_each(|target| frame.set(*target, Ok(0.25)));
        host.ring.publish(&Arc::new(schema), &frame);
        assert_eq!(host.value("ssts_host_memory_free_bytes"), Some(5.0));
        assert_eq!(host.value("ssts_host_memory_dirty_bytes"), None);
        assert_eq!(host.value("ssts_block_slowest_pid"), None);
        assert_eq!(host.value("ssts_burner_target_cores"), Some(0.5));
    }

    #[test]
    fn frames_that_were_missed_are_told() {
        let mut host = Host::new();
        for _ in 0..100 {
            host.tick(1, &[]);
        }
        assert_eq!(host.value("ssts_block_latency_seconds"), Some(64.0));
        assert_eq!((host.ledger.lost_frames, host.ledger.frames()), (36, 100));
    }
}
