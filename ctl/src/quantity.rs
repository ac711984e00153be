//! Durations, sizes and lists of cores as users write them. Nothing is guessed: a number without its unit, or
//! with one that isn't known, is refused with the units that are.

use ssts_proto::{
    v1::{BlockShare, HttpHeader, InjectedError, memory_burner::Size},
    validate::MAX_DURATION_MS,
};

use crate::error::Problem;

/// The largest CPU number that Linux can be built for: arch/x86/Kconfig, NR_CPUS.
const MAX_CORE: u32 = 8_191;

const NS_PER_MS: u128 = 1_000_000;
/// Longest first, as they must be written.
const DURATION_UNITS: [(&str, u128); 5] = [
    ("d", 86_400_000 * NS_PER_MS),
    ("h", 3_600_000 * NS_PER_MS),
    ("m", 60_000 * NS_PER_MS),
    ("s", 1_000 * NS_PER_MS),
    ("ms", NS_PER_MS),
];
const SIZE_UNITS: [(&str, u128); 15] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("bytes", 1),
];

/// `10s`, `0.5s`, `1h30m`: in milliseconds, at least 1.
pub(crate) fn duration_ms(text: &str) -> Result<u64, Problem> {
    const MEND: &str = "write a number and a unit of ms, s, m, h or d, such as 250ms, 10s, 0.5h or 1h30m";
    let problem = |why: &str| Problem::new(format!("'{text}' is not a duration: {why}"), MEND);
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(problem("it is empty"));
    }
    let mut total_ns: u128 = 0;
    let mut last_unit = None;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(after.len());
        let (unit, tail) = after.split_at(unit_end);
        if number.is_empty() {
            return Err(problem(if rest.starts_with('-') {
                "it is negative"
            } else {
                "a number is missing"
            }));
        }
        let Some(rank) = DURATION_UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(if unit.is_empty() {
                problem("it has no unit")
            } else {
                problem(&format!("no unit '{unit}' is known"))
            });
        };
        if last_unit.is_some_and(|last| last >= rank) {
            return Err(problem("units go from the longest to the shortest, each once"));
        }
        last_unit = Some(rank);
        let part = times(number, DURATION_UNITS[rank].1)
            .ok_or_else(|| problem("it is not a number of 1 ms steps"))?;
        total_ns = total_ns.checked_add(part).ok_or_else(|| problem("it is too long"))?;
        rest = tail;
    }
    if !total_ns.is_multiple_of(NS_PER_MS) {
        return Err(problem("it is not a number of 1 ms steps"));
    }
    match u64::try_from(total_ns / NS_PER_MS) {
        Ok(0) => Err(problem("it is 0, and the least is 1 ms")),
        Ok(ms) if ms <= MAX_DURATION_MS => Ok(ms),
        _ => Err(problem("it is longer than 366 d")),
    }
}

/// `512MiB`, `1GB`, `4k`, `4096`: in bytes, at least 1.
pub(crate) fn size_bytes(text: &str) -> Result<u64, Problem> {
    const MEND: &str = "write bytes, or a number with KiB, MiB, GiB, TiB (or K, M, G, T) or with kB, MB, GB, TB, \
                        such as 512MiB";
    let problem = |why: &str| Problem::new(format!("'{text}' is not a size: {why}"), MEND);
    let trimmed = text.trim();
    let (number, unit) = split_number(trimmed);
    if number.is_empty() {
        let negative = trimmed.starts_with('-');
        return Err(problem(if negative { "it is negative" } else { "a number is missing" }));
    }
    let unit = unit.trim();
    let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name)) else {
        return Err(problem(&format!("no unit '{unit}' is known")));
    };
    let value = times(number, *factor).ok_or_else(|| problem("it is not a whole number of bytes"))?;
    match u64::try_from(value) {
        Ok(0) => Err(problem("it is 0")),
        Ok(bytes) if i64::try_from(bytes).is_ok() => Ok(bytes),
        _ => Err(problem("it is too large")),
    }
}

