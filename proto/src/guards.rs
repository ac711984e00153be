//! What guards are called where people write them, and values with units.

use crate::{
    catalogue::{Kind, Metric},
    v1::{Guard, GuardAggregate, GuardComparison, GuardMissing, GuardReaction},
};

/// Reactions as they are written, gentlest first.
pub const REACTIONS: [(&str, GuardReaction); 5] = [
    ("warn", GuardReaction::Warn),
    ("throttle", GuardReaction::Throttle),
    ("pause", GuardReaction::Pause),
    ("stop", GuardReaction::Stop),
    ("halt", GuardReaction::Halt),
];

/// What may follow a load that was derated to its floor, as it is written.
pub const LAST_STEPS: [(&str, GuardReaction); 4] = [
    ("hold", GuardReaction::Warn),
    ("pause", GuardReaction::Pause),
    ("stop", GuardReaction::Stop),
    ("halt", GuardReaction::Halt),
];

/// Aggregates as they are written.
pub const AGGREGATES: [(&str, GuardAggregate); 9] = [
    ("min", GuardAggregate::Min),
    ("max", GuardAggregate::Max),
    ("mean", GuardAggregate::Mean),
    ("sum", GuardAggregate::Sum),
    ("p50", GuardAggregate::P50),
    ("p90", GuardAggregate::P90),
    ("p95", GuardAggregate::P95),
    ("p99", GuardAggregate::P99),
    ("p999", GuardAggregate::P999),
];

/// What becomes of a guard whose reading is missing, as it is written.
pub const MISSING: [(&str, GuardMissing); 2] =
    [("trip", GuardMissing::Trip), ("ignore", GuardMissing::Ignore)];

/// The keys that say what a guard compares with, of which it has one.
pub const COMPARISONS: [(&str, GuardComparison); 4] = [
    ("above", GuardComparison::Above),
    ("below", GuardComparison::Below),
    ("rises", GuardComparison::Rises),
    ("headroom", GuardComparison::Headroom),
];

/// The name of a reaction.
pub fn reaction_name(reaction: GuardReaction) -> &'static str {
    REACTIONS.iter().find(|(_, known)| *known == reaction).map_or("warn", |(name, _)| name)
}

/// The name of an aggregate.
pub fn aggregate_name(aggregate: GuardAggregate) -> Option<&'static str> {
    AGGREGATES.iter().find(|(_, known)| *known == aggregate).map(|(name, _)| *name)
}

/// The unit of a guard's values: its metric's, and per second where it looks at a rate.
pub fn unit(metric: &Metric, comparison: GuardComparison) -> String {
    let is_rate = metric.kind == Kind::Counter || comparison == GuardComparison::Rises;
    match (metric.unit, is_rate) {
        // Seconds in a second: a share.
        ("s", true) if metric.kind == Kind::Counter => "1".into(),
        (unit, true) => format!("{unit}/s"),
        (unit, false) => unit.into(),
    }
}

/// The limit in words, such as `above 80.0 °C`.
pub fn limit(guard: &Guard, unit: &str) -> String {
    let value = words(guard.value, unit);
    match guard.comparison() {
        GuardComparison::Below => format!("below {value}"),
        GuardComparison::Rises => format!("rises by more than {value}"),
        GuardComparison::Headroom => format!("less than {value} below the critical point"),
        GuardComparison::Above | GuardComparison::Unspecified => format!("above {value}"),
    }
}

/// A value in its unit, as people read it.
pub fn words(value: f64, unit: &str) -> String {
    let (unit, per) = unit.strip_suffix("/s").map_or((unit, ""), |unit| (unit, "/s"));
    let text = match unit {
        "Cel" => format!("{value:.1} °C"),
        "By" => bytes(value),
        "s" => seconds(value),
        "ns" => seconds(value / 1e9),
        "1" if per.is_empty() && value.fract() != 0.0 => format!("{:.1} %", value * 100.0),
        "1" => trimmed(value),
        other => format!("{} {other}", trimmed(value)),
    };
    text + per
}

