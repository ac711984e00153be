//! What can go wrong between a burner and its sink.

use std::{io, net::SocketAddr, time::Duration};

use super::protocol::Garbled;

/// Why a burner can't begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Nobody took the connection.
    #[error(
        "no sink answers at {peer}: {source}; give that agent a [network.sink] with this address in its `listen`, and look whether a firewall stands between"
    )]
    Connect {
        /// The control port.
        peer: SocketAddr,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It refused.
    #[error("the sink at {peer} refused: {reason}")]
    Refused {
        /// The control port.
        peer: SocketAddr,
        /// Its words.
        reason: String,
    },
    /// Something else listens there.
    #[error("what answers at {peer} is no sink of this version: {source}")]
    Foreign {
        /// The control port.
        peer: SocketAddr,
        /// What is wrong with the answer.
        source: Garbled,
    },
    /// It ended the session, and said why.
    #[error("the sink at {peer} ended the session: {reason}")]
    Ended {
        /// The control port.
        peer: SocketAddr,
        /// Its words.
        reason: String,
    },
    /// Its end of a connection is gone.
    #[error("the sink at {peer} is gone: {source}")]
    Gone {
        /// The control port.
        peer: SocketAddr,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Nothing comes any more.
    #[error("nothing was heard of the sink at {peer} for {silence:?}: it hangs, or the link is down")]
    Silent {
        /// The control port.
        peer: SocketAddr,
        /// For how long.
        silence: Duration,
    },
    /// The kernel refused something on this side.
    #[error("{what}: {source}")]
    Local {
        /// What was tried.
        what: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl NetworkError {
    /// Whether the other end is to blame, after it had taken part.
    pub(in crate::burn) fn is_loss(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Gone { .. } | Self::Silent { .. })
    }

    /// Turns the kernel's reason into one of this kind.
    pub(super) fn local(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Local { what, source }
    }
}
