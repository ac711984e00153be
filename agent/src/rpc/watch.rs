//! The stream of `Watch`: states, events and frames as they come, at the caller's rate, of the metrics that it wants.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ssts_proto::v1::{self, RunState, WatchRequest, WatchResponse, watch_response::Item};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    clock,
    observe::{
        frame::{Frame, hold},
        ring::FrameRing,
        schema::{ColumnDescription, Schema},
    },
    run::{ActiveRun, Engine},
};

/// Items that wait for a caller who reads slowly; behind them the ring waits, and then frames are lost and counted.
const WAITING: usize = 16;
/// Clocks of caller and tick beat against each other: a frame this much early still counts as due.
const EARLY: f64 = 0.95;

/// Between two tellings of how far guards are from their limits.
const GUARDS_EVERY: Duration = Duration::from_secs(1);

/// What `Watch` returns.
pub(super) type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

/// Starts a stream of the host, or of one run. It ends with the run, or when the caller goes.
pub(super) fn start(
    ring: Arc<FrameRing>,
    engine: Arc<Engine>,
    run: Option<Arc<ActiveRun>>,
    request: WatchRequest,
) -> WatchStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    let watch = Watch::new(ring, engine, run, request, sender);
    tokio::spawn(async move {
        // The caller has gone: nobody is left to tell.
        let _gone = watch.run().await;
    });
    ReceiverStream::new(receiver)
}

struct Watch {
    ring: Arc<FrameRing>,
    engine: Arc<Engine>,
    guards: Guards,
    run: Option<Arc<ActiveRun>>,
    wants: Wants,
    sender: mpsc::Sender<Result<WatchResponse, Status>>,
    /// Frames of the ring that were read.
    read: u64,
    events: usize,
    state: Option<Stand>,
    view: View,
    last_sent: Option<Duration>,
    /// The last frame that was read.
    previous: Frame,
}

/// Where a run stands: told whenever it changes. Its state, its phase, and whether it is ready while it is held.
type Stand = (RunState, Option<u32>, Option<bool>);

/// What was told of guards.
#[derive(Default)]
struct Guards {
    states: Vec<i32>,
    /// CLOCK_MONOTONIC.
    told: Option<Duration>,
}

struct Wants {
    states: bool,
    events: bool,
    frames: bool,
    least_interval: Duration,
    prefixes: Vec<String>,
}

struct Gone;

impl Watch {
    fn new(
        ring: Arc<FrameRing>,
        engine: Arc<Engine>,
        run: Option<Arc<ActiveRun>>,
        request: WatchRequest,
        sender: mpsc::Sender<Result<WatchResponse, Status>>,
    ) -> Self {
        let all = !(request.states || request.events || request.frames);
        let wants = Wants {
            states: all || request.states,
            events: all || request.events,
            frames: all || request.frames,
            least_interval: request
                .max_rate_hz
                .map_or(Duration::ZERO, |hz| Duration::from_secs_f64(EARLY / hz)),
            prefixes: request.metric_prefixes,
        };
        // From now on, not from what the ring remembers.
        let read = ring.published();
        Self {
            ring,
            engine,
            guards: Guards::default(),
            run,
            wants,
            sender,
            read,
            events: 0,
            state: None,
            view: View::default(),
            last_sent: None,
            previous: Frame::default(),
        }
    }

