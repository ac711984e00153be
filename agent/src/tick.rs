//! The tick: one thread at a fixed rate that keeps burners alive, samples, guards and publishes, in this order. No queue
//! stands between a reading and the reaction to it.

use std::{
    panic::{self, AssertUnwindSafe},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_nanosleep},
};

use tracing::{error, warn};

use crate::{
    clock,
    halt::HaltLook,
    locked,
    observe::{frame::Frame, own::TickCost, ring::FrameRing, schema::Schema, source::Source},
    privileges,
    realtime::{self, Duty},
    run::{Engine, SuspendWatch},
    systemd::Watchdog,
};

/// What the tick thread works on.
#[derive(Debug)]
pub struct Tick {
    /// How often.
    pub period: Duration,
    /// What is read.
    pub sources: Vec<Box<dyn Source>>,
    /// Whose burners live by it, and whose guards look.
    pub engine: Arc<Engine>,
    /// Where frames go.
    pub ring: Arc<FrameRing>,
    /// What it costs.
    pub cost: Arc<TickCost>,
    /// Who calls for a halt.
    pub halts: HaltLook,
    /// Whom it tells that it lives.
    pub watchdog: Option<Watchdog>,
}

/// The running thread. It ends when this is dropped.
#[derive(Debug)]
pub struct TickThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tick {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel's, when it has no thread left.
    pub fn start(self) -> std::io::Result<TickThread> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("tick".into()).spawn(move || {
            // Without it nothing guards, and burners would end one by one for no reason that anybody is told. Ended with the
            // process, they go at once, and a service manager starts it anew.
            if panic::catch_unwind(AssertUnwindSafe(|| self.run(&stopped))).is_err() {
                error!("a bug in the tick: sstsd ends, and its burners with it");
                process::abort();
            }
        })?;
        Ok(TickThread { stop, thread: Some(thread) })
    }

    fn run(mut self, stop: &AtomicBool) {
        locked::touch_stack();
        // Under full load an ordinary thread may wait for many ticks, and burners would end at their deadlines.
        if let Err(error) = realtime::enter(Duty::Guard) {
            warn!(%error, "the tick has no real-time priority: under full load it may be late");
        }
        if let Err(error) = privileges::settle(privileges::Duty::Tick, false) {
            warn!(%error, "the tick keeps capabilities that it doesn't need");
        }
        let mut schema = Arc::new(self.describe(1));
        let mut frame = Frame::default();
        let mut sequence = 0;
        let mut next = clock::monotonic();
        let mut suspends = SuspendWatch::default();
        while !stop.load(Ordering::Relaxed) {
            let began = clock::monotonic();
            self.halts.look();
            // Before the deadlines: those of burners that slept through theirs are not pushed any more.
            if let Some(slept) = suspends.look() {
                self.engine.note_suspend(slept);
            }
            self.engine.push_deadlines();
            if self.sources.iter().any(|source| source.changed()) {
                schema = Arc::new(self.describe(schema.id + 1));
            }
            self.sample(&schema, sequence, &mut frame);
            self.engine.watch(&schema, &frame);
            self.ring.publish(&schema, &frame);
            if let Some(watchdog) = &mut self.watchdog {
                watchdog.tick(began);
            }
            sequence += 1;
            let ended = clock::monotonic();
            self.cost.note(ended.saturating_sub(began));
            next += self.period;
            // Late by a whole period or more: those ticks are missed, not made up for in a burst.
            while next + self.period <= ended {
                next += self.period;
                self.cost.missed.fetch_add(1, Ordering::Relaxed);
            }
            sleep_until(next);
        }
    }

    fn describe(&mut self, id: u32) -> Schema {
        let mut schema = Schema::new(id);
        for source in &mut self.sources {
            source.describe(&mut schema);
        }
        schema
    }

    fn sample(&mut self, schema: &Schema, sequence: u64, frame: &mut Frame) {
        frame.reset(schema, sequence);
        frame.begin = clock::monotonic();
        for source in &mut self.sources {
            source.sample(frame);
        }
        frame.end = clock::monotonic();
        frame.wall_offset_ns = clock::unix_ns() - clock::ns(frame.end).cast_signed();
    }
}

impl Drop for TickThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _it_panicked = thread.join();
        }
    }
}

fn sleep_until(instant: Duration) {
    // A signal makes a tick early; the next one is on time again.
    let _interrupted = clock_nanosleep(
        ClockId::CLOCK_MONOTONIC,
        ClockNanosleepFlags::TIMER_ABSTIME,
        &TimeSpec::from_duration(instant),
    );
}
