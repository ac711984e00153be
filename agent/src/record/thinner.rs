//! Leaves frames out, and none of what histograms gained in them.

use std::{collections::BTreeMap, time::Duration};

use crate::observe::frame::Frame;

/// Lets one frame pass in each interval.
#[derive(Debug, Default)]
pub(super) struct Thinner {
    schema_id: u32,
    last: Option<Duration>,
    gained: Gained,
    /// The latest frame that was left out.
    left_out: Frame,
}

/// What histograms gained: column, bucket, count.
type Gains = Vec<(u32, u32, u64)>;
/// By column and bucket.
type Gained = BTreeMap<(u32, u32), u64>;

impl Thinner {
    /// Takes in a frame. Gives what histograms gained since the last one that passed, when this one is to pass.
    pub(super) fn pass(&mut self, frame: &Frame, interval: Duration) -> Option<Gains> {
        if self.schema_id != frame.schema_id {
            // Their columns are no more; whoever needs them asked for the rest.
            self.gained.clear();
            self.schema_id = frame.schema_id;
        }
        for gain in frame.gains() {
            *self.gained.entry((gain.column.index() as u32, gain.bucket)).or_default() += gain.count;
        }
        // Ticks are not exact to the nanosecond.
        if self.last.is_some_and(|last| frame.end.saturating_sub(last) < interval.mul_f64(0.95)) {
            self.left_out.copy_from(frame);
            return None;
        }
        self.last = Some(frame.end);
        Some(flat(std::mem::take(&mut self.gained)))
    }

    /// Before the columns change, or the record ends: the latest frame, where what histograms gained was not yet given.
    pub(super) fn rest(&mut self) -> Option<(&Frame, Gains)> {
        let gained = std::mem::take(&mut self.gained);
        (!gained.is_empty()).then(|| (&self.left_out, flat(gained)))
    }
}

fn flat(gained: Gained) -> Gains {
    gained.into_iter().map(|((column, bucket), count)| (column, bucket, count)).collect()
}

#[cfg(test)]
mod tests {
    use ssts_agent_ebpf::histogram::Layout;
    use ssts_proto::catalogue::BLOCK_LATENCY;

    use super::*;
    use crate::observe::{frame::BucketGain, schema::Schema};

    #[test]
    fn one_frame_a_second_passes_with_all_that_was_gained() {
        let mut schema = Schema::new(1);
        let column = schema.histogram(&BLOCK_LATENCY, &["vda", "read"], Layout::new(4, 36));
        let mut thinner = Thinner::default();
        let mut frame = Frame::default();
        let mut passed = Vec::new();
        for tick in 0..40u64 {
            frame.reset(&schema, tick);
            frame.end = Duration::from_millis(tick * 100);
            frame.gain(BucketGain { column, bucket: 3, count: 2 });
            passed.extend(thinner.pass(&frame, Duration::from_secs(1)));
        }
        let one = |count| vec![(0, 3, count)];
        assert_eq!(passed, [one(2), one(20), one(20), one(20)]);
        let (last, gained) = thinner.rest().unwrap();
        assert_eq!((last.end, gained), (Duration::from_millis(3_900), one(18)));
        assert!(thinner.rest().is_none(), "it is given once");
    }
}
