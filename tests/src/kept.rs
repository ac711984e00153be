//! The record of a run as it lies on the agent's disk.

use std::{fs, path::PathBuf, time::Duration};

use ssts_proto::{
    record::Reader,
    v1::{Frame, ProbeStatus, RecordHead, record_item::Item},
};

use crate::{Ground, outside};

/// What a record has.
#[derive(Debug, Default)]
pub struct Record {
    /// What it begins with.
    pub head: RecordHead,
    /// How the probes were, by the latest schema.
    pub probes: Vec<ProbeStatus>,
    /// Of the run, frozen windows left out.
    pub frames: Vec<Frame>,
    /// Of frozen windows, with why each was.
    pub frozen: Vec<(String, Vec<Frame>)>,
    /// Their messages.
    pub events: Vec<String>,
    /// Frames that it is told to lack.
    pub lost: u64,
    /// Why it lacks them.
    pub reasons: Vec<String>,
    /// How often it came to have fewer frames.
    pub rates: usize,
    /// Whether it has its end.
    pub is_closed: bool,
    /// Behind the last whole item.
    pub torn_bytes: usize,
}

impl Record {
    /// Where the daemon of a ground keeps that of a run.
    pub fn path(ground: &Ground, run: &str) -> PathBuf {
        ground.state().join("runs").join(format!("{run}.rec"))
    }

    /// As it is now.
    pub fn of(ground: &Ground, run: &str) -> Self {
        let mut reader = Reader::default();
        reader.feed(&fs::read(Self::path(ground, run)).expect("it is there"));
        let mut record = Self::default();
        let mut in_window = false;
        while let Some(item) = reader.next_item().expect("it is whole up to its end") {
            match item {
                Item::Frozen(window) => {
                    in_window = !window.reason.is_empty();
                    if in_window {
                        record.frozen.push((window.reason, Vec::new()));
                    }
                }
                Item::Block(block) => {
                    let frames = block.unpack().expect("blocks that are whole can be unpacked");
                    match record.frozen.last_mut().filter(|_| in_window) {
                        Some((_, window)) => window.extend(frames),
                        None => record.frames.extend(frames),
                    }
                }
                Item::Event(event) => record.events.push(event.message),
                Item::Gap(gap) => {
                    record.lost += gap.frames;
                    record.reasons.push(gap.reason);
                }
                Item::Rate(_) => record.rates += 1,
                Item::Tail(_) => record.is_closed = true,
                Item::Head(head) => record.head = head,
                Item::Schema(schema) => record.probes = schema.probes,
            }
        }
        record.torn_bytes = reader.pending();
        record
    }

    /// Once the run is over and all of it is there.
    pub fn closed(ground: &Ground, run: &str) -> Self {
        let mut record = Self::default();
        let closed = outside::within(Duration::from_secs(10), || {
            record = Self::of(ground, run);
            record.is_closed
        });
        assert!(closed.is_some(), "it should be closed soon after its run: {record:?}");
        record
    }

    /// Waits until it is as wanted.
    pub fn until(ground: &Ground, run: &str, limit: Duration, is_so: impl Fn(&Self) -> bool) {
        let path = Self::path(ground, run);
        let came = outside::within(limit, || path.exists() && is_so(&Self::of(ground, run)));
        assert!(came.is_some(), "{:?}", Self::of(ground, run));
    }

    /// From the first frame to the last.
    pub fn span(&self) -> Duration {
        let end = |frame: Option<&Frame>| frame.map_or(0, |frame| frame.end_ns);
        Duration::from_nanos(end(self.frames.last()) - end(self.frames.first()))
    }
}
