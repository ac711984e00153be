//! What is shown while a run goes on, or while a host is watched: a live picture on a terminal, else plain lines.

mod lines;
mod live;
mod view;

use std::time::{Duration, Instant};

use ssts_proto::v1::{Event, Frame, RunState, RunSummary, Scenario, Schema};

use self::{lines::Lines, live::Live};
use crate::{output::Output, telemetry::Telemetry};

/// How a run or a host is shown.
#[derive(Debug)]
pub(crate) struct Display {
    screen: Screen,
    now: Now,
}

/// Everything that is known at an instant.
#[derive(Debug, Default)]
struct Now {
    scenario: Scenario,
    summary: RunSummary,
    /// When the summary came.
    summary_at: Option<Instant>,
    telemetry: Telemetry,
}

#[derive(Debug)]
enum Screen {
    Live(Live),
    Lines(Lines),
    Silent,
}

/// What the user wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Progress beside a result that follows, on standard error.
    Progress,
    /// Nothing.
    Silence,
    /// The readings are the result: plain lines on standard output.
    Readings,
}

impl Display {
    /// Of a run, as far as it is known when its watch begins; of a host, without one.
    pub(crate) fn new(scenario: Scenario, summary: RunSummary, wish: Wish, output: &Output) -> Self {
        let screen = match wish {
            Wish::Silence => Screen::Silent,
            Wish::Readings => Screen::Lines(Lines::on_results()),
            Wish::Progress if output.on_terminal() => Screen::Live(Live::default()),
            Wish::Progress => Screen::Lines(Lines::on_messages()),
        };
        Self { screen, now: Now { scenario, summary, summary_at: Some(Instant::now()), ..Now::default() } }
    }

    /// Whether frames are worth sending, and how many a second.
    pub(crate) fn frames_per_s(&self) -> Option<f64> {
        match self.screen {
            // Long enough windows for rates that can be read.
            Screen::Live(_) => Some(4.0),
            Screen::Lines(_) => Some(0.5),
            Screen::Silent => None,
        }
    }

    /// How often `tick` shows something new.
    pub(crate) fn tick_time(&self) -> Duration {
        Duration::from_millis(250)
    }

    pub(crate) fn state(&mut self, summary: RunSummary, output: &mut Output) {
        self.now.summary = summary;
        self.now.summary_at = Some(Instant::now());
        self.tick(output);
    }

    pub(crate) fn event(&mut self, event: &Event, output: &mut Output) {
        let line = view::event_line(event, &self.now.summary);
        self.say(&line, output);
    }

    pub(crate) fn schema(&mut self, schema: Schema) {
        self.now.telemetry.accept_schema(schema);
    }

    pub(crate) fn frame(&mut self, frame: &Frame, output: &mut Output) {
        if let Err(malformed) = self.now.telemetry.accept_frame(frame) {
            self.say(&format!("a frame was left out: {malformed}"), output);
            return;
        }
        match &mut self.screen {
            Screen::Live(live) => live.draw(&self.now),
            Screen::Lines(lines) => lines.readings(&self.now, output),
            Screen::Silent => {}
        }
    }

    /// Time went on.
    pub(crate) fn tick(&mut self, _: &mut Output) {
        if let Screen::Live(live) = &mut self.screen {
            live.draw(&self.now);
        }
    }

    /// Says something beside the picture. Silence is kept only about progress.
    pub(crate) fn note(&mut self, text: &str, output: &mut Output) {
        match &self.screen {
            Screen::Live(live) => live.print(text),
            Screen::Lines(_) | Screen::Silent => output.message(text),
        }
    }

    /// Takes the picture away, so that the result has the terminal for itself.
    pub(crate) fn end(&mut self) {
        if let Screen::Live(live) = &mut self.screen {
            live.clear();
        }
    }

    fn say(&mut self, text: &str, output: &mut Output) {
        match &mut self.screen {
            Screen::Live(live) => live.print(text),
            Screen::Lines(lines) => lines.print(text, output),
            Screen::Silent => {}
        }
    }
}

impl Now {
    /// Since the current phase's clock started, as far as it went on since the agent told it.
    fn phase_elapsed_ms(&self) -> Option<u64> {
        let told_ms = self.summary.phase_elapsed_ns? / 1_000_000;
        Some(told_ms + self.since_told_ms())
    }

    /// Since the run started.
    fn run_elapsed_ms(&self) -> u64 {
        let told_ms = self.summary.duration_ns / 1_000_000;
        if self.summary.state() == RunState::Finished { told_ms } else { told_ms + self.age_ms() }
    }

    fn since_told_ms(&self) -> u64 {
        if self.summary.state() == RunState::Running { self.age_ms() } else { 0 }
    }

    fn age_ms(&self) -> u64 {
        self.summary_at.map_or(0, |at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
