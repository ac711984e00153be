//! Whom this host works for: units whose trouble is watched for while burners burn.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use ssts_proto::http_url::HttpUrl;

use super::{ConfigError, duration};

/// Each is some ten files to read at every tick, and a comparison at every switch of tasks.
pub const MAX_PROTECTED: usize = 8;
const PERIODS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// A unit that is watched.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtectConfig {
    /// A systemd unit such as `nginx.service`, or a cgroup below the mount point of version 2 such as `system.slice/nginx.service`.
    pub unit: String,
    /// Asked again and again: 2xx says that all is well.
    #[serde(default)]
    pub health_url: Option<AskedUrl>,
    /// A Prometheus server, by the URL that its API is below.
    #[serde(default)]
    pub prometheus_url: Option<AskedUrl>,
    /// What it is asked: an instant query with one value.
    #[serde(default)]
    pub query: Option<String>,
    /// How often both are asked.
    #[serde(default = "second", deserialize_with = "duration")]
    pub every: Duration,
    /// How long an answer may take.
    #[serde(default = "second", deserialize_with = "duration")]
    pub timeout: Duration,
}

fn second() -> Duration {
    Duration::from_secs(1)
}

/// A URL to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedUrl(pub HttpUrl);

impl<'de> Deserialize<'de> for AskedUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let url = HttpUrl::parse(&text)
            .map_err(|why| de::Error::custom(format!("'{text}' {why}; write it as http://host:port/path")))?;
        Ok(Self(url))
    }
}

pub(super) fn check(protect: &[ProtectConfig]) -> Result<(), ConfigError> {
    let refused = |key, value: String, mend| Err(ConfigError::Bounds { key, value, mend });
    if protect.len() > MAX_PROTECTED {
        return refused("protect", format!("{} of them", protect.len()), "name at most 8");
    }
    for (index, one) in protect.iter().enumerate() {
        let parts: Vec<_> = one.unit.split('/').collect();
        let plain = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
        let is_unit = [".service", ".scope", ".slice"].iter().any(|suffix| one.unit.ends_with(suffix));
        if !parts.iter().all(plain) || (parts.len() == 1 && !is_unit) {
            return refused(
                "protect.unit",
                one.unit.clone(),
                "name a unit such as nginx.service, or a cgroup below the mount point of version 2 such as system.slice/x",
            );
        }
        if protect[..index].iter().any(|before| before.unit == one.unit) {
            return refused("protect.unit", one.unit.clone(), "name each once");
        }
        if one.query.is_some() != one.prometheus_url.is_some() {
            return refused("protect.query", one.unit.clone(), "give prometheus_url and query, or neither");
        }
        for (key, value) in [("protect.every", one.every), ("protect.timeout", one.timeout)] {
            if !PERIODS.contains(&value) {
                return refused(key, format!("{value:?}"), "use 100ms to 60s");
            }
        }
    }
    Ok(())
}
