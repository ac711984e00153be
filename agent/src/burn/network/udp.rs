//! Both ends of a UDP stream: datagrams with a number and a time each, sent in paced bursts, followed where they arrive.

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};

use super::{
    protocol::DatagramHead,
    sequence::Sequence,
    socket::{BatchReceiver, BatchSender},
};
use crate::{burn::rise::Rise, clock};

/// The longest super-packet: an IP packet's 65,535 bytes less its headers (IPv6's and UDP's).
const LONGEST_SUPER_BYTES: usize = 65_535 - 48;
/// Datagrams that the kernel takes as one: UDP_MAX_SEGMENTS, 64 until Linux 6.9, 128 since.
const MOST_SEGMENTS: usize = 64;
/// Super-packets that go to the kernel at once when no rate bounds them.
const BATCH: usize = 8;
/// With a rate, what is due within so long goes out as one burst: a compromise between evenness and calls.
const BURST: Duration = Duration::from_micros(200);
/// Before a datagram is tried again for which the kernel had no buffers: no socket becomes ready by its having some.
const NO_BUFFERS_REST: Duration = Duration::from_millis(1);

/// Of a datagram socket, unless configured: a receiver that waits for its core for some milliseconds must not lose what
/// comes meanwhile. The kernel's own 208 KiB hold three super-packets. More than net.core.rmem_max is not given.
pub(crate) const DEFAULT_BUFFER_BYTES: u32 = 4 << 20;

/// Sends one stream.
#[derive(Debug)]
pub(crate) struct UdpSender {
    stream: u32,
    packet_bytes: usize,
    segments: usize,
    /// Datagrams a second.
    rate_per_s: Option<f64>,
    rise: Option<Rise>,
    origin: Duration,
    /// Datagrams whose time has come before, or is given up: by it the next due time is told.
    due: u64,
    batch: BatchSender,
    /// Handed to the kernel.
    pub(crate) sent: u64,
    /// How often it had no buffers for the next one.
    pub(crate) no_buffers: u64,
    /// After that it is tried again from here on, however often it is asked for, CLOCK_BOOTTIME.
    not_before: Duration,
}

impl UdpSender {
    /// Begins at `now`, CLOCK_BOOTTIME. `socket` must be connected. `rate_bits_per_s` counts payload.
    ///
    /// # Errors
    /// The kernel's: `UDP_SEGMENT` needs Linux 4.18.
    pub(crate) fn new(
        socket: &UdpSocket,
        stream: u32,
        packet_bytes: usize,
        rate_bits_per_s: Option<f64>,
    ) -> io::Result<Self> {
        let rate_per_s = rate_bits_per_s.map(|rate| rate / 8.0 / packet_bytes as f64);
        let most = (LONGEST_SUPER_BYTES / packet_bytes).clamp(1, MOST_SEGMENTS);
        let in_burst = rate_per_s.map_or(f64::MAX, |rate| (rate * BURST.as_secs_f64()).max(1.0));
        let segments = most.min(in_burst as usize);
        if segments > 1 {
            setsockopt(socket, sockopt::UdpGsoSegment, &(packet_bytes as i32))?;
        }
        let messages = (in_burst / segments as f64).clamp(1.0, BATCH as f64) as usize;
        Ok(Self {
            stream,
            packet_bytes,
            segments,
            rate_per_s,
            rise: None,
            origin: Duration::ZERO,
            due: 0,
            batch: BatchSender::new(messages, segments * packet_bytes),
            sent: 0,
            no_buffers: 0,
            not_before: Duration::ZERO,
        })
    }

