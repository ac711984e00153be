//! What a run was doing at an instant, from the events that it told: the same for now and for ten minutes ago.

use ssts_proto::v1::{self, Event, EventKind, Limits, Phase, RunState, RunSummary, Scenario};

use crate::{json, report::verdict_line, text};

/// Events beyond are left out, the oldest first: a run tells few.
const MOST_EVENTS: usize = 2_000;

/// One run, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RunTrack {
    pub(super) summary: RunSummary,
    pub(super) scenario: Scenario,
    pub(super) limits: Limits,
    pub(super) events: Vec<Event>,
}

/// Where a run stood.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RunMoment<'a> {
    pub(super) state: RunState,
    /// Since it started.
    pub(super) elapsed_ms: u64,
    /// The current phase, with its place and how long it has burned.
    pub(super) phase: Option<(usize, &'a Phase, u64)>,
}

impl From<v1::Run> for RunTrack {
    fn from(run: v1::Run) -> Self {
        Self {
            summary: run.summary.unwrap_or_default(),
            scenario: run.scenario.unwrap_or_default(),
            limits: run.limits.unwrap_or_default(),
            events: run.events,
        }
    }
}

impl RunTrack {
    /// Adds an event that came.
    pub(super) fn tell(&mut self, event: Event) {
        if self.events.len() == MOST_EVENTS {
            self.events.remove(0);
        }
        self.events.push(event);
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.summary.state() == RunState::Finished
    }

    /// Whether it went on at an instant.
    pub(super) fn spans(&self, at_unix_ns: i64) -> bool {
        let started = self.summary.started_at_unix_ns;
        let end = started.saturating_add_unsigned(self.summary.duration_ns);
        started <= at_unix_ns && (!self.is_over() || at_unix_ns <= end)
    }

    /// Where it stood at an instant.
    pub(super) fn at(&self, at_unix_ns: i64) -> RunMoment<'_> {
        let mut state = RunState::Pending;
        let mut phase: Option<(usize, &Phase)> = None;
        let mut burned_ns = 0i64;
        let mut burning_since: Option<i64> = None;
        for event in self.events.iter().filter(|event| event.at_unix_ns <= at_unix_ns) {
            let at = event.at_unix_ns;
            match event.kind() {
                EventKind::PhaseStarted => {
                    phase = event
                        .fields
                        .get("index")
                        .and_then(|index| index.parse().ok())
                        .and_then(|index| Some((index, self.scenario.phases.get(index)?)));
                    (state, burned_ns, burning_since) = (RunState::Running, 0, Some(at));
                }
                EventKind::PhaseFinished => (phase, burning_since) = (None, None),
                EventKind::RunPaused => {
                    burned_ns += burning_since.take().map_or(0, |since| at - since);
                    state = RunState::Paused;
                }
                EventKind::RunResumed => {
                    (state, burning_since) = (RunState::Running, phase.map(|_| at));
                }
                EventKind::RunStopping => state = RunState::Stopping,
                EventKind::RunFinished => (state, phase) = (RunState::Finished, None),
                _ => {}
            }
        }
        burned_ns += burning_since.map_or(0, |since| at_unix_ns - since);
        let ms = |ns: i64| u64::try_from(ns / 1_000_000).unwrap_or(0);
        RunMoment {
            state,
            elapsed_ms: ms(at_unix_ns - self.summary.started_at_unix_ns),
            phase: phase.map(|(index, phase)| (index, phase, ms(burned_ns).min(phase.duration_ms))),
        }
    }

    /// How it ended.
    pub(super) fn ending(&self) -> String {
        text::printable(&verdict_line(&self.summary)).into_owned()
    }
}

impl RunMoment<'_> {
    /// Such as `running`.
    pub(super) fn state_name(&self) -> String {
        json::state_name(self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn event(at_s: i64, kind: EventKind, fields: &[(&str, &str)]) -> Event {
        let fields = fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Event { at_unix_ns: at_s * S, kind: kind.into(), message: String::new(), fields }
    }

    fn track() -> RunTrack {
        let phase = |name: &str| Phase { name: name.into(), duration_ms: 30_000, ..Phase::default() };
        RunTrack {
            summary: RunSummary {
                started_at_unix_ns: 100 * S,
                duration_ns: 50 * S.unsigned_abs(),
                state: RunState::Finished.into(),
                ..RunSummary::default()
            },
            scenario: Scenario { phases: vec![phase("one"), phase("two")], ..Scenario::default() },
            events: vec![
                event(101, EventKind::PhaseStarted, &[("index", "0")]),
                event(105, EventKind::RunPaused, &[]),
                event(110, EventKind::RunResumed, &[]),
                event(120, EventKind::PhaseFinished, &[]),
                event(121, EventKind::PhaseStarted, &[("index", "1")]),
                event(150, EventKind::RunFinished, &[]),
            ],
            ..RunTrack::default()
        }
    }

    #[test]
    fn a_phase_is_told_at_every_instant_and_pauses_do_not_count() {
        let track = track();
        for (at_s, state, phase) in [
            (100, RunState::Pending, None),
            (104, RunState::Running, Some((0, 3_000))),
            (108, RunState::Paused, Some((0, 4_000))),
            (112, RunState::Running, Some((0, 6_000))),
            (131, RunState::Running, Some((1, 10_000))),
            (151, RunState::Finished, None),
        ] {
            let moment = track.at(at_s * S);
            let found = moment.phase.map(|(index, _, elapsed_ms)| (index, elapsed_ms));
            assert_eq!((moment.state, found), (state, phase), "{at_s}");
        }
    }

    #[test]
    fn a_run_spans_from_its_start_to_its_end() {
        let track = track();
        assert_eq!([99, 100, 150, 151].map(|at_s| track.spans(at_s * S)), [false, true, true, false]);
    }
}
