//! UDP: a worker's streams of datagrams, and those that come back.

use std::{io, net::UdpSocket, os::fd::AsFd as _, sync::atomic::Ordering, time::Duration};

use nix::poll::PollFd;

use super::{
    error::NetworkError,
    load::{Count, NetworkLoad},
    protocol::{Counts, KNOCK_BYTES, knock, stream_number},
    session::Session,
    udp::{Sent, UdpReceiver, UdpSender},
    worker::{Ledger, Traffic, Turn, poll_for},
};
use crate::burn::{BurnError, worker::Reins};

/// Batches that are taken of a stream before its worker does something else.
const MOST_BATCHES: usize = 64;

/// One worker's streams.
#[derive(Debug)]
pub(super) struct Datagrams {
    streams: Vec<Stream>,
    packet_bytes: u64,
    /// Datagrams that the sink sent, once it has told.
    sink_sent: u64,
}

#[derive(Debug)]
struct Stream {
    socket: UdpSocket,
    sender: UdpSender,
    returned: Option<UdpReceiver>,
    is_full: bool,
}

impl Datagrams {
    pub(super) fn open(
        load: &NetworkLoad,
        streams: u16,
        rate_bits_per_s: Option<f64>,
        session: &mut Session,
        reins: &Reins,
    ) -> Result<Self, BurnError> {
        let sockets =
            (0..streams).map(|_| session.data_socket(load)).collect::<Result<Vec<_>, BurnError>>()?;
        let knocks: Vec<[u8; KNOCK_BYTES]> = (0..streams).map(|n| knock(&session.token, n)).collect();
        session.wait_until_ready(reins, || {
            for (socket, knock) in sockets.iter().zip(&knocks) {
                // Lost ones are sent again.
                let _best_effort = socket.send(knock);
            }
        })?;
        let rate = rate_bits_per_s.map(|rate| rate / f64::from(streams.max(1)));
        let (token, both) = (session.token, load.both);
        let stream = |(n, socket): (u16, UdpSocket)| {
            let number = stream_number(&token, n);
            let sender = UdpSender::new(&socket, number, load.block_bytes as usize, rate)?
                .rising(rate.and_then(|rate| load.rise_of(rate)));
            let returned = both.then(|| UdpReceiver::new(socket.as_fd(), number)).transpose()?;
            Ok(Stream { socket, sender, returned, is_full: false })
        };
        let streams = (0..).zip(sockets).map(stream).collect::<io::Result<Vec<_>>>();
        let streams = streams.map_err(NetworkError::local(
            "UDP_SEGMENT or SO_TIMESTAMPNS can't be set; Linux 4.18 and later have both",
        ))?;
        Ok(Self { streams, packet_bytes: load.block_bytes.into(), sink_sent: 0 })
    }

    fn sum(&self, of: impl Fn(&UdpReceiver) -> u64) -> u64 {
        self.streams.iter().filter_map(|stream| stream.returned.as_ref()).map(of).sum()
    }
}

impl Traffic for Datagrams {
    fn start(&mut self, now: Duration) {
        self.streams.iter_mut().for_each(|stream| stream.sender.start(now));
    }

    fn resumed(&mut self, paused: Duration) {
        self.streams.iter_mut().for_each(|stream| stream.sender.resumed(paused));
    }

    fn turn(&mut self, now: Duration, _reins: &Reins) -> io::Result<Turn> {
        let mut moved = false;
        let mut next_due: Option<Duration> = None;
        for stream in &mut self.streams {
            let sent = stream.sender.send_due(&stream.socket, now)?;
            stream.is_full = sent == Sent::Full;
            match sent {
                Sent::Datagrams(_) => moved = true,
                Sent::NextDue(due) => next_due = Some(next_due.map_or(due, |next| next.min(due))),
                Sent::Full => {}
            }
            if let Some(returned) = &mut stream.returned {
                moved |= returned.receive(&stream.socket)? > 0;
            }
        }
        Ok(if moved { Turn::Busy } else { Turn::Idle(next_due) })
    }

    fn drain(&mut self, _reins: &Reins) -> io::Result<bool> {
        for Stream { socket, returned, .. } in &mut self.streams {
            if let Some(returned) = returned {
                for _ in 0..MOST_BATCHES {
                    if returned.receive(socket)? == 0 {
                        break;
                    }
                }
            }
        }
        Ok(false)
    }

    fn told(&mut self, counts: &Counts) {
        self.sink_sent = counts.sent;
    }

    fn waits_for<'a>(&'a self, polled: &mut Vec<PollFd<'a>>) {
        polled.extend(
            self.streams
                .iter()
                .map(|stream| poll_for(stream.socket.as_fd(), stream.returned.is_some(), stream.is_full)),
        );
    }

    fn publish(&mut self, ledger: &Ledger<'_>) {
        let sent = self.datagrams();
        let slot = ledger.reins.slot();
        let returned = self.sum(|of| of.sequence.received);
        // Gaps show only where a later one came; not at the very end, nor where none came at all.
        let lost = self.sum(|of| of.sequence.lost(None)).max(self.sink_sent.saturating_sub(returned));
        slot.operations.store(sent, Ordering::Relaxed);
        slot.bytes.store(sent * self.packet_bytes + self.sum(|of| of.bytes), Ordering::Relaxed);
        ledger.tell(Count::Sent, sent);
        let (until, _) = ledger.ages();
        let behind = self.streams.iter().filter_map(|stream| stream.sender.behind_s(until));
        // Each stream has as much of the rate as any other.
        ledger.tell_behind(behind.sum::<f64>() / self.streams.len().max(1) as f64);
        ledger.tell(Count::NoBuffers, self.streams.iter().map(|stream| stream.sender.no_buffers).sum());
        for (count, number) in [
            (Count::ReturnedBytes, self.sum(|of| of.bytes)),
            (Count::ReturnedReceived, returned),
            (Count::ReturnedLost, lost),
            (Count::ReturnedReordered, self.sum(|of| of.sequence.reordered)),
        ] {
            ledger.tell(count, number);
        }
        let jitter = self.streams.iter().filter_map(|stream| stream.returned.as_ref());
        let jitter = jitter.map(|of| of.sequence.jitter_ns()).max().unwrap_or(0);
        ledger.tell(Count::ReturnedJitter, jitter);
    }

    fn datagrams(&self) -> u64 {
        self.streams.iter().map(|stream| stream.sender.sent).sum()
    }
}
