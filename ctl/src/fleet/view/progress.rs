//! How a fleet run goes on, while it does: a few lines at the bottom of a terminal, else plain lines.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ssts_proto::v1::{Event, EventKind, RunState, RunSummary, Scenario, Verdict};

use super::{feed::words, gauge::PREFIXES, host::HostNow};
use crate::{
    display::Wish,
    error::Failure,
    fleet::{FleetUpdate, FrameWish, Member, News},
    json,
    output::Output,
    report::verdict_line,
    scenario, text,
};

/// Frames of each host, and how often the picture is drawn.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two lines that only say how far it is.
const LINES_EVERY: Duration = Duration::from_secs(10);
/// Hosts in trouble that there is room for.
const NAMED: usize = 4;
/// Lines about single hosts, of one kind: beyond, only their number is told.
const LINES_OF_A_KIND: usize = 20;

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
pub(crate) struct Progress {
    names: Vec<String>,
    scenario: Scenario,
    run_id: String,
    parts: Vec<Part>,
    begins_at_unix_ns: Option<i64>,
    epoch: Instant,
    screen: Screen,
    said: BTreeMap<&'static str, usize>,
}

#[derive(Debug)]
enum Screen {
    Live(Live),
    Lines { told: Option<Instant>, counts: String },
    Silent,
}

#[derive(Debug)]
struct Live {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl Progress {
    /// Of all hosts of a run, by their places in the fleet.
    pub(crate) fn new(members: &[Member], run_id: &str, scenario: &Scenario, wish: Wish, output: &Output) -> Self {
        let part = |_: &Member| Part {
            stage: Stage::Connecting,
            before: Stage::Connecting,
            now: HostNow::default(),
            summary: RunSummary::default(),
            trouble: None,
        };
        let screen = match wish {
            Wish::Silence => Screen::Silent,
            Wish::Progress if output.on_terminal() => Screen::Live(Live::new()),
            Wish::Progress | Wish::Readings => Screen::Lines { told: None, counts: String::new() },
        };
        Self {
            names: members.iter().map(|member| text::printable(&member.name).into_owned()).collect(),
            scenario: scenario.clone(),
            run_id: run_id.to_owned(),
            parts: members.iter().map(part).collect(),
            begins_at_unix_ns: None,
            epoch: Instant::now(),
            screen,
            said: BTreeMap::new(),
        }
    }

    /// Which telemetry it shows; none where nobody looks.
    pub(crate) fn frames(&self) -> Option<FrameWish> {
        let prefixes = PREFIXES.map(str::to_owned).to_vec();
        (!matches!(self.screen, Screen::Silent)).then_some(FrameWish { rate_hz: 1.0, prefixes })
    }

    /// How often `tick` shows something new.
    pub(crate) fn tick_time(&self) -> Duration {
        INTERVAL
    }

    /// Takes news of a host over.
    pub(crate) fn take(&mut self, update: FleetUpdate, output: &mut Output) {
        let Some(part) = self.parts.get_mut(update.member) else { return };
        let now = Instant::now();
        let told = match update.news {
            News::Connected => {
                part.now.connected(now);
                part.to(Stage::Connected)
            }
            News::Ready => part.to(Stage::Ready),
            News::NotReady(failure) => part.in_trouble(Stage::NotReady, "not ready", &failure),
            News::CalledOff => part.to(Stage::CalledOff),
            News::Begins { at_unix_ns } => {
                self.begins_at_unix_ns = Some(at_unix_ns);
                part.to(Stage::Begins)
            }
            News::State(summary) => part.state(summary),
            News::Event(event) => part.event(&event),
            News::Guards(guards) => {
                part.now.guards(&guards);
                None
            }
            News::Schema(schema) => {
                part.now.schema(schema);
                None
            }
            News::Frame(frame) => {
                part.now.frame(&frame, now, self.epoch);
                None
            }
            News::Lost(failure) => {
                part.now.lost(&words(&failure));
                if part.stage != Stage::Lost {
                    part.before = part.stage;
                }
                part.in_trouble(Stage::Lost, "lost", &failure)
            }
            News::Back => {
                part.now.connected(now);
                part.stage = part.before;
                part.trouble = None;
                Some(("back", "it is there again".to_owned()))
            }
            News::Over => None,
        };
        if let Some((kind, words)) = told {
            self.say(update.member, kind, &words, output);
        }
    }

    /// Time went on.
    pub(crate) fn tick(&mut self, output: &mut Output) {
        let lines = self.lines();
        match &mut self.screen {
            Screen::Live(live) => live.draw(&lines),
            Screen::Lines { told, counts } => {
                let Some(now) = lines.get(1) else { return };
                // At once when something has changed, else from time to time.
                let is_due = told.is_none_or(|told| told.elapsed() >= LINES_EVERY);
                let is_new = *now != *counts && told.is_none_or(|told| told.elapsed() >= INTERVAL);
                if is_due || is_new {
                    output.message(&lines[..lines.len().min(3)].join(" | "));
                    (*told, *counts) = (Some(Instant::now()), now.clone());
                }
            }
            Screen::Silent => {}
        }
    }

