//! Hosts that a domain lists: its SRV records (RFC 2782).

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
};

use super::dns;
use crate::{
    cli::Host,
    error::Failure,
    fleet::{Fleet, MAX_HOSTS, Member},
};

const MEND: &str =
    "see `dig SRV NAME`; the nameserver is that of /etc/resolv.conf, or of ?server=ADDRESS:PORT";

/// A host for each record. Priority and weight, by which clients of one service choose, are labels: we command all.
pub(super) async fn hosts(name: &str, server: Option<SocketAddr>) -> Result<Fleet, Failure> {
    let failed = |why: &dyn fmt::Display| Failure::usage(format!("can't look up srv:{name}: {why}"), MEND);
    let servers = match server {
        Some(server) => vec![server],
        None => dns::servers().map_err(|error| failed(&error))?,
    };
    let found = dns::records(name, &servers).await.map_err(|error| failed(&error))?;
    if found.is_empty() {
        return Err(failed(&"there are no such records"));
    }
    let mut members = Vec::new();
    for srv in found {
        // No target says that the service is not offered at all.
        if srv.target.is_empty() || srv.port == 0 {
            continue;
        }
        let labels = [("priority", srv.priority), ("weight", srv.weight)];
        let labels: BTreeMap<_, _> =
            labels.into_iter().map(|(label, number)| (label.to_owned(), number.to_string())).collect();
        let host = Host::Tls(srv.target.clone(), srv.port);
        members.push(Member { name: srv.target, host, labels, watts: None });
    }
    // Records come in any order: commands are told of hosts in one.
    members.sort_by(|a, b| (&a.name, a.host.to_string()).cmp(&(&b.name, b.host.to_string())));
    members.dedup_by(|a, b| a.host == b.host);
    if members.is_empty() {
        return Err(failed(&"its records name no host"));
    }
    if members.len() as u64 > MAX_HOSTS {
        return Err(failed(&format!("it names {} hosts, and {MAX_HOSTS} are the most", members.len())));
    }
    // Several agents on one host, behind several ports.
    let mut counts: HashMap<String, usize> = HashMap::new();
    for member in &members {
        *counts.entry(member.name.clone()).or_default() += 1;
    }
    for member in &mut members {
        if counts.get(&member.name).is_some_and(|count| *count > 1)
            && let Host::Tls(_, port) = member.host
        {
            member.name = format!("{}:{port}", member.name);
        }
    }
    Ok(Fleet { members, domains: Vec::new() })
}

#[cfg(test)]
#[path = "srv_tests.rs"]
mod tests;
