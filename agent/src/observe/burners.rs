//! What burners do, read from their control blocks.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use ssts_agent_ebpf::histogram::Layout;
use ssts_proto::catalogue as metrics;

use super::{
    frame::{BucketGain, Frame},
    schema::{Column, HistogramColumn, Schema},
    source::Source,
};
use crate::burn::control::{ControlBlock, LATENCY, Slot};

/// Of frames, coarser than what results are made from, so that a frame stays small: an error of at most 6.25 %.
const FRAME_LATENCY: Layout = Layout::new(4, 40);

/// The burners that are there now, of all runs. Supervisors change it, the tick reads it.
#[derive(Debug, Default)]
pub struct BurnerBoard {
    /// Held for moments only: the tick looks at it.
    burners: Mutex<Vec<BoardEntry>>,
    /// The same, for whoever makes a new list of it.
    changing: Mutex<Vec<BoardEntry>>,
    generation: AtomicU64,
}

/// One burner on the board.
#[derive(Debug, Clone)]
pub struct BoardEntry {
    /// The run that it belongs to.
    pub run: Arc<str>,
    /// `<phase>.<burner>`, by their places in the scenario: unique in its run.
    pub id: String,
    /// `cpu`, `disk`.
    pub kind: &'static str,
    /// Whether a load of the core is asked of it.
    pub has_target: bool,
    /// Names of the latencies that its workers record.
    pub latencies: &'static [&'static str],
    /// Where it counts.
    pub block: Arc<ControlBlock>,
}

