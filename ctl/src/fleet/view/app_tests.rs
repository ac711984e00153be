use std::{sync::Arc, time::Duration};

use ssts_proto::v1::RunState;

use super::{
    super::host::{Guards, RunNow},
    *,
};
use crate::cli::Host;

/// So many hosts, `node1` the first, in racks of ten; each with as many °C as its number.
pub(crate) fn fleet(hosts: usize) -> App {
    let member = |number: usize| Member {
        name: format!("node{number}"),
        host: Host::Unix(format!("/run/{number}.sock").into()),
        labels: [("rack".to_owned(), format!("r{}", (number - 1) / 10))].into(),
        watts: None,
    };
    let members: Vec<Member> = (1..=hosts).map(member).collect();
    let rows = (1..=hosts).map(row).collect();
    let phases = (1..=hosts).map(|_| "1/2 soak".to_owned()).collect();
    let mut app = App::new(members, vec!["rack".into()]);
    app.take(rows, phases);
    app
}

pub(crate) fn row(number: usize) -> Row {
    let mut row = Row {
        standing: Standing::Running,
        run: Some(RunNow {
            id: Arc::from("r-1"),
            scenario: Arc::from("burn-in"),
            state: RunState::Running,
            phase: Some(0),
        }),
        guards: Some(Guards { tripped: 0, pending: 0, all: 3 }),
        lag: Some(Duration::from_millis(10)),
        ..Row::default()
    };
    row.gauges.achieved = Some(0.5);
    row.gauges.target = Some(0.5);
    row.gauges.celsius = Some(number as f64);
    row.gauges.worst_io_ns = Some(number as u64 * 1_000);
    row.gauges.tells_io = true;
    row
}

fn names(app: &App) -> Vec<&str> {
    app.shown.iter().take(3).map(|place| app.members[*place].name.as_str()).collect()
}

#[test]
fn hosts_are_sorted_by_what_is_worst_and_those_without_come_last() {
    let mut app = fleet(12);
    assert_eq!(names(&app), ["node1", "node2", "node3"]);
    let mut rows = app.rows.clone();
    rows[4].standing = Standing::Unreachable;
    rows[4].gauges.celsius = None;
    app.take(rows, app.phases.clone());
    assert_eq!(names(&app), ["node5", "node1", "node2"]);
    app.key(Key::Char('5'));
    assert_eq!(names(&app), ["node12", "node11", "node10"]);
    assert_eq!(app.shown.last(), Some(&4));
    app.key(Key::Char('5'));
    assert_eq!(names(&app), ["node1", "node2", "node3"], "the other way round");
    assert_eq!(app.shown.last(), Some(&4), "and still last");
    app.key(Key::Char('1'));
    assert_eq!(names(&app), ["node1", "node2", "node3"], "by number, not by letter");
    app.key(Key::Char('r'));
    assert_eq!(names(&app), ["node12", "node11", "node10"]);
    app.key(Key::Tab);
    assert_eq!((app.sort, app.is_reversed), (Column::State, false));
}

#[test]
fn a_filter_is_typed_kept_and_taken_away() {
    let mut app = fleet(30);
    app.key(Key::Char('/'));
    for letter in "rack=r1 7".chars() {
        app.key(Key::Char(letter));
    }
    assert_eq!(names(&app), ["node17"]);
    // Keys are letters until it is kept.
    assert!(app.is_typing && app.key(Key::Char('q')).is_none());
    app.key(Key::Backspace);
    app.key(Key::Enter);
    assert_eq!((names(&app).len(), app.is_typing), (1, false));
    assert_eq!(app.key(Key::Enter), Some(Wish::Open(16)));
    app.key(Key::Escape);
    assert_eq!(app.shown.len(), 30);
    for letter in "/unreachable".chars() {
        app.key(Key::Char(letter));
    }
    assert_eq!((app.shown.len(), app.chosen()), (0, None));
    app.key(Key::Escape);
    assert_eq!(app.shown.len(), 30);
}

#[test]
fn a_thousand_hosts_are_paged_through() {
    let mut app = fleet(1_000);
    app.fit(18, 1);
    assert_eq!(app.page(), (1, 56));
    app.key(Key::PageDown);
    app.fit(18, 1);
    assert_eq!((app.first, app.chosen()), (1, Some(18)));
    app.key(Key::End);
    app.fit(18, 1);
    assert_eq!((app.page(), app.chosen()), ((56, 56), Some(999)));
    app.key(Key::Up);
    assert_eq!(app.key(Key::Enter), Some(Wish::Open(998)));
    app.key(Key::Home);
    app.fit(18, 1);
    assert_eq!((app.first, app.chosen()), (0, Some(0)));
}

#[test]
fn the_cursor_stays_with_its_host() {
    let mut app = fleet(5);
    app.key(Key::Down);
    assert_eq!(app.chosen(), Some(1));
    app.key(Key::Char('5'));
    assert_eq!((app.chosen(), app.cursor()), (Some(1), Some(3)));
}

#[test]
fn a_halt_and_a_stop_are_asked_for_twice() {
    let mut app = fleet(3);
    assert_eq!(app.key(Key::Char('h')), None);
    assert_eq!(app.overlay, Overlay::Halt);
    assert_eq!(app.key(Key::Char('n')), None);
    assert_eq!(app.notice.as_deref(), Some("nothing was done"));
    app.key(Key::Char('h'));
    assert_eq!(app.key(Key::Char('y')), Some(Wish::Halt));
    app.key(Key::Char('s'));
    assert_eq!(app.overlay, Overlay::Stop("r-1".into(), 3));
    assert_eq!(app.key(Key::Char('y')), Some(Wish::Stop("r-1".into())));
    let mut rows = app.rows.clone();
    rows.iter_mut().for_each(|row| row.run = None);
    app.take(rows, vec![String::new(); 3]);
    app.key(Key::Char('s'));
    assert_eq!((app.overlay.clone(), app.notice.as_deref()), (Overlay::None, Some("no run goes on")));
    assert_eq!(app.key(Key::Interrupt), Some(Wish::Interrupt));
}
