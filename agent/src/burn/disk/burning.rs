//! The I/Os of one worker over one phase.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    engine::Engine,
    load::{DiskLoad, Io, Operation, Rate, figure},
    mix::Mix,
    remount::Remounting,
    verify::Verifier,
};
use crate::{
    burn::{
        BurnError,
        allowance::Allowance,
        control,
        rise::Rise,
        worker::{Flow, Reins},
    },
    clock,
};

/// How often the command is looked at; the engine's waits are bounded, too.
const LOOK: Duration = Duration::from_millis(1);
/// How often CPU time, elapsed time and figures are published.
const PUBLISH: Duration = Duration::from_millis(20);
/// Nearer to the end than this, waits are bounded by it.
const LAST_STRETCH: Duration = Duration::from_millis(4);

/// An I/O that was started.
#[derive(Debug, Clone, Copy)]
struct Flight {
    io: Io,
    /// When it was submitted, or due; CLOCK_BOOTTIME.
    since: Duration,
}

/// What a worker burns with.
pub(super) struct Burning<'a> {
    pub(super) load: &'a DiskLoad,
    /// Where its part of a device begins.
    pub(super) base: u64,
    pub(super) engine: Engine,
    pub(super) verifier: Option<Verifier>,
    pub(super) remounting: Option<Remounting>,
    pub(super) seed: u64,
    pub(super) phase: Duration,
    pub(super) reins: &'a Reins,
}

impl Burning<'_> {
    /// To the end of the phase, or a stop.
    ///
    /// # Errors
    /// The engine's; [`BurnError::WrongBlock`], [`BurnError::Mount`].
    pub(super) fn run(self) -> Result<(), BurnError> {
        let now = clock::boottime();
        self.reins.slot().first_burn_ns.store(clock::ns(now), Ordering::Relaxed);
        let (place, workers) = self.reins.place();
        let depth = self.load.depth;
        let nothing = Flight { io: Io { operation: Operation::Sync, bytes: 0, offset: 0 }, since: now };
        Loop {
            mix: Mix::new(self.load, self.seed),
            schedule: Schedule {
                place: place as u64,
                workers: workers as u64,
                rate: self.load.rate,
                rise: self.load.rise,
                share: self.load.rate_share.as_ref().map(|share| Allowance::new(share, self.phase)),
                done: 0,
            },
            flights: vec![nothing; depth as usize],
            free: (0..depth).rev().collect(),
            // That of all workers, so that they share a rate from its first I/O on.
            origin: self.reins.start(),
            origin_cpu: clock::thread_cpu(),
            origin_engine_cpu: self.engine.on_cpu(),
            past_engine_cpu: Duration::ZERO,
            stage: self
                .load
                .remount()
                .map_or(Stage::Mix, |remount| Stage::MixUntil(self.reins.start() + remount.every)),
            away: Duration::ZERO,
            remounts: 0,
            unsynced_writes: 0,
            published: now,
            with: self,
        }
        .run(now)
    }
}

/// What comes next. Instants are moved on by pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The mix, to the end.
    Mix,
    /// The mix, until the file system is mounted anew.
    MixUntil(Duration),
    /// Nothing is started since then; the file system is mounted anew when nothing is in flight.
    Leaving(Duration),
    /// It was left then; everything is read back.
    ReadingBack(Duration),
}

struct Loop<'a> {
    with: Burning<'a>,
    mix: Mix,
    schedule: Schedule,
    /// By buffer.
    flights: Vec<Flight>,
    free: Vec<u32>,
    /// When the clock started; moved on by pauses.
    origin: Duration,
    origin_cpu: Duration,
    origin_engine_cpu: Duration,
    /// Of engines before this one.
    past_engine_cpu: Duration,
    stage: Stage,
    /// How long the mix was left alone for remounts.
    away: Duration,
    remounts: u64,
    unsynced_writes: u32,
    published: Duration,
}

