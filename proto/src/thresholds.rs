//! What thresholds are called where people write them: `disk.read.latency.p99 < 20ms`.
//!
//! ```text
//! threshold  := subject comparison value | subject "within" share "of" reference
//! subject    := metric [ "." statistic ]
//! metric     := a name of the catalogue, or of a kind of burner: "cpu.load.missed", "disk.read.latency"
//! statistic  := "min" | "max" | "mean" | "p50" | "p90" | "p95" | "p99" | "p999" | "last" | "total"
//! comparison := "<" | "<=" | ">" | ">=" | "==" | "!="
//! value      := a number with or without a unit: "85", "20ms", "5 %", "100 MB/s"
//! share      := a number of percent: "20%"
//! reference  := "phase:" and the name of an earlier phase that is a baseline
//! ```

mod within;

use crate::{
    catalogue::{self, Kind, Metric, Worse},
    guards,
    nearest::{distance, nearest},
    v1::{GuardComparison, LabelMatch, Threshold, ThresholdComparison, ThresholdOutcome, ThresholdStatistic},
};

/// Statistics as they are written.
pub const STATISTICS: [(&str, ThresholdStatistic); 10] = [
    ("min", ThresholdStatistic::Min),
    ("max", ThresholdStatistic::Max),
    ("mean", ThresholdStatistic::Mean),
    ("p50", ThresholdStatistic::P50),
    ("p90", ThresholdStatistic::P90),
    ("p95", ThresholdStatistic::P95),
    ("p99", ThresholdStatistic::P99),
    ("p999", ThresholdStatistic::P999),
    ("last", ThresholdStatistic::Last),
    ("total", ThresholdStatistic::Total),
];

/// Comparisons as they are written; what another one begins with comes after it.
pub const COMPARISONS: [(&str, ThresholdComparison); 6] = [
    ("<=", ThresholdComparison::AtMost),
    (">=", ThresholdComparison::AtLeast),
    ("==", ThresholdComparison::Equal),
    ("!=", ThresholdComparison::Unequal),
    ("<", ThresholdComparison::Below),
    (">", ThresholdComparison::Above),
];

/// Burners whose load was not what was asked: known at their end, and in no frame.
pub static LOAD_MISSED: Metric = Metric {
    name: "burner.load_missed",
    unit: "1",
    kind: Kind::Counter,
    labels: &["burner", "kind"],
    help: "Burners whose load was not what was asked.",
    worse: Some(Worse::Present),
};

/// Kinds of burners, and the operations whose latency each tells.
const KINDS: [(&str, &[&str]); 5] = [
    ("cpu", &[]),
    ("memory", &["access"]),
    ("disk", &["read", "write", "fsync"]),
    ("network", &["round_trip"]),
    ("http", &["request", "connect", "handshake"]),
];

/// What is told of every kind of burner.
static OF_BURNERS: [(&str, &Metric); 6] = [
    ("load.missed", &LOAD_MISSED),
    ("verify.errors", &catalogue::BURNER_VERIFY_ERRORS),
    ("io.errors", &catalogue::BURNER_IO_ERRORS),
    ("operations", &catalogue::BURNER_OPERATIONS),
    ("bytes", &catalogue::BURNER_BYTES),
    ("flops", &catalogue::BURNER_FLOPS),
];

/// What is wrong with a threshold, which part of it, and what can be written instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Bytes of the text.
    pub part: std::ops::Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

/// The metric that a threshold looks at.
pub fn metric(name: &str) -> Option<&'static Metric> {
    if name == LOAD_MISSED.name { Some(&LOAD_MISSED) } else { catalogue::find(name) }
}

/// The unit of a threshold's value: its metric's, and per second where it is a rate.
pub fn unit(metric: &Metric, statistic: ThresholdStatistic) -> String {
    if metric.kind == Kind::Counter && statistic != ThresholdStatistic::Total {
        guards::unit(metric, GuardComparison::Above)
    } else {
        metric.unit.into()
    }
}

