//! What a stream's threads counted, for the session to read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::burn::network::{protocol::Counts, udp::UdpReceiver};

/// One stream's counters, each written by one thread.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) received_bytes: AtomicU64,
    /// Of datagrams: those that are none of the stream's, too.
    pub(super) all_bytes: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) reordered: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) jitter_ns: AtomicU64,
    pub(super) receiver_cpu_ns: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) sender_cpu_ns: AtomicU64,
}

impl Tally {
    /// Takes over what a datagram stream's receiver knows.
    pub(super) fn follow(&self, receiver: &UdpReceiver) {
        let sequence = &receiver.sequence;
        self.received_bytes.store(receiver.bytes, Ordering::Relaxed);
        self.all_bytes.store(receiver.all_bytes, Ordering::Relaxed);
        self.received.store(sequence.received, Ordering::Relaxed);
        self.lost.store(sequence.lost(None), Ordering::Relaxed);
        self.reordered.store(sequence.reordered, Ordering::Relaxed);
        self.duplicates.store(sequence.duplicates, Ordering::Relaxed);
        self.jitter_ns.store(sequence.jitter_ns(), Ordering::Relaxed);
    }
}

/// A session's streams, and what its threads are told.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) tallies: Vec<Tally>,
    /// Data flows: senders begin.
    pub(super) started: AtomicBool,
    /// The burner does not take anything: senders wait.
    pub(super) paused: AtomicBool,
    /// Everything ends.
    pub(super) stop: AtomicBool,
}

impl Flow {
    pub(super) fn new(streams: u16) -> Self {
        Self {
            tallies: (0..streams).map(|_| Tally::default()).collect(),
            started: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whatever came, of use or not.
    pub(super) fn all_bytes(&self) -> u64 {
        let each = self.tallies.iter().map(|tally| tally.all_bytes.load(Ordering::Relaxed));
        each.fold(0, u64::saturating_add)
    }

    /// All streams together. `sent` is how many datagrams the burner says it sent: what came after the last that arrived
    /// is lost too.
    pub(super) fn counts(&self, sent: Option<u64>) -> Counts {
        let sum = |of: fn(&Tally) -> &AtomicU64| -> u64 {
            let each = self.tallies.iter().map(|tally| of(tally).load(Ordering::Relaxed));
            each.fold(0, u64::saturating_add)
        };
        let received = sum(|tally| &tally.received);
        let lost = sum(|tally| &tally.lost);
        Counts {
            received_bytes: sum(|tally| &tally.received_bytes),
            received,
            lost: sent.map_or(lost, |sent| sent.saturating_sub(received).max(lost)),
            reordered: sum(|tally| &tally.reordered),
            duplicates: sum(|tally| &tally.duplicates),
            jitter_ns: self
                .tallies
                .iter()
                .map(|tally| tally.jitter_ns.load(Ordering::Relaxed))
                .max()
                .unwrap_or_default(),
            sent_bytes: sum(|tally| &tally.sent_bytes),
            sent: sum(|tally| &tally.sent),
            cpu_ns: sum(|tally| &tally.receiver_cpu_ns).saturating_add(sum(|tally| &tally.sender_cpu_ns)),
        }
    }
}

/// Ends a session's threads when whoever holds this is gone, by a panic too: the session would wait for them for ever.
pub(super) struct Ends<'a> {
    pub(super) flow: &'a Flow,
    /// Only a panic does.
    pub(super) only_panics: bool,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if !self.only_panics || std::thread::panicking() {
            self.flow.stop.store(true, Ordering::Relaxed);
        }
    }
}