impl BurnerBoard {
    /// Replaces those of one run.
    pub fn set(&self, run: &str, burners: Vec<BoardEntry>) {
        let mut all = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|entry| &*entry.run != run);
        all.extend(burners);
        // Nothing is allocated or freed while the tick may wait.
        let new = all.clone();
        let old = std::mem::replace(&mut *self.lock(), new);
        self.generation.fetch_add(1, Ordering::Release);
        drop(all);
        drop(old);
    }

    /// Calls `each` with every burner's control block.
    pub fn for_each_block(&self, mut each: impl FnMut(&ControlBlock)) {
        self.lock().iter().for_each(|entry| each(&entry.block));
    }

    /// Calls `each` with the control block of every burner of one run.
    pub fn for_each_block_of(&self, run: &str, mut each: impl FnMut(&ControlBlock)) {
        self.lock().iter().filter(|entry| &*entry.run == run).for_each(|entry| each(&entry.block));
    }

    /// Calls `each` with the control block of every burner of one run that holds a load.
    pub fn for_each_loaded_block_of(&self, run: &str, mut each: impl FnMut(&ControlBlock)) {
        let entries = self.lock();
        entries
            .iter()
            .filter(|entry| entry.has_target && &*entry.run == run)
            .for_each(|entry| each(&entry.block));
    }

    /// The burners of one run.
    pub fn of(&self, run: &str) -> Vec<BoardEntry> {
        let all = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|entry| &*entry.run == run).cloned().collect()
    }

    /// Whether another run has burners here, too.
    pub fn is_shared(&self, run: &str) -> bool {
        self.lock().iter().any(|entry| &*entry.run != run)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<BoardEntry>> {
        // A list of handles can't be left half-changed.
        self.burners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BoardEntry {
    /// Its phase and its place there.
    pub fn place(&self) -> Option<(usize, usize)> {
        let (phase, burner) = self.id.split_once('.')?;
        Some((phase.parse().ok()?, burner.parse().ok()?))
    }
}

/// Reads the control blocks of the burners on a board.
#[derive(Debug)]
pub struct Burners {
    board: Arc<BurnerBoard>,
    generation: u64,
    burners: Vec<Burner>,
}

#[derive(Debug)]
struct Burner {
    block: Arc<ControlBlock>,
    prepared: Column,
    targets: Vec<Column>,
    on_cpu: Vec<Column>,
    sums: [Column; SUMS.len()],
    latencies: Vec<Latency>,
}

#[derive(Debug)]
struct Latency {
    column: HistogramColumn,
    /// What each of the control block's buckets held at the previous tick, all workers together.
    before: Vec<u64>,
}

type Sum = (&'static metrics::Metric, fn(&Slot) -> &AtomicU64);
/// Counters that are added up over workers.
static SUMS: [Sum; 5] = [
    (&metrics::BURNER_OPERATIONS, |slot| &slot.operations),
    (&metrics::BURNER_BYTES, |slot| &slot.bytes),
    (&metrics::BURNER_FLOPS, |slot| &slot.flops),
    (&metrics::BURNER_VERIFY_ERRORS, |slot| &slot.verify_errors),
    (&metrics::BURNER_IO_ERRORS, |slot| &slot.io_errors),
];

impl Burners {
    /// Of those on `board`.
    pub fn new(board: Arc<BurnerBoard>) -> Self {
        Self { board, generation: 0, burners: Vec::new() }
    }
}

impl Source for Burners {
    fn describe(&mut self, schema: &mut Schema) {
        self.generation = self.board.generation.load(Ordering::Acquire);
        let old = std::mem::take(&mut self.burners);
        for entry in self.board.lock().iter() {
            let labels = [&*entry.run, entry.id.as_str(), entry.kind];
            let prepared = schema.column(&metrics::BURNER_PREPARED, &labels);
            let mut by_worker = |metric| -> Vec<Column> {
                (0..entry.block.workers())
                    .map(|worker| {
                        schema.column(metric, &[labels[0], labels[1], labels[2], &worker.to_string()])
                    })
                    .collect()
            };
            let targets = if entry.has_target { by_worker(&metrics::BURNER_TARGET) } else { Vec::new() };
            let on_cpu = by_worker(&metrics::BURNER_ON_CPU_TIME);
            let sums = SUMS.each_ref().map(|(metric, _)| schema.column(metric, &labels));
            let known = old.iter().find(|burner| Arc::ptr_eq(&burner.block, &entry.block));
            let mut latency = |(operation, name): (usize, &&str)| Latency {
                column: schema.histogram(
                    &metrics::BURNER_LATENCY,
                    &[labels[0], labels[1], labels[2], name],
                    FRAME_LATENCY,
                ),
                before: known.map_or_else(
                    || vec![0; LATENCY.buckets()],
                    |known| known.latencies[operation].before.clone(),
                ),
            };
            let latencies = entry.latencies.iter().enumerate().map(&mut latency).collect();
            self.burners.push(Burner {
                block: entry.block.clone(),
                prepared,
                targets,
                on_cpu,
                sums,
                latencies,
            });
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        for burner in &mut self.burners {
            let block = &burner.block;
            let slots = || (0..block.workers()).map(|worker| block.slot(worker));
            // The slowest worker's.
            let prepared = slots().map(|slot| slot.prepared_ppm.load(Ordering::Relaxed)).min();
            frame.set(burner.prepared, Ok(f64::from(prepared.unwrap_or_default()) / 1e6));
            for (column, slot) in burner.targets.iter().zip(slots()) {
                frame.set(*column, Ok(f64::from(slot.target_ppm.load(Ordering::Relaxed)) / 1e6));
            }
            for (column, slot) in burner.on_cpu.iter().zip(slots()) {
                frame.set(*column, Ok(slot.on_cpu_ns.load(Ordering::Relaxed) as f64 / 1e9));
            }
            for (column, (_, counter)) in burner.sums.iter().zip(&SUMS) {
                let sum: u64 = slots().map(|slot| counter(slot).load(Ordering::Relaxed)).sum();
                frame.set(*column, Ok(sum as f64));
            }
            for (operation, latency) in burner.latencies.iter_mut().enumerate() {
                latency.sample(block, operation, frame);
            }
        }
    }

    fn changed(&self) -> bool {
        self.board.generation.load(Ordering::Acquire) != self.generation
    }
}

impl Latency {
    fn sample(&mut self, block: &ControlBlock, operation: usize, frame: &mut Frame) {
        let mut gain = BucketGain { column: self.column, bucket: 0, count: 0 };
        for (fine, before) in self.before.iter_mut().enumerate() {
            let now = block.latency_sum(operation, fine);
            let count = now.wrapping_sub(*before);
            if count == 0 {
                continue;
            }
            *before = now;
            let bucket = FRAME_LATENCY.index(LATENCY.lower_bound(fine)) as u32;
            if bucket != gain.bucket && gain.count > 0 {
                frame.gain(gain);
                gain.count = 0;
            }
            gain = BucketGain { bucket, count: gain.count + count, ..gain };
        }
        if gain.count > 0 {
            frame.gain(gain);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn latencies_reach_a_frame_once_in_rising_buckets() {
        let block = Arc::new(ControlBlock::create(2, 2, Duration::from_secs(1)).unwrap());
        let board = Arc::new(BurnerBoard::default());
        let entry = BoardEntry {
            run: "a".into(),
            id: "0.0".into(),
            kind: "disk",
            has_target: false,
            latencies: &["read", "write"],
            block: block.clone(),
        };
        board.set("a", vec![entry]);
        let mut source = Burners::new(board);
        assert!(source.changed());
        let mut schema = Schema::new(1);
        source.describe(&mut schema);
        assert!(!source.changed());
        for (worker, value) in [(0, 1_000), (0, 1_001), (1, 1_000), (1, 900_000)] {
            block.latency(worker, 0)[LATENCY.index(value)].fetch_add(1, Ordering::Relaxed);
        }
        let mut frame = Frame::default();
        frame.reset(&schema, 1);
        source.sample(&mut frame);
        let gains: Vec<_> = frame.gains().iter().map(|gain| (gain.bucket as usize, gain.count)).collect();
        assert_eq!(gains, [(FRAME_LATENCY.index(1_000), 3), (FRAME_LATENCY.index(900_000), 1)]);
        frame.reset(&schema, 2);
        source.sample(&mut frame);
        assert!(frame.gains().is_empty());
    }
}
