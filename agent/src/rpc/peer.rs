//! Who is at the other end of a Unix socket, as the kernel noted it when they connected: unix(7).

#![expect(unsafe_code, reason = "no crate wraps SO_PEERGROUPS")]

use std::{
    fmt, io,
    os::fd::AsRawFd as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};
use tonic::transport::server::Connected;

/// More than this a process can hardly have: NGROUPS_MAX of the kernel.
const MAX_GROUPS: usize = 65_536;

/// A user, as a process of theirs connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The effective user.
    pub uid: u32,
    /// Effective and supplementary groups.
    pub groups: Vec<u32>,
    /// The process, where it can be seen from here.
    pub pid: Option<i32>,
}

/// A connection, with who made it.
#[derive(Debug)]
pub struct Accepted {
    stream: UnixStream,
    peer: Option<Arc<Peer>>,
}

/// `uid 1000 (pid 77)`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "uid {} (pid {pid})", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

impl From<UnixStream> for Accepted {
    fn from(stream: UnixStream) -> Self {
        let peer = stream.peer_cred().ok().map(|credentials| {
            let mut groups = peer_groups(&stream).unwrap_or_default();
            groups.push(credentials.gid());
            Arc::new(Peer { uid: credentials.uid(), groups, pid: credentials.pid() })
        });
        Self { stream, peer }
    }
}

impl Connected for Accepted {
    type ConnectInfo = Option<Arc<Peer>>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.peer.clone()
    }
}

/// Minimum kernel version: 4.13.
fn peer_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; 32];
    loop {
        let mut length = libc::socklen_t::try_from(size_of_val(groups.as_slice())).unwrap_or_default();
        // SAFETY: `groups` has room for `length` bytes, and the kernel writes no more; a group is 32 bits wide.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            groups.truncate(length as usize / size_of::<u32>());
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // It says how much it would need.
        let needed = length as usize / size_of::<u32>();
        if error.raw_os_error() != Some(libc::ERANGE) || needed <= groups.len() || needed > MAX_GROUPS {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_process_is_known_with_all_its_groups() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Accepted::from(ours).connect_info().unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peer.pid, Some(std::process::id().cast_signed()));
        for group in nix::unistd::getgroups().unwrap() {
            assert!(peer.groups.contains(&group.as_raw()), "{peer:?}");
        }
        assert!(peer.groups.contains(&nix::unistd::getegid().as_raw()));
    }
}
