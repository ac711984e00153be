//! Holds a load: a duty cycle on the thread's own CPU clock, with an integral, so that what one period missed the next
//! makes good.
//!
//! Periods have absolute boundaries. In each, the worker computes until its CPU clock reaches the integral of the target up
//! to the period's end, then sleeps to the boundary. So the mean error tends to 0, and preemption is made up for as far as
//! the core has room. Where the target is the core's, what others used of it counts as if the worker had: it fills what
//! they leave, and computes nothing while they take more.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    control,
    core_time::CoreTime,
    profile::{Curve, LoadProfile},
    waited::Waited,
    worker::{Flow, Reins},
};
use crate::clock;

/// One duty cycle. Short against the tick of any governor or controller that averages load (10 ms and more).
const PERIOD: Duration = Duration::from_millis(10);
/// One while a load is searched. A period in step with the kernel's tick (1, 4 or 10 ms) or with requests that come so many a
/// second would find the knee of one alignment, and at the next start that of another; this one meets all within 0.4 s.
const SEARCH_PERIOD: Duration = Duration::from_micros(9_700);
/// Deviation is reported over windows of this length.
const WINDOW: Duration = Duration::from_millis(100);
/// What was missed longer ago is forgiven: a worker that was starved for seconds must not burn for seconds at full
/// load when the core is free again. Nor does it rest for seconds because others took more than the core's target.
const MEMORY: Duration = Duration::from_millis(500);
/// The longest stretch of work between two looks at the clocks and the command.
const STRETCH: Duration = Duration::from_micros(500);

/// Paces one worker.
#[derive(Debug)]
pub(super) struct Pacer {
    curve: Curve,
    /// CLOCK_BOOTTIME at the start, moved on by what was paused.
    origin: Duration,
    /// The CPU clock at the start.
    origin_cpu: Duration,
    /// Nothing was asked but all there is: workers that share a core take turns as the kernel has them do, and never sleep.
    takes_all: bool,
    /// What others use of the core, where the target is the core's.
    others: Option<CoreTime>,
    asked: Asked,
    window: Window,
    waited: Waited,
    /// What one unit of work takes: a moving mean.
    unit: Duration,
    /// The part of the load that guards left, in the current period.
    left: f64,
    /// What they took, to its end.
    withheld: Duration,
    /// The load that a search asks for, in the current period.
    searched: Option<f64>,
}

/// The integral of the target.
#[derive(Debug, Default)]
struct Asked {
    /// Up to the beginning of the current period.
    before: Duration,
    /// The current period, since the origin.
    begin: Duration,
    end: Duration,
    /// The target in it.
    load: f64,
    /// What was asked and is no longer owed. The result still counts it as asked.
    forgiven: Duration,
    /// What others used beyond the target and is no longer held against it.
    excused: Duration,
}

#[derive(Debug, Default)]
struct Window {
    since: Duration,
    used: Duration,
    asked: Duration,
}

/// Core time since the origin.
#[derive(Debug, Clone, Copy)]
struct Used {
    own: Duration,
    others: Duration,
}

impl Used {
    fn all(self) -> Duration {
        self.own + self.others
    }
}

impl Pacer {
    /// Starts the clocks of a worker in a phase of that length. Unless they are to be in step, workers begin their periods
    /// apart, so that a load of all cores does not come in beats.
    pub(super) fn start(profile: &LoadProfile, phase: Duration, reins: &Reins) -> Self {
        let now = clock::boottime();
        reins.slot().first_burn_ns.store(clock::ns(now), Ordering::Relaxed);
        let (worker, workers) = reins.place();
        let apart = if profile.in_step { Duration::ZERO } else { PERIOD * worker as u32 / workers as u32 };
        let origin_cpu = clock::thread_cpu();
        let mut pacer = Self {
            curve: Curve::new(profile.shape.clone(), phase).rising(profile.rise),
            origin: reins.start().min(now),
            origin_cpu,
            takes_all: profile.takes_all(),
            others: profile.of_core.then(|| reins.core_time(origin_cpu)),
            asked: Asked::default(),
            window: Window::default(),
            waited: Waited::begin(),
            unit: Duration::ZERO,
            left: 1.0,
            withheld: Duration::ZERO,
            searched: reins.searched(),
        };
        pacer.begin_period(PERIOD - apart, reins);
        pacer
    }

