//! Disks: what each does, and where the time of its requests went.

use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use super::{BAD, TITLE, count_per_s, figure, fitting, heat, latency, per_second, percent, put};
use crate::{
    text,
    top::{
        app::App,
        model::{DiskShown, Shown},
    },
};

/// A disk's line and its map.
const LEAST_ROWS: u16 = 6;
const MOST_ROWS: u16 = 14;

/// The view of disks alone.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let Some(shown) = app.shown() else { return };
    let disks = shown.disks.len();
    put(buffer, area, 0, Line::styled("latency from issue to completion, a column a second", TITLE));
    if disks == 0 {
        return;
    }
    let seen = usize::from((area.height - 1) / LEAST_ROWS).clamp(1, disks);
    let rows = ((area.height - 1) / seen as u16).min(MOST_ROWS);
    let first = app.scroll.min(disks - seen);
    let mut at = Rect { y: area.y + 1, height: rows, ..area };
    for disk in shown.disks.iter().skip(first).take(seen) {
        put(buffer, at, 0, line(disk));
        let map = Rect { y: at.y + 1, height: at.height - 1, ..at };
        heat::draw(app.heat(), &disk.name, shown.at_unix_ns, map, buffer);
        at.y += rows;
    }
    if seen < disks {
        let words = format!("disks {}-{} of {disks}, \u{2191}\u{2193}", first + 1, first + seen);
        buffer.set_string(
            area.right().saturating_sub(words.chars().count() as u16),
            area.y,
            words,
            super::MARKED,
        );
    }
}

/// The disk with most requests in the time that is seen.
pub(super) fn busiest<'a>(app: &App, shown: &'a Shown, seconds: usize) -> Option<&'a DiskShown> {
    let requests = |disk: &DiskShown| -> u64 {
        let bins = app.heat().columns(&disk.name, shown.at_unix_ns, seconds);
        bins.iter().flatten().map(|count| u64::from(*count)).sum()
    };
    // Of equals the first.
    shown.disks.iter().rev().max_by_key(|disk| requests(disk))
}

/// A disk in one line. What matters least comes last, and is cut first.
pub(super) fn line(disk: &DiskShown) -> Line<'static> {
    let [p50, p99, max] = disk.latency_ns;
    let words = format!(
        "{:<8} r {:>10} w {:>10} {:>7} busy {:>4} p50 {} p99 {} max {}",
        fitting(&disk.name, 8),
        per_second(disk.read_bytes_per_s),
        per_second(disk.written_bytes_per_s),
        count_per_s(disk.operations_per_s),
        percent(disk.busy),
        latency(p50),
        latency(p99),
        latency(max),
    );
    let in_flight = figure(disk.in_flight, |count| format!("  {} in flight", text::count(count)));
    match disk.errors_per_s {
        Ok(errors) if errors > 0.0 => {
            Line::styled(format!("{} {} errors  {words}{in_flight}", disk.name, count_per_s(Ok(errors))), BAD)
        }
        Ok(_) | Err(_) => Line::from(words + &in_flight),
    }
}
