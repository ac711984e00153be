//! Tests of what keys do.

use ssts_proto::{
    record::BlockBuilder,
    v1::{AbsenceReason, RunState, RunSummary, record_item::Item},
};

use super::*;
use crate::top::model::tests::Sample;

const S: i64 = 1_000_000_000;

/// A frame a second, the latest at 100 s.
fn app() -> App {
    let mut app = App::new(Duration::from_secs(1));
    let sample = Sample::new(2);
    app.host = Sample::host(2);
    app.schema(sample.schema.clone());
    (90..=100).for_each(|second| app.frame(&sample.frame(second)));
    app
}

/// A flight recorder that has the seconds of `span`.
fn recorded(span: std::ops::RangeInclusive<u32>) -> History {
    let sample = Sample::new(2);
    let mut history = History::default();
    history.take(Item::Schema(sample.schema.clone())).unwrap();
    let mut builder = BlockBuilder::default();
    for second in span {
        let frame = sample.frame(second);
        let absent = |index: u32| frame.absent_columns.contains(&index);
        let mut values = frame.values.iter();
        let readings: Vec<Result<f64, AbsenceReason>> = (0..sample.schema.columns.len() as u32)
            .map(|index| if absent(index) { Err(AbsenceReason::Stale) } else { Ok(*values.next().unwrap()) })
            .collect();
        builder.push(&frame, readings.into_iter(), [(0, 1, 5)].into_iter());
        history.take(Item::Block(builder.finish())).unwrap();
    }
    history
}

fn at_s(app: &App) -> i64 {
    app.shown().unwrap().at_unix_ns / S
}

#[test]
fn a_pause_holds_the_picture_while_time_goes_on() {
    let mut app = app();
    assert_eq!(app.key(Key::Char(' ')), None);
    let sample = Sample::new(2);
    (101..=300).for_each(|second| app.frame(&sample.frame(second)));
    assert_eq!((at_s(&app), app.behind()), (100, Some(Duration::from_secs(200))));
    assert_eq!(app.key(Key::Char(' ')), None);
    assert_eq!((at_s(&app), app.when), (300, When::Live));
}

#[test]
fn stepping_back_goes_through_what_is_kept_and_then_through_the_flight_recorder() {
    let mut app = app();
    assert_eq!(app.key(Key::Left), None);
    assert_eq!(at_s(&app), 99);
    assert_eq!(app.key(Key::PageUp), Some(Wish::History));
    assert_eq!(app.key(Key::Left), None, "it is on its way");
    app.history(Ok(recorded(20..=99)));
    assert_eq!(at_s(&app), 88);
    assert_eq!(app.shown().unwrap().cores[0].burner, Ok(0.5), "rates are known at once");
    assert_eq!(app.key(Key::PageUp), None);
    assert_eq!(at_s(&app), 78);
    assert_eq!(app.key(Key::Right), None);
    assert_eq!(at_s(&app), 79);
    assert_eq!(app.key(Key::Home), None);
    assert_eq!(at_s(&app), 20);
    assert_eq!(app.key(Key::PageUp), None);
    assert_eq!(at_s(&app), 20);
    assert!(app.notice.as_ref().unwrap().contains("does not reach further back"));
    assert_eq!(app.key(Key::End), None);
    assert_eq!(at_s(&app), 100);
    assert_eq!(app.key(Key::Right), None);
    assert_eq!(app.when, When::Live);
}

#[test]
fn heat_maps_get_what_was_before_the_start() {
    let mut app = app();
    let requests = |app: &App, second: i64| app.heat().columns("vda", second * S, 1)[0].iter().sum::<u32>();
    assert_eq!(requests(&app, 50), 0);
    app.history(Ok(recorded(20..=99)));
    assert_eq!((requests(&app, 50), requests(&app, 95)), (5, 195), "what was seen live is not counted twice");
}

#[test]
fn a_flight_recorder_that_has_nothing_is_not_asked_in_circles() {
    let mut app = app();
    assert_eq!(app.key(Key::PageUp), None);
    assert_eq!(app.key(Key::PageUp), Some(Wish::History));
    app.history(Ok(History::default()));
    assert_eq!(at_s(&app), 90, "the picture from before stays");
    app.history(Err("gone".into()));
    assert!(app.notice.as_ref().unwrap().contains("gone"));
}

#[test]
fn a_run_is_stopped_only_after_a_yes() {
    let mut app = app();
    assert_eq!((app.key(Key::Char('s')), app.overlay.clone()), (None, Overlay::None));
    assert_eq!(app.notice.as_deref(), Some("no run goes on"));
    let summary = RunSummary {
        run_id: "r-1".into(),
        state: RunState::Running.into(),
        started_at_unix_ns: 95 * S,
        ..RunSummary::default()
    };
    app.run(RunTrack { summary, ..RunTrack::default() });
    app.key(Key::Char('s'));
    assert_eq!(app.overlay, Overlay::Stop("r-1".into()));
    assert_eq!(app.key(Key::Char('q')), None, "any other key is a no");
    assert_eq!(app.overlay, Overlay::None);
    app.key(Key::Char('s'));
    assert_eq!(app.key(Key::Char('y')), Some(Wish::Stop("r-1".into())));
}

#[test]
fn views_turn_and_the_help_closes_with_any_key() {
    let mut app = app();
    app.key(Key::Tab);
    assert_eq!(app.view, View::Cores);
    app.key(Key::BackTab);
    app.key(Key::BackTab);
    assert_eq!(app.view, View::Run);
    app.key(Key::Char('3'));
    assert_eq!(app.view, View::Disks);
    app.key(Key::Char('?'));
    assert_eq!((app.key(Key::Char('q')), app.overlay.clone()), (None, Overlay::None));
    assert_eq!(app.key(Key::Char('q')), Some(Wish::Quit));
    assert_eq!(app.key(Key::Interrupt), Some(Wish::Interrupt));
}

#[test]
fn a_frame_ends_the_loss_of_a_connection() {
    let mut app = app();
    app.lost = Some("gone".into());
    app.frame(&Sample::new(2).frame(101));
    assert_eq!(app.lost, None);
}
