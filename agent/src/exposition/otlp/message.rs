//! The messages of OTLP that carry metrics: collector/metrics/v1, metrics/v1, resource/v1 and common/v1 of opentelemetry-proto 1.9.
//! Names are those of `/metrics`, without what its formats add, and units those of UCUM, so that a database that makes
//! Prometheus's names of them comes to the same.

use prost::Message;
use ssts_proto::names::{Family, FamilyKind};

use super::super::{
    buckets::{Histogram, SCHEMA},
    gathered::{Filled, Series, Value},
};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: a push that is lost takes nothing with it but an instant.
const CUMULATIVE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportMetricsServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

/// Only strings, of all that it can be.
#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, tag = "1")]
    string_value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(message, optional, tag = "5")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "7")]
    sum: Option<Sum>,
    #[prost(message, optional, tag = "10")]
    exponential_histogram: Option<ExponentialHistogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<NumberDataPoint>,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<NumberDataPoint>,
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

/// Without the instant at which a sum was 0: the kernel's counters began with the host, some of them before the agent.
#[derive(Clone, PartialEq, Message)]
struct NumberDataPoint {
    #[prost(fixed64, tag = "3")]
    time_unix_nano: u64,
    #[prost(double, optional, tag = "4")]
    as_double: Option<f64>,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ExponentialHistogram {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<ExponentialHistogramDataPoint>,
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ExponentialHistogramDataPoint {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "2")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(sint32, tag = "6")]
    scale: i32,
    #[prost(fixed64, tag = "7")]
    zero_count: u64,
    #[prost(message, optional, tag = "8")]
    positive: Option<Buckets>,
}

#[derive(Clone, PartialEq, Message)]
struct Buckets {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint64, repeated, tag = "2")]
    bucket_counts: Vec<u64>,
}

/// What a collector answers when it took only a part.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportMetricsServiceResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<ExportMetricsPartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportMetricsPartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_data_points: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// What is pushed of families that were gathered at `now_ns`, Unix time, on the host of that name.
pub(super) fn encode(families: &[Filled<'_>], hostname: &str, now_ns: u64) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let attributes = [("service.name", "sstsd"), ("service.version", version), ("host.name", hostname)];
    let resource = Resource { attributes: attributes.map(|(key, value)| attribute(key, value)).into() };
    let scope = InstrumentationScope { name: "ssts".into(), version: version.into() };
    let metrics = families.iter().map(|filled| metric(filled, now_ns)).collect();
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics }];
    let resource_metrics = vec![ResourceMetrics { resource: Some(resource), scope_metrics }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { string_value: value.into() }) }
}

fn metric(filled: &Filled<'_>, now_ns: u64) -> Metric {
    let family = filled.family;
    let mut metric = Metric {
        name: family.name.clone().into_owned(),
        description: family.help.into(),
        unit: ucum(family.unit).into(),
        ..Metric::default()
    };
    let numbers = || filled.series.iter().filter_map(|series| number(family, series, now_ns)).collect();
    match family.kind {
        FamilyKind::Gauge => metric.gauge = Some(Gauge { data_points: numbers() }),
        FamilyKind::Info => {
            metric.name = family.sample_name();
            metric.gauge = Some(Gauge { data_points: numbers() });
        }
        FamilyKind::Counter => {
            metric.sum =
                Some(Sum { data_points: numbers(), aggregation_temporality: CUMULATIVE, is_monotonic: true });
        }
        FamilyKind::Histogram => {
            let points = filled.series.iter().filter_map(|series| histogram(family, series, now_ns));
            metric.exponential_histogram = Some(ExponentialHistogram {
                data_points: points.collect(),
                aggregation_temporality: CUMULATIVE,
            });
        }
    }
    metric
}

/// The unit of a family as UCUM writes it: <https://ucum.org>.
fn ucum(unit: &str) -> &'static str {
    match unit {
        "seconds" => "s",
        "bytes" => "By",
        "celsius" => "Cel",
        "hertz" => "Hz",
        "watts" => "W",
        "joules" => "J",
        "rpm" => "{revolution}/min",
        "per_second" => "1/s",
        "ratio" => "1",
        "cores" => "{core}",
        _ => "",
    }
}

fn attributes(family: &Family, series: &Series<'_>) -> Vec<KeyValue> {
    let labels = family.labels.iter().zip(&series.labels).filter(|(_, value)| !value.is_empty());
    labels.map(|(name, value)| attribute(name, value)).collect()
}