fn trimmed(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn bytes(value: f64) -> String {
    // Whole numbers of the next smaller unit are more exact than tenths of a large one.
    for (size, name, least) in
        [(1u64 << 40, "TiB", 100.0), (1 << 30, "GiB", 100.0), (1 << 20, "MiB", 10.0), (1 << 10, "KiB", 1.0)]
    {
        let scaled = value / size as f64;
        if scaled.abs() >= least {
            return format!("{:.0} {name}", scaled.trunc());
        }
    }
    format!("{value:.0} B")
}

fn seconds(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1.0 || magnitude == 0.0 {
        format!("{} s", trimmed(value))
    } else if magnitude >= 1e-3 {
        format!("{:.1} ms", value * 1e3)
    } else {
        format!("{:.1} µs", value * 1e6)
    }
}

/// Units that a value may be written in, for each of the catalogue's, and what one of them is of it.
const UNITS: [(&str, &[(&str, f64)]); 7] = [
    (
        "By",
        &[
            ("B", 1.0),
            ("By", 1.0),
            ("KiB", 1_024.0),
            ("MiB", 1_048_576.0),
            ("GiB", 1_073_741_824.0),
            ("TiB", 1_099_511_627_776.0),
            ("kB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("TB", 1e12),
        ],
    ),
    ("s", &[("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("min", 60.0), ("h", 3_600.0)]),
    ("ns", &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)]),
    ("Cel", &[("°C", 1.0), ("C", 1.0), ("K", 1.0), ("Cel", 1.0)]),
    ("1", &[("%", 0.01)]),
    ("Hz", &[("Hz", 1.0), ("kHz", 1e3), ("MHz", 1e6), ("GHz", 1e9)]),
    ("W", &[("W", 1.0), ("mW", 1e-3), ("kW", 1e3)]),
];

/// A number with or without a unit, such as `85`, `512MiB`, `20 ms`, `40 %` or `2 °C/s`, in `unit` of the catalogue.
///
/// # Errors
/// What is wrong with it, and what can be written instead.
pub fn value(text: &str, unit: &str) -> Result<f64, (String, String)> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (number, written) = text.split_at(end);
    let base = unit.strip_suffix("/s");
    let written = written.trim();
    let written = base.and(written.strip_suffix("/s")).unwrap_or(written).trim_end();
    let units =
        UNITS.iter().find(|(known, _)| *known == base.unwrap_or(unit)).map_or(&[][..], |(_, units)| units);
    let mend = || {
        let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
        match names.as_slice() {
            [] => format!("write a number, in {unit}"),
            names => format!("write a number, in {unit}, or with one of: {}", names.join(", ")),
        }
    };
    let number: f64 = number.parse().map_err(|_| (format!("'{text}' is no number"), mend()))?;
    let own = base.unwrap_or(unit);
    if written.is_empty() || written == own {
        return Ok(number);
    }
    let known = units.iter().find(|(name, _)| *name == written);
    known
        .map(|(_, factor)| number * factor)
        .ok_or_else(|| (format!("'{written}' is no unit of what is measured in {unit}"), mend()))
}

/// Whether `pattern`, in which `*` stands for any characters, is all of `text`.
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Whether a label's value is what a [`LabelMatch`](crate::v1::LabelMatch) asks for: `!` before a pattern means all others.
pub fn label_fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_prefix('!') {
        Some(others) => !glob(others, text),
        None => glob(pattern, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{HOST_MEMORY_AVAILABLE, HOST_PRESSURE_STALLED, HOST_TEMPERATURE, HOST_VM_FAULTS};

    #[test]
    fn values_are_read_in_their_units() {
        for (text, unit, expected) in [
            ("85", "Cel", 85.0),
            ("85 °C", "Cel", 85.0),
            ("512MiB", "By", 536_870_912.0),
            ("20 ms", "ns", 2e7),
            ("40 %", "1", 0.4),
            ("2 °C/s", "Cel/s", 2.0),
            ("-3.5", "Cel", -3.5),
            ("10MB/s", "By/s", 1e7),
        ] {
            let read = value(text, unit).unwrap();
            assert!((read - expected).abs() <= expected.abs() * 1e-12, "{text}: {read}");
        }
        for (text, unit, part) in [
            ("85 F", "Cel", "°C"),
            ("hot", "Cel", "number"),
            ("", "By", "number"),
            ("5 GiB", "s", "ms"),
            ("1..2", "1", "number"),
        ] {
            let (message, mend) = value(text, unit).unwrap_err();
            assert!(mend.contains(part), "{text}: {message}; {mend}");
        }
    }

    #[test]
    fn units_are_rates_where_rates_are_judged() {
        use GuardComparison::{Above, Rises};
        assert_eq!(unit(&HOST_TEMPERATURE, Above), "Cel");
        assert_eq!(unit(&HOST_TEMPERATURE, Rises), "Cel/s");
        assert_eq!(unit(&HOST_VM_FAULTS, Above), "1/s");
        assert_eq!(unit(&HOST_PRESSURE_STALLED, Above), "1");
        assert_eq!(unit(&HOST_MEMORY_AVAILABLE, Rises), "By/s");
    }

    #[test]
    fn words_are_short() {
        for (value, unit, expected) in [
            (80.0, "Cel", "80.0 °C"),
            (268_435_456.0, "By", "256 MiB"),
            (2.5e7, "ns", "25.0 ms"),
            (0.4, "1", "40.0 %"),
            (3.0, "1", "3"),
            (2.0, "Cel/s", "2.0 °C/s"),
            (0.0, "1/s", "0/s"),
        ] {
            assert_eq!(words(value, unit), expected);
        }
    }

    #[test]
    fn patterns_match_as_shells_have_them() {
        for (pattern, text, expected) in [
            ("vda", "vda", true),
            ("vda", "vda1", false),
            ("*", "", true),
            ("vd*", "vda1", true),
            ("*1", "vda1", true),
            ("v*a*1", "vda1", true),
            ("a*a", "a", false),
            ("*ab*", "xaby", true),
            ("*ab*", "xay", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_exclamation_mark_means_all_others() {
        assert!(label_fits("!cpu", "memory") && !label_fits("!cpu", "cpu") && label_fits("c*", "cpu"));
    }
}
