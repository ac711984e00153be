//! Bounds of the network burner.

use std::{collections::HashSet, ops::RangeInclusive};

use super::{MAX_RATE_PER_S, Violations, known, profile, rate};
use crate::v1::{NetworkBurner, NetworkProtocol, NetworkZeroCopy};

/// Streams that a network burner may have.
pub const MAX_STREAMS: u32 = 1_024;
/// Bits a second that can be asked for.
pub const NETWORK_BITS_PER_S: RangeInclusive<u64> = 1_000..=10_000_000_000_000;
/// Bytes of a datagram: a number and a time; what IPv4 carries.
pub const DATAGRAM_BYTES: RangeInclusive<u32> = 20..=65_507;
/// Bytes of a request, or of one write.
pub const NETWORK_BLOCK_BYTES: RangeInclusive<u32> = 1..=16 << 20;
/// Bytes of a socket's buffer.
pub const SOCKET_BUFFER_BYTES: RangeInclusive<u32> = 4 << 10..=1 << 30;

pub(super) fn check(field: &str, network: &NetworkBurner, found: &mut Violations) {
    use NetworkProtocol as Protocol;
    let part = |name: &str| format!("{field}.{name}");
    known::<Protocol>(&part("protocol"), network.protocol, found);
    known::<NetworkZeroCopy>(&part("zerocopy"), network.zerocopy, found);
    let protocol = match network.protocol() {
        Protocol::Unspecified => Protocol::Tcp,
        protocol => protocol,
    };
    let name = protocol_name(protocol);
    let mut out_of = |what: &str, value: u64, bounds: RangeInclusive<u64>, key: &str| {
        if !bounds.contains(&value) {
            found.add(
                part(key),
                format!("{what} of {value}"),
                format!("use {} to {}", bounds.start(), bounds.end()),
            );
        }
    };
    let wide = |bounds: RangeInclusive<u32>| u64::from(*bounds.start())..=u64::from(*bounds.end());
    let streams = network.streams.unwrap_or(1);
    out_of("a number of streams", streams.into(), 1..=u64::from(MAX_STREAMS), "streams");
    if let Some(rate) = network.rate_bits_per_s {
        out_of("a rate in bit/s", rate, NETWORK_BITS_PER_S, "rate_bits_per_s");
    }
    if let Some(rate) = network.rate_per_s {
        out_of("a rate a second", rate, 1..=MAX_RATE_PER_S, "rate_per_s");
    }
    if let Some(bytes) = network.buffer_bytes {
        out_of("a socket buffer in bytes", bytes.into(), wide(SOCKET_BUFFER_BYTES), "buffer_bytes");
    }
    if let Some(bytes) = network.packet_bytes {
        let (what, bounds) = match protocol {
            Protocol::Udp => ("a datagram in bytes", DATAGRAM_BYTES),
            _ => ("a size in bytes", NETWORK_BLOCK_BYTES),
        };
        out_of(what, bytes.into(), wide(bounds), "packet_bytes");
    }
    let is_bulk = matches!(protocol, Protocol::Tcp | Protocol::Udp);
    let is_tcp = protocol == Protocol::Tcp;
    let foreign = [
        (network.rate_bits_per_s.is_some() && !is_bulk, "rate_bits_per_s", "tcp or udp"),
        (network.rate_per_s.is_some() && is_bulk, "rate_per_s", "rr or connect"),
        (network.packet_bytes.is_some() && protocol == Protocol::Connect, "packet_bytes", "tcp, udp or rr"),
        (network.zerocopy != 0 && !is_tcp, "zerocopy", "tcp"),
        (!network.congestion.is_empty() && !is_tcp, "congestion", "tcp"),
        (network.both && !is_bulk, "both", "tcp or udp"),
        (network.load.is_some() && !is_tcp, "load", "tcp"),
    ];
    for (_, key, protocols) in foreign.iter().filter(|(is_foreign, ..)| *is_foreign) {
        found.add(
            part(key),
            format!("means nothing with the protocol {name}"),
            format!("leave it out, or use the protocol {protocols}"),
        );
    }
    if let Some(load) = &network.load {
        profile::check_shape(&part("load"), load, found);
        if is_tcp && network.rate_bits_per_s.is_none() {
            found.add(part("load"), "percent of a rate, and no rate", "give the rate that is 100 %");
        }
    }
    let has_rate = network.rate_bits_per_s.is_some()
        || network.rate_per_s.is_some()
        || protocol == Protocol::RequestResponse;
    rate::tolerance(field, network.rate_tolerance_percent, has_rate, found);
    let congestion = &network.congestion;
    // TCP_CA_NAME_MAX of include/net/tcp.h, less the final NUL.
    if congestion.len() > 15 || !congestion.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        let shown: String = congestion.chars().take(40).collect();
        found.add(
            part("congestion"),
            format!("'{shown}' is no name of a congestion control"),
            "use one such as cubic or bbr",
        );
    }
    peer(&part("peer"), &network.peer, found);
    cores(&part("cores"), &network.cores, streams, found);
}

