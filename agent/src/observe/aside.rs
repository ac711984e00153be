//! Readings that may take long: a sensor behind a slow bus, a file for each of a thousand cores. They are taken beside the
//! tick, on a thread of their own; the tick shows the latest with the instant at which it was read, and none that is too old.

use std::{
    io,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use ssts_proto::{catalogue::AGENT_SOURCE_AGE, v1::AbsenceReason};
use tracing::warn;

use super::{
    frame::{Frame, Reading},
    schema::{Column, ColumnDescription, Schema},
    source::Source,
};
use crate::{
    clock,
    realtime::{self, Duty},
};

/// How long a start waits for readings that guards rely on, so that the first frame has what is quick.
const PATIENCE: Duration = Duration::from_millis(10);

/// How a thread reads.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From the beginning of one reading to that of the next; later where reading takes longer.
    pub period: Duration,
    /// A reading older than this is no longer shown.
    pub stale_after: Duration,
    /// Guards rely on it: burners can't starve it, and its start waits some milliseconds for the first readings.
    pub guarded: bool,
}

/// Sources with a thread of their own. It ends by itself when this is dropped, after the read that it hangs in.
#[derive(Debug)]
pub struct Aside {
    name: String,
    stale_after: Duration,
    shared: Arc<Shared>,
    thread: Thread,
    /// What the present columns show.
    table: Arc<Table>,
    columns: Vec<Column>,
    age: Option<Column>,
}

/// What the thread and the tick share.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// Of the latest table.
    generation: AtomicU64,
    /// Held for moments only.
    table: Mutex<Arc<Table>>,
    /// Rounds that were read.
    rounds: AtomicU64,
}

/// The columns of the sources and their latest readings.
#[derive(Debug, Default)]
struct Table {
    generation: u64,
    columns: Vec<ColumnDescription>,
    cells: Vec<Cell>,
}

/// One reading. Its halves are written one after the other, the instant last: a reader may take a new reading for an older
/// one, never the other way round.
#[derive(Debug)]
struct Cell {
    reading: AtomicU64,
    /// When it was read, CLOCK_MONOTONIC; 0 before the first time.
    read_ns: AtomicU64,
}

impl Aside {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel's, when it has no thread left.
    pub fn start(name: &str, pace: Pace, mut sources: Vec<Box<dyn Source>>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            table: Mutex::default(),
            rounds: AtomicU64::new(0),
        });
        let theirs = shared.clone();
        let starter = thread::current();
        // Linux keeps 15 bytes of it.
        let handle = thread::Builder::new().name(name.chars().take(15).collect()).spawn(move || {
            if pace.guarded
                && let Err(error) = realtime::enter(Duty::Read)
            {
                warn!(%error, "a sensors' thread has no real-time priority: under full load it may be late");
            }
            theirs.read_on(&mut sources, pace.period, &starter);
        })?;
        let begin = clock::monotonic();
        while pace.guarded && shared.rounds.load(Ordering::Acquire) == 0 {
            let Some(left) = PATIENCE.checked_sub(clock::monotonic().saturating_sub(begin)) else { break };
            thread::park_timeout(left);
        }
        Ok(Self {
            name: name.to_owned(),
            stale_after: pace.stale_after,
            shared,
            thread: handle.thread().clone(),
            table: Arc::default(),
            columns: Vec::new(),
            age: None,
        })
    }
}

impl Source for Aside {
    fn describe(&mut self, schema: &mut Schema) {
        self.table = self.shared.table().clone();
        self.columns = self
            .table
            .columns
            .iter()
            .map(|column| {
                let labels: Vec<&str> = column.labels.iter().map(String::as_str).collect();
                schema.column(column.metric, &labels)
            })
            .collect();
        let any = !self.columns.is_empty();
        self.age = any.then(|| schema.column(&AGENT_SOURCE_AGE, &[&self.name]));
    }

    fn sample(&mut self, frame: &mut Frame) {
        let now = clock::monotonic();
        let mut oldest = now;
        for (column, cell) in self.columns.iter().zip(&self.table.cells) {
            let Some((reading, read)) = cell.load() else {
                frame.set(*column, Err(AbsenceReason::Pending));
                continue;
            };
            oldest = oldest.min(read);
            let stale = now.saturating_sub(read) > self.stale_after;
            frame.hold(*column, if stale { Err(AbsenceReason::Stale) } else { reading }, read);
        }
        if let Some(age) = self.age {
            frame.set(age, Ok((now - oldest).as_secs_f64()));
        }
    }

