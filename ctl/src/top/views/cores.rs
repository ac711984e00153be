//! Cores: bars split by who ran, in as many columns as fit; a character each where they are many.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
    text::{Line, Span},
};

use super::{BAD, DIM, PLAIN, TITLE, figure, percent, put};
use crate::top::{
    app::App,
    model::{CoreShown, Reading, Shown},
};

/// What one core's bar and figures take at least.
const CELL: u16 = 39;
/// All of a cell but the bar: number, brackets, percent, temperature, frequency.
const FIGURES: u16 = 24;
/// Who ran: a character that can be told without colours, and a colour.
const SPLIT: [(&str, &str, Color); 4] = [
    ("burner", "\u{2588}", Color::Green),
    ("others", "\u{2593}", Color::Blue),
    ("irq", "\u{2592}", Color::Yellow),
    ("steal", "\u{2591}", Color::Red),
];
const LEVELS: [&str; 8] =
    ["\u{2581}", "\u{2582}", "\u{2583}", "\u{2584}", "\u{2585}", "\u{2586}", "\u{2587}", "\u{2588}"];
/// Cores in a row of the grid are a multiple of it, so that they can be counted.
const GRID_STEP: usize = 8;

/// The view of cores alone.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let Some(shown) = app.shown() else { return };
    put(buffer, area, 0, summary(shown));
    let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
    if app.grid {
        grid(shown, app.scroll, below, buffer);
    } else {
        bars(shown, app.scroll, below, buffer);
    }
}

/// Rows that all bars take.
pub(super) fn bar_rows(cores: usize, width: u16) -> usize {
    cores.div_ceil(usize::from((width / CELL).max(1)))
}

/// Rows that the grid takes.
pub(super) fn grid_rows(cores: usize, width: u16) -> usize {
    cores.div_ceil(in_grid_row(width))
}

/// All cores in one line.
pub(super) fn summary(shown: &Shown) -> Line<'static> {
    let mean = |part: fn(&CoreShown) -> Reading| {
        let parts: Vec<f64> = shown.cores.iter().filter_map(|core| part(core).ok()).collect();
        let missing = shown.cores.iter().find_map(|core| part(core).err());
        match (parts.is_empty(), missing) {
            (true, Some(why)) => Err(why),
            (true, None) => Err(crate::top::model::Why::NotReported),
            (false, _) => Ok(parts.iter().sum::<f64>() / parts.len() as f64),
        }
    };
    let parts: [fn(&CoreShown) -> Reading; 4] =
        [|core| core.burner, |core| core.others, |core| core.irq, |core| core.steal];
    let mut spans = vec![
        Span::styled(format!("{} cores", shown.cores.len()), TITLE),
        format!("  busy {}", percent(mean(CoreShown::busy))).into(),
    ];
    for ((name, mark, color), part) in SPLIT.into_iter().zip(parts) {
        spans.push("  ".into());
        spans.push(Span::styled(mark, Style::new().fg(color)));
        spans.push(format!(" {name} {}", percent(mean(part))).into());
    }
    let throttled = shown.cores.iter().filter(|core| core.throttled).count();
    if throttled > 0 {
        spans.push(Span::styled(format!("  {throttled} throttled"), BAD));
    }
    Line::from(spans)
}

/// A bar for each core, downwards and then to the right; from the row `scroll` on.
pub(super) fn bars(shown: &Shown, scroll: usize, area: Rect, buffer: &mut Buffer) {
    let columns = (area.width / CELL).max(1);
    let width = area.width / columns;
    let rows = bar_rows(shown.cores.len(), area.width);
    let scroll = scroll.min(rows.saturating_sub(usize::from(area.height)));
    for (index, core) in shown.cores.iter().enumerate() {
        let (column, row) = (index / rows, index % rows);
        let Some(row) = row.checked_sub(scroll).filter(|row| *row < usize::from(area.height)) else {
            continue;
        };
        let x = area.x + width * column as u16;
        // One column stays free between neighbours.
        buffer.set_line(x, area.y + row as u16, &cell(core, width - 1), width - 1);
    }
    more(scroll, usize::from(area.height), rows, area, buffer);
}

