//! How a fleet run goes on, while it does: a few lines at the bottom of a terminal. What one host does alone is told above them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ssts_proto::v1::{RunState, RunSummary, Scenario, Verdict};

use super::{feed::words, gauge::PREFIXES, host::HostNow};
use crate::{
    fleet::{FleetUpdate, FrameWish, Member, News},
    report::verdict_line,
    scenario, text,
};

/// Frames of each host, and how often the picture is drawn.
const INTERVAL: Duration = Duration::from_secs(1);
/// Hosts in trouble that there is room for.
const NAMED: usize = 4;

/// Where one host's part stands, in the order in which it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Connecting,
    Connected,
    Ready,
    Begins,
    Running,
    Paused,
    Stopping,
    Finished,
    NotReady,
    CalledOff,
    Lost,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "preparing",
            Self::Ready => "ready",
            Self::Begins => "about to begin",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Finished => "over",
            Self::NotReady => "not ready",
            Self::CalledOff => "called off",
            Self::Lost => "lost",
        }
    }
}

#[derive(Debug)]
struct Part {
    stage: Stage,
    /// Before it was lost.
    before: Stage,
    now: HostNow,
    summary: RunSummary,
    /// Why it is in trouble.
    trouble: Option<String>,
}

/// A fleet run as it goes on.
#[derive(Debug)]
pub(crate) struct LiveFleet {
    names: Vec<String>,
    scenario: Scenario,
    run_id: String,
    parts: Vec<Part>,
    epoch: Instant,
    picture: Picture,
}

#[derive(Debug)]
struct Picture {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl LiveFleet {
    /// Of all hosts of a run, by their places in the fleet; on the terminal that standard error is.
    pub(crate) fn new(members: &[Member], run_id: &str, scenario: &Scenario) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self::on(all, members, run_id, scenario)
    }

    fn on(all: MultiProgress, members: &[Member], run_id: &str, scenario: &Scenario) -> Self {
        let part = |_: &Member| Part {
            stage: Stage::Connecting,
            before: Stage::Connecting,
            now: HostNow::default(),
            summary: RunSummary::default(),
            trouble: None,
        };
        Self {
            names: members.iter().map(|member| text::printable(&member.name).into_owned()).collect(),
            scenario: scenario.clone(),
            run_id: run_id.to_owned(),
            parts: members.iter().map(part).collect(),
            epoch: Instant::now(),
            picture: Picture { all, lines: Vec::new() },
        }
    }

    /// Which telemetry it shows.
    pub(crate) fn frames() -> FrameWish {
        FrameWish { rate_hz: 1.0, prefixes: PREFIXES.map(str::to_owned).to_vec() }
    }

    /// Takes news of a host over.
    pub(crate) fn take(&mut self, update: &FleetUpdate) {
        let Some(part) = self.parts.get_mut(update.member) else { return };
        let now = Instant::now();
        match &update.news {
            News::Connected => {
                part.now.connected(now);
                part.to(Stage::Connected);
            }
            News::Ready => part.to(Stage::Ready),
            News::NotReady(failure) => part.in_trouble(Stage::NotReady, words(failure)),
            News::CalledOff => part.to(Stage::CalledOff),
            News::Begins { .. } => part.to(Stage::Begins),
            News::State(summary) => part.state(summary),
            News::Guards(guards) => part.now.guards(guards),
            News::Schema(schema) => part.now.schema(schema.clone()),
            News::Frame(frame) => part.now.frame(frame, now, self.epoch),
            News::Lagged(lagged) => part.now.dropped(lagged.dropped),
            News::Lost(failure) => {
                part.now.lost(&words(failure));
                if part.stage != Stage::Lost {
                    part.before = part.stage;
                }
                part.in_trouble(Stage::Lost, words(failure));
            }
            News::Back => {
                part.now.connected(now);
                part.to(part.before);
            }
            News::Halted(Ok(())) => part.now.halted(true),
            News::Halted(Err(failure)) => part.trouble = Some(format!("NOT HALTED: {}", words(failure))),
            // Of no host alone: the line above says it.
            News::Wave { .. } | News::CutShort(_) | News::GateShut(_) | News::Event(_) | News::Over => {}
        }
    }

    /// Draws it as it is now.
    pub(crate) fn draw(&mut self) {
        let lines = self.lines();
        self.picture.draw(&lines);
    }

    /// Prints a line above the picture.
    pub(crate) fn print(&self, text: &str) {
        // A terminal that is gone has nobody to tell.
        let _ = self.picture.all.println(text);
    }

