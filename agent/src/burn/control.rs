//! The control block: one `memfd` that the daemon and a burner process share. It carries commands, targets and a deadline
//! one way; counters, heartbeats and latency histograms the other. Setting a load or reading progress is a store or a
//! load, never a system call, and what a burner counted outlives its death.
//!
//! Every field is atomic: neither side trusts the other's timing, and a burner that scribbles over the block can falsify
//! its own figures but not make the daemon misbehave.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use ssts_agent_ebpf::histogram::Layout;

use super::{futex, map::SharedMap};
use crate::clock;

/// Latencies of burners in ns: an error of at most 1.6 %, to 18 minutes.
pub const LATENCY: Layout = Layout::new(6, 40);
/// Latency histograms that a worker can have.
pub const MAX_LATENCIES: usize = 4;
/// Numbers that a worker can tell beyond those that all have.
pub const MAX_FIGURES: usize = 16;

/// Stands for an errno where fewer bytes were moved than asked.
pub const SHORT_TRANSFER: i32 = i32::MAX;

/// "SSTSCTRL".
const MAGIC: u64 = u64::from_le_bytes(*b"SSTSCTRL");
const VERSION: u32 = 1;

/// What the daemon wants of a burner. The word is a futex: sleeping workers wake when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// Make ready, then wait.
    Prepare = 0,
    /// Burn until the end that the block names.
    Burn = 1,
    /// Keep everything, execute nothing.
    Pause = 2,
    /// End, now.
    Stop = 3,
}

impl Command {
    /// Anything unknown is a stop.
    fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Prepare,
            1 => Self::Burn,
            2 => Self::Pause,
            _ => Self::Stop,
        }
    }
}

/// The head of the block. Times are CLOCK_BOOTTIME in ns.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    workers: AtomicU32,
    histograms: AtomicU32,
    command: AtomicU32,
    /// A worker that reads one in the past exits.
    deadline_ns: AtomicU64,
    /// Burning ends here by itself; moved on by the time spent paused.
    end_ns: AtomicU64,
    /// Burning begins here, at the earliest.
    start_ns: AtomicU64,
    /// What guards took of the load that was asked for, in parts of a million.
    withheld_ppm: AtomicU32,
    /// One more than the load that a search asks for instead of the profile's, in parts of a million; 0 where there is no search.
    searched: AtomicU32,
}

/// What one worker tells. Written by that worker alone.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Slot {
    /// The kernel's thread id; 0 before it started.
    pub tid: AtomicU32,
    /// What the first failed I/O failed with: an errno, or [`SHORT_TRANSFER`]; 0 without one.
    pub io_errno: AtomicU32,
    /// The last sign of life, CLOCK_BOOTTIME.
    pub heartbeat_ns: AtomicU64,
    /// When it burned first, CLOCK_BOOTTIME.
    pub first_burn_ns: AtomicU64,
    /// Parts of a million of what has to be done before it can burn.
    pub prepared_ppm: AtomicU32,
    /// The load asked at this instant, in parts of a million of its core.
    pub target_ppm: AtomicU32,
    /// Its CPU clock since it began to burn.
    pub on_cpu_ns: AtomicU64,
    /// Time since it began to burn, pauses left out.
    pub burning_ns: AtomicU64,
    /// The integral of the target over that time: what `on_cpu_ns` should be.
    pub asked_ns: AtomicU64,
    /// What others used of its core over that time. Only of workers that hold the core's load.
    pub others_ns: AtomicU64,
    /// What others used beyond the target, too long ago to be made up for. Only of workers that hold the core's load.
    pub excused_ns: AtomicU64,
    /// What guards took of the load: of a worker that is paced, CPU time that was asked for; of any other, time that it rested.
    pub withheld_ns: AtomicU64,
    /// Time that it could run and waited for its core: the second number of its `schedstat`.
    pub waited_ns: AtomicU64,
    /// Windows of 100 ms: how many, the sum of what was achieved less what was asked (two's complement), and of the
    /// squares, in parts of a million.
    pub windows: AtomicU64,
    /// See `windows`.
    pub window_errors_ppm: AtomicU64,
    /// See `windows`.
    pub window_squares_ppm2: AtomicU64,
    /// The error that was furthest from 0.
    pub window_worst_ppm: AtomicU64,
    /// Operations done.
    pub operations: AtomicU64,
    /// Bytes moved.
    pub bytes: AtomicU64,
    /// Floating-point operations done.
    pub flops: AtomicU64,
    /// Results that were wrong.
    pub verify_errors: AtomicU64,
    /// I/Os that failed.
    pub io_errors: AtomicU64,
    /// How far behind its rate it was at its end: in how much time that rate asks for what was undone. Only of a burner with
    /// a rate.
    pub behind_ns: AtomicU64,
    /// What [`Load::figures`](super::plan::Load::figures) names.
    pub figures: [AtomicU64; MAX_FIGURES],
}

