//! Pictures of a fleet: pure functions of [`App`].

use std::time::{SystemTime, UNIX_EPOCH};

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Line};

use super::{
    app::{App, Column, Overlay},
    host::{Row, Standing},
    map,
    names::short,
};
use crate::{
    text,
    top::{BAD, BOLD, DIM, MARKED, PLAIN, TITLE, WARN, clock, fitting, over, put},
};

/// Below this nothing can be shown that helps.
const LEAST_COLUMNS: u16 = 60;
pub(super) const LEAST_ROWS: u16 = 10;
/// Three rows and the columns' titles at the top, two at the bottom.
const FRAME_ROWS: u16 = 6;
/// Of the columns, in 80 characters with one between each.
const WIDTHS: [usize; 8] = [16, 11, 12, 10, 5, 7, 6, 6];
/// Beyond these the host's name has the first, and the phase what is left.
const LONGEST_NAME: usize = 40;

const KEYS: [&str; 15] = [
    "\u{2191} \u{2193} PgUp PgDn   choose a host, turn pages; Home the first, End the last",
    "Enter           look at the host; Esc comes back",
    "1-8, tab        sort by host, state, phase, load, temp, I/O, guards, lag",
    "r               the other way round",
    "/               filter by words, or LABEL=VALUE; Esc shows all",
    "m               map, a character each: of what hosts are sorted by; and back",
    "s               stop the chosen host's run wherever it goes on; asks before",
    "h               halt all hosts; asks before",
    "q               quit; runs go on",
    "",
    "load/asked      what burners have of a core, and what is asked of them",
    "I/O             the slowest request of all disks in the latest second",
    "lag             how late, or how old, the latest frame is",
    "",
    "any key closes this",
];

/// Says what there is room for, before [`draw`].
pub(crate) fn fit(app: &mut App, area: Rect) {
    let rows = usize::from(area.height.saturating_sub(FRAME_ROWS));
    if app.is_map {
        let columns = map::columns(area.width);
        app.fit(rows.saturating_sub(1) * columns, columns);
    } else {
        app.fit(rows, 1);
    }
}

/// Draws all.
pub(crate) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST_COLUMNS || area.height < LEAST_ROWS {
        let words = format!("at least {LEAST_COLUMNS}x{LEAST_ROWS} characters are needed");
        buffer.set_stringn(area.x, area.y, words, area.width.into(), PLAIN);
        return;
    }
    header(app, area, buffer);
    let body = Rect { y: area.y + 3, height: area.height - FRAME_ROWS + 1, ..area };
    if app.is_map {
        map::draw(app, body, buffer);
    } else {
        table(app, body, buffer);
    }
    footer(app, area, buffer);
    match &app.overlay {
        Overlay::None => {}
        Overlay::Help => over(" keys ", &KEYS.map(str::to_owned), area, buffer),
        Overlay::Halt => question(" halt ", &format!("halt all {} hosts?", app.members.len()), area, buffer),
        Overlay::Stop(run_id, hosts) => {
            let on = if *hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") };
            question(" stop ", &format!("stop run {run_id} on {on}?"), area, buffer);
        }
    }
}

/// Draws for paper: nothing is chosen, and there are no keys.
pub(crate) fn draw_still(app: &App, area: Rect, buffer: &mut Buffer) {
    draw(app, area, buffer);
    for y in [area.height - 2, area.height - 1] {
        buffer.set_string(area.x, y, " ".repeat(area.width.into()), Style::reset());
    }
}

fn question(title: &str, words: &str, area: Rect, buffer: &mut Buffer) {
    over(title, &[words.to_owned(), String::new(), "y does it, any other key doesn't".into()], area, buffer);
}