impl Loop<'_> {
    /// One reading of the clock serves everything between two waits.
    fn run(mut self, mut now: Duration) -> Result<(), BurnError> {
        let mut looked = Duration::ZERO;
        loop {
            let end = self.with.reins.end();
            if now >= looked + LOOK || now >= end {
                match self.with.reins.check() {
                    Flow::Stop => break,
                    Flow::Resumed(paused) => self.resume(paused),
                    Flow::Burn => {}
                }
                now = clock::boottime();
                looked = now;
                if let Stage::MixUntil(_) | Stage::Leaving(_) | Stage::ReadingBack(_) = self.stage {
                    self = self.go_on(now)?;
                }
            }
            let next_due = self.submit(now);
            let left = end.saturating_sub(now);
            let at_most = next_due.map(|due| due.saturating_sub(now).min(left));
            if self.in_flight() {
                let at_most = at_most.or((left < LAST_STRETCH).then_some(left));
                self.with.engine.submit_and_wait(at_most).map_err(BurnError::Ring)?;
                now = clock::boottime();
                self.complete(now)?;
            } else {
                self.with.reins.sleep_until((now + at_most.unwrap_or(LOOK)).min(end));
                now = clock::boottime();
                looked = Duration::ZERO;
            }
            if now >= self.published + PUBLISH {
                self.publish(now);
            }
        }
        let origin = self.schedule_origin(now);
        let lag = self.schedule.due(origin).map_or(Duration::ZERO, |due| now.saturating_sub(due));
        // The slowest I/Os are those still in flight: without them the histogram would flatter the device. Should they
        // hang, the daemon ends this process.
        while self.in_flight() {
            self.with.engine.submit_and_wait(None).map_err(BurnError::Ring)?;
            self.complete(clock::boottime())?;
        }
        self.publish(clock::boottime());
        if let Some(place) = self.with.load.lag_place() {
            let slot = self.with.reins.slot();
            slot.figures[place].store(clock::ns(lag), Ordering::Relaxed);
            slot.behind_ns.store(clock::ns(lag), Ordering::Relaxed);
        }
        self.with.remounting.map_or(Ok(()), Remounting::end)
    }

    fn in_flight(&self) -> bool {
        self.free.len() < self.flights.len()
    }

    /// To the next stage, where it is time for that.
    fn go_on(mut self, now: Duration) -> Result<Self, BurnError> {
        match self.stage {
            Stage::MixUntil(due) if now >= due => self.stage = Stage::Leaving(now),
            Stage::Leaving(since) if !self.in_flight() => {
                self = self.remount()?;
                self.stage = Stage::ReadingBack(since);
            }
            Stage::ReadingBack(since) if !self.in_flight() && self.has_read_all() => {
                self.away += now.saturating_sub(since);
                self.remounts += 1;
                self.with.verifier.iter_mut().for_each(Verifier::go_on);
                self.with.reins.slot().figures[figure::REMOUNTS].store(self.remounts, Ordering::Relaxed);
                self.stage = self
                    .with
                    .load
                    .remount()
                    .map_or(Stage::Mix, |remount| Stage::MixUntil(now + remount.every));
            }
            _ => {}
        }
        Ok(self)
    }

    /// Nothing in flight says little: at depth 1 that is so after every read.
    fn has_read_all(&self) -> bool {
        self.with.verifier.as_ref().is_none_or(Verifier::has_read_all)
    }

    /// Mounts the file system anew; everything is to be read back then.
    fn remount(mut self) -> Result<Self, BurnError> {
        if let Some(remounting) = &mut self.with.remounting {
            self.past_engine_cpu += self.with.engine.on_cpu().saturating_sub(self.origin_engine_cpu);
            self.origin_engine_cpu = Duration::ZERO;
            // It has the file open.
            drop(self.with.engine);
            let file = remounting.round()?;
            let (engine, _known) =
                Engine::new(self.with.load, file, self.with.seed).map_err(BurnError::Ring)?;
            self.with.engine = engine;
            self.with.verifier.iter_mut().for_each(Verifier::read_all);
        }
        Ok(self)
    }

    /// From when on the mix is due.
    fn schedule_origin(&self, now: Duration) -> Duration {
        let away = match self.stage {
            Stage::Mix | Stage::MixUntil(_) => Duration::ZERO,
            Stage::Leaving(since) | Stage::ReadingBack(since) => now.saturating_sub(since),
        };
        self.origin + self.away + away
    }

    /// What was in flight did not take longer for a pause.
    fn resume(&mut self, paused: Duration) {
        self.origin += paused;
        match &mut self.stage {
            Stage::Mix => {}
            Stage::MixUntil(instant) | Stage::Leaving(instant) | Stage::ReadingBack(instant) => {
                *instant += paused;
            }
        }
        self.flights.iter_mut().for_each(|flight| flight.since += paused);
    }

    /// Starts what is due, as far as buffers are free. Says when the next I/O is due, where that is what it waits for.
    fn submit(&mut self, now: Duration) -> Option<Duration> {
        if let Stage::Leaving(_) = self.stage {
            return None;
        }
        let is_mix = !matches!(self.stage, Stage::ReadingBack(_));
        while let Some(&buffer) = self.free.last() {
            if self.with.load.fsync_every > 0 && self.unsynced_writes >= self.with.load.fsync_every {
                self.unsynced_writes = 0;
                self.start(buffer, Io { operation: Operation::Sync, bytes: 0, offset: 0 }, now);
                continue;
            }
            let origin = self.schedule_origin(now);
            let due = self.schedule.due(origin).filter(|_| is_mix);
            if due.is_some_and(|due| due > now) {
                return due;
            }
            let io = match &mut self.with.verifier {
                None => self.mix.deal(),
                // What would touch something in flight waits for that.
                Some(verifier) => verifier.next(&mut self.mix)?,
            };
            let mut since = now;
            if let Some(verifier) = &mut self.with.verifier {
                if io.operation == Operation::Write {
                    verifier.stamp(io, self.with.engine.buffer(buffer));
                }
                // Making content takes a while.
                since = clock::boottime();
            }
            self.unsynced_writes += u32::from(io.operation == Operation::Write);
            if is_mix {
                self.schedule.count(io.bytes);
            }
            // With a rate, latency counts from when the I/O was due: a stall delays those behind it, and that shows.
            self.start(buffer, io, due.unwrap_or(since));
        }
        None
    }

    fn start(&mut self, buffer: u32, io: Io, since: Duration) {
        self.free.pop();
        self.flights[buffer as usize] = Flight { io, since };
        self.with.engine.start(buffer, Io { offset: self.with.base + io.offset, ..io });
    }

    fn complete(&mut self, now: Duration) -> Result<(), BurnError> {
        let reins = self.with.reins;
        let slot = reins.slot();
        let (mut done, mut failed, mut moved) = (0, 0, [0; 2]);
        let mut wrong = None;
        let Self { flights, free, with, .. } = self;
        let verifier = &mut with.verifier;
        with.engine.completed(|buffer, result, content| {
            free.push(buffer);
            let Flight { io, since } = flights[buffer as usize];
            let went_well = result == Ok(io.bytes);
            if went_well {
                reins.count_latency(io.operation.latency(), clock::ns(now.saturating_sub(since)));
                if io.operation != Operation::Sync {
                    done += 1;
                    moved[io.operation.latency()] += u64::from(io.bytes);
                }
            } else {
                failed += 1;
                note_error(slot, result.err().unwrap_or(control::SHORT_TRANSFER));
            }
            if let Some(verifier) = verifier
                && io.operation != Operation::Sync
                && let Err(mismatch) = verifier.end(io, went_well, content)
            {
                wrong.get_or_insert(mismatch);
            }
        });
        control::add(&slot.operations, done);
        control::add(&slot.bytes, moved[0] + moved[1]);
        control::add(&slot.figures[figure::READ_BYTES], moved[0]);
        control::add(&slot.figures[figure::WRITTEN_BYTES], moved[1]);
        control::add(&slot.io_errors, failed);
        match wrong {
            None => Ok(()),
            Some(mismatch) => {
                control::add(&slot.verify_errors, 1);
                self.publish(now);
                let reads_back = matches!(self.stage, Stage::ReadingBack(_));
                Err(BurnError::WrongBlock {
                    path: self.with.load.path.clone(),
                    remounts: self.remounts + u64::from(reads_back),
                    mismatch: Box::new(mismatch),
                })
            }
        }
    }

    fn publish(&mut self, now: Duration) {
        self.published = now;
        let slot = self.with.reins.slot();
        slot.burning_ns.store(clock::ns(now.saturating_sub(self.origin)), Ordering::Relaxed);
        let on_cpu = clock::thread_cpu().saturating_sub(self.origin_cpu)
            + self.past_engine_cpu
            + self.with.engine.on_cpu().saturating_sub(self.origin_engine_cpu);
        slot.on_cpu_ns.store(clock::ns(on_cpu), Ordering::Relaxed);
        if let Some(verifier) = &self.with.verifier {
            slot.figures[figure::VERIFIED].store(verifier.verified, Ordering::Relaxed);
            slot.figures[figure::UNVERIFIED].store(verifier.unverified, Ordering::Relaxed);
        }
    }
}

