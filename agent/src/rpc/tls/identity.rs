//! Who a client is: what its certificate says in its alternative names, and nothing else of it. The authority that signed it
//! stands for that.

use std::{fmt, net::SocketAddr};

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::config::{ClientRule, Role};

/// Before the name of a client, in a URI.
pub(super) const CLIENT: &str = "ssts:client/";
/// Before a role.
const ROLE: &str = "ssts:role/";
/// A name is shown to people, and stands in each line about the client.
const MAX_NAME: usize = 256;

/// A client with a certificate, on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// As its certificate has it.
    pub name: String,
    /// What the configuration says of that name, else its certificate. None: it may do nothing.
    pub role: Option<Role>,
    /// The certificate's number, in hexadecimal.
    pub serial: String,
    /// Where it comes from.
    pub address: SocketAddr,
}

/// `client alice (certificate 5f01) at 10.0.0.7:4711`.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} (certificate {}) at {}", self.name, self.serial, self.address)
    }
}

impl Client {
    /// Of a certificate that was verified. None where it has no name, or one that can't be shown.
    pub(super) fn of(
        certificate: &CertificateDer<'_>,
        rules: &[ClientRule],
        address: SocketAddr,
    ) -> Option<Self> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let uris: Vec<&str> = certificate.valid_uri_names().collect();
        let named = uris.iter().find_map(|uri| uri.strip_prefix(CLIENT));
        // Other authorities have other names: `spiffe://example.org/grafana`.
        let foreign = || uris.iter().find(|uri| !uri.starts_with("ssts:")).copied();
        let name = named.or_else(foreign).or_else(|| certificate.valid_dns_names().next())?;
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(|c| c.is_ascii_graphic()) {
            return None;
        }
        let roles: Vec<&str> = uris.iter().filter_map(|uri| uri.strip_prefix(ROLE)).collect();
        let role = match (rules.iter().find(|rule| rule.client == name), &roles[..]) {
            (Some(rule), _) => Some(rule.role),
            (None, [role]) => Role::named(role),
            // Two of them say nothing.
            (None, _) => None,
        };
        let serial = certificate.serial().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { name: name.to_owned(), role, serial, address })
    }
}
