//! The sink: what network burners of other agents send to. A process of its own, started by `sstsd serve` where the
//! configuration names addresses to listen on, and held like a burner: a control block with a deadline, and the kernel's
//! signal when the daemon dies. It takes what its configuration allows, and enforces that where data arrives.

mod bucket;
mod count;
mod gate;
mod keeper;
mod line;
mod news;
mod paths;
mod places;
mod process;
mod session;
#[cfg(test)]
mod strangers;
mod traffic;

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use keeper::{Keeper, KeeperError};
pub use process::main;

/// What a sink process is told, after validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkPlan {
    /// Control ports.
    pub listen: Vec<SocketAddr>,
    /// Who may send.
    pub allowed_peers: Vec<IpNet>,
    /// First and last port for data; none for whichever is free.
    pub data_ports: Option<(u16, u16)>,
    /// All sessions together, each way.
    pub max_rate_bits_per_s: u64,
    /// All sessions together.
    pub max_streams: u16,
    /// Of one session, from its start.
    pub max_duration: Duration,
    /// Receivers are pinned to these in turn; none leaves them to the kernel.
    pub cores: Vec<u32>,
}

/// One line from the sink process to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum News {
    /// It listens.
    Listening(Vec<SocketAddr>),
    /// It can't, and ends.
    Failed(String),
    /// Something for the log.
    Told(String),
}
