//! The network burner as users write it.

use ssts_proto::v1::{NetworkBurner, NetworkProtocol, NetworkZeroCopy, burner};
use toml::de::DeValue;

use super::{
    Plan,
    flags::single,
    keys::{Findings, Keys, string, whole, wrong_type},
    load::{of_shape, shape_of},
    values::{cores, one_of, percent, size},
};
use crate::{cli::BurnNetwork, error::Problem, quantity};

/// `burn network`.
pub(crate) fn burn_network(flags: &BurnNetwork) -> Plan {
    let protocol = NetworkProtocol::from(flags.protocol);
    let (rate_bits_per_s, rate_per_s) = rates(protocol, flags.rate);
    let narrow = |bytes: Option<u64>| bytes.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
    let network = NetworkBurner {
        peer: flags.peer.clone(),
        protocol: protocol.into(),
        streams: flags.streams,
        rate_bits_per_s,
        rate_per_s,
        packet_bytes: narrow(flags.packet),
        buffer_bytes: narrow(flags.buffer),
        zerocopy: flags.zerocopy.map(NetworkZeroCopy::from).unwrap_or_default().into(),
        congestion: flags.congestion.clone().unwrap_or_default(),
        both: flags.both,
        cores: flags.cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default(),
        load: flags.load.clone().map(of_shape),
        rate_tolerance_percent: flags.tolerance,
    };
    let places = [
        ("peer", "--peer"),
        ("protocol", "--protocol"),
        ("streams", "--streams"),
        ("rate_bits_per_s", "--rate"),
        ("rate_per_s", "--rate"),
        ("packet_bytes", "--packet"),
        ("buffer_bytes", "--buffer"),
        ("zerocopy", "--zerocopy"),
        ("congestion", "--congestion"),
        ("both", "--both"),
        ("cores", "--cores"),
        ("load", "--load"),
        ("rate_tolerance_percent", "--tolerance"),
    ];
    single("burn-network", flags.duration, burner::Kind::Network(network), &places)
}

/// Its keys in a scenario file.
pub(super) fn from_keys(keys: &mut Keys<'_, '_>, found: &mut Findings) -> NetworkBurner {
    let protocol = keys.read("protocol", "protocol", found, protocol).unwrap_or(NetworkProtocol::Tcp);
    let is_bulk = matches!(protocol, NetworkProtocol::Tcp | NetworkProtocol::Udp);
    let name = if is_bulk { "rate_bits_per_s" } else { "rate_per_s" };
    let (rate_bits_per_s, rate_per_s) = rates(protocol, keys.read("rate", name, found, rate));
    NetworkBurner {
        peer: keys.need("peer", "peer", found, string, "\"10.0.0.2\"").unwrap_or_default(),
        protocol: protocol.into(),
        streams: keys.read("streams", "streams", found, |value| {
            u32::try_from(whole(value)?).map_err(|_| Problem::new("streams this many", "use 1 to 1024"))
        }),
        rate_bits_per_s,
        rate_per_s,
        packet_bytes: keys.read("packet", "packet_bytes", found, bytes),
        buffer_bytes: keys.read("buffer", "buffer_bytes", found, bytes),
        zerocopy: keys.read("zerocopy", "zerocopy", found, zero_copy).unwrap_or_default().into(),
        congestion: keys.read("congestion", "congestion", found, string).unwrap_or_default(),
        both: keys.read("both", "both", found, yes_or_no).unwrap_or_default(),
        cores: keys.read("cores", "cores", found, cores).unwrap_or_default(),
        load: shape_of("load", keys, found),
        rate_tolerance_percent: keys.read("tolerance", "rate_tolerance_percent", found, percent),
    }
}

/// Bits a second, or operations a second, by what flows.
fn rates(protocol: NetworkProtocol, rate: Option<u64>) -> (Option<u64>, Option<u64>) {
    match protocol {
        NetworkProtocol::Unspecified | NetworkProtocol::Tcp | NetworkProtocol::Udp => (rate, None),
        NetworkProtocol::RequestResponse | NetworkProtocol::Connect => (None, rate),
    }
}

fn protocol(value: &DeValue<'_>) -> Result<NetworkProtocol, Problem> {
    let known = [
        ("tcp", NetworkProtocol::Tcp),
        ("udp", NetworkProtocol::Udp),
        ("rr", NetworkProtocol::RequestResponse),
        ("connect", NetworkProtocol::Connect),
    ];
    one_of(value, "protocol", &known)
}

