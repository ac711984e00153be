//! The hosts of a fleet, and what is known of them before any was asked.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{cli::Host, connect::Line, error::Failure};

/// One host of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    /// Unique in its fleet.
    pub(crate) name: String,
    pub(crate) host: Host,
    /// Such as `role` → `db`, `rack` → `r7`.
    pub(crate) labels: BTreeMap<String, String>,
    /// What it may draw under full load, where the inventory says so.
    pub(crate) watts: Option<f64>,
}

/// Hosts in the order of their inventory.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
    /// The labels that name failure domains, such as `rack` and `power`: hosts of one value may fail together.
    pub(crate) domains: Vec<String>,
}

impl Member {
    /// How its agent is reached.
    ///
    /// # Errors
    /// The certificates for it can't be read.
    pub(crate) fn line(&self, pki: Option<&PathBuf>) -> Result<Line, Failure> {
        Line::to(&self.host, pki)
    }
}

impl Fleet {
    /// Hosts that the command line names one by one, named by their addresses.
    pub(crate) fn of_hosts(hosts: &[Host]) -> Self {
        let member = |host: &Host| Member {
            name: host.to_string(),
            host: host.clone(),
            labels: BTreeMap::new(),
            watts: None,
        };
        Self { members: hosts.iter().map(member).collect(), domains: Vec::new() }
    }
}