/// The first one stays.
pub(super) fn note_error(slot: &control::Slot, errno: i32) {
    let _was_set =
        slot.io_errno.compare_exchange(0, errno.cast_unsigned(), Ordering::Relaxed, Ordering::Relaxed);
}

/// When I/Os are due. Absolute, so that no delay adds up; workers take turns, so that all together are as even as one.
#[derive(Debug)]
struct Schedule {
    place: u64,
    workers: u64,
    rate: Option<Rate>,
    rise: Option<Rise>,
    /// Of the rate, over time.
    share: Option<Allowance>,
    /// I/Os, or bytes, that this worker started.
    done: u64,
}

impl Schedule {
    /// When the next one is due, at a rate.
    fn due(&mut self, origin: Duration) -> Option<Duration> {
        let after = match self.rate? {
            Rate::Operations(rate) => self.after(self.done * self.workers + self.place, rate),
            Rate::Bytes(rate) => self.after(self.done * self.workers, rate),
        };
        Some(origin + self.share.as_mut().map_or(after, |share| share.when(after.as_secs_f64())))
    }

    /// How long `n` take at a rate.
    fn after(&self, n: u64, rate_per_s: u64) -> Duration {
        match self.rise {
            Some(rise) => rise.due_at(rate_per_s as f64, n as f64),
            None => after(n, rate_per_s),
        }
    }

