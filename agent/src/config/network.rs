//! What the network may do with this host: whom its burners may load, and who may load its sink.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;

use super::{ConfigError, duration};
use crate::sink::SinkPlan;

/// What an affinity mask of the C library holds: sched_setaffinity(2), CPU_SETSIZE.
const MOST_CORES: u32 = 1_024;

/// What the network may do with this host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Networks that network burners of this host may load.
    pub allowed_peers: Vec<IpNet>,
    /// What network burners of other hosts may do here.
    pub sink: SinkConfig,
}

/// What network burners of other hosts may do here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    /// Control ports. Empty: there is no sink.
    pub listen: Vec<SocketAddr>,
    /// Networks whose burners may come.
    pub allowed_peers: Vec<IpNet>,
    /// First and last port for data; 0, 0 for whichever is free.
    pub data_ports: (u16, u16),
    /// All sessions together, each way.
    pub max_rate_bits_per_s: u64,
    /// All sessions together.
    pub max_streams: u16,
    /// Of one session, from its start.
    #[serde(deserialize_with = "duration")]
    pub max_duration: Duration,
    /// Receivers are pinned to these in turn; empty leaves them to the kernel.
    pub cores: Vec<u32>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        let (v4, v6) = (Ipv4Addr::new(127, 0, 0, 0), Ipv6Addr::LOCALHOST);
        let loopback = vec![Ipv4Net::new_assert(v4, 8).into(), Ipv6Net::new_assert(v6, 128).into()];
        Self { allowed_peers: loopback, sink: SinkConfig::default() }
    }
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            allowed_peers: Vec::new(),
            data_ports: (0, 0),
            max_rate_bits_per_s: 10_000_000_000,
            max_streams: 64,
            max_duration: Duration::from_secs(3_600),
            cores: Vec::new(),
        }
    }
}

impl SinkConfig {
    /// What the sink is told; none where it has nothing to listen on.
    pub fn plan(&self) -> Option<SinkPlan> {
        let Self { listen, allowed_peers, max_rate_bits_per_s, max_streams, max_duration, cores, .. } =
            self.clone();
        let data_ports = Some(self.data_ports).filter(|ports| *ports != (0, 0));
        (!listen.is_empty()).then_some(SinkPlan {
            listen,
            allowed_peers,
            data_ports,
            max_rate_bits_per_s,
            max_streams,
            max_duration,
            cores,
        })
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bounds = |key, value: String, good: bool, mend| {
            if good { Ok(()) } else { Err(ConfigError::Bounds { key, value, mend }) }
        };
        let (first, last) = self.data_ports;
        bounds(
            "network.sink.data_ports",
            format!("[{first}, {last}]"),
            (first == 0 && last == 0) || (first > 0 && first <= last),
            "use a first and a last port, or [0, 0] for whichever is free",
        )?;
        bounds(
            "network.sink.max_rate_bits_per_s",
            self.max_rate_bits_per_s.to_string(),
            (1_000..=10_000_000_000_000).contains(&self.max_rate_bits_per_s),
            "use 1000 to 10 Tbit/s",
        )?;
        bounds(
            "network.sink.max_streams",
            self.max_streams.to_string(),
            (1..=1_024).contains(&self.max_streams),
            "use 1 to 1024",
        )?;
        bounds(
            "network.sink.max_duration",
            format!("{:?}", self.max_duration),
            (Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3_600)).contains(&self.max_duration),
            "use 1s to a year",
        )?;
        bounds(
            "network.sink.cores",
            format!("{:?}", self.cores),
            self.cores.iter().all(|core| *core < MOST_CORES),
            "use numbers of cores below 1024",
        )
    }
}
