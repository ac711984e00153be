//! All samples of one tick, in buffers that are used again from tick to tick.

use std::time::Duration;

use ssts_proto::v1::{self, AbsenceReason};

use super::schema::{Column, HistogramColumn, Schema};

/// A reading, or why there is none.
pub type Reading = Result<f64, AbsenceReason>;

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
    gains: Vec<BucketGain>,
}

impl Frame {
    /// Makes the frame empty and fit for `schema`. Allocates only when the schema grew.
    pub fn reset(&mut self, schema: &Schema, sequence: u64) {
        self.schema_id = schema.id;
        self.sequence = sequence;
        self.readings.clear();
        self.readings.resize(schema.columns.len(), Err(AbsenceReason::Pending));
        self.gains.clear();
    }

    /// Notes a scalar reading, or why there is none.
    pub fn set(&mut self, column: Column, reading: Reading) {
        self.readings[column.0 as usize] = reading;
    }

    /// Notes what a histogram gained. Each source notes its histograms column by column, buckets rising.
    pub fn gain(&mut self, gain: BucketGain) {
        self.gains.push(gain);
    }

    /// The reading of a column.
    pub fn reading(&self, column: Column) -> Reading {
        self.readings[column.0 as usize]
    }

    /// All scalar readings, in the schema's order.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// What the histograms gained.
    pub fn gains(&self) -> &[BucketGain] {
        &self.gains
    }

    /// Takes over another frame's content, keeping this one's buffers.
    pub fn copy_from(&mut self, other: &Self) {
        let Self { schema_id, sequence, begin, end, wall_offset_ns, readings, gains } = self;
        (*schema_id, *sequence) = (other.schema_id, other.sequence);
        (*begin, *end, *wall_offset_ns) = (other.begin, other.end, other.wall_offset_ns);
        readings.clone_from(&other.readings);
        gains.clone_from(&other.gains);
    }
}

impl From<&Frame> for v1::Frame {
    fn from(frame: &Frame) -> Self {
        let mut message = Self {
            schema_id: frame.schema_id,
            sequence: frame.sequence,
            begin_ns: frame.begin.as_nanos() as u64,
            end_ns: frame.end.as_nanos() as u64,
            wall_offset_ns: frame.wall_offset_ns,
            values: Vec::with_capacity(frame.readings.len()),
            ..Self::default()
        };
        for (index, reading) in frame.readings.iter().enumerate() {
            match reading {
                Ok(value) => message.values.push(*value),
                Err(reason) => {
                    message.absent_columns.push(index as u32);
                    message.absent_reasons.push((*reason).into());
                }
            }
        }
        for gain in &frame.gains {
            if message.histograms.last().is_none_or(|last| last.column != gain.column.0) {
                message.histograms.push(v1::HistogramDelta { column: gain.column.0, ..Default::default() });
            }
            let delta = message.histograms.last_mut().expect("one was just pushed");
            delta.buckets.push(gain.bucket);
            delta.counts.push(gain.count);
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::catalogue;

    use super::*;

    #[test]
    fn an_absent_reading_travels_as_absent_with_its_reason_never_as_zero() {
        let mut schema = Schema::new(7);
        let free = schema.column(&catalogue::HOST_MEMORY_FREE, &[]);
        let dirty = schema.column(&catalogue::HOST_MEMORY_DIRTY, &[]);
        let cached = schema.column(&catalogue::HOST_MEMORY_CACHED, &[]);
        let mut frame = Frame::default();
        frame.reset(&schema, 1);
        frame.set(free, Ok(5.0));
        frame.set(dirty, Err(AbsenceReason::ReadFailed));
        frame.set(cached, Ok(0.0));
        let message = v1::Frame::from(&frame);
        assert_eq!(message.values, [5.0, 0.0]);
        assert_eq!(message.absent_columns, [1]);
        assert_eq!(message.absent_reasons, [i32::from(AbsenceReason::ReadFailed)]);
    }
}
