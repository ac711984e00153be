//! The thread that packs frames, keeps the latest in memory and writes a run's to its record.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ssts_proto::{
    record::{BlockBuilder, append},
    v1::{
        Cause, Event, EventKind, Frame as Header, FrozenWindow, RecordGap, RecordHead, RecordRate,
        RecordTail, RunState, record_item::Item,
    },
};
use tracing::{error, warn};

use super::{FLIGHT, Flight, Shelf, file::RecordFile, flight::FlightBlock, thinner::Thinner};
use crate::{
    clock,
    observe::{frame::Frame, ring::FrameRing, schema::Schema},
    run::{ActiveRun, Herald},
};

/// How often frames are taken from the ring: at 100 Hz it holds 640 ms.
const LOOK: Duration = Duration::from_millis(200);
/// How often what was gathered is packed and written: what a crash can lose.
const CUT: Duration = Duration::from_secs(1);
/// Beyond half of its size a record gets so many frames a second.
const REDUCED_HZ: f64 = 1.0;
/// How long after a run's end the record goes on where the end was no good one: how the host comes down belongs to it.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Why frames are lost at the end of a long run.
const FULL: &str = "the record has reached record.max_run_bytes";
/// Windows are frozen no more often than this: they overlap anyway.
const LEAST_APART: Duration = Duration::from_secs(10);

/// How much of a run is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSettings {
    /// What its record may grow to.
    pub max_run_bytes: u64,
    /// How much of the flight recorder goes into it when it is frozen.
    pub frozen_before: Duration,
}

/// What the recorder is told.
#[derive(Debug)]
enum Order {
    Record(Arc<ActiveRun>),
    Freeze { run_id: String, reason: String },
    End,
}

/// The running recorder. It ends, and closes what it writes, when this is dropped.
#[derive(Debug)]
pub struct Recorder {
    orders: mpsc::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the recorder what to do.
#[derive(Debug, Clone)]
pub struct Recording {
    orders: mpsc::Sender<Order>,
    lost_frames: Arc<AtomicU64>,
}

impl Herald for Recording {
    /// Keeps its telemetry from now to its end.
    fn run_started(&self, run: &Arc<ActiveRun>) {
        // It is gone only when the daemon ends.
        let _gone = self.orders.send(Order::Record(run.clone()));
    }
}

impl Recording {
    /// Puts the latest minute at full rate into the record of a run that is on, or does nothing where it is not.
    pub fn freeze(&self, run_id: &str, reason: impl Into<String>) {
        let _gone = self.orders.send(Order::Freeze { run_id: run_id.to_owned(), reason: reason.into() });
    }

    /// Frames that the records of all runs lack, since the agent began.
    pub fn lost_frames(&self) -> u64 {
        self.lost_frames.load(Ordering::Relaxed)
    }
}

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel's, when it has no thread left.
    pub fn start(
        settings: RecordSettings,
        ring: Arc<FrameRing>,
        shelf: Arc<Shelf>,
        flight: Arc<Flight>,
    ) -> io::Result<(Self, Recording)> {
        let (orders, taken) = mpsc::channel();
        let lost_frames = Arc::new(AtomicU64::new(0));
        let recording = Recording { orders: orders.clone(), lost_frames: lost_frames.clone() };
        let thread = thread::Builder::new().name("recorder".into()).spawn(move || {
            // The records of the runs that are on end there; the next one's is kept.
            while panic::catch_unwind(AssertUnwindSafe(|| {
                Thread {
                    settings,
                    ring: ring.clone(),
                    shelf: shelf.clone(),
                    flight: flight.clone(),
                    read: ring.published(),
                    frame: Frame::default(),
                    builder: BlockBuilder::default(),
                    schema: None,
                    began: Duration::ZERO,
                    ended: Duration::ZERO,
                    runs: Vec::new(),
                    lost_frames: lost_frames.clone(),
                }
                .run(&taken);
            }))
            .is_err()
            {
                error!("a bug in the recorder: telemetry up to the next run is not kept");
            }
        })?;
        Ok((Self { orders, thread: Some(thread) }, recording))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _it_panicked = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _it_panicked = thread.join();
        }
    }
}

