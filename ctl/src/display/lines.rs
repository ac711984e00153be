//! Plain lines, for files and pipes: every event, and the readings from time to time.

use super::{Now, view};
use crate::{output::Output, text};

/// Writes lines.
#[derive(Debug)]
pub(super) struct Lines {
    are_the_result: bool,
}

impl Lines {
    pub(super) fn on_results() -> Self {
        Self { are_the_result: true }
    }

    pub(super) fn on_messages() -> Self {
        Self { are_the_result: false }
    }

    pub(super) fn print(&mut self, line: &str, output: &mut Output) {
        if self.are_the_result {
            // Where it can't be written, the watch ends when it next looks whether anybody reads.
            let _ = output.result(&format!("{line}\n"));
        } else {
            output.message(line);
        }
    }

    pub(super) fn readings(&mut self, now: &Now, output: &mut Output) {
        let mut parts = Vec::new();
        if let Some(phase) = view::phase(now) {
            let elapsed = text::clock(now.run_elapsed_ms());
            parts.push(format!("{elapsed} {} phase {}, {}", view::state(now), phase.title, phase.left()));
        } else if !now.summary.run_id.is_empty() {
            parts.push(view::state(now));
        }
        parts.extend(view::burners(now));
        parts.push(view::host(&now.telemetry).join("  "));
        self.print(&parts.join(" | "), output);
    }
}