    /// Payload that was handed to the kernel.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent * self.packet_bytes as u64
    }

    /// What of its rate it has not sent by then, in seconds of the rate; nothing without one.
    pub(super) fn behind_s(&self, now: Duration) -> Option<f64> {
        let rate = self.rate_per_s?;
        Some((self.should(rate, now) - self.sent as f64) / rate)
    }

    /// Datagrams that are due by then at a rate.
    fn should(&self, rate_per_s: f64, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.origin);
        match self.rise {
            Some(rise) => rise.due_by(rate_per_s, elapsed),
            None => elapsed.as_secs_f64() * rate_per_s,
        }
    }

    /// The clock starts.
    pub(crate) fn start(&mut self, now: Duration) {
        self.origin = now;
    }

    /// Time stood still for so long.
    pub(crate) fn resumed(&mut self, paused: Duration) {
        self.origin += paused;
    }

    /// Has its rate come from another one, in payload bits a second.
    #[must_use]
    pub(crate) fn rising(self, rise: Option<Rise>) -> Self {
        let in_datagrams = |rise: Rise| Rise { from: rise.from / 8.0 / self.packet_bytes as f64, ..rise };
        Self { rise: rise.map(in_datagrams), ..self }
    }

    /// Sends one burst if it is due. Gives when the next is, or nothing where only room in the socket is waited for.
    ///
    /// # Errors
    /// The kernel's; that the socket is full is none.
    pub(crate) fn send_due(&mut self, socket: &impl AsFd, now: Duration) -> io::Result<Sent> {
        if now < self.not_before {
            return Ok(Sent::NextDue(self.not_before));
        }
        let whole = self.segments * self.batch.room();
        let datagrams = match self.rate_per_s {
            None => whole,
            Some(rate) => {
                let should = self.should(rate, now) as u64 + 1;
                let burst = whole.min((rate * BURST.as_secs_f64()).max(1.0) as usize) as u64;
                // What could not be sent for longer than it takes to notice is not made up for in one gush.
                let backlog = (rate * 0.1) as u64 + burst;
                self.due = self.due.max(should.saturating_sub(backlog));
                let open = should.saturating_sub(self.due);
                if open < burst {
                    return Ok(Sent::NextDue(self.due_at(self.due + burst - 1)));
                }
                open.min(whole as u64) as usize
            }
        };
        let lengths = self.fill(datagrams);
        match self.batch.send(socket, &lengths) {
            Ok(messages) => {
                let bytes: usize = lengths.iter().take(messages).sum();
                let datagrams = (bytes / self.packet_bytes) as u64;
                self.sent += datagrams;
                self.due += datagrams;
                Ok(Sent::Datagrams(datagrams))
            }
            Err(error) if full(&error) => Ok(Sent::Full),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.no_buffers += 1;
                self.not_before = now + NO_BUFFERS_REST;
                Ok(Sent::NextDue(self.not_before))
            }
            // Datagrams above the path's MTU: UDP_SEGMENT makes no fragments.
            Err(error) if self.segments > 1 && is_too_long(&error) => {
                setsockopt(socket, sockopt::UdpGsoSegment, &0)?;
                self.segments = 1;
                self.batch = BatchSender::new(MOST_SEGMENTS, self.packet_bytes);
                Ok(Sent::Datagrams(0))
            }
            Err(error) => Err(error),
        }
    }

    fn due_at(&self, n: u64) -> Duration {
        let after = |rate: f64| match self.rise {
            Some(rise) => rise.due_at(rate, n as f64),
            None => Duration::from_secs_f64(n as f64 / rate),
        };
        self.rate_per_s.map_or(self.origin, |rate| self.origin + after(rate))
    }

    /// Heads of the next datagrams; gives the lengths of the messages that hold them.
    fn fill(&mut self, datagrams: usize) -> Vec<usize> {
        let sent_ns = clock::ns(clock::realtime());
        let mut sequence = self.sent;
        let mut left = datagrams;
        let mut lengths = Vec::with_capacity(self.batch.room());
        while left > 0 {
            let here = left.min(self.segments);
            let message = self.batch.message(lengths.len());
            for datagram in message.chunks_exact_mut(self.packet_bytes).take(here) {
                DatagramHead { stream: self.stream, sequence, sent_ns }.write(datagram);
                sequence += 1;
            }
            lengths.push(here * self.packet_bytes);
            left -= here;
        }
        lengths
    }
}