fn header(app: &App, area: Rect, buffer: &mut Buffer) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = clock(i64::try_from(now.as_nanos()).unwrap_or(0));
    let mut left = format!("fleet of {} hosts  ", app.members.len());
    if app.is_typing || !app.filter.is_empty() {
        let end = if app.is_typing { "_" } else { "" };
        left += &format!("filter: {}{end} ({})", app.filter, app.shown.len());
    } else {
        left += &time;
    }
    let (page, pages) = app.page();
    let way = if app.is_reversed { ", reversed" } else { "" };
    let right = format!("by {}{way}  page {page}/{pages}", app.sort.title());
    let width = usize::from(area.width);
    let room = width.saturating_sub(right.chars().count() + 1);
    put(buffer, area, 0, Line::styled(fitting(&left, room as u16), BOLD));
    buffer.set_string(area.right() - right.chars().count() as u16, area.y, right, PLAIN);
    let standing = Standing::ALL.into_iter().map(|standing| (standing, app.count(standing)));
    let counts = standing.filter(|(_, count)| *count > 0);
    let spans: Vec<_> = counts
        .map(|(standing, count)| {
            ratatui::text::Span::styled(format!("{count} {}  ", standing.word()), style(standing))
        })
        .collect();
    put(buffer, area, 1, Line::from(spans));
    put(buffer, area, 2, Line::styled(fitting(&summary(app), area.width), DIM));
}

/// Of all hosts: the mean load, and who has the most of what is bad.
fn summary(app: &App) -> String {
    let mut parts = Vec::new();
    let loads: Vec<f64> = app.rows.iter().filter_map(|row| row.gauges.achieved).collect();
    if !loads.is_empty() {
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        parts.push(format!("load {:.1}% mean of {}", mean * 100.0, loads.len()));
    }
    let most = |of: fn(&Row) -> Option<f64>| {
        let known = app.rows.iter().enumerate().filter_map(|(place, row)| Some((place, of(row)?)));
        known.max_by(|a, b| a.1.total_cmp(&b.1))
    };
    let name = |place: usize| app.members[place].name.as_str();
    if let Some((place, celsius)) = most(|row| row.gauges.celsius) {
        parts.push(format!("hottest {celsius:.0}\u{b0}C {}", name(place)));
    }
    if let Some((place, ns)) = most(|row| row.gauges.worst_io_ns.map(|ns| ns as f64)) {
        parts.push(format!("slowest I/O {} {}", text::nanoseconds(ns), name(place)));
    }
    let dropped: u64 = app.rows.iter().map(|row| row.dropped).sum();
    if dropped > 0 {
        parts.push(format!("{dropped} frames left out"));
    }
    parts.join("  ")
}

fn footer(app: &App, area: Rect, buffer: &mut Buffer) {
    let chosen = app.chosen().map(|place| {
        let (member, row) = (&app.members[place], &app.rows[place]);
        let mut words = vec![member.name.clone()];
        words.extend(row.why.as_ref().map(ToString::to_string));
        words.extend(row.run.as_ref().map(|run| format!("{} run {}", run.scenario, run.id)));
        words.extend(member.labels.iter().map(|(name, value)| format!("{name}={value}")));
        words.join("  ")
    });
    put(buffer, area, area.height - 2, Line::styled(fitting(&chosen.unwrap_or_default(), area.width), DIM));
    let last = match &app.notice {
        _ if app.is_typing => Line::styled("words to look for; Enter keeps the filter, Esc shows all", DIM),
        Some(notice) => Line::styled(fitting(notice, area.width), MARKED),
        None => Line::styled(
            "q quit  ? help  Enter open  1-8 sort  r reverse  / filter  m map  s stop  h halt",
            DIM,
        ),
    };
    put(buffer, area, area.height - 1, last);
}

