//! Where the agent is commanded over TCP, by whom, and how much of it anybody gets. Without certificates nothing is listened on.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::Deserialize;

use super::{ConfigError, Role};

/// Where `sstsctl pki issue host` puts them, by default.
const FOLDER: &str = "/etc/ssts/tls";

/// Where the agent is commanded over TCP, by whom, and how much of it anybody gets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Addresses with ports. Empty: no TCP.
    pub listen: Vec<SocketAddr>,
    /// PEM: this host's certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// PEM: its key, which nobody else may read.
    pub key: PathBuf,
    /// PEM: authorities whose clients are let in.
    pub clients_ca: PathBuf,
    /// PEM: their lists of revoked certificates.
    pub revoked: PathBuf,
    /// From where clients may come.
    pub allowed_networks: Vec<IpNet>,
    /// Roles of clients by their names; they go over what certificates say.
    pub roles: Vec<ClientRule>,
    /// All clients together, handshakes included.
    pub max_connections: u32,
    /// Of one client, by its name.
    pub max_connections_per_client: u32,
    /// Calls and watches at once on one connection.
    pub max_streams: u32,
    /// Of one client, by its name. Stops and halts are never too many.
    pub max_calls_per_s: u32,
    /// Of one request, in bytes.
    pub max_message_bytes: u32,
}

/// What one client may do, whatever its certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientRule {
    /// By the name in its certificate.
    pub client: String,
    /// What it may do.
    pub role: Role,
}

impl Default for TlsConfig {
    fn default() -> Self {
        let file = |name: &str| Path::new(FOLDER).join(name);
        let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse().ok()).collect();
        Self {
            listen: Vec::new(),
            certificate: file("host.crt"),
            key: file("host.key"),
            clients_ca: file("ca.crt"),
            revoked: file("revoked.crl"),
            allowed_networks: everywhere,
            roles: Vec::new(),
            max_connections: 256,
            max_connections_per_client: 32,
            max_streams: 64,
            max_calls_per_s: 50,
            max_message_bytes: 4 << 20,
        }
    }
}

impl TlsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bounds = |key, value: String, good: bool, mend| {
            if good { Ok(()) } else { Err(ConfigError::Bounds { key, value, mend }) }
        };
        for (key, path) in [
            ("tls.certificate", &self.certificate),
            ("tls.key", &self.key),
            ("tls.clients_ca", &self.clients_ca),
            ("tls.revoked", &self.revoked),
        ] {
            bounds(key, path.display().to_string(), path.is_absolute(), "use an absolute path")?;
        }
        for (key, value, most) in [
            ("tls.max_connections", self.max_connections, 10_000),
            ("tls.max_connections_per_client", self.max_connections_per_client, 10_000),
            ("tls.max_streams", self.max_streams, 1_000),
            ("tls.max_calls_per_s", self.max_calls_per_s, 100_000),
        ] {
            let mend = match most {
                10_000 => "use 1 to 10000",
                1_000 => "use 1 to 1000",
                _ => "use 1 to 100000",
            };
            bounds(key, value.to_string(), (1..=most).contains(&value), mend)?;
        }
        bounds(
            "tls.max_message_bytes",
            self.max_message_bytes.to_string(),
            (1 << 10..=16 << 20).contains(&self.max_message_bytes),
            "use 1024 to 16777216 bytes",
        )?;
        let mut names: Vec<&str> = self.roles.iter().map(|rule| rule.client.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        let bad = names.iter().find(|name| name.is_empty()).or(twice.and_then(|pair| pair.first()));
        match bad {
            None => Ok(()),
            Some(name) => bounds("tls.roles", format!("client '{name}'"), false, "name each client once"),
        }
    }
}
