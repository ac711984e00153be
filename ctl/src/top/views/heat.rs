//! A disk's latency over time: a column a second, a row a range of latency, a shade for how many requests.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
};

use super::DIM;
use crate::{
    text,
    top::heat::{Bin, Heat, ROWS, row_begin_ns},
};

/// Where the rows' latencies stand.
const LABELS: u16 = 9;
/// From few to many.
pub(crate) const SHADES: [(&str, Color); 4] = [
    ("\u{2591}", Color::Blue),
    ("\u{2592}", Color::Cyan),
    ("\u{2593}", Color::Yellow),
    ("\u{2588}", Color::Red),
];

/// Draws a disk's map, which ends at an instant; the last row has the time.
pub(super) fn draw(heat: &Heat, device: &str, until_unix_ns: i64, area: Rect, buffer: &mut Buffer) {
    if area.height < 2 || area.width <= LABELS {
        return;
    }
    let columns = usize::from(area.width - LABELS);
    let bins = heat.columns(device, until_unix_ns, columns);
    let axis = area.y + area.height - 1;
    let words = format!("-{columns} s");
    buffer.set_stringn(area.x + LABELS, axis, &words, columns, DIM);
    buffer.set_string(area.right() - 3, axis, "now", DIM);
    let Some((low, high)) = range(&bins) else {
        buffer.set_stringn(area.x + LABELS, area.y, format!("{device}: no request"), columns, DIM);
        return;
    };
    let rows = usize::from(area.height - 1);
    let in_row = (high - low + 1).div_ceil(rows);
    // What is left of the room is above, for what may come to be slower, and then below.
    let high = (low + rows * in_row).min(ROWS) - 1;
    let low = low.min((high + 1).saturating_sub(rows * in_row));
    let counts = |bin: &Bin, row: usize| -> u64 {
        let first = low + row * in_row;
        bin[first.min(ROWS)..(first + in_row).min(ROWS)].iter().map(|count| u64::from(*count)).sum()
    };
    let most = bins.iter().flat_map(|bin| (0..rows).map(move |row| counts(bin, row))).max().unwrap_or(1);
    for row in 0..rows {
        let y = axis - 1 - row as u16;
        let begin_ns = row_begin_ns((low + row * in_row).min(ROWS - 1));
        if low + row * in_row <= high {
            let label = text::nanoseconds(begin_ns as f64);
            buffer.set_stringn(area.x, y, format!("{label:>8}"), LABELS.into(), DIM);
        }
        for (column, bin) in bins.iter().enumerate() {
            if let Some((mark, color)) = shade(counts(bin, row), most) {
                buffer.set_string(area.x + LABELS + column as u16, y, mark, Style::new().fg(color));
            }
        }
    }
}

/// The lowest and the highest row with a request.
fn range(bins: &[Bin]) -> Option<(usize, usize)> {
    let has = |row: &usize| bins.iter().any(|bin| bin[*row] > 0);
    Some(((0..ROWS).find(has)?, (0..ROWS).rev().find(has)?))
}

/// By orders of magnitude: a single slow request must be seen beside thousands of quick ones.
fn shade(count: u64, most: u64) -> Option<(&'static str, Color)> {
    if count == 0 {
        return None;
    }
    let part = (count as f64).ln_1p() / (most as f64).ln_1p();
    let level = (part * SHADES.len() as f64).ceil() as usize;
    Some(SHADES[level.clamp(1, SHADES.len()) - 1])
}
