//! Names and units at `/metrics`, by rule from the catalogue.

use std::borrow::Cow;

use crate::catalogue::{self as metrics, Kind, Metric};

/// Before every name.
const PREFIX: &str = "ssts_";

/// What a family's series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// The value at an instant.
    Gauge,
    /// A sum since some start.
    Counter,
    /// Counts by value since the agent began.
    Histogram,
    /// Always 1: what counts is in the labels.
    Info,
}

/// What becomes of columns that differ only in labels that are not exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// There is none: all labels are exposed.
    None,
    /// One series has their sum; of counters and histograms, over all burners since the agent began.
    Sum,
    /// One series has the least of them.
    Least,
}

/// A family of series at `/metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Without what the format adds to a sample's name: `_total`, `_info`, `_bucket`.
    pub name: Cow<'static, str>,
    /// A base unit, with which the name ends. Empty for a count.
    pub unit: &'static str,
    /// What its series are.
    pub kind: FamilyKind,
    /// Names of its labels.
    pub labels: Cow<'static, [&'static str]>,
    /// One sentence for people.
    pub help: &'static str,
    /// By what a reading of the catalogue's unit is divided to be one of `unit`.
    pub divisor: f64,
    /// What was done about labels that are left out.
    pub merge: Merge,
}

/// What holds for one frame alone says nothing at the instant of a scrape.
pub static NOT_EXPOSED: [&Metric; 4] = [
    &metrics::BLOCK_SLOWEST_LATENCY,
    &metrics::BLOCK_SLOWEST_SECTOR,
    &metrics::BLOCK_SLOWEST_SIZE,
    &metrics::BLOCK_SLOWEST_PID,
];

/// Metrics of unit `1` that are a part of a whole and not a count.
static RATIOS: [&Metric; 4] = [
    &metrics::HOST_CPU_CLOCK_RATIO,
    &metrics::HOST_NVME_USED,
    &metrics::PROBE_CORE_SHARE,
    &metrics::BURNER_PREPARED,
];

/// Labels that every run and every worker brings new values of: a series each, for ever, is more than a time series database
/// should be asked to keep. A run's own record has them.
static UNBOUNDED: [&str; 3] = ["run", "burner", "worker"];

impl Family {
    /// The family of a metric; nothing for one that is not exposed.
    pub fn of(metric: &Metric) -> Option<Self> {
        if NOT_EXPOSED.contains(&metric) {
            return None;
        }
        let (unit, divisor) = base_unit(metric);
        let labels: Vec<_> =
            metric.labels.iter().copied().filter(|label| !UNBOUNDED.contains(label)).collect();
        let merge = match labels.len() == metric.labels.len() {
            true => Merge::None,
            false if *metric == metrics::BURNER_PREPARED => Merge::Least,
            false => Merge::Sum,
        };
        let kind = match metric.kind {
            Kind::Gauge => FamilyKind::Gauge,
            Kind::Counter => FamilyKind::Counter,
            Kind::Histogram => FamilyKind::Histogram,
        };
        let name = name(metric, unit).into();
        Some(Self { name, unit, kind, labels: labels.into(), help: metric.help, divisor, merge })
    }

    /// The name of a sample, of a histogram without its last part: as it stands in queries.
    pub fn sample_name(&self) -> String {
        let suffix = match self.kind {
            FamilyKind::Counter => "_total",
            FamilyKind::Info => "_info",
            FamilyKind::Gauge | FamilyKind::Histogram => "",
        };
        format!("{}{suffix}", self.name)
    }
}

