//! The live picture on a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Now, view};
use crate::{scenario, text};

/// A few lines at the bottom of the terminal, drawn again and again.
#[derive(Debug)]
pub(super) struct Live {
    all: MultiProgress,
    run: ProgressBar,
    phase: ProgressBar,
    /// Burners, then the host.
    readings: Vec<ProgressBar>,
}

impl Default for Live {
    fn default() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let run = all.add(line());
        let phase = all.add(ProgressBar::new(1).with_style(style("{msg} {bar:30} {prefix}")));
        Self { all, run, phase, readings: Vec::new() }
    }
}

impl Live {
    pub(super) fn draw(&mut self, now: &Now) {
        let elapsed = text::clock(now.run_elapsed_ms());
        let planned = text::clock(scenario::duration_ms(&now.scenario));
        let name = text::printable(&now.summary.scenario).into_owned();
        self.run.set_message(format!(
            "{name}  run {}  {}  {elapsed} of {planned}",
            now.summary.run_id,
            view::state(now)
        ));
        if let Some(phase) = view::phase(now) {
            self.phase.set_length(phase.duration_ms);
            self.phase.set_position(phase.elapsed_ms);
            self.phase.set_message(format!("phase {}", phase.title));
            self.phase.set_prefix(format!("{} elapsed, {}", text::clock(phase.elapsed_ms), phase.left()));
        }
        let mut lines = view::burners(now);
        let host = view::host(&now.telemetry);
        if !host.is_empty() {
            lines.push(format!("host  {}", host.join("  ")));
        }
        while self.readings.len() > lines.len() {
            if let Some(surplus) = self.readings.pop() {
                self.all.remove(&surplus);
            }
        }
        while self.readings.len() < lines.len() {
            self.readings.push(self.all.add(line()));
        }
        for (bar, line) in self.readings.iter().zip(lines) {
            bar.set_message(line);
        }
    }

    /// Prints a line above the picture.
    pub(super) fn print(&self, text: &str) {
        // A terminal that is gone has nobody to tell.
        let _ = self.all.println(text);
    }

    pub(super) fn clear(&mut self) {
        let _ = self.all.clear();
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }
}

fn line() -> ProgressBar {
    ProgressBar::new(1).with_style(style("{wide_msg}"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