/// Reads a threshold; its phase and its further settings are still to be set.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Threshold, Wrong> {
    if let Some((at, rest)) = within::split(text) {
        let (metric, labels, statistic) = subject(text, at)?;
        let (value, reference) = within::read(text, rest)?;
        return Ok(Threshold {
            that: text.trim().to_owned(),
            metric: metric.name.into(),
            labels,
            statistic: statistic.into(),
            comparison: ThresholdComparison::Within.into(),
            value,
            reference,
            ..Threshold::default()
        });
    }
    let (at, sign, comparison) = comparison(text)?;
    let (metric, labels, statistic) = subject(text, at)?;
    let rest = &text[at + sign.len()..];
    let value = guards::value(rest, &unit(metric, statistic)).map_err(|(message, mend)| {
        let begin = text.len() - rest.trim_start().len();
        Wrong { part: begin.min(text.len())..text.trim_end().len().max(begin), message, mend }
    })?;
    Ok(Threshold {
        that: text.trim().to_owned(),
        metric: metric.name.into(),
        labels,
        statistic: statistic.into(),
        comparison: comparison.into(),
        value,
        ..Threshold::default()
    })
}

/// What stands before the comparison, which begins at `at`.
fn subject(text: &str, at: usize) -> Result<(&'static Metric, Vec<LabelMatch>, ThresholdStatistic), Wrong> {
    let subject = &text[..at];
    let written = subject.trim();
    let part = subject.len() - subject.trim_start().len()..subject.trim_end().len().max(1);
    if written.is_empty() {
        let mend = "name a metric before the comparison, such as disk.read.latency.p99 < 20ms";
        return Err(Wrong {
            part: 0..text.len(),
            message: "a threshold on nothing".into(),
            mend: mend.into(),
        });
    }
    let (metric, labels, statistic) = match written.rsplit_once('.') {
        Some((name, last)) => match (find(name), STATISTICS.iter().find(|(name, _)| *name == last)) {
            (Some((metric, labels)), Some((_, statistic))) => (metric, labels, Some(*statistic)),
            (Some(_), None) if find(written).is_none() => {
                return Err(no_statistic(last, part.end - last.len()..part.end));
            }
            _ => whole(written, &part)?,
        },
        None => whole(written, &part)?,
    };
    let statistic = match (statistic, metric.kind) {
        (Some(statistic), _) => statistic,
        (None, Kind::Counter) => ThresholdStatistic::Total,
        (None, kind) => {
            let (message, mend) = (format!("{written} has many readings"), which(written, kind));
            return Err(Wrong { part, message, mend });
        }
    };
    Ok((metric, labels, statistic))
}

fn comparison(text: &str) -> Result<(usize, &'static str, ThresholdComparison), Wrong> {
    if let Some(at) = text.find(['<', '>', '=', '!']) {
        let known = COMPARISONS.iter().find(|(sign, _)| text[at..].starts_with(sign));
        if let Some((sign, comparison)) = known {
            return Ok((at, sign, *comparison));
        }
        let mend = "use <, <=, >, >=, == or !=".into();
        return Err(Wrong {
            part: at..at + 1,
            message: format!("'{}' compares nothing", &text[at..=at]),
            mend,
        });
    }
    let shown: String = text.chars().take(80).collect();
    Err(Wrong {
        part: 0..text.len(),
        message: format!("'{shown}' compares nothing"),
        mend: "write a metric, a comparison (<, <=, >, >=, ==, !=) and a value: host.temperature.max < 85"
            .into(),
    })
}

