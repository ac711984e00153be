//! States told to the service manager: sd_notify(3). One datagram each, to a socket that is opened once.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::Arc,
};

use tracing::warn;

/// Where the service manager listens, if it does. Clones share the socket.
#[derive(Debug, Clone, Default)]
pub struct Notify(Option<Arc<UnixDatagram>>);

impl Notify {
    /// The one that `NOTIFY_SOCKET` names. A wrong name is told in the log: the service manager will end a unit that it
    /// doesn't hear from.
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match connect(name.as_bytes()) {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                warn!(?name, %error, "the service manager can't be told anything: NOTIFY_SOCKET is no socket");
                Self::default()
            }
        }
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Everything that was promised to callers is there.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// What the daemon does, for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// It was told to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=ending its runs");
    }

    /// It lives. Allocates nothing and never waits: a sign that can't be sent at once is not worth waiting for.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, state: &str) {
        let Some(socket) = &self.0 else { return };
        // Without a listener, or with a full queue, there is nobody to tell that to either.
        let _best_effort = socket.send(state.as_bytes());
    }
}

/// A path, or a name without a file, which begins with `@`: unix(7).
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        Some((b'/', _)) => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it begins with neither / nor @")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// A state ends at the end of its line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
impl Notify {
    /// To a socket of a test.
    pub(super) fn to(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect_addr(address).unwrap();
        Self(Some(Arc::new(socket)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reaches_a_socket_with_a_path_and_one_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("ssts-notify-test-{}", std::process::id());
        let listening = [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
                format!("@{name}"),
            ),
        ];
        for (listener, name) in listening {
            let notify = Notify(Some(Arc::new(connect(name.as_bytes()).unwrap())));
            notify.ready("two\nlines");
            let mut buffer = [0; 64];
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1\nSTATUS=two lines");
        }
    }

    #[test]
    fn a_full_queue_and_a_listener_that_went_hold_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(&listener.local_addr().unwrap());
        for _ in 0..10_000 {
            notify.alive();
        }
        drop(listener);
        notify.alive();
    }

    #[test]
    fn a_name_that_is_none_is_an_error() {
        for name in ["", "relative", "/no/such/socket"] {
            assert!(connect(name.as_bytes()).is_err(), "{name}");
        }
    }
}
