//! What lies over a view: the keys, and the question before a run is stopped.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{BOLD, PLAIN, fitting};

const KEYS: [&str; 18] = [
    "1-5, tab     overview, cores, disks, network, run and guards",
    "\u{2191} \u{2193} or k j   scroll what does not fit",
    "g            cores: one character each",
    "space        pause, and go on",
    "\u{2190} \u{2192}          a frame back, a frame on",
    "PgUp PgDn    ten seconds back, ten seconds on",
    "Home         the oldest that the flight recorder has",
    "End          live",
    "s            stop the run; asks before",
    "q            quit; runs go on",
    "",
    "cores        \u{2588} burner \u{2593} others \u{2592} interrupts \u{2591} stolen",
    "heat map     a column a second; \u{2591}\u{2592}\u{2593}\u{2588} from few requests to many",
    "stalled      time that some tasks (all tasks) waited for it",
    "-            no reading: the line above the last one says why",
    "stale        the reading is too old to be shown",
    "",
    "any key closes this",
];

/// The keys.
pub(super) fn keys(area: Rect, buffer: &mut Buffer) {
    over(" keys ", &KEYS.map(str::to_owned), area, buffer);
}

/// The question.
pub(super) fn stop(run_id: &str, area: Rect, buffer: &mut Buffer) {
    let lines =
        [format!("stop run {run_id}?"), String::new(), "y stops it, any other key doesn't".to_owned()];
    over(" stop ", &lines, area, buffer);
}

/// A box in the middle.
pub(crate) fn over(title: &str, lines: &[String], area: Rect, buffer: &mut Buffer) {
    let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0) as u16;
    let (width, height) = ((widest + 4).min(area.width), (lines.len() as u16 + 2).min(area.height));
    let at =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let inner = usize::from(width - 2);
    for row in 0..height {
        let (left, fill, right) = match row {
            0 => ("\u{250c}", "\u{2500}", "\u{2510}"),
            _ if row == height - 1 => ("\u{2514}", "\u{2500}", "\u{2518}"),
            _ => ("\u{2502}", " ", "\u{2502}"),
        };
        let line = format!("{left}{}{right}", fill.repeat(inner));
        buffer.set_string(at.x, at.y + row, line, Style::reset());
        if let Some(line) = row.checked_sub(1).and_then(|row| lines.get(usize::from(row)))
            && row < height - 1
        {
            buffer.set_string(at.x + 2, at.y + row, fitting(line, width - 4), PLAIN);
        }
    }
    buffer.set_string(at.x + 2, at.y, title, BOLD);
}
