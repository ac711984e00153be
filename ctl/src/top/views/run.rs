//! The run: where it stands, what its burners do, and how far its guards are from tripping.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use ssts_proto::{
    guards as named,
    v1::{GuardState, GuardStatus},
};

use super::{BAD, BOLD, DIM, PLAIN, TITLE, WARN, figure, fitting, per_second, put};
use crate::{
    text,
    top::{
        app::App,
        gather::short_id,
        model::{BurnerShown, Reading, Why},
        run::RunTrack,
    },
};

/// Of the phase's progress.
const GAUGE: usize = 12;
/// Of its limit: nearer than this is told in colour.
const NEAR: f64 = 0.1;

/// One limit and what is left until it trips.
struct Guard {
    name: &'static str,
    /// What is left.
    words: String,
    /// Of what.
    limit: String,
    /// Of the limit. Missing where the reading is, or without a limit.
    headroom: Reading,
}

/// The view of the run and its guards alone.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let Some(shown) = app.shown() else { return };
    let mut lines = vec![Line::styled("guards", TITLE)];
    lines.extend(guards(app).into_iter().map(|guard| {
        let style = style(&guard);
        Line::from(vec![
            format!("  {:<12}", guard.name).into(),
            Span::styled(guard.words, style),
            Span::styled(format!("  ({})", guard.limit), DIM),
        ])
    }));
    lines.extend(app.host.guards.iter().filter(|status| status.state() != GuardState::Unguarded).map(told));
    lines.push(Line::styled("burners", TITLE));
    lines.extend(shown.burners.iter().map(|burner| Line::from(format!("  {}", words(burner)))));
    if shown.burners.is_empty() {
        lines.push(Line::styled("  none", DIM));
    }
    let missing = shown.missing(&app.host);
    if !missing.is_empty() {
        lines.push(Line::styled("missing", TITLE));
        lines.extend(
            missing.into_iter().map(|words| Line::raw(format!("  {}", fitting(&words, area.width - 2)))),
        );
    }
    let mut runs = app.current_runs();
    if runs.is_empty() {
        runs.extend(app.runs.last());
    }
    for run in runs {
        lines.push(Line::styled(format!("phases of {}", run.summary.run_id), TITLE));
        let current = run.at(shown.at_unix_ns).phase.map(|(index, ..)| index);
        lines.extend(run.scenario.phases.iter().enumerate().map(|(index, phase)| {
            let mark = if Some(index) == current { ">" } else { " " };
            let style = if Some(index) == current { BOLD } else { PLAIN };
            let name = text::printable(&phase.name);
            Line::styled(format!("{mark} {} {name}  {}", index + 1, text::duration(phase.duration_ms)), style)
        }));
        lines.push(Line::styled("events, the latest first", TITLE));
        let events = run.events.iter().rev().filter(|event| event.at_unix_ns <= shown.at_unix_ns);
        lines.extend(events.map(|event| {
            let since = (event.at_unix_ns - run.summary.started_at_unix_ns) as f64 / 1e9;
            let words = format!("  +{since:.1} s  {}", text::printable(&event.message));
            Line::raw(fitting(&words, area.width))
        }));
    }
    let first = app.scroll.min(lines.len().saturating_sub(usize::from(area.height)));
    for (row, line) in lines.into_iter().skip(first).take(area.height.into()).enumerate() {
        put(buffer, area, row as u16, line);
    }
}

/// A guard of the host as the agent told of it last.
fn told(status: &GuardStatus) -> Line<'static> {
    let guard = status.guard.clone().unwrap_or_default();
    let style = match status.state() {
        GuardState::Tripped => BAD,
        GuardState::Pending => WARN,
        _ => PLAIN,
    };
    let words = |value: Option<f64>| value.map(|value| named::words(value, &status.unit));
    let value = words(status.value).unwrap_or_else(|| "no value".into());
    let limit =
        format!("  ({}: {})", named::limit(&guard, &status.unit), named::reaction_name(guard.reaction()));
    let name = text::printable(&guard.name).into_owned();
    Line::from(vec![format!("  {name:<26}").into(), Span::styled(value, style), Span::styled(limit, DIM)])
}

/// The run in one line.
pub(super) fn line(app: &App) -> Line<'static> {
    let Some(shown) = app.shown() else { return Line::raw("") };
    if let Some(halt) = &app.host.halt {
        let words = format!("halted by {}: {}", text::printable(&halt.by), text::printable(&halt.reason));
        return Line::styled(words, BAD);
    }
    let Some(run) = app.current_run() else {
        let before = app.runs.iter().rev().find(|run| run.summary.started_at_unix_ns <= shown.at_unix_ns);
        let words = before.map_or_else(
            || "no run".to_owned(),
            |run| format!("no run; the latest: {} {}", text::printable(&run.summary.scenario), run.ending()),
        );
        return Line::styled(words, DIM);
    };
    let runs = app.current_runs();
    if runs.len() > 1 {
        return several(&runs, shown.at_unix_ns);
    }
    let moment = run.at(shown.at_unix_ns);
    let mut spans = vec![
        "run ".into(),
        Span::styled(text::printable(&run.summary.scenario).into_owned(), BOLD),
        format!(" {} {}", moment.state_name(), text::clock(moment.elapsed_ms)).into(),
    ];
    if let Some((index, phase, elapsed_ms)) = moment.phase {
        let done = (elapsed_ms as f64 / phase.duration_ms.max(1) as f64).min(1.0);
        let filled = (done * GAUGE as f64).round() as usize;
        spans.push(
            format!(
                "  phase {}/{} {} {} of {} [{}{}]",
                index + 1,
                run.scenario.phases.len(),
                text::printable(&phase.name),
                text::clock(elapsed_ms),
                text::clock(phase.duration_ms),
                "#".repeat(filled),
                "-".repeat(GAUGE - filled),
            )
            .into(),
        );
    }
    Line::from(spans)
}