    /// Says something beside the picture. Silence is kept only about progress.
    pub(crate) fn note(&mut self, text: &str, output: &mut Output) {
        match &self.screen {
            Screen::Live(live) => live.print(text),
            Screen::Lines { .. } | Screen::Silent => output.message(text),
        }
    }

    /// Takes the picture away, so that the result has the terminal for itself.
    pub(crate) fn end(&mut self) {
        if let Screen::Live(live) = &mut self.screen {
            live.clear();
        }
    }

    /// About one host. Of a kind that many tell of, only the first.
    fn say(&mut self, member: usize, kind: &'static str, words: &str, output: &mut Output) {
        let said = self.said.entry(kind).or_default();
        *said += 1;
        let line = match (*said).cmp(&LINES_OF_A_KIND) {
            std::cmp::Ordering::Less => format!("{}: {kind}: {words}", self.names[member]),
            std::cmp::Ordering::Equal => format!("more hosts: {kind}; the result names them all"),
            std::cmp::Ordering::Greater => return,
        };
        match &self.screen {
            Screen::Live(live) => live.print(&line),
            Screen::Lines { .. } => output.message(&line),
            Screen::Silent => {}
        }
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
            lines.push(format!("  {name}  {}: {}", part.stage.word(), part.trouble.as_deref().unwrap_or_default()));
        }
        if more > 0 {
            lines.push(format!("  and {more} more"));
        }
        lines
    }

    fn counts(&self) -> String {
        let mut counts: BTreeMap<Stage, usize> = BTreeMap::new();
        self.parts.iter().for_each(|part| *counts.entry(part.stage).or_default() += 1);
        let counts: Vec<_> = counts.iter().map(|(stage, count)| format!("{count} {}", stage.word())).collect();
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
        let short = most(&|row| row.gauges.target.and_then(|_| row.shortfall()).filter(|short| *short > 0.02));
        parts.extend(short.map(|(short, name)| format!("{:.1} points short {name}", short * 100.0)));
        parts.extend(most(&|row| row.gauges.celsius).map(|(c, name)| format!("hottest {c:.0} \u{b0}C {name}")));
        let slowest = most(&|row| row.gauges.worst_io_ns.map(|ns| ns as f64));
        parts.extend(slowest.map(|(ns, name)| format!("slowest I/O {} {name}", text::nanoseconds(ns))));
        parts.join("  ")
    }
}

type Told = Option<(&'static str, String)>;

impl Part {
    fn to(&mut self, stage: Stage) -> Told {
        self.stage = stage;
        self.trouble = None;
        None
    }

    fn in_trouble(&mut self, stage: Stage, kind: &'static str, failure: &Failure) -> Told {
        let words = words(failure);
        let is_new = self.stage != stage || self.trouble.as_deref() != Some(words.as_str());
        self.stage = stage;
        self.trouble = Some(words.clone());
        is_new.then_some((kind, words))
    }

    fn state(&mut self, summary: RunSummary) -> Told {
        let was_over = self.summary.state() == RunState::Finished;
        let stage = match summary.state() {
            RunState::Running => Stage::Running,
            RunState::Paused => Stage::Paused,
            RunState::Stopping => Stage::Stopping,
            RunState::Finished => Stage::Finished,
            // Preparing, ready or about to begin: told apart by other news.
            RunState::Pending | RunState::Unspecified => self.stage,
        };
        self.now.runs([&summary]);
        self.summary = summary;
        let is_refused = matches!(self.stage, Stage::NotReady | Stage::CalledOff);
        if !is_refused {
            self.stage = stage;
            self.before = stage;
        }
        if self.stage != Stage::Finished || was_over {
            return None;
        }
        self.trouble = self.has_failed().then(|| verdict_line(&self.summary));
        self.trouble.clone().map(|words| ("ended", words))
    }

    /// Those that a person beside a fleet should hear of.
    fn event(&mut self, event: &Event) -> Told {
        let kind = match event.kind() {
            EventKind::GuardTripped => "guard",
            EventKind::HardwareError => "hardware error",
            EventKind::ThresholdFailed => "threshold",
            EventKind::KernelLog => "kernel log",
            _ => return None,
        };
        Some((kind, text::printable(&event.message).replace('\n', " ")))
    }

    fn has_failed(&self) -> bool {
        self.summary.state() == RunState::Finished
            && !matches!(self.summary.verdict(), Verdict::Pass | Verdict::Unspecified)
            && json::cause(&self.summary).as_deref() != Some("released")
    }
}

impl Live {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { all, lines: Vec::new() }
    }

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

    /// Prints a line above the picture.
    fn print(&self, text: &str) {
        // A terminal that is gone has nobody to tell.
        let _ = self.all.println(text);
    }

    fn clear(&mut self) {
        let _ = self.all.clear();
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
