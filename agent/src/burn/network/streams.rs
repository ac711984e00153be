//! TCP throughput: large writes to as many streams as a worker has, and what comes back thrown away in the kernel.

use std::{
    io::{self, Write as _},
    net::TcpStream,
    os::fd::AsFd as _,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags};

use super::{
    error::NetworkError,
    load::{Count, NetworkLoad, ZeroCopyMethod},
    queue::keep_short,
    session::{LOOK, Session, wait_for},
    socket::{Pages, discard, tcp_health, unacknowledged},
    worker::{Ledger, Traffic, Turn, poll_for},
    zerocopy::ZeroCopy,
};
use crate::{
    burn::{BurnError, allowance::Allowance, random, rise::Rise, worker::Reins},
    clock,
};

/// Bytes taken off a socket at once.
const READ_BYTES: usize = 4 << 20;
/// With a rate, what is due within so long is written at once.
const BURST: Duration = Duration::from_millis(1);
/// What a stalled connection could not send for longer than this is given up.
const MEMORY: Duration = Duration::from_secs(1);
/// How long the kernel may take to tell what became of the first bytes.
const FIRST_NEWS: Duration = Duration::from_millis(100);

/// One worker's streams.
#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    source: Source,
    /// Of one write.
    block_bytes: usize,
    both: bool,
    rate: Option<Rate>,
    /// Writes that the kernel took.
    writes: u64,
    returned_bytes: u64,
    /// The stream that is served first: with a rate there is seldom enough for a second one.
    first: usize,
    /// The next write waits for its time, not for room.
    waits_for_time: bool,
}

#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    written: u64,
    /// With [`Source::Shared`].
    zero_copy: Option<ZeroCopy>,
}

/// What is sent, again and again.
#[derive(Debug)]
enum Source {
    Copied(Vec<u8>),
    File(Pages),
    /// Never given back: the kernel reads it for as long as a peer lacks some of it.
    Shared(&'static [u8]),
}

impl Source {
    fn new(data: Vec<u8>, method: Option<ZeroCopyMethod>) -> io::Result<Self> {
        Ok(match method {
            None => Self::Copied(data),
            Some(ZeroCopyMethod::Sendfile) => Self::File(Pages::new(&data)?),
            Some(ZeroCopyMethod::Msg) => Self::Shared(data.leak()),
        })
    }

    /// Sends its first so many bytes, or as many as fit.
    fn send(&self, bytes: usize, stream: &mut Stream) -> io::Result<usize> {
        match (self, &mut stream.zero_copy) {
            (Self::File(pages), _) => pages.send(&stream.socket, bytes),
            (Self::Shared(data), Some(zero_copy)) => zero_copy.send(&stream.socket, &data[..bytes]),
            (Self::Shared(data), None) => (&stream.socket).write(&data[..bytes]),
            (Self::Copied(data), _) => (&stream.socket).write(&data[..bytes]),
        }
    }
}

/// Bytes a second, all streams together.
#[derive(Debug)]
struct Rate {
    bytes_per_s: f64,
    rise: Option<Rise>,
    /// Of it, over time.
    share: Option<Allowance>,
    origin: Duration,
    forgiven: f64,
}

impl Rate {
    /// Bytes that were due by then.
    fn due_by(&mut self, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.origin);
        let whole_s = self.share.as_mut().map_or(elapsed.as_secs_f64(), |share| share.until(elapsed));
        match self.rise {
            Some(rise) => rise.due_by(self.bytes_per_s, elapsed),
            None => whole_s * self.bytes_per_s,
        }
    }
}

impl Streams {
    pub(super) fn open(
        load: &NetworkLoad,
        streams: u16,
        rate_bits_per_s: Option<f64>,
        (phase, seed): (Duration, u64),
        session: &mut Session,
        reins: &Reins,
    ) -> Result<Self, BurnError> {
        let mut streams = (0..streams)
            .map(|_| Stream::open(load, session, reins))
            .collect::<Result<Vec<_>, BurnError>>()?;
        session.wait_until_ready(reins, || {})?;
        hear_first_news(&mut streams, session, reins)?;
        let block_bytes = load.block_bytes as usize;
        let source = Source::new(random_bytes(block_bytes, seed), load.zerocopy);
        let source = source.map_err(NetworkError::local("no memory file to send from"))?;
        let rate = rate_bits_per_s.map(|rate| Rate {
            bytes_per_s: rate / 8.0,
            rise: load.rise_of(rate / 8.0),
            share: load.rate_share.as_ref().map(|share| Allowance::new(share, phase)),
            origin: Duration::ZERO,
            forgiven: 0.0,
        });
        Ok(Self::over(streams, source, block_bytes, rate, load.both))
    }