    /// Takes the picture away, so that the result has the terminal for itself.
    pub(crate) fn clear(&mut self) {
        let _ = self.picture.all.clear();
        self.picture.all.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// The picture: what it is, how many stand where, what they do, who is in trouble.
    fn lines(&self) -> Vec<String> {
        let name = text::printable(&self.scenario.name);
        let planned = text::clock(scenario::duration_ms(&self.scenario));
        let elapsed_ns = self.parts.iter().map(|part| part.summary.duration_ns).max().unwrap_or(0);
        let elapsed = text::clock(elapsed_ns / 1_000_000);
        let mut lines = vec![format!("{name}  run {}  {elapsed} of {planned}", self.run_id), self.counts()];
        let doing = self.doing();
        if !doing.is_empty() {
            lines.push(doing);
        }
        let in_trouble = self.parts.iter().zip(&self.names).filter(|(part, _)| part.trouble.is_some());
        let more = in_trouble.clone().count().saturating_sub(NAMED);
        for (part, name) in in_trouble.take(NAMED) {
            lines.push(format!(
                "  {name}  {}: {}",
                part.stage.word(),
                part.trouble.as_deref().unwrap_or_default()
            ));
        }
        if more > 0 {
            lines.push(format!("  and {more} more"));
        }
        lines
    }

    fn counts(&self) -> String {
        let mut counts: BTreeMap<Stage, usize> = BTreeMap::new();
        self.parts.iter().for_each(|part| *counts.entry(part.stage).or_default() += 1);
        let counts: Vec<_> =
            counts.iter().map(|(stage, count)| format!("{count} {}", stage.word())).collect();
        let failed = self.parts.iter().filter(|part| part.has_failed()).count();
        let failed = if failed > 0 { format!("; {failed} did not pass") } else { String::new() };
        format!("{} hosts: {}{failed}", self.parts.len(), counts.join(", "))
    }

    fn doing(&self) -> String {
        let now = Instant::now();
        let rows: Vec<_> = self.parts.iter().map(|part| part.now.row(now, INTERVAL)).collect();
        let mut parts = Vec::new();
        let loads: Vec<f64> = rows.iter().filter_map(|row| row.gauges.achieved).collect();
        if !loads.is_empty() {
            parts.push(format!("load {:.1} % mean", loads.iter().sum::<f64>() / loads.len() as f64 * 100.0));
        }
        let most = |of: &dyn Fn(&super::Row) -> Option<f64>| {
            let known = rows.iter().zip(&self.names).filter_map(|(row, name)| Some((of(row)?, name)));
            known.max_by(|a, b| a.0.total_cmp(&b.0))
        };
        // Only one that is short of what it should have is worth a name.
        let short =
            most(&|row| row.gauges.target.and_then(|_| row.shortfall()).filter(|short| *short > 0.02));
        parts.extend(short.map(|(short, name)| format!("{:.1} points short {name}", short * 100.0)));
        parts.extend(
            most(&|row| row.gauges.celsius).map(|(c, name)| format!("hottest {c:.0} \u{b0}C {name}")),
        );
        let slowest = most(&|row| row.gauges.worst_io_ns.map(|ns| ns as f64));
        parts.extend(slowest.map(|(ns, name)| format!("slowest I/O {} {name}", text::nanoseconds(ns))));
        parts.join("  ")
    }
}

impl Part {
    fn to(&mut self, stage: Stage) {
        self.stage = stage;
        self.trouble = None;
    }

    fn in_trouble(&mut self, stage: Stage, why: String) {
        self.stage = stage;
        self.trouble = Some(why);
    }

    fn state(&mut self, summary: &RunSummary) {
        self.now.runs([summary]);
        self.summary = summary.clone();
        if matches!(self.stage, Stage::NotReady | Stage::CalledOff) {
            return;
        }
        match summary.state() {
            RunState::Running => self.to(Stage::Running),
            RunState::Paused => self.to(Stage::Paused),
            RunState::Stopping => self.to(Stage::Stopping),
            RunState::Finished => {
                self.to(Stage::Finished);
                self.trouble = self.has_failed().then(|| verdict_line(&self.summary));
            }
            // Preparing, ready or about to begin: told apart by other news.
            RunState::Pending | RunState::Unspecified => {}
        }
    }

    fn has_failed(&self) -> bool {
        self.summary.state() == RunState::Finished
            && !matches!(self.summary.verdict(), Verdict::Pass | Verdict::Unspecified)
    }
}

impl Picture {
    fn draw(&mut self, lines: &[String]) {
        while self.lines.len() > lines.len() {
            if let Some(surplus) = self.lines.pop() {
                self.all.remove(&surplus);
            }
        }
        while self.lines.len() < lines.len() {
            let style = ProgressStyle::with_template("{wide_msg}");
            let bar = ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.lines.push(self.all.add(bar));
        }
        for (bar, line) in self.lines.iter().zip(lines) {
            bar.set_message(line.clone());
        }
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
