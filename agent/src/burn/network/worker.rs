//! What all workers of a network burner do alike, whatever flows: session, clock, counting, end.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

use super::{
    connect::Connects,
    datagrams::Datagrams,
    error::NetworkError,
    load::{Count, NetworkLoad, Protocol, ZeroCopyMethod},
    protocol::{Counts, Order},
    requests::Requests,
    session::Session,
    streams::Streams,
};
use crate::{
    burn::{
        BurnError,
        worker::{Flow, Prepared, Reins, Worker},
    },
    clock,
};

/// The longest wait between two looks at the command.
const LONGEST_WAIT: Duration = Duration::from_millis(2);
/// How often the sink is listened to and counters are published.
const PUBLISH: Duration = Duration::from_millis(10);
/// How often it is looked whether a pause has begun or ended.
const HERALD: Duration = Duration::from_millis(10);
/// How long answers may take to come after the end.
const DRAIN: Duration = Duration::from_millis(200);
/// Groups in which operations that were never begun are counted at the end.
const STEPS: u64 = 10_000;

/// What flows over the data connections.
pub(super) trait Traffic: Send {
    /// The clock starts.
    fn start(&mut self, now: Duration);
    /// Time stood still for so long.
    fn resumed(&mut self, paused: Duration);
    /// Sends and receives what can be, without waiting.
    fn turn(&mut self, now: Duration, reins: &Reins) -> io::Result<Turn>;
    /// Receives what is still to come, without waiting: whether there may be more.
    fn drain(&mut self, _reins: &Reins) -> io::Result<bool> {
        Ok(false)
    }
    /// No more comes: what is still under way is counted as that.
    fn end(&mut self, _ledger: &Ledger<'_>) {}
    /// What the sink counted in the end.
    fn told(&mut self, _counts: &Counts) {}
    /// What is waited for when there is nothing to do.
    fn waits_for<'a>(&'a self, polled: &mut Vec<PollFd<'a>>);
    /// Publishes what was counted here.
    fn publish(&mut self, ledger: &Ledger<'_>);
    /// Datagrams that were sent.
    fn datagrams(&self) -> u64 {
        0
    }
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// At once.
    Busy,
    /// When a socket is ready, or something is due: CLOCK_BOOTTIME.
    Idle(Option<Duration>),
}

/// One core's streams.
pub(super) struct NetworkWorker {
    load: NetworkLoad,
    phase: Duration,
    seed: u64,
    ready: Option<(Session, Box<dyn Traffic>)>,
}

impl NetworkWorker {
    pub(super) fn new(load: NetworkLoad, phase: Duration, seed: u64) -> Self {
        Self { load, phase, seed, ready: None }
    }
}

impl Worker for NetworkWorker {
    fn prepare(&mut self, reins: &Reins) -> Result<Prepared, BurnError> {
        let load = &self.load;
        let (worker, workers) = reins.place();
        let (streams, rate) = load.share(worker, workers);
        let mut session = Session::open(load, streams, self.phase, reins)?;
        let granted = session.granted_bits_per_s.map(|granted| granted as f64);
        let mut notices = Vec::new();
        let traffic: Box<dyn Traffic> = match load.protocol {
            Protocol::Tcp => {
                let rate = tighter(rate, granted);
                let streams =
                    Streams::open(load, streams, rate, (self.phase, self.seed), &mut session, reins)?;
                if streams.are_copied_all_the_same() {
                    notices.push(format!(
                        "the kernel copies what MSG_ZEROCOPY sends to {}, as it does over loopback and to another \
                         namespace of this host",
                        load.peer
                    ));
                }
                Box::new(streams)
            }
            Protocol::Udp => {
                let rate = tighter(rate, granted);
                Box::new(Datagrams::open(load, streams, rate, &mut session, reins)?)
            }
            Protocol::RequestResponse => Box::new(Requests::open(load, streams, rate, &mut session, reins)?),
            Protocol::Connect => Box::new(Connects::open(streams, rate, &mut session, reins)?),
        };
        if let (None, Some(granted), Protocol::Tcp | Protocol::Udp) = (rate, granted, load.protocol) {
            notices.push(format!(
                "the sink at {} takes {:.3} Gbit/s at most from each worker: its max_rate_bits_per_s",
                load.peer,
                granted / 1e9
            ));
        }
        self.ready = Some((session, traffic));
        Ok(Prepared { variant: variant(load), notices })
    }

    fn burn(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let (session, traffic) = self.ready.take().ok_or(BurnError::Interrupted)?;
        let counts = self.load.counts();
        Burning { session, traffic, counts, origin: Duration::ZERO, origin_cpu: Duration::ZERO }.run(reins)
    }
}

fn tighter(asked: Option<f64>, granted: Option<f64>) -> Option<f64> {
    match (asked, granted) {
        (Some(asked), Some(granted)) => Some(asked.min(granted)),
        (one, other) => one.or(other),
    }
}

fn variant(load: &NetworkLoad) -> String {
    let mut words = vec![load.protocol.name().to_owned()];
    if load.protocol == Protocol::Tcp {
        let method = match load.zerocopy {
            None => "copied",
            Some(ZeroCopyMethod::Sendfile) => "sendfile",
            Some(ZeroCopyMethod::Msg) => "MSG_ZEROCOPY",
        };
        words.push(method.into());
    }
    if load.protocol == Protocol::Udp {
        words.push(format!("{}-byte datagrams, UDP_SEGMENT, sendmmsg", load.block_bytes));
    }
    words.extend(load.congestion.clone());
    if load.both {
        words.push("both directions".into());
    }
    words.join(", ")
}

/// One phase.
struct Burning {
    session: Session,
    traffic: Box<dyn Traffic>,
    counts: &'static [Count],
    /// When the clock started; moved on by pauses.
    origin: Duration,
    origin_cpu: Duration,
}

impl Burning {
    fn run(mut self, reins: &Reins) -> Result<(), BurnError> {
        // The phase's own: what was due before this worker had its core is due all the same.
        self.origin = reins.start().min(clock::boottime());
        self.origin_cpu = clock::thread_cpu();
        reins.slot().first_burn_ns.store(clock::ns(clock::boottime()), Ordering::Relaxed);
        self.session.start()?;
        self.traffic.start(self.origin);
        let outcome = self.follow_and_tell_pauses(reins);
        let is_natural = outcome.is_ok() && clock::boottime() >= reins.end();
        let outcome = if is_natural { self.drain(reins) } else { outcome };
        // However it ended: requests that are under way are the slowest.
        let ledger = Ledger { reins, counts: self.counts };
        self.traffic.end(&ledger);
        self.publish(reins);
        outcome?;
        if is_natural { self.finish(reins) } else { Ok(()) }
    }

    /// [`Self::follow`], while a thread tells the sink of pauses: this one sleeps in them.
    fn follow_and_tell_pauses(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let mut herald = self.session.herald()?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let told = || {
                let mut is_paused = false;
                while !over.load(Ordering::Relaxed) {
                    // Taken first: only in a pause does burning count to an instant before it.
                    let now = clock::boottime().min(reins.end());
                    if (reins.until() < now) != is_paused {
                        is_paused = !is_paused;
                        // Where it fails, the burning thread finds out and knows why.
                        let _best_effort = herald.tell(is_paused);
                    }
                    thread::park_timeout(HERALD);
                }
            };
            let spawned = thread::Builder::new().name("pauses".into()).spawn_scoped(scope, told);
            let herald = spawned.map_err(NetworkError::local("no further thread"))?;
            let outcome = self.follow(reins);
            over.store(true, Ordering::Relaxed);
            herald.thread().unpark();
            outcome
        })
    }

