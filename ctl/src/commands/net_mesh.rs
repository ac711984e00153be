//! `net-mesh`: measures each pair of a fleet and tells which link is not like the others.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use uuid::Uuid;

use super::{Session, fleet::allow_connections};
use crate::{
    cli::{Host, NetMeshFlags},
    connect::{Client, cannot_reach},
    error::{Exit, Failure, Problem},
    fleet::{Fleet, Member, each},
    json::MeshOut,
    mesh::{Link, Measurement, Mesh, document, measure, rounds},
    output::Format,
    report::to_terminal,
};

/// The label that has a host's address for its peers.
const PEER: &str = "peer";
/// Hosts that are dialled at once.
const DIALLED_AT_ONCE: usize = 64;

/// A host that answers.
#[derive(Debug, Clone)]
struct Ready {
    name: String,
    /// For the others.
    peer: String,
    client: Client,
}

pub(super) async fn net_mesh(flags: &NetMeshFlags, session: &mut Session) -> Result<Exit, Failure> {
    let fleet = Fleet::asked(&session.global).await?.unwrap_or_default();
    if fleet.members.len() < 2 {
        return Err(Failure::usage(
            "a mesh is between hosts, and there are not two",
            "name them with --fleet, or with several --host",
        ));
    }
    let peers = peers(&fleet.members)?;
    allow_connections(fleet.members.len());
    let pki = session.global.pki.clone();
    let dial = |member: Member| {
        let line = member.line(pki.as_ref());
        async move { line?.dial().await.map_err(|error| cannot_reach(&member.host, &error)) }
    };
    let dialled = tokio::select! {
        dialled = each(&fleet.members, DIALLED_AT_ONCE, dial, |_| {}) => dialled,
        () = session.interrupts.next() => return Err(Failure::interrupted()),
    };
    let (mut ready, mut left_out) = (Vec::new(), Vec::new());
    for (answer, peer) in dialled.into_iter().zip(peers) {
        match answer.result {
            Ok(client) => ready.push(Ready { name: answer.member.name, peer, client }),
            Err(failure) => left_out.push((answer.member.name, failure)),
        }
    }
    if ready.len() < 2 {
        let problems = left_out.into_iter().flat_map(|(_, failure)| failure.problems).collect();
        return Err(Failure { exit: Exit::AgentFailed, problems });
    }
    let (links, interrupted) = all_rounds(&ready, flags, session).await;
    let mesh = Mesh::new(ready.into_iter().map(|host| host.name).collect(), links, left_out);
    print(&mesh, session)?;
    Ok(match (interrupted, mesh.left_out.is_empty() && mesh.failed().next().is_none()) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Pass,
        (false, false) => Exit::AgentFailed,
    })
}

/// For each its address for the others.
fn peers(members: &[Member]) -> Result<Vec<String>, Failure> {
    let mut problems = Vec::new();
    let mut peers = Vec::new();
    for member in members {
        match (member.labels.get(PEER), &member.host) {
            (Some(peer), _) => peers.push(peer.clone()),
            (None, Host::Tls(name, _)) => peers.push(name.clone()),
            (None, Host::Unix(_)) => problems.push(Problem::new(
                format!("{}: it is reached by a socket, and its peers don't know where", member.name),
                "give it a label: labels = { peer = \"10.0.0.2\" }",
            )),
        }
    }
    if problems.is_empty() { Ok(peers) } else { Err(Failure { exit: Exit::Usage, problems }) }
}

/// What was measured, and whether the user ended it before all was.
async fn all_rounds(hosts: &[Ready], flags: &NetMeshFlags, session: &mut Session) -> (Vec<Link>, bool) {
    let measurement = Measurement {
        part_ms: flags.duration,
        rate_bits_per_s: flags.rate,
        requests_per_s: flags.requests,
        datagram_rate_bits_per_s: flags.datagrams,
    };
    let Session { global, output, interrupts } = session;
    let shows = !global.quiet && (global.output == Format::Text || output.on_terminal());
    let at_once = flags.at_once.map_or(hosts.len(), |pairs| usize::try_from(pairs).unwrap_or(hosts.len()));
    let turns = Arc::new(Semaphore::new(at_once.max(1)));
    let (stop, stopped) = watch::channel(false);
    let rounds = rounds(hosts.len());
    let mut links = Vec::new();
    for (number, pairs) in rounds.iter().enumerate() {
        if shows {
            output.message(&format!("round {} of {}: {} pairs", number + 1, rounds.len(), pairs.len()));
        }
        let mut measuring = JoinSet::new();
        for (one, other) in pairs.iter().copied() {
            let (turns, stopped) = (turns.clone(), stopped.clone());
            let ends = (hosts[one].clone(), hosts[other].clone());
            let one_way = flags.one_way;
            measuring.spawn(async move {
                let _turn = turns.acquire_owned().await;
                let mut links = vec![link((one, &ends.0), (other, &ends.1), &measurement, &stopped).await];
                if !one_way {
                    links.push(link((other, &ends.1), (one, &ends.0), &measurement, &stopped).await);
                }
                links
            });
        }
        while !measuring.is_empty() {
            tokio::select! {
                // A task that panicked has said so, and its links are missing.
                Some(measured) = measuring.join_next() => links.extend(measured.into_iter().flatten()),
                // Runs are stopped, and seen to be.
                () = interrupts.next() => { stop.send_replace(true); }
            }
        }
        if *stopped.borrow() {
            break;
        }
    }
    links.sort_by_key(|link| (link.from, link.to));
    let interrupted = *stopped.borrow();
    (links, interrupted)
}

async fn link(
    (from, sender): (usize, &Ready),
    (to, receiver): (usize, &Ready),
    measurement: &Measurement,
    stop: &watch::Receiver<bool>,
) -> Link {
    let run_id = Uuid::now_v7().to_string();
    let measured = if *stop.borrow() {
        Err(Failure::interrupted())
    } else {
        measure(sender.client.clone(), &receiver.peer, measurement, &run_id, stop.clone()).await
    };
    Link { from, to, run_id, measured }
}

fn print(mesh: &Mesh, session: &mut Session) -> Result<(), Failure> {
    let Session { global, output, .. } = session;
    match global.output {
        Format::Json => output.json(&MeshOut::from(mesh)),
        Format::Text => output.result(&to_terminal(&document(mesh), output.in_color())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, host: Host, peer: Option<&str>) -> Member {
        let labels = peer.map(|peer| (PEER.to_owned(), peer.to_owned())).into_iter().collect();
        Member { name: name.into(), host, labels, watts: None }
    }

    #[test]
    fn a_hosts_address_for_its_peers_is_its_label_or_the_one_it_is_reached_by() {
        let tls = || Host::Tls("db1.example.org".into(), 7443);
        let unix = || Host::Unix("/run/x.sock".into());
        let found = peers(&[
            member("a", tls(), None),
            member("b", tls(), Some("10.0.0.2:7000")),
            member("c", unix(), Some("h")),
        ]);
        assert_eq!(found.unwrap(), ["db1.example.org", "10.0.0.2:7000", "h"]);
        let failure = peers(&[member("d", unix(), None), member("e", unix(), None)]).unwrap_err();
        assert_eq!((failure.exit, failure.problems.len()), (Exit::Usage, 2));
        assert!(failure.to_string().contains("labels = { peer ="), "{failure}");
    }
}
