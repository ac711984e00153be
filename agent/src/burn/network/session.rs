//! A worker's side of the control connection. No call blocks for longer than [`LOOK`]; between those the command is obeyed.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{
    error::NetworkError,
    load::{NetworkLoad, Protocol},
    protocol::{Counts, Hello, Order, SILENCE, STEP, Token, WORD_BYTES, Word},
    udp::DEFAULT_BUFFER_BYTES,
};
use crate::{
    burn::{BurnError, worker::Reins},
    clock,
};

/// The longest wait between two looks at the command.
pub(super) const LOOK: Duration = Duration::from_millis(5);
/// How long the last counts may take to come, at the end.
const GOODBYE: Duration = Duration::from_millis(600);
/// A sink that was heard so shortly before may be alive, with its last word stuck behind data in a slow link's queue.
const LATELY: Duration = Duration::from_secs(1);
/// Words taken in at once, so that a sink that floods does not keep a worker from its commands.
const MOST_WORDS: usize = 64;

/// An accepted session.
#[derive(Debug)]
pub(super) struct Session {
    /// The sink's control port.
    pub(super) peer: SocketAddr,
    control: TcpStream,
    unread: Vec<u8>,
    /// When it was last heard, CLOCK_BOOTTIME.
    heard: Duration,
    ready: bool,
    /// Where data goes.
    pub(super) data: SocketAddr,
    pub(super) token: Token,
    /// What this worker may send at most; none for as much as goes.
    pub(super) granted_bits_per_s: Option<u64>,
    /// What the sink counted, as of its last word.
    pub(super) counts: Counts,
}

impl Session {
    /// Asks the sink for `streams` of the burner's.
    pub(super) fn open(
        load: &NetworkLoad,
        streams: u16,
        phase: Duration,
        reins: &Reins,
    ) -> Result<Self, BurnError> {
        let peer = load.peer;
        let control = connect(peer, reins, |_| Ok(()))?;
        let mut session = Self {
            peer,
            control,
            unread: Vec::with_capacity(WORD_BYTES),
            heard: clock::boottime(),
            ready: false,
            data: peer,
            token: Token::default(),
            granted_bits_per_s: None,
            counts: Counts::default(),
        };
        let _best_effort = session.control.set_nodelay(true);
        let bits = match load.protocol {
            Protocol::Tcp | Protocol::Udp => load.rate,
            Protocol::RequestResponse => {
                load.rate.map(|rate| rate.saturating_mul(8 * u64::from(load.block_bytes)))
            }
            Protocol::Connect => None,
        };
        let hello = Hello {
            protocol: load.protocol,
            both: load.both,
            streams,
            all_streams: load.streams,
            block_bytes: load.block_bytes,
            buffer_bytes: load.buffer_bytes.unwrap_or(0),
            rate_bits_per_s: bits.unwrap_or(0),
            duration_ms: u64::try_from(phase.as_millis()).unwrap_or(u64::MAX),
        };
        session.tell(&hello.encode())?;
        match session.wait_for_word(reins)? {
            Word::Accepted { port, token, rate_bits_per_s } => {
                session.data = SocketAddr::new(peer.ip(), port);
                session.token = token;
                session.granted_bits_per_s = Some(rate_bits_per_s).filter(|rate| *rate > 0);
                Ok(session)
            }
            Word::Refused(reason) => Err(NetworkError::Refused { peer, reason }.into()),
            word => Err(session.unexpected(word).into()),
        }
    }

    /// A data connection, with its token said.
    pub(super) fn data_connection(&self, load: &NetworkLoad, reins: &Reins) -> Result<TcpStream, BurnError> {
        let stream = self.silent_connection(load, reins)?;
        (&stream).write_all(&self.token).map_err(|source| NetworkError::Gone { peer: self.peer, source })?;
        Ok(stream)
    }

    /// A data connection that has yet to say its token.
    pub(super) fn silent_connection(
        &self,
        load: &NetworkLoad,
        reins: &Reins,
    ) -> Result<TcpStream, BurnError> {
        let stream = connect(self.data, reins, |socket| {
            set_buffers(socket, load.buffer_bytes).map_err(NetworkError::local("socket buffers"))?;
            if let Some(name) = &load.congestion {
                let what = format!("congestion control '{name}'");
                socket.set_tcp_congestion(name.as_bytes()).map_err(NetworkError::local(what))?;
            }
            Ok(())
        })?;
        let _best_effort = stream.set_nodelay(load.protocol == Protocol::RequestResponse);
        Ok(stream)
    }

