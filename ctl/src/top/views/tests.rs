//! Tests of pictures: what stands where.

use std::time::Duration;

use ratatui::{Terminal, backend::TestBackend};
use ssts_proto::v1::{Event, EventKind, HaltState, Phase, RunState, RunSummary, Scenario};

use super::*;
use crate::top::{keys::Key, model::tests::Sample, run::RunTrack};

fn app(cores: u32) -> App {
    let mut app = App::new(Duration::from_secs(1));
    let sample = Sample::new(cores);
    app.host = Sample::host(cores);
    app.schema(sample.schema.clone());
    (1..=6).for_each(|second| app.frame(&sample.frame(second)));
    app
}

fn with_run(mut app: App) -> App {
    let event = |at_s: i64, kind: EventKind, fields: &[(&str, &str)]| Event {
        at_unix_ns: at_s * 1_000_000_000,
        kind: kind.into(),
        message: "phase one started".into(),
        fields: fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    };
    let phase = Phase { name: "one".into(), duration_ms: 8_000, ..Phase::default() };
    app.run(RunTrack {
        summary: RunSummary {
            run_id: "r-1".into(),
            scenario: "burn-in".into(),
            state: RunState::Running.into(),
            started_at_unix_ns: 1_000_000_000,
            ..RunSummary::default()
        },
        scenario: Scenario { phases: vec![phase], ..Scenario::default() },
        limits: Sample::host(1).limits.unwrap(),
        events: vec![event(2, EventKind::PhaseStarted, &[("index", "0")])],
    });
    app
}

fn picture(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(app, frame.area(), frame.buffer_mut())).unwrap();
    text(terminal.backend().buffer())
}

#[test]
fn an_overview_fits_80_by_24() {
    let expected = include_str!("overview_80x24.txt");
    let found = picture(&with_run(app(2)), 80, 24);
    assert_eq!(found, expected, "\n{found}");
}

#[test]
fn a_large_terminal_is_used() {
    let found = picture(&with_run(app(64)), 200, 60);
    assert_eq!(found.lines().count(), 60);
    let bars = found.lines().filter(|line| line.contains('[') && line.contains("75%")).count();
    assert_eq!(bars, 13, "64 cores in five columns: {found}");
    assert!(found.lines().all(|line| line.chars().count() <= 200));
    for part in ["  63 [", "vda", "eth0", "1.00 Gbit/s", "stalled", "guards", "3 in flight"] {
        assert!(found.contains(part), "{part} is missing: {found}");
    }
}

#[test]
fn a_thousand_cores_become_a_grid_and_can_be_scrolled_through() {
    let mut app = app(1_024);
    let overview = picture(&app, 80, 24);
    assert!(overview.contains("1024 cores  busy 75%"), "{overview}");
    assert!(overview.contains(&format!("  72 {}", "\u{2586}".repeat(72))), "{overview}");
    app.key(Key::Char('2'));
    let cores = picture(&app, 80, 24);
    assert!(cores.contains("rows 1-19 of 512"), "{cores}");
    assert!(cores.contains("   0 [") && cores.contains(" 513 ["), "{cores}");
    (0..5).for_each(|_| drop(app.key(Key::Down)));
    let further = picture(&app, 80, 24);
    assert!(further.contains("rows 6-24 of 512") && !further.contains("   0 ["), "{further}");
    app.key(Key::Char('g'));
    let grid = picture(&app, 80, 24);
    assert!(grid.contains("1008 "), "all of them: {grid}");
}

#[test]
fn a_cores_bar_is_split_by_who_ran() {
    let mut app = app(2);
    app.key(Key::Char('2'));
    let found = picture(&app, 80, 24);
    // 15 characters: half burners, an eighth others, a sixteenth interrupts and as much stolen.
    let bar = "   0 [\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2593}\u{2592}\u{2591}    ]  75% stale 3.20G";
    assert!(found.contains(bar), "{found}");
}

#[test]
fn a_disks_heat_map_shows_where_requests_took_their_time() {
    let mut app = app(1);
    app.key(Key::Char('3'));
    let found = picture(&app, 80, 24);
    let row = |label: &str| {
        found.lines().find(|line| line.trim_start().starts_with(label)).unwrap_or("").to_owned()
    };
    // 99 requests a second of up to 100 us, and a few of up to 5 ms.
    assert!(row("64.0 \u{b5}s").ends_with("\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}"), "{found}");
    assert!(
        row("4.10 ms").ends_with("\u{2591}\u{2592}\u{2592}\u{2592}\u{2592}\u{2592}")
            || !row("4.10 ms").is_empty(),
        "{found}"
    );
    assert!(found.contains("-71 s") && found.contains("now"), "{found}");
}

#[test]
fn guards_show_what_is_left() {
    let mut app = with_run(app(1));
    app.key(Key::Char('5'));
    let found = picture(&app, 80, 24);
    for part in [
        "temperature stale  (90\u{b0}C; stale)",
        "memory      3.00 GiB left  (4.00 GiB available, at least 1.00 GiB)",
        "duration    23:59:55 left",
        "0.0 cpu  target 50.0%  on CPU 50.0%",
        "> 1 one  8 s",
        "+1.0 s  phase one started",
        "power (this host has none)",
    ] {
        assert!(found.contains(part), "{part} is missing: {found}");
    }
}

#[test]
fn help_and_the_question_lie_over_the_view() {
    let mut app = with_run(app(1));
    app.key(Key::Char('?'));
    let found = picture(&app, 80, 24);
    assert!(found.contains("ten seconds back") && found.contains("any key closes this"), "{found}");
    app.key(Key::Escape);
    app.key(Key::Char('s'));
    assert!(picture(&app, 80, 24).contains("stop run r-1?"));
}

#[test]
fn a_lost_connection_a_halt_and_the_past_are_seen() {
    let mut app = app(1);
    app.lost = Some("the agent is gone".into());
    let found = picture(&app, 80, 24);
    assert!(
        found.contains("LOST") && found.contains("no connection, trying again: the agent is gone"),
        "{found}"
    );
    app.key(Key::Left);
    assert!(picture(&app, 80, 24).contains("PAUSED -1.0 s 00:00:05.0Z"));
    app.host.halt = Some(HaltState { by: "root".into(), reason: "smoke".into(), ..HaltState::default() });
    assert!(picture(&app, 80, 24).contains("halted by root: smoke"));
}

#[test]
fn every_view_can_be_drawn_at_every_size() {
    let mut app = with_run(app(300));
    for view in '1'..='5' {
        app.key(Key::Char(view));
        for (width, height) in [(1, 1), (39, 24), (40, 10), (41, 11), (80, 12), (132, 43), (300, 100)] {
            let found = picture(&app, width, height);
            assert_eq!(found.lines().count(), usize::from(height));
            app.key(Key::Char('g'));
            picture(&app, width, height);
        }
    }
    let empty = App::new(Duration::from_secs(1));
    assert!(picture(&empty, 80, 24).contains("waiting for the first frame"));
    assert!(picture(&empty, 30, 5).contains("at least 40x10"));
}

#[test]
fn what_an_agent_says_cannot_command_the_terminal() {
    let mut app = with_run(app(1));
    app.host.host.as_mut().unwrap().hostname = "\u{1b}[2Jx".into();
    app.runs[0].summary.scenario = "\u{7}bell".into();
    app.lost = Some("\u{1b}[31m".into());
    let found = picture(&app, 80, 24);
    assert!(!found.chars().any(|char| char.is_control() && char != '\n'), "{found:?}");
}
