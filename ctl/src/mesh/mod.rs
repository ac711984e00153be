//! A mesh: what the network carries between each two hosts of a fleet, and which link is not like the others.

mod measure;
mod odd;
mod schedule;
mod table;

use crate::error::Failure;

pub(crate) use self::{
    measure::{Measurement, measure},
    odd::{Metric, OddHost, OddLink, Way, odd_hosts, odd_links},
    schedule::rounds,
    table::document,
};

/// What was measured from one host to another.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// Places in the list of hosts.
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) run_id: String,
    pub(crate) measured: Result<Measured, Failure>,
}

/// Figures of one link, one way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Measured {
    /// Of TCP, by the receiver's count.
    pub(crate) throughput_bits_per_s: Option<f64>,
    /// From a request to its answer.
    pub(crate) latency_p50_ns: Option<u64>,
    pub(crate) latency_p99_ns: Option<u64>,
    /// Of datagrams.
    pub(crate) loss_percent: Option<f64>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) hosts: Vec<String>,
    pub(crate) links: Vec<Link>,
    /// Hosts that are in no pair, and why.
    pub(crate) left_out: Vec<(String, Failure)>,
    pub(crate) odd_links: Vec<OddLink>,
    pub(crate) odd_hosts: Vec<OddHost>,
}

impl Mesh {
    /// With what sticks out of it.
    pub(crate) fn new(hosts: Vec<String>, links: Vec<Link>, left_out: Vec<(String, Failure)>) -> Self {
        let odd_links = odd_links(hosts.len(), &links);
        let odd_hosts = odd_hosts(hosts.len(), &links);
        Self { hosts, links, left_out, odd_links, odd_hosts }
    }

    /// Links that could not be measured.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (&Link, &Failure)> {
        self.links.iter().filter_map(|link| Some((link, link.measured.as_ref().err()?)))
    }
}