fn table(app: &App, area: Rect, buffer: &mut Buffer) {
    let widths = widths(area.width);
    let mut x = area.x;
    for (column, width) in Column::ALL.into_iter().zip(widths) {
        let style = if column == app.sort { TITLE.patch(MARKED) } else { TITLE };
        let title = column.title();
        buffer.set_stringn(x, area.y, flush(title, width, column), width, style);
        x += width as u16 + 1;
    }
    let names: Vec<&str> = app.members.iter().map(|member| member.name.as_str()).collect();
    let short = short(&names, widths[0]);
    let rows = usize::from(area.height - 1);
    let cursor = app.cursor();
    for (line, (index, place)) in app.shown.iter().enumerate().skip(app.first).take(rows).enumerate() {
        let y = area.y + 1 + line as u16;
        let row = &app.rows[*place];
        let mut x = area.x;
        for (column, width) in Column::ALL.into_iter().zip(widths) {
            let (words, style) = cell(column, row, &short[*place], &app.phases[*place]);
            buffer.set_stringn(x, y, flush(&fitting(&words, width as u16), width, column), width, style);
            x += width as u16 + 1;
        }
        if cursor == Some(index) {
            buffer.set_style(Rect { y, height: 1, ..area }, MARKED);
        }
    }
    if app.shown.is_empty() {
        let words = if app.rows.is_empty() { "waiting" } else { "no host is of the filter's" };
        buffer.set_stringn(area.x, area.y + 1, words, area.width.into(), DIM);
    }
}

fn widths(width: u16) -> [usize; 8] {
    let mut widths = WIDTHS;
    let least: usize = WIDTHS.iter().sum::<usize>() + WIDTHS.len() - 1;
    let width = usize::from(width);
    if width < least {
        // The name and the phase give what is missing.
        let missing = least - width;
        widths[2] -= missing.min(widths[2] - 4);
        widths[0] -= (least - width - (WIDTHS[2] - widths[2])).min(widths[0] - 4);
    } else {
        widths[0] = (widths[0] + width - least).min(LONGEST_NAME);
        widths[2] += width - least - (widths[0] - WIDTHS[0]);
    }
    widths
}

/// Numbers stand to the right.
fn flush(words: &str, width: usize, column: Column) -> String {
    match column {
        Column::Host | Column::State | Column::Phase => words.to_owned(),
        _ => format!("{words:>width$}"),
    }
}

/// What a host shows in a column.
pub(super) fn cell(column: Column, row: &Row, name: &str, phase: &str) -> (String, Style) {
    let missing = || ("-".to_owned(), DIM);
    match column {
        Column::Host => (name.to_owned(), PLAIN),
        Column::State => (row.standing.word().to_owned(), style(row.standing)),
        Column::Phase => (phase.to_owned(), PLAIN),
        Column::Load => match (row.gauges.achieved, row.gauges.target) {
            (None, None) => missing(),
            (None, Some(target)) => (format!("-/{:.0}%", target * 100.0), DIM),
            (Some(achieved), None) => (format!("{:.1}%", achieved * 100.0), PLAIN),
            (Some(achieved), Some(target)) => {
                // As far off as a run lets be: docs/scenarios.md.
                let style = if target - achieved > 0.02 { WARN } else { PLAIN };
                (format!("{:.1}/{:.0}%", achieved * 100.0, target * 100.0), style)
            }
        },
        Column::Temperature => {
            row.gauges.celsius.map_or_else(missing, |celsius| (format!("{celsius:.0}\u{b0}C"), PLAIN))
        }
        Column::Latency => match row.gauges.worst_io_ns {
            Some(ns) => (text::nanoseconds(ns as f64), PLAIN),
            None if row.gauges.tells_io => ("idle".into(), DIM),
            None => missing(),
        },
        Column::Guards => match row.guards {
            None => missing(),
            // There is nothing on the host that they could look at.
            Some(guards) if guards.all == 0 => missing(),
            Some(guards) if guards.tripped > 0 => (format!("{} trip", guards.tripped), BAD),
            Some(guards) if guards.pending > 0 => (format!("{} pend", guards.pending), WARN),
            Some(_) => ("ok".into(), PLAIN),
        },
        Column::Lag => row.lag.map_or_else(missing, |lag| {
            let seconds = lag.as_secs_f64();
            let style = if seconds > 1.0 { WARN } else { PLAIN };
            (if seconds < 99.95 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }, style)
        }),
    }
}

/// How a standing is seen.
pub(super) fn style(standing: Standing) -> Style {
    match standing {
        standing if standing.is_trouble() => BAD,
        Standing::Stopping | Standing::Paused => WARN,
        Standing::Connecting | Standing::Idle => DIM,
        _ => PLAIN,
    }
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