    fn count(&mut self, bytes: u32) {
        self.done += match self.rate {
            Some(Rate::Bytes(_)) => u64::from(bytes),
            Some(Rate::Operations(_)) | None => 1,
        };
    }
}

/// How long `n` take at a rate.
fn after(n: u64, rate_per_s: u64) -> Duration {
    let ns = u128::from(n) * 1_000_000_000 / u128::from(rate_per_s);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::profile::Shape;

    #[test]
    fn workers_share_a_rate_and_take_turns() {
        let mut due: Vec<Duration> = Vec::new();
        for place in 0..4 {
            let rate = Some(Rate::Operations(1_000));
            let mut schedule = Schedule { place, workers: 4, rate, rise: None, share: None, done: 0 };
            for _ in 0..25 {
                due.extend(schedule.due(Duration::ZERO));
                schedule.count(4_096);
            }
        }
        due.sort_unstable();
        let wanted: Vec<Duration> = (0..100).map(Duration::from_millis).collect();
        assert_eq!(due, wanted);
    }

    #[test]
    fn a_rate_of_bytes_counts_bytes() {
        let rate = Some(Rate::Bytes(1 << 20));
        let mut schedule = Schedule { place: 0, workers: 2, rate, rise: None, share: None, done: 0 };
        schedule.count(1 << 18);
        // A quarter of a MiB by one of two workers is half a MiB by both.
        assert_eq!(schedule.due(Duration::ZERO), Some(Duration::from_millis(500)));
    }

    /// The instants of a walk are the seed's: the same again, and others for another one.
    #[test]
    fn a_walk_of_the_rate_is_the_same_for_the_same_seed() {
        let instants = |seed| {
            let interval = Duration::from_millis(50);
            let walk = Shape::RandomWalk { low: 0.1, high: 1.0, step: 0.2, interval, seed };
            let share = Some(Allowance::new(&walk, Duration::from_secs(10)));
            let rate = Some(Rate::Operations(1_000));
            let mut schedule = Schedule { place: 0, workers: 1, rate, rise: None, share, done: 0 };
            let mut next = || {
                schedule.count(4_096);
                schedule.due(Duration::ZERO)
            };
            (0..2_000).map_while(|_| next()).collect::<Vec<_>>()
        };
        let one = instants(7);
        assert_eq!(one, instants(7));
        assert_ne!(one, instants(8));
        // 2,000 at some 55 % of 1,000 a second, and never faster than the whole rate.
        let last = one[1_999].as_secs_f64();
        assert!((2.0..20.0).contains(&last), "{last}");
        assert!(one.windows(2).all(|pair| pair[1] - pair[0] > Duration::from_micros(990)));
    }
}
