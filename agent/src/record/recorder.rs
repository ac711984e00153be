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
    v1::{RunState, record_item::Item},
};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::{
    FLIGHT, Flight, Shelf,
    flight::FlightBlock,
    frozen::{Frozen, NotFrozen},
    of_run::{RunRecord, header},
};
use crate::{
    clock,
    observe::{frame::Frame, ring::FrameRing, schema::Schema},
    run::{ActiveRun, Herald},
};

/// How often frames are taken from the ring: at 100 Hz it holds 640 ms.
const LOOK: Duration = Duration::from_millis(200);
/// How often what was gathered is packed and written: what a crash can lose.
const CUT: Duration = Duration::from_secs(1);
/// How long after a run's end the record goes on where the end was no good one: how the host comes down belongs to it.
const AFTERMATH: Duration = Duration::from_secs(2);

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
    Freeze { run_id: String, reason: String, answer: oneshot::Sender<Result<Frozen, NotFrozen>> },
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
    /// Puts the latest minute at full rate into the record of a run that is on.
    ///
    /// # Errors
    /// See [`NotFrozen`].
    pub async fn freeze(&self, run_id: &str, reason: impl Into<String>) -> Result<Frozen, NotFrozen> {
        let (answer, answered) = oneshot::channel();
        // Where it is gone, so is the answer's sender.
        let _gone =
            self.orders.send(Order::Freeze { run_id: run_id.to_owned(), reason: reason.into(), answer });
        answered.await.unwrap_or(Err(NotFrozen::Restarted))
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
                Ok(Order::Freeze { run_id, reason, answer }) => {
                    self.take_frames();
                    self.cut();
                    // Who asked may have gone.
                    let _gone = answer.send(self.freeze(&run_id, &reason));
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
            match self.freeze(&run_id, &reason) {
                // The window before has most of it.
                Ok(_) | Err(NotFrozen::JustDone { .. }) => {}
                Err(error) => warn!(%error, run = run_id, reason, "the latest minute could not be kept"),
            }
        }
        if ended.is_empty() {
            return;
        }
        let is_ended = |run: &RunRecord| ended.contains(&run.run.id);
        self.runs.iter_mut().filter(|run| is_ended(run)).for_each(RunRecord::thin_rest);
        self.cut();
        self.runs.extract_if(.., |run| is_ended(run)).for_each(RunRecord::close);
    }

    fn freeze(&mut self, run_id: &str, reason: &str) -> Result<Frozen, NotFrozen> {
        let from = clock::monotonic().saturating_sub(self.settings.frozen_before.min(FLIGHT));
        let run = self.runs.iter_mut().find(|run| run.run.id == run_id).ok_or(NotFrozen::NoRecord)?;
        run.freeze(reason, &self.flight.since(from))
    }
}