#[derive(Debug)]
struct Thread {
    settings: RecordSettings,
    ring: Arc<FrameRing>,
    shelf: Arc<Shelf>,
    flight: Arc<Flight>,
    /// Frames of the ring that were read.
    read: u64,
    frame: Frame,
    builder: BlockBuilder,
    /// Of what the builder holds, with its item.
    schema: Option<(Arc<Schema>, Arc<[u8]>)>,
    began: Duration,
    ended: Duration,
    runs: Vec<RunRecord>,
    lost_frames: Arc<AtomicU64>,
}

impl Thread {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        let mut next_look = clock::monotonic() + LOOK;
        loop {
            match orders.recv_timeout(next_look.saturating_sub(clock::monotonic())) {
                Ok(Order::Record(run)) => {
                    // What came before it is none of its record, and what is over needs none of what comes.
                    self.take_frames();
                    self.cut();
                    self.follow_runs();
                    self.open(run);
                }
                Ok(Order::Freeze { run_id, reason }) => {
                    self.take_frames();
                    self.cut();
                    self.freeze(&run_id, &reason);
                }
                Ok(Order::End) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            // Also where orders come one after the other.
            if clock::monotonic() >= next_look {
                self.take_frames();
                self.follow_runs();
                next_look = clock::monotonic() + LOOK;
            }
        }
        self.take_frames();
        self.cut();
        self.runs.drain(..).for_each(RunRecord::close);
    }

    fn take_frames(&mut self) {
        while let Some((schema, lost)) = self.ring.read_after(self.read, &mut self.frame) {
            self.read += lost + 1;
            if self.schema.as_ref().is_none_or(|(known, _)| known.id != schema.id) {
                self.runs.iter_mut().for_each(RunRecord::thin_rest);
                self.cut();
                let mut item = Vec::new();
                append(Item::Schema((&*schema).into()), &mut item);
                self.schema = Some((schema, item.into()));
            }
            if lost > 0 {
                self.cut();
                for run in &mut self.runs {
                    run.lose(lost, "the recorder could not follow");
                }
            }
            if self.builder.frames() == 0 {
                self.began = self.frame.begin;
            }
            self.ended = self.frame.end;
            let gains =
                self.frame.gains().iter().map(|gain| (gain.column.index() as u32, gain.bucket, gain.count));
            self.builder.push(&header(&self.frame), self.frame.readings().iter().copied(), gains);
            self.runs.iter_mut().for_each(|run| run.thin(&self.frame));
            if self.ended.saturating_sub(self.began) >= CUT {
                self.cut();
            }
        }
    }

    /// Packs what was gathered: for the flight recorder, and for the records of runs.
    fn cut(&mut self) {
        let frames = self.builder.frames();
        let Some((_, schema)) = self.schema.clone().filter(|_| frames > 0) else { return };
        let mut block = Vec::new();
        append(Item::Block(self.builder.finish()), &mut block);
        let block = FlightBlock { begin: self.began, end: self.ended, schema, block: block.into() };
        for run in &mut self.runs {
            run.write(&block, frames as u64, &self.shelf);
        }
        self.flight.push(block);
    }

    fn open(&mut self, run: Arc<ActiveRun>) {
        self.shelf.make_room(self.settings.max_run_bytes);
        match self.shelf.create(&run.id) {
            Ok(file) => {
                let lost = self.lost_frames.clone();
                self.runs.push(RunRecord::begin(run, file, self.settings.max_run_bytes, lost));
            }
            Err(error) => error!(%error, run = run.id, "the telemetry of a run can't be kept"),
        }
    }

