use ratatui::{Terminal, backend::TestBackend};

use super::{super::app::tests::fleet, *};
use crate::top::{Key, picture_text};

fn picture(app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            fit(app, frame.area());
            draw(app, frame.area(), frame.buffer_mut());
        })
        .unwrap();
    picture_text(terminal.backend().buffer())
}

#[test]
fn a_thousand_hosts_fit_80_by_24() {
    let mut app = fleet(1_000);
    let mut rows = app.rows.clone();
    rows[2].standing = Standing::Unreachable;
    rows[2].why = Some("no sstsd listens on it".into());
    rows[2].gauges = super::super::gauge::Gauges::default();
    rows[2].lag = None;
    app.take(rows, app.phases.clone());
    let found = picture(&mut app, 80, 24);
    assert_eq!(found.lines().count(), 24);
    assert!(found.lines().all(|line| line.chars().count() <= 80), "{found}");
    let lines: Vec<&str> = found.lines().collect();
    assert!(
        lines[0].starts_with("fleet of 1000 hosts") && lines[0].ends_with("by state  page 1/56"),
        "{found}"
    );
    assert_eq!(lines[1], "1 unreachable  999 running");
    assert!(
        lines[2].contains("load 50.0% mean of 999") && lines[2].contains("hottest 1000\u{b0}C node1000"),
        "{found}"
    );
    assert!(lines[3].starts_with("host             state       phase        load/asked"), "{found}");
    assert_eq!(lines[4], "node3            unreachable 1/2 soak              -     -       -     ok      -");
    assert_eq!(
        lines[5],
        "node1            running     1/2 soak       50.0/50%   1\u{b0}C 1.00 \u{b5}s     ok  0.0 s"
    );
    assert!(lines[22].starts_with("node3  no sstsd listens on it"), "{found}");
    assert!(lines[23].starts_with("q quit  ? help  Enter open"), "{found}");
}

#[test]
fn the_map_has_a_character_for_each_host() {
    let mut app = fleet(300);
    app.key(Key::Char('5'));
    app.key(Key::Char('m'));
    let found = picture(&mut app, 80, 24);
    let marks =
        |mark: char| found.lines().skip(3).take(17).flat_map(str::chars).filter(|c| *c == mark).count();
    let all: usize = ['\u{2591}', '\u{2592}', '\u{2593}', '\u{2588}'].into_iter().map(marks).sum();
    assert_eq!(all, 300, "{found}");
    assert!(found.contains("temp: \u{2591}\u{2592}\u{2593}\u{2588} from 1\u{b0}C to 300\u{b0}C"), "{found}");
    app.key(Key::Char('2'));
    let found = picture(&mut app, 80, 24);
    assert!(found.contains("R running") && found.contains(&"R".repeat(60)), "{found}");
    app.key(Key::Down);
    assert_eq!(app.chosen(), Some(map::columns(80)));
}

#[test]
fn questions_and_keys_lie_over_it() {
    let mut app = fleet(8);
    app.key(Key::Char('?'));
    assert!(picture(&mut app, 80, 24).contains("halt all hosts; asks before"));
    app.key(Key::Escape);
    app.key(Key::Char('h'));
    assert!(picture(&mut app, 80, 24).contains("halt all 8 hosts?"));
    app.key(Key::Escape);
    app.key(Key::Char('s'));
    assert!(picture(&mut app, 80, 24).contains("stop run r-1 on 8 hosts?"));
}

#[test]
fn every_size_can_be_drawn() {
    for hosts in [0, 1, 7, 2_000] {
        let mut app = fleet(hosts);
        for (width, height) in [(1, 1), (59, 24), (60, 10), (79, 11), (80, 24), (133, 43), (300, 100)] {
            for keys in ["", "m", "/zzz"] {
                keys.chars().for_each(|key| drop(app.key(Key::Char(key))));
                assert_eq!(picture(&mut app, width, height).lines().count(), usize::from(height));
            }
            app.key(Key::Escape);
            app.key(Key::Char('m'));
        }
    }
}

#[test]
fn what_a_host_says_cannot_command_the_terminal() {
    let mut app = fleet(2);
    app.members[0].name = "\u{1b}[2Jx".into();
    app.phases[0] = "\u{7}".into();
    let mut rows = app.rows.clone();
    rows[0].why = Some("\u{1b}[31m".into());
    app.take(rows, app.phases.clone());
    let found = picture(&mut app, 80, 24);
    assert!(!found.chars().any(|char| char.is_control() && char != '\n'), "{found:?}");
}
