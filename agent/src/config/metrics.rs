//! Where metrics can be read.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de};
use ssts_proto::http_url::HttpUrl;

use super::{ConfigError, duration};

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
    /// Where they are pushed to.
    pub otlp: OtlpConfig,
}

/// Where metrics are pushed to, by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// A collector's URL, such as `http://127.0.0.1:4318/v1/metrics`. None: nothing is pushed.
    #[serde(deserialize_with = "url")]
    pub endpoint: Option<HttpUrl>,
    /// How often.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// Sent with each push, such as `authorization`.
    pub headers: BTreeMap<String, String>,
    /// Files in PEM form of certificates that are trusted beside the host's own.
    pub ca_files: Vec<PathBuf>,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            interval: Duration::from_secs(10),
            headers: BTreeMap::new(),
            ca_files: Vec::new(),
        }
    }
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HttpUrl>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |why| {
        de::Error::custom(format!(
            "'{text}' {why}; write it as http://127.0.0.1:4318/v1/metrics, or \"\" for none"
        ))
    };
    HttpUrl::parse(&text).map(Some).map_err(wrong)
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            beyond_loopback: false,
            max_series: 20_000,
            otlp: OtlpConfig::default(),
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
        let every = self.otlp.interval;
        if !(Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&every) {
            return Err(ConfigError::Bounds {
                key: "metrics.otlp.interval",
                value: format!("{every:?}"),
                mend: "use 1s to 1h",
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
