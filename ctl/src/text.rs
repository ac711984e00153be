//! Figures and names in the form that people read.

use std::borrow::Cow;

/// `text` without what could command a terminal; line breaks and tabs stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(bad) { Cow::Owned(text.replace(bad, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// `1.5 GiB`.
pub(crate) fn bytes(value: f64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    scaled(value, 1_024.0, &UNITS)
}

/// `12.3 k`, `4.56 G`: with a decimal prefix, for what has no unit or one that follows.
pub(crate) fn count(value: f64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    scaled(value, 1_000.0, &UNITS)
}

/// `850 ns`, `1.23 ms`: a time of the scale of one operation.
pub(crate) fn nanoseconds(value: f64) -> String {
    const UNITS: [&str; 4] = ["ns", "µs", "ms", "s"];
    scaled(value, 1_000.0, &UNITS)
}

/// A number with a unit of the contract, which are UCUM's: `By`, `s`, `ns`, `By/s`; `1` for what has none.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "By" => bytes(value),
        "By/s" => format!("{}/s", bytes(value)),
        "ns" => nanoseconds(value),
        "s" => nanoseconds(value * 1e9),
        "1" => count(value),
        "%" => format!("{} %", trimmed(value, 3)),
        other => format!("{} {other}", count(value)),
    }
}

/// `0:09`, `1:02:03`: a time of the scale of a run.
pub(crate) fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `1h 30m`, `12.5 s`, `250 ms`.
pub(crate) fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..120_000 => format!("{} s", trimmed(milliseconds as f64 / 1_000.0, 2)),
        _ => {
            let seconds = milliseconds / 1_000;
            let parts = [
                (seconds / 86_400, "d"),
                (seconds / 3_600 % 24, "h"),
                (seconds / 60 % 60, "m"),
                (seconds % 60, "s"),
            ];
            let parts = parts.iter().filter(|(amount, _)| *amount > 0);
            parts.map(|(amount, unit)| format!("{amount}{unit}")).collect::<Vec<_>>().join(" ")
        }
    }
}

/// `0-3,8`: numbers as the kernel writes lists of CPUs.
pub(crate) fn core_list(cores: &[u32]) -> String {
    let mut sorted = cores.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for core in sorted {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let write = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(write).collect::<Vec<_>>().join(",")
}

/// At most `decimals` of them, none that is a trailing zero.
pub(crate) fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Three significant digits before the prefix that keeps the number short; empty where there is no number.
fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let mut value = value;
    let mut unit = 0;
    // What rounds up to a whole base belongs to the next unit.
    while value.abs() >= base - 0.5 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let decimals = match value.abs() {
        _ if unit == 0 && value.fract() == 0.0 => 0,
        magnitude if magnitude < 9.995 => 2,
        magnitude if magnitude < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", units[unit]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_carry_their_unit() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(1_536.0), "1.50 KiB");
        assert_eq!(bytes(1_048_575.0), "1.00 MiB");
        assert_eq!(count(999.0), "999");
        assert_eq!(count(1_234_567.0), "1.23 M");
        assert_eq!(nanoseconds(850.0), "850 ns");
        assert_eq!(nanoseconds(12_345.0), "12.3 µs");
        assert_eq!(nanoseconds(2.5e9), "2.50 s");
        assert_eq!(quantity(2_048.0, "By"), "2.00 KiB");
        assert_eq!(quantity(0.25, "s"), "250 ms");
        assert_eq!(quantity(3.0, "1"), "3");
        assert_eq!(quantity(1_500.0, "bit/s"), "1.50 k bit/s");
    }

    #[test]
    fn times_read_like_a_clock_or_like_words() {
        assert_eq!(clock(9_999), "0:09");
        assert_eq!(clock(3_723_000), "1:02:03");
        assert_eq!(duration(250), "250 ms");
        assert_eq!(duration(12_500), "12.5 s");
        assert_eq!(duration(5_400_000), "1h 30m");
    }

    #[test]
    fn cores_are_written_as_the_kernel_does() {
        assert_eq!(core_list(&[8, 0, 1, 2, 3]), "0-3,8");
        assert_eq!(core_list(&[]), "");
    }
}
