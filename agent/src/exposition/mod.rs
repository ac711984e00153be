//! `/metrics`: what is observed, for Prometheus and whoever reads its formats. Counters and histograms count since the agent
//! began, so that any number of readers see the same, whenever they come. The tick never waits for it: it follows the frames as
//! every watcher does. Plain HTTP, without authentication, and nothing can be changed through it.

mod accept;
mod buckets;
mod gathered;
mod ledger;
mod otlp;
mod port;
mod protobuf;
mod server;
mod status;
mod tally;
mod text;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use self::{
    accept::Format,
    gathered::{Filled, Gathered},
    ledger::Ledger,
    otlp::Pusher,
};
use hyper::body::Bytes;
use tokio::sync::Semaphore;

pub use self::{otlp::Misconfigured, port::check, tally::Tally};
use crate::{
    clock,
    config::MetricsConfig,
    observe::ring::FrameRing,
    realtime,
    record::{Flight, Recording},
    run::Engine,
};

/// How often counts are taken from the ring: at 100 Hz it holds 640 ms.
const LOOK: Duration = Duration::from_millis(200);

/// What is exposed.
#[derive(Debug, Clone)]
pub struct Exposed {
    /// The frames.
    pub ring: Arc<FrameRing>,
    /// The runs that are on, and the limits.
    pub engine: Arc<Engine>,
    /// The runs that were.
    pub tally: Arc<Tally>,
    /// The flight recorder.
    pub flight: Arc<Flight>,
    /// Who writes records.
    pub recording: Recording,
}

/// What keeps count and answers. It ends when this is dropped.
#[derive(Debug)]
pub struct Exposition {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Why metrics can't be exposed.
#[derive(Debug, thiserror::Error)]
pub enum ExpositionError {
    /// The kernel has no thread left.
    #[error("no thread follows the frames: {0}")]
    Thread(#[from] io::Error),
    /// What is configured can never be pushed to.
    #[error(transparent)]
    Misconfigured(#[from] Misconfigured),
}

/// What the follower and all answers share.
#[derive(Debug)]
struct Shared {
    exposed: Exposed,
    ledger: Mutex<Ledger>,
    /// The latest answer in each format, with the number of frames that it is of: who asks more often than the tick samples gets
    /// the same again, and costs nothing.
    latest: [Mutex<(u64, Bytes)>; Format::ALL.len()],
    /// One answer is made at a time, whatever becomes of who asked.
    turn: Arc<Semaphore>,
    max_series: usize,
    answers: [AtomicU64; Format::ALL.len()],
    /// What gathering and encoding the previous answer took.
    encode_ns: AtomicU64,
    /// Pushes that were taken, and those that were not; none where nothing is pushed.
    pushes: Option<[AtomicU64; 2]>,
}

impl Exposition {
    /// Begins to count, to listen at the addresses of `config`, and to push; nothing where neither is asked for. To be called in
    /// a runtime.
    ///
    /// # Errors
    /// See [`ExpositionError`]. An address that can't be listened on, or a collector that is not there, is told in the log and
    /// tried again.
    pub fn start(config: &MetricsConfig, exposed: Exposed) -> Result<Option<Self>, ExpositionError> {
        let pusher = Pusher::new(&config.otlp)?;
        if config.listen.is_empty() && pusher.is_none() {
            return Ok(None);
        }
        let shared = Arc::new(Shared {
            ledger: Mutex::new(Ledger::new(exposed.ring.clone())),
            exposed,
            latest: Default::default(),
            turn: Arc::new(Semaphore::new(1)),
            max_series: config.max_series,
            answers: Default::default(),
            encode_ns: AtomicU64::new(0),
            pushes: pusher.is_some().then(Default::default),
        });
        let (stop, stopped) = mpsc::channel();
        let follower = shared.clone();
        let thread = thread::Builder::new().name("metrics".into()).spawn(move || {
            realtime::wake_soon();
            while stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                follower.ledger().take_frames();
                follower.exposed.tally.settle();
            }
        })?;
        let serve = |address: &SocketAddr| tokio::spawn(server::serve(*address, shared.clone()));
        let mut tasks: Vec<_> = config.listen.iter().map(serve).collect();
        tasks.extend(pusher.map(|pusher| tokio::spawn(pusher.run(shared.clone()))));
        Ok(Some(Self { stop: Some(stop), thread: Some(thread), tasks }))
    }
}

impl Drop for Exposition {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _it_panicked = thread.join();
        }
    }
}

impl Shared {
    /// All that there is now, in a format.
    fn answer(&self, format: Format) -> Bytes {
        self.answers[format as usize].fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let mut ledger = self.ledger();
        ledger.take_frames();
        let mut latest = self.latest[format as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if latest.0 == ledger.frames() && !latest.1.is_empty() {
            return latest.1.clone();
        }
        let encoded = Bytes::from(self.encode(&ledger, |families| format.encode(families)));
        *latest = (ledger.frames(), encoded.clone());
        self.encode_ns.store(clock::ns(begin.elapsed()), Ordering::Relaxed);
        encoded
    }

    /// All that there is now, for a format that is not asked for at [`Shared::answer`].
    fn gather(&self, encode: impl FnOnce(&[Filled<'_>]) -> Vec<u8>) -> Vec<u8> {
        let mut ledger = self.ledger();
        ledger.take_frames();
        self.encode(&ledger, encode)
    }

    fn encode(&self, ledger: &Ledger, encode: impl FnOnce(&[Filled<'_>]) -> Vec<u8>) -> Vec<u8> {
        self.exposed.tally.settle();
        let mut gathered = Gathered::with_room_for(self.max_series);
        status::add(self, ledger, &mut gathered);
        ledger.add(&mut gathered);
        encode(&gathered.finish())
    }

    fn note_push(&self, taken: bool) {
        if let Some([well, badly]) = &self.pushes {
            if taken { well } else { badly }.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // The worst that a panic can leave is one frame half-counted.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
