//! One worker of a burner, served from its hello to its last counts.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use socket2::{SockRef, TcpKeepalive};

use super::{
    count::{Ends, Flow},
    gate::{Gate, Pass},
    line::Line,
    paths::{self, LOOK, readable},
    traffic::{accept, answer, receive, receive_datagrams, send, send_datagrams},
};
use crate::burn::network::{
    Protocol,
    protocol::{HELLO_BYTES, Hello, KNOCK_BYTES, Order, PROGRESS, SILENCE, STEP, Token, Word, stream_number},
    udp::{DEFAULT_BUFFER_BYTES, UdpSender},
};

/// A burner may take so long from its hello to its start: others of its phase make ready meanwhile.
const LONGEST_READY: Duration = Duration::from_secs(600);
/// How long datagrams may still be under way when the burner has sent its last.
const STRAGGLERS: Duration = Duration::from_millis(100);
/// What a UDP sender may be above what it was granted: bursts, and clocks that differ.
const TOLERANCE: f64 = 1.1;
/// The latest part of a session, in which a UDP sender is judged for itself: quiet time is not saved up.
const WINDOW: Duration = Duration::from_secs(1);
/// What may come at once beyond that: what a stalled sender makes up for, and a receiver that waited for its core.
const SLACK: Duration = Duration::from_millis(300);
/// Of each stream before the start: its knocks, which go on until the burner hears that all are there.
const KNOCKS: u64 = 256 * KNOCK_BYTES as u64;

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

fn no_port(error: &io::Error) -> End {
    if error.kind() == io::ErrorKind::AddrInUse {
        return End::Told("no port of its network.sink.data_ports is free".into());
    }
    End::Told(format!("it has no socket for data: {error}"))
}

fn missing(error: &io::Error) -> End {
    if error.kind() == io::ErrorKind::TimedOut {
        return End::Told(format!("its data connections did not come within {STEP:?}"));
    }
    End::Told(format!("its data connections could not be taken: {error}"))
}

