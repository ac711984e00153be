//! One worker of a burner, served from its hello to its last counts.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use socket2::{SockRef, TcpKeepalive};

use super::{
    count::{Flow, Tally},
    gate::{Gate, Pass},
    paths::{self, LOOK, readable},
};
use crate::{
    burn::network::{
        Protocol,
        protocol::{
            HELLO_BYTES, Hello, ORDER_BYTES, Order, PROGRESS, SILENCE, STEP, Token, Word, stream_number,
        },
        socket::discard,
        udp::{DEFAULT_BUFFER_BYTES, Sent, UdpReceiver, UdpSender},
    },
    clock,
};

/// Bytes taken off a TCP socket at once.
const READ_BYTES: usize = 4 << 20;
/// A receiver of a steady stream is woken when so much is there, not for each segment; what is less is taken when the
/// timeout ends.
const LOW_WATER_BYTES: i32 = 256 << 10;
/// A burner may take so long from its hello to its start: others of its phase make ready meanwhile.
const LONGEST_READY: Duration = Duration::from_secs(600);
/// How long datagrams may still be under way when the burner has sent its last.
const STRAGGLERS: Duration = Duration::from_millis(100);
/// What a UDP sender may be above what it was granted, over the whole session: bursts, and clocks that differ.
const TOLERANCE: f64 = 1.1;