    fn over(
        streams: Vec<Stream>,
        source: Source,
        block_bytes: usize,
        rate: Option<Rate>,
        both: bool,
    ) -> Self {
        let (writes, returned_bytes, first, waits_for_time) = (0, 0, 0, false);
        Self { streams, source, block_bytes, both, rate, writes, returned_bytes, first, waits_for_time }
    }

    /// Whether the kernel has copied what was sent without copying.
    pub(super) fn are_copied_all_the_same(&self) -> bool {
        self.zero_copies().any(|zero_copy| zero_copy.copied > 0)
    }

    fn zero_copies(&self) -> impl Iterator<Item = &ZeroCopy> {
        self.streams.iter().filter_map(|stream| stream.zero_copy.as_ref())
    }

    fn written(&self) -> u64 {
        self.streams.iter().map(|stream| stream.written).sum()
    }

    /// Bytes that may be written now, and when the next may be.
    fn open_now(&mut self, now: Duration) -> (usize, Option<Duration>) {
        let written = self.written() as f64;
        let whole = self.block_bytes;
        let Some(rate) = &mut self.rate else { return (whole, None) };
        let owed = rate.due_by(now) - rate.forgiven - written;
        rate.forgiven += (owed - rate.bytes_per_s * MEMORY.as_secs_f64()).max(0.0);
        let chunk = (rate.bytes_per_s * BURST.as_secs_f64()).clamp(1.0, whole as f64);
        if owed >= chunk {
            return (owed.min(whole as f64) as usize, None);
        }
        (0, Some(now + Duration::from_secs_f64((chunk - owed) / rate.bytes_per_s)))
    }

    /// Writes and reads what goes.
    fn move_on(&mut self, now: Duration) -> io::Result<Turn> {
        let mut moved = false;
        let mut due = None;
        let (first, count) = (self.first, self.streams.len());
        for index in (0..count).map(|n| (first + n) % count) {
            let (open, next_due) = self.open_now(now);
            self.waits_for_time = open == 0;
            due = next_due;
            let stream = &mut self.streams[index];
            if let Some(zero_copy) = &mut stream.zero_copy {
                zero_copy.take_finished(&stream.socket)?;
            }
            if open > 0 {
                let sent = unless_full(self.source.send(open, stream))?;
                stream.written += sent as u64;
                self.writes += u64::from(sent > 0);
                self.first = (index + 1) % count;
                // A short write has filled the socket: to try again at once would only tell so.
                moved |= sent == open;
            }
            if self.both {
                let taken = match discard(&stream.socket, READ_BYTES) {
                    Ok(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
                    taken => unless_full(taken)?,
                };
                self.returned_bytes += taken as u64;
                moved |= taken > 0;
            }
        }
        Ok(if moved { Turn::Busy } else { Turn::Idle(due) })
    }
}

impl Traffic for Streams {
    fn start(&mut self, now: Duration) {
        if let Some(rate) = &mut self.rate {
            rate.origin = now;
        }
    }

    fn resumed(&mut self, paused: Duration) {
        if let Some(rate) = &mut self.rate {
            rate.origin += paused;
        }
    }

    fn turn(&mut self, now: Duration, _reins: &Reins) -> io::Result<Turn> {
        self.move_on(now)
    }

    fn waits_for<'a>(&'a self, polled: &mut Vec<PollFd<'a>>) {
        polled.extend(self.streams.iter().map(|stream| {
            // Where too much is in flight the error queue is waited for: that is always polled.
            let is_full = stream.zero_copy.as_ref().is_some_and(ZeroCopy::is_full);
            poll_for(stream.socket.as_fd(), self.both, !self.waits_for_time && !is_full)
        }));
    }