fn peer(field: &str, peer: &str, found: &mut Violations) {
    // 253 for a name, RFC 1035; brackets and a port.
    let good = (1..=262).contains(&peer.len())
        && peer.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]%".contains(&b));
    if !good {
        let shown: String = peer.chars().take(80).collect();
        found.add(
            field,
            format!("'{shown}' is no host"),
            "use a name or an address, such as 10.0.0.2 or host:7471",
        );
    }
}

fn cores(field: &str, cores: &[u32], streams: u32, found: &mut Violations) {
    let mut seen = HashSet::new();
    if let Some(core) = cores.iter().find(|core| !seen.insert(**core)) {
        found.add(field, format!("core {core} is named twice"), "name each core once");
    }
    if cores.len() > streams as usize {
        found.add(
            field,
            format!("{} cores for {streams} streams", cores.len()),
            "use at least as many streams as cores",
        );
    }
}

/// As users write it.
pub fn protocol_name(protocol: NetworkProtocol) -> &'static str {
    match protocol {
        NetworkProtocol::Unspecified | NetworkProtocol::Tcp => "tcp",
        NetworkProtocol::Udp => "udp",
        NetworkProtocol::RequestResponse => "rr",
        NetworkProtocol::Connect => "connect",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(network: &NetworkBurner) -> Vec<String> {
        let mut found = Violations::default();
        check("b", network, &mut found);
        found.into_vec().into_iter().map(|violation| violation.field).collect()
    }

    fn with(protocol: NetworkProtocol) -> NetworkBurner {
        NetworkBurner { peer: "10.0.0.2".into(), protocol: protocol.into(), ..NetworkBurner::default() }
    }

    #[test]
    fn what_is_good_passes() {
        use NetworkProtocol as P;
        for protocol in [P::Unspecified, P::Tcp, P::Udp, P::RequestResponse, P::Connect] {
            assert_eq!(wrong(&with(protocol)), [""; 0]);
        }
        let all = NetworkBurner {
            peer: "[2001:db8::1]:7471".into(),
            streams: Some(2),
            rate_bits_per_s: Some(1_000),
            rate_tolerance_percent: Some(100.0),
            packet_bytes: Some(1 << 20),
            buffer_bytes: Some(4_096),
            zerocopy: NetworkZeroCopy::Msg.into(),
            congestion: "bbr".into(),
            both: true,
            cores: vec![0, 1],
            ..with(P::Tcp)
        };
        assert_eq!(wrong(&all), [""; 0]);
    }

    #[test]
    fn each_bound_names_its_field() {
        use NetworkProtocol as P;
        for (field, network) in [
            ("b.peer", NetworkBurner { peer: String::new(), ..with(P::Tcp) }),
            ("b.peer", NetworkBurner { peer: "a b".into(), ..with(P::Tcp) }),
            ("b.protocol", NetworkBurner { protocol: 77, ..with(P::Tcp) }),
            ("b.streams", NetworkBurner { streams: Some(1_025), ..with(P::Tcp) }),
            ("b.rate_bits_per_s", NetworkBurner { rate_bits_per_s: Some(999), ..with(P::Tcp) }),
            ("b.rate_bits_per_s", NetworkBurner { rate_bits_per_s: Some(1_000), ..with(P::Connect) }),
            ("b.rate_per_s", NetworkBurner { rate_per_s: Some(1), ..with(P::Udp) }),
            ("b.rate_per_s", NetworkBurner { rate_per_s: Some(0), ..with(P::RequestResponse) }),
            ("b.packet_bytes", NetworkBurner { packet_bytes: Some(19), ..with(P::Udp) }),
            ("b.packet_bytes", NetworkBurner { packet_bytes: Some(65_508), ..with(P::Udp) }),
            ("b.packet_bytes", NetworkBurner { packet_bytes: Some(1), ..with(P::Connect) }),
            ("b.buffer_bytes", NetworkBurner { buffer_bytes: Some(1), ..with(P::Tcp) }),
            ("b.zerocopy", NetworkBurner { zerocopy: 1, ..with(P::Udp) }),
            ("b.zerocopy", NetworkBurner { zerocopy: 7, ..with(P::Tcp) }),
            ("b.congestion", NetworkBurner { congestion: "bbr".into(), ..with(P::Udp) }),
            ("b.congestion", NetworkBurner { congestion: "../x".into(), ..with(P::Tcp) }),
            ("b.rate_tolerance_percent", NetworkBurner { rate_tolerance_percent: Some(1.0), ..with(P::Tcp) }),
            (
                "b.rate_tolerance_percent",
                NetworkBurner { rate_tolerance_percent: Some(1.0), ..with(P::Connect) },
            ),
            (
                "b.rate_tolerance_percent",
                NetworkBurner { rate_tolerance_percent: Some(f64::NAN), ..with(P::RequestResponse) },
            ),
            ("b.both", NetworkBurner { both: true, ..with(P::RequestResponse) }),
            ("b.cores", NetworkBurner { cores: vec![1, 1], streams: Some(2), ..with(P::Tcp) }),
            ("b.cores", NetworkBurner { cores: vec![0, 1], ..with(P::Tcp) }),
        ] {
            assert_eq!(wrong(&network), [field], "{network:?}");
        }
    }
}