    /// A UDP socket whose address the sink learns by the token that it sends, again and again until the sink is ready.
    pub(super) fn data_socket(&self, load: &NetworkLoad) -> Result<UdpSocket, BurnError> {
        let any: SocketAddr = match self.data {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0; 16], 0).into(),
        };
        let local = |what: &'static str| NetworkError::local(what);
        let socket = UdpSocket::bind(any).map_err(local("no UDP socket"))?;
        let buffer = load.buffer_bytes.or(Some(DEFAULT_BUFFER_BYTES));
        set_buffers(&SockRef::from(&socket), buffer).map_err(local("socket buffers"))?;
        socket.set_nonblocking(true).map_err(local("no UDP socket"))?;
        socket.connect(self.data).map_err(|source| NetworkError::Connect { peer: self.data, source })?;
        Ok(socket)
    }

    /// Waits until the sink has all data connections; calls `knock` meanwhile, every 20 ms.
    pub(super) fn wait_until_ready(
        &mut self,
        reins: &Reins,
        mut knock: impl FnMut(),
    ) -> Result<(), BurnError> {
        let end = clock::boottime() + STEP;
        let mut next_knock = Duration::ZERO;
        while !self.ready {
            let now = clock::boottime();
            if now >= next_knock {
                knock();
                next_knock = now + Duration::from_millis(20);
            }
            if !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            if now >= end {
                return Err(NetworkError::Silent { peer: self.peer, silence: STEP }.into());
            }
            wait_for(self.control.as_fd(), PollFlags::POLLIN, LOOK);
            self.listen()?;
        }
        Ok(())
    }

    /// Says an order.
    pub(super) fn order(&mut self, order: Order) -> Result<(), NetworkError> {
        self.tell(&order.encode())
    }

    /// The sink speaks from now on; it was silent until the start, as it should be.
    pub(super) fn begin_to_listen(&mut self) {
        self.heard = clock::boottime();
    }

    /// Time stood still for so long.
    pub(super) fn resumed(&mut self, paused: Duration) {
        self.heard += paused;
    }

    /// Takes in what the sink said, without waiting.
    pub(super) fn listen(&mut self) -> Result<(), NetworkError> {
        for _ in 0..MOST_WORDS {
            let Some(word) = self.next_word()? else { break };
            match word {
                Word::Ready => {
                    self.ready = true;
                    return Ok(());
                }
                Word::Progress(counts) => self.counts = counts,
                word => return Err(self.unexpected(word)),
            }
        }
        let silence = clock::boottime().saturating_sub(self.heard);
        if self.ready && silence >= SILENCE {
            return Err(NetworkError::Silent { peer: self.peer, silence: SILENCE });
        }
        Ok(())
    }

    /// Why a data connection failed: the sink's own words where it said some, else the kernel's.
    pub(super) fn reason_for(&mut self, source: io::Error) -> NetworkError {
        wait_for(self.control.as_fd(), PollFlags::POLLIN, LOOK * 4);
        match self.listen() {
            Err(told) => told,
            Ok(()) => NetworkError::Gone { peer: self.peer, source },
        }
    }

    /// Says that no more data comes, and takes the sink's last counts; calls `meanwhile` every few milliseconds.
    pub(super) fn finish(
        &mut self,
        datagrams: u64,
        reins: &Reins,
        mut meanwhile: impl FnMut(),
    ) -> Result<Counts, NetworkError> {
        self.tell(&Order::Done(datagrams).encode())?;
        let end = clock::boottime() + GOODBYE;
        while clock::boottime() < end && reins.go_on() {
            wait_for(self.control.as_fd(), PollFlags::POLLIN, LOOK);
            meanwhile();
            match self.next_word()? {
                Some(Word::Final(counts)) => return Ok(counts),
                Some(Word::Progress(counts)) => self.counts = counts,
                Some(word) => return Err(self.unexpected(word)),
                None => {}
            }
        }
        let silence = clock::boottime().saturating_sub(self.heard);
        if reins.go_on() && silence >= LATELY {
            return Err(NetworkError::Silent { peer: self.peer, silence });
        }
        // Stopped, or the word is stuck: what was told last stands, and what did not come by then did not come.
        let lost = self.counts.lost.max(datagrams.saturating_sub(self.counts.received));
        Ok(Counts { lost, ..self.counts })
    }

    /// Tells of pauses from another thread.
    pub(super) fn herald(&self) -> Result<Herald, NetworkError> {
        let control = self.control.try_clone();
        Ok(Herald(control.map_err(NetworkError::local("no further descriptor"))?))
    }

    /// For `poll`.
    pub(super) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    fn wait_for_word(&mut self, reins: &Reins) -> Result<Word, BurnError> {
        let end = clock::boottime() + STEP;
        loop {
            if let Some(word) = self.next_word()? {
                return Ok(word);
            }
            if !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            if clock::boottime() >= end {
                return Err(NetworkError::Silent { peer: self.peer, silence: STEP }.into());
            }
            wait_for(self.control.as_fd(), PollFlags::POLLIN, LOOK);
        }
    }

    fn next_word(&mut self) -> Result<Option<Word>, NetworkError> {
        let mut chunk = [0; WORD_BYTES];
        while self.unread.len() < WORD_BYTES {
            match self.control.read(&mut chunk[self.unread.len()..]) {
                Ok(0) => {
                    let source = io::Error::new(io::ErrorKind::ConnectionAborted, "it closed the connection");
                    return Err(NetworkError::Gone { peer: self.peer, source });
                }
                Ok(read) => {
                    let from = self.unread.len();
                    self.unread.extend_from_slice(&chunk[from..from + read]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(NetworkError::Gone { peer: self.peer, source }),
            }
        }
        let mut bytes = [0; WORD_BYTES];
        bytes.copy_from_slice(&self.unread);
        self.unread.clear();
        self.heard = clock::boottime();
        let word =
            Word::decode(&bytes).map_err(|source| NetworkError::Foreign { peer: self.peer, source })?;
        Ok(Some(word))
    }

    /// Messages are small: the socket has room unless the sink has long been silent.
    fn tell(&mut self, message: &[u8]) -> Result<(), NetworkError> {
        self.control.write_all(message).map_err(|source| NetworkError::Gone { peer: self.peer, source })
    }

    fn unexpected(&self, word: Word) -> NetworkError {
        match word {
            Word::Ended(reason) | Word::Refused(reason) => NetworkError::Ended { peer: self.peer, reason },
            Word::Accepted { .. } | Word::Ready | Word::Progress(_) | Word::Final(_) => {
                NetworkError::Ended { peer: self.peer, reason: "it answered out of turn".into() }
            }
        }
    }
}

/// See [`Session::herald`].
#[derive(Debug)]
pub(super) struct Herald(TcpStream);

impl Herald {
    /// Begins or ends a pause.
    pub(super) fn tell(&mut self, paused: bool) -> io::Result<()> {
        self.0.write_all(&if paused { Order::Pause } else { Order::Resume }.encode())
    }
}

/// Connects without blocking for longer than [`LOOK`]; the socket stays non-blocking. `prepare` sets options that count from
/// the handshake on.
fn connect(
    peer: SocketAddr,
    reins: &Reins,
    prepare: impl FnOnce(&Socket) -> Result<(), NetworkError>,
) -> Result<TcpStream, BurnError> {
    let failed = |source| NetworkError::Connect { peer, source };
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM.nonblocking(), None).map_err(failed)?;
    prepare(&socket)?;
    match socket.connect(&SockAddr::from(peer)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(source) => return Err(failed(source).into()),
    }
    let end = clock::boottime() + STEP;
    while !wait_for(socket.as_fd(), PollFlags::POLLOUT, LOOK) {
        if !reins.go_on() {
            return Err(BurnError::Interrupted);
        }
        if clock::boottime() >= end {
            let source = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {STEP:?}"));
            return Err(failed(source).into());
        }
    }
    match socket.take_error() {
        Ok(None) => Ok(socket.into()),
        Ok(Some(source)) | Err(source) => Err(failed(source).into()),
    }
}

/// Sets both buffers where a size is asked. The kernel doubles it, and caps it at net.core.{w,r}mem_max: socket(7).
pub(crate) fn set_buffers(socket: &Socket, bytes: Option<u32>) -> io::Result<()> {
    if let Some(bytes) = bytes {
        socket.set_send_buffer_size(bytes as usize)?;
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    Ok(())
}

/// Whether it came to that, or to an error, within the time.
pub(super) fn wait_for(fd: BorrowedFd<'_>, flags: PollFlags, timeout: Duration) -> bool {
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
    poll(&mut [PollFd::new(fd, flags)], timeout).is_ok_and(|ready| ready > 0)
}
