//! All samples of one tick, in buffers that are used again from tick to tick.

use std::time::Duration;

use ssts_proto::v1::{self, AbsenceReason};

use super::schema::{Column, HistogramColumn, Schema};
use crate::clock;

/// A reading, or why there is none.
pub type Reading = Result<f64, AbsenceReason>;

/// Buckets that a histogram gains in during one tick, as a rule. More make the frame's buffer grow.
const GAINS_A_HISTOGRAM: usize = 64;

/// Counts that a histogram gained in one bucket since the previous frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketGain {
    /// The histogram.
    pub column: HistogramColumn,
    /// The bucket, by the column's layout.
    pub bucket: u32,
    /// At least 1.
    pub count: u64,
}

/// All samples of one tick.
#[derive(Debug, Default, Clone)]
pub struct Frame {
    /// Of the schema that names its columns.
    pub schema_id: u32,
    /// Counts ticks.
    pub sequence: u64,
    /// When the first reading began, CLOCK_MONOTONIC.
    pub begin: Duration,
    /// When the last reading ended, CLOCK_MONOTONIC.
    pub end: Duration,
    /// Unix time less CLOCK_MONOTONIC, in ns.
    pub wall_offset_ns: i64,
    readings: Vec<Reading>,
    /// For each reading when it was taken, if before this frame's window; else zero.
    read_before: Vec<Duration>,
    gains: Vec<BucketGain>,
}

impl Frame {
    /// Makes the frame empty and fit for `schema`. Allocates only when the schema grew.
    pub fn reset(&mut self, schema: &Schema, sequence: u64) {
        self.schema_id = schema.id;
        self.sequence = sequence;
        self.readings.clear();
        self.readings.resize(schema.columns.len(), Err(AbsenceReason::Pending));
        self.read_before.clear();
        self.read_before.resize(schema.columns.len(), Duration::ZERO);
        self.gains.clear();
        self.gains.reserve(schema.histograms.len() * GAINS_A_HISTOGRAM);
    }

    /// Notes a scalar reading, or why there is none.
    pub fn set(&mut self, column: Column, reading: Reading) {
        self.readings[column.0 as usize] = reading;
    }

    /// Notes a reading that was taken before this frame's window, at `read` of CLOCK_MONOTONIC.
    pub fn hold(&mut self, column: Column, reading: Reading, read: Duration) {
        self.set(column, reading);
        self.read_before[column.0 as usize] = read;
    }

    /// Notes what a histogram gained. Each source notes its histograms column by column, buckets rising.
    pub fn gain(&mut self, gain: BucketGain) {
        self.gains.push(gain);
    }

    /// The reading of a column.
    pub fn reading(&self, column: Column) -> Reading {
        self.readings[column.0 as usize]
    }

    /// When a column's reading was taken, CLOCK_MONOTONIC.
    pub fn read_at(&self, column: Column) -> Duration {
        let read = self.read_before[column.0 as usize];
        if read.is_zero() { self.end } else { read }
    }

    /// An instant of CLOCK_MONOTONIC as Unix time, in ns.
    pub fn unix_ns(&self, instant: Duration) -> i64 {
        self.wall_offset_ns + clock::ns(instant).cast_signed()
    }

    /// All scalar readings, in the schema's order.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// All scalar readings with when they were taken, CLOCK_MONOTONIC.
    pub fn readings_in_time(&self) -> impl Iterator<Item = (Reading, Duration)> {
        let times = self.read_before.iter().map(|read| if read.is_zero() { self.end } else { *read });
        self.readings.iter().copied().zip(times)
    }

    /// What the histograms gained.
    pub fn gains(&self) -> &[BucketGain] {
        &self.gains
    }

    /// A message with all but the samples.
    pub fn header(&self) -> v1::Frame {
        v1::Frame {
            schema_id: self.schema_id,
            sequence: self.sequence,
            begin_ns: clock::ns(self.begin),
            end_ns: clock::ns(self.end),
            wall_offset_ns: self.wall_offset_ns,
            values: Vec::with_capacity(self.readings.len()),
            ..v1::Frame::default()
        }
    }

    /// Which columns were read before the frame's window, and when.
    pub fn held(&self) -> Vec<v1::HeldColumns> {
        let mut held = Vec::new();
        for (index, (_, read)) in (0..).zip(self.readings_in_time()) {
            if read < self.begin {
                hold(&mut held, index, clock::ns(read));
            }
        }
        held
    }

    /// Takes over another frame's content, keeping this one's buffers.
    pub fn copy_from(&mut self, other: &Self) {
        let Self { schema_id, sequence, begin, end, wall_offset_ns, readings, read_before, gains } = self;
        (*schema_id, *sequence) = (other.schema_id, other.sequence);
        (*begin, *end, *wall_offset_ns) = (other.begin, other.end, other.wall_offset_ns);
        readings.clone_from(&other.readings);
        read_before.clone_from(&other.read_before);
        gains.clear();
        // As much as the other has room for: frames of one schema then differ without an allocation.
        gains.reserve(other.gains.capacity());
        gains.extend_from_slice(&other.gains);
    }
}
/// Adds a column to those that were read at the same instant and stand beside it, or begins anew with it.
pub(crate) fn hold(held: &mut Vec<v1::HeldColumns>, column: u32, read_ns: u64) {
    match held.last_mut() {
        Some(last) if last.read_ns == read_ns && last.first_column + last.columns == column => {
            last.columns += 1;
        }
        _ => held.push(v1::HeldColumns { first_column: column, columns: 1, read_ns }),
    }
}