fn number(family: &Family, series: &Series<'_>, now_ns: u64) -> Option<NumberDataPoint> {
    let Value::Number(value) = series.value else { return None };
    let attributes = attributes(family, series);
    Some(NumberDataPoint { time_unix_nano: now_ns, as_double: Some(value), attributes })
}

fn histogram(family: &Family, series: &Series<'_>, now_ns: u64) -> Option<ExponentialHistogramDataPoint> {
    let Value::Counts(counts) = &series.value else { return None };
    let counts: &Histogram = counts;
    let told = counts.tell(family.unit, family.divisor);
    let positive = told.native.first().zip(told.native.last()).map(|((first, _), (last, _))| {
        let mut bucket_counts = vec![0; last.abs_diff(*first) as usize + 1];
        for (index, count) in &told.native {
            bucket_counts[index.abs_diff(*first) as usize] = *count;
        }
        // Prometheus numbers a bucket by its upper bound, OpenTelemetry by its lower one.
        Buckets { offset: first - 1, bucket_counts }
    });
    Some(ExponentialHistogramDataPoint {
        attributes: attributes(family, series),
        start_time_unix_nano: counts.created_ns.try_into().unwrap_or_default(),
        time_unix_nano: now_ns,
        count: told.count,
        sum: Some(told.sum),
        scale: SCHEMA,
        zero_count: told.zeros,
        positive,
    })
}

#[cfg(test)]
mod tests {
    use ssts_agent_ebpf::histogram::Layout;
    use ssts_proto::{catalogue as metrics, names::agent};

    use super::*;

    fn pushed(family: &Family, series: Vec<Series<'_>>) -> Metric {
        let bytes = encode(&[Filled { family, series }], "a-host", 7);
        let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
        let [of_resource] = &request.resource_metrics[..] else { panic!("one resource: {request:?}") };
        let attributes = &of_resource.resource.as_ref().unwrap().attributes;
        assert!(attributes.contains(&attribute("host.name", "a-host")), "{attributes:?}");
        of_resource.scope_metrics[0].metrics[0].clone()
    }

    #[test]
    fn a_counter_is_a_monotonic_sum_in_base_units() {
        let family = Family::of(&metrics::HOST_DISK_READ_BYTES).unwrap();
        let metric = pushed(&family, vec![Series::labelled("vda", 4_096.0)]);
        assert_eq!((&*metric.name, &*metric.unit), ("ssts_host_disk_read_bytes", "By"));
        let sum = metric.sum.unwrap();
        assert!(sum.is_monotonic && sum.aggregation_temporality == CUMULATIVE);
        assert_eq!((sum.data_points[0].as_double, sum.data_points[0].time_unix_nano), (Some(4_096.0), 7));
        assert_eq!(sum.data_points[0].attributes, [attribute("device", "vda")]);
    }

    #[test]
    fn what_is_told_by_labels_keeps_its_suffix() {
        assert_eq!(pushed(&agent::BUILD, vec![Series::labelled("1", 1.0)]).name, "ssts_build_info");
    }

    #[test]
    fn a_histogram_has_all_buckets_between_its_first_and_its_last() {
        let layout = Layout::new(4, 36);
        let mut counts = Histogram::new(layout, 5);
        for (value, count) in [(4_096, 5), (4_352, 2), (1 << 13, 7), (0, 1)] {
            counts.add(layout.index(value) as u32, count);
        }
        let family = Family::of(&metrics::BLOCK_SIZE).unwrap();
        let labels = vec!["vda".into(), "read".into()];
        let metric = pushed(&family, vec![Series { labels, value: Value::Counts(&counts) }]);
        let point = &metric.exponential_histogram.unwrap().data_points[0];
        let positive = point.positive.as_ref().unwrap();
        // (2^(95/8), 2^12] holds 4096.
        assert_eq!((positive.offset, point.scale), (95, 3));
        assert_eq!(positive.bucket_counts, [5, 2, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!((point.count, point.zero_count, point.start_time_unix_nano), (15, 1, 5));
    }

    #[test]
    fn every_unit_has_its_ucum() {
        let families = metrics::ALL.iter().filter_map(|metric| Family::of(metric));
        for family in families.chain(agent::ALL.iter().map(|own| (*own).clone())) {
            assert_eq!(ucum(family.unit).is_empty(), family.unit.is_empty(), "{}", family.name);
        }
    }
}
