//! A duration times numbers, as scenario files have it: `"5m * 0.5"`, which is what `"${base} * ${scale}"` becomes.

use ssts_proto::validate::MAX_DURATION_MS;

use crate::{error::Problem, quantity};

const MEND: &str = "write a duration, and a number above 0 after each *, such as \"5m * 0.5\"";

/// `10s`, or `10s * 0.5`: in milliseconds, rounded to whole ones, at least 1.
///
/// # Errors
/// What the first part is no duration for, a factor that is no number above 0, a product below 1 ms or beyond 366 d.
pub(crate) fn duration_ms(text: &str) -> Result<u64, Problem> {
    let Some((duration, factors)) = text.split_once('*') else { return quantity::duration_ms(text) };
    let problem = |why: String| Problem::new(format!("'{}' is not a duration: {why}", text.trim()), MEND);
    let mut ms = quantity::duration_ms(duration)? as f64;
    for factor in factors.split('*').map(str::trim) {
        // The parser takes words, too: inf, nan.
        let is_plain = factor.bytes().all(|b| b.is_ascii_digit() || b"+-.eE_".contains(&b));
        let number = factor.parse::<f64>().ok().filter(|number| is_plain && number.is_finite());
        let Some(number) = number else {
            return Err(problem(format!("'{factor}' is no number")));
        };
        if number < 0.0 {
            return Err(problem(format!("the factor {factor} is negative")));
        }
        ms *= number;
    }
    match ms.round() {
        ms if ms < 1.0 => Err(problem("it comes to 0 ms, and the least is 1 ms".into())),
        ms if ms <= MAX_DURATION_MS as f64 => Ok(ms as u64),
        _ => Err(problem("it is longer than 366 d".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_rounded_to_a_millisecond() {
        let good = [
            ("5m", 300_000),
            ("5m * 0.5", 150_000),
            ("20m*0.016666666666666666", 20_000),
            ("1h30m * 2 * 0.25", 2_700_000),
            ("1s * 0.0014", 1),
            ("1ms * 0.5", 1),
            ("10s * 1e-2", 100),
        ];
        for (text, expected) in good {
            assert_eq!(duration_ms(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_product_is_refused_with_the_reason() {
        for (text, why) in [
            ("5m * half", "'half' is no number"),
            ("5m *", "'' is no number"),
            ("5m * inf", "'inf' is no number"),
            ("5m * nan", "'nan' is no number"),
            ("5m * 1e999", "no number"),
            ("5m * -1", "negative"),
            ("5m * 0", "0 ms"),
            ("1ms * 0.4", "0 ms"),
            ("300d * 2", "366 d"),
            ("2 * 5m", "no unit"),
            ("5 * 2", "no unit"),
            ("5m * 5m", "'5m' is no number"),
        ] {
            let problem = duration_ms(text).expect_err(text);
            assert!(problem.message.contains(why), "{text}: {}", problem.message);
            assert!(!problem.mend.is_empty());
        }
    }
}
