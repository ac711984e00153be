//! Connection churn: TCP connections opened one after the other, each proven by a byte that the sink sends, and reset, so that
//! neither end keeps it in TIME_WAIT and runs out of ports.

use std::{
    io::{self, Read as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    sync::atomic::Ordering,
    time::Duration,
};

use nix::poll::PollFd;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    load::Count,
    protocol::STEP,
    session::Session,
    worker::{Ledger, Traffic, Turn, poll_for},
};
use crate::{
    burn::{BurnError, control, worker::Reins},
    clock,
};

/// After a connection that failed nothing is tried for so long, so that a dead peer is not hammered.
const BACKOFF: Duration = Duration::from_millis(1);

/// One worker's connections.
#[derive(Debug)]
pub(super) struct Connects {
    data: SocketAddr,
    open: Vec<InTheMaking>,
    most: usize,
    rate_per_s: Option<f64>,
    origin: Duration,
    asked: u64,
    not_before: Duration,
}

#[derive(Debug)]
struct InTheMaking {
    socket: TcpStream,
    due: Duration,
    begun: Duration,
}

impl Connects {
    pub(super) fn open(
        streams: u16,
        rate_per_s: Option<f64>,
        session: &mut Session,
        reins: &Reins,
    ) -> Result<Self, BurnError> {
        session.wait_until_ready(reins, || {})?;
        Ok(Self {
            data: session.data,
            open: Vec::new(),
            most: streams.into(),
            rate_per_s,
            origin: Duration::ZERO,
            asked: 0,
            not_before: Duration::ZERO,
        })
    }

    fn begin(&mut self, due: Duration, reins: &Reins) {
        self.asked += 1;
        match begin(self.data) {
            Ok(socket) => self.open.push(InTheMaking { socket, due, begun: clock::boottime() }),
            Err(error) => self.failed(&error, reins),
        }
    }

    fn failed(&mut self, error: &io::Error, reins: &Reins) {
        let slot = reins.slot();
        control::add(&slot.io_errors, 1);
        let errno = error.raw_os_error().unwrap_or(libc::EIO).cast_unsigned();
        // The first one stays.
        let _was_set = slot.io_errno.compare_exchange(0, errno, Ordering::Relaxed, Ordering::Relaxed);
        self.not_before = clock::boottime() + BACKOFF;
    }

    /// Ends those that are proven or have failed; whether any was.
    fn complete(&mut self, reins: &Reins) -> bool {
        let before = self.open.len();
        let mut n = 0;
        while n < self.open.len() {
            let mut byte = [0];
            let InTheMaking { socket, due, begun } = &mut self.open[n];
            let now = clock::boottime();
            match socket.read(&mut byte) {
                Ok(1) => {
                    reins.count_latency(0, clock::ns(now.saturating_sub(*due)));
                    control::add(&reins.slot().operations, 1);
                }
                Ok(_) => self.failed(&io::ErrorKind::UnexpectedEof.into(), reins),
                Err(error) if is_under_way(&error) => {
                    if now.saturating_sub(*begun) < STEP {
                        n += 1;
                        continue;
                    }
                    self.failed(&io::Error::from_raw_os_error(libc::ETIMEDOUT), reins);
                }
                Err(error) => self.failed(&error, reins),
            }
            // Dropped, which resets it.
            self.open.swap_remove(n);
        }
        self.open.len() < before
    }
}

impl Traffic for Connects {
    fn start(&mut self, now: Duration) {
        self.origin = now;
    }

    fn resumed(&mut self, paused: Duration) {
        self.origin += paused;
        for connection in &mut self.open {
            connection.due += paused;
            connection.begun += paused;
        }
    }

    fn turn(&mut self, now: Duration, reins: &Reins) -> io::Result<Turn> {
        let mut next_due = None;
        while self.open.len() < self.most {
            let due = self
                .rate_per_s
                .map_or(now, |rate| self.origin + Duration::from_secs_f64(self.asked as f64 / rate));
            if due.max(self.not_before) > now {
                next_due = Some(due.max(self.not_before));
                break;
            }
            self.begin(due, reins);
        }
        Ok(if self.complete(reins) { Turn::Busy } else { Turn::Idle(next_due) })
    }

    fn drain(&mut self, reins: &Reins) -> io::Result<bool> {
        self.complete(reins);
        Ok(!self.open.is_empty())
    }

    fn end(&mut self, ledger: &Ledger<'_>) {
        let (_, now) = ledger.ages();
        let mut unanswered = self.open.len() as u64;
        for InTheMaking { due, .. } in self.open.drain(..) {
            ledger.reins.count_latency(0, clock::ns(now.saturating_sub(due)));
        }
        if let Some(rate) = self.rate_per_s {
            unanswered += ledger.count_never_begun(self.origin, self.asked, rate);
            ledger.tell_behind(unanswered as f64 / rate);
        }
        ledger.tell(Count::Unanswered, unanswered);
    }

    fn waits_for<'a>(&'a self, polled: &mut Vec<PollFd<'a>>) {
        polled.extend(self.open.iter().map(|one| poll_for(one.socket.as_fd(), true, false)));
    }

    fn publish(&mut self, ledger: &Ledger<'_>) {
        ledger.tell(Count::Sent, self.asked);
    }
}

fn begin(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&SockAddr::from(to)) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Not connected yet, or connected and the byte is not there yet.
fn is_under_way(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
