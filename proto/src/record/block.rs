//! Frames in columns: neighbours in a column are alike, so their exclusive-or is mostly zeros, which LZ4 takes away.

use std::collections::BTreeMap;

use crate::v1::{self, AbsenceReason, AbsentRun, FrameBlock, HeldChange, HeldColumns, HistogramDelta};

/// Bytes of a double.
const PLANES: usize = size_of::<f64>();
/// What a block may unpack to. Written ones are a thousandth of it.
const LARGEST_BYTES: usize = 256 << 20;

/// Why a block can't be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBlock(pub &'static str);

impl std::fmt::Display for BadBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a block of frames contradicts itself: {}", self.0)
    }
}

impl std::error::Error for BadBlock {}

/// Gathers frames of one schema and packs them. Its buffers are used again from block to block.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    block: FrameBlock,
    /// Of the last frame.
    last: Times,
    /// Bits of each value, frame by frame.
    rows: Vec<u64>,
    /// Runs that reach to the last frame, by column.
    open: Vec<Option<usize>>,
    /// Of the last frame.
    held: Vec<HeldColumns>,
    planes: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Times {
    sequence: u64,
    begin_ns: u64,
    wall_offset_ns: i64,
}

impl BlockBuilder {
    /// Frames gathered so far.
    pub fn frames(&self) -> usize {
        self.block.windows_ns.len()
    }

    /// The schema of the frames gathered so far.
    pub fn schema_id(&self) -> u32 {
        self.block.schema_id
    }

    /// Adds a frame: what `header` says of it beside its samples, each column's reading, and what histograms gained: index
    /// of the histogram, bucket, count. All frames of a block are of one schema.
    pub fn push(
        &mut self,
        header: &v1::Frame,
        readings: impl ExactSizeIterator<Item = Result<f64, AbsenceReason>>,
        gains: impl Iterator<Item = (u32, u32, u64)>,
    ) {
        let frame = self.frames();
        let columns = readings.len();
        let block = &mut self.block;
        if frame == 0 {
            (block.schema_id, block.columns) = (header.schema_id, columns as u32);
            self.last = Times::default();
            self.open.clear();
            self.open.resize(columns, None);
            self.held.clear();
        }
        debug_assert_eq!((block.schema_id, block.columns as usize), (header.schema_id, columns));
        block.sequence_steps.push(header.sequence.wrapping_sub(self.last.sequence));
        block.begin_steps_ns.push(header.begin_ns.wrapping_sub(self.last.begin_ns));
        block.windows_ns.push(header.end_ns.saturating_sub(header.begin_ns));
        block.wall_offset_steps_ns.push(header.wall_offset_ns.wrapping_sub(self.last.wall_offset_ns));
        self.last = Times {
            sequence: header.sequence,
            begin_ns: header.begin_ns,
            wall_offset_ns: header.wall_offset_ns,
        };
        for (column, reading) in readings.enumerate() {
            let bits = match reading {
                Ok(value) => {
                    self.open[column] = None;
                    value.to_bits()
                }
                Err(reason) => {
                    note_absence(block, &mut self.open[column], column, frame, reason);
                    frame.checked_sub(1).map_or(0, |before| self.rows[before * columns + column])
                }
            };
            self.rows.push(bits);
        }
        block.held.extend(held_change(frame, &self.held, &header.held));
        self.held.clone_from(&header.held);
        let before = block.gain_counts.len();
        for (column, bucket, count) in gains {
            block.gain_columns.push(column);
            block.gain_buckets.push(bucket);
            block.gain_counts.push(count);
        }
        block.gains.push((block.gain_counts.len() - before) as u32);
    }

