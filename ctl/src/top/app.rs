//! What the user looks at, and what keys and the agent's answers change of it. It knows no terminal and no connection.

use std::{collections::VecDeque, time::Duration};

use ssts_proto::v1::{DescribeResponse, Frame, Limits, Schema};

use super::{heat::Heat, history::History, keys::Key, model::Shown, run::RunTrack, unix_ns};
use crate::telemetry::Telemetry;

/// Frames that are kept as they were shown: the flight recorder packs about a second at a time, and what it has not packed yet
/// must be there when the user steps back.
const KEPT: usize = 64;
/// How much of the latest time the flight recorder has not packed yet, at most.
const UNPACKED_NS: i64 = 2_000_000_000;
/// Runs that are remembered.
const MOST_RUNS: usize = 16;
/// How far PgUp and PgDn go.
const PAGE: Duration = Duration::from_secs(10);

/// One of the screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Overview,
    Cores,
    Disks,
    Network,
    Run,
}

impl View {
    pub(super) const ALL: [Self; 5] = [Self::Overview, Self::Cores, Self::Disks, Self::Network, Self::Run];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Cores => "cores",
            Self::Disks => "disks",
            Self::Network => "network",
            Self::Run => "run",
        }
    }
}

/// What lies over the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Overlay {
    None,
    Help,
    /// Asks whether this run shall be stopped.
    Stop(String),
}

/// Which time is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// The latest frame.
    Live,
    /// The frame at this instant of Unix time, or the one before.
    At(i64),
}

/// What a key asks of the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Interrupt,
    /// To the fleet that this host is of.
    Back,
    /// The flight recorder's frames are needed.
    History,
    /// Stop this run.
    Stop(String),
}

/// All that is known and chosen.
#[derive(Debug)]
pub(super) struct App {
    pub(super) host: DescribeResponse,
    pub(super) interval: Duration,
    pub(super) view: View,
    pub(super) overlay: Overlay,
    pub(super) when: When,
    /// The first row that is shown of what does not fit.
    pub(super) scroll: usize,
    /// Cores as one character each.
    pub(super) grid: bool,
    pub(super) notice: Option<String>,
    /// Why there is no connection.
    pub(super) lost: Option<String>,
    pub(super) runs: Vec<RunTrack>,
    /// It was opened out of a fleet's view, and there is a way back.
    pub(super) is_of_fleet: bool,
    live: Telemetry,
    kept: VecDeque<Shown>,
    heat: Heat,
    history: Option<History>,
    history_is_coming: bool,
    /// Made anew where the instant that is shown is another.
    past: Option<Shown>,
}

