//! The hosts of a fleet, and what is known of them before any was asked.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{cli::Host, connect::Line, error::Failure};

/// The label that says in which groups a host is.
pub(crate) const GROUP: &str = "group";

/// One host of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    /// Unique in its fleet.
    pub(crate) name: String,
    pub(crate) host: Host,
    /// Such as `role` → `db`, `rack` → `r7`. `group` has all groups, with commas between.
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

    /// Its name as a part of a path: hosts that were named by their addresses have slashes in theirs.
    pub(crate) fn file_name(&self) -> String {
        let name = ["https://", "unix:"].iter().find_map(|scheme| self.name.strip_prefix(scheme));
        name.unwrap_or(&self.name).trim_start_matches('/').replace(['/', '\\'], "-")
    }

    /// The groups that it is in.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.labels.get(GROUP).into_iter().flat_map(|groups| groups.split(','))
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
