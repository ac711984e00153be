//! What every worker does, whatever it burns: wait for the command, obey it, prove that it lives, end at the deadline.

use std::{
    hint,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    BurnError,
    control::{Command, ControlBlock, Slot},
    core_time::CoreTime,
};
use crate::clock;

/// How long a sleeping worker goes without a look at the deadline.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);
/// How long before an instant a worker is awake to meet it: longer than a sleep is late on an idle core.
const ALERT: Duration = Duration::from_micros(300);

/// In which a worker that is not paced burns and rests, where its load is derated: short against what heats and cools.
const REST_CYCLE: Duration = Duration::from_millis(100);

/// A thread of a burner, pinned to one core.
pub trait Worker: Send {
    /// Does what has to be done before the clock starts: files, buffers, reference answers. Long work asks
    /// [`Reins::go_on`] now and then.
    ///
    /// # Errors
    /// What makes it impossible to burn here; the run ends with it.
    fn prepare(&mut self, reins: &Reins) -> Result<Prepared, BurnError>;

    /// Burns until [`Reins::check`] says stop.
    ///
    /// # Errors
    /// What makes it impossible to go on; the run ends with it.
    fn burn(&mut self, reins: &Reins) -> Result<(), BurnError>;
}

/// What a worker chose while it made ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// In words, such as `fma, avx512`.
    pub variant: String,
    /// What a reader of the result should know.
    pub notices: Vec<String>,
}

/// What the loop of a worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Burn,
    /// Go on after a pause that has just ended: time stood still for so long.
    Resumed(Duration),
    /// Return.
    Stop,
}

/// A worker's end of the control block.
#[derive(Debug, Clone)]
pub struct Reins {
    block: Arc<ControlBlock>,
    worker: usize,
    core: u32,
    /// Workers of this burner on that core, this one included.
    sharers: u32,
    /// The scheduler probe's count of core time, where there is one.
    probe: Option<Arc<OwnedFd>>,
    pauses: Arc<Pauses>,
}

/// What a worker's pauses leave to be known, in ns of CLOCK_BOOTTIME.
#[derive(Debug, Default)]
struct Pauses {
    /// Time paused between the instant of the start and the first burning instruction.
    before_first_ns: AtomicU64,
    /// Since when it is paused; 0 while it is not.
    since_ns: AtomicU64,
}

impl Reins {
    /// Of one worker, on its core, by itself there.
    pub fn new(block: Arc<ControlBlock>, worker: usize, core: u32, probe: Option<Arc<OwnedFd>>) -> Self {
        Self { block, worker, core, sharers: 1, probe, pauses: Arc::default() }
    }

    /// Of one that has its core with others of the burner: `sharers` of them, itself included.
    #[must_use]
    pub(super) fn shared_by(self, sharers: u32) -> Self {
        Self { sharers: sharers.max(1), ..self }
    }

    /// Whether others of this burner are on its core.
    pub(super) fn shares_its_core(&self) -> bool {
        self.sharers > 1
    }

    /// This worker's part of its core's load.
    pub(super) fn part(&self) -> f64 {
        1.0 / f64::from(self.sharers)
    }

    /// What others use of this worker's core from now on; `own` is the calling thread's CPU clock.
    pub(super) fn core_time(&self, own: Duration) -> CoreTime {
        CoreTime::begin(self.core, self.probe.as_deref(), own)
    }

    /// Where this worker tells what it did.
    pub fn slot(&self) -> &Slot {
        self.block.slot(self.worker)
    }

    /// A number of all of the burner's workers together.
    pub(super) fn of_all(&self, number: impl Fn(&Slot) -> &AtomicU64) -> u64 {
        let workers = 0..self.block.workers();
        workers.map(|worker| number(self.block.slot(worker)).load(Ordering::Relaxed)).sum()
    }

    /// Which of the burner's workers this is, and of how many.
    pub fn place(&self) -> (usize, usize) {
        (self.worker, self.block.workers())
    }

    /// Counts one latency of the load's `latencies()[operation]`.
    pub fn count_latency(&self, operation: usize, latency_ns: u64) {
        self.count_latencies(operation, latency_ns, 1);
    }

    /// Counts so many of the same length.
    pub fn count_latencies(&self, operation: usize, latency_ns: u64, count: u64) {
        let buckets = self.block.latency(self.worker, operation);
        super::control::add(&buckets[super::control::LATENCY.index(latency_ns)], count);
    }

    /// While preparing: whether to go on.
    pub fn go_on(&self) -> bool {
        self.beat(clock::boottime()) && self.block.command() != Command::Stop
    }