    /// Does units of `work` for one stretch, or sleeps to the end of the period when its share is done; then says what to
    /// do next. `work` is called with a number of units, and may do fewer.
    pub(super) fn step(&mut self, reins: &Reins, mut work: impl FnMut(u32)) -> Flow {
        let elapsed = clock::boottime().saturating_sub(self.origin);
        let used = self.used();
        if elapsed >= self.asked.end {
            self.end_period(elapsed, used, reins);
        }
        let owed = self.asked.owed(used);
        // Rounded to the nearest whole unit: half a unit too much and half a unit too little cancel out.
        let takes_all = self.takes_all && self.left >= 1.0 && self.searched.is_none();
        if takes_all || owed > self.unit / 2 {
            let wanted = if takes_all { STRETCH } else { owed };
            let stretch = wanted.min(STRETCH).min(self.asked.end.saturating_sub(elapsed).max(self.unit));
            let units = if self.unit.is_zero() { 1 } else { whole_units(stretch, self.unit) };
            work(units);
            let own = clock::thread_cpu().saturating_sub(self.origin_cpu);
            let took = own.saturating_sub(used.own) / units;
            self.unit = if self.unit.is_zero() { took } else { (self.unit * 7 + took) / 8 };
        } else {
            reins.sleep_until((self.origin + self.asked.end).min(reins.end()));
        }
        let flow = reins.obey();
        match flow {
            Flow::Resumed(paused) => self.forget(paused),
            Flow::Stop => self.finish(reins),
            Flow::Burn => {}
        }
        flow
    }

    /// A pause that has just ended does not count. [`Pacer::step`] sees to its own.
    pub(super) fn forget(&mut self, paused: Duration) {
        self.origin += paused;
        if let Some(others) = &mut self.others {
            others.leave_out(clock::thread_cpu());
        }
    }

    fn used(&mut self) -> Used {
        let cpu = clock::thread_cpu();
        let others = self.others.as_mut().map_or(Duration::ZERO, |others| others.used(cpu));
        Used { own: cpu.saturating_sub(self.origin_cpu), others }
    }

    fn begin_period(&mut self, length: Duration, reins: &Reins) {
        let of_core = self.searched.unwrap_or_else(|| self.curve.mean(self.asked.end, length));
        let whole = of_core * reins.part();
        let load = whole * self.left;
        self.withheld += length.mul_f64((whole - load).max(0.0));
        reins.slot().target_ppm.store((load * 1e6) as u32, Ordering::Relaxed);
        self.asked.begin_period(length, load);
    }

    fn end_period(&mut self, elapsed: Duration, used: Used, reins: &Reins) {
        let (left, searched) = (reins.left_to_burn(), reins.searched());
        if left < self.left || searched < self.searched {
            // Less load is wanted now: what was missed before is not made good.
            self.asked.forgiven += self.asked.owed(used);
        }
        (self.left, self.searched) = (left, searched);
        let length = if searched.is_some() { SEARCH_PERIOD } else { PERIOD };
        while self.asked.end <= elapsed {
            self.begin_period(length, reins);
        }
        self.asked.forgive(used);
        self.publish(elapsed, used, reins);
        if elapsed - self.window.since >= WINDOW {
            self.end_window(elapsed, used, reins);
        }
    }

    fn end_window(&mut self, elapsed: Duration, used: Used, reins: &Reins) {
        let asked = self.asked.until(elapsed);
        let length = (elapsed - self.window.since).as_secs_f64();
        let achieved = (used.all().saturating_sub(self.window.used)).as_secs_f64() / length;
        let target = asked.saturating_sub(self.window.asked).as_secs_f64() / length;
        let error_ppm = ((achieved - target) * 1e6) as i64;
        let slot = reins.slot();
        control::add(&slot.windows, 1);
        control::add(&slot.window_errors_ppm, error_ppm.cast_unsigned());
        control::add(&slot.window_squares_ppm2, error_ppm.unsigned_abs().pow(2));
        if error_ppm.unsigned_abs() > load(&slot.window_worst_ppm).cast_signed().unsigned_abs() {
            slot.window_worst_ppm.store(error_ppm.cast_unsigned(), Ordering::Relaxed);
        }
        self.window = Window { since: elapsed, used: used.all(), asked };
        if let Some(waited) = self.waited.since_begin() {
            slot.waited_ns.store(clock::ns(waited), Ordering::Relaxed);
        }
    }