/// A character for each core; from the row `scroll` on.
pub(super) fn grid(shown: &Shown, scroll: usize, area: Rect, buffer: &mut Buffer) {
    let in_row = in_grid_row(area.width);
    let rows = grid_rows(shown.cores.len(), area.width);
    let scroll = scroll.min(rows.saturating_sub(usize::from(area.height)));
    for (row, cores) in shown.cores.chunks(in_row).skip(scroll).take(area.height.into()).enumerate() {
        let mut spans = vec![Span::styled(format!("{:>4} ", cores[0].cpu), DIM)];
        spans.extend(cores.iter().map(dot));
        buffer.set_line(area.x, area.y + row as u16, &Line::from(spans), area.width);
    }
    more(scroll, usize::from(area.height), rows, area, buffer);
}

/// Says that there is more than is seen.
fn more(scroll: usize, seen: usize, rows: usize, area: Rect, buffer: &mut Buffer) {
    if rows > seen && area.height > 0 {
        let words = format!(" rows {}-{} of {rows}, \u{2191}\u{2193} ", scroll + 1, scroll + seen);
        let width = words.chars().count() as u16;
        if width < area.width {
            buffer.set_string(area.right() - width, area.y, words, super::MARKED);
        }
    }
}

fn in_grid_row(width: u16) -> usize {
    (usize::from(width.saturating_sub(5)) / GRID_STEP * GRID_STEP).max(GRID_STEP)
}

fn dot(core: &CoreShown) -> Span<'static> {
    let Ok(busy) = core.busy() else { return Span::styled("-", DIM) };
    if busy < 0.01 {
        return Span::styled("\u{b7}", DIM);
    }
    let level = ((busy * LEVELS.len() as f64).ceil() as usize).clamp(1, LEVELS.len()) - 1;
    let parts = [core.burner, core.others, core.irq, core.steal].map(|part| part.unwrap_or(0.0));
    let most = parts.iter().zip(SPLIT).max_by(|a, b| a.0.total_cmp(b.0));
    let color =
        if core.throttled { Color::Magenta } else { most.map_or(Color::Reset, |(_, (_, _, color))| color) };
    Span::styled(LEVELS[level], Style::new().fg(color))
}

fn cell(core: &CoreShown, width: u16) -> Line<'static> {
    let bar = usize::from(width.saturating_sub(FIGURES).max(4));
    let mut spans = vec![Span::styled(format!("{:>4} ", core.cpu), PLAIN), "[".into()];
    spans.extend(split(core, bar));
    spans.push("]".into());
    spans.push(format!(" {:>4}", percent(core.busy())).into());
    let celsius = figure(core.celsius, |celsius| format!("{celsius:.0}\u{b0}C"));
    let style = if core.throttled { BAD } else { PLAIN };
    spans.push(Span::styled(format!(" {celsius:>5}"), style));
    spans.push(format!(" {:>5}", figure(core.hertz, |hertz| format!("{:.2}G", hertz / 1e9))).into());
    Line::from(spans)
}

/// The bar itself.
fn split(core: &CoreShown, width: usize) -> Vec<Span<'static>> {
    let parts = [core.burner, core.others, core.irq, core.steal].map(|part| part.unwrap_or(0.0));
    let at = |share: f64| (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    let mut end = 0.0;
    let mut spans = Vec::new();
    for (part, (_, mark, color)) in parts.into_iter().zip(SPLIT) {
        let begin = at(end);
        end += part;
        spans.push(Span::styled(mark.repeat(at(end) - begin), Style::new().fg(color)));
    }
    spans.push(" ".repeat(width - at(end)).into());
    spans
}