/// A name, or whether at all.
fn zero_copy(value: &DeValue<'_>) -> Result<NetworkZeroCopy, Problem> {
    match value {
        DeValue::Boolean(false) => Ok(NetworkZeroCopy::Unspecified),
        DeValue::Boolean(true) => Ok(NetworkZeroCopy::Sendfile),
        DeValue::String(_) => {
            let known = [("sendfile", NetworkZeroCopy::Sendfile), ("msg", NetworkZeroCopy::Msg)];
            one_of(value, "way to send without copying", &known)
        }
        _ => Err(wrong_type(value, "\"sendfile\", \"msg\", true or false")),
    }
}

/// A rate in quotes, or a whole number.
fn rate(value: &DeValue<'_>) -> Result<u64, Problem> {
    match value {
        DeValue::String(text) => quantity::network_rate(text),
        DeValue::Integer(_) => whole(value),
        _ => Err(wrong_type(value, "a rate in quotes, such as \"2.5G\", or a whole number")),
    }
}

fn bytes(value: &DeValue<'_>) -> Result<u32, Problem> {
    u32::try_from(size(value)?).map_err(|_| Problem::new("a size this large", "use at most 1GiB"))
}

fn yes_or_no(value: &DeValue<'_>) -> Result<bool, Problem> {
    match value {
        DeValue::Boolean(value) => Ok(*value),
        _ => Err(wrong_type(value, "true or false")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Burn, Cli, Command};

    fn flags(arguments: &str) -> Plan {
        let line = format!("sstsctl burn network {arguments}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Burn(Burn::Network(flags)) => burn_network(&flags),
            other => panic!("{other:?}"),
        }
    }

    fn kind(plan: &Plan) -> &NetworkBurner {
        match &plan.scenario.phases[0].burners[0].kind {
            Some(burner::Kind::Network(network)) => network,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_and_file_say_the_same() {
        let plan = flags(
            "--peer h:1 --protocol udp --streams 2 --rate 2.5G --packet 1000 --buffer 1MiB --both --cores 0-1 \
             --duration 1s",
        );
        plan.validate().unwrap();
        let file = "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'network'\n\
                    peer = 'h:1'\nprotocol = 'udp'\nstreams = 2\nrate = '2.5G'\npacket = 1000\nbuffer = '1MiB'\n\
                    both = true\ncores = '0-1'\n";
        let from_file = Plan::from_toml("x.toml", file).unwrap();
        assert_eq!(kind(&plan), kind(&from_file));
        assert_eq!(kind(&plan).rate_bits_per_s, Some(2_500_000_000));
    }

    #[test]
    fn a_rate_is_of_what_flows() {
        let plan = flags("--peer h --protocol rr --rate 5000 --duration 1s");
        assert_eq!((kind(&plan).rate_bits_per_s, kind(&plan).rate_per_s), (None, Some(5_000)));
    }

    #[test]
    fn zero_copy_has_two_ways_and_a_better_one() {
        for (flag, key, how) in [
            ("--zerocopy", "true", NetworkZeroCopy::Sendfile),
            ("--zerocopy sendfile", "'sendfile'", NetworkZeroCopy::Sendfile),
            ("--zerocopy msg", "'msg'", NetworkZeroCopy::Msg),
            ("", "false", NetworkZeroCopy::Unspecified),
        ] {
            let plan = flags(&format!("--peer h {flag} --duration 1s"));
            let file = format!(
                "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'network'\n\
                 peer = 'h'\nzerocopy = {key}\n"
            );
            let from_file = Plan::from_toml("x.toml", &file).unwrap();
            assert_eq!((kind(&plan).zerocopy(), kind(&from_file).zerocopy()), (how, how), "{flag} {key}");
        }
    }

    #[test]
    fn violations_name_the_flag() {
        for (arguments, flag) in [
            ("--peer h --protocol udp --zerocopy --duration 1s", "--zerocopy: "),
            ("--peer h --protocol udp --packet 10 --duration 1s", "--packet: "),
            ("--peer h --cores 0-1 --duration 1s", "--cores: "),
            ("--peer h --rate 5 --duration 1s", "--rate: "),
        ] {
            let failure = flags(arguments).validate().unwrap_err();
            assert!(failure.problems[0].message.starts_with(flag), "{failure}");
        }
    }
}
