//! Single readings of what an objective looks at, out of frames.

use std::time::Duration;

use ssts_proto::{
    catalogue::Kind,
    thresholds::{self, holds},
    v1::{GuardOrigin, Threshold, Violation},
};

use super::judge::Reading;
use crate::{
    guard::{GuardSet, GuardSpec, Owned},
    observe::{frame::Frame, schema::Schema},
    run::thresholds::reading_guard,
};

/// Over which a counter's rate is taken: the kernel sums up its pressure every 2 s (PSI_FREQ of kernel/sched/psi.c).
const RATE_WINDOW: Duration = Duration::from_secs(2);
/// How long the latest of a source that has gone away still stands.
const STALE_AFTER: Duration = Duration::from_secs(1);
/// Our own requests are answered at every tick; that nothing came of them for so long is an answer, too.
const SILENT_REQUESTS: Duration = Duration::from_secs(1);
/// Everything else may be asked more seldom.
const SILENT: Duration = Duration::from_secs(5);

/// What looks at the objective's columns, in a run of that id.
///
/// # Errors
/// What is wrong with the objective, told beneath `field`.
pub(in crate::run) fn spec(
    field: &str,
    objective: &Threshold,
    run: &str,
) -> Result<GuardSpec, Vec<Violation>> {
    let unknown = || {
        let message = format!("there is no metric '{}'", objective.metric);
        let (field, mend) = (format!("{field}.that"), "docs/metrics.md lists them".to_owned());
        vec![Violation { field, message, mend, ..Violation::default() }]
    };
    let metric = thresholds::metric(&objective.metric).ok_or_else(unknown)?;
    let mut guard = reading_guard(&Threshold { for_ms: 1, ..objective.clone() }, metric, run);
    guard.name = "objective".into();
    guard.for_ms = 0;
    // Of a histogram what came in one tick: each reading stands for itself.
    guard.window_ms = (metric.kind == Kind::Counter).then_some(RATE_WINDOW.as_millis() as u64);
    guard.min_samples = (metric.kind == Kind::Histogram).then_some(1);
    GuardSpec::new(field, &guard, GuardOrigin::Requested)
}

/// Reads it.
#[derive(Debug)]
pub(super) struct Readings {
    objective: Threshold,
    kind: Kind,
    silent_after: Duration,
    set: GuardSet,
    /// When the latest one was taken, and when one was last seen, CLOCK_MONOTONIC.
    read_at: Option<Duration>,
    seen: Duration,
}

impl Readings {
    /// From `now` on, CLOCK_MONOTONIC.
    pub(super) fn new(objective: &Threshold, spec: GuardSpec, now: Duration) -> Self {
        let asks = spec.metric.name == "burner.latency";
        Self {
            objective: objective.clone(),
            kind: spec.metric.kind,
            silent_after: if asks { SILENT_REQUESTS } else { SILENT },
            set: GuardSet::new(vec![spec], STALE_AFTER, now),
            read_at: None,
            seen: now,
        }
    }

    /// The reading that a frame brought, if it brought one that was not there before.
    pub(super) fn look(&mut self, schema: &Schema, frame: &Frame) -> Option<Reading> {
        self.set.look(schema, frame, &Owned::default());
        let guard = self.set.guards().first()?;
        let Some(value) = guard.value() else {
            // What answered before and has not for a while is not well.
            let has_gone = self.kind == Kind::Gauge && self.read_at.is_some();
            return has_gone.then_some(Reading { value: f64::NAN, is_broken: true });
        };
        let read_at = guard.read_at();
        let is_new = self.read_at.is_none_or(|before| match self.kind {
            Kind::Counter => read_at.saturating_sub(before) >= RATE_WINDOW,
            Kind::Gauge | Kind::Histogram => read_at > before,
        });
        if !is_new {
            return None;
        }
        (self.read_at, self.seen) = (Some(read_at), frame.end);
        Some(Reading { value, is_broken: !holds(&self.objective, value) })
    }

    /// Whether nothing was read for so long that something must be wrong.
    pub(super) fn is_silent(&self, now: Duration) -> bool {
        now.saturating_sub(self.seen) >= self.silent_after
    }

    /// Whether anything was ever read.
    pub(super) fn has_read(&self) -> bool {
        self.read_at.is_some()
    }

    /// Begins to wait anew, after a time in which nothing was to be read.
    pub(super) fn wait_from(&mut self, now: Duration) {
        self.seen = now;
    }

    /// The unit of its values.
    pub(super) fn unit(&self) -> &str {
        self.set.guards().first().map_or("1", |guard| &guard.spec().unit)
    }
}

#[cfg(test)]
mod tests {
    use ssts_agent_ebpf::histogram::Layout;
    use ssts_proto::{
        catalogue::{BURNER_LATENCY, PROTECTED_HEALTH_LATENCY},
        v1::AbsenceReason,
    };

    use super::*;
    use crate::observe::frame::BucketGain;

    const TICK: Duration = Duration::from_millis(100);

    fn readings(text: &str) -> Readings {
        let objective = thresholds::parse(text).unwrap();
        Readings::new(&objective, spec("objective", &objective, "mine").unwrap(), Duration::ZERO)
    }

    #[test]
    fn a_tick_of_a_histogram_is_a_reading_and_other_runs_are_none() {
        let mut readings = readings("http.request.latency.p99 < 10ms");
        let mut schema = Schema::new(1);
        let layout = Layout::new(4, 40);
        let column = schema.histogram(&BURNER_LATENCY, &["mine", "0.1", "http", "request"], layout);
        let other = schema.histogram(&BURNER_LATENCY, &["other", "0.1", "http", "request"], layout);
        let mut frame = Frame::default();
        let mut tick = |number: u32, column, latencies: &[u64]| {
            frame.reset(&schema, number.into());
            frame.end = TICK * number;
            for ns in latencies {
                let bucket = layout.index(*ns) as u32;
                frame.gain(BucketGain { column, bucket, count: 1 });
            }
            (readings.look(&schema, &frame).map(|reading| reading.is_broken), readings.is_silent(frame.end))
        };
        assert_eq!(tick(1, column, &[1_000_000; 5]), (Some(false), false));
        assert_eq!(tick(2, column, &[1_000_000, 30_000_000]), (Some(true), false));
        assert_eq!(tick(3, column, &[1_000_000]), (Some(false), false));
        assert_eq!(tick(4, other, &[30_000_000]), (None, false));
        assert_eq!(tick(13, column, &[]), (None, true));
    }

    #[test]
    fn a_gauge_that_is_shown_again_is_no_new_reading() {
        let mut readings = readings("protected.health.latency.max < 200ms");
        let mut schema = Schema::new(1);
        let column = schema.column(&PROTECTED_HEALTH_LATENCY, &["web.service"]);
        let mut frame = Frame::default();
        let mut tick = |number: u32, reading, at: u32| {
            frame.reset(&schema, number.into());
            frame.begin = TICK * number;
            frame.end = TICK * number;
            frame.hold(column, reading, TICK * at);
            readings.look(&schema, &frame).map(|reading| reading.is_broken)
        };
        assert_eq!(tick(1, Ok(0.1), 1), Some(false));
        assert_eq!(tick(2, Ok(0.1), 1), None);
        assert_eq!(tick(11, Ok(0.3), 10), Some(true));
        assert_eq!(tick(12, Err(AbsenceReason::ReadFailed), 12), None);
        assert_eq!(tick(30, Err(AbsenceReason::ReadFailed), 30), Some(true));
    }
}
