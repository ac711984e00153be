//! What `net-mesh` prints.

use schemars::JsonSchema;
use serde::Serialize;

use super::known;
use crate::{
    error::Failure,
    mesh::{Link, Mesh, OddHost, OddLink},
};

/// Of `net-mesh`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Mesh")]
pub(crate) struct MeshOut {
    hosts: Vec<String>,
    /// Each pair twice: once each way.
    links: Vec<LinkOut>,
    /// Links that are worse than their hosts' others, the oddest first.
    odd_links: Vec<OddLinkOut>,
    /// Hosts all of whose links, one way, are worse than other hosts', the oddest first.
    odd_hosts: Vec<OddHostOut>,
    /// Hosts that could not be asked, and are in no pair.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOutOut>,
}

/// What one host could send to another.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MeshLink")]
struct LinkOut {
    from: String,
    to: String,
    /// Of the run on the host that sends.
    run_id: String,
    /// Of TCP, by the receiver's count.
    #[serde(skip_serializing_if = "Option::is_none")]
    throughput_bits_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ns: Option<LatencyOut>,
    /// Of datagrams.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_percent: Option<f64>,
    /// Why it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// From a request to its answer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MeshLatency")]
struct LatencyOut {
    p50: u64,
    p99: u64,
}

/// A link that is not like the others.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OddMeshLink")]
struct OddLinkOut {
    from: String,
    to: String,
    /// `throughput`, `latency` or `loss`.
    metric: &'static str,
    /// In the unit of the link's own figure.
    value: f64,
    /// Of the other links from the same host.
    #[serde(skip_serializing_if = "Option::is_none")]
    row_median: Option<f64>,
    /// Of the other links to the same host.
    #[serde(skip_serializing_if = "Option::is_none")]
    column_median: Option<f64>,
    /// How many robust standard deviations of all links it is worse, its hosts' own shares taken out.
    deviation: f64,
}

/// A host that is not like the others.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OddMeshHost")]
struct OddHostOut {
    host: String,
    /// When it `sends` or when it `receives`.
    way: &'static str,
    /// `throughput`, `latency` or `loss`.
    metric: &'static str,
    /// Of its links.
    median: f64,
    /// Of other hosts' medians.
    others: f64,
    /// How many robust standard deviations of all hosts it is worse.
    deviation: f64,
}

/// A host that is in no pair.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LeftOut")]
struct LeftOutOut {
    host: String,
    reason: String,
}

impl From<&Mesh> for MeshOut {
    fn from(mesh: &Mesh) -> Self {
        let name = |place: usize| mesh.hosts[place].clone();
        Self {
            hosts: mesh.hosts.clone(),
            links: mesh.links.iter().map(|link| of_link(link, mesh)).collect(),
            odd_links: mesh
                .odd_links
                .iter()
                .map(|OddLink { from, to, metric, value, row_median, column_median, deviation }| OddLinkOut {
                    from: name(*from),
                    to: name(*to),
                    metric: metric.name(),
                    value: *value,
                    row_median: row_median.and_then(known),
                    column_median: column_median.and_then(known),
                    deviation: *deviation,
                })
                .collect(),
            odd_hosts: mesh
                .odd_hosts
                .iter()
                .map(|OddHost { host, way, metric, median, others, deviation }| OddHostOut {
                    host: name(*host),
                    way: way.name(),
                    metric: metric.name(),
                    median: *median,
                    others: *others,
                    deviation: *deviation,
                })
                .collect(),
            left_out: mesh
                .left_out
                .iter()
                .map(|(host, failure)| LeftOutOut { host: host.clone(), reason: words(failure) })
                .collect(),
        }
    }
}

fn of_link(link: &Link, mesh: &Mesh) -> LinkOut {
    let measured = link.measured.as_ref().copied().unwrap_or_default();
    let latency = measured.latency_p50_ns.zip(measured.latency_p99_ns);
    LinkOut {
        from: mesh.hosts[link.from].clone(),
        to: mesh.hosts[link.to].clone(),
        run_id: link.run_id.clone(),
        throughput_bits_per_s: measured.throughput_bits_per_s.and_then(known),
        latency_ns: latency.map(|(p50, p99)| LatencyOut { p50, p99 }),
        loss_percent: measured.loss_percent.and_then(known),
        failure: link.measured.as_ref().err().map(words),
    }
}

fn words(failure: &Failure) -> String {
    let words = failure.problems.first().map(|problem| problem.message.clone());
    words.unwrap_or_else(|| "interrupted".to_owned())
}
