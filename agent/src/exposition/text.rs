//! The two text formats: Prometheus's 0.0.4 and OpenMetrics 1.0.

use std::{borrow::Cow, fmt::Write as _};

use ssts_proto::names::{Family, FamilyKind};

use super::gathered::{Filled, Series, Value};

/// What the two differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Prometheus,
    OpenMetrics,
}

/// Bytes of a line, as a rule.
const LINE: usize = 80;

pub(super) fn encode(families: &[Filled<'_>], dialect: Dialect) -> Vec<u8> {
    let mut text = String::with_capacity(families.iter().map(|filled| filled.series.len() * LINE).sum());
    for Filled { family, series } in families {
        head(&mut text, family, dialect);
        let name = family.sample_name();
        for one in series {
            sample(&mut text, &name, family, one, dialect);
        }
    }
    if dialect == Dialect::OpenMetrics {
        text += "# EOF\n";
    }
    text.into_bytes()
}

// Writing to a string can't fail.
fn head(text: &mut String, family: &Family, dialect: Dialect) {
    let (name, kind): (Cow<'_, str>, _) = match (dialect, family.kind) {
        (_, FamilyKind::Gauge) => ((&*family.name).into(), "gauge"),
        (_, FamilyKind::Histogram) => ((&*family.name).into(), "histogram"),
        (Dialect::OpenMetrics, FamilyKind::Counter) => ((&*family.name).into(), "counter"),
        (Dialect::OpenMetrics, FamilyKind::Info) => ((&*family.name).into(), "info"),
        // It has no families whose samples are called otherwise.
        (Dialect::Prometheus, FamilyKind::Counter) => (family.sample_name().into(), "counter"),
        (Dialect::Prometheus, FamilyKind::Info) => (family.sample_name().into(), "gauge"),
    };
    let _ = writeln!(text, "# TYPE {name} {kind}");
    if dialect == Dialect::OpenMetrics && !family.unit.is_empty() {
        let _ = writeln!(text, "# UNIT {name} {}", family.unit);
    }
    let _ = write!(text, "# HELP {name} ");
    escape(text, family.help, dialect == Dialect::OpenMetrics);
    text.push('\n');
}

fn sample(text: &mut String, name: &str, family: &Family, series: &Series<'_>, dialect: Dialect) {
    let labels = labels(family, series);
    match &series.value {
        Value::Number(value) => {
            let _ = if labels.is_empty() {
                writeln!(text, "{name} {value}")
            } else {
                writeln!(text, "{name}{{{labels}}} {value}")
            };
        }
        Value::Counts(histogram) => {
            let told = histogram.tell(family.unit, family.divisor);
            let comma = if labels.is_empty() { "" } else { "," };
            for (bound, count) in &told.classic {
                // OpenMetrics wants these to be floating-point numbers to the eye.
                let point = if dialect == Dialect::OpenMetrics && bound.fract() == 0.0 { ".0" } else { "" };
                let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}{point}\"}} {count}");
            }
            let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", told.count);
            let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _ = writeln!(text, "{name}_sum{braced} {}\n{name}_count{braced} {}", told.sum, told.count);
        }
    }
}

fn labels(family: &Family, series: &Series<'_>) -> String {
    let mut text = String::new();
    for (name, value) in family.labels.iter().zip(&series.labels).filter(|(_, value)| !value.is_empty()) {
        if !text.is_empty() {
            text.push(',');
        }
        text += name;
        text += "=\"";
        escape(&mut text, value, true);
        text.push('"');
    }
    text
}

fn escape(text: &mut String, value: &str, quotes: bool) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            _ => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use ssts_agent_ebpf::histogram::Layout;
    use ssts_proto::{catalogue as metrics, names::agent};

    use super::{super::buckets::Histogram, *};

    fn told(family: &Family, series: Vec<Series<'_>>, dialect: Dialect) -> String {
        String::from_utf8(encode(&[Filled { family, series }], dialect)).unwrap()
    }

    #[test]
    fn both_dialects_say_the_same_in_their_own_way() {
        let family = Family::of(&metrics::HOST_DISK_READ_BYTES).unwrap();
        let series = || vec![Series::labelled("a\"b\\c\nd", 1e21)];
        let name = "ssts_host_disk_read_bytes";
        let sample = format!("{name}_total{{device=\"a\\\"b\\\\c\\nd\"}} 1000000000000000000000\n");
        let help = "Bytes read: /proc/diskstats.\n";
        assert_eq!(
            told(&family, series(), Dialect::Prometheus),
            format!("# TYPE {name}_total counter\n# HELP {name}_total {help}{sample}")
        );
        assert_eq!(
            told(&family, series(), Dialect::OpenMetrics),
            format!("# TYPE {name} counter\n# UNIT {name} bytes\n# HELP {name} {help}{sample}# EOF\n")
        );
        let info = told(&agent::BUILD, vec![Series::labelled("1", 1.0)], Dialect::OpenMetrics);
        assert!(
            info.contains("# TYPE ssts_build info\n")
                && info.contains("\nssts_build_info{version=\"1\"} 1\n")
        );
    }

    #[test]
    fn a_histogram_is_cumulative_and_an_empty_label_is_none() {
        let layout = Layout::new(4, 36);
        let mut histogram = Histogram::new(layout, 0);
        histogram.add(layout.index(8_192) as u32, 3);
        let family = Family::of(&metrics::BLOCK_SIZE).unwrap();
        let series =
            || vec![Series { labels: vec!["vda".into(), "".into()], value: Value::Counts(&histogram) }];
        let text = told(&family, series(), Dialect::Prometheus);
        assert!(text.contains("ssts_block_size_bytes_bucket{device=\"vda\",le=\"4096\"} 0\n"), "{text}");
        assert!(text.contains("ssts_block_size_bytes_bucket{device=\"vda\",le=\"16384\"} 3\n"), "{text}");
        assert!(text.contains("ssts_block_size_bytes_bucket{device=\"vda\",le=\"+Inf\"} 3\n"), "{text}");
        assert!(
            text.ends_with("_sum{device=\"vda\"} 24576\nssts_block_size_bytes_count{device=\"vda\"} 3\n"),
            "{text}"
        );
        assert!(told(&family, series(), Dialect::OpenMetrics).contains("le=\"4096.0\"} 0\n"));
    }
}
