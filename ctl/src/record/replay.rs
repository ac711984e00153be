//! What a run was like from its record, frame by frame. Frozen windows are left out: they repeat what the record has, or were before
//! the run.

use ssts_proto::v1::{Event, record_item::Item};

use crate::{
    error::Failure,
    telemetry::{Labels, Telemetry},
};

/// How far a record was read.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// As of the latest frame.
    pub(crate) telemetry: Telemetry,
    run_id: String,
    /// Unix time of 0 s, ns: when the run began, or the first frame where that is not told.
    origin_ns: Option<i64>,
    in_frozen_window: bool,
}

/// What comes next in it.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// A frame, s since the run began: telemetry has it.
    Frame(f64),
    Event(&'a Event),
    /// So many frames should be there and aren't.
    Gap(u64),
}

impl Replay {
    /// Takes in one item, and tells what is in it.
    ///
    /// # Errors
    /// The record contradicts itself.
    pub(crate) fn take(&mut self, item: Item, mut see: impl FnMut(&Self, Seen<'_>)) -> Result<(), Failure> {
        match item {
            Item::Frozen(window) => self.in_frozen_window = !window.reason.is_empty(),
            _ if self.in_frozen_window => {}
            Item::Head(head) => {
                self.origin_ns = Some(head.started_at_unix_ns);
                self.run_id = head.run_id;
            }
            Item::Schema(schema) => self.telemetry.accept_schema(schema),
            Item::Block(block) => {
                let malformed = |error: &dyn std::fmt::Display| {
                    Failure::agent(
                        format!("the record contradicts itself: {error}"),
                        "bring sstsctl and sstsd to the same version",
                    )
                };
                for frame in block.unpack().map_err(|error| malformed(&error))? {
                    self.telemetry.accept_frame(&frame).map_err(|error| malformed(&error))?;
                    let at_unix_ns = frame.end_ns.cast_signed().saturating_add(frame.wall_offset_ns);
                    let origin_ns = *self.origin_ns.get_or_insert(at_unix_ns);
                    see(self, Seen::Frame((at_unix_ns - origin_ns) as f64 / 1e9));
                }
            }
            Item::Event(event) => see(self, Seen::Event(&event)),
            Item::Gap(gap) => see(self, Seen::Gap(gap.frames)),
            Item::Rate(_) | Item::Tail(_) => {}
        }
        Ok(())
    }

    /// When that was, s since the run began; nothing before that is known.
    pub(crate) fn second(&self, at_unix_ns: i64) -> Option<f64> {
        self.origin_ns.map(|origin_ns| (at_unix_ns - origin_ns) as f64 / 1e9)
    }

    /// Whether a reading is of the run or of no run: what others did meanwhile is in the record, too.
    pub(crate) fn is_own(&self, labels: &Labels) -> bool {
        let run = labels.get("run");
        run.is_empty() || run == self.run_id
    }
}
