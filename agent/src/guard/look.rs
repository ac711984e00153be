//! What a guard sees in a frame: the columns of its metric, made into one value. Columns are found anew when the schema
//! changes; frames in between allocate nothing.

use std::{sync::Arc, time::Duration};

use ssts_proto::{
    catalogue::{HOST_CRITICAL_TEMPERATURE, Kind},
    v1::{AbsenceReason, GuardAggregate},
};

use super::{
    level::Told,
    past::Past,
    plausible::{Plausible, is_temperature},
    quantiles::Gained,
    spec::GuardSpec,
};
use crate::observe::{
    frame::{Frame, Reading},
    schema::{Column, ColumnDescription, HistogramColumn, Schema},
};

/// A reading that is awaited for the first time, as after a device came, may take so long.
const PENDING: Duration = Duration::from_secs(5);

/// What a guard looks with.
#[derive(Debug)]
pub(super) struct Look {
    stale_after: Duration,
    /// When it began to look, CLOCK_MONOTONIC.
    since: Duration,
    cells: Vec<Cell>,
    histograms: Vec<HistogramCell>,
    /// For each of the schema's histograms the cell that it fills.
    places: Vec<usize>,
    seen: Seen,
}

/// What the latest frame told.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The worst value, or the aggregate.
    pub(super) value: Option<f64>,
    /// When it was read, CLOCK_MONOTONIC; of several the worst one.
    pub(super) read_at: Duration,
    /// Of the column that it is of, where it is one's.
    pub(super) labels: Option<Arc<[String]>>,
    /// What is missing.
    pub(super) missing: Option<Missing>,
    /// Whether there is, or was, anything to look at.
    pub(super) has_source: bool,
}

/// A reading that is relied on and is not there.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    pub(super) labels: Arc<[String]>,
    pub(super) why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Why {
    Absent(AbsenceReason),
    /// It says what can't be.
    Implausible(f64),
    /// Nothing that the guard could look at was ever read.
    NoSource,
}

/// One scalar column.
#[derive(Debug)]
struct Cell {
    labels: Arc<[String]>,
    column: Option<Column>,
    critical: Option<Column>,
    past: Past,
    plausible: Plausible,
    /// When it was last there, CLOCK_MONOTONIC.
    fresh: Duration,
    /// When that was read.
    read_at: Duration,
    /// Whether it ever was. One that never was can't be relied on, and its absence says nothing.
    was_seen: bool,
    why: Why,
    value: Option<f64>,
}

#[derive(Debug)]
struct HistogramCell {
    labels: Arc<[String]>,
    column: Option<HistogramColumn>,
    gained: Gained,
}

const NOWHERE: usize = usize::MAX;