    /// Whether the daemon wants an end.
    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.block.command() == Command::Stop
    }

    /// Waits for the start.
    pub fn wait_for_start(&self) -> Flow {
        loop {
            match self.block.command() {
                Command::Burn => return self.wait_for_the_edge(),
                Command::Stop => return Flow::Stop,
                waiting @ (Command::Prepare | Command::Pause) => {
                    if !self.beat(clock::boottime()) {
                        return Flow::Stop;
                    }
                    self.block.wait_while(waiting, LONGEST_SLEEP);
                }
            }
        }
    }

    /// Sleeps until shortly before the instant of the start, and looks at the clock from then on: workers begin within
    /// microseconds of each other.
    fn wait_for_the_edge(&self) -> Flow {
        let start = self.block.start();
        self.sleep_until(start.saturating_sub(ALERT));
        while clock::boottime() < start {
            if self.block.command() != Command::Burn {
                break;
            }
            hint::spin_loop();
        }
        match self.obey() {
            Flow::Resumed(paused) => {
                // What lies before the instant was no pause of the load.
                let missed = paused.min(clock::boottime().saturating_sub(start));
                self.pauses.before_first_ns.fetch_add(clock::ns(missed), Ordering::Relaxed);
                self.wait_for_start()
            }
            flow => flow,
        }
    }

    /// When burning began or begins, moved on by what was paused before it did, CLOCK_BOOTTIME.
    pub fn start(&self) -> Duration {
        let paused = self.pauses.before_first_ns.load(Ordering::Relaxed);
        self.block.start() + Duration::from_nanos(paused)
    }

    /// Up to when burning counts as of now: to its end, and not into a pause.
    pub(super) fn until(&self) -> Duration {
        let now = clock::boottime().min(self.block.end());
        match self.pauses.since_ns.load(Ordering::Relaxed) {
            0 => now,
            since => now.min(Duration::from_nanos(since)),
        }
    }

    /// What to do next, of a worker that nothing else paces: where guards have derated its load, it also rests here for that part
    /// of the time.
    #[inline]
    pub fn check(&self) -> Flow {
        match self.obey() {
            Flow::Burn if self.block.withheld_ppm() > 0 => self.rest(),
            flow => flow,
        }
    }

    /// The part of its load that guards left.
    #[inline]
    pub(super) fn left_to_burn(&self) -> f64 {
        1.0 - f64::from(self.block.withheld_ppm()) / 1e6
    }

    /// The load of its core that a search asks for instead of the profile's.
    #[inline]
    pub(super) fn searched(&self) -> Option<f64> {
        self.block.searched_ppm().map(|ppm| f64::from(ppm) / 1e6)
    }

    /// Sleeps through the last part of each [`REST_CYCLE`].
    #[cold]
    fn rest(&self) -> Flow {
        let now = clock::boottime();
        let into = Duration::from_nanos((now.as_nanos() % REST_CYCLE.as_nanos()) as u64);
        if into < REST_CYCLE.mul_f64(self.left_to_burn()) {
            return Flow::Burn;
        }
        self.sleep_until((now + REST_CYCLE - into).min(self.end()));
        let rested = clock::boottime().saturating_sub(now);
        super::control::add(&self.slot().withheld_ns, clock::ns(rested));
        match self.obey() {
            Flow::Burn => Flow::Resumed(rested),
            Flow::Resumed(paused) => Flow::Resumed(rested + paused),
            Flow::Stop => Flow::Stop,
        }
    }

    /// What to do next. Sleeps here while the run is paused. Some 30 ns when there is nothing to obey.
    #[inline]
    pub(super) fn obey(&self) -> Flow {
        let now = clock::boottime();
        match self.block.command() {
            Command::Burn if self.beat(now) && now < self.block.end() => Flow::Burn,
            Command::Pause => self.pause(now),
            _ => Flow::Stop,
        }
    }

    /// Sleeps to an instant of CLOCK_BOOTTIME, less when a command comes.
    pub fn sleep_until(&self, instant: Duration) {
        while let Some(left) = instant.checked_sub(clock::boottime()).filter(|left| !left.is_zero()) {
            self.block.wait_while(Command::Burn, left.min(LONGEST_SLEEP));
            if self.block.command() != Command::Burn || !self.beat(clock::boottime()) {
                return;
            }
        }
    }

    /// When burning ends by itself, CLOCK_BOOTTIME.
    pub fn end(&self) -> Duration {
        self.block.end()
    }

    #[cold]
    fn pause(&self, since: Duration) -> Flow {
        self.pauses.since_ns.store(clock::ns(since), Ordering::Relaxed);
        while self.block.command() == Command::Pause {
            if !self.beat(clock::boottime()) {
                return Flow::Stop;
            }
            self.block.wait_while(Command::Pause, LONGEST_SLEEP);
        }
        match self.block.command() {
            Command::Burn => {
                self.pauses.since_ns.store(0, Ordering::Relaxed);
                Flow::Resumed(clock::boottime().saturating_sub(since))
            }
            _ => Flow::Stop,
        }
    }

    /// A sign of life; whether the deadline is still ahead.
    fn beat(&self, now: Duration) -> bool {
        self.slot().heartbeat_ns.store(clock::ns(now), Ordering::Relaxed);
        now < self.block.deadline()
    }
}
