//! What can go wrong between a burner and the service that it loads.

use std::{io, net::SocketAddr, time::Duration};

use crate::trust::NoTrust;

/// Why a burner can't begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No address took a connection.
    #[error(
        "no service answers for {url}: {reason}; look whether it runs there, and whether a firewall stands between"
    )]
    Connect {
        /// What was asked for.
        url: String,
        /// What the kernel said of each address.
        reason: String,
    },
    /// The first connection was made, a later one was not.
    #[error(
        "{url} took {made} connections of {asked}: {reason}; ask for fewer, or raise the service's limit"
    )]
    Connections {
        /// What was asked for.
        url: String,
        /// Connections that were made.
        made: usize,
        /// Connections that were asked for.
        asked: usize,
        /// What came of the next.
        reason: String,
    },
    /// TLS could not be agreed on.
    #[error("the TLS handshake with {url} at {address} failed: {reason}")]
    Handshake {
        /// What was asked for.
        url: String,
        /// Who was asked.
        address: SocketAddr,
        /// Of TLS.
        reason: String,
    },
    /// HTTP/2 was asked for.
    #[error("{url} does not speak HTTP/2: its TLS did not choose `h2`; use HTTP/1.1 or auto")]
    Version {
        /// What was asked for.
        url: String,
    },
    /// There are no certificates to trust.
    #[error("certificates to trust could not be read: {0}")]
    Roots(#[from] NoTrust),
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// Not one request was answered.
    #[error("{url} answered not one of {sent} requests; the first failed: {reason}")]
    Unanswered {
        /// What was asked for.
        url: String,
        /// Requests that were sent, or would have been.
        sent: u64,
        /// What the first one failed with.
        reason: String,
    },
    /// It answered once, and no longer does.
    #[error(
        "{url} is gone: no request was answered for {silence:.1?}, {failed} failed, the latest: {reason}"
    )]
    Gone {
        /// What was asked for.
        url: String,
        /// Since the first that failed.
        silence: Duration,
        /// Requests since the last answer.
        failed: u64,
        /// What the latest one failed with.
        reason: String,
    },
    /// The kernel refused something on this side.
    #[error("{what}: {source}")]
    Local {
        /// What was tried.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl HttpError {
    /// Whether the service is to blame, after it had taken part.
    pub(in crate::burn) fn is_loss(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    /// Turns the kernel's reason into one of this kind.
    pub(super) fn local(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Local { what, source }
    }
}

/// Why one request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("no connection to {0}")]
    Connect(String),
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    #[error("the answer broke off: {0}")]
    Broken(String),
}
