//! All hosts at a glance, a character each: how much each has of what hosts are sorted by.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{
    app::{App, Column},
    draw::{cell, style},
    host::{Row, Standing},
    names::short,
};
use crate::top::{BAD, DIM, SHADES};

/// Where the name of each line's first host stands.
const LABELS: u16 = 14;

/// How many hosts stand side by side.
pub(super) fn columns(width: u16) -> usize {
    usize::from(width.saturating_sub(LABELS)).max(1)
}

/// Draws the map; its last line says what its characters mean.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let side_by_side = columns(area.width);
    let span = span(app);
    let names: Vec<&str> = app.members.iter().map(|member| member.name.as_str()).collect();
    let short = short(&names, usize::from(LABELS) - 1);
    let lines = usize::from(area.height.saturating_sub(2));
    let cursor = app.cursor();
    let shown = app.shown.iter().enumerate().skip(app.first).take(lines * side_by_side);
    for (cell, (index, place)) in shown.enumerate() {
        let (line, column) = ((cell / side_by_side) as u16, (cell % side_by_side) as u16);
        let y = area.y + line;
        if column == 0 {
            let domain = app.domain(*place);
            let label = if domain.is_empty() { short[*place].clone() } else { domain.to_owned() };
            buffer.set_stringn(area.x, y, label, usize::from(LABELS) - 1, DIM);
        }
        let (mark, mut style) = mark(app.sort, &app.rows[*place], span);
        if cursor == Some(index) {
            style = style.add_modifier(Modifier::REVERSED);
        }
        buffer.set_string(area.x + LABELS + column, y, mark, style);
    }
    let legend = match span {
        None => "U unreachable  s silent  H halted  T tripped  R running  P paused  i idle".to_owned(),
        Some((low, high)) => {
            let words = |value: f64| cell(app.sort, &with(app.sort, value), "", "").0;
            let marks: String = SHADES.iter().map(|(mark, _)| *mark).collect();
            format!(
                "{}: {marks} from {} to {}  \u{b7} nothing known  x unreachable",
                app.sort.title(),
                words(low),
                words(high)
            )
        }
    };
    buffer.set_stringn(area.x, area.y + area.height - 1, legend, area.width.into(), DIM);
}

/// What the shades go from and to; nothing where states are shown.
fn span(app: &App) -> Option<(f64, f64)> {
    let values = || app.rows.iter().filter_map(|row| value(app.sort, row));
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    match app.sort {
        Column::Host | Column::State | Column::Phase | Column::Guards => None,
        // What differs by little must not look as if it differed by much.
        Column::Load => Some((0.0, 1.0)),
        Column::Temperature => Some(if low <= high { (low, high.max(low + 20.0)) } else { (20.0, 100.0) }),
        Column::Latency => Some(if low <= high { (low, high.max(low * 16.0)) } else { (1e5, 1e9) }),
        Column::Lag => Some((0.0, high.max(3.0))),
    }
}

fn value(column: Column, row: &Row) -> Option<f64> {
    match column {
        Column::Load => row.gauges.achieved,
        Column::Temperature => row.gauges.celsius,
        Column::Latency => row.gauges.worst_io_ns.map(|ns| ns as f64),
        Column::Lag => row.lag.map(|lag| lag.as_secs_f64()),
        _ => None,
    }
}

/// A row that shows that value, for its words.
fn with(column: Column, value: f64) -> Row {
    let mut row = Row::default();
    match column {
        Column::Load => row.gauges.achieved = Some(value),
        Column::Temperature => row.gauges.celsius = Some(value),
        Column::Latency => row.gauges.worst_io_ns = Some(value as u64),
        _ => row.lag = std::time::Duration::try_from_secs_f64(value).ok(),
    }
    row
}

fn mark(column: Column, row: &Row, span: Option<(f64, f64)>) -> (&'static str, Style) {
    let Some((low, high)) = span else {
        let letter = match row.standing {
            Standing::Unreachable => "U",
            Standing::Silent => "s",
            Standing::Halted => "H",
            Standing::Tripped => "T",
            Standing::Stopping => "S",
            Standing::Paused => "P",
            Standing::Running => "R",
            Standing::Pending => "p",
            Standing::Connecting => "\u{b7}",
            Standing::Idle => "i",
        };
        return (letter, style(row.standing));
    };
    if matches!(row.standing, Standing::Unreachable | Standing::Silent) {
        return ("x", BAD);
    }
    let Some(value) = value(column, row) else { return ("\u{b7}", DIM) };
    // Latencies differ by orders of magnitude.
    let part = match column {
        Column::Latency => (value / low).max(1.0).ln() / (high / low).ln(),
        _ => (value - low) / (high - low),
    };
    let level = ((part * SHADES.len() as f64) as usize).min(SHADES.len() - 1);
    let (mark, color) = SHADES[level];
    (mark, Style::new().fg(color))
}
