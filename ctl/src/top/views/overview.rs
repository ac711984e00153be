//! All of a host on one screen; what does not fit is in the other views.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{DIM, TITLE, cores, disks, figure, fitting, heat, network, percent, put, run};
use crate::{
    text,
    top::{app::App, model::Shown},
};

/// The lines that are always there: cores, memory, temperature, stalls, guards.
const LINES: u16 = 5;
/// Of the heat map, its axis included.
const LEAST_MAP: u16 = 4;
const MOST_MAP: u16 = 14;

/// Draws it.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let Some(shown) = app.shown() else { return };
    let burners = (shown.burners.len() as u16).min(area.height / 10);
    let mut left = area.height.saturating_sub(LINES + burners);
    let mut take = |wanted: usize, most: u16| {
        let taken = (wanted.min(usize::from(most)) as u16).min(left);
        left -= taken;
        taken
    };
    let some = (area.height / 8).max(1);
    let disk_lines = take(shown.disks.len(), some);
    let nic_lines = take(shown.nics.len(), some);
    let bar_rows = cores::bar_rows(shown.cores.len(), area.width);
    let has_map = !shown.disks.is_empty();
    let for_cores = left.saturating_sub(if has_map { LEAST_MAP } else { 0 });
    let left_before = left;
    let in_bars = bar_rows <= usize::from(for_cores);
    let core_rows = if in_bars {
        bar_rows as u16
    } else {
        cores::grid_rows(shown.cores.len(), area.width).min(for_cores.into()) as u16
    };
    let map_rows = if has_map { (left_before - core_rows).min(MOST_MAP) } else { 0 };

    let mut at = Rect { height: 1, ..area };
    let mut next = |rows: u16| {
        let here = Rect { height: rows, ..at };
        at.y += rows;
        here
    };
    put(buffer, next(1), 0, cores::summary(shown));
    let here = next(core_rows);
    if in_bars {
        cores::bars(shown, app.scroll, here, buffer);
    } else {
        cores::grid(shown, app.scroll, here, buffer);
    }
    for burner in shown.burners.iter().take(burners.into()) {
        put(buffer, next(1), 0, Line::raw(fitting(&format!("burner  {}", run::words(burner)), area.width)));
    }
    put(buffer, next(1), 0, memory(shown));
    put(buffer, next(1), 0, temperature(shown));
    for disk in shown.disks.iter().take(disk_lines.into()) {
        put(buffer, next(1), 0, disks::line(disk));
    }
    if map_rows > 1
        && let Some(disk) = disks::busiest(app, shown, area.width.into())
    {
        let here = next(map_rows);
        heat::draw(app.heat(), &disk.name, shown.at_unix_ns, here, buffer);
        buffer.set_string(here.x, here.bottom() - 1, fitting(&disk.name, 8), DIM);
    }
    for nic in network::in_order(shown).into_iter().take(nic_lines.into()) {
        put(buffer, next(1), 0, network::line(nic));
    }
    put(buffer, next(1), 0, stalls(shown));
    put(buffer, next(1), 0, run::guard_line(app));
}

fn memory(shown: &Shown) -> Line<'static> {
    let bytes = |reading| figure(reading, text::bytes);
    let memory = &shown.memory;
    Line::from(vec![
        Span::styled("memory  ", TITLE),
        format!(
            "{} of {} available  dirty {}  swapped {}",
            bytes(memory.available),
            bytes(memory.total),
            bytes(memory.dirty),
            bytes(memory.swap_used)
        )
        .into(),
    ])
}

fn temperature(shown: &Shown) -> Line<'static> {
    let hottest = match shown.hottest() {
        Ok((sensor, celsius)) => format!("hottest {celsius:.1}\u{b0}C ({})", text::printable(sensor)),
        Err(why) => format!("hottest {}", why.mark()),
    };
    let watts = figure(shown.watts, |watts| format!("{watts:.0} W"));
    Line::from(vec![
        Span::styled("heat    ", TITLE),
        format!("{hottest}  power {watts}  agent {} of a core", percent(shown.agent_share)).into(),
    ])
}

fn stalls(shown: &Shown) -> Line<'static> {
    let mut spans = vec![Span::styled("stalled ", TITLE)];
    for pressure in &shown.pressures {
        let words = match pressure.full {
            Ok(_) if pressure.some.is_err() => {
                format!("{} ({})  ", pressure.resource, percent(pressure.full))
            }
            Ok(_) => {
                format!("{} {} ({})  ", pressure.resource, percent(pressure.some), percent(pressure.full))
            }
            Err(_) => format!("{} {}  ", pressure.resource, percent(pressure.some)),
        };
        spans.push(text::printable(&words).into_owned().into());
    }
    if shown.pressures.is_empty() {
        spans.push("-".into());
    }
    Line::from(spans)
}
