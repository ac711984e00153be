//! Flags of `net-mesh`.

use clap::Args;

use super::values::{duration, network_rate};

pub(super) const EXAMPLES: &str = "\
Hosts are paired as in a tournament: no host is in two pairs at a time. From each host of a pair to the other: TCP as fast as it
goes, then requests, then datagrams, each for --duration. A host's address for its peers is its label `peer` (HOST or HOST:PORT),
or else the one that sstsctl reaches it by; each needs a [network.sink] that allows the others (docs/burners/network.md).

Exit status: 0 every link was measured, 5 one was not, 130 interrupted; what was measured is printed all the same.

Examples:
  sstsctl --fleet hosts.toml net-mesh
  sstsctl --fleet hosts.toml --select rack=r7 net-mesh --duration 5s
  sstsctl --fleet hosts.toml net-mesh --rate 1G --at-once 4
  sstsctl --fleet hosts.toml --output json net-mesh > mesh.json";

#[derive(Debug, Clone, Args)]
pub(crate) struct NetMeshFlags {
    /// How long each of the three parts of a measurement takes.
    #[arg(long, value_name = "D", value_parser = duration, default_value = "2s")]
    pub(crate) duration: u64,
    /// Of TCP, in bits a second such as 2.5G; without it as much as goes.
    #[arg(long, value_name = "RATE", value_parser = network_rate)]
    pub(crate) rate: Option<u64>,
    /// Requests a second.
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) requests: u64,
    /// Of datagrams, in bits a second.
    #[arg(long, value_name = "RATE", value_parser = network_rate, default_value = "10M")]
    pub(crate) datagrams: u64,
    /// Pairs at a time at most; without it as many as there are hosts for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) at_once: Option<u32>,
    /// From the first host of a pair to the second only.
    #[arg(long)]
    pub(crate) one_way: bool,
}