/// Adds to a counter that only the calling worker writes: a plain load and store, no locked instruction.
pub fn add(counter: &AtomicU64, gain: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(gain), Ordering::Relaxed);
}

/// One side's view of the block.
#[derive(Debug)]
pub struct ControlBlock {
    map: SharedMap,
    workers: usize,
    histograms: usize,
}

/// Bytes of the block's parts; each begins on a page or cache-line boundary of its own.
const HEADER_BYTES: usize = size_of::<Header>();
const SLOT_BYTES: usize = size_of::<Slot>();
const HISTOGRAM_BYTES: usize = LATENCY.buckets() * size_of::<AtomicU64>();

// Both processes are the same executable, so only accidents of the layout matter: no padding to leak, whole lines.
const _: () = assert!(HEADER_BYTES == 128 && SLOT_BYTES == 384 && HISTOGRAM_BYTES.is_multiple_of(64));

impl ControlBlock {
    /// A new block, every counter 0, the command [`Command::Prepare`], with that many latency histograms a worker.
    ///
    /// # Errors
    /// The kernel's, when it has no memory or descriptor left.
    ///
    /// # Panics
    /// When more than [`MAX_LATENCIES`] are asked.
    pub fn create(workers: usize, histograms: usize, deadline: Duration) -> io::Result<Self> {
        assert!(histograms <= MAX_LATENCIES);
        let map = SharedMap::create(c"ssts-control", Self::bytes(workers, histograms))?;
        let block = Self { map, workers, histograms };
        let header = block.header();
        header.version.store(VERSION, Ordering::Relaxed);
        header.workers.store(workers as u32, Ordering::Relaxed);
        header.histograms.store(histograms as u32, Ordering::Relaxed);
        header.end_ns.store(u64::MAX, Ordering::Relaxed);
        header.deadline_ns.store(clock::ns(clock::boottime() + deadline), Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(block)
    }

    /// The block behind a descriptor that [`ControlBlock::create`] made.
    ///
    /// # Errors
    /// The kernel's, or `InvalidData` where the descriptor is no such block.
    pub fn open(fd: OwnedFd) -> io::Result<Self> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let map = SharedMap::open(fd)?;
        if map.len() < HEADER_BYTES {
            return Err(invalid("the control block is too short"));
        }
        let mut block = Self { map, workers: 0, histograms: 0 };
        let header = block.header();
        if header.magic.load(Ordering::Acquire) != MAGIC || header.version.load(Ordering::Relaxed) != VERSION
        {
            return Err(invalid("the control block is not of this version"));
        }
        let workers = header.workers.load(Ordering::Relaxed) as usize;
        let histograms = header.histograms.load(Ordering::Relaxed) as usize;
        if histograms > MAX_LATENCIES || block.map.len() < Self::bytes(workers, histograms) {
            return Err(invalid("the control block is shorter than it says"));
        }
        (block.workers, block.histograms) = (workers, histograms);
        Ok(block)
    }

