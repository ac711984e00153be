//! The data connections of a session: made by the burner, taken only from its address and with the session's token.

use std::{
    io::{self, Read as _},
    mem,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::traffic::waits;
use crate::burn::network::{
    protocol::{KNOCK_BYTES, STEP, Token, knocked},
    set_buffers,
};

/// Ports that are tried before "whichever is free" is taken for used up.
const TRIES: u16 = 1_024;
/// How long all of a session's connections may take; each of them may take [`STEP`].
const MOST_TIME: Duration = Duration::from_secs(60);
/// How long a connection may take to say its token: it is said at once, and a lost segment is sent again within that.
const TOKEN_TIME: Duration = Duration::from_secs(1);
/// Connections that have yet to say their token.
const MOST_NEWCOMERS: usize = 64;
/// A stream's thread looks so often whether everything ends.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// A listening socket on the first free port of the range.
pub(super) fn listener(
    ip: IpAddr,
    ports: Option<(u16, u16)>,
    buffer: Option<u32>,
) -> io::Result<TcpListener> {
    let socket = first_free(ports, |port| {
        let socket =
            Socket::new(Domain::for_address(SocketAddr::new(ip, 0)), Type::STREAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        // Inherited by what it accepts: the window is offered in the handshake.
        set_buffers(&socket, buffer)?;
        socket.bind(&SockAddr::from(SocketAddr::new(ip, port)))?;
        socket.listen(1_024)?;
        Ok(socket)
    })?;
    Ok(socket.into())
}

/// A datagram socket on the first port of the range that no other session has; its own streams may join it there.
pub(super) fn door(ip: IpAddr, ports: Option<(u16, u16)>) -> io::Result<UdpSocket> {
    let door = first_free(ports, |port| UdpSocket::bind((ip, port)))?;
    door.set_nonblocking(true)?;
    // Not before the port is taken: two doors on one port would take each other's knocks.
    SockRef::from(&door).set_reuse_port(true)?;
    Ok(door)
}

fn datagram_socket(at: SocketAddr, buffer: Option<u32>) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM.nonblocking(), None)?;
    socket.set_reuse_port(true)?;
    set_buffers(&socket, buffer)?;
    socket.bind(&SockAddr::from(at))?;
    Ok(socket.into())
}

fn first_free<T>(ports: Option<(u16, u16)>, make: impl Fn(u16) -> io::Result<T>) -> io::Result<T> {
    let Some((first, last)) = ports else { return make(0) };
    let mut outcome = Err(io::ErrorKind::AddrInUse.into());
    for port in (first..=last).take(TRIES.into()) {
        outcome = make(port);
        match &outcome {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            _ => break,
        }
    }
    outcome
}

/// The session's TCP streams, or why they did not all come. `gone` tells that the burner has left.
pub(super) fn streams(
    listener: &TcpListener,
    peer: IpAddr,
    token: &Token,
    count: u16,
    gone: impl Fn() -> bool,
) -> io::Result<Vec<TcpStream>> {
    let last_end = Instant::now() + MOST_TIME;
    let mut end = Instant::now() + STEP;
    let mut streams = Vec::new();
    let mut newcomers = Vec::new();
    while streams.len() < usize::from(count) {
        if Instant::now() >= end.min(last_end) || gone() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if newcomers.len() == MOST_NEWCOMERS {
            // Who comes in earnest says its token at once.
            newcomers.remove(0);
        }
        wait_for_any(listener, &newcomers);
        take_in(listener, peer, &mut newcomers)?;
        for newcomer in mem::take(&mut newcomers) {
            match newcomer.listen(token) {
                Heard::All(stream) if streams.len() < usize::from(count) => {
                    stream.set_nonblocking(false)?;
                    stream.set_read_timeout(Some(LOOK))?;
                    stream.set_write_timeout(Some(LOOK))?;
                    stream.set_nodelay(true)?;
                    streams.push(stream);
                    // Over a long path many streams take their time.
                    end = Instant::now() + STEP;
                }
                Heard::Part(newcomer) => newcomers.push(newcomer),
                Heard::All(_) | Heard::Nonsense => {}
            }
        }
    }
    Ok(streams)
}

