//! Sockets that the service manager listens on and hands over: sd_listen_fds(3).

use std::{io, os::unix::net::UnixListener};

use listenfd::ListenFd;

/// Why what was handed over can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// It is none of the kind that is offered.
    #[error(
        "the service manager handed over {0}: only listening Unix stream sockets are offered, write \
         ListenStream=/PATH in the socket unit"
    )]
    Kind(io::Error),
}

/// The sockets that were handed over.
#[derive(Debug, Default)]
pub struct Inherited(Vec<UnixListener>);

impl Inherited {
    /// Takes them over. To be called once.
    ///
    /// # Errors
    /// [`InheritError::Kind`].
    pub fn from_environment() -> Result<Self, InheritError> {
        let mut handed = ListenFd::from_env();
        let listeners = (0..handed.len()).filter_map(|index| handed.take_unix_listener(index).transpose());
        let listeners: Vec<UnixListener> =
            listeners.collect::<io::Result<_>>().map_err(InheritError::Kind)?;
        for listener in &listeners {
            listener.set_nonblocking(true).map_err(InheritError::Kind)?;
        }
        Ok(Self(listeners))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sockets.
    pub fn into_listeners(self) -> Vec<UnixListener> {
        self.0
    }
}

impl From<Vec<UnixListener>> for Inherited {
    fn from(listeners: Vec<UnixListener>) -> Self {
        Self(listeners)
    }
}
