//! The control connection, as the sink reads and writes it: nothing that comes, or does not come, is waited for without bounds.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{paths::readable, session::End, traffic::waits};
use crate::burn::network::protocol::{ORDER_BYTES, Order, STEP, Word};

/// The control connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) control: TcpStream,
    /// Of an order that has begun to come, and since when.
    begun: Vec<u8>,
    since: Option<Instant>,
}

impl Line {
    /// Of a socket whose calls wait no longer than some milliseconds.
    pub(super) fn new(control: TcpStream) -> Self {
        Self { control, begun: Vec::with_capacity(ORDER_BYTES), since: None }
    }

    pub(super) fn say(&mut self, word: &Word) -> io::Result<()> {
        self.control.write_all(&word.encode())
    }

    /// Takes what is there of the next order, without waiting for the rest: caps are looked at meanwhile.
    pub(super) fn take_order(&mut self) -> Result<Option<Order>, End> {
        let mut bytes = [0; ORDER_BYTES];
        match self.control.read(&mut bytes[self.begun.len()..]) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(read) => {
                let from = self.begun.len();
                self.begun.extend_from_slice(&bytes[from..from + read]);
            }
            Err(error) if waits(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if self.begun.len() < ORDER_BYTES {
            if !self.begun.is_empty() {
                self.since.get_or_insert_with(Instant::now);
            }
            return Ok(None);
        }
        bytes.copy_from_slice(&self.begun);
        self.begun.clear();
        self.since = None;
        Ok(Some(Order::decode(&bytes)?))
    }

    /// Whether the rest of an order does not come.
    pub(super) fn is_stuck(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= STEP)
    }

    /// Fills `bytes`, however few come at once, within a time for all of them.
    pub(super) fn read_whole(&mut self, bytes: &mut [u8], time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        let mut filled = 0;
        while filled < bytes.len() {
            match self.control.read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if Instant::now() >= end => return Err(io::ErrorKind::TimedOut.into()),
                Ok(read) => filled += read,
                Err(error) if waits(&error) && Instant::now() < end => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the burner has left.
    pub(super) fn is_gone(&self) -> bool {
        let mut byte = [0];
        readable(&self.control, Duration::ZERO) && matches!(self.control.peek(&mut byte), Ok(0) | Err(_))
    }
}
