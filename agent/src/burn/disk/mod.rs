//! The disk burner: reads or writes an unnamed file through io_uring, past the page cache where the file system allows it.

mod file;
mod load;
mod ring;

use std::{sync::atomic::Ordering, time::Duration};

pub use file::DiskFile;
pub use load::{Direction, DiskLoad};
pub use ring::Ring;

use super::{
    BurnError, control,
    plan::Plan,
    random,
    worker::{Flow, Prepared, Reins, Worker},
};
use crate::clock;

/// The longest wait for a completion between two looks at the command.
const LONGEST_WAIT: Duration = Duration::from_millis(2);
/// How often CPU time and elapsed time are published.
const PUBLISH: Duration = Duration::from_millis(20);

/// A worker for each core of the plan.
pub(super) fn crew(plan: &Plan, load: &DiskLoad) -> Vec<Box<dyn Worker>> {
    let seeds = (0..plan.cores.len()).map(|worker| plan.seed.wrapping_add(worker as u64));
    let worker = |seed| -> Box<dyn Worker> { Box::new(DiskWorker { load: load.clone(), seed, ready: None }) };
    seeds.map(worker).collect()
}

/// Drives one file from one core.
#[derive(Debug)]
struct DiskWorker {
    load: DiskLoad,
    seed: u64,
    ready: Option<Ring>,
}

impl Worker for DiskWorker {
    fn prepare(&mut self, reins: &Reins) -> Result<Prepared, BurnError> {
        let file = DiskFile::create(&self.load.path)?;
        file.fill(&self.load, self.seed, reins)?;
        let mut notices = Vec::new();
        if !file.is_direct() {
            notices.push(format!(
                "{}: the file system has no direct I/O; the page cache takes part in what is measured",
                self.load.path.display()
            ));
        }
        let order = if self.load.random { "random" } else { "sequential" };
        let direction = self.load.direction.name();
        let way = if file.is_direct() { "direct" } else { "buffered" };
        let ring = Ring::new(file.into_file(), self.load.depth, self.load.block_bytes, self.seed)
            .map_err(BurnError::Ring)?;
        self.ready = Some(ring);
        Ok(Prepared { variant: format!("{order} {direction}, {way}, io_uring"), notices })
    }

    fn burn(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let ring = self.ready.as_mut().ok_or(BurnError::Interrupted)?;
        Burning::start(&self.load, self.seed, reins).run(ring, reins)
    }
}

/// One phase's I/Os.
struct Burning<'a> {
    load: &'a DiskLoad,
    random_state: u64,
    next_block: u64,
    blocks: u64,
    /// When each I/O in flight was submitted, or due; by buffer, CLOCK_BOOTTIME.
    since: Vec<Duration>,
    free: Vec<u32>,
    /// When the clock started; moved on by pauses.
    origin: Duration,
    origin_cpu: Duration,
    started: u64,
    published: Duration,
}

impl<'a> Burning<'a> {
    fn start(load: &'a DiskLoad, seed: u64, reins: &Reins) -> Self {
        let now = clock::boottime();
        reins.slot().first_burn_ns.store(clock::ns(now), Ordering::Relaxed);
        Self {
            load,
            random_state: seed,
            next_block: 0,
            blocks: load.size_bytes / u64::from(load.block_bytes),
            since: vec![Duration::ZERO; load.depth as usize],
            free: (0..load.depth).collect(),
            origin: now,
            origin_cpu: clock::thread_cpu(),
            started: 0,
            published: Duration::ZERO,
        }
    }

    fn run(mut self, ring: &mut Ring, reins: &Reins) -> Result<(), BurnError> {
        loop {
            match reins.check() {
                Flow::Stop => break,
                Flow::Resumed(paused) => {
                    self.origin += paused;
                    // What was in flight did not take longer for it.
                    self.since.iter_mut().for_each(|since| *since += paused);
                    continue;
                }
                Flow::Burn => {}
            }
            let next_due = self.submit(ring, clock::boottime());
            let now = clock::boottime();
            let until_due = next_due.map_or(LONGEST_WAIT, |due| due.saturating_sub(now));
            if self.free.len() < self.since.len() {
                ring.submit_and_wait(until_due.min(LONGEST_WAIT)).map_err(BurnError::Ring)?;
                self.complete(ring, reins);
            } else {
                reins.sleep_until((now + until_due).min(reins.end()));
            }
            let elapsed = clock::boottime().saturating_sub(self.origin);
            if elapsed >= self.published + PUBLISH {
                self.publish(elapsed, reins);
            }
        }
        // The slowest I/Os are those still in flight: without them the histogram would flatter the device. Should they
        // hang, the daemon ends this process.
        while self.free.len() < self.since.len() {
            ring.submit_and_wait(LONGEST_WAIT).map_err(BurnError::Ring)?;
            self.complete(ring, reins);
        }
        self.publish(clock::boottime().saturating_sub(self.origin), reins);
        Ok(())
    }

    /// Starts what is due, as far as buffers are free. Says when the next I/O is due, where that is what it waits for.
    fn submit(&mut self, ring: &mut Ring, now: Duration) -> Option<Duration> {
        while let Some(&buffer) = self.free.last() {
            let due = self.load.rate_per_s.map(|rate| self.origin + due_after(self.started, rate));
            if due.is_some_and(|due| due > now) {
                return due;
            }
            self.free.pop();
            let block = self.pick_block();
            ring.start(buffer, self.load.direction, block * u64::from(self.load.block_bytes));
            // With a rate, latency counts from when the I/O was due: a stall delays those behind it, and that shows.
            self.since[buffer as usize] = due.unwrap_or(now);
            self.started += 1;
        }
        None
    }

    fn pick_block(&mut self) -> u64 {
        if self.load.random {
            return random::below(&mut self.random_state, self.blocks);
        }
        let block = self.next_block;
        self.next_block = (block + 1) % self.blocks;
        block
    }

    fn complete(&mut self, ring: &mut Ring, reins: &Reins) {
        let now = clock::boottime();
        let slot = reins.slot();
        let block_bytes = self.load.block_bytes;
        let (mut done, mut failed) = (0, 0);
        let operation = self.load.direction.latency();
        let Self { since, free, .. } = self;
        ring.completed(|buffer, result| {
            free.push(buffer);
            let errno = match result {
                Ok(bytes) if bytes == block_bytes => {
                    done += 1;
                    reins.count_latency(operation, clock::ns(now.saturating_sub(since[buffer as usize])));
                    return;
                }
                Ok(_) => control::SHORT_TRANSFER,
                Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
            };
            failed += 1;
            // The first one stays.
            let _was_set = slot.io_errno.compare_exchange(
                0,
                errno.cast_unsigned(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        });
        control::add(&slot.operations, done);
        control::add(&slot.bytes, done * u64::from(block_bytes));
        control::add(&slot.io_errors, failed);
    }

    fn publish(&mut self, elapsed: Duration, reins: &Reins) {
        self.published = elapsed;
        let slot = reins.slot();
        slot.burning_ns.store(clock::ns(elapsed), Ordering::Relaxed);
        let on_cpu = clock::thread_cpu().saturating_sub(self.origin_cpu);
        slot.on_cpu_ns.store(clock::ns(on_cpu), Ordering::Relaxed);
    }
}

/// When the n-th I/O is due at a rate, since the first.
fn due_after(n: u64, rate_per_s: u64) -> Duration {
    let ns = u128::from(n) * 1_000_000_000 / u128::from(rate_per_s);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}