    fn finish(&mut self, reins: &Reins) {
        // What comes after the end, such as the way here, was not asked.
        let elapsed = reins.until().saturating_sub(self.origin);
        let used = self.used();
        self.publish(elapsed, used, reins);
        if let Some(waited) = self.waited.since_begin() {
            reins.slot().waited_ns.store(clock::ns(waited), Ordering::Relaxed);
        }
    }

    fn publish(&self, elapsed: Duration, used: Used, reins: &Reins) {
        let slot = reins.slot();
        slot.on_cpu_ns.store(clock::ns(used.own), Ordering::Relaxed);
        slot.others_ns.store(clock::ns(used.others), Ordering::Relaxed);
        slot.burning_ns.store(clock::ns(elapsed), Ordering::Relaxed);
        slot.asked_ns.store(clock::ns(self.asked.until(elapsed)), Ordering::Relaxed);
        slot.excused_ns.store(clock::ns(self.asked.excused), Ordering::Relaxed);
        slot.withheld_ns.store(clock::ns(self.withheld), Ordering::Relaxed);
    }
}

impl Asked {
    fn begin_period(&mut self, length: Duration, load: f64) {
        self.before = self.until(self.end);
        self.begin = self.end;
        self.end += length;
        self.load = load;
    }

    /// Up to an instant that is not before the current period. It may be after it.
    fn until(&self, elapsed: Duration) -> Duration {
        self.before + elapsed.saturating_sub(self.begin).mul_f64(self.load)
    }

    /// What is still to be used up to the end of the current period.
    fn owed(&self, used: Used) -> Duration {
        (self.until(self.end) + self.excused).saturating_sub(self.forgiven + used.all())
    }

    fn forgive(&mut self, used: Used) {
        self.forgiven += self.owed(used).saturating_sub(MEMORY);
        let surplus = (used.all() + self.forgiven).saturating_sub(self.until(self.end) + self.excused);
        self.excused += surplus.saturating_sub(MEMORY);
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn whole_units(stretch: Duration, unit: Duration) -> u32 {
    let units = (stretch.as_secs_f64() / unit.as_secs_f64()).round();
    (units as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn used(own: u32, others: u32) -> Used {
        Used { own: MS * own, others: MS * others }
    }

    fn after_periods(count: u32, load: f64) -> Asked {
        let mut asked = Asked::default();
        (0..count).for_each(|_| asked.begin_period(PERIOD, load));
        asked
    }

    #[test]
    fn what_others_use_is_not_owed() {
        let asked = after_periods(1, 0.5);
        assert_eq!(asked.owed(used(0, 0)), MS * 5);
        assert_eq!(asked.owed(used(2, 1)), MS * 2);
        assert_eq!(asked.owed(used(0, 9)), Duration::ZERO);
    }

    #[test]
    fn long_misses_and_long_surpluses_are_forgotten() {
        let mut starved = after_periods(200, 1.0);
        starved.forgive(used(0, 0));
        assert_eq!(starved.owed(used(0, 0)), MEMORY);
        // What was asked stays asked.
        assert_eq!(starved.until(starved.end), MS * 2_000);
        let mut crowded = after_periods(200, 0.5);
        crowded.forgive(used(0, 2_000));
        assert_eq!(crowded.owed(used(0, 2_000)), Duration::ZERO);
        // After another second without others all of the surplus that is kept has been made up for.
        (0..100).for_each(|_| crowded.begin_period(PERIOD, 0.5));
        assert_eq!(crowded.owed(used(0, 2_000)), Duration::ZERO);
        crowded.begin_period(PERIOD, 0.5);
        assert_eq!(crowded.owed(used(0, 2_000)), MS * 5);
    }

    #[test]
    fn the_integral_follows_the_load_within_a_period() {
        let mut asked = after_periods(2, 0.2);
        asked.begin_period(PERIOD, 1.0);
        assert_eq!(asked.until(MS * 20), MS * 4);
        assert_eq!(asked.until(MS * 25), MS * 9);
        assert_eq!(asked.until(asked.end), MS * 14);
    }
}
