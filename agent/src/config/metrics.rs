//! Where metrics can be read.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

use super::ConfigError;

/// The port that OpenTelemetry's exporters for Prometheus have by default.
const PORT: u16 = 9_464;

/// Where metrics can be read: plain HTTP, by whoever reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Addresses and ports to listen at. None: there is no listener.
    pub listen: Vec<SocketAddr>,
    /// Addresses beyond loopback are meant.
    pub beyond_loopback: bool,
    /// Series that an answer has at most; families beyond are left out.
    pub max_series: usize,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            beyond_loopback: false,
            max_series: 20_000,
        }
    }
}

impl MetricsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let outside = self.listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(address) = outside.filter(|_| !self.beyond_loopback) {
            return Err(ConfigError::Bounds {
                key: "metrics.listen",
                value: address.to_string(),
                mend: "that is not loopback, and whoever reaches it reads all, unencrypted: if that is meant, \
                       set metrics.beyond_loopback = true",
            });
        }
        if (100..=1_000_000).contains(&self.max_series) {
            return Ok(());
        }
        Err(ConfigError::Bounds {
            key: "metrics.max_series",
            value: self.max_series.to_string(),
            mend: "use 100 to 1000000",
        })
    }
}
