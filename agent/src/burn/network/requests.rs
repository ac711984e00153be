//! Requests over TCP, each answered with as many bytes, at an open-loop rate: a request is due when it is due, whether or not
//! the ones before it were answered, and its latency counts from then. So a stall shows in every request that it delayed.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    net::TcpStream,
    os::fd::AsFd as _,
    time::Duration,
};

use nix::poll::PollFd;

use super::{
    load::{Count, NetworkLoad},
    session::Session,
    socket::{discard, tcp_health},
    streams::unless_full,
    worker::{Ledger, Traffic, Turn, poll_for},
};
use crate::{
    burn::{BurnError, control, worker::Reins},
    clock,
};

/// What a burner without a rate asks, requests a second.
pub const DEFAULT_RATE_PER_S: u64 = 1_000;
/// Unanswered requests of a worker; more wait on this side, and their latency counts meanwhile.
const MOST_OUTSTANDING: usize = 65_536;
const READ_BYTES: usize = 1 << 20;
/// Requests taken up before the sockets are looked at again.
const MOST_AT_ONCE: usize = 4_096;

/// So long before a request is due, and after the last was sent, the worker stays awake: what it takes to wake up would count
/// as the path's time. As long as a wake-up takes on an idle core of a virtual machine.
const ALERT: Duration = Duration::from_micros(100);

/// One worker's requests.
#[derive(Debug)]
pub(super) struct Requests {
    streams: Vec<Stream>,
    data: Vec<u8>,
    size: usize,
    rate_per_s: f64,
    origin: Duration,
    asked: u64,
    /// When the last was taken up.
    last: Duration,
}

#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    /// Bytes of requests that the socket has not taken yet.
    to_write: usize,
    /// When each unanswered request was due.
    outstanding: VecDeque<Duration>,
    /// Bytes of an answer that has begun.
    begun: usize,
}

impl Requests {
    pub(super) fn open(
        load: &NetworkLoad,
        streams: u16,
        rate_per_s: Option<f64>,
        session: &mut Session,
        reins: &Reins,
    ) -> Result<Self, BurnError> {
        let share = f64::from(streams) / f64::from(load.streams.max(1));
        let streams = (0..streams)
            .map(|_| {
                let socket = session.data_connection(load, reins)?;
                Ok(Stream { socket, to_write: 0, outstanding: VecDeque::new(), begun: 0 })
            })
            .collect::<Result<Vec<_>, BurnError>>()?;
        session.wait_until_ready(reins, || {})?;
        let size = load.block_bytes as usize;
        Ok(Self {
            streams,
            data: vec![0x5a; size.max(64 << 10)],
            size,
            rate_per_s: rate_per_s.unwrap_or(DEFAULT_RATE_PER_S as f64 * share),
            origin: Duration::ZERO,
            asked: 0,
            last: Duration::ZERO,
        })
    }

    fn due_at(&self, n: u64) -> Duration {
        self.origin + Duration::from_secs_f64(n as f64 / self.rate_per_s)
    }

    fn is_anything_outstanding(&self) -> bool {
        self.streams.iter().any(|stream| !stream.outstanding.is_empty())
    }

    /// Writes and reads what goes; whether anything went.
    fn exchange(&mut self, reins: &Reins) -> io::Result<bool> {
        let mut moved = false;
        let Self { streams, data, size, .. } = self;
        for stream in streams {
            if stream.to_write > 0 {
                let sent = unless_full((&stream.socket).write(&data[..stream.to_write.min(data.len())]))?;
                stream.to_write -= sent;
            }
            if stream.outstanding.is_empty() {
                continue;
            }
            let taken = match discard(&stream.socket, READ_BYTES) {
                Ok(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
                taken => unless_full(taken)?,
            };
            moved |= taken > 0;
            stream.begun += taken;
            let now = clock::boottime();
            while stream.begun >= *size {
                stream.begun -= *size;
                let Some(due) = stream.outstanding.pop_front() else { break };
                reins.count_latency(0, clock::ns(now.saturating_sub(due)));
                control::add(&reins.slot().operations, 1);
                control::add(&reins.slot().bytes, 2 * *size as u64);
            }
        }
        Ok(moved)
    }
}

impl Traffic for Requests {
    fn start(&mut self, now: Duration) {
        self.origin = now;
    }

    fn resumed(&mut self, paused: Duration) {
        self.origin += paused;
        self.streams
            .iter_mut()
            .flat_map(|stream| stream.outstanding.iter_mut())
            .for_each(|due| *due += paused);
    }

    fn turn(&mut self, now: Duration, reins: &Reins) -> io::Result<Turn> {
        let outstanding: usize = self.streams.iter().map(|stream| stream.outstanding.len()).sum();
        let room = MOST_OUTSTANDING.saturating_sub(outstanding).min(MOST_AT_ONCE);
        let mut taken_up = 0;
        let next_due = loop {
            let due = self.due_at(self.asked);
            if due > now || taken_up == room {
                break due;
            }
            taken_up += 1;
            let stream = (self.asked % self.streams.len() as u64) as usize;
            self.asked += 1;
            self.streams[stream].outstanding.push_back(due);
            self.streams[stream].to_write += self.size;
        };
        if taken_up > 0 {
            self.last = now;
        }
        if self.exchange(reins)? || taken_up == MOST_AT_ONCE {
            return Ok(Turn::Busy);
        }
        let is_due_soon = next_due > now && next_due <= now + ALERT;
        let is_answered_soon = now < self.last + ALERT && self.is_anything_outstanding();
        if is_due_soon || is_answered_soon {
            // No yield: beside others on this core that would cost whole time slices.
            return Ok(Turn::Busy);
        }
        Ok(Turn::Idle(next_due.checked_sub(ALERT).filter(|alert| *alert > now)))
    }

    fn drain(&mut self, reins: &Reins) -> io::Result<bool> {
        self.exchange(reins)?;
        Ok(self.is_anything_outstanding())
    }

    /// The slowest requests are those still under way: without them the histogram would flatter the path. Each counts with
    /// the time that it has taken so far.
    fn end(&mut self, ledger: &Ledger<'_>) {
        let (_, now) = ledger.ages();
        let mut unanswered = 0;
        for due in self.streams.iter_mut().flat_map(|stream| stream.outstanding.drain(..)) {
            ledger.reins.count_latency(0, clock::ns(now.saturating_sub(due)));
            unanswered += 1;
        }
        unanswered += ledger.count_never_begun(self.origin, self.asked, self.rate_per_s);
        ledger.tell(Count::Unanswered, unanswered);
        ledger.tell_behind(unanswered as f64 / self.rate_per_s);
    }

    fn waits_for<'a>(&'a self, polled: &mut Vec<PollFd<'a>>) {
        polled.extend(self.streams.iter().map(|stream| {
            poll_for(stream.socket.as_fd(), !stream.outstanding.is_empty(), stream.to_write > 0)
        }));
    }

    fn publish(&mut self, ledger: &Ledger<'_>) {
        let health: Vec<_> = self.streams.iter().map(|stream| tcp_health(&stream.socket)).collect();
        ledger.tell(Count::Retransmits, health.iter().map(|health| health.retransmits).sum());
        ledger.tell(Count::RoundTrip, health.iter().map(|health| health.rtt_ns).max().unwrap_or(0));
        ledger.tell(Count::Sent, self.asked);
    }
}
