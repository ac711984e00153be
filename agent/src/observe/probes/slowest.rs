//! The slowest request of each disk since a phase began, with the task that issued it: for the run's events. In frames it has
//! no name, for labels without end would be columns without end.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};

use ssts_agent_ebpf::shared::Operation;

use super::{disk_counts::Slow, preemptions::task};

/// A request to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlowRequest {
    disk: Arc<str>,
    operation: Operation,
    slow: Slow,
}

impl SlowRequest {
    pub(super) fn new(disk: Arc<str>, operation: Operation, slow: Slow) -> Self {
        Self { disk, operation, slow }
    }
}

impl fmt::Display for SlowRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disk, operation, slow } = self;
        let ms = Duration::from_nanos(slow.ns).as_secs_f64() * 1e3;
        write!(
            f,
            "the slowest request of {disk} took {ms:.3} ms: {} of {} bytes at sector {}, by {} (pid {})",
            operation.name(),
            slow.bytes,
            slow.sector,
            task(slow.name),
            slow.pid
        )
    }
}

/// What the tick tells the run.
#[derive(Debug, Default)]
pub(super) struct SlowestBoard {
    /// Since when the run wants to know, CLOCK_MONOTONIC in ns.
    since_ns: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug, Default, Clone)]
struct Told {
    since_ns: u64,
    slowest: Vec<SlowRequest>,
}

impl SlowestBoard {
    /// Begins anew.
    pub(super) fn begin(&self, now_ns: u64) {
        self.since_ns.store(now_ns, Release);
    }

    /// Of each disk, as far as the tick has come.
    pub(super) fn snapshot(&self) -> Vec<SlowRequest> {
        // A list is whole at any moment, whoever panicked.
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if told.since_ns == self.since_ns.load(Acquire) { told.slowest } else { Vec::new() }
    }
}

/// The tick's side.
#[derive(Debug, Default)]
pub(super) struct SlowestSoFar {
    board: Arc<SlowestBoard>,
    told: Told,
    unshown: bool,
}

impl SlowestSoFar {
    pub(super) fn board(&self) -> &Arc<SlowestBoard> {
        &self.board
    }

    /// Takes in a request. Allocates for a disk's first one alone.
    pub(super) fn note(&mut self, request: SlowRequest) {
        let slowest = &mut self.told.slowest;
        match slowest.iter_mut().find(|known| known.disk == request.disk) {
            Some(known) if known.slow.ns >= request.slow.ns => return,
            Some(known) => *known = request,
            None => slowest.push(request),
        }
        self.unshown = true;
    }

    /// Begins anew when the run does; before requests are noted.
    pub(super) fn renew(&mut self) {
        let since_ns = self.board.since_ns.load(Acquire);
        if since_ns != self.told.since_ns {
            self.told.since_ns = since_ns;
            self.told.slowest.clear();
            self.unshown = true;
        }
    }

    /// Shows what is new. Never waits: a reader that holds the board is told with the next tick.
    pub(super) fn show(&mut self) {
        if !self.unshown {
            return;
        }
        let mut shown = match self.board.told.try_lock() {
            Ok(shown) => shown,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        shown.since_ns = self.told.since_ns;
        shown.slowest.clone_from(&self.told.slowest);
        self.unshown = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(disk: &str, ns: u64) -> SlowRequest {
        let name = [u64::from_ne_bytes(*b"fio\0\0\0\0\0"), 0];
        let slow = Slow { ns, sector: 8, bytes: 4_096, pid: 42, name };
        SlowRequest::new(disk.into(), Operation::Read, slow)
    }

    #[test]
    fn the_slowest_of_each_disk_is_told_with_who_issued_it() {
        let mut slowest = SlowestSoFar::default();
        for (disk, ns) in [("vda", 5_000_000), ("vdb", 1), ("vda", 12_345_678), ("vda", 7)] {
            slowest.note(request(disk, ns));
        }
        slowest.show();
        let told: Vec<_> = slowest.board().snapshot().iter().map(SlowRequest::to_string).collect();
        assert_eq!(
            told[0],
            "the slowest request of vda took 12.346 ms: read of 4096 bytes at sector 8, by fio (pid 42)"
        );
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn what_came_before_a_phase_is_not_told_of_it() {
        let mut slowest = SlowestSoFar::default();
        slowest.note(request("vda", 9));
        slowest.show();
        slowest.board().begin(1);
        assert_eq!(slowest.board().snapshot(), [], "not even before the next tick");
        slowest.renew();
        slowest.note(request("vda", 3));
        slowest.show();
        assert_eq!(slowest.board().snapshot(), [request("vda", 3)]);
    }
}