impl App {
    /// With the time between two frames.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            host: DescribeResponse::default(),
            interval,
            view: View::Overview,
            overlay: Overlay::None,
            when: When::Live,
            scroll: 0,
            grid: false,
            notice: None,
            lost: None,
            runs: Vec::new(),
            is_of_fleet: false,
            live: Telemetry::default(),
            kept: VecDeque::new(),
            heat: Heat::default(),
            history: None,
            history_is_coming: false,
            past: None,
        }
    }

    pub(super) fn schema(&mut self, schema: Schema) {
        self.live.accept_schema(schema);
    }

    pub(super) fn frame(&mut self, frame: &Frame) {
        if let Err(malformed) = self.live.accept_frame(frame) {
            self.notice = Some(format!("a frame was left out: {malformed}"));
            return;
        }
        let at = unix_ns(frame);
        self.heat.accept(&self.live, at);
        self.kept.push_back(Shown::of(&self.live, &self.host, at));
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
        self.lost = None;
    }

    /// A run, or news of one that is known.
    pub(super) fn run(&mut self, run: RunTrack) {
        match self.runs.iter_mut().find(|known| known.summary.run_id == run.summary.run_id) {
            Some(known) => *known = run,
            None => self.runs.push(run),
        }
        self.runs.sort_by_key(|run| run.summary.started_at_unix_ns);
        let surplus = self.runs.len().saturating_sub(MOST_RUNS);
        self.runs.drain(..surplus);
    }

    /// What the flight recorder had, or why it can't be read.
    pub(super) fn history(&mut self, history: Result<History, String>) {
        self.history_is_coming = false;
        match history {
            Ok(history) => {
                self.heat.extend_back(history.heat());
                self.history = Some(history);
                self.notice = None;
                self.look_back();
                // What it does not have now, it will not have a moment later.
                self.history_is_coming = false;
            }
            Err(why) => self.notice = Some(format!("the flight recorder can't be read: {why}")),
        }
    }

    /// The flight recorder's frames are on their way without a key's asking.
    pub(super) fn history_is_asked_for(&mut self) {
        self.history_is_coming = true;
    }

    /// What is shown.
    pub(super) fn shown(&self) -> Option<&Shown> {
        match self.when {
            When::Live => self.kept.back(),
            When::At(_) => self.past.as_ref(),
        }
    }

    /// The latency of disks over time.
    pub(super) fn heat(&self) -> &Heat {
        &self.heat
    }

    /// The runs that go, or went, on at the instant that is shown, the latest first.
    pub(super) fn current_runs(&self) -> Vec<&RunTrack> {
        let Some(shown) = self.shown() else { return Vec::new() };
        self.runs.iter().rev().filter(|run| run.spans(shown.at_unix_ns)).collect()
    }

    /// The latest of them.
    pub(super) fn current_run(&self) -> Option<&RunTrack> {
        let at = self.shown()?.at_unix_ns;
        self.runs.iter().rev().find(|run| run.spans(at))
    }

    /// The limits that hold for what is shown.
    pub(super) fn limits(&self) -> Option<&Limits> {
        self.current_run().map(|run| &run.limits).or(self.host.limits.as_ref())
    }

    /// How far behind the latest frame the one that is shown lies.
    pub(super) fn behind(&self) -> Option<Duration> {
        let behind_ns = self.kept.back()?.at_unix_ns - self.shown()?.at_unix_ns;
        Some(Duration::from_nanos(u64::try_from(behind_ns).unwrap_or(0)))
    }

    /// What a key means.
    pub(super) fn key(&mut self, key: Key) -> Option<Wish> {
        if key == Key::Interrupt {
            return Some(Wish::Interrupt);
        }
        match std::mem::replace(&mut self.overlay, Overlay::None) {
            Overlay::Stop(run_id) => {
                return if key == Key::Char('y') {
                    self.notice = Some("stopping the run".into());
                    Some(Wish::Stop(run_id))
                } else {
                    self.notice = Some("the run goes on".into());
                    None
                };
            }
            // Any key closes it, and only that.
            Overlay::Help => return None,
            Overlay::None => {}
        }
        self.notice = None;
        match key {
            Key::Char('q') => return Some(Wish::Quit),
            Key::Char('?' | 'h') => self.overlay = Overlay::Help,
            Key::Char(' ') => return self.pause_or_go_on(),
            Key::Char('s') => self.ask_to_stop(),
            Key::Char('g') => (self.grid, self.scroll) = (!self.grid, 0),
            Key::Char(digit @ '1'..='5') => self.show(View::ALL[digit as usize - '1' as usize]),
            Key::Tab => self.turn(1),
            Key::BackTab => self.turn(View::ALL.len() - 1),
            Key::Up | Key::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scroll += 1,
            Key::Left => return self.step(-1, self.interval),
            Key::Right => return self.step(1, self.interval),
            Key::PageUp => return self.step(-1, PAGE),
            Key::PageDown => return self.step(1, PAGE),
            Key::Home => return self.go_to_the_oldest(),
            Key::End => self.when = When::Live,
            Key::Escape if self.is_of_fleet => return Some(Wish::Back),
            Key::Char(_) | Key::Enter | Key::Backspace | Key::Escape | Key::Interrupt => {}
        }
        None
    }

    fn show(&mut self, view: View) {
        (self.view, self.scroll) = (view, 0);
    }

    fn turn(&mut self, by: usize) {
        let at = View::ALL.iter().position(|view| *view == self.view).unwrap_or(0);
        self.show(View::ALL[(at + by) % View::ALL.len()]);
    }

    fn ask_to_stop(&mut self) {
        match self.runs.iter().rev().find(|run| !run.is_over()) {
            Some(run) => self.overlay = Overlay::Stop(run.summary.run_id.clone()),
            None => self.notice = Some("no run goes on".into()),
        }
    }

    fn pause_or_go_on(&mut self) -> Option<Wish> {
        match self.when {
            When::At(_) => {
                self.when = When::Live;
                None
            }
            When::Live => {
                self.past = self.kept.back().cloned();
                self.when = When::At(self.past.as_ref()?.at_unix_ns);
                None
            }
        }
    }

    fn step(&mut self, direction: i64, by: Duration) -> Option<Wish> {
        let from = match (self.when, direction) {
            (When::Live, 1) => return None,
            (When::Live, _) => self.kept.back()?.at_unix_ns,
            (When::At(at), _) => at,
        };
        let to = from + direction * i64::try_from(by.as_nanos()).unwrap_or(0);
        if self.kept.back().is_some_and(|latest| to > latest.at_unix_ns) {
            self.when = When::Live;
            return None;
        }
        self.when = When::At(to);
        self.look_back()
    }

    fn go_to_the_oldest(&mut self) -> Option<Wish> {
        let oldest = self.history.as_ref().and_then(History::span).map(|(first, _)| first);
        let oldest = oldest.or(self.kept.front().map(|shown| shown.at_unix_ns))?;
        self.when = When::At(oldest);
        self.look_back().or_else(|| self.history.is_none().then(|| self.ask_for_history()).flatten())
    }

    /// Finds what is to be shown of the past.
    fn look_back(&mut self) -> Option<Wish> {
        let When::At(at) = self.when else { return None };
        let kept = self.kept.iter().rev().find(|shown| shown.at_unix_ns <= at);
        let span = self.history.as_ref().and_then(History::span);
        if let Some(shown) = kept {
            self.past = Some(shown.clone());
            return None;
        }
        match span {
            Some((first, _)) if at < first => {
                self.notice = Some("the flight recorder does not reach further back".into());
                self.when = When::At(first);
                self.unpack(first);
                None
            }
            // The latest second or so is not packed yet when it is fetched.
            Some((_, last)) if at <= last + UNPACKED_NS => {
                self.unpack(at.min(last));
                None
            }
            // Between what was fetched and what is kept, or nothing was fetched yet.
            _ => {
                if self.past.is_none() {
                    self.past = self.kept.front().cloned();
                }
                self.ask_for_history()
            }
        }
    }

    fn unpack(&mut self, at: i64) {
        let found = self.history.as_ref().and_then(|history| history.at(at, self.interval));
        if let Some((telemetry, at)) = found {
            self.past = Some(Shown::of(&telemetry, &self.host, at));
        }
    }

    fn ask_for_history(&mut self) -> Option<Wish> {
        if self.history_is_coming {
            return None;
        }
        self.history_is_coming = true;
        self.notice = Some("fetching the flight recorder".into());
        Some(Wish::History)
    }
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;