    /// Writes what happened; closes the records of runs that are over.
    fn follow_runs(&mut self) {
        let mut reasons = Vec::new();
        let mut ended = Vec::new();
        let now = clock::monotonic();
        for run in &mut self.runs {
            // Read before the events: none comes after it.
            let is_over = run.run.state() == RunState::Finished;
            reasons.extend(run.take_events().map(|reason| (run.run.id.clone(), reason)));
            let aftermath = if run.is_troubled { AFTERMATH } else { Duration::ZERO };
            if is_over && now >= *run.close_at.get_or_insert(now + aftermath) {
                ended.push(run.run.id.clone());
            }
        }
        if !reasons.is_empty() {
            self.cut();
        }
        for (run_id, reason) in reasons {
            self.freeze(&run_id, &reason);
        }
        if ended.is_empty() {
            return;
        }
        let is_ended = |run: &RunRecord| ended.contains(&run.run.id);
        self.runs.iter_mut().filter(|run| is_ended(run)).for_each(RunRecord::thin_rest);
        self.cut();
        self.runs.extract_if(.., |run| is_ended(run)).for_each(RunRecord::close);
    }

    fn freeze(&mut self, run_id: &str, reason: &str) {
        let from = clock::monotonic().saturating_sub(self.settings.frozen_before.min(FLIGHT));
        if let Some(run) = self.runs.iter_mut().find(|run| run.run.id == run_id) {
            run.freeze(reason, &self.flight.since(from));
        }
    }
}

/// The record of a run that is on.
#[derive(Debug)]
struct RunRecord {
    run: Arc<ActiveRun>,
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
    is_troubled: bool,
    /// When a window was frozen last, CLOCK_MONOTONIC.
    frozen: Option<Duration>,
    close_at: Option<Duration>,
}

impl RunRecord {
    fn begin(run: Arc<ActiveRun>, file: RecordFile, max_bytes: u64, lost_of_all: Arc<AtomicU64>) -> Self {
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
    fn take_events(&mut self) -> Option<String> {
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
    fn thin(&mut self, frame: &Frame) {
        let Some((thinner, builder)) = &mut self.thinner else { return };
        if let Some(gains) = thinner.pass(frame, Duration::from_secs_f64(1.0 / REDUCED_HZ)) {
            builder.push(&header(frame), frame.readings().iter().copied(), gains.into_iter());
        }
    }

    /// Before a block is cut after which nothing is added to its columns.
    fn thin_rest(&mut self) {
        let Some((thinner, builder)) = &mut self.thinner else { return };
        if let Some((frame, gains)) = thinner.rest() {
            builder.push(&header(frame), frame.readings().iter().copied(), gains.into_iter());
        }
    }

    /// Adds a block of all frames, or, where not all are kept, of those that are.
    fn write(&mut self, block: &FlightBlock, frames: u64, shelf: &Shelf) {
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

    /// Adds what the flight recorder has, unless it has just done so.
    fn freeze(&mut self, reason: &str, blocks: &[FlightBlock]) {
        let now = clock::monotonic();
        if self.is_full {
            return;
        }
        if self.frozen.is_some_and(|last| now.saturating_sub(last) < LEAST_APART) {
            return;
        }
        self.frozen = Some(now);
        let frozen = |reason: &str| {
            let mut item = Vec::new();
            append(
                Item::Frozen(FrozenWindow { reason: reason.into(), at_unix_ns: clock::unix_ns() }),
                &mut item,
            );
            item
        };
        let mut items = frozen(reason);
        let mut schema: Option<&Arc<[u8]>> = None;
        for block in blocks {
            if schema.is_none_or(|known| !Arc::ptr_eq(known, &block.schema)) {
                items.extend_from_slice(&block.schema);
                schema = Some(&block.schema);
            }
            items.extend_from_slice(&block.block);
        }
        items.extend(frozen(""));
        // What follows names its columns anew.
        self.schema = None;
        let _told = self.append(&items, 0);
    }

    fn lose(&mut self, frames: u64, reason: &str) {
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

    fn close(mut self) {
        let _told_already = self.take_events();
        let mut items = Vec::new();
        append(Item::Tail(RecordTail { frames: self.frames, lost_frames: self.lost_frames }), &mut items);
        let _told = self.append(&items, 0);
    }
}

/// All that a message says of a frame beside its samples.
fn header(frame: &Frame) -> Header {
    Header { held: frame.held(), ..frame.header() }
}
