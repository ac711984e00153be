//! Bounds of a load over time.

use std::ops::RangeInclusive;

use super::{MAX_DURATION_MS, Violations, known};
use crate::v1::{LoadMode, Profile, Square, Trace, profile};

/// Steps that a profile may have.
pub const MAX_STEPS: usize = 1_000;
/// Points that a recorded load may have.
pub const MAX_TRACE_POINTS: usize = 100_000;
/// Percentage points that a load may be off when nothing else is said.
pub const DEFAULT_TOLERANCE_POINTS: f64 = 2.0;
/// The part of a square's period with the high load when nothing else is said.
pub const DEFAULT_DUTY_PERCENT: f64 = 50.0;

/// A load of 0 would be no load; it may be a part of one.
const CONSTANT: RangeInclusive<f64> = 1.0..=100.0;
const PART: RangeInclusive<f64> = 0.0..=100.0;

/// A profile of what no core holds: its shape alone counts.
pub(super) fn check_shape(field: &str, profile: &Profile, found: &mut Violations) {
    check(field, profile, found);
    let others = [
        ("mode", profile.mode() != LoadMode::Unspecified),
        ("tolerance_points", profile.tolerance_points.is_some()),
        ("in_step", profile.in_step),
    ];
    for (name, _) in others.iter().filter(|(_, is_set)| *is_set) {
        found.add(format!("{field}.{name}"), "it means nothing to what no core holds", "leave it out");
    }
}

pub(super) fn check(field: &str, load: &Profile, found: &mut Violations) {
    known::<LoadMode>(&format!("{field}.mode"), load.mode, found);
    if let Some(points) = load.tolerance_points
        && !(0.1..=100.0).contains(&points)
    {
        found.add(
            format!("{field}.tolerance_points"),
            format!("a tolerance of {points} points"),
            "use 0.1 to 100",
        );
    }
    match &load.shape {
        None => found.add(field, "a profile without a shape", "set one, such as constant"),
        Some(profile::Shape::Constant(constant)) => {
            percent(&format!("{field}.constant.load_percent"), constant.load_percent, CONSTANT, found);
        }
        Some(profile::Shape::Ramp(ramp)) => {
            percent(&format!("{field}.ramp.from_percent"), ramp.from_percent, PART, found);
            percent(&format!("{field}.ramp.to_percent"), ramp.to_percent, PART, found);
        }
        Some(profile::Shape::Steps(steps)) => {
            let field = format!("{field}.steps");
            count(&field, "steps", steps.steps.len(), MAX_STEPS, found);
            let last = steps.steps.len().saturating_sub(1);
            for (index, step) in steps.steps.iter().enumerate().take(MAX_STEPS) {
                let field = format!("{field}.steps[{index}]");
                percent(&format!("{field}.load_percent"), step.load_percent, PART, found);
                if index < last || step.duration_ms > 0 {
                    time(&format!("{field}.duration_ms"), step.duration_ms, 10, found);
                }
            }
        }
        Some(profile::Shape::Sine(sine)) => {
            let field = format!("{field}.sine");
            bounds(&field, sine.low_percent, sine.high_percent, found);
            time(&format!("{field}.period_ms"), sine.period_ms, 100, found);
        }
        Some(profile::Shape::Square(square)) => check_square(&format!("{field}.square"), square, found),
        Some(profile::Shape::Sawtooth(saw)) => {
            let field = format!("{field}.sawtooth");
            percent(&format!("{field}.from_percent"), saw.from_percent, PART, found);
            percent(&format!("{field}.to_percent"), saw.to_percent, PART, found);
            time(&format!("{field}.period_ms"), saw.period_ms, 100, found);
        }
        Some(profile::Shape::RandomWalk(walk)) => {
            let field = format!("{field}.random_walk");
            bounds(&field, walk.low_percent, walk.high_percent, found);
            let widest = walk.high_percent - walk.low_percent;
            if !(walk.step_percent > 0.0 && walk.step_percent <= widest) {
                found.add(
                    format!("{field}.step_percent"),
                    format!("a step of {} points", walk.step_percent),
                    "use more than 0 and at most the distance of the bounds",
                );
            }
            time(&format!("{field}.interval_ms"), walk.interval_ms, 10, found);
        }
        Some(profile::Shape::Trace(trace)) => check_trace(&format!("{field}.trace"), trace, found),
    }
}

fn check_square(field: &str, square: &Square, found: &mut Violations) {
    bounds(field, square.low_percent, square.high_percent, found);
    time(&format!("{field}.period_ms"), square.period_ms, 20, found);
    if let Some(duty) = square.duty_percent {
        percent(&format!("{field}.duty_percent"), duty, 1.0..=99.0, found);
    }
}

fn check_trace(field: &str, trace: &Trace, found: &mut Violations) {
    count(&format!("{field}.points"), "points", trace.points.len(), MAX_TRACE_POINTS, found);
    let mut before = None;
    for (index, point) in trace.points.iter().enumerate().take(MAX_TRACE_POINTS) {
        let field = format!("{field}.points[{index}]");
        percent(&format!("{field}.load_percent"), point.load_percent, PART, found);
        let (in_order, mend) = match before {
            None => (point.at_ms == 0, "begin at time 0"),
            Some(before) => (point.at_ms > before, "let times rise from point to point"),
        };
        if !in_order || point.at_ms > MAX_DURATION_MS {
            found.add(format!("{field}.at_ms"), format!("a time of {} ms", point.at_ms), mend);
            // What follows a point out of order tells nothing new.
            return;
        }
        before = Some(point.at_ms);
    }
    if let (Some(repeat), Some(last)) = (trace.repeat_after_ms, before)
        && repeat <= last
    {
        found.add(
            format!("{field}.repeat_after_ms"),
            format!("a length of {repeat} ms with a last point at {last} ms"),
            "use more than the last point's time",
        );
    }
}