    /// Packs what was gathered, and begins anew.
    pub fn finish(&mut self) -> FrameBlock {
        let (frames, columns) = (self.frames(), self.block.columns as usize);
        let cells = frames * columns;
        self.planes.clear();
        self.planes.resize(cells * PLANES, 0);
        for column in 0..columns {
            let mut before = 0;
            for frame in 0..frames {
                let bits = self.rows[frame * columns + column];
                for (plane, byte) in (bits ^ before).to_be_bytes().into_iter().enumerate() {
                    self.planes[plane * cells + column * frames + frame] = byte;
                }
                before = bits;
            }
        }
        self.rows.clear();
        let mut block = std::mem::take(&mut self.block);
        block.values = lz4_flex::block::compress(&self.planes);
        block
    }
}

/// What a frame says anew; nothing where it says what the one before did.
fn held_change(frame: usize, before: &[HeldColumns], now: &[HeldColumns]) -> Option<HeldChange> {
    let same_places = before.len() == now.len()
        && before
            .iter()
            .zip(now)
            .all(|(old, new)| (old.first_column, old.columns) == (new.first_column, new.columns));
    let columns: Vec<_> = if same_places {
        before.iter().zip(now).filter(|(old, new)| old != new).map(|(_, new)| *new).collect()
    } else {
        now.to_vec()
    };
    let is_change = !same_places || !columns.is_empty();
    is_change.then_some(HeldChange { frame: frame as u32, anew: !same_places, columns })
}

fn note_absence(
    block: &mut FrameBlock,
    open: &mut Option<usize>,
    column: usize,
    frame: usize,
    reason: AbsenceReason,
) {
    match open.and_then(|run| block.absent.get_mut(run)).filter(|run| run.reason() == reason) {
        Some(run) => run.frames += 1,
        None => {
            *open = Some(block.absent.len());
            block.absent.push(AbsentRun {
                column: column as u32,
                first_frame: frame as u32,
                frames: 1,
                reason: reason.into(),
            });
        }
    }
}

impl FrameBlock {
    /// The frames, as a stream has them.
    ///
    /// # Errors
    /// Where the block contradicts itself.
    pub fn unpack(&self) -> Result<Vec<v1::Frame>, BadBlock> {
        let (frames, columns) = (self.windows_ns.len(), self.columns as usize);
        let lengths = [
            self.sequence_steps.len(),
            self.begin_steps_ns.len(),
            self.wall_offset_steps_ns.len(),
            self.gains.len(),
        ];
        if lengths.into_iter().any(|length| length != frames) {
            return Err(BadBlock("its columns of times differ in length"));
        }
        let bytes = frames.checked_mul(columns).and_then(|cells| cells.checked_mul(PLANES));
        let bytes = bytes.filter(|bytes| *bytes <= LARGEST_BYTES).ok_or(BadBlock("it is too large"))?;
        let planes = lz4_flex::block::decompress(&self.values, bytes)
            .ok()
            .filter(|planes| planes.len() == bytes)
            .ok_or(BadBlock("its values can't be unpacked"))?;
        let mut unpacked = self.headers();
        let absent = self.absences(frames, columns)?;
        let cells = frames * columns;
        for column in 0..columns {
            let mut bits = 0;
            for (frame, message) in unpacked.iter_mut().enumerate() {
                let cell = column * frames + frame;
                let step = std::array::from_fn(|plane| planes[plane * cells + cell]);
                bits ^= u64::from_be_bytes(step);
                match absent[cell] {
                    AbsenceReason::Unspecified => message.values.push(f64::from_bits(bits)),
                    reason => {
                        message.absent_columns.push(column as u32);
                        message.absent_reasons.push(reason.into());
                    }
                }
            }
        }
        self.unpack_held(&mut unpacked);
        self.unpack_gains(&mut unpacked)?;
        Ok(unpacked)
    }

