//! What a network burner becomes on this host.

use std::{
    fs,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use ssts_proto::{
    v1::{NetworkBurner, NetworkProtocol, NetworkZeroCopy},
    validate::Violations,
};

use super::Offer;
use crate::burn::{
    network::{DEFAULT_PORT, DEFAULT_RATE_PER_S, NetworkLoad, Protocol, ZeroCopyMethod},
    plan::Load,
    profile::Shape,
};

/// The resolver's own patience may be tens of seconds.
const RESOLVE_TIME: Duration = Duration::from_secs(2);
const DEFAULT_WRITE_BYTES: u32 = 1 << 20;
/// What is left of an Ethernet frame's 1,500 bytes with any of the usual headers; also what iperf3 takes for TCP's MSS.
const DEFAULT_DATAGRAM_BYTES: u32 = 1_448;
const DEFAULT_REQUEST_BYTES: u32 = 64;

/// Its cores and what they do; fills in what was left open.
pub(super) fn plan(
    offer: &Offer<'_>,
    field: &str,
    network: &mut NetworkBurner,
    found: &mut Violations,
) -> Option<(Vec<u32>, Load)> {
    let protocol = match network.protocol() {
        NetworkProtocol::Unspecified | NetworkProtocol::Tcp => Protocol::Tcp,
        NetworkProtocol::Udp => Protocol::Udp,
        NetworkProtocol::RequestResponse => Protocol::RequestResponse,
        NetworkProtocol::Connect => Protocol::Connect,
    };
    if protocol == Protocol::Tcp {
        network.set_protocol(NetworkProtocol::Tcp);
    }
    let peer = allowed_peer(offer, field, &network.peer, found)?;
    check_congestion(offer, field, &network.congestion, found)?;
    if network.cores.is_empty() {
        // As disk burners: interrupts and housekeeping crowd the first ones.
        network.cores = offer.last_cores(field, 1, found)?;
    }
    network.cores = offer.choose_cores(field, &network.cores, found)?;
    let rate = match protocol {
        Protocol::Tcp | Protocol::Udp => network.rate_bits_per_s,
        Protocol::RequestResponse => Some(*network.rate_per_s.get_or_insert(DEFAULT_RATE_PER_S)),
        Protocol::Connect => network.rate_per_s,
    };
    let block_bytes = match protocol {
        Protocol::Tcp => *network.packet_bytes.get_or_insert(DEFAULT_WRITE_BYTES),
        Protocol::Udp => *network.packet_bytes.get_or_insert(DEFAULT_DATAGRAM_BYTES),
        Protocol::RequestResponse => *network.packet_bytes.get_or_insert(DEFAULT_REQUEST_BYTES),
        Protocol::Connect => 1,
    };
    let load = NetworkLoad {
        peer,
        protocol,
        // At most 1,024: the protocol's bounds were checked.
        streams: u16::try_from(*network.streams.get_or_insert(1)).unwrap_or(u16::MAX),
        rate,
        rise: None,
        rate_share: network.load.as_ref().and_then(|load| load.shape.as_ref()).map(Shape::from_message),
        block_bytes,
        buffer_bytes: network.buffer_bytes,
        zerocopy: match network.zerocopy() {
            NetworkZeroCopy::Unspecified => None,
            NetworkZeroCopy::Sendfile => Some(ZeroCopyMethod::Sendfile),
            NetworkZeroCopy::Msg => Some(ZeroCopyMethod::Msg),
        },
        congestion: Some(network.congestion.clone()).filter(|name| !name.is_empty()),
        both: network.both,
    };
    Some((network.cores.clone(), Load::Network(load)))
}

/// Where the peer is, if the configuration allows it. Of several addresses of a name the first allowed one.
fn allowed_peer(offer: &Offer<'_>, field: &str, peer: &str, found: &mut Violations) -> Option<SocketAddr> {
    let field = format!("{field}.peer");
    let addresses = match resolve(peer) {
        Ok(addresses) => addresses,
        Err(why) => {
            found.add(
                field,
                format!("'{peer}' is not known to this host: {why}"),
                "use a name that it resolves, or an address",
            );
            return None;
        }
    };
    let nets = offer.allowed_peers;
    let is_allowed = |address: &&SocketAddr| {
        let ip = address.ip().to_canonical();
        nets.iter().any(|net| net.contains(&ip))
    };
    let allowed = addresses.iter().find(is_allowed).copied();
    if allowed.is_none() {
        let names: Vec<_> = nets.iter().map(ToString::to_string).collect();
        let addresses: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        found.add(
            field,
            format!(
                "{} is in none of the networks that this agent may load: network.allowed_peers = [{}]",
                addresses.join(", "),
                names.join(", ")
            ),
            "choose a peer in those, or add its network to network.allowed_peers in the agent's configuration",
        );
    }
    allowed
}

/// An address, or a name, with or without a port.
fn resolve(peer: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = peer.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    let bare = peer.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(peer);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, DEFAULT_PORT)]);
    }
    let (name, port) = match peer.rsplit_once(':') {
        None => (peer, DEFAULT_PORT),
        Some((name, port)) => (name, port.parse().map_err(|_| format!("'{port}' is no port"))?),
    };
    look_up(name.to_owned(), port)
}

/// Asks the resolver, and does not wait for ever.
pub(super) fn look_up(name: String, port: u16) -> Result<Vec<SocketAddr>, String> {
    let (sender, answer) = mpsc::channel();
    let ask = move || {
        let outcome = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let _nobody_waits_any_more = sender.send(outcome.map_err(|error| error.to_string()));
    };
    thread::Builder::new().name("resolve".into()).spawn(ask).map_err(|error| error.to_string())?;
    match answer.recv_timeout(RESOLVE_TIME) {
        Ok(Ok(addresses)) if addresses.is_empty() => Err("it has no address".into()),
        Ok(outcome) => outcome,
        Err(_) => Err(format!("the resolver did not answer within {RESOLVE_TIME:?}")),
    }
}

/// What the kernel has loaded; where it does not tell, it is asked when the socket is made.
fn check_congestion(offer: &Offer<'_>, field: &str, name: &str, found: &mut Violations) -> Option<()> {
    let file = offer.roots.proc.join("sys/net/ipv4/tcp_available_congestion_control");
    let available = fs::read_to_string(file).unwrap_or_default();
    if name.is_empty() || available.is_empty() || available.split_whitespace().any(|known| known == name) {
        return Some(());
    }
    found.add(
        format!("{field}.congestion"),
        format!("this host's kernel has no congestion control '{name}'"),
        format!("use one of {}, or load its module (`modprobe tcp_{name}`)", available.trim()),
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_addresses_or_names_with_or_without_a_port() {
        let first = |peer: &str| resolve(peer).map(|addresses| addresses[0].to_string());
        assert_eq!(first("10.0.0.2").as_deref(), Ok("10.0.0.2:7471"));
        assert_eq!(first("10.0.0.2:5").as_deref(), Ok("10.0.0.2:5"));
        assert_eq!(first("::1").as_deref(), Ok("[::1]:7471"));
        assert_eq!(first("[::1]").as_deref(), Ok("[::1]:7471"));
        assert_eq!(first("[::1]:9").as_deref(), Ok("[::1]:9"));
        assert!(first("localhost:9").is_ok_and(|address| address.ends_with(":9")));
        assert!(first("10.0.0.2:x").is_err());
        assert!(first("no-such-host.invalid").is_err());
    }
}