    fn changed(&self) -> bool {
        self.shared.generation.load(Ordering::Acquire) != self.table.generation
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

impl Shared {
    fn read_on(&self, sources: &mut [Box<dyn Source>], period: Duration, starter: &Thread) {
        let mut frame = Frame::default();
        let mut described = None;
        let mut next = clock::monotonic();
        while !self.stop.load(Ordering::Relaxed) {
            if described.is_none() || sources.iter().any(|source| source.changed()) {
                described = Some(self.describe(sources));
            }
            let Some((schema, table, spans)) = &described else { return };
            let round_began = clock::monotonic();
            frame.reset(schema, 0);
            for (source, span) in sources.iter_mut().zip(spans) {
                let began = clock::monotonic();
                source.sample(&mut frame);
                for index in span.clone() {
                    table.cells[index].store(frame.readings()[index], began);
                }
            }
            if self.rounds.fetch_add(1, Ordering::Release) == 0 {
                starter.unpark();
            }
            // What a slow round missed is not made up for.
            let now = clock::monotonic();
            // A source that keeps its core busy for as long as it is read leaves half of it to others.
            next = if next + period > now { next + period } else { now + (now - round_began).min(period) };
            self.sleep_until(next);
        }
    }

    /// Puts a table for the columns of now in place of the old one.
    fn describe(&self, sources: &mut [Box<dyn Source>]) -> (Schema, Arc<Table>, Vec<Range<usize>>) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        let mut schema = Schema::new(1);
        let spans = sources
            .iter_mut()
            .map(|source| {
                let begin = schema.columns.len();
                source.describe(&mut schema);
                begin..schema.columns.len()
            })
            .collect();
        let columns = schema.columns.clone();
        let cells = columns.iter().map(|_| Cell::default()).collect();
        let table = Arc::new(Table { generation, columns, cells });
        *self.table() = table.clone();
        self.generation.store(generation, Ordering::Release);
        (schema, table, spans)
    }

    fn sleep_until(&self, instant: Duration) {
        while !self.stop.load(Ordering::Relaxed) {
            match instant.checked_sub(clock::monotonic()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return,
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Arc<Table>> {
        // Nobody can leave half a change behind.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A quiet NaN with this in its payload is no number but a reason: below it the reason's own number.
const REASON: u64 = 0x7ff8_5757_0000_0000;

impl Cell {
    fn store(&self, reading: Reading, read: Duration) {
        let bits = match reading {
            Ok(value) if value.is_nan() => REASON | AbsenceReason::Malformed as u64,
            Ok(value) => value.to_bits(),
            Err(reason) => REASON | reason as u64,
        };
        self.reading.store(bits, Ordering::Relaxed);
        self.read_ns.store(clock::ns(read), Ordering::Release);
    }

    /// The latest reading and when it was taken, once there is one.
    fn load(&self) -> Option<(Reading, Duration)> {
        let read_ns = self.read_ns.load(Ordering::Acquire);
        let bits = self.reading.load(Ordering::Relaxed);
        let value = f64::from_bits(bits);
        let reason = || i32::try_from(bits & u64::from(u32::MAX)).ok();
        let reading = if value.is_nan() {
            Err(reason()
                .and_then(|number| AbsenceReason::try_from(number).ok())
                .unwrap_or(AbsenceReason::ReadFailed))
        } else {
            Ok(value)
        };
        (read_ns > 0).then(|| (reading, Duration::from_nanos(read_ns)))
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self { reading: AtomicU64::new(REASON | AbsenceReason::Pending as u64), read_ns: AtomicU64::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use ssts_proto::catalogue::{HOST_MEMORY_DIRTY, HOST_MEMORY_FREE};

    use super::*;

    const PACE: Pace =
        Pace { period: Duration::from_millis(2), stale_after: Duration::from_millis(300), guarded: false };

    /// Reads what it is sent; hangs while nothing comes.
    #[derive(Debug)]
    struct Bus {
        values: mpsc::Receiver<f64>,
        column: Option<Column>,
        metric: &'static ssts_proto::catalogue::Metric,
        changed: Arc<AtomicBool>,
    }

    impl Source for Bus {
        fn describe(&mut self, schema: &mut Schema) {
            self.changed.store(false, Ordering::Relaxed);
            self.column = Some(schema.column(self.metric, &[]));
        }

        fn sample(&mut self, frame: &mut Frame) {
            let value = self.values.recv().map_err(|_| AbsenceReason::Gone);
            frame.set(self.column.unwrap(), value);
        }

        fn changed(&self) -> bool {
            self.changed.load(Ordering::Relaxed)
        }
    }

    fn bus(metric: &'static ssts_proto::catalogue::Metric) -> (mpsc::Sender<f64>, Arc<AtomicBool>, Box<Bus>) {
        let (sender, values) = mpsc::channel();
        let changed = Arc::new(AtomicBool::new(false));
        (sender, changed.clone(), Box::new(Bus { values, column: None, metric, changed }))
    }

    /// What the tick shows, again and again until it is as wanted.
    fn until(aside: &mut Aside, wanted: impl Fn(&[Reading]) -> bool) -> Vec<Reading> {
        for _ in 0..5_000 {
            let mut schema = Schema::new(1);
            aside.describe(&mut schema);
            let mut frame = Frame::default();
            frame.reset(&schema, 1);
            aside.sample(&mut frame);
            if wanted(frame.readings()) {
                return frame.readings().to_vec();
            }
            thread::sleep(Duration::from_millis(1));
        }
        Vec::new()
    }

    #[test]
    fn one_that_hangs_does_not_hold_up_the_tick_and_goes_stale() {
        let (sender, _, bus) = bus(&HOST_MEMORY_FREE);
        let begin = clock::monotonic();
        let mut aside = Aside::start("bus", PACE, vec![bus]).unwrap();
        assert!(clock::monotonic() - begin < Duration::from_secs(2), "a start waits for nobody");
        assert!(
            !until(&mut aside, |readings| readings.first() == Some(&Err(AbsenceReason::Pending))).is_empty()
        );
        sender.send(5.0).unwrap();
        let shown = until(&mut aside, |readings| readings.first() == Some(&Ok(5.0)));
        // Its age is a column of its own.
        assert!(shown[1].unwrap() < 0.3, "{shown:?}");
        let shown = until(&mut aside, |readings| readings.first() == Some(&Err(AbsenceReason::Stale)));
        assert!(shown[1].unwrap() >= 0.3, "{shown:?}");
        // The reading that hung began too long ago to be shown; the one after it is fresh.
        sender.send(6.0).unwrap();
        sender.send(6.0).unwrap();
        assert!(!until(&mut aside, |readings| readings.first() == Some(&Ok(6.0))).is_empty());
        drop(sender);
        assert!(
            !until(&mut aside, |readings| readings.first() == Some(&Err(AbsenceReason::Gone))).is_empty()
        );
    }

    #[test]
    fn a_source_that_changes_asks_for_a_new_schema() {
        let (first, _, first_bus) = bus(&HOST_MEMORY_FREE);
        let (second, changed, second_bus) = bus(&HOST_MEMORY_DIRTY);
        let mut aside = Aside::start("bus", PACE, vec![first_bus, second_bus]).unwrap();
        let send = || {
            first.send(1.0).unwrap();
            second.send(2.0).unwrap();
        };
        send();
        assert!(!until(&mut aside, |shown| shown.get(..2) == Some(&[Ok(1.0), Ok(2.0)])).is_empty());
        assert!(!aside.changed());
        changed.store(true, Ordering::Relaxed);
        // The round that waits ends, and the next one describes.
        send();
        send();
        assert!((0..5_000).any(|_| {
            thread::sleep(Duration::from_millis(1));
            aside.changed()
        }));
        assert!(!until(&mut aside, |shown| shown.get(..2) == Some(&[Ok(1.0), Ok(2.0)])).is_empty());
        assert!(!aside.changed());
    }

    #[test]
    fn every_reading_survives_its_cell() {
        let cell = Cell::default();
        assert_eq!(cell.load(), None);
        let read = Duration::from_nanos(7);
        for reading in
            [Ok(0.0), Ok(-273.15), Ok(f64::MAX), Err(AbsenceReason::Gone), Err(AbsenceReason::Stale)]
        {
            cell.store(reading, read);
            assert_eq!(cell.load(), Some((reading, read)));
        }
        cell.store(Ok(f64::NAN), read);
        assert_eq!(cell.load(), Some((Err(AbsenceReason::Malformed), read)));
    }
}