/// Several runs in one line.
fn several(runs: &[&RunTrack], at_unix_ns: i64) -> Line<'static> {
    let mut spans = vec![format!("{} runs", runs.len()).into()];
    for run in runs {
        let moment = run.at(at_unix_ns);
        spans.push("  ".into());
        spans.push(Span::styled(text::printable(&run.summary.scenario).into_owned(), BOLD));
        let id = text::printable(short_id(&run.summary.run_id)).into_owned();
        spans.push(format!(" {id} {} {}", moment.state_name(), text::clock(moment.elapsed_ms)).into());
    }
    Line::from(spans)
}

/// All guards in one line.
pub(super) fn guard_line(app: &App) -> Line<'static> {
    let mut spans = vec![Span::styled("guards  ", TITLE)];
    for (index, guard) in guards(app).into_iter().enumerate() {
        if index > 0 {
            spans.push("  ".into());
        }
        spans.push(Span::styled(format!("{} {}", guard.name, guard.words), style(&guard)));
    }
    Line::from(spans)
}

/// A burner in one line.
pub(super) fn words(burner: &BurnerShown) -> String {
    let mut parts = vec![format!("{} {}", burner.name, text::printable(&burner.kind))];
    if let Ok(prepared) = burner.prepared
        && prepared < 1.0
    {
        parts.push(format!("{:.0}% ready", prepared * 100.0));
    }
    let load = |reading: Reading| figure(reading, |share| format!("{:.1}%", share * 100.0));
    if burner.target != Err(Why::NotReported) {
        parts.push(format!("target {}", load(burner.target)));
    }
    parts.push(format!("on CPU {}", load(burner.achieved)));
    parts.push(figure(burner.operations_per_s, |rate| format!("{} ops/s", text::count(rate.round()))));
    if burner.bytes_per_s.is_ok_and(|rate| rate > 0.0) {
        parts.push(per_second(burner.bytes_per_s));
    }
    if let Ok(rate) = burner.flops_per_s
        && rate > 0.0
    {
        parts.push(format!("{}FLOP/s", text::count(rate)));
    }
    for (operation, p50, p99) in &burner.latencies {
        let [p50, p99] = [p50, p99].map(|ns| text::nanoseconds(*ns as f64));
        parts.push(format!("{} p50 {p50} p99 {p99}", text::printable(operation)));
    }
    if burner.errors > 0.0 {
        parts.push(format!("{} errors", burner.errors));
    }
    parts.join("  ")
}

fn style(guard: &Guard) -> ratatui::style::Style {
    match guard.headroom {
        Ok(left) if left <= 0.0 => BAD,
        Ok(left) if left < NEAR => WARN,
        Ok(_) | Err(_) => PLAIN,
    }
}

fn guards(app: &App) -> Vec<Guard> {
    let (Some(shown), Some(limits)) = (app.shown(), app.limits()) else { return Vec::new() };
    let mut guards = Vec::new();
    let hottest = shown.hottest();
    if let Some(limit) = limits.max_temperature_celsius {
        let degrees = format!("{limit:.0}\u{b0}C");
        guards.push(match hottest {
            Ok((sensor, celsius)) => Guard {
                name: "temperature",
                words: format!("{:.1}\u{b0}C left", limit - celsius),
                limit: format!("{celsius:.1} of {degrees}, {}", text::printable(sensor)),
                headroom: Ok((limit - celsius) / limit),
            },
            Err(why) => Guard {
                name: "temperature",
                words: why.mark().into(),
                limit: format!("{degrees}; {}", why.words()),
                headroom: Err(why),
            },
        });
    }
    if let Some(least) = limits.min_available_memory_bytes {
        let least = least as f64;
        let available = shown.memory.available;
        guards.push(Guard {
            name: "memory",
            words: figure(available, |available| {
                format!("{} left", text::bytes((available - least).max(0.0)))
            }),
            limit: format!("{} available, at least {}", figure(available, text::bytes), text::bytes(least)),
            headroom: match (available, shown.memory.total) {
                (Ok(available), Ok(total)) => Ok((available - least) / total),
                (Err(why), _) | (_, Err(why)) => Err(why),
            },
        });
    }
    if let (Some(most_ms), Some(run)) = (limits.max_duration_ms, app.current_run()) {
        let elapsed_ms = run.at(shown.at_unix_ns).elapsed_ms;
        let left_ms = most_ms.saturating_sub(elapsed_ms);
        guards.push(Guard {
            name: "duration",
            words: format!("{} left", text::clock(left_ms)),
            limit: format!("{} of {}", text::clock(elapsed_ms), text::clock(most_ms)),
            headroom: Ok(left_ms as f64 / most_ms.max(1) as f64),
        });
    }
    guards
}