type Subject = (&'static Metric, Vec<LabelMatch>, Option<ThresholdStatistic>);

fn whole(written: &str, part: &std::ops::Range<usize>) -> Result<Subject, Wrong> {
    if let Some((metric, labels)) = find(written) {
        return Ok((metric, labels, None));
    }
    let stem = written
        .rsplit_once('.')
        .filter(|(_, last)| STATISTICS.iter().any(|(name, _)| name == last))
        .map_or(written, |(stem, _)| stem);
    let names = all_names();
    let hint = nearest(stem, names.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!("did you mean '{near}'? "));
    let shown: String = stem.chars().take(80).collect();
    Err(Wrong {
        part: part.clone(),
        message: format!("there is no metric '{shown}'"),
        mend: format!("{hint}docs/metrics.md lists them, docs/scenarios.md those of burners"),
    })
}

fn no_statistic(name: &str, part: std::ops::Range<usize>) -> Wrong {
    let names = STATISTICS.map(|(name, _)| name);
    // Of such short names two letters that changed places are much.
    let near = names.map(|known| (distance(known, name), known)).into_iter().min();
    let near = near.filter(|(distance, known)| *distance <= 2 && *distance < known.len());
    let hint = near.map_or_else(String::new, |(_, near)| format!("did you mean '{near}'? "));
    let shown: String = name.chars().take(80).collect();
    let message = format!("there is no statistic '{shown}'");
    Wrong { part, message, mend: format!("{hint}use {}", names.join(", ")) }
}

/// What can be asked of many readings.
fn which(name: &str, kind: Kind) -> String {
    let statistics = if kind == Kind::Histogram {
        "p50, p90, p95, p99, p999, max, mean"
    } else {
        "max, min, mean, last, p50, p95, p99"
    };
    format!("say which counts: {name}. with one of {statistics}")
}

/// A metric by its own name, or as it is called of a kind of burner.
fn find(name: &str) -> Option<(&'static Metric, Vec<LabelMatch>)> {
    if let Some(metric) = metric(name) {
        return Some((metric, Vec::new()));
    }
    let label = |name: &str, value: &str| LabelMatch { name: name.into(), value: value.into() };
    let (kind, rest) = name.split_once('.')?;
    let (kind, operations) = KINDS.iter().find(|(known, _)| *known == kind)?;
    if let Some((_, metric)) = OF_BURNERS.iter().find(|(known, _)| *known == rest) {
        return Some((*metric, vec![label("kind", kind)]));
    }
    let operation = rest.strip_suffix(".latency")?;
    let operation = operations.iter().find(|known| **known == operation)?;
    Some((&catalogue::BURNER_LATENCY, vec![label("kind", kind), label("operation", operation)]))
}

/// All that can be named, for suggestions and documents.
pub fn all_names() -> Vec<String> {
    let mut names: Vec<String> = catalogue::ALL.iter().map(|metric| metric.name.to_owned()).collect();
    for (kind, operations) in KINDS {
        names.extend(OF_BURNERS.iter().map(|(name, _)| format!("{kind}.{name}")));
        names.extend(operations.iter().map(|operation| format!("{kind}.{operation}.latency")));
    }
    names
}

pub use within::reference_phase;

/// Whether a value is what the threshold asks for.
pub fn holds(threshold: &Threshold, value: f64) -> bool {
    let asked = threshold.value;
    match threshold.comparison() {
        ThresholdComparison::Below => value < asked,
        ThresholdComparison::AtMost => value <= asked,
        ThresholdComparison::Above => value > asked,
        ThresholdComparison::AtLeast => value >= asked,
        ThresholdComparison::Equal => value == asked,
        ThresholdComparison::Unequal => value != asked,
        ThresholdComparison::Within => threshold
            .reference_value
            .is_some_and(|reference| (value - reference).abs() <= asked * reference.abs()),
        ThresholdComparison::Unspecified => false,
    }
}

/// Whether small values are good.
pub fn is_ceiling(comparison: ThresholdComparison) -> bool {
    matches!(comparison, ThresholdComparison::Below | ThresholdComparison::AtMost)
}

/// Whether large values are good.
pub fn is_floor(comparison: ThresholdComparison) -> bool {
    matches!(comparison, ThresholdComparison::Above | ThresholdComparison::AtLeast)
}

/// Whether what breaks it once can't be made good later.
pub fn is_final(threshold: &Threshold) -> bool {
    use ThresholdStatistic::{Max, Min, Total};
    let comparison = threshold.comparison();
    threshold.for_ms > 0
        || match threshold.statistic() {
            Max => is_ceiling(comparison),
            Min => is_floor(comparison),
            Total => is_ceiling(comparison) || comparison == ThresholdComparison::Equal,
            _ => false,
        }
}

/// `pass`, `fail` or `inconclusive`.
pub fn outcome_name(outcome: ThresholdOutcome) -> &'static str {
    match outcome {
        ThresholdOutcome::Pass => "pass",
        ThresholdOutcome::Fail => "fail",
        ThresholdOutcome::Inconclusive | ThresholdOutcome::Unspecified => "inconclusive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Vec<(String, String)>, ThresholdStatistic, ThresholdComparison, f64) {
        let read = parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let labels = read.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect();
        (read.metric.clone(), labels, read.statistic(), read.comparison(), read.value)
    }

    #[test]
    fn what_people_write_is_read() {
        use ThresholdComparison::{Above, AtLeast, AtMost, Below, Equal};
        use ThresholdStatistic::{Max, Mean, Min, P99, Total};
        let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        for (text, metric, labels, statistic, comparison, value) in [
            (
                "disk.read.latency.p99 < 20ms",
                "burner.latency",
                of(&[("kind", "disk"), ("operation", "read")]),
                P99,
                Below,
                2e7,
            ),
            ("cpu.load.missed == 0", "burner.load_missed", of(&[("kind", "cpu")]), Total, Equal, 0.0),
            ("host.temperature.max < 85", "host.temperature", of(&[]), Max, Below, 85.0),
            (" host.temperature.max<=85 °C ", "host.temperature", of(&[]), Max, AtMost, 85.0),
            (
                "memory.verify.errors == 0",
                "burner.verify_errors",
                of(&[("kind", "memory")]),
                Total,
                Equal,
                0.0,
            ),
            (
                "host.memory.available.min >= 1GiB",
                "host.memory.available",
                of(&[]),
                Min,
                AtLeast,
                1_073_741_824.0,
            ),
            ("disk.bytes.mean > 100 MB/s", "burner.bytes", of(&[("kind", "disk")]), Mean, Above, 1e8),
            ("host.pressure.stalled.mean < 5 %", "host.pressure.stalled", of(&[]), Mean, Below, 0.05),
            ("host.edac.corrected == 0", "host.edac.corrected", of(&[]), Total, Equal, 0.0),
            ("host.files.max.max > 10", "host.files.max", of(&[]), Max, Above, 10.0),
        ] {
            assert_eq!(read(text), (metric.to_owned(), labels, statistic, comparison, value), "{text}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_told_with_its_part_and_what_was_meant() {
        for (text, part, words) in [
            ("host.temprature.max < 85", "host.temprature.max", "did you mean 'host.temperature'"),
            ("disk.raed.latency.p99 < 1ms", "disk.raed.latency.p99", "did you mean 'disk.read.latency'"),
            ("host.temperature < 85", "host.temperature", "say which counts"),
            ("disk.read.latency.p98 < 1ms", "p98", "did you mean"),
            ("host.temperature.max < 85 F", "85 F", "°C"),
            ("disk.read.latency.p99 < 5parsecs", "5parsecs", "ms"),
            ("host.temperature.max", "host.temperature.max", "compares nothing"),
            ("host.temperature.max = 3", "=", "=="),
            ("host.temperature.max <", "", "number"),
            ("< 3", "< 3", "on nothing"),
            ("", "", "compares nothing"),
        ] {
            let wrong = parse(text).expect_err(text);
            let told = format!("{}; {}", wrong.message, wrong.mend);
            assert!(told.contains(words), "{text}: {told}");
            assert_eq!(text.get(wrong.part.clone()), Some(part), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn any_text_is_read_or_refused() {
        for text in
            ["é<", "<é", "===", "a.b.c.d<1", "\u{0}", "host.temperature.max<\u{a0}5", ".max<1", "….p99 < 5"]
        {
            if let Err(wrong) = parse(text) {
                assert!(
                    wrong.part.start <= wrong.part.end && wrong.part.end <= text.len().max(1),
                    "{text}: {wrong:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_broken_for_good_is_known() {
        let is_final = |text: &str| is_final(&parse(text).unwrap());
        assert!(is_final("host.temperature.max < 85") && is_final("cpu.verify.errors == 0"));
        assert!(!is_final("host.temperature.max > 30") && !is_final("host.temperature.mean < 85"));
        assert!(!is_final("disk.operations > 1000"));
    }
}