    /// Until the phase's end, or a stop.
    fn follow(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let mut next_look = self.origin;
        loop {
            match reins.check() {
                Flow::Stop => return Ok(()),
                Flow::Resumed(paused) => {
                    self.origin += paused;
                    self.session.resumed(paused);
                    self.traffic.resumed(paused);
                    continue;
                }
                Flow::Burn => {}
            }
            let now = clock::boottime();
            if now >= next_look {
                self.session.listen()?;
                self.publish(reins);
                next_look = now + PUBLISH;
            }
            match self.traffic.turn(now, reins) {
                Ok(Turn::Busy) => {}
                Ok(Turn::Idle(due)) => {
                    let until = due.unwrap_or(now + LONGEST_WAIT).min(reins.end());
                    self.wait(until.saturating_sub(clock::boottime()).min(LONGEST_WAIT));
                }
                Err(error) => return Err(self.session.reason_for(error).into()),
            }
        }
    }

    /// Takes in what is still under way.
    fn drain(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let end = clock::boottime() + DRAIN;
        while clock::boottime() < end && reins.go_on() {
            match self.traffic.drain(reins) {
                Ok(true) => self.wait(LONGEST_WAIT),
                Ok(false) => break,
                Err(error) => return Err(self.session.reason_for(error).into()),
            }
        }
        Ok(())
    }