/// What a call of [`UdpSender::send_due`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// So many went.
    Datagrams(u64),
    /// None is due before this instant, CLOCK_BOOTTIME.
    NextDue(Duration),
    /// The socket has no room.
    Full,
}

/// The socket's queue has no room, or a signal came.
fn full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR))
}

fn is_too_long(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE))
}

/// Receives one stream.
#[derive(Debug)]
pub(crate) struct UdpReceiver {
    stream: u32,
    batch: BatchReceiver,
    pub(crate) sequence: Sequence,
    /// Payload, duplicates included.
    pub(crate) bytes: u64,
    /// All that came, whatever it was.
    pub(crate) all_bytes: u64,
}

impl UdpReceiver {
    /// Of datagrams that bear this number.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new(socket: BorrowedFd<'_>, stream: u32) -> io::Result<Self> {
        // Without it (before Linux 5.0) datagrams come one by one, nothing more.
        let _best_effort = setsockopt(&socket, sockopt::UdpGroSegment, &true);
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self {
            stream,
            batch: BatchReceiver::new(32),
            sequence: Sequence::default(),
            bytes: 0,
            all_bytes: 0,
        })
    }

    /// Takes what is there; gives how many messages that were.
    ///
    /// # Errors
    /// The kernel's. `ConnectionRefused` tells that the other end has closed.
    pub(crate) fn receive(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        let Self { stream, batch, sequence, bytes, all_bytes } = self;
        batch.receive(socket, |message| {
            *all_bytes += message.bytes.len() as u64;
            let mut timed = false;
            for datagram in message.bytes.chunks(message.segment_bytes) {
                let Some(head) = DatagramHead::read(datagram).filter(|head| head.stream == *stream) else {
                    continue;
                };
                sequence.arrived(head.sequence);
                *bytes += datagram.len() as u64;
                // Those of a burst were sent at one instant and come at one: only the first tells something.
                if !std::mem::replace(&mut timed, true)
                    && let Some(arrived_ns) = message.arrived_ns
                {
                    sequence.timed(arrived_ns, head.sent_ns);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (sender, receiver)
    }

    #[test]
    fn what_is_sent_is_followed() {
        let (sending, receiving) = pair();
        let mut sender = UdpSender::new(&sending, 7, 1_448, None).unwrap();
        let mut receiver = UdpReceiver::new(receiving.as_fd(), 7).unwrap();
        sender.start(clock::boottime());
        assert!(
            matches!(sender.send_due(&sending, clock::boottime()), Ok(Sent::Datagrams(sent)) if sent >= 45)
        );
        // Of another session: not counted.
        sending.send(&[0; 1_000]).unwrap();
        while receiver.receive(&receiving).unwrap() > 0 {}
        let Sequence { received, .. } = receiver.sequence;
        assert_eq!(received + receiver.sequence.lost(Some(sender.sent)), sender.sent);
        assert_eq!(receiver.bytes, received * 1_448);
        assert!(received > 0);
    }

    #[test]
    fn a_rate_is_kept_without_gushes_after_a_stall() {
        let (sending, _receiving) = pair();
        // 8,000 datagrams of 125 bytes a second.
        let mut sender = UdpSender::new(&sending, 7, 125, Some(8e6)).unwrap();
        let start = clock::boottime();
        sender.start(start);
        // On a clock of its own: this machine may have stalls enough.
        let mut now = start;
        while now < start + Duration::from_millis(100) {
            match sender.send_due(&sending, now).unwrap() {
                Sent::NextDue(due) => {
                    assert!(due > now);
                    now = due;
                }
                Sent::Full => now += Duration::from_micros(10),
                Sent::Datagrams(_) => {}
            }
        }
        assert!((780..=860).contains(&sender.sent), "{}", sender.sent);
        // A stall of 10 s is not made up for: at most the last 100 ms are.
        let before = sender.sent;
        let late = start + Duration::from_secs(10);
        while !matches!(sender.send_due(&sending, late).unwrap(), Sent::NextDue(_)) {}
        assert!(sender.sent - before <= 810, "{}", sender.sent - before);
    }
}
