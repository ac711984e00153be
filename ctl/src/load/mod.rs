//! Loads over time as users write them, on the command line and in scenario files alike.

mod trace;

use std::path::Path;

use ssts_proto::v1::{Constant, Ramp, RandomWalk, Sawtooth, Sine, Square, Step, Steps, profile::Shape};

use crate::{error::Problem, product};

/// How a load is written, for messages and help.
pub(crate) const FORMS: &str = "write 1 to 100 percent of each core: 50, a ramp 10..90, steps:10@5s,50@10s,0, sine:10..90/10s, \
                                square:0..100/1s@25%, sawtooth:0..100/10s, walk:10..90/5/100ms, or trace:FILE";

/// `50`, `10..90`, `sine:10..90/10s` and so on; `folder` is where the path of a trace begins.
pub(crate) fn shape(text: &str, folder: &Path) -> Result<Shape, Problem> {
    let Some((name, rest)) = text.split_once(':') else {
        return match text.split_once("..") {
            None => constant(text),
            Some((from, to)) => {
                Ok(Shape::Ramp(Ramp { from_percent: part(from, text)?, to_percent: part(to, text)? }))
            }
        };
    };
    match name.trim() {
        "steps" => steps(rest, text),
        "sine" => {
            let (range, period) = split(rest, '/', text)?;
            let (low_percent, high_percent) = bounds(range, text)?;
            Ok(Shape::Sine(Sine { low_percent, high_percent, period_ms: product::duration_ms(period)? }))
        }
        "square" => {
            let (range, rest) = split(rest, '/', text)?;
            let (low_percent, high_percent) = bounds(range, text)?;
            let (period, duty) = match rest.split_once('@') {
                None => (rest, None),
                Some((period, duty)) => (period, Some(part(duty, text)?)),
            };
            Ok(Shape::Square(Square {
                low_percent,
                high_percent,
                period_ms: product::duration_ms(period)?,
                duty_percent: duty,
            }))
        }
        "sawtooth" => {
            let (range, period) = split(rest, '/', text)?;
            let (from_percent, to_percent) = bounds(range, text)?;
            Ok(Shape::Sawtooth(Sawtooth {
                from_percent,
                to_percent,
                period_ms: product::duration_ms(period)?,
            }))
        }
        "walk" => {
            let (range, rest) = split(rest, '/', text)?;
            let (step, interval) = split(rest, '/', text)?;
            let (low_percent, high_percent) = bounds(range, text)?;
            Ok(Shape::RandomWalk(RandomWalk {
                low_percent,
                high_percent,
                step_percent: part(step, text)?,
                interval_ms: product::duration_ms(interval)?,
                seed: None,
            }))
        }
        "trace" => trace::read(rest, folder).map(Shape::Trace),
        other => Err(Problem::new(format!("there is no load '{other}'"), FORMS)),
    }
}

fn constant(text: &str) -> Result<Shape, Problem> {
    match part(text, text)? {
        load_percent if load_percent >= 1.0 => Ok(Shape::Constant(Constant { load_percent })),
        load_percent => {
            let mend = "use 1 to 100 percent of each core, or a ramp such as 10..90";
            Err(Problem::new(format!("a load of {load_percent} %"), mend))
        }
    }
}

fn steps(list: &str, whole: &str) -> Result<Shape, Problem> {
    let step = |text: &str| match text.split_once('@') {
        None => Ok(Step { load_percent: part(text, whole)?, duration_ms: 0 }),
        Some((load, duration)) => {
            Ok(Step { load_percent: part(load, whole)?, duration_ms: product::duration_ms(duration)? })
        }
    };
    let steps = list.split(',').map(step).collect::<Result<Vec<_>, _>>()?;
    Ok(Shape::Steps(Steps { steps }))
}

fn bounds(range: &str, whole: &str) -> Result<(f64, f64), Problem> {
    let (low, high) = range.split_once("..").ok_or_else(|| no_load(whole))?;
    Ok((part(low, whole)?, part(high, whole)?))
}

fn split<'a>(text: &'a str, at: char, whole: &str) -> Result<(&'a str, &'a str), Problem> {
    text.split_once(at).ok_or_else(|| no_load(whole))
}

/// 0 to 100 percent, with or without the sign.
fn part(text: &str, whole: &str) -> Result<f64, Problem> {
    let digits = text.trim();
    let digits = digits.strip_suffix('%').unwrap_or(digits).trim_end();
    match digits.parse::<f64>() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        Ok(value) if value.is_finite() => Err(Problem::new(
            format!("a load of {value} %"),
            "use 1 to 100 percent of each core, or a ramp such as 10..90",
        )),
        _ => Err(no_load(whole)),
    }
}

fn no_load(text: &str) -> Problem {
    Problem::new(format!("'{text}' is not a load"), FORMS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Shape, Problem> {
        shape(text, Path::new("."))
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(read("50"), read("50 %"));
        assert_eq!(read("50"), Ok(Shape::Constant(Constant { load_percent: 50.0 })));
        assert_eq!(read("0..90"), Ok(Shape::Ramp(Ramp { from_percent: 0.0, to_percent: 90.0 })));
        let step = |load_percent, duration_ms| Step { load_percent, duration_ms };
        assert_eq!(
            read("steps:10@5s,50@1m,0"),
            Ok(Shape::Steps(Steps { steps: vec![step(10.0, 5_000), step(50.0, 60_000), step(0.0, 0)] }))
        );
        assert_eq!(
            read("sine:10..90/10s"),
            Ok(Shape::Sine(Sine { low_percent: 10.0, high_percent: 90.0, period_ms: 10_000 }))
        );
        let square = |duty_percent| {
            Ok(Shape::Square(Square {
                low_percent: 0.0,
                high_percent: 100.0,
                period_ms: 1_000,
                duty_percent,
            }))
        };
        assert_eq!(read("square:0..100/1s"), square(None));
        assert_eq!(read("square:0..100/1s@25%"), square(Some(25.0)));
        assert_eq!(
            read("sawtooth:90..10/2s"),
            Ok(Shape::Sawtooth(Sawtooth { from_percent: 90.0, to_percent: 10.0, period_ms: 2_000 }))
        );
        assert_eq!(
            read("walk:10..90/5/100ms"),
            Ok(Shape::RandomWalk(RandomWalk {
                low_percent: 10.0,
                high_percent: 90.0,
                step_percent: 5.0,
                interval_ms: 100,
                seed: None
            }))
        );
    }

    #[test]
    fn what_is_no_load_is_refused_with_the_forms_there_are() {
        for text in ["0", "0.5", "101", "-5", "nan", "inf", "", "ten", "1..", "..2", "50..101", "1..2..3"] {
            assert!(read(text).is_err(), "{text}");
        }
        for text in [
            "sine:10..90",
            "sine:10/5s",
            "square:1..2/",
            "steps:",
            "steps:5@",
            "walk:1..2/5s",
            "saw:1..2/3s",
            "trace:",
        ] {
            let problem = read(text).unwrap_err();
            assert!(!problem.mend.is_empty(), "{text}");
        }
    }
}