    fn publish(&mut self, ledger: &Ledger<'_>) {
        // What the peer has acknowledged: what lies in buffers on this side has not been carried.
        let left: u64 = self.streams.iter().map(|stream| unacknowledged(&stream.socket)).sum();
        let slot = ledger.reins.slot();
        let carried = self.written().saturating_sub(left);
        slot.bytes.store(carried + self.returned_bytes, std::sync::atomic::Ordering::Relaxed);
        slot.operations.store(self.writes, std::sync::atomic::Ordering::Relaxed);
        if let Some(rate) = &mut self.rate {
            let (until, _) = ledger.ages();
            ledger.tell_behind((rate.due_by(until) - carried as f64) / rate.bytes_per_s);
        }
        let health: Vec<_> = self.streams.iter().map(|stream| tcp_health(&stream.socket)).collect();
        ledger.tell(Count::Retransmits, health.iter().map(|health| health.retransmits).sum());
        ledger.tell(Count::RoundTrip, health.iter().map(|health| health.rtt_ns).max().unwrap_or(0));
        ledger.tell(Count::ReturnedBytes, self.returned_bytes);
        ledger.tell(Count::ZeroCopySends, self.zero_copies().map(|zero_copy| zero_copy.finished).sum());
        ledger.tell(Count::ZeroCopyCopied, self.zero_copies().map(|zero_copy| zero_copy.copied).sum());
    }
}

impl Stream {
    fn open(load: &NetworkLoad, session: &Session, reins: &Reins) -> Result<Self, BurnError> {
        if load.zerocopy != Some(ZeroCopyMethod::Msg) {
            let socket = session.data_connection(load, reins)?;
            keep_short(&socket);
            return Ok(Self { socket, written: 0, zero_copy: None });
        }
        let socket = session.silent_connection(load, reins)?;
        keep_short(&socket);
        let mut zero_copy = ZeroCopy::of(&socket).map_err(NetworkError::local("no MSG_ZEROCOPY here"))?;
        // The token goes that way too: what becomes of it tells whether the path copies.
        let token: &'static [u8] = session.token.to_vec().leak();
        let sent = zero_copy.send(&socket, token);
        sent.map_err(|source| NetworkError::Gone { peer: session.peer, source })?;
        Ok(Self { socket, written: 0, zero_copy: Some(zero_copy) })
    }
}

/// Waits until the kernel has told of each stream's token whether it was copied, not longer than [`FIRST_NEWS`].
fn hear_first_news(streams: &mut [Stream], session: &Session, reins: &Reins) -> Result<(), BurnError> {
    let end = clock::boottime() + FIRST_NEWS;
    for stream in streams {
        let Some(zero_copy) = &mut stream.zero_copy else { continue };
        loop {
            let taken = zero_copy.take_finished(&stream.socket);
            taken.map_err(|source| NetworkError::Gone { peer: session.peer, source })?;
            if zero_copy.finished > 0 || clock::boottime() >= end {
                break;
            }
            if !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            wait_for(stream.socket.as_fd(), PollFlags::empty(), LOOK);
        }
    }
    Ok(())
}

/// Bytes that no compressing device makes smaller.
fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut data = vec![0; len];
    for part in data.chunks_mut(8) {
        part.copy_from_slice(&random::split_mix(&mut state).to_le_bytes()[..part.len()]);
    }
    data
}

/// That nothing could be moved now is no error.
pub(super) fn unless_full(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_rate_is_shared_out_among_all_streams() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut taken = Vec::new();
        let stream = |taken: &mut Vec<TcpStream>| {
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            socket.set_nonblocking(true).unwrap();
            taken.push(listener.accept().unwrap().0);
            Stream { socket, written: 0, zero_copy: None }
        };
        let open = (0..4).map(|_| stream(&mut taken)).collect();
        let rate = Rate { bytes_per_s: 1e6, rise: None, share: None, origin: Duration::ZERO, forgiven: 0.0 };
        let mut streams = Streams::over(open, Source::Copied(vec![0; 100_000]), 100_000, Some(rate), false);
        for ms in 0..41 {
            streams.move_on(Duration::from_millis(ms)).unwrap();
        }
        let written: Vec<_> = streams.streams.iter().map(|stream| stream.written).collect();
        assert_eq!(streams.written(), 40_000);
        assert!(written.iter().all(|bytes| (8_000..=12_000).contains(bytes)), "{written:?}");
    }
}