    async fn run(mut self) -> Result<(), Gone> {
        let mut frames = self.ring.subscribe();
        let mut changes = self.run.as_ref().map(|run| run.changes());
        loop {
            let finished = self.send_run().await?;
            if self.wants.states {
                self.send_guards().await?;
            }
            if self.wants.frames {
                self.send_frames().await?;
            }
            if finished {
                return Ok(());
            }
            let changed = async {
                match &mut changes {
                    Some(changes) => changes.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                alive = frames.changed() => alive.map_err(|_| Gone)?,
                _ = changed => {}
                () = self.sender.closed() => return Err(Gone),
            }
        }
    }

    /// Events and state of the run; whether it is over.
    async fn send_run(&mut self) -> Result<bool, Gone> {
        let Some(run) = self.run.clone() else { return Ok(false) };
        // Where it stands first, so that a caller knows what the events are of.
        if self.state.is_none() {
            self.send_state(&run).await?;
        }
        // Read before the events: what led to a state is told before it.
        let finished = run.state() == RunState::Finished;
        if self.wants.events {
            for event in run.events_from(self.events) {
                self.events += 1;
                self.send(Item::Event(event)).await?;
            }
        }
        self.send_state(&run).await?;
        Ok(finished)
    }

    async fn send_state(&mut self, run: &ActiveRun) -> Result<(), Gone> {
        let summary = run.summary();
        let is_ready = summary.prepared.map(|prepared| prepared.ready);
        let state = (summary.state(), summary.phase_index, is_ready);
        if self.state == Some(state) {
            return Ok(());
        }
        self.state = Some(state);
        if self.wants.states { self.send(Item::State(summary)).await } else { Ok(()) }
    }

    /// When one of them has changed its state, and once a second.
    async fn send_guards(&mut self) -> Result<(), Gone> {
        let host = self.engine.guards();
        let guards = match &self.run {
            Some(run) => run.guard_statuses(host),
            None => host,
        };
        let states: Vec<i32> = guards.iter().map(|guard| guard.state).collect();
        let now = clock::monotonic();
        let is_due = self.guards.told.is_none_or(|told| now.saturating_sub(told) >= GUARDS_EVERY);
        if states == self.guards.states && !is_due {
            return Ok(());
        }
        self.guards = Guards { states, told: Some(now) };
        self.send(Item::Guards(v1::GuardStates { guards })).await
    }

    async fn send_frames(&mut self) -> Result<(), Gone> {
        let mut frame = Frame::default();
        while let Some((schema, lost)) = self.ring.read_after(self.read, &mut frame) {
            self.read += lost + 1;
            if lost > 0 {
                self.send(Item::Lagged(v1::Lagged { dropped: lost })).await?;
            }
            // What was gathered since the last frame that was sent belongs to the old columns.
            if self.view.schema_id != Some(schema.id) && !self.view.gained.is_empty() {
                let message = self.view.message(&self.previous);
                self.send(Item::Frame(message)).await?;
            }
            let run = self.run.as_ref().map(|run| run.id.as_str());
            if let Some(message) = self.view.follow(&schema, run, &self.wants.prefixes) {
                self.send(Item::Schema(message)).await?;
            }
            self.view.gather(&frame);
            let due =
                self.last_sent.is_none_or(|last| frame.end.saturating_sub(last) >= self.wants.least_interval);
            if due {
                self.last_sent = Some(frame.end);
                let message = self.view.message(&frame);
                self.send(Item::Frame(message)).await?;
            }
            std::mem::swap(&mut self.previous, &mut frame);
        }
        Ok(())
    }

    async fn send(&self, item: Item) -> Result<(), Gone> {
        self.sender.send(Ok(WatchResponse { item: Some(item) })).await.map_err(|_| Gone)
    }
}

/// The columns that one caller sees, numbered anew, and what their histograms gained since its last frame.
#[derive(Default)]
struct View {
    schema_id: Option<u32>,
    /// For each scalar column whether it is seen.
    columns: Vec<bool>,
    /// For each histogram its number among those that are seen.
    histograms: Vec<Option<u32>>,
    gained: BTreeMap<(u32, u32), u64>,
}

impl View {
    /// The filtered schema, when it is another than before. Who watches one run does not see what is of others.
    fn follow(&mut self, schema: &Schema, run: Option<&str>, prefixes: &[String]) -> Option<v1::Schema> {
        if self.schema_id == Some(schema.id) {
            return None;
        }
        self.schema_id = Some(schema.id);
        self.gained.clear();
        let wanted = |column: &ColumnDescription| {
            let name = column.metric.name;
            let is_named = prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix));
            let is_anothers = run.is_some_and(|own| column.run().is_some_and(|run| run != own));
            is_named && !is_anothers
        };
        self.columns = schema.columns.iter().map(wanted).collect();
        let mut next = 0..;
        self.histograms = schema
            .histograms
            .iter()
            .map(|histogram| wanted(&histogram.column).then(|| next.next()).flatten())
            .collect();
        let mut message = v1::Schema::from(schema);
        let mut seen = self.columns.iter();
        message.columns.retain(|_| seen.next().is_some_and(|seen| *seen));
        let mut seen = self.histograms.iter();
        message.histograms.retain(|_| seen.next().is_some_and(Option::is_some));
        Some(message)
    }

    fn gather(&mut self, frame: &Frame) {
        for gain in frame.gains() {
            if let Some(column) = self.histograms[gain.column.index()] {
                *self.gained.entry((column, gain.bucket)).or_default() += gain.count;
            }
        }
    }

    fn message(&mut self, frame: &Frame) -> v1::Frame {
        let mut message = frame.header();
        let seen = frame.readings_in_time().zip(&self.columns).filter(|(_, seen)| **seen);
        for (index, ((reading, read), _)) in (0..).zip(seen) {
            match reading {
                Ok(value) => message.values.push(value),
                Err(reason) => {
                    message.absent_columns.push(index);
                    message.absent_reasons.push(reason.into());
                }
            }
            if read < frame.begin {
                hold(&mut message.held, index, clock::ns(read));
            }
        }
        for ((column, bucket), count) in std::mem::take(&mut self.gained) {
            if message.histograms.last().is_none_or(|last| last.column != column) {
                message.histograms.push(v1::HistogramDelta { column, ..Default::default() });
            }
            if let Some(delta) = message.histograms.last_mut() {
                delta.buckets.push(bucket);
                delta.counts.push(count);
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use ssts_agent_ebpf::histogram::Layout;
    use ssts_proto::{catalogue as metrics, v1::AbsenceReason};

    use super::*;
    use crate::observe::frame::BucketGain;

    #[test]
    fn a_view_renumbers_what_it_shows_and_keeps_what_frames_left_out_gained() {
        let mut schema = Schema::new(3);
        let _hidden = schema.column(&metrics::HOST_CPU_FORKS, &[]);
        let free = schema.column(&metrics::HOST_MEMORY_FREE, &[]);
        let dirty = schema.column(&metrics::HOST_MEMORY_DIRTY, &[]);
        let layout = Layout::new(4, 36);
        let hidden = schema.histogram(&metrics::RUNQUEUE_LATENCY, &["0"], layout);
        let shown = schema.histogram(&metrics::BLOCK_LATENCY, &["vda", "read"], layout);
        let mut view = View::default();
        let message = view.follow(&schema, None, &["host.memory".into(), "block".into()]).unwrap();
        assert_eq!((message.columns.len(), message.histograms.len()), (2, 1));
        assert!(view.follow(&schema, None, &[]).is_none());
        let mut frame = Frame::default();
        for _ in 0..2 {
            frame.reset(&schema, 1);
            frame.set(free, Ok(5.0));
            frame.set(dirty, Err(AbsenceReason::Denied));
            frame.gain(BucketGain { column: hidden, bucket: 1, count: 1 });
            frame.gain(BucketGain { column: shown, bucket: 7, count: 2 });
            view.gather(&frame);
        }
        let message = view.message(&frame);
        assert_eq!((message.values, message.absent_columns), (vec![5.0], vec![1]));
        assert_eq!(message.histograms.len(), 1);
        assert_eq!((message.histograms[0].column, &message.histograms[0].counts[..]), (0, &[4][..]));
        assert!(view.message(&frame).histograms.is_empty());
    }

    #[test]
    fn what_was_read_before_the_window_is_told_in_ranges() {
        let mut schema = Schema::new(1);
        let columns = [
            &metrics::HOST_MEMORY_FREE,
            &metrics::HOST_MEMORY_DIRTY,
            &metrics::HOST_MEMORY_CACHED,
            &metrics::HOST_MEMORY_TOTAL,
        ]
        .map(|metric| schema.column(metric, &[]));
        let mut frame = Frame::default();
        frame.reset(&schema, 1);
        (frame.begin, frame.end) = (Duration::from_nanos(900), Duration::from_nanos(950));
        for (column, read_ns) in columns.into_iter().zip([500, 500, 0, 700]) {
            frame.hold(column, Ok(1.0), Duration::from_nanos(read_ns));
        }
        let mut view = View::default();
        view.follow(&schema, None, &[]).unwrap();
        let held: Vec<_> = view
            .message(&frame)
            .held
            .iter()
            .map(|held| (held.first_column, held.columns, held.read_ns))
            .collect();
        assert_eq!(held, [(0, 2, 500), (3, 1, 700)]);
    }
}
