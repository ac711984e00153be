//! Certificates and the audit log, as JSON.

use schemars::JsonSchema;
use serde::Serialize;

/// What `pki issue` and `pki rotate` print.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Certificate")]
pub(crate) struct CertificateOut {
    /// Its number, in hexadecimal.
    pub(crate) serial: String,
    pub(crate) name: String,
    /// `host` or `client`.
    pub(crate) kind: String,
    /// Of a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    /// Of a host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<String>,
    /// RFC 3339.
    pub(crate) not_after: String,
    /// `in_force`, `ends_soon` (within 7 days), `expired` or `revoked`.
    pub(crate) state: String,
    /// Where it was written to.
    pub(crate) folder: String,
}

/// What `pki init` and `pki list` print.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Certificates")]
pub(crate) struct CertificatesOut {
    /// Of the authority.
    pub(crate) folder: String,
    pub(crate) certificates: Vec<CertificateOut>,
}

/// What `pki revoke` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Revoked")]
pub(crate) struct RevokedOut {
    pub(crate) revoked: Vec<CertificateOut>,
    /// Files beside hosts' certificates that have the new list.
    pub(crate) lists: Vec<String>,
}

/// What `audit verify` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Audit")]
pub(crate) struct AuditOut {
    /// Every line is as it was written, and the hash that was asked for is there.
    pub(crate) sound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lines: Option<u64>,
    /// Number of the first line that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<u64>,
    /// Of the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<u64>,
    /// Hash of the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) head: Option<String>,
    /// `FILE:LINE` of what crashes left half written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) torn: Vec<String>,
    /// `FILE:LINE` of the first line that is not as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broken_at: Option<String>,
    /// Why it is not sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}