    /// Takes in the sink's last counts, and what it sent before them.
    fn finish(mut self, reins: &Reins) -> Result<(), BurnError> {
        let Self { session, traffic, counts: places, .. } = &mut self;
        let counts = session.finish(traffic.datagrams(), reins, || {
            // What fails here shows in the counts: nothing is sent any more.
            let _best_effort = traffic.drain(reins);
        })?;
        let _best_effort = traffic.drain(reins);
        traffic.told(&counts);
        let ledger = Ledger { reins, counts: places };
        traffic.publish(&ledger);
        ledger.take_over(&counts);
        Ok(())
    }

    fn wait(&self, timeout: Duration) {
        let mut polled = vec![PollFd::new(self.session.control(), PollFlags::POLLIN)];
        self.traffic.waits_for(&mut polled);
        // Whatever it comes to, whoever called looks.
        let _ready = ppoll(&mut polled, Some(TimeSpec::from(timeout)), None);
    }

    fn publish(&mut self, reins: &Reins) {
        let slot = reins.slot();
        let elapsed = clock::boottime().min(reins.end()).saturating_sub(self.origin);
        slot.burning_ns.store(clock::ns(elapsed), Ordering::Relaxed);
        let on_cpu = clock::thread_cpu().saturating_sub(self.origin_cpu);
        slot.on_cpu_ns.store(clock::ns(on_cpu), Ordering::Relaxed);
        let ledger = Ledger { reins, counts: self.counts };
        self.traffic.publish(&ledger);
        ledger.take_over(&self.session.counts);
    }
}

/// Where a worker's numbers go.
pub(super) struct Ledger<'a> {
    pub(super) reins: &'a Reins,
    counts: &'static [Count],
}

impl Ledger<'_> {
    /// When burning ended, and up to when what is under way has aged; a pause that a stop ended makes nothing older.
    pub(super) fn ages(&self) -> (Duration, Duration) {
        let until = self.reins.until();
        (until, if until < self.reins.end() { until } else { clock::boottime() })
    }

    /// Counts those that were due and never begun, of so many a second since `origin` of which `asked` were: without them
    /// the histogram would flatter the path. Gives their number.
    pub(super) fn count_never_begun(&self, origin: Duration, asked: u64, rate_per_s: f64) -> u64 {
        let (until, now) = self.ages();
        let due = (until.saturating_sub(origin).as_secs_f64() * rate_per_s) as u64;
        let left = due.saturating_sub(asked);
        // At a rate far beyond the path's they are too many to go through one by one.
        let step = (left / STEPS).max(1);
        for first in (asked..due).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let count = step.min(due - first);
            let due_at = origin + Duration::from_secs_f64((first + count / 2) as f64 / rate_per_s);
            self.reins.count_latencies(0, clock::ns(now.saturating_sub(due_at)), count);
        }
        left
    }

    /// What is undone of the rate, in seconds of it.
    pub(super) fn tell_behind(&self, seconds: f64) {
        let behind = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
        self.reins.slot().behind_ns.store(clock::ns(behind), Ordering::Relaxed);
    }

    /// Puts a number in its place, where the load has one for it.
    pub(super) fn tell(&self, count: Count, number: u64) {
        if let Some(place) = self.counts.iter().position(|other| *other == count) {
            self.reins.slot().figures[place].store(number, Ordering::Relaxed);
        }
    }

    /// What the sink counted.
    fn take_over(&self, counts: &Counts) {
        for (count, number) in [
            (Count::SinkBytes, counts.received_bytes),
            (Count::SinkReceived, counts.received),
            (Count::Lost, counts.lost),
            (Count::Reordered, counts.reordered),
            (Count::Duplicates, counts.duplicates),
            (Count::Jitter, counts.jitter_ns),
            (Count::SinkCpu, counts.cpu_ns),
        ] {
            self.tell(count, number);
        }
    }
}

/// For `waits_for`.
pub(super) fn poll_for(fd: BorrowedFd<'_>, reads: bool, writes: bool) -> PollFd<'_> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, reads);
    flags.set(PollFlags::POLLOUT, writes);
    PollFd::new(fd, flags)
}

impl Session {
    /// Data flows from now on.
    fn start(&mut self) -> Result<(), NetworkError> {
        self.begin_to_listen();
        self.order(Order::Start)
    }
}
