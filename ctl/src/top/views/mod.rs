//! Pictures of what is known: pure functions of [`App`], one file for each thing that is drawn.

mod cores;
mod disks;
pub(crate) mod heat;
pub(crate) mod help;
mod network;
mod overview;
mod run;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use super::{
    app::{App, Overlay, View, When},
    model::{Reading, Why},
};
use crate::text;

/// Below this nothing can be shown that helps.
const LEAST_COLUMNS: u16 = 40;
const LEAST_ROWS: u16 = 10;
/// Two rows at the top, two at the bottom.
const FRAME_ROWS: u16 = 4;

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const DIM: Style = Style::new().fg(Color::DarkGray);
pub(crate) const TITLE: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);
pub(crate) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(crate) const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
pub(crate) const WARN: Style = Style::new().fg(Color::Yellow);
pub(crate) const MARKED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws all.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST_COLUMNS || area.height < LEAST_ROWS {
        let words = format!("at least {LEAST_COLUMNS}x{LEAST_ROWS} characters are needed");
        buffer.set_stringn(area.x, area.y, words, area.width.into(), PLAIN);
        return;
    }
    header(app, area, buffer);
    footer(app, area, buffer);
    let body = Rect { y: area.y + 2, height: area.height - FRAME_ROWS, ..area };
    match app.view {
        _ if app.shown().is_none() => {
            put(buffer, body, 0, "waiting for the first frame");
        }
        View::Overview => overview::draw(app, body, buffer),
        View::Cores => cores::draw(app, body, buffer),
        View::Disks => disks::draw(app, body, buffer),
        View::Network => network::draw(app, body, buffer),
        View::Run => run::draw(app, body, buffer),
    }
    match &app.overlay {
        Overlay::None => {}
        Overlay::Help => help::keys(area, buffer),
        Overlay::Stop(run_id) => help::stop(run_id, area, buffer),
    }
}

/// The characters of a picture, a line each.
pub(crate) fn text(buffer: &Buffer) -> String {
    let mut lines = String::new();
    for row in buffer.content.chunks(usize::from(buffer.area.width.max(1))) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines
}

fn header(app: &App, area: Rect, buffer: &mut Buffer) {
    let hostname = app.host.host.as_ref().map_or("", |host| host.hostname.as_str());
    let short: String = text::printable(hostname).chars().take(14).collect();
    let mut parts = vec![Span::styled(short, BOLD), " ".into()];
    let behind = app.behind().unwrap_or_default().as_secs_f64();
    parts.push(match (app.when, &app.lost) {
        (When::Live, None) => Span::styled("LIVE", Style::new().fg(Color::Green)),
        (When::Live, Some(_)) => Span::styled("LOST", BAD),
        (When::At(_), _) => Span::styled(format!("PAUSED -{behind:.1} s"), MARKED),
    });
    if let Some(shown) = app.shown() {
        parts.push(format!(" {}", clock(shown.at_unix_ns)).into());
    }
    let tabs: Vec<Span<'_>> = View::ALL
        .into_iter()
        .zip(1..)
        .flat_map(|(view, number)| {
            let style = if view == app.view { MARKED } else { PLAIN };
            [" ".into(), Span::styled(format!("{number} {}", view.name()), style)]
        })
        .collect();
    let (left, tabs) = (Line::from(parts), Line::from(tabs));
    put(buffer, area, 0, left.clone());
    let width = tabs.width() as u16;
    if left.width() as u16 + width < area.width {
        buffer.set_line(area.right() - width, area.y, &tabs, width);
    }
    put(buffer, area, 1, run::line(app));
}

fn footer(app: &App, area: Rect, buffer: &mut Buffer) {
    let missing = app.shown().map(|shown| shown.missing(&app.host)).unwrap_or_default();
    let words = if missing.is_empty() { String::new() } else { format!("missing: {}", missing.join("; ")) };
    put(buffer, area, area.height - 2, Line::styled(fitting(&words, area.width), DIM));
    let last = match (&app.lost, &app.notice) {
        (Some(why), _) => {
            Line::styled(fitting(&format!("no connection, trying again: {why}"), area.width), BAD)
        }
        (None, Some(notice)) => Line::styled(fitting(notice, area.width), MARKED),
        (None, None) if app.is_of_fleet => Line::styled(
            "Esc fleet  q quit  ? help  space pause  \u{2190} \u{2192} PgUp PgDn time  End live  tab view",
            DIM,
        ),
        (None, None) => Line::styled(
            "q quit  ? help  space pause  \u{2190} \u{2192} PgUp PgDn time  End live  tab view  s stop run",
            DIM,
        ),
    };
    put(buffer, area, area.height - 1, last);
}

/// A line of the area, cut where it ends.
pub(crate) fn put<'a>(buffer: &mut Buffer, area: Rect, row: u16, line: impl Into<Line<'a>>) {
    if row < area.height {
        buffer.set_line(area.x, area.y + row, &line.into(), area.width);
    }
}

/// With an ellipsis where it is longer.
pub(crate) fn fitting(words: &str, width: u16) -> String {
    let width = usize::from(width);
    let words = text::printable(words).replace('\n', " ");
    if words.chars().count() <= width {
        return words;
    }
    words.chars().take(width.saturating_sub(1)).chain(['\u{2026}']).collect()
}

/// A figure, or the mark of what is missing.
fn figure(reading: Reading, write: impl FnOnce(f64) -> String) -> String {
    reading.map_or_else(|why| why.mark().to_owned(), write)
}

fn percent(reading: Reading) -> String {
    figure(reading, |share| format!("{:.0}%", share * 100.0))
}

fn per_second(reading: Reading) -> String {
    figure(reading, |rate| format!("{}/s", text::bytes(rate)))
}

fn count_per_s(reading: Reading) -> String {
    figure(reading, |rate| format!("{}/s", text::count(rate.round())))
}

/// Of requests; without one there is nothing to measure.
fn latency(reading: Reading) -> String {
    if reading == Err(Why::from(ssts_proto::v1::AbsenceReason::Pending)) {
        return "idle".into();
    }
    figure(reading, text::nanoseconds)
}

/// A time of day in UTC, as the rest of sstsctl tells it: `18:05:12.4Z`.
pub(crate) fn clock(unix_ns: i64) -> String {
    let tenths = unix_ns.div_euclid(100_000_000);
    let seconds = tenths.div_euclid(10).rem_euclid(86_400);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{}Z", tenths.rem_euclid(10))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
