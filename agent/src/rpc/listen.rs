//! Where the service listens: Unix sockets, open to root and a group.

use std::{
    fmt, fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use nix::{
    sys::stat::{Mode, umask},
    unistd::{Group, chown},
};
use tokio::net::UnixListener;
use tracing::{info, warn};

use crate::systemd::Inherited;

/// Members may command the agent.
const GROUP: &str = "ssts";
/// Read and write for the user and the group.
const SOCKET_MODE: u32 = 0o660;

/// Why the service can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not a Unix socket.
    #[error(
        "'{0}': write unix:/PATH; what is listened on over TCP stands in section [tls] of the configuration, with its certificates"
    )]
    NotUnix(String),
    /// The path is none.
    #[error("'{0}': a socket needs an absolute path, write unix:/PATH")]
    Relative(String),
    /// Somebody answers there.
    #[error("another process listens on {}; stop it, or choose another socket with --listen", .0.display())]
    Live(PathBuf),
    /// Something else has that name.
    #[error("{} is there and no socket; choose another name with --listen", .0.display())]
    NoSocket(PathBuf),
    /// What was handed over can't be used.
    #[error("{}, handed over by the service manager: {source}", path.display())]
    Inherited {
        /// The socket.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("{}: {source}", path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(PathBuf);

impl Address {
    /// The default of this process's user.
    pub fn default_of_user() -> Self {
        let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !nix::unistd::geteuid().is_root());
        Self(own.map_or_else(|| "/run".into(), PathBuf::from).join("ssts/sstsd.sock"))
    }
}

impl Address {
    /// The folder of its socket.
    pub fn folder(&self) -> Option<&Path> {
        self.0.parent()
    }
}

impl FromStr for Address {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let path = text.strip_prefix("unix:").ok_or_else(|| ListenError::NotUnix(text.into()))?;
        if Path::new(path).is_absolute() {
            Ok(Self(path.into()))
        } else {
            Err(ListenError::Relative(text.into()))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.0.display())
    }
}

/// A socket that is listened on. Its name goes when it is dropped, unless the service manager made it.
#[derive(Debug)]
pub struct Listener {
    /// The name that goes.
    own: Option<PathBuf>,
    listener: Option<UnixListener>,
}

impl Listener {
    /// Listens on `addresses`. Those that the service manager listens on already are taken over from it, and so are others
    /// that it hands over: it was configured to.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn all(addresses: &[Address], inherited: Inherited) -> Result<Vec<Self>, ListenError> {
        let mut listeners = Vec::new();
        let mut taken_over = Vec::new();
        for listener in inherited.into_listeners() {
            let path = listener.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()));
            info!(socket = ?path, "listening on what the service manager handed over");
            let failed = |source| ListenError::Inherited { path: path.clone().unwrap_or_default(), source };
            let listener = UnixListener::from_std(listener).map_err(failed)?;
            listeners.push(Self { own: None, listener: Some(listener) });
            taken_over.extend(path);
        }
        for address in addresses.iter().filter(|address| !taken_over.contains(&address.0)) {
            listeners.push(Self::bind(address)?);
        }
        Ok(listeners)
    }

    /// Listens. What a dead daemon left is replaced; a live one is an error. To be called while no other thread makes files:
    /// the umask is the process's.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(address: &Address) -> Result<Self, ListenError> {
        let path = address.0.clone();
        let refused = |source| ListenError::Refused { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(refused)?;
        }
        match UnixStream::connect(&path) {
            Ok(_) => return Err(ListenError::Live(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // connect(2) refuses anything that is no socket in the same way.
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && !fs::symlink_metadata(&path).is_ok_and(|file| file.file_type().is_socket()) =>
            {
                return Err(ListenError::NoSocket(path));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                warn!(socket = %path.display(), "replacing the socket of a daemon that is gone");
                fs::remove_file(&path).map_err(refused)?;
            }
            Err(error) => return Err(refused(error)),
        }
        // Never open to more than the user, not even for a moment.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(&path);
        umask(before);
        let listener = bound.map_err(refused)?;
        match Group::from_name(GROUP) {
            Ok(Some(group)) => {
                if let Err(errno) = chown(&path, None, Some(group.gid)) {
                    warn!(%errno, "the socket could not be given to group {GROUP}");
                }
            }
            _ => info!("there is no group {GROUP}: only this user and root can use the socket"),
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(refused)?;
        info!(socket = %path.display(), "listening");
        Ok(Self { own: Some(path), listener: Some(listener) })
    }

    /// The socket itself, once.
    pub fn take(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.own {
            let _gone_already = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_unix_sockets_are_taken() {
        assert_eq!("unix:/run/x.sock".parse::<Address>().unwrap().to_string(), "unix:/run/x.sock");
        for bad in ["127.0.0.1:50051", "[::1]:1", "unix:x.sock", "/run/x.sock", "unix:", ""] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_handed_over_is_used_and_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (handed, own) = (dir.path().join("handed.sock"), dir.path().join("own.sock"));
        let listener = std::os::unix::net::UnixListener::bind(&handed).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addresses = [&handed, &own].map(|path| format!("unix:{}", path.display()).parse().unwrap());
        let listeners = Listener::all(&addresses, Inherited::from(vec![listener])).unwrap();
        assert_eq!(listeners.len(), 2);
        assert!(own.exists());
        drop(listeners);
        assert!(handed.exists() && !own.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let address: Address = format!("unix:{}", path.display()).parse().unwrap();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::bind(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(Listener::bind(&address), Err(ListenError::Live(_))));
        drop(listener);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&address), Err(ListenError::NoSocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