/// `4KiB`, or `4KiB:70,64KiB:30`: sizes and their shares in percent.
pub(crate) fn block_sizes(text: &str) -> Result<Vec<BlockShare>, Problem> {
    const MEND: &str =
        "write one size such as 4KiB, or several with shares that make 100, such as 4KiB:70,64KiB:30";
    let size = |text: &str| {
        let bytes = size_bytes(text)?;
        // What is larger than any block is refused by its bounds, which name the largest.
        Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
    };
    if !text.contains([':', ',']) {
        return Ok(vec![BlockShare { block_bytes: size(text)?, percent: 100 }]);
    }
    text.split(',')
        .map(|part| {
            let (bytes, share) = part
                .split_once(':')
                .ok_or_else(|| Problem::new(format!("'{}' has no share", part.trim()), MEND))?;
            let percent = share.trim().trim_end_matches('%').parse();
            let percent = percent
                .map_err(|_| Problem::new(format!("'{}' is no share in percent", share.trim()), MEND))?;
            Ok(BlockShare { block_bytes: size(bytes.trim())?, percent })
        })
        .collect()
}

/// A worker, and after how long: `0`, `3@500ms`.
pub(crate) fn injected_error(text: &str) -> Result<InjectedError, Problem> {
    let (worker, after) = text.split_once('@').unwrap_or((text, "0s"));
    let worker = worker.parse().map_err(|_| {
        Problem::new(
            format!("'{worker}' is no worker"),
            "write the number of one, counted from 0, and after how long, such as 0@2s",
        )
    })?;
    // A duration of 0 is none elsewhere; here it is what is meant without one.
    let after_ms = if after == "0s" { 0 } else { duration_ms(after)? };
    Ok(InjectedError { worker, after_ms })
}

/// A size, or a percentage above 0 up to 100: `4GiB`, `62.5%`.
pub(crate) fn size_or_percent(text: &str) -> Result<Size, Problem> {
    let Some(digits) = text.trim().strip_suffix('%') else {
        return size_bytes(text).map(Size::SizeBytes);
    };
    share(digits, text).map(Size::SizePercent)
}

/// A percentage above 0 up to 100, with or without its sign.
pub(crate) fn percent_of_all(text: &str) -> Result<f64, Problem> {
    let digits = text.trim();
    share(digits.strip_suffix('%').unwrap_or(digits), text)
}

fn share(digits: &str, text: &str) -> Result<f64, Problem> {
    match digits.trim_end().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent),
        _ => Err(Problem::new(
            format!("'{text}' is not a percentage"),
            "use more than 0 and at most 100 percent",
        )),
    }
}

/// `0-3,8`: the numbers, in the order written.
pub(crate) fn cores(text: &str) -> Result<Vec<u32>, Problem> {
    const MEND: &str = "write numbers and ranges with commas between them, such as 0-3,8";
    let problem = |why: String| Problem::new(format!("'{text}' is not a list of cores: {why}"), MEND);
    let mut list = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let number = |digits: &str| {
            let value: u32 =
                digits.trim().parse().map_err(|_| problem(format!("'{part}' is no number or range")))?;
            if value > MAX_CORE {
                return Err(problem(format!("no Linux host has a core {value}")));
            }
            Ok(value)
        };
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(problem(format!("the range '{part}' goes down")));
        }
        for core in first..=last {
            if list.contains(&core) {
                return Err(problem(format!("core {core} is named twice")));
            }
            list.push(core);
        }
    }
    Ok(list)
}

/// A number of operations a second: digits, nothing else.
pub(crate) fn rate_per_s(text: &str) -> Result<u64, Problem> {
    match text.parse() {
        Ok(rate) if (1..=ssts_proto::validate::MAX_RATE_PER_S).contains(&rate) => Ok(rate),
        _ => Err(Problem::new(
            format!("'{text}' is not a rate"),
            format!("write I/Os a second, 1 to {}", ssts_proto::validate::MAX_RATE_PER_S),
        )),
    }
}

/// `2.5G`, `100M`, `5000`: a rate of what flows, with decimal prefixes, as links have them.
pub(crate) fn network_rate(text: &str) -> Result<u64, Problem> {
    let mend = "write a whole number, or one with k, M, G or T, such as 2.5G bits a second or 5000 requests a second";
    let problem = || Problem::new(format!("'{text}' is not a rate"), mend);
    let (number, unit) = split_number(text.trim());
    let factor = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return Err(problem()),
    };
    let value = times(number, factor).and_then(|value| u64::try_from(value).ok());
    value.filter(|value| *value > 0).ok_or_else(problem)
}

/// `Name: value`, a header of HTTP.
pub(crate) fn header(text: &str) -> Result<HttpHeader, Problem> {
    let Some((name, value)) = text.split_once(':').filter(|(name, _)| !name.is_empty()) else {
        // Not shown: it may be a secret.
        return Err(Problem::new("a header without a name", "write it as 'Accept: text/html'"));
    };
    Ok(HttpHeader { name: name.into(), value: value.trim().into() })
}

