//! What a requirement needs to know of the host, read off the frames that come after it was asked: the phase before no longer
//! counts.

use std::time::Duration;

use ssts_proto::{
    catalogue::{HOST_MEMORY_AVAILABLE, HOST_TEMPERATURE},
    v1::{Requirement, ThresholdResult},
    validate::DEFAULT_WINDOW_MS,
};

use crate::{
    observe::{frame::Frame, schema::Schema},
    run::thresholds::Judged,
};

/// What is asked, and what was seen so far.
#[derive(Debug)]
pub(in crate::run) struct Asked {
    /// Over which conditions are judged. Nothing where there are none: one frame tells all else.
    window: Duration,
    /// How old a reading may be that counts.
    stale_after: Duration,
    conditions: Vec<Judged>,
    /// When its first frame ended, CLOCK_MONOTONIC.
    since: Option<Duration>,
    /// Once the window is over.
    pub(super) seen: Option<Seen>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(in crate::run) struct Seen {
    /// MemAvailable.
    pub(in crate::run) available_bytes: Option<f64>,
    /// Each sensor by its name; its temperature where it was read in time.
    pub(in crate::run) sensors: Vec<(String, Option<f64>)>,
    /// What came of the conditions, in their order.
    pub(in crate::run) conditions: Vec<ThresholdResult>,
}

impl Asked {
    /// A requirement's questions; `conditions` look at its own.
    pub(in crate::run) fn new(require: &Requirement, conditions: Vec<Judged>, stale_after: Duration) -> Self {
        Self { window: window(require), stale_after, conditions, since: None, seen: None }
    }

    /// Takes in a frame. Says whether there is an answer.
    pub(super) fn look(&mut self, schema: &Schema, frame: &Frame) -> bool {
        if self.seen.is_some() {
            return true;
        }
        let since = *self.since.get_or_insert(frame.end);
        self.conditions.iter_mut().for_each(|condition| condition.look(schema, frame, true));
        if frame.end.saturating_sub(since) < self.window {
            return false;
        }
        let mut seen = Seen::default();
        for (column, description) in schema.columns() {
            if *description.metric == HOST_MEMORY_AVAILABLE {
                seen.available_bytes = frame.reading(column).ok();
            } else if *description.metric == HOST_TEMPERATURE {
                let is_fresh = frame.end.saturating_sub(frame.read_at(column)) <= self.stale_after;
                let name = description.labels.first().cloned().unwrap_or_default();
                seen.sensors.push((name, frame.reading(column).ok().filter(|_| is_fresh)));
            }
        }
        seen.conditions = self.conditions.iter().map(|condition| condition.outcome(&[], true)).collect();
        self.seen = Some(seen);
        true
    }
}

/// Over which the conditions of a requirement are judged.
pub(in crate::run) fn window(require: &Requirement) -> Duration {
    match require.that.is_empty() {
        true => Duration::ZERO,
        false => Duration::from_millis(require.window_ms.unwrap_or(DEFAULT_WINDOW_MS)),
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::{
        thresholds::parse,
        v1::{AbsenceReason, ThresholdOutcome},
    };

    use super::*;
    use crate::run::thresholds::Thresholds;

    const STALE_AFTER: Duration = Duration::from_secs(2);

    #[test]
    fn the_window_is_seen_from_its_first_frame_on() {
        let that = vec![parse("host.memory.available.mean > 100").unwrap()];
        let require = Requirement { that, window_ms: Some(1_000), ..Requirement::default() };
        let conditions = require.that.iter().filter_map(|one| Thresholds::default().watch(one)).collect();
        let mut asked = Asked::new(&require, conditions, STALE_AFTER);
        let mut schema = Schema::new(1);
        let memory = schema.column(&HOST_MEMORY_AVAILABLE, &[]);
        let sensors = ["a", "b", "c"].map(|name| schema.column(&HOST_TEMPERATURE, &[name, "", "", ""]));
        let mut look = |at: f64, bytes| {
            let mut frame = Frame::default();
            frame.reset(&schema, 1);
            frame.end = Duration::from_secs_f64(at);
            frame.set(memory, Ok(bytes));
            frame.set(sensors[0], Ok(40.0));
            frame.set(sensors[1], Err(AbsenceReason::Stale));
            frame.hold(sensors[2], Ok(90.0), frame.end - STALE_AFTER - Duration::from_millis(1));
            asked.look(&schema, &frame)
        };
        assert_eq!([look(10.0, 50.0), look(10.5, 100.0), look(11.0, 300.0)], [false, false, true]);
        let seen = asked.seen.take().unwrap();
        assert_eq!(seen.available_bytes, Some(300.0));
        let sensors: Vec<_> = seen.sensors.iter().map(|(name, read)| (name.as_str(), *read)).collect();
        assert_eq!(sensors, [("a", Some(40.0)), ("b", None), ("c", None)]);
        assert_eq!(seen.conditions[0].value, Some(150.0));
        assert_eq!(seen.conditions[0].outcome(), ThresholdOutcome::Pass);
    }
}