/// A connection that has yet to say its token.
struct Newcomer {
    stream: TcpStream,
    said: Vec<u8>,
    end: Instant,
}

/// What a newcomer said.
enum Heard {
    All(TcpStream),
    Part(Newcomer),
    /// Or nothing for too long.
    Nonsense,
}

impl Newcomer {
    /// Without waiting.
    fn listen(mut self, token: &Token) -> Heard {
        let mut bytes = Token::default();
        let missing = token.len() - self.said.len();
        match self.stream.read(&mut bytes[..missing]) {
            Ok(read @ 1..) => self.said.extend_from_slice(&bytes[..read]),
            Err(error) if waits(&error) => {}
            Ok(_) | Err(_) => return Heard::Nonsense,
        }
        if self.said == *token {
            Heard::All(self.stream)
        } else if token.starts_with(&self.said) && Instant::now() < self.end {
            Heard::Part(self)
        } else {
            Heard::Nonsense
        }
    }
}

fn wait_for_any(listener: &TcpListener, newcomers: &[Newcomer]) {
    let sockets =
        [listener.as_fd()].into_iter().chain(newcomers.iter().map(|newcomer| newcomer.stream.as_fd()));
    let mut polled: Vec<_> = sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
    // Whatever it comes to, whoever called looks.
    let _ready = poll(&mut polled, PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO));
}

/// Takes connections of the peer's as long as there is room.
fn take_in(listener: &TcpListener, peer: IpAddr, newcomers: &mut Vec<Newcomer>) -> io::Result<()> {
    while newcomers.len() < MOST_NEWCOMERS {
        match listener.accept() {
            Ok((stream, from)) if from.ip() == peer => {
                stream.set_nonblocking(true)?;
                newcomers.push(Newcomer { stream, said: Vec::new(), end: Instant::now() + TOKEN_TIME });
            }
            Ok(_) => {}
            Err(error) if waits(&error) => break,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The session's UDP streams: a connected socket for each, on the door's port. The kernel prefers those to the door.
pub(super) fn datagram_streams(
    door: &UdpSocket,
    peer: IpAddr,
    token: &Token,
    (count, buffer): (u16, Option<u32>),
    gone: impl Fn() -> bool,
) -> io::Result<Vec<UdpSocket>> {
    let end = Instant::now() + STEP;
    let mut streams: Vec<Option<UdpSocket>> = (0..count).map(|_| None).collect();
    while streams.iter().any(Option::is_none) {
        if Instant::now() >= end || gone() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if !readable(door, LOOK) {
            continue;
        }
        let mut said = [0; KNOCK_BYTES + 1];
        let Ok((len, from)) = door.recv_from(&mut said) else { continue };
        let number = knocked(&said[..len], token).filter(|_| from.ip() == peer);
        if let Some(stream) = number.and_then(|number| streams.get_mut(usize::from(number)))
            && stream.is_none()
        {
            let socket = datagram_socket(door.local_addr()?, buffer)?;
            socket.connect(from)?;
            *stream = Some(socket);
        }
    }
    Ok(streams.into_iter().flatten().collect())
}

/// Whether something is there to be read within the time.
pub(super) fn readable(socket: &impl AsFd, timeout: Duration) -> bool {
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
    poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_session_has_a_port_of_its_own_which_its_streams_share() {
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        let first = door(ip, None).unwrap();
        let port = first.local_addr().unwrap().port();
        let range = Some((port, port.saturating_add(20)));
        let second = door(ip, range).unwrap();
        assert_ne!(second.local_addr().unwrap().port(), port);
        let stream = datagram_socket(first.local_addr().unwrap(), None).unwrap();
        drop(first);
        assert_ne!(door(ip, range).unwrap().local_addr().unwrap().port(), port, "its stream is there");
        drop(stream);
        assert_eq!(door(ip, range).unwrap().local_addr().unwrap().port(), port);
    }
}