impl Look {
    pub(super) fn new(stale_after: Duration, since: Duration) -> Self {
        Self {
            stale_after,
            since,
            cells: Vec::new(),
            histograms: Vec::new(),
            places: Vec::new(),
            seen: Seen::default(),
        }
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Finds the columns anew. What was relied on before still is, whether the schema has it or not. `left_out` are devices.
    pub(super) fn follow(&mut self, spec: &GuardSpec, schema: &Schema, left_out: &[String], now: Duration) {
        let device = spec.metric.labels.iter().position(|label| *label == "device");
        let device = device.filter(|_| spec.message.others_only);
        let is_left_out = |labels: &[String]| device.is_some_and(|device| left_out.contains(&labels[device]));
        let is_ours = |column: &ColumnDescription| {
            *column.metric == *spec.metric && spec.matches(&column.labels) && !is_left_out(&column.labels)
        };
        self.cells.iter_mut().for_each(|cell| (cell.column, cell.critical) = (None, None));
        // A device that a run has taken for itself is not missing.
        self.cells.retain(|cell| !is_left_out(&cell.labels));
        self.histograms.retain(|cell| !is_left_out(&cell.labels));
        for (column, description) in schema.columns().filter(|(_, column)| is_ours(column)) {
            let known = self.cells.iter().position(|cell| *cell.labels == *description.labels);
            let index = known.unwrap_or_else(|| {
                self.cells.push(Cell::new(&description.labels, spec.window, now));
                self.cells.len() - 1
            });
            self.cells[index].column = Some(column);
        }
        if spec.is_headroom() {
            let critical =
                |(_, column): &(Column, &ColumnDescription)| *column.metric == HOST_CRITICAL_TEMPERATURE;
            for (column, description) in schema.columns().filter(critical) {
                if let Some(cell) = self.cells.iter_mut().find(|cell| *cell.labels == *description.labels) {
                    cell.critical = Some(column);
                }
            }
        }
        if spec.metric.kind == Kind::Histogram {
            self.follow_histograms(spec, schema, is_ours);
        }
    }

    fn follow_histograms(
        &mut self,
        spec: &GuardSpec,
        schema: &Schema,
        is_ours: impl Fn(&ColumnDescription) -> bool,
    ) {
        self.histograms.iter_mut().for_each(|cell| cell.column = None);
        self.places.clear();
        self.places.resize(schema.histograms.len(), NOWHERE);
        for (place, (column, histogram)) in self.places.iter_mut().zip(schema.histogram_columns()) {
            if !is_ours(&histogram.column) {
                continue;
            }
            let labels = &histogram.column.labels;
            let known =
                |cell: &HistogramCell| *cell.labels == **labels && cell.gained.layout() == histogram.layout;
            let index = self.histograms.iter().position(known).unwrap_or_else(|| {
                let gained = Gained::new(histogram.layout, spec.window);
                self.histograms.push(HistogramCell {
                    labels: labels.as_slice().into(),
                    column: None,
                    gained,
                });
                self.histograms.len() - 1
            });
            self.histograms[index].column = Some(column);
            *place = index;
        }
    }

    /// Looks at one frame.
    pub(super) fn at(&mut self, spec: &GuardSpec, frame: &Frame) -> Told {
        if spec.metric.kind == Kind::Histogram {
            self.at_gains(spec, frame)
        } else {
            self.at_readings(spec, frame)
        }
    }

    fn at_readings(&mut self, spec: &GuardSpec, frame: &Frame) -> Told {
        let stale_after = self.stale_after;
        let mut worst: Option<usize> = None;
        let mut missing: Option<usize> = None;
        for index in 0..self.cells.len() {
            let cell = &mut self.cells[index];
            cell.look(spec, frame);
            if cell.is_missing(frame.end, stale_after) {
                cell.value = None;
                missing.get_or_insert(index);
            }
            let Some(value) = self.cells[index].value else { continue };
            let is_worse = worst
                .and_then(|worst| self.cells[worst].value)
                .is_none_or(|worst| spec.rule.worse(value, worst));
            worst = if is_worse { Some(index) } else { worst };
        }
        let values = || self.cells.iter().filter_map(|cell| cell.value);
        let count = values().count();
        self.seen.value = match spec.aggregate() {
            _ if count == 0 => None,
            GuardAggregate::Min => values().reduce(f64::min),
            GuardAggregate::Max => values().reduce(f64::max),
            GuardAggregate::Sum => Some(values().sum()),
            GuardAggregate::Mean => Some(values().sum::<f64>() / count as f64),
            _ => worst.and_then(|worst| self.cells[worst].value),
        };
        let of_one = !matches!(spec.aggregate(), GuardAggregate::Sum | GuardAggregate::Mean);
        self.seen.labels = worst.filter(|_| of_one).map(|worst| self.cells[worst].labels.clone());
        self.seen.read_at = worst.map_or(frame.end, |worst| self.cells[worst].read_at);
        self.seen.has_source = self.cells.iter().any(|cell| cell.was_seen);
        self.seen.missing = missing.map(|index| {
            let cell = &self.cells[index];
            Missing { labels: cell.labels.clone(), why: cell.why }
        });
        self.told(spec, frame.end)
    }

    fn at_gains(&mut self, spec: &GuardSpec, frame: &Frame) -> Told {
        self.histograms.iter_mut().for_each(|cell| cell.gained.begin(frame.end));
        for gain in frame.gains() {
            let place = self.places.get(gain.column.index()).copied().unwrap_or(NOWHERE);
            if let Some(cell) = self.histograms.get_mut(place) {
                cell.gained.add(gain.bucket, gain.count);
            }
        }
        let share = share(spec.aggregate());
        let mut worst: Option<(f64, usize)> = None;
        for (index, cell) in self.histograms.iter().enumerate().filter(|(_, cell)| cell.column.is_some()) {
            let Some(value) = cell.gained.quantile(share, spec.min_samples) else { continue };
            if worst.is_none_or(|(worst, _)| spec.rule.worse(value, worst)) {
                worst = Some((value, index));
            }
        }
        let is_there = self.histograms.iter().any(|cell| cell.column.is_some());
        self.seen.value = worst.map(|(value, _)| value);
        self.seen.read_at = frame.end;
        self.seen.labels = worst.map(|(_, index)| self.histograms[index].labels.clone());
        self.seen.missing = match self.histograms.first() {
            // Its probe was taken out: the devices of one that works come and go.
            Some(cell) if !is_there && self.seen.has_source => {
                Some(Missing { labels: cell.labels.clone(), why: Why::Absent(AbsenceReason::Gone) })
            }
            _ => None,
        };
        self.seen.has_source |= is_there;
        match self.told(spec, frame.end) {
            // The probe counts, and there was too little to be judged.
            Told::Unknown if is_there => Told::Nothing,
            told => told,
        }
    }

    /// A value that is beyond tells more than a reading that is missing.
    fn told(&mut self, spec: &GuardSpec, now: Duration) -> Told {
        let waited = now.saturating_sub(self.since) >= self.stale_after.max(PENDING);
        if spec.trips_when_missing && spec.is_asked_for() && !self.seen.has_source && waited {
            self.seen.missing = Some(Missing { labels: Arc::default(), why: Why::NoSource });
        }
        match (self.seen.value, &self.seen.missing) {
            (Some(value), _) if spec.rule.is_beyond(value) => {
                self.seen.missing = None;
                Told::Value(value)
            }
            (_, Some(_)) if spec.trips_when_missing => Told::Missing,
            (Some(value), _) => Told::Value(value),
            (None, _) => Told::Unknown,
        }
    }
}

impl Cell {
    fn new(labels: &[String], window: Option<Duration>, now: Duration) -> Self {
        Self {
            labels: labels.into(),
            column: None,
            critical: None,
            past: Past::new(window),
            plausible: Plausible::default(),
            fresh: now,
            read_at: now,
            was_seen: false,
            why: Why::Absent(AbsenceReason::Pending),
            value: None,
        }
    }