/// Why a session ended without its last counts.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("it is no burner of this version: {0}")]
    Foreign(#[from] crate::burn::network::protocol::Garbled),
    #[error("refused: {0}")]
    Refused(String),
    #[error("ended: {0}")]
    Told(String),
    #[error("the connection is gone: {0}")]
    Gone(#[from] io::Error),
}

/// Serves whoever connected to the control port.
pub(super) fn serve(control: TcpStream, gate: &Arc<Gate>) -> Result<(), End> {
    control.set_nonblocking(false)?;
    control.set_read_timeout(Some(LOOK))?;
    control.set_write_timeout(Some(STEP))?;
    control.set_nodelay(true)?;
    // The kernel asks for us whether a silent burner, which may be paused for hours, is still there.
    let keepalive =
        TcpKeepalive::new().with_time(SILENCE).with_interval(Duration::from_secs(1)).with_retries(3);
    SockRef::from(&control).set_tcp_keepalive(&keepalive)?;
    SockRef::from(&control).set_tcp_user_timeout(Some(SILENCE))?;
    let mut line = Line { control };
    let mut bytes = [0; HELLO_BYTES];
    line.read_whole(&mut bytes, STEP)?;
    let hello = Hello::decode(&bytes)?;
    let peer = line.control.peer_addr()?.ip();
    let outcome = gate.admit(peer, &hello);
    let pass = outcome.map_err(|reason| {
        let _best_effort = line.say(&Word::Refused(reason.clone()));
        End::Refused(reason)
    })?;
    let mut session = Session { line, hello, pass, peer, token: token()? };
    match session.carry_out() {
        Err(End::Told(reason)) => {
            let _best_effort = session.line.say(&Word::Ended(reason.clone()));
            Err(End::Told(reason))
        }
        outcome => outcome,
    }
}

struct Session {
    line: Line,
    hello: Hello,
    pass: Pass,
    peer: IpAddr,
    token: Token,
}

/// Where data comes in.
enum Data {
    Streams(Vec<TcpStream>),
    Datagrams(Vec<UdpSocket>),
    Connections(TcpListener),
}

impl Session {
    fn carry_out(&mut self) -> Result<(), End> {
        let data = self.invite()?;
        let flow = Flow::new(self.hello.streams);
        thread::scope(|scope| {
            let started = self.start_threads(scope, &flow, &data);
            let outcome = started.map_err(End::Gone).and_then(|()| self.follow(&flow));
            flow.stop.store(true, Ordering::Relaxed);
            outcome
        })
    }

    /// Says where data goes, and waits for it to come.
    fn invite(&mut self) -> Result<Data, End> {
        let Hello { protocol, streams, .. } = self.hello;
        let buffer = Some(self.hello.buffer_bytes).filter(|bytes| *bytes > 0);
        let datagram_buffer = buffer.or(Some(DEFAULT_BUFFER_BYTES));
        let ip = self.line.control.local_addr()?.ip();
        let ports = self.pass.gate.plan.data_ports;
        let no_port = |error: io::Error| End::Told(format!("no port for data is free: {error}"));
        let accepted = |at: SocketAddr| Word::Accepted {
            port: at.port(),
            token: self.token,
            rate_bits_per_s: self.pass.granted_bits_per_s,
        };
        let missing = |_| End::Told(format!("its data connections did not come within {STEP:?}"));
        let data = match protocol {
            Protocol::Udp => {
                let door = paths::door(ip, ports).map_err(no_port)?;
                let word = accepted(door.local_addr()?);
                self.line.say(&word)?;
                let gone = || self.line.is_gone();
                let sockets =
                    paths::datagram_streams(&door, self.peer, &self.token, (streams, datagram_buffer), gone);
                Data::Datagrams(sockets.map_err(missing)?)
            }
            Protocol::Tcp | Protocol::RequestResponse => {
                let listener = paths::listener(ip, ports, buffer).map_err(no_port)?;
                let word = accepted(listener.local_addr()?);
                self.line.say(&word)?;
                let gone = || self.line.is_gone();
                Data::Streams(
                    paths::streams(&listener, self.peer, &self.token, streams, gone).map_err(missing)?,
                )
            }
            Protocol::Connect => {
                let listener = paths::listener(ip, ports, buffer).map_err(no_port)?;
                let word = accepted(listener.local_addr()?);
                self.line.say(&word)?;
                Data::Connections(listener)
            }
        };
        self.line.say(&Word::Ready)?;
        Ok(data)
    }

    fn start_threads<'scope>(
        &self,
        scope: &'scope thread::Scope<'scope, '_>,
        flow: &'scope Flow,
        data: &'scope Data,
    ) -> io::Result<()> {
        let gate = &self.pass.gate;
        let block_bytes = self.hello.block_bytes as usize;
        let share = self.pass.granted_bits_per_s as f64 / f64::from(self.hello.streams);
        let start = |name: &str, body: Box<dyn FnOnce() + Send + 'scope>| {
            let core = gate.next_core();
            let pinned = move || {
                if let Some(id) = core {
                    // Taken off line since: the kernel chooses.
                    let _best_effort =
                        core_affinity::set_for_current(core_affinity::CoreId { id: id as usize });
                }
                body();
            };
            thread::Builder::new().name(name.into()).spawn_scoped(scope, pinned).map(drop)
        };
        match data {
            Data::Connections(listener) => {
                let peer = self.peer;
                start("sink-accept", Box::new(move || accept(listener, peer, flow)))?;
            }
            Data::Streams(streams) => {
                for (stream, tally) in streams.iter().zip(&flow.tallies) {
                    let inward = gate.clone();
                    if self.hello.protocol == Protocol::RequestResponse {
                        start("sink-answer", Box::new(move || answer(stream, &inward, flow, tally)))?;
                        continue;
                    }
                    start("sink-receive", Box::new(move || receive(stream, &inward, flow, tally)))?;
                    if self.hello.both {
                        let outward = gate.clone();
                        start(
                            "sink-send",
                            Box::new(move || send(stream, share, block_bytes, &outward, flow, tally)),
                        )?;
                    }
                }
            }
            Data::Datagrams(sockets) => {
                for (n, (socket, tally)) in (0..).zip(sockets.iter().zip(&flow.tallies)) {
                    let number = stream_number(&self.token, n);
                    start("sink-receive", Box::new(move || receive_datagrams(socket, number, flow, tally)))?;
                    if self.hello.both {
                        let gate = gate.clone();
                        let sender = UdpSender::new(socket, number, block_bytes, Some(share))?;
                        start(
                            "sink-send",
                            Box::new(move || send_datagrams(socket, sender, &gate, flow, tally)),
                        )?;
                    }
                }
            }
        }
        Ok(())
    }

    /// From Ready to Final.
    fn follow(&mut self, flow: &Flow) -> Result<(), End> {
        match self.next_order(flow, Instant::now() + LONGEST_READY)? {
            Some(Order::Start) => {}
            Some(Order::Done(_)) => return Err(End::Told("it was done before it started".into())),
            None => return Err(End::Told(format!("it did not start within {LONGEST_READY:?}"))),
        }
        flow.started.store(true, Ordering::Relaxed);
        let started = Instant::now();
        let longest = self.pass.gate.plan.max_duration;
        loop {
            match self.next_order(flow, Instant::now() + PROGRESS)? {
                Some(Order::Done(sent)) => return self.finish(flow, sent),
                Some(Order::Start) => return Err(End::Told("it started twice".into())),
                None => {}
            }
            let counts = flow.counts(None);
            self.line.say(&Word::Progress(counts))?;
            // A pause of the burner counts here: the sink can't tell it from a burner that does as it likes.
            let elapsed = started.elapsed();
            if elapsed > longest + SILENCE {
                return Err(End::Told(format!("its network.sink.max_duration of {longest:?} is over")));
            }
            self.check_rate(counts.received_bytes, elapsed)?;
        }
    }

    /// A receiver can't slow UDP down; it can refuse to go on.
    fn check_rate(&self, received_bytes: u64, elapsed: Duration) -> Result<(), End> {
        let granted = self.pass.granted_bits_per_s as f64;
        let allowed = granted * TOLERANCE * (elapsed + PROGRESS).as_secs_f64() / 8.0 + 65_536.0;
        if self.hello.protocol == Protocol::Udp && received_bytes as f64 > allowed {
            let rate = received_bytes as f64 * 8.0 / elapsed.as_secs_f64().max(0.001);
            return Err(End::Told(format!("{rate:.0} bit/s arrive, and {granted:.0} bit/s were granted")));
        }
        Ok(())
    }

    fn finish(&mut self, flow: &Flow, sent: u64) -> Result<(), End> {
        let sent = (self.hello.protocol == Protocol::Udp).then_some(sent);
        let end = Instant::now() + STRAGGLERS;
        while sent.is_some_and(|sent| flow.counts(None).received < sent) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        flow.stop.store(true, Ordering::Relaxed);
        // The threads tell their CPU time at their end.
        thread::sleep(LOOK);
        self.line.say(&Word::Final(flow.counts(sent)))?;
        Ok(())
    }

    /// The next order, or nothing when the time is over.
    fn next_order(&mut self, flow: &Flow, end: Instant) -> Result<Option<Order>, End> {
        while Instant::now() < end {
            if self.pass.gate.closed.load(Ordering::Relaxed) {
                return Err(End::Told("its host was halted".into()));
            }
            if readable(&self.line.control, LOOK.min(end.saturating_duration_since(Instant::now()))) {
                let mut bytes = [0; ORDER_BYTES];
                self.line.read_whole(&mut bytes, STEP)?;
                return Ok(Some(Order::decode(&bytes)?));
            }
            if flow.is_over() {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

/// The control connection.
struct Line {
    control: TcpStream,
}

impl Line {
    fn say(&mut self, word: &Word) -> io::Result<()> {
        self.control.write_all(&word.encode())
    }

    /// Fills `bytes`, however few come at once, within a time for all of them.
    fn read_whole(&mut self, bytes: &mut [u8], time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        let mut filled = 0;
        while filled < bytes.len() {
            match self.control.read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if waits(&error) && Instant::now() < end => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the burner has left.
    fn is_gone(&self) -> bool {
        let mut byte = [0];
        readable(&self.control, Duration::ZERO) && matches!(self.control.peek(&mut byte), Ok(0) | Err(_))
    }
}

/// Takes a TCP stream's bytes, no faster than the cap allows.
fn receive(stream: &TcpStream, gate: &Gate, flow: &Flow, tally: &Tally) {
    let _best_effort = set_low_water(stream);
    while !flow.is_over() {
        match discard(stream, READ_BYTES) {
            Ok(0) => return,
            Ok(taken) => {
                tally.received_bytes.fetch_add(taken as u64, Ordering::Relaxed);
                tally.received.fetch_add(1, Ordering::Relaxed);
                sleep(gate.inward.take(taken as u64), flow);
            }
            Err(error) if waits(&error) => {}
            // The control connection tells why, or ends too.
            Err(_) => return,
        }
        tally.receiver_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

/// Fills a TCP stream, no faster than asked and than the cap allows.
fn send(
    stream: &TcpStream,
    rate_bits_per_s: f64,
    block_bytes: usize,
    gate: &Gate,
    flow: &Flow,
    tally: &Tally,
) {
    let data = vec![0xa5; block_bytes.min((rate_bits_per_s / 8.0 / 1_000.0) as usize).max(1)];
    wait_for_start(flow);
    let origin = Instant::now();
    let mut sent = 0;
    while !flow.is_over() {
        match (&*stream).write(&data) {
            Ok(written) => {
                sent += written as u64;
                tally.sent_bytes.store(sent, Ordering::Relaxed);
                let due = Duration::from_secs_f64(sent as f64 * 8.0 / rate_bits_per_s);
                sleep(gate.outward.take(written as u64).max(due.saturating_sub(origin.elapsed())), flow);
            }
            Err(error) if waits(&error) => {}
            Err(_) => return,
        }
        tally.sender_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

/// Gives back what comes.
fn answer(stream: &TcpStream, gate: &Gate, flow: &Flow, tally: &Tally) {
    let mut buffer = vec![0; 64 << 10];
    while !flow.is_over() {
        match (&*stream).read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                tally.received_bytes.fetch_add(read as u64, Ordering::Relaxed);
                let mut given = 0;
                while given < read && !flow.is_over() {
                    match (&*stream).write(&buffer[given..read]) {
                        Ok(written) => given += written,
                        Err(error) if waits(&error) => {}
                        Err(_) => return,
                    }
                }
                tally.sent_bytes.fetch_add(given as u64, Ordering::Relaxed);
                sleep(gate.inward.take(read as u64), flow);
            }
            Err(error) if waits(&error) => {}
            Err(_) => return,
        }
        tally.receiver_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

/// Takes connections, proves each with a byte, and closes it.
fn accept(listener: &TcpListener, peer: IpAddr, flow: &Flow) {
    let Some(tally) = flow.tallies.first() else { return };
    while !flow.is_over() {
        if readable(listener, LOOK) {
            while let Ok((mut stream, from)) = listener.accept() {
                if from.ip() == peer && stream.write_all(&[1]).is_ok() {
                    tally.received.fetch_add(1, Ordering::Relaxed);
                }
                if flow.is_over() {
                    break;
                }
            }
        }
        tally.receiver_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

/// Follows a stream of datagrams.
fn receive_datagrams(socket: &UdpSocket, number: u32, flow: &Flow, tally: &Tally) {
    let Ok(mut receiver) = UdpReceiver::new(socket.as_fd(), number) else { return };
    while !flow.is_over() {
        if readable(socket, LOOK) {
            // An error is an ICMP message that belongs to what was sent; more datagrams may come.
            while receiver.receive(socket).is_ok_and(|messages| messages > 0) {
                tally.follow(&receiver.sequence, receiver.bytes);
                if flow.is_over() {
                    break;
                }
            }
        }
        tally.receiver_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

fn send_datagrams(socket: &UdpSocket, mut sender: UdpSender, gate: &Gate, flow: &Flow, tally: &Tally) {
    wait_for_start(flow);
    sender.start(clock::boottime());
    while !flow.is_over() {
        let now = clock::boottime();
        match sender.send_due(socket, now) {
            Ok(Sent::Datagrams(_)) => {
                let bytes = sender.sent_bytes();
                let gain = bytes - tally.sent_bytes.swap(bytes, Ordering::Relaxed);
                tally.sent.store(sender.sent, Ordering::Relaxed);
                sleep(gate.outward.take(gain), flow);
            }
            Ok(Sent::NextDue(due)) => sleep(due.saturating_sub(now), flow),
            Ok(Sent::Full) => sleep(Duration::from_micros(100), flow),
            Err(_) => sleep(LOOK, flow),
        }
        tally.sender_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

fn wait_for_start(flow: &Flow) {
    while !flow.started.load(Ordering::Relaxed) && !flow.is_over() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sleeps, less when everything ends.
fn sleep(time: Duration, flow: &Flow) {
    let end = Instant::now() + time;
    while !flow.is_over() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(LOOK));
    }
}

/// Nothing came or went within the socket's timeout.
fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// SO_RCVLOWAT: socket(7). Without it every segment wakes the receiver.
fn set_low_water(stream: &TcpStream) -> io::Result<()> {
    crate::burn::network::socket::set_low_water(stream, LOW_WATER_BYTES)
}

/// Not to be guessed: from the kernel's generator.
fn token() -> io::Result<Token> {
    let mut token = Token::default();
    std::fs::File::open("/dev/urandom")?.read_exact(&mut token)?;
    Ok(token)
}
