//! Holds a load: a duty cycle on the thread's own CPU clock, with an integral, so that what one period missed the next
//! makes good.
//!
//! Periods have absolute boundaries. In each, the worker computes until its CPU clock reaches the integral of the target up
//! to the period's end, then sleeps to the boundary. So the mean error tends to 0, and preemption is made up for as far as
//! the core has room.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    profile::LoadProfile,
    worker::{Flow, Reins},
};
use crate::clock;

/// One duty cycle. Short against the tick of any governor or controller that averages load (10 ms and more).
const PERIOD: Duration = Duration::from_millis(10);
/// Deviation is reported over windows of this length.
const WINDOW: Duration = Duration::from_millis(100);
/// What was missed longer ago is forgiven: a worker that was starved for seconds must not burn for seconds at full
/// load when the core is free again.
const MEMORY: Duration = Duration::from_millis(500);
/// The longest stretch of work between two looks at the clocks and the command.
const STRETCH: Duration = Duration::from_micros(500);

/// Paces one worker.
#[derive(Debug)]
pub(super) struct Pacer {
    profile: LoadProfile,
    phase: Duration,
    /// CLOCK_BOOTTIME at the start, moved on by what was paused.
    origin: Duration,
    /// The CPU clock at the start.
    origin_cpu: Duration,
    /// On-CPU time that was asked up to the end of the current period.
    asked: Duration,
    /// The part of it that is no longer owed. The result still counts it as asked.
    forgiven: Duration,
    /// The end of the current period, since `origin`.
    boundary: Duration,
    window: Window,
    /// What one unit of work takes: a moving mean.
    unit: Duration,
}

#[derive(Debug)]
struct Window {
    since: Duration,
    since_cpu: Duration,
}

impl Pacer {
    /// Starts the clocks of a worker in a phase of that length. Workers begin their periods apart, so that a load of
    /// all cores does not come in beats.
    pub(super) fn start(profile: LoadProfile, phase: Duration, reins: &Reins) -> Self {
        let now = clock::boottime();
        let cpu = clock::thread_cpu();
        reins.slot().first_burn_ns.store(clock::ns(now), Ordering::Relaxed);
        let (worker, workers) = reins.place();
        let first = PERIOD - PERIOD * worker as u32 / workers as u32;
        let mut pacer = Self {
            profile,
            phase,
            origin: now,
            origin_cpu: cpu,
            asked: Duration::ZERO,
            forgiven: Duration::ZERO,
            boundary: Duration::ZERO,
            window: Window { since: Duration::ZERO, since_cpu: Duration::ZERO },
            unit: Duration::ZERO,
        };
        pacer.begin_period(first, reins);
        pacer
    }

    /// Does units of `work` for one stretch, or sleeps to the end of the period when its share is done; then says what to
    /// do next. `work` is called with a number of units, and may do fewer.
    pub(super) fn step(&mut self, reins: &Reins, mut work: impl FnMut(u32)) -> Flow {
        let elapsed = clock::boottime().saturating_sub(self.origin);
        let used = clock::thread_cpu().saturating_sub(self.origin_cpu);
        if elapsed >= self.boundary {
            self.end_period(elapsed, used, reins);
        }
        let owed = self.owed(used);
        // Rounded to the nearest whole unit: half a unit too much and half a unit too little cancel out.
        if owed > self.unit / 2 {
            let stretch = owed.min(STRETCH).min(self.boundary.saturating_sub(elapsed).max(self.unit));
            let units = if self.unit.is_zero() { 1 } else { whole_units(stretch, self.unit) };
            work(units);
            let took = clock::thread_cpu().saturating_sub(self.origin_cpu).saturating_sub(used) / units;
            self.unit = if self.unit.is_zero() { took } else { (self.unit * 7 + took) / 8 };
        } else {
            reins.sleep_until((self.origin + self.boundary).min(reins.end()));
        }
        let flow = reins.check();
        match flow {
            Flow::Resumed(paused) => self.origin += paused,
            Flow::Stop => self.publish(reins),
            Flow::Burn => {}
        }
        flow
    }

    fn begin_period(&mut self, length: Duration, reins: &Reins) {
        let load = self.profile.at(self.boundary, self.phase);
        reins.slot().target_ppm.store((load * 1e6) as u32, Ordering::Relaxed);
        self.boundary += length;
        self.asked += length.mul_f64(load);
    }

    fn end_period(&mut self, elapsed: Duration, used: Duration, reins: &Reins) {
        self.publish_at(elapsed, used, reins);
        while self.boundary <= elapsed {
            self.begin_period(PERIOD, reins);
        }
        self.forgiven += self.owed(used).saturating_sub(MEMORY);
        if elapsed - self.window.since >= WINDOW {
            self.end_window(elapsed, used, reins);
        }
    }

    /// `asked` as of now: without the rest of the current period, or with what has passed since its end.
    fn asked_until(&self, elapsed: Duration) -> Duration {
        let load = self.profile.at(elapsed, self.phase);
        let ahead = self.boundary.saturating_sub(elapsed).mul_f64(load);
        let behind = elapsed.saturating_sub(self.boundary).mul_f64(load);
        (self.asked + behind).saturating_sub(ahead)
    }

    fn owed(&self, used: Duration) -> Duration {
        self.asked.saturating_sub(self.forgiven).saturating_sub(used)
    }

    fn end_window(&mut self, elapsed: Duration, used: Duration, reins: &Reins) {
        let load = used.saturating_sub(self.window.since_cpu).as_secs_f64()
            / (elapsed - self.window.since).as_secs_f64();
        let ppm = (load * 1e6) as u64;
        let slot = reins.slot();
        super::control::add(&slot.windows, 1);
        super::control::add(&slot.window_sum_ppm, ppm);
        super::control::add(&slot.window_squares_ppm2, ppm * ppm);
        self.window = Window { since: elapsed, since_cpu: used };
    }

    fn publish(&self, reins: &Reins) {
        let elapsed = clock::boottime().saturating_sub(self.origin);
        self.publish_at(elapsed, clock::thread_cpu().saturating_sub(self.origin_cpu), reins);
    }

    fn publish_at(&self, elapsed: Duration, used: Duration, reins: &Reins) {
        let slot = reins.slot();
        slot.on_cpu_ns.store(clock::ns(used), Ordering::Relaxed);
        slot.burning_ns.store(clock::ns(elapsed), Ordering::Relaxed);
        slot.asked_ns.store(clock::ns(self.asked_until(elapsed)), Ordering::Relaxed);
    }
}

fn whole_units(stretch: Duration, unit: Duration) -> u32 {
    let units = (stretch.as_secs_f64() / unit.as_secs_f64()).round();
    (units as u32).max(1)
}