/// The unit's word at `/metrics`, and how many of the catalogue's unit make one of it.
fn base_unit(metric: &Metric) -> (&'static str, f64) {
    match metric.unit {
        // The sum over workers of shares of a core.
        _ if *metric == metrics::BURNER_TARGET => ("cores", 1.0),
        "ns" => ("seconds", 1e9),
        "s" => ("seconds", 1.0),
        "By" => ("bytes", 1.0),
        "Cel" => ("celsius", 1.0),
        "Hz" => ("hertz", 1.0),
        "W" => ("watts", 1.0),
        "J" => ("joules", 1.0),
        "r/min" => ("rpm", 1.0),
        "1/s" => ("per_second", 1.0),
        _ if RATIOS.contains(&metric) => ("ratio", 1.0),
        _ => ("", 1.0),
    }
}

/// Dots become underscores; a last word that the unit or `_total` says again gives way to it.
fn name(metric: &Metric, unit: &str) -> String {
    let dotted = PREFIX.to_owned() + &metric.name.replace('.', "_");
    let stem = match metric.kind {
        _ if unit == "seconds" => dotted.strip_suffix("_time"),
        Kind::Counter => dotted.strip_suffix("_count"),
        Kind::Gauge | Kind::Histogram => None,
    };
    let stem = stem.unwrap_or(&dotted);
    let stem = stem.strip_suffix(unit).and_then(|stem| stem.strip_suffix('_')).unwrap_or(stem);
    if unit.is_empty() { stem.to_owned() } else { format!("{stem}_{unit}") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{catalogue::ALL, names::agent};

    fn families() -> impl Iterator<Item = Family> {
        ALL.iter().filter_map(|metric| Family::of(metric)).chain(agent::ALL.iter().map(|own| (*own).clone()))
    }

    #[test]
    fn names_follow_the_rule() {
        for (metric, name) in [
            (&metrics::HOST_CPU_TIME, "ssts_host_cpu_seconds_total"),
            (&metrics::HOST_DISK_READ_BYTES, "ssts_host_disk_read_bytes_total"),
            (&metrics::HOST_DISK_BUSY_TIME, "ssts_host_disk_busy_seconds_total"),
            (&metrics::HOST_MEMORY_AVAILABLE, "ssts_host_memory_available_bytes"),
            (&metrics::HOST_TEMPERATURE, "ssts_host_temperature_celsius"),
            (&metrics::HOST_CPU_CLOCK_RATIO, "ssts_host_cpu_clock_ratio"),
            (&metrics::BLOCK_LATENCY, "ssts_block_latency_seconds"),
            (&metrics::IRQ_HARD_COUNT, "ssts_irq_hard_total"),
            (&metrics::BURNER_TARGET, "ssts_burner_target_cores"),
            (&metrics::BURNER_ON_CPU_TIME, "ssts_burner_on_cpu_seconds_total"),
        ] {
            assert_eq!(Family::of(metric).unwrap().sample_name(), name);
        }
    }

    /// What OpenMetrics 1.0 asks of names, and Prometheus of a scrape: no name twice.
    #[test]
    fn names_are_unique_and_well_formed() {
        let mut names = HashSet::new();
        for family in families() {
            let name = &*family.name;
            assert!(name.starts_with(PREFIX), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
            assert!(!name.contains("__"), "{name}");
            for reserved in ["_total", "_info", "_bucket", "_count", "_sum", "_created"] {
                assert!(!name.ends_with(reserved), "{name}");
            }
            assert!(family.unit.is_empty() || name.ends_with(&format!("_{}", family.unit)), "{name}");
            assert!(!family.labels.contains(&"le"), "{name}");
            assert!(names.insert(family.name.clone()), "{name} is there twice");
        }
    }

    #[test]
    fn only_what_says_nothing_at_a_scrape_is_left_out() {
        assert_eq!(ALL.iter().filter(|metric| Family::of(metric).is_none()).count(), NOT_EXPOSED.len());
    }

    #[test]
    fn no_label_names_a_run() {
        let runs: Vec<_> = families().filter(|family| family.labels.contains(&"run_id")).collect();
        assert_eq!(runs.len(), 1);
        assert_eq!((&*runs[0].name, runs[0].kind), ("ssts_run", FamilyKind::Info));
    }
}