/// `2xx,404`: statuses of HTTP, or classes by their first digit.
pub(crate) fn statuses(text: &str) -> Result<Vec<u32>, Problem> {
    let one = |part: &str| {
        let number = part.strip_suffix("xx").unwrap_or(part);
        let is_class = number.len() < part.len();
        let status = number
            .parse()
            .ok()
            .filter(|status| if is_class { (1..=5).contains(status) } else { (100..=599).contains(status) });
        status.ok_or_else(|| {
            Problem::new(format!("'{part}' is no status"), "write 100 to 599, or a class, such as 2xx,404")
        })
    };
    text.split(',').map(|part| one(part.trim())).collect()
}

/// The leading digits, with at most one point among them, and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let mut seen_point = false;
    let end = text.find(|c: char| match c {
        '0'..='9' => false,
        '.' => std::mem::replace(&mut seen_point, true),
        _ => true,
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// `number` times `unit`, if that is whole and fits.
fn times(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.len() > 15 {
        return None;
    }
    let value = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    if fraction.is_empty() {
        return Some(value);
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let numerator = fraction.parse::<u128>().ok()?.checked_mul(unit)?;
    numerator.is_multiple_of(scale).then(|| value.checked_add(numerator / scale))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_to_the_millisecond() {
        let good = [
            ("10s", 10_000),
            ("0.5s", 500),
            ("90m", 5_400_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1d", 86_400_000),
            ("1.5h", 5_400_000),
            ("1m0.25s", 60_250),
            (" 1s ", 1_000),
        ];
        for (text, expected) in good {
            assert_eq!(duration_ms(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_units() {
        let bad = [
            "",
            " ",
            "10",
            "5parsecs",
            "-1s",
            "0s",
            "0ms",
            "s",
            "1.s",
            ".5s",
            "1..5s",
            "1e3s",
            "0.5ms",
            "0.0001s",
            "1s1h",
            "1s1s",
            "10 s",
            "99999999999999999999999999999999999999999999h",
            "367d",
            "10S",
            "1h-30m",
            "∞",
            "1µs",
        ];
        for text in bad {
            let problem = duration_ms(text).expect_err(text);
            assert!(problem.mend.contains("ms, s, m, h or d"), "{text}");
        }
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        let good = [
            ("4096", 4_096),
            ("4k", 4_096),
            ("4K", 4_096),
            ("4KiB", 4_096),
            ("4kB", 4_000),
            ("512MiB", 512 << 20),
            ("1GB", 1_000_000_000),
            ("1.5G", 3 << 29),
            ("2TiB", 2 << 40),
            ("7 MB", 7_000_000),
            ("12B", 12),
        ];
        for (text, expected) in good {
            assert_eq!(size_bytes(text), Ok(expected), "{text}");
        }
        for text in
            ["", "0", "-1", "1.5", "0.3B", "MiB", "5 parsecs", "9EiB", "99999999999999999999TiB", "1..2k"]
        {
            assert!(size_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_have_decimal_prefixes() {
        for (text, rate) in
            [("5000", 5_000), ("2.5G", 2_500_000_000), ("10k", 10_000), ("1T", 1_000_000_000_000)]
        {
            assert_eq!(network_rate(text), Ok(rate), "{text}");
        }
        for text in ["", "0", "-1", "1.5", "1Gi", "1GB", "G", "fast", "99999999999T"] {
            assert!(network_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_may_be_a_percentage() {
        assert_eq!(size_or_percent("80%"), Ok(Size::SizePercent(80.0)));
        assert_eq!(size_or_percent("1 %"), Ok(Size::SizePercent(1.0)));
        assert_eq!(size_or_percent("1GiB"), Ok(Size::SizeBytes(1 << 30)));
        for text in ["0%", "101%", "-1%", "%", "nan%", "0", "ten%", "5GiB%"] {
            assert!(size_or_percent(text).is_err(), "{text}");
        }
        assert_eq!(percent_of_all("7.5"), Ok(7.5));
        assert!(percent_of_all("0").is_err());
    }

    #[test]
    fn core_lists_are_read_and_bounded() {
        assert_eq!(cores("0-3,8"), Ok(vec![0, 1, 2, 3, 8]));
        for text in ["", ",", "a", "3-1", "1,1", "0-4294967295", "-1", "1-", "0-2,1"] {
            assert!(cores(text).is_err(), "{text}");
        }
    }
}
