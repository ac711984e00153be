//! The clock of a phase, which stands still while the run is paused.

use std::time::Duration;

/// The clock of a phase, CLOCK_BOOTTIME.
#[derive(Debug, Clone, Copy)]
pub(super) struct PhaseClock {
    index: u32,
    started: Duration,
    paused_since: Option<Duration>,
    paused: Duration,
}

impl PhaseClock {
    /// It starts at an instant, which may lie ahead.
    pub(super) fn starting(index: usize, started: Duration) -> Self {
        Self { index: index as u32, started, paused_since: None, paused: Duration::ZERO }
    }

    /// It stands still from now on.
    pub(super) fn pause(&mut self, now: Duration) {
        self.paused_since = Some(now);
    }

    /// It goes on, if it stood still.
    pub(super) fn resume(&mut self, now: Duration) {
        self.paused += self.paused_since.take().map_or(Duration::ZERO, |since| now - since);
    }

    /// The place of its phase in the scenario.
    pub(super) fn index(&self) -> usize {
        self.index as usize
    }

    /// Whether its start is over: it may lie ahead.
    pub(super) fn has_begun(&self, now: Duration) -> bool {
        now >= self.started
    }

    /// Whether it stands still.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_since.is_some()
    }

    /// When a phase of that length ends, unless it is paused again. Its start may lie ahead.
    pub(super) fn end_of(&self, length: Duration) -> Duration {
        self.started + self.paused + length
    }

    /// Time since it was started, pauses left out.
    pub(super) fn elapsed(&self, now: Duration) -> Duration {
        self.paused_since.unwrap_or(now).saturating_sub(self.started).saturating_sub(self.paused)
    }
}