fn percent(field: &str, value: f64, range: RangeInclusive<f64>, found: &mut Violations) {
    if !range.contains(&value) {
        found.add(
            field,
            format!("a load of {value} %"),
            format!("use {} to {} %", range.start(), range.end()),
        );
    }
}

fn bounds(field: &str, low: f64, high: f64, found: &mut Violations) {
    percent(&format!("{field}.low_percent"), low, PART, found);
    percent(&format!("{field}.high_percent"), high, PART, found);
    if low >= high {
        found.add(
            format!("{field}.high_percent"),
            format!("loads between {low} and {high} %"),
            "let the high one be greater than the low one",
        );
    }
}

fn time(field: &str, value_ms: u64, least_ms: u64, found: &mut Violations) {
    if !(least_ms..=MAX_DURATION_MS).contains(&value_ms) {
        found.add(
            field,
            format!("a time of {value_ms} ms"),
            format!("use {least_ms} to {MAX_DURATION_MS} ms"),
        );
    }
}

fn count(field: &str, what: &str, number: usize, most: usize, found: &mut Violations) {
    if !(1..=most).contains(&number) {
        found.add(field, format!("{number} {what}"), format!("use 1 to {most}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Constant, Ramp, RandomWalk, Sawtooth, Sine, Step, Steps, TracePoint};

    fn found(shape: profile::Shape) -> Vec<String> {
        let mut found = Violations::default();
        check("load", &Profile { shape: Some(shape), ..Profile::default() }, &mut found);
        let violations = found.into_vec();
        assert!(violations.iter().all(|violation| !violation.mend.is_empty()));
        violations.into_iter().map(|violation| violation.field).collect()
    }

    fn point(at_ms: u64, load_percent: f64) -> TracePoint {
        TracePoint { at_ms, load_percent }
    }

    #[test]
    fn good_shapes_have_no_violation() {
        for shape in [
            profile::Shape::Constant(Constant { load_percent: 1.0 }),
            profile::Shape::Ramp(Ramp { from_percent: 0.0, to_percent: 100.0 }),
            profile::Shape::Steps(Steps {
                steps: vec![
                    Step { load_percent: 10.0, duration_ms: 10 },
                    Step { load_percent: 0.0, duration_ms: 0 },
                ],
            }),
            profile::Shape::Sine(Sine { low_percent: 0.0, high_percent: 100.0, period_ms: 100 }),
            profile::Shape::Square(Square {
                low_percent: 0.0,
                high_percent: 100.0,
                period_ms: 20,
                duty_percent: Some(1.0),
            }),
            profile::Shape::Sawtooth(Sawtooth { from_percent: 100.0, to_percent: 0.0, period_ms: 100 }),
            profile::Shape::RandomWalk(RandomWalk {
                low_percent: 10.0,
                high_percent: 20.0,
                step_percent: 10.0,
                interval_ms: 10,
                seed: None,
            }),
            profile::Shape::Trace(Trace {
                points: vec![point(0, 0.0), point(1, 100.0)],
                repeat_after_ms: Some(2),
            }),
        ] {
            assert_eq!(found(shape.clone()), Vec::<String>::new(), "{shape:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_shape_is_named() {
        let sine = Sine { low_percent: 90.0, high_percent: 10.0, period_ms: 99 };
        assert_eq!(found(profile::Shape::Sine(sine)), ["load.sine.high_percent", "load.sine.period_ms"]);
        let steps = Steps { steps: vec![Step { load_percent: 101.0, duration_ms: 5 }; 2] };
        assert_eq!(found(profile::Shape::Steps(steps)).len(), 4);
        assert_eq!(found(profile::Shape::Steps(Steps::default())), ["load.steps"]);
        let walk =
            RandomWalk { low_percent: 10.0, high_percent: 20.0, step_percent: 11.0, ..RandomWalk::default() };
        assert_eq!(
            found(profile::Shape::RandomWalk(walk)),
            ["load.random_walk.step_percent", "load.random_walk.interval_ms"]
        );
        for points in
            [vec![], vec![point(5, 1.0)], vec![point(0, 1.0), point(0, 2.0)], vec![point(0, f64::NAN)]]
        {
            let trace = Trace { points, repeat_after_ms: None };
            assert_eq!(found(profile::Shape::Trace(trace)).len(), 1);
        }
        let trace = Trace { points: vec![point(0, 1.0), point(10, 2.0)], repeat_after_ms: Some(10) };
        assert_eq!(found(profile::Shape::Trace(trace)), ["load.trace.repeat_after_ms"]);
    }

    #[test]
    fn a_tolerance_without_sense_is_found() {
        for points in [0.0, -1.0, f64::NAN, 101.0] {
            let shape = Some(profile::Shape::Constant(Constant { load_percent: 50.0 }));
            let mut found = Violations::default();
            check(
                "load",
                &Profile { shape, tolerance_points: Some(points), ..Profile::default() },
                &mut found,
            );
            assert_eq!(found.into_vec()[0].field, "load.tolerance_points");
        }
    }
}
