//! What the agent's flight recorder had when it was asked: the frames stay packed, and those around an instant are unpacked
//! when they are looked at.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ssts_proto::v1::{Frame, FrameBlock, HistogramDelta, Schema, record_item::Item};

use super::{heat::Heat, unix_ns};
use crate::telemetry::Telemetry;

/// So much before an instant is read for its rates: longer than the slowest source that is shown takes between two readings.
const RUN_UP: Duration = Duration::from_millis(2_500);

/// A copy of the flight recorder.
#[derive(Debug, Default)]
pub(super) struct History {
    blocks: Vec<Packed>,
    schema: Option<Arc<Schema>>,
    heat: Heat,
    telemetry: Telemetry,
}

#[derive(Debug)]
struct Packed {
    first_unix_ns: i64,
    last_unix_ns: i64,
    schema: Arc<Schema>,
    block: FrameBlock,
}

impl History {
    /// Adds what the agent sent. What contradicts itself is an error in words.
    pub(super) fn take(&mut self, item: Item) -> Result<(), String> {
        match item {
            Item::Schema(schema) => {
                self.telemetry.accept_schema(schema.clone());
                self.schema = Some(Arc::new(schema));
            }
            Item::Block(block) => {
                let schema = self.schema.clone().ok_or("frames came before their columns")?;
                let frames = block.unpack().map_err(|error| error.to_string())?;
                for frame in &frames {
                    self.telemetry.accept_frame(frame).map_err(|error| error.to_string())?;
                    self.heat.accept(&self.telemetry, unix_ns(frame));
                }
                if let (Some(first), Some(last)) = (frames.first(), frames.last()) {
                    let (first_unix_ns, last_unix_ns) = (unix_ns(first), unix_ns(last));
                    self.blocks.push(Packed { first_unix_ns, last_unix_ns, schema, block });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The first and the last instant that it knows of, Unix time.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        Some((self.blocks.first()?.first_unix_ns, self.blocks.last()?.last_unix_ns))
    }

    /// The latency of disks over its time.
    pub(super) fn heat(&self) -> &Heat {
        &self.heat
    }

    /// The readings of an instant, with rates over `window`, and the instant of the frame that has them. Nothing where it has
    /// no frame at or before that instant.
    pub(super) fn at(&self, at_unix_ns: i64, window: Duration) -> Option<(Telemetry, i64)> {
        let window_ns = i64::try_from(window.as_nanos()).ok()?;
        let from = at_unix_ns.checked_sub(i64::try_from(RUN_UP.as_nanos()).ok()?)?.checked_sub(window_ns)?;
        let mut frames: Vec<(&Arc<Schema>, Frame)> = Vec::new();
        let near = |packed: &&Packed| packed.last_unix_ns >= from && packed.first_unix_ns <= at_unix_ns;
        for packed in self.blocks.iter().filter(near) {
            let unpacked = packed.block.unpack().ok()?.into_iter();
            let unpacked = unpacked.filter(|frame| (from..=at_unix_ns).contains(&unix_ns(frame)));
            frames.extend(unpacked.map(|frame| (&packed.schema, frame)));
        }
        // The last one, and before it always the first that is a window away.
        let mut shown = vec![false; frames.len()];
        let mut next = i64::MAX;
        for (index, (_, frame)) in frames.iter().enumerate().rev() {
            if unix_ns(frame) <= next {
                shown[index] = true;
                // Ticks are never quite on time.
                next = unix_ns(frame) - window_ns * 19 / 20;
            }
        }
        let mut telemetry = Telemetry::default();
        let mut schema: Option<&Arc<Schema>> = None;
        let mut gathered = Vec::new();
        let mut latest = None;
        for ((of, mut frame), shown) in frames.into_iter().zip(shown) {
            if schema.is_none_or(|known| !Arc::ptr_eq(known, of)) {
                telemetry.accept_schema(Schema::clone(of));
                schema = Some(of);
                gathered.clear();
            }
            // Those between only add what they counted.
            gathered.append(&mut frame.histograms);
            if shown {
                latest = Some(unix_ns(&frame));
                let histograms = merged(std::mem::take(&mut gathered));
                telemetry.accept_frame(&Frame { histograms, ..frame }).ok()?;
            }
        }
        Some((telemetry, latest?))
    }
}

/// One delta for each histogram.
fn merged(deltas: Vec<HistogramDelta>) -> Vec<HistogramDelta> {
    let mut all: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for delta in deltas {
        for (bucket, count) in delta.buckets.into_iter().zip(delta.counts) {
            *all.entry((delta.column, bucket)).or_default() += count;
        }
    }
    let mut merged: Vec<HistogramDelta> = Vec::new();
    for ((column, bucket), count) in all {
        if merged.last().is_none_or(|last| last.column != column) {
            merged.push(HistogramDelta { column, ..HistogramDelta::default() });
        }
        if let Some(last) = merged.last_mut() {
            last.buckets.push(bucket);
            last.counts.push(count);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use ssts_proto::{
        catalogue,
        record::BlockBuilder,
        v1::{AbsenceReason, HistogramLayout},
    };

    use super::*;
    use crate::telemetry::tests::{column, histogram};

    /// Ten frames a second from 100 s to 110 s: a counter that gains 5 a second, and a request in each frame.
    fn recorded() -> History {
        let mut history = History::default();
        let schema = Schema {
            id: 1,
            columns: vec![column(&catalogue::HOST_CPU_FORKS, &[])],
            histograms: vec![histogram(&catalogue::BLOCK_LATENCY, &["vda", "read"])],
            layouts: vec![HistogramLayout { upper_bounds: vec![10_000, 20_000] }],
            ..Schema::default()
        };
        history.take(Item::Schema(schema)).unwrap();
        let mut builder = BlockBuilder::default();
        for tenth in 0..100u64 {
            let end_ns = 100_000_000_000 + tenth * 100_000_000;
            let header = Frame { schema_id: 1, begin_ns: end_ns - 1_000, end_ns, ..Frame::default() };
            let forks = Ok::<_, AbsenceReason>(tenth as f64 * 0.5);
            builder.push(&header, [forks].into_iter(), [(0, 1, 1)].into_iter());
            if tenth % 10 == 9 {
                history.take(Item::Block(builder.finish())).unwrap();
            }
        }
        history
    }

    #[test]
    fn an_instant_has_its_rates_and_all_that_was_counted_in_its_window() {
        let history = recorded();
        assert_eq!(history.span(), Some((100_000_000_000, 109_900_000_000)));
        let (telemetry, at) = history.at(105_020_000_000, Duration::from_millis(500)).unwrap();
        assert_eq!(at, 105_000_000_000);
        let rates: Vec<f64> = telemetry.rates(&catalogue::HOST_CPU_FORKS).map(|(_, rate)| rate).collect();
        assert_eq!(rates, [5.0]);
        let requests = telemetry.counts(&catalogue::BLOCK_LATENCY).map(|(_, counts)| counts.total());
        assert_eq!(requests.collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn before_its_first_frame_and_long_after_its_last_it_knows_nothing() {
        let history = recorded();
        assert!(history.at(99_000_000_000, Duration::from_millis(250)).is_none());
        assert!(
            history.at(999_000_000_000, Duration::from_millis(250)).is_none(),
            "long gone is not shown as present"
        );
    }

    #[test]
    fn frames_without_columns_are_an_error() {
        let mut builder = BlockBuilder::default();
        builder.push(&Frame::default(), [Ok::<_, AbsenceReason>(1.0)].into_iter(), std::iter::empty());
        let error = History::default().take(Item::Block(builder.finish()));
        assert_eq!(error, Err("frames came before their columns".into()));
    }
}
