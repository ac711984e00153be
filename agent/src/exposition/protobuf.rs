//! Messages `io.prometheus.client.MetricFamily`, each after its length: io/prometheus/client/metrics.proto of
//! prometheus/client_model 0.6. Histograms have both their classic and their native buckets; a reader takes those it knows.

use prost::Message;
use ssts_proto::names::FamilyKind;

use super::{
    buckets::{Histogram, SCHEMA},
    gathered::{Filled, Series, Value},
};

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    r#type: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
    #[prost(string, optional, tag = "5")]
    unit: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<HistogramMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

/// `Gauge` and `Counter` are alike.
#[derive(Clone, Copy, PartialEq, Message)]
struct Number {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramMessage {
    #[prost(uint64, optional, tag = "1")]
    sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    // proto2 does not pack by itself.
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created_timestamp: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
}

/// Neighbours, so far from the end of the span before; the first one from index 0.
#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

pub(super) fn encode(families: &[Filled<'_>]) -> Vec<u8> {
    families.iter().flat_map(|filled| message(filled).encode_length_delimited_to_vec()).collect()
}

fn message(filled: &Filled<'_>) -> MetricFamily {
    let family = filled.family;
    let kind = match family.kind {
        FamilyKind::Counter => MetricType::Counter,
        FamilyKind::Gauge | FamilyKind::Info => MetricType::Gauge,
        FamilyKind::Histogram => MetricType::Histogram,
    };
    MetricFamily {
        name: Some(family.sample_name()),
        help: Some(family.help.into()),
        r#type: Some(kind.into()),
        metric: filled.series.iter().map(|series| metric(filled, series)).collect(),
        unit: (!family.unit.is_empty()).then(|| family.unit.into()),
    }
}

fn metric(filled: &Filled<'_>, series: &Series<'_>) -> Metric {
    let family = filled.family;
    let label = family
        .labels
        .iter()
        .zip(&series.labels)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| LabelPair { name: Some((*name).into()), value: Some(value.to_string()) })
        .collect();
    let mut metric = Metric { label, ..Metric::default() };
    match series.value {
        Value::Number(value) if family.kind == FamilyKind::Counter => {
            metric.counter = Some(Number { value: Some(value) });
        }
        Value::Number(value) => metric.gauge = Some(Number { value: Some(value) }),
        Value::Counts(counts) => metric.histogram = Some(histogram(counts, family.unit, family.divisor)),
    }
    metric
}

fn histogram(counts: &Histogram, unit: &str, divisor: f64) -> HistogramMessage {
    const NS: i64 = 1_000_000_000;
    let told = counts.tell(unit, divisor);
    let mut positive_span: Vec<BucketSpan> = Vec::new();
    let mut positive_delta = Vec::with_capacity(told.native.len());
    let (mut next, mut before) = (0, 0);
    for (index, count) in told.native {
        match positive_span.last_mut() {
            Some(BucketSpan { length: Some(length), .. }) if index == next => *length += 1,
            _ => positive_span.push(BucketSpan { offset: Some(index - next), length: Some(1) }),
        }
        next = index + 1;
        let count = count.cast_signed();
        positive_delta.push(count - before);
        before = count;
    }
    let bucket = told
        .classic
        .into_iter()
        .map(|(bound, count)| Bucket { cumulative_count: Some(count), upper_bound: Some(bound) })
        .collect();
    HistogramMessage {
        sample_count: Some(told.count),
        sample_sum: Some(told.sum),
        bucket,
        schema: Some(SCHEMA),
        zero_threshold: Some(0.0),
        zero_count: Some(told.zeros),
        positive_span,
        positive_delta,
        created_timestamp: Some(Timestamp {
            seconds: counts.created_ns.div_euclid(NS),
            nanos: counts.created_ns.rem_euclid(NS) as i32,
        }),
    }
}

#[cfg(test)]
mod tests {
    use ssts_agent_ebpf::histogram::Layout;
    use ssts_proto::{catalogue as metrics, names::Family};

    use super::*;

    #[test]
    fn native_buckets_are_spans_and_differences() {
        let layout = Layout::new(4, 36);
        let mut counts = Histogram::new(layout, 1_500_000_000);
        // 2^12, 2^12.125 above it, and 2^20: indices 96, 97 and 160.
        for (value, count) in [(4_096, 5), (4_352, 2), (1 << 20, 7)] {
            counts.add(layout.index(value) as u32, count);
        }
        let family = Family::of(&metrics::BLOCK_SIZE).unwrap();
        let series =
            vec![Series { labels: vec!["vda".into(), "read".into()], value: Value::Counts(&counts) }];
        let bytes = encode(&[Filled { family: &family, series }]);
        let read = MetricFamily::decode_length_delimited(&bytes[..]).unwrap();
        assert_eq!(read.name.as_deref(), Some("ssts_block_size_bytes"));
        let histogram = read.metric[0].histogram.as_ref().unwrap();
        let spans: Vec<_> =
            histogram.positive_span.iter().map(|span| (span.offset(), span.length())).collect();
        assert_eq!(spans, [(96, 2), (62, 1)]);
        assert_eq!(histogram.positive_delta, [5, -3, 5]);
        assert_eq!((histogram.sample_count(), histogram.schema()), (14, 3));
        assert_eq!(histogram.created_timestamp, Some(Timestamp { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(read.metric[0].label.len(), 2);
    }
}