    fn headers(&self) -> Vec<v1::Frame> {
        let mut last = Times::default();
        let mut headers = Vec::with_capacity(self.windows_ns.len());
        for (frame, window_ns) in self.windows_ns.iter().enumerate() {
            last = Times {
                sequence: last.sequence.wrapping_add(self.sequence_steps[frame]),
                begin_ns: last.begin_ns.wrapping_add(self.begin_steps_ns[frame]),
                wall_offset_ns: last.wall_offset_ns.wrapping_add(self.wall_offset_steps_ns[frame]),
            };
            headers.push(v1::Frame {
                schema_id: self.schema_id,
                sequence: last.sequence,
                begin_ns: last.begin_ns,
                end_ns: last.begin_ns.saturating_add(*window_ns),
                wall_offset_ns: last.wall_offset_ns,
                ..v1::Frame::default()
            });
        }
        headers
    }

    /// For each reading why it is missing; unspecified where it isn't.
    fn absences(&self, frames: usize, columns: usize) -> Result<Vec<AbsenceReason>, BadBlock> {
        let mut absent = vec![AbsenceReason::Unspecified; frames * columns];
        for run in &self.absent {
            let (column, first) = (run.column as usize, run.first_frame as usize);
            let end = first.saturating_add(run.frames as usize);
            if column >= columns || end > frames || run.reason() == AbsenceReason::Unspecified {
                return Err(BadBlock("a missing reading lies outside of it"));
            }
            absent[column * frames + first..column * frames + end].fill(run.reason());
        }
        Ok(absent)
    }

    fn unpack_held(&self, frames: &mut [v1::Frame]) {
        let mut changes = self.held.iter().peekable();
        let mut held = BTreeMap::new();
        for (index, message) in frames.iter_mut().enumerate() {
            while let Some(change) = changes.next_if(|change| change.frame as usize <= index) {
                if change.anew {
                    held.clear();
                }
                held.extend(change.columns.iter().map(|columns| (columns.first_column, *columns)));
            }
            message.held = held.values().copied().collect();
        }
    }

