//! Interfaces.

use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use super::{PLAIN, TITLE, WARN, count_per_s, figure, fitting, put};
use crate::{
    text,
    top::{
        app::App,
        model::{NicShown, Reading, Shown},
    },
};

/// The view of interfaces alone.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let Some(shown) = app.shown() else { return };
    let titles = ["interface", "in", "out", "packets", "packets", "errors", "drops"];
    put(buffer, area, 0, Line::styled(row_of(titles.map(str::to_owned)), TITLE));
    let nics = in_order(shown);
    let rows = usize::from(area.height - 1);
    let first = app.scroll.min(nics.len().saturating_sub(rows));
    for (row, nic) in nics.into_iter().skip(first).take(rows).enumerate() {
        let words = row_of([
            fitting(&nic.name, 12),
            bits(nic.received_bytes_per_s),
            bits(nic.sent_bytes_per_s),
            count_per_s(nic.received_packets_per_s),
            count_per_s(nic.sent_packets_per_s),
            count_per_s(nic.errors_per_s),
            count_per_s(nic.drops_per_s),
        ]);
        put(buffer, area, row as u16 + 1, Line::styled(words, style(nic)));
    }
}

fn row_of([name, received, sent, packets_in, packets_out, errors, drops]: [String; 7]) -> String {
    format!("{name:<12} {received:>13} {sent:>13} {packets_in:>9} {packets_out:>9} {errors:>9} {drops:>8}")
}

/// An interface in one line.
pub(super) fn line(nic: &NicShown) -> Line<'static> {
    let words = format!(
        "{:<8} in {:>13}  out {:>13}  errors {}  drops {}",
        fitting(&nic.name, 8),
        bits(nic.received_bytes_per_s),
        bits(nic.sent_bytes_per_s),
        count_per_s(nic.errors_per_s),
        count_per_s(nic.drops_per_s),
    );
    Line::styled(words, style(nic))
}

/// The host's own loop last.
pub(super) fn in_order(shown: &Shown) -> Vec<&NicShown> {
    let mut nics: Vec<&NicShown> = shown.nics.iter().collect();
    nics.sort_by_key(|nic| nic.name == "lo");
    nics
}

fn style(nic: &NicShown) -> ratatui::style::Style {
    let wrong = [nic.errors_per_s, nic.drops_per_s].into_iter().flatten().any(|rate| rate > 0.0);
    if wrong { WARN } else { PLAIN }
}

/// Links are told in bits.
fn bits(bytes_per_s: Reading) -> String {
    figure(bytes_per_s, |rate| {
        let number = text::count((rate * 8.0).round());
        let separator = if number.contains(' ') { "" } else { " " };
        format!("{number}{separator}bit/s")
    })
}
