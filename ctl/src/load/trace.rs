//! A recorded load: a CSV file of times and values.

use std::{fs::File, io::Read as _, path::Path};

use ssts_proto::{
    v1::{Trace, TracePoint},
    validate::MAX_TRACE_POINTS,
};

use crate::{error::Problem, quantity};

/// Far beyond [`MAX_TRACE_POINTS`] lines of any length that makes sense.
const MAX_FILE_BYTES: u64 = 16 << 20;
const MEND: &str =
    "write a line 'time,value' for each point: seconds (any origin, rising) and percent, 0 to 100";

/// `FILE`, or `FILE@60s` to begin anew after that time.
pub(super) fn read(text: &str, folder: &Path) -> Result<Trace, Problem> {
    let (name, repeat_after_ms) = match text.rsplit_once('@') {
        Some((name, length)) => match quantity::duration_ms(length) {
            Ok(length) => (name, Some(length)),
            // A path may have such a sign of its own.
            Err(_) => (text, None),
        },
        None => (text, None),
    };
    let path = folder.join(name.trim());
    let refuse = |why: String| Problem::new(format!("the trace '{}': {why}", path.display()), MEND);
    let mut content = String::new();
    let file = File::open(&path).map_err(|error| refuse(error.to_string()))?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut content);
    let length = read.map_err(|error| refuse(error.to_string()))?;
    if length as u64 > MAX_FILE_BYTES {
        return Err(refuse("it is larger than 16 MiB".into()));
    }
    Ok(Trace { points: points(&content).map_err(refuse)?, repeat_after_ms })
}

/// Times from the first one on. A first line that holds no number is a heading; lines that begin with # are remarks.
fn points(content: &str) -> Result<Vec<TracePoint>, String> {
    let mut points = Vec::new();
    let mut first = None;
    for (index, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let numbers = line.split_once(',').and_then(|(time, value)| {
            let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            Some((number(time)?, number(value.trim().trim_end_matches('%'))?))
        });
        let Some((time, load_percent)) = numbers else {
            if index == 0 {
                continue;
            }
            return Err(format!("line {}: '{line}' is no time and value", index + 1));
        };
        if points.len() == MAX_TRACE_POINTS {
            return Err(format!("more than {MAX_TRACE_POINTS} points"));
        }
        let at_ms = (time - *first.get_or_insert(time)) * 1e3;
        let before = points.last().map_or(-1.0, |point: &TracePoint| point.at_ms as f64);
        if at_ms.round() <= before {
            return Err(format!("line {}: the time {time} s is not later than the one before", index + 1));
        }
        if !(0.0..=100.0).contains(&load_percent) {
            return Err(format!("line {}: a load of {load_percent} %", index + 1));
        }
        points.push(TracePoint { at_ms: at_ms.round() as u64, load_percent });
    }
    if points.is_empty() { Err("it holds no point".into()) } else { Ok(points) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at_ms: u64, load_percent: f64) -> TracePoint {
        TracePoint { at_ms, load_percent }
    }

    #[test]
    fn times_count_from_the_first() {
        let text = "time,value\n# recorded in May\n1700000000.0,10\n1700000000.5, 35.5%\n\n1700000002,0\n";
        assert_eq!(points(text), Ok(vec![point(0, 10.0), point(500, 35.5), point(2_000, 0.0)]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, why) in [
            ("", "no point"),
            ("time,value\n", "no point"),
            ("0,1\nx,y\n", "line 2"),
            ("0,1\n0,2\n", "line 2: the time 0 s is not later"),
            ("0,1\n1,101\n", "line 2: a load of 101 %"),
            ("0,nan\n1,2\n3\n", "line 3"),
        ] {
            let message = points(text).unwrap_err();
            assert!(message.contains(why), "{text}: {message}");
        }
    }

    #[test]
    fn a_file_is_found_from_its_folder_and_may_repeat() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a@b.csv"), "0,1\n1,2\n").unwrap();
        assert_eq!(read("a@b.csv", folder.path()).unwrap().repeat_after_ms, None);
        assert_eq!(read("a@b.csv@3s", folder.path()).unwrap().repeat_after_ms, Some(3_000));
        let problem = read("none.csv", folder.path()).unwrap_err();
        assert!(problem.message.contains("none.csv"), "{problem:?}");
    }
}