    fn unpack_gains(&self, frames: &mut [v1::Frame]) -> Result<(), BadBlock> {
        let mut gains = self
            .gain_columns
            .iter()
            .zip(&self.gain_buckets)
            .zip(&self.gain_counts)
            .map(|((column, bucket), count)| (*column, *bucket, *count));
        for (message, count) in frames.iter_mut().zip(&self.gains) {
            for _ in 0..*count {
                let (column, bucket, count) =
                    gains.next().ok_or(BadBlock("its histograms' gains are cut short"))?;
                if message.histograms.last().is_none_or(|last| last.column != column) {
                    message.histograms.push(HistogramDelta { column, ..HistogramDelta::default() });
                }
                if let Some(delta) = message.histograms.last_mut() {
                    delta.buckets.push(bucket);
                    delta.counts.push(count);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u64) -> v1::Frame {
        v1::Frame {
            schema_id: 7,
            sequence,
            begin_ns: 1_000_000_000 + sequence * 100_000_000,
            end_ns: 1_000_300_000 + sequence * 100_000_000,
            wall_offset_ns: 1_700_000_000_000_000_000 - sequence.cast_signed(),
            ..v1::Frame::default()
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let gone = AbsenceReason::Gone;
        let readings = [
            vec![Ok(1.5), Ok(f64::NAN), Err(AbsenceReason::Denied)],
            vec![Err(gone), Ok(-0.0), Err(AbsenceReason::Denied)],
            vec![Err(gone), Ok(1e300), Ok(3.0)],
            vec![Ok(1.5), Ok(f64::INFINITY), Err(gone)],
        ];
        let gains = [vec![], vec![(0, 3, 2), (0, 9, 1), (4, 0, u64::MAX)], vec![(1, 1, 1)], vec![]];
        let mut builder = BlockBuilder::default();
        for _ in 0..2 {
            for (frame, (readings, gains)) in readings.iter().zip(&gains).enumerate() {
                builder.push(&header(40 + frame as u64), readings.iter().copied(), gains.iter().copied());
            }
            assert_eq!((builder.frames(), builder.schema_id()), (4, 7));
            let frames = builder.finish().unpack().unwrap();
            assert_eq!(builder.frames(), 0);
            for (frame, message) in frames.iter().enumerate() {
                let expected = header(40 + frame as u64);
                assert_eq!(
                    (message.sequence, message.begin_ns, message.end_ns, message.wall_offset_ns),
                    (expected.sequence, expected.begin_ns, expected.end_ns, expected.wall_offset_ns)
                );
                let present: Vec<_> =
                    readings[frame].iter().filter_map(|reading| reading.ok().map(f64::to_bits)).collect();
                assert_eq!(message.values.iter().copied().map(f64::to_bits).collect::<Vec<_>>(), present);
                let missing: Vec<_> = readings[frame]
                    .iter()
                    .enumerate()
                    .filter_map(|(column, reading)| Some((column as u32, i32::from(reading.err()?))))
                    .collect();
                let told: Vec<_> = message
                    .absent_columns
                    .iter()
                    .copied()
                    .zip(message.absent_reasons.iter().copied())
                    .collect();
                assert_eq!(told, missing);
                let gained: Vec<_> = message
                    .histograms
                    .iter()
                    .flat_map(|delta| {
                        delta
                            .buckets
                            .iter()
                            .zip(&delta.counts)
                            .map(move |(bucket, count)| (delta.column, *bucket, *count))
                    })
                    .collect();
                assert_eq!(gained, gains[frame]);
            }
        }
    }

    #[test]
    fn what_was_read_before_a_frame_is_said_once() {
        let held = |first_column, read_ns| HeldColumns { first_column, columns: 1, read_ns };
        let frames = [
            vec![held(0, 5), held(1, 6)],
            vec![held(0, 5), held(1, 6)],
            vec![held(0, 9), held(1, 6)],
            vec![held(1, 6)],
            vec![],
        ];
        let mut builder = BlockBuilder::default();
        for (sequence, held) in frames.iter().enumerate() {
            let header = v1::Frame { held: held.clone(), ..header(sequence as u64) };
            builder.push(&header, [Ok(1.0), Ok(2.0)].into_iter(), std::iter::empty());
        }
        let block = builder.finish();
        assert_eq!(block.held.iter().map(|change| change.columns.len()).collect::<Vec<_>>(), [2, 1, 1, 0]);
        let unpacked: Vec<_> = block.unpack().unwrap().into_iter().map(|frame| frame.held).collect();
        assert_eq!(unpacked, frames);
    }

    #[test]
    fn blocks_that_contradict_themselves_are_errors() {
        let whole = || {
            let mut builder = BlockBuilder::default();
            builder.push(&header(1), [Ok(1.0), Ok(2.0)].into_iter(), [(0, 1, 2)].into_iter());
            builder.finish()
        };
        assert!(whole().unpack().is_ok());
        let spoil: [fn(&mut FrameBlock); 7] = [
            |block| block.columns = 3,
            |block| block.columns = u32::MAX,
            |block| block.windows_ns.push(1),
            |block| block.values.truncate(3),
            |block| block.gains[0] = 9,
            |block| block.gain_counts.clear(),
            |block| block.absent.push(AbsentRun { column: 1, first_frame: 0, frames: 2, reason: 1 }),
        ];
        for spoil in spoil {
            let mut block = whole();
            spoil(&mut block);
            assert!(block.unpack().is_err(), "{block:?}");
        }
    }

    #[test]
    fn slow_values_take_little_room() {
        let mut builder = BlockBuilder::default();
        for frame in 0..10u64 {
            let readings: Vec<_> = (0..400)
                .map(|column| Ok(if column % 10 == 0 { (frame * 17) as f64 } else { 4.25 }))
                .collect();
            builder.push(&header(frame), readings.into_iter(), std::iter::empty());
        }
        assert!(builder.finish().values.len() < 10 * 400, "under a byte a value");
    }
}
