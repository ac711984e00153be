//! Flags of `burn network`.

use clap::{Args, ValueEnum};
use ssts_proto::v1::{NetworkProtocol, NetworkZeroCopy, profile::Shape};

use super::{
    RunOptions,
    values::{Cores, core_list, duration, load, network_rate, rate_tolerance, size},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  sstsctl burn network --peer 10.0.0.2 --duration 30s
  sstsctl burn network --peer 10.0.0.2 --streams 4 --cores 0-3 --both --duration 1m
  sstsctl burn network --peer 10.0.0.2 --zerocopy --congestion cubic --duration 30s
  sstsctl burn network --peer 10.0.0.2 --protocol udp --rate 2G --packet 1448 --duration 30s
  sstsctl burn network --peer host-b:7471 --protocol rr --rate 5000 --packet 128 --duration 1m
  sstsctl burn network --peer 10.0.0.2 --protocol connect --streams 8 --rate 2000 --duration 30s

The peer is a host whose sstsd has a [network.sink] in its configuration that allows this one; and this one's
network.allowed_peers must allow the peer. Nothing else is ever loaded.";

#[derive(Debug, Args)]
pub(crate) struct BurnNetwork {
    /// The host with the sink, by name or address; the port is 7471 unless given.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) peer: String,
    /// What flows.
    #[arg(long, value_name = "NAME", default_value = "tcp")]
    pub(crate) protocol: Protocol,
    /// Data streams; with connect, connections in the making at once. [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) streams: Option<u32>,
    /// Of all streams together: bits of payload a second with tcp and udp, such as 2.5G; requests or connections
    /// a second with rr and connect. Without it as much as goes; 1000 requests with rr.
    #[arg(long, value_name = "RATE", value_parser = network_rate, allow_hyphen_values = true)]
    pub(crate) rate: Option<u64>,
    /// Percent of --rate that may be undone at the end before the run counts as failed. [default: 2]
    #[arg(long, value_name = "PCT", value_parser = rate_tolerance, allow_hyphen_values = true)]
    pub(crate) tolerance: Option<f64>,
    /// Percent of --rate over time, such as walk:10..100/10/1s or 10..90, as burn cpu has it; tcp only.
    #[arg(long, value_name = "LOAD", value_parser = load, allow_hyphen_values = true)]
    pub(crate) load: Option<Shape>,
    /// Bytes of a datagram [default: 1448], of a request and its answer [default: 64], or of one write to TCP
    /// [default: 1MiB].
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true)]
    pub(crate) packet: Option<u64>,
    /// Send and receive buffer of each data socket, at both ends; without it the kernel's choice.
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true)]
    pub(crate) buffer: Option<u64>,
    /// Send without copying; tcp only. Without a name: sendfile.
    #[arg(long, value_name = "HOW", num_args = 0..=1, default_missing_value = "sendfile")]
    pub(crate) zerocopy: Option<ZeroCopy>,
    /// TCP's congestion control, such as bbr; without it the host's default.
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion: Option<String>,
    /// The sink sends as well, at the same rate; tcp and udp only.
    #[arg(long)]
    pub(crate) both: bool,
    /// The cores, a worker on each, which share the streams; without it the last one that the agent may use.
    #[arg(long, value_name = "LIST", value_parser = core_list)]
    pub(crate) cores: Option<Cores>,
    /// How long, such as 30s or 1h30m.
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: u64,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}

/// What flows between the burner and the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Bytes over TCP.
    Tcp,
    /// Numbered datagrams: loss, reordering, duplicates, jitter.
    Udp,
    /// Requests and answers over TCP: latency at a fixed rate.
    Rr,
    /// TCP connections, opened and reset.
    Connect,
}

impl From<Protocol> for NetworkProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
            Protocol::Rr => Self::RequestResponse,
            Protocol::Connect => Self::Connect,
        }
    }
}

/// How bytes are sent without copying them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ZeroCopy {
    /// sendfile from pages of a memory file.
    Sendfile,
    /// MSG_ZEROCOPY; the kernel tells of each send whether it was copied all the same.
    Msg,
}

impl From<ZeroCopy> for NetworkZeroCopy {
    fn from(how: ZeroCopy) -> Self {
        match how {
            ZeroCopy::Sendfile => Self::Sendfile,
            ZeroCopy::Msg => Self::Msg,
        }
    }
}
