//! Which services HTTP burners of this host may load, and how hard.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Deserializer, de};
use ssts_proto::{
    http_url::HttpUrl,
    v1::HttpMethod,
    validate::{MAX_CONNECTIONS, MAX_RATE_PER_S, method_name},
};

use super::ConfigError;

/// Which services HTTP burners of this host may load, and how hard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// URLs: each allows its path and what lies below. Empty: none is loaded.
    pub allow: Vec<AllowedUrl>,
    /// What may be asked of them.
    pub methods: Vec<AllowedMethod>,
    /// Requests a second, of all HTTP burners of a phase together.
    pub max_rate_per_s: u64,
    /// Of all HTTP burners of a phase together.
    pub max_connections: u32,
    /// A burner may be told to take any certificate.
    pub allow_insecure: bool,
    /// Files in PEM form of certificates that are trusted beside the host's own.
    pub ca_files: Vec<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            methods: vec![AllowedMethod(HttpMethod::Get), AllowedMethod(HttpMethod::Head)],
            max_rate_per_s: 100_000,
            max_connections: 1_024,
            allow_insecure: false,
            ca_files: Vec::new(),
        }
    }
}

/// A URL that stands for itself and what lies below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedUrl(pub HttpUrl);

impl fmt::Display for AllowedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for AllowedUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            |why: String| de::Error::custom(format!("'{text}' {why}; write it as https://host:port/path"));
        let url = HttpUrl::parse(&text).map_err(wrong)?;
        if url.has_query() {
            return Err(wrong("has a query, which no rule looks at".into()));
        }
        Ok(Self(url))
    }
}

/// A method by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedMethod(pub HttpMethod);

impl<'de> Deserialize<'de> for AllowedMethod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use HttpMethod::{Delete, Get, Head, Post, Put};
        let text = String::deserialize(deserializer)?;
        let known = [Get, Head, Post, Put, Delete].into_iter().find(|method| method_name(*method) == text);
        known.map(Self).ok_or_else(|| {
            de::Error::custom(format!("'{text}' is no method; use GET, HEAD, POST, PUT or DELETE"))
        })
    }
}

impl HttpConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bounds = |key, value: String, good: bool, mend| {
            if good { Ok(()) } else { Err(ConfigError::Bounds { key, value, mend }) }
        };
        bounds(
            "http.max_rate_per_s",
            self.max_rate_per_s.to_string(),
            (1..=MAX_RATE_PER_S).contains(&self.max_rate_per_s),
            "use 1 to 100000000 requests a second",
        )?;
        bounds(
            "http.max_connections",
            self.max_connections.to_string(),
            (1..=MAX_CONNECTIONS).contains(&self.max_connections),
            "use 1 to 10000",
        )?;
        bounds(
            "http.ca_files",
            format!("{:?}", self.ca_files),
            self.ca_files.iter().all(|path| path.is_absolute()),
            "use absolute paths",
        )
    }
}