    /// The descriptor to hand to the burner process.
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.map.as_fd()
    }

    /// How many workers have a slot.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// What one worker tells.
    pub fn slot(&self, worker: usize) -> &Slot {
        assert!(worker < self.workers);
        self.map.at(HEADER_BYTES + worker * SLOT_BYTES)
    }

    /// The buckets of one worker's histogram for one of the load's latencies.
    pub fn latency(&self, worker: usize, operation: usize) -> &[AtomicU64] {
        assert!(worker < self.workers && operation < self.histograms);
        let before = worker * self.histograms + operation;
        self.map.slice(HEADER_BYTES + self.workers * SLOT_BYTES + before * HISTOGRAM_BYTES, LATENCY.buckets())
    }

    /// What one bucket of one of the load's latencies counted, all workers together.
    pub fn latency_sum(&self, operation: usize, bucket: usize) -> u64 {
        (0..self.workers).map(|worker| self.latency(worker, operation)[bucket].load(Ordering::Relaxed)).sum()
    }

    /// How much of what has to be done before its workers can burn is done, 0 to 1: their mean.
    pub fn prepared(&self) -> f64 {
        let done = |worker| f64::from(self.slot(worker).prepared_ppm.load(Ordering::Relaxed)) / 1e6;
        (0..self.workers).map(done).sum::<f64>() / self.workers.max(1) as f64
    }

    /// Bytes that its workers moved.
    pub fn moved_bytes(&self) -> u64 {
        (0..self.workers).map(|worker| self.slot(worker).bytes.load(Ordering::Relaxed)).sum()
    }

    /// What the daemon wants.
    pub fn command(&self) -> Command {
        Command::from_word(self.header().command.load(Ordering::Acquire))
    }

    /// Sets what the daemon wants and wakes whoever sleeps. A stop is final.
    pub fn set_command(&self, command: Command) {
        let word = &self.header().command;
        let update = |old| (Command::from_word(old) != Command::Stop).then_some(command as u32);
        if word.try_update(Ordering::AcqRel, Ordering::Acquire, update).is_ok() {
            futex::wake_all(word);
        }
    }

    /// Sleeps until the command is no longer `expected`, at most for `timeout`. May return early.
    pub fn wait_while(&self, expected: Command, timeout: Duration) {
        futex::wait(&self.header().command, expected as u32, timeout);
    }

    /// When workers must have ended whatever the daemon does, CLOCK_BOOTTIME.
    pub fn deadline(&self) -> Duration {
        Duration::from_nanos(self.header().deadline_ns.load(Ordering::Relaxed))
    }

    /// Promises that the daemon lives for another `ttl`, unless the deadline has passed: after a standstill of the whole host
    /// burners end, whoever wakes first.
    pub fn push_deadline(&self, ttl: Duration) {
        let now = clock::boottime();
        if now < self.deadline() {
            self.header().deadline_ns.store(clock::ns(now + ttl), Ordering::Relaxed);
        }
    }

    /// When burning ends by itself, CLOCK_BOOTTIME.
    pub fn end(&self) -> Duration {
        Duration::from_nanos(self.header().end_ns.load(Ordering::Relaxed))
    }

    /// When burning begins, CLOCK_BOOTTIME.
    pub fn start(&self) -> Duration {
        Duration::from_nanos(self.header().start_ns.load(Ordering::Relaxed))
    }

    /// Sets when burning begins. To be called before the command to burn.
    pub fn set_start(&self, start: Duration) {
        self.header().start_ns.store(clock::ns(start), Ordering::Relaxed);
    }

    /// Has workers burn so much of their load, in parts of a million.
    pub fn derate(&self, load_ppm: u32) {
        self.header().withheld_ppm.store(1_000_000 - load_ppm.min(1_000_000), Ordering::Relaxed);
    }

    /// What guards took of the load, in parts of a million.
    #[inline]
    pub fn withheld_ppm(&self) -> u32 {
        self.header().withheld_ppm.load(Ordering::Relaxed).min(1_000_000)
    }

    /// Has workers that hold a load hold this one instead of their profile's, in parts of a million of a core.
    pub fn search(&self, load_ppm: u32) {
        self.header().searched.store(load_ppm.min(1_000_000) + 1, Ordering::Relaxed);
    }

    /// The load that a search asks for, in parts of a million.
    #[inline]
    pub fn searched_ppm(&self) -> Option<u32> {
        self.header().searched.load(Ordering::Relaxed).checked_sub(1).map(|ppm| ppm.min(1_000_000))
    }

    /// Sets when burning ends by itself.
    pub fn set_end(&self, end: Duration) {
        self.header().end_ns.store(clock::ns(end), Ordering::Relaxed);
    }

    fn header(&self) -> &Header {
        self.map.at(0)
    }

    fn bytes(workers: usize, histograms: usize) -> usize {
        HEADER_BYTES + workers * (SLOT_BYTES + histograms * HISTOGRAM_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_block() {
        let daemon = ControlBlock::create(3, 2, Duration::from_secs(1)).unwrap();
        let burner = ControlBlock::open(daemon.fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(burner.workers(), 3);
        burner.slot(2).operations.store(7, Ordering::Relaxed);
        burner.latency(2, 1)[LATENCY.buckets() - 1].store(9, Ordering::Relaxed);
        daemon.set_command(Command::Burn);
        assert_eq!(daemon.slot(2).operations.load(Ordering::Relaxed), 7);
        assert_eq!(daemon.latency(2, 1)[LATENCY.buckets() - 1].load(Ordering::Relaxed), 9);
        assert_eq!(burner.command(), Command::Burn);
    }

    #[test]
    fn a_deadline_that_has_passed_stays_so() {
        let block = ControlBlock::create(1, 0, Duration::from_secs(60)).unwrap();
        block.push_deadline(Duration::from_secs(120));
        assert!(block.deadline() > clock::boottime() + Duration::from_secs(90));
        block.push_deadline(Duration::ZERO);
        let passed = block.deadline();
        block.push_deadline(Duration::from_secs(60));
        assert_eq!(block.deadline(), passed);
    }

    #[test]
    fn a_stop_is_final() {
        let block = ControlBlock::create(1, 0, Duration::from_secs(1)).unwrap();
        block.set_command(Command::Stop);
        block.set_command(Command::Burn);
        assert_eq!(block.command(), Command::Stop);
    }

    #[test]
    fn a_sleeper_wakes_at_a_command() {
        let block = ControlBlock::create(1, 0, Duration::from_secs(1)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while block.command() == Command::Prepare {
                    block.wait_while(Command::Prepare, Duration::from_secs(60));
                }
            });
            block.set_command(Command::Stop);
        });
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(ControlBlock::open(file.try_clone().unwrap().into()).is_err());
        file.set_len(1 << 20).unwrap();
        assert!(ControlBlock::open(file.into()).is_err());
    }
}
