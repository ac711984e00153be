//! The record of a run that is on: what is added to it, and what no more once it grows large.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ssts_proto::{
    record::{BlockBuilder, append},
    v1::{
        Cause, Event, EventKind, Frame as Header, FrozenWindow, RecordGap, RecordHead, RecordRate,
        RecordTail, record_item::Item,
    },
};
use tracing::warn;

use super::{
    Shelf,
    file::RecordFile,
    flight::FlightBlock,
    frozen::{Frozen, NotFrozen},
    thinner::Thinner,
};
use crate::{clock, observe::frame::Frame, run::ActiveRun};

/// Beyond half of its size a record gets so many frames a second.
const REDUCED_HZ: f64 = 1.0;
/// Why frames are lost at the end of a long run.
const FULL: &str = "the record has reached record.max_run_bytes";
/// Windows are frozen no more often than this: they overlap anyway.
const LEAST_APART: Duration = Duration::from_secs(10);

/// One of them.
#[derive(Debug)]
pub(super) struct RunRecord {
    pub(super) run: Arc<ActiveRun>,
    file: RecordFile,
    max_bytes: u64,
    events: usize,
    /// The schema item that was written last.
    schema: Option<Arc<[u8]>>,
    frames: u64,
    lost_frames: u64,
    /// Those of all runs.
    lost_of_all: Arc<AtomicU64>,
    /// Lost and not told of yet.
    untold: u64,
    untold_reason: String,
    /// Beyond half of its size.
    thinner: Option<(Thinner, BlockBuilder)>,
    is_full: bool,
    pub(super) is_troubled: bool,
    /// When a window was frozen last, CLOCK_MONOTONIC.
    frozen: Option<Duration>,
    pub(super) close_at: Option<Duration>,
}

impl RunRecord {
    pub(super) fn begin(
        run: Arc<ActiveRun>,
        file: RecordFile,
        max_bytes: u64,
        lost_of_all: Arc<AtomicU64>,
    ) -> Self {
        let head = RecordHead {
            run_id: run.id.clone(),
            scenario: run.admitted.scenario.name.clone(),
            started_at_unix_ns: run.summary().started_at_unix_ns,
            hostname: nix::unistd::gethostname()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .map(|id| id.trim().to_owned())
                .unwrap_or_default(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
        };
        let mut record = Self {
            run,
            file,
            max_bytes,
            events: 0,
            schema: None,
            frames: 0,
            lost_frames: 0,
            lost_of_all,
            untold: 0,
            untold_reason: String::new(),
            thinner: None,
            is_full: false,
            is_troubled: false,
            frozen: None,
            close_at: None,
        };
        let mut items = Vec::new();
        append(Item::Head(head), &mut items);
        let _told = record.append(&items, 0);
        record
    }

    /// Writes the events that are new. Gives why the latest minute is to be kept at full rate, where one of them is a reason.
    pub(super) fn take_events(&mut self) -> Option<String> {
        let events = self.run.events_from(self.events);
        if events.is_empty() {
            return None;
        }
        let count = events.len();
        let reason = events.iter().find_map(|event| self.reason_to_freeze(event));
        self.is_troubled |= reason.is_some();
        let mut items = Vec::new();
        for event in events {
            append(Item::Event(event), &mut items);
        }
        // What could not be written is tried again.
        if !self.append(&items, 0) {
            return None;
        }
        self.events += count;
        reason
    }

    /// Takes in a frame where not all are kept.
    pub(super) fn thin(&mut self, frame: &Frame) {
        let Some((thinner, builder)) = &mut self.thinner else { return };
        if let Some(gains) = thinner.pass(frame, Duration::from_secs_f64(1.0 / REDUCED_HZ)) {
            builder.push(&header(frame), frame.readings().iter().copied(), gains.into_iter());
        }
    }

    /// Before a block is cut after which nothing is added to its columns.
    pub(super) fn thin_rest(&mut self) {
        let Some((thinner, builder)) = &mut self.thinner else { return };
        if let Some((frame, gains)) = thinner.rest() {
            builder.push(&header(frame), frame.readings().iter().copied(), gains.into_iter());
        }
    }

    /// Adds a block of all frames, or, where not all are kept, of those that are.
    pub(super) fn write(&mut self, block: &FlightBlock, frames: u64, shelf: &Shelf) {
        if self.is_full {
            self.lose(frames, FULL);
            return;
        }
        let mut items = Vec::new();
        let mut frames = frames;
        let same_schema = self.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, &block.schema));
        if !same_schema {
            items.extend_from_slice(&block.schema);
        }
        match &mut self.thinner {
            None => items.extend_from_slice(&block.block),
            Some((_, builder)) => {
                frames = builder.frames() as u64;
                if frames > 0 {
                    append(Item::Block(builder.finish()), &mut items);
                }
            }
        }
        if self.file.bytes() + items.len() as u64 > self.max_bytes {
            self.is_full = true;
            // Nothing is gathered any more that nobody would write.
            self.thinner = None;
            self.lose(frames, FULL);
            warn!(run = self.run.id, "its record is full: telemetry is no longer kept");
            return;
        }
        if self.append(&items, frames) {
            self.schema = Some(block.schema.clone());
        }
        if self.thinner.is_none() && self.file.bytes() > self.max_bytes / 2 {
            shelf.make_room(self.max_bytes / 2);
            let mut items = Vec::new();
            append(Item::Rate(RecordRate { frames_per_s: REDUCED_HZ }), &mut items);
            let _told = self.append(&items, 0);
            self.thinner = Some(Default::default());
        }
    }

    /// Adds what the flight recorder has, or as much of the latest as there is room for, unless it has just done so.
    ///
    /// # Errors
    /// See [`NotFrozen`]; nothing was added then.
    pub(super) fn freeze(&mut self, reason: &str, blocks: &[FlightBlock]) -> Result<Frozen, NotFrozen> {
        let now = clock::monotonic();
        if self.is_full {
            return Err(NotFrozen::Full);
        }
        let ago = self.frozen.map(|last| now.saturating_sub(last));
        if let Some(ago) = ago.filter(|ago| *ago < LEAST_APART) {
            return Err(NotFrozen::JustDone { ago_s: ago.as_secs() });
        }
        let mut items = window_item(reason);
        let end = window_item("");
        let taken = self.file.bytes() + (items.len() + end.len()) as u64;
        let kept = latest_within(blocks, self.max_bytes.saturating_sub(taken));
        let (Some(first), Some(last)) = (kept.first(), kept.last()) else {
            return Err(if blocks.is_empty() { NotFrozen::Nothing } else { NotFrozen::Full });
        };
        let frozen =
            Frozen { span: last.end.saturating_sub(first.begin), is_shortened: kept.len() < blocks.len() };
        let mut schema: Option<&Arc<[u8]>> = None;
        for block in kept {
            if schema.is_none_or(|known| !Arc::ptr_eq(known, &block.schema)) {
                items.extend_from_slice(&block.schema);
                schema = Some(&block.schema);
            }
            items.extend_from_slice(&block.block);
        }
        items.extend(end);
        // What follows names its columns anew.
        self.schema = None;
        if !self.append(&items, 0) {
            return Err(NotFrozen::Unwritable(self.untold_reason.clone()));
        }
        self.frozen = Some(now);
        Ok(frozen)
    }

    pub(super) fn lose(&mut self, frames: u64, reason: &str) {
        self.lost_frames += frames;
        self.lost_of_all.fetch_add(frames, Ordering::Relaxed);
        self.untold += frames;
        if self.untold_reason != reason {
            reason.clone_into(&mut self.untold_reason);
        }
    }

    /// Adds items that hold so many frames; whether they are there now.
    fn append(&mut self, items: &[u8], frames: u64) -> bool {
        let mut all = Vec::new();
        if self.untold > 0 {
            let gap = RecordGap { frames: self.untold, reason: self.untold_reason.clone() };
            append(Item::Gap(gap), &mut all);
        }
        all.extend_from_slice(items);
        match self.file.append(&all) {
            Ok(()) => {
                (self.frames, self.untold) = (self.frames + frames, 0);
                true
            }
            Err(error) => {
                if self.untold == 0 {
                    warn!(%error, run = self.run.id, "its record can't be written for now");
                }
                // The next one says the columns again: nobody knows what is there.
                self.schema = None;
                self.lose(frames, &error.to_string());
                false
            }
        }
    }

    /// Why an event makes the latest minute worth keeping at full rate.
    fn reason_to_freeze(&self, event: &Event) -> Option<String> {
        let cause = || self.run.summary().cause();
        match event.kind() {
            EventKind::GuardTripped => Some(format!("guard tripped: {}", event.message)),
            EventKind::HardwareError => Some(format!("hardware error: {}", event.message)),
            EventKind::RunStopping if matches!(cause(), Cause::WrongData | Cause::IoErrors) => {
                Some(event.message.clone())
            }
            _ => None,
        }
    }

    pub(super) fn close(mut self) {
        let _told_already = self.take_events();
        let mut items = Vec::new();
        append(Item::Tail(RecordTail { frames: self.frames, lost_frames: self.lost_frames }), &mut items);
        let _told = self.append(&items, 0);
    }
}