/// Serves whoever connected to the control port.
pub(super) fn serve(control: TcpStream, gate: &Arc<Gate>) -> Result<(), End> {
    control.set_nonblocking(false)?;
    control.set_read_timeout(Some(LOOK))?;
    // Words are small: one that finds no room for so long has hundreds before it that nobody read.
    control.set_write_timeout(Some(PROGRESS))?;
    control.set_nodelay(true)?;
    // The kernel asks for us whether a silent burner, which may be paused for hours, is still there.
    let keepalive =
        TcpKeepalive::new().with_time(SILENCE).with_interval(Duration::from_secs(1)).with_retries(3);
    SockRef::from(&control).set_tcp_keepalive(&keepalive)?;
    SockRef::from(&control).set_tcp_user_timeout(Some(SILENCE))?;
    let mut line = Line::new(control);
    let mut bytes = [0; HELLO_BYTES];
    line.read_whole(&mut bytes, STEP)?;
    let hello = Hello::decode(&bytes)?;
    let peer = line.control.peer_addr()?.ip();
    let admitted = gate.admit(peer, &hello).and_then(|pass| {
        let token = token().map_err(|error| format!("it can't draw a token: {error}"))?;
        Ok((pass, token))
    });
    let (pass, token) = admitted.map_err(|reason| {
        let _best_effort = line.say(&Word::Refused(reason.clone()));
        End::Refused(reason)
    })?;
    let mut session = Session { line, hello, pass, peer, token };
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
            let _ends = Ends { flow: &flow, only_panics: false };
            let started = self.start_threads(scope, &flow, &data);
            started.map_err(End::Gone).and_then(|()| self.follow(&flow))
        })
    }

    /// Says where data goes, and waits for it to come.
    fn invite(&mut self) -> Result<Data, End> {
        let Hello { protocol, streams, .. } = self.hello;
        let buffer = Some(self.hello.buffer_bytes).filter(|bytes| *bytes > 0);
        let datagram_buffer = buffer.or(Some(DEFAULT_BUFFER_BYTES));
        let ip = self.line.control.local_addr()?.ip();
        let ports = self.pass.gate.plan.data_ports;
        let accepted = |at: SocketAddr| Word::Accepted {
            port: at.port(),
            token: self.token,
            rate_bits_per_s: self.pass.granted_bits_per_s,
        };
        let data = match protocol {
            Protocol::Udp => {
                let door = paths::door(ip, ports).map_err(|error| no_port(&error))?;
                let word = accepted(door.local_addr()?);
                self.line.say(&word)?;
                let gone = || self.line.is_gone();
                let sockets =
                    paths::datagram_streams(&door, self.peer, &self.token, (streams, datagram_buffer), gone);
                Data::Datagrams(sockets.map_err(|error| missing(&error))?)
            }
            Protocol::Tcp | Protocol::RequestResponse => {
                let listener = paths::listener(ip, ports, buffer).map_err(|error| no_port(&error))?;
                let word = accepted(listener.local_addr()?);
                self.line.say(&word)?;
                let gone = || self.line.is_gone();
                Data::Streams(
                    paths::streams(&listener, self.peer, &self.token, streams, gone)
                        .map_err(|error| missing(&error))?,
                )
            }
            Protocol::Connect => {
                let listener = paths::listener(ip, ports, buffer).map_err(|error| no_port(&error))?;
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
                let _ends = Ends { flow, only_panics: true };
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
        self.wait_for_start(flow)?;
        flow.started.store(true, Ordering::Relaxed);
        let started = Instant::now();
        let longest = self.pass.gate.plan.max_duration;
        let mut recent = VecDeque::from([(started, flow.all_bytes())]);
        let mut paused = false;
        let mut next_word = started + PROGRESS;
        loop {
            match self.next_order(flow, next_word)? {
                Some(Order::Done(sent)) => return self.finish(flow, sent),
                Some(Order::Start) => return Err(End::Told("it started twice".into())),
                Some(order @ (Order::Pause | Order::Resume)) => {
                    paused = order == Order::Pause;
                    flow.paused.store(paused, Ordering::Relaxed);
                    continue;
                }
                None => next_word = Instant::now() + PROGRESS,
            }
            if !paused {
                // A paused burner reads nothing: words would fill its socket, and then end the connection.
                self.line.say(&Word::Progress(flow.counts(None)))?;
            }
            // A pause of the burner counts here: the sink can't tell it from a burner that does as it likes.
            let elapsed = started.elapsed();
            if elapsed > longest + SILENCE {
                return Err(End::Told(format!("its network.sink.max_duration of {longest:?} is over")));
            }
            let bytes = flow.all_bytes();
            self.check_rate(bytes, elapsed)?;
            recent.push_back((Instant::now(), bytes));
            while recent.len() > 1 && recent[0].0.elapsed() > WINDOW {
                recent.pop_front();
            }
            let (since, before) = recent[0];
            self.check_rate(bytes - before, since.elapsed())?;
        }
    }

    /// Nothing but knocks may come meanwhile: it would pass by every cap.
    fn wait_for_start(&mut self, flow: &Flow) -> Result<(), End> {
        let end = Instant::now() + LONGEST_READY;
        while Instant::now() < end {
            match self.next_order(flow, Instant::now() + PROGRESS)? {
                Some(Order::Start) => return Ok(()),
                Some(_) => return Err(End::Told("it gave another order before it started".into())),
                None if flow.all_bytes() > KNOCKS * u64::from(self.hello.streams) => {
                    return Err(End::Told("it sends datagrams and has not started".into()));
                }
                None => {}
            }
        }
        Err(End::Told(format!("it did not start within {LONGEST_READY:?}")))
    }

    /// A receiver can't slow UDP down; it can refuse to go on. `bytes` of `elapsed`.
    fn check_rate(&self, bytes: u64, elapsed: Duration) -> Result<(), End> {
        let granted = self.pass.granted_bits_per_s as f64;
        let allowed = granted * TOLERANCE * (elapsed + SLACK).as_secs_f64() / 8.0 + 65_536.0;
        if self.hello.protocol == Protocol::Udp && bytes as f64 > allowed {
            let rate = bytes as f64 * 8.0 / elapsed.as_secs_f64().max(0.001);
            return Err(End::Told(format!("{rate:.0} bit/s arrive, and {granted:.0} bit/s were granted")));
        }
        Ok(())
    }

    fn finish(&mut self, flow: &Flow, sent: u64) -> Result<(), End> {
        // Nothing of ours shall be under way when the last counts are told.
        flow.paused.store(true, Ordering::Relaxed);
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
            let patience = LOOK.min(end.saturating_duration_since(Instant::now()));
            if readable(&self.line.control, patience)
                && let Some(order) = self.line.take_order()?
            {
                return Ok(Some(order));
            }
            if self.line.is_stuck() {
                return Err(End::Told(format!("half an order came, and not the rest within {STEP:?}")));
            }
            if flow.is_over() {
                return Err(End::Told("a bug in the sink ended it: its log has more".into()));
            }
        }
        Ok(None)
    }
}

/// Not to be guessed: from the kernel's generator.
fn token() -> io::Result<Token> {
    let mut token = Token::default();
    std::fs::File::open("/dev/urandom")?.read_exact(&mut token)?;
    Ok(token)
}