    fn look(&mut self, spec: &GuardSpec, frame: &Frame) {
        let reading = self.column.map_or(Err(AbsenceReason::Gone), |column| frame.reading(column));
        let value = match reading {
            Ok(value) if value.is_finite() => value,
            Ok(_) => return self.lacks(Why::Absent(AbsenceReason::Malformed)),
            Err(reason) => return self.lacks(Why::Absent(reason)),
        };
        // A headroom needs both; a sensor that tells no critical point is not this guard's.
        let judged = if spec.is_headroom() {
            let Some(Ok(critical)) = self.critical.map(|column| frame.reading(column)) else { return };
            critical - value
        } else {
            value
        };
        let at = self.column.map_or(frame.end, |column| frame.read_at(column));
        let is_beyond = !spec.is_rise() && spec.rule.is_beyond(judged);
        if is_temperature(spec.metric) && !self.plausible.takes(at, value, is_beyond) {
            return self.lacks(Why::Implausible(value));
        }
        (self.fresh, self.read_at, self.was_seen) = (frame.end, at, true);
        self.value = match (spec.metric.kind, spec.is_rise()) {
            (Kind::Counter, _) => self.past.gain(at, judged),
            (_, true) => self.past.rise(at, judged),
            (_, false) => Some(judged),
        };
    }

    /// The latest value stands until the reading has been away for too long.
    fn lacks(&mut self, why: Why) {
        self.why = why;
    }

    fn is_missing(&self, now: Duration, stale_after: Duration) -> bool {
        let away = now.saturating_sub(self.fresh);
        let patience = match self.why {
            // Its source has waited for as long before it says so.
            Why::Absent(AbsenceReason::Stale) => Duration::ZERO,
            Why::Absent(AbsenceReason::Pending) => stale_after.max(PENDING),
            Why::Absent(_) | Why::Implausible(_) | Why::NoSource => stale_after,
        };
        self.was_seen && !away.is_zero() && away >= patience
    }
}

fn share(aggregate: GuardAggregate) -> f64 {
    match aggregate {
        GuardAggregate::P50 => 0.5,
        GuardAggregate::P90 => 0.9,
        GuardAggregate::P95 => 0.95,
        GuardAggregate::P999 => 0.999,
        _ => 0.99,
    }
}

/// Of a reading that is not there, in words.
pub(super) fn reason(reading: Reading) -> &'static str {
    match reading {
        Ok(_) => "it is there",
        Err(AbsenceReason::Unsupported) => "this host does not have it",
        Err(AbsenceReason::Denied) => "it is not permitted",
        Err(AbsenceReason::ReadFailed | AbsenceReason::Unspecified) => "reading it failed",
        Err(AbsenceReason::Gone) => "it is gone",
        Err(AbsenceReason::Malformed) => "it makes no sense",
        Err(AbsenceReason::Pending) => "it has not come yet",
        Err(AbsenceReason::Stale) => "the latest is too old",
    }
}