/// All that a message says of a frame beside its samples.
pub(super) fn header(frame: &Frame) -> Header {
    Header { held: frame.held(), ..frame.header() }
}

/// The begin of a frozen window, or, without a reason, its end.
fn window_item(reason: &str) -> Vec<u8> {
    let mut item = Vec::new();
    let window = FrozenWindow { reason: reason.into(), at_unix_ns: clock::unix_ns() };
    append(Item::Frozen(window), &mut item);
    item
}

/// The latest blocks that take `room` bytes at most, with the items that name their columns.
fn latest_within(blocks: &[FlightBlock], room: u64) -> &[FlightBlock] {
    let mut bytes = 0;
    let mut first = blocks.len();
    for (index, block) in blocks.iter().enumerate().rev() {
        let same_schema = blocks.get(index + 1).is_some_and(|next| Arc::ptr_eq(&next.schema, &block.schema));
        bytes += block.block.len() as u64 + if same_schema { 0 } else { block.schema.len() as u64 };
        if bytes > room {
            break;
        }
        first = index;
    }
    &blocks[first..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_the_oldest_and_each_schema_is_counted_once() {
        let schemas: [Arc<[u8]>; 2] = [vec![0; 10].into(), vec![0; 20].into()];
        let block = |second: u64, schema: usize| FlightBlock {
            begin: Duration::from_secs(second),
            end: Duration::from_secs(second + 1),
            schema: schemas[schema].clone(),
            block: vec![0; 100].into(),
        };
        let blocks = [block(0, 0), block(1, 0), block(2, 1), block(3, 1)];
        let kept = |room| latest_within(&blocks, room).len();
        let kept: Vec<_> = [119, 120, 219, 220, 329, 330, 429, 430].map(kept).into();
        assert_eq!(kept, [0, 1, 1, 2, 2, 3, 3, 4]);
        assert_eq!(latest_within(&blocks, 120)[0].begin, Duration::from_secs(3));
        assert_eq!(latest_within(&[], 1_000).len(), 0);
    }
}
