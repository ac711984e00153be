//! What a run's record shows over time, by metric and phase: windows of a run, a bounded number whatever its length.

use std::{collections::BTreeMap, mem, sync::Arc};

use ssts_proto::{
    catalogue,
    v1::{Event, EventKind, record_item::Item},
};

use super::Key;
use crate::{
    error::Failure,
    page::{Bins, Join, Values},
    record::{Replay, Seen},
    stats::Center,
    telemetry::{Labels, Reading},
};

/// Of a phase's beginning and end, s: what comes up and goes down there is no steady state.
const EDGE_S: f64 = 0.5;
/// The same as a share of the phase.
const EDGE_SHARE: f64 = 0.05;

/// Gathers the items of a record.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    replay: Replay,
    /// Beginnings of the names of the metrics that are gathered; none: those whose change can be judged.
    prefixes: Vec<String>,
    values: BTreeMap<Key, Bins<Values>>,
    /// With `p50` for a statistic.
    histograms: BTreeMap<Key, Bins<Buckets>>,
    /// Name, begin and end, s.
    phases: Vec<(String, f64, Option<f64>)>,
}

/// How many values were in each bucket, by its upper bound.
#[derive(Debug, Default)]
struct Buckets(BTreeMap<u64, u64>);

impl Join for Buckets {
    fn join(&mut self, other: Self) {
        for (bound, count) in other.0 {
            *self.0.entry(bound).or_default() += count;
        }
    }
}

impl Buckets {
    fn quantile(&self, q: f64) -> Option<f64> {
        let total: u64 = self.0.values().sum();
        let rank = (q * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.0
            .iter()
            .find(|(_, count)| {
                seen += **count;
                seen >= rank
            })
            .map(|(bound, _)| *bound as f64)
    }
}

/// A part of a series.
pub(crate) type Series = Vec<(f64, f64)>;

impl Windows {
    /// Of metrics whose names begin so; with none, of those whose change can be judged.
    pub(crate) fn new(prefixes: Vec<String>) -> Self {
        Self { prefixes, ..Self::default() }
    }

    /// Takes in one item.
    pub(crate) fn take(&mut self, item: Item) -> Result<(), Failure> {
        let mut replay = mem::take(&mut self.replay);
        let taken = replay.take(item, |replay, seen| match seen {
            Seen::Frame(second) => self.frame(replay, second),
            Seen::Event(event) => self.event(replay, event),
            Seen::Gap(_) => {}
        });
        self.replay = replay;
        taken
    }

    /// Series (s since the start, value) over the whole run, by metric and labels; of histograms the `q`-th part of each window.
    pub(crate) fn whole(&self) -> BTreeMap<Key, Series> {
        self.within(None)
    }

    /// Values of each phase's windows, without its edges, with the phase as first label; and what stands for them.
    pub(crate) fn by_phase(&self) -> BTreeMap<Key, (Vec<f64>, Center)> {
        let mut all = BTreeMap::new();
        for (phase, begin, end) in &self.phases {
            let Some(end) = end else { continue };
            let edge = ((end - begin) * EDGE_SHARE).max(EDGE_S);
            for (mut key, series) in self.within(Some((begin + edge, end - edge))) {
                let center = if key.statistic.starts_with('p') { Center::Median } else { Center::Mean };
                Arc::make_mut(&mut key.labels).insert("phase".into(), phase.clone());
                all.insert(key, (series.into_iter().map(|(_, value)| value).collect(), center));
            }
        }
        all
    }

    /// Series of one phase's windows, without its edges; of an empty name from the begin of the first phase to the end of the last.
    /// None where it did not come to its end.
    pub(crate) fn of_phase(&self, phase: &str) -> Option<BTreeMap<Key, Series>> {
        let (begin, end) = if phase.is_empty() {
            let begin = self.phases.first()?.1;
            (begin, self.phases.last()?.2?)
        } else {
            let (_, begin, end) = self.phases.iter().rfind(|(name, ..)| name == phase)?;
            (*begin, (*end)?)
        };
        let edge = ((end - begin) * EDGE_SHARE).max(EDGE_S);
        Some(self.within(Some((begin + edge, end - edge))))
    }

    fn within(&self, time: Option<(f64, f64)>) -> BTreeMap<Key, Series> {
        let is_in = |begin: f64, end: f64| time.is_none_or(|(from, to)| begin >= from && end <= to);
        let mut all = BTreeMap::new();
        for (key, bins) in &self.values {
            let series: Series = bins
                .iter()
                .filter(|(begin, end, _)| is_in(*begin, *end))
                .filter_map(|(begin, end, bin)| Some((f64::midpoint(begin, end), bin.mean()?)))
                .collect();
            if !series.is_empty() {
                all.insert(key.clone(), series);
            }
        }
        for (key, bins) in &self.histograms {
            for (statistic, q) in [("p50", 0.5), ("p99", 0.99)] {
                let series: Series = bins
                    .iter()
                    .filter(|(begin, end, _)| is_in(*begin, *end))
                    .filter_map(|(begin, end, bin)| Some((f64::midpoint(begin, end), bin.quantile(q)?)))
                    .collect();
                if !series.is_empty() {
                    all.insert(Key { statistic: statistic.into(), ..key.clone() }, series);
                }
            }
        }
        all
    }

    fn event(&mut self, replay: &Replay, event: &Event) {
        let Some(second) = replay.second(event.at_unix_ns) else { return };
        match event.kind() {
            EventKind::PhaseStarted => {
                let name = event.fields.get("phase").cloned().unwrap_or_default();
                self.phases.push((name, second, None));
            }
            EventKind::PhaseFinished => {
                if let Some((.., end @ None)) = self.phases.last_mut() {
                    *end = Some(second);
                }
            }
            _ => {}
        }
    }

    fn frame(&mut self, replay: &Replay, second: f64) {
        let prefixes = &self.prefixes;
        let is_wanted = |metric: &str| {
            if prefixes.is_empty() {
                catalogue::find(metric).is_some_and(|metric| metric.worse.is_some())
            } else {
                prefixes.iter().any(|prefix| metric.starts_with(prefix.as_str()))
            }
        };
        for reading in replay.telemetry.readings() {
            if is_wanted(reading.metric) && replay.is_own(reading.labels) && has_target(&reading) {
                let key = key(reading.metric, reading.labels, "mean", reading.unit());
                if let Some(bin) = self.values.entry(key).or_default().at(second) {
                    bin.add(reading.value);
                }
            }
        }
        for (metric, unit, labels, counts) in replay.telemetry.histograms() {
            if is_wanted(metric) && replay.is_own(labels) {
                let key = key(metric, labels, "p50", unit.to_owned());
                if let Some(bin) = self.histograms.entry(key).or_default().at(second) {
                    for (bound, count) in counts.iter() {
                        *bin.0.entry(bound).or_default() += count;
                    }
                }
            }
        }
    }
}

/// Whether more or less of it is good or bad: what a burner without a load target takes of its core is neither.
fn has_target(reading: &Reading<'_>) -> bool {
    reading.metric != "burner.on_cpu_time" || matches!(reading.labels.get("kind"), "cpu" | "memory")
}

fn key(metric: &str, labels: &Labels, statistic: &str, unit: String) -> Key {
    let labels: BTreeMap<_, _> = labels
        .iter()
        .filter(|(name, _)| *name != "run")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Key { metric: metric.into(), labels: labels.into(), statistic: statistic.into(), unit: unit.into() }
}
