//! One core's share of the load: its runtime, its clock, its end.

use std::{sync::atomic::Ordering, time::Duration};

use http_body_util::Full;
use hyper::{
    Request, Uri,
    body::Bytes,
    header::{HOST, HeaderName, HeaderValue},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ssts_proto::http_url::HttpUrl;
use tokio::{
    runtime::{Builder, Runtime},
    task::{LocalSet, yield_now},
};

use super::{
    error::HttpError,
    lane::{Shared, follow},
    lanes::Lanes,
    link::{Asked, Http1, Http2, Link},
    load::{Count, HttpLoad, Version},
    pacer::Pacer,
    service::{Service, Stream, within},
    timer::Timer,
    trouble::{Silence, Trouble},
};
use crate::{
    burn::{
        BurnError,
        worker::{Flow, Prepared, Reins, Worker},
    },
    clock,
};

/// The longest time between two looks at the command.
const LOOK: Duration = Duration::from_millis(2);
/// How often counters are published.
const PUBLISH: Duration = Duration::from_millis(10);
/// How long answers may take to come after the end.
const DRAIN: Duration = Duration::from_millis(200);
/// A service that answers nothing for so long, and fails requests, is gone.
const GONE: Duration = Duration::from_secs(5);
/// Fewer failures are no pattern.
const GONE_REQUESTS: u64 = 3;
/// Index in the load's latencies.
const REQUEST: usize = 0;

/// One core's connections.
pub(super) struct HttpWorker {
    load: HttpLoad,
    ready: Option<Ready>,
}

/// Made before the clock starts. Streams go before the runtime that they are registered with.
struct Ready {
    service: Service,
    streams: Vec<Stream>,
    asked: Asked,
    runtime: Runtime,
}

impl HttpWorker {
    pub(super) fn new(load: HttpLoad) -> Self {
        Self { load, ready: None }
    }
}

impl Worker for HttpWorker {
    fn prepare(&mut self, reins: &Reins) -> Result<Prepared, BurnError> {
        let load = &self.load;
        let url = HttpUrl::parse(&load.url)
            .map_err(|why| BurnError::Instructions(format!("the URL {} {why}", load.url)))?;
        take_descriptors();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(HttpError::local("no runtime for connections"))?;
        let (service, streams) = runtime.block_on(async {
            tokio::select! {
                opened = open(load, &url, reins) => opened.map_err(BurnError::from),
                () = interrupted(reins) => Err(BurnError::Interrupted),
            }
        })?;
        let asked = request(load, &url, service.version).map_err(BurnError::Instructions)?;
        let variant = variant(load, &service);
        self.ready = Some(Ready { service, streams, asked, runtime });
        Ok(Prepared { variant, notices: Vec::new() })
    }

    fn burn(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let Ready { service, streams, asked, runtime } = self.ready.take().ok_or(BurnError::Interrupted)?;
        let tasks = LocalSet::new();
        let outcome = tasks.block_on(&runtime, burn(&self.load, service, streams, asked, reins));
        // Lanes go before the runtime that their sockets are registered with.
        drop(tasks);
        outcome.map_err(BurnError::from)
    }
}

/// Finds the service and makes the worker's connections; of a load that makes its own, one, to see that it can be had.
async fn open(load: &HttpLoad, url: &HttpUrl, reins: &Reins) -> Result<(Service, Vec<Stream>), HttpError> {
    let (worker, workers) = reins.place();
    let (service, first) = Service::find(load, url, reins).await?;
    if load.new_connection {
        return Ok((service, Vec::new()));
    }
    let asked = load.share(worker, workers);
    let mut streams = vec![first];
    while streams.len() < asked {
        let made = streams.len();
        let stream = within(load.timeout, service.connect(reins)).await.map_err(|failure| {
            HttpError::Connections { url: load.url.clone(), made, asked, reason: failure.to_string() }
        })?;
        streams.push(stream);
        let done_ppm = streams.len() * 1_000_000 / asked;
        reins.slot().prepared_ppm.store(done_ppm.min(999_999) as u32, Ordering::Relaxed);
    }
    Ok((service, streams))
}

/// As many descriptors as this process may have: the usual 1,024 are too few for as many connections.
fn take_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it fails, a connection too many tells of it.
        let _best_effort = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

async fn interrupted(reins: &Reins) {
    while reins.go_on() {
        tokio::time::sleep(PUBLISH).await;
    }
}

/// The request that is sent again and again.
fn request(load: &HttpLoad, url: &HttpUrl, version: Version) -> Result<Asked, String> {
    let whole = if version == Version::Http2 { url.to_string() } else { url.target() };
    let body = match load.body_bytes {
        Some(bytes) => Bytes::from(vec![b'x'; bytes as usize]),
        None => Bytes::from(load.body.clone()),
    };
    let uri: Uri = whole.parse().map_err(|error| format!("the URL {whole}: {error}"))?;
    let mut builder = Request::builder().method(load.method.as_str()).uri(uri);
    if version != Version::Http2 {
        builder = builder.header(HOST, url.authority());
    }
    for (name, value) in &load.headers {
        let read = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let (name, value) = read.ok_or_else(|| format!("the header {name} is none"))?;
        builder = builder.header(name, value);
    }
    builder.body(Full::new(body)).map_err(|error| error.to_string())
}

fn variant(load: &HttpLoad, service: &Service) -> String {
    let version = if service.version == Version::Http2 { "HTTP/2" } else { "HTTP/1.1" };
    let mut words = vec![version.to_owned()];
    words.extend(service.tls_name.clone());
    words.push(service.address.to_string());
    let how = if load.rate_per_s.is_some() { "open loop" } else { "closed loop" };
    words.push(how.into());
    if load.new_connection {
        words.push("a connection for each request".into());
    }
    words.join(", ")
}

async fn burn(
    load: &HttpLoad,
    service: Service,
    streams: Vec<Stream>,
    asked: Asked,
    reins: &Reins,
) -> Result<(), HttpError> {
    let place = reins.place();
    let connections = load.share(place.0, place.1);
    let is_shared = service.version == Version::Http2 && !load.new_connection;
    let by_connection = if is_shared { load.streams as usize } else { 1 };
    let pacer = match load.rate_per_s {
        Some(rate) => Pacer::open(rate, load.most_per_s, place),
        None => Pacer::closed(load.most_per_s, place.1),
    };
    let timer = Timer::new().map_err(HttpError::local("no timer"))?;
    let lanes = Lanes::new(connections * by_connection, pacer, timer, load.timeout);
    let shared = std::rc::Rc::new(Shared {
        lanes,
        load: load.clone(),
        service,
        asked,
        body_bytes: load.body_bytes.map_or(load.body.len() as u64, u64::from),
        reins: reins.clone(),
        trouble: Trouble::default(),
    });
    let mut streams = streams.into_iter();
    let now = clock::boottime();
    // Of all workers: what was due before this one had its core is due all the same.
    let origin = reins.start().min(now);
    let origin_cpu = clock::thread_cpu();
    reins.slot().first_burn_ns.store(clock::ns(now), Ordering::Relaxed);
    shared.lanes.start(origin);
    for connection in 0..connections {
        let links = links(shared.service.version, streams.next(), by_connection).await;
        for (index, link) in links.into_iter().enumerate() {
            let (shared, index) = (shared.clone(), connection * by_connection + index);
            tokio::task::spawn_local(async move { follow(&shared, index, link).await });
        }
    }
    let mut burning = Burning { shared: &shared, origin, origin_cpu, silence: Silence::default() };
    let outcome = burning.follow().await;
    burning.finish(outcome).await
}

/// What the lanes of one connection send over.
async fn links(version: Version, stream: Option<Stream>, lanes: usize) -> Vec<Link> {
    if version == Version::Http2 {
        return Http2::open(stream).await.shared_by(lanes);
    }
    let http1 = match stream {
        // One that is already broken is replaced when it is first used.
        Some(stream) => Http1::open(stream).await.ok(),
        None => None,
    };
    vec![Link::Http1(http1)]
}

/// One phase.
struct Burning<'a> {
    shared: &'a Shared,
    /// When the clock started; moved on by pauses.
    origin: Duration,
    origin_cpu: Duration,
    silence: Silence,
}

impl Burning<'_> {
    /// Until the phase's end, or a stop.
    async fn follow(&mut self) -> Result<(), HttpError> {
        let Shared { lanes, reins, .. } = self.shared;
        let mut next_publish = self.origin;
        loop {
            match reins.check() {
                Flow::Stop => return Ok(()),
                Flow::Resumed(paused) => {
                    self.origin += paused;
                    lanes.resumed(paused);
                    self.silence.resumed(paused);
                    continue;
                }
                Flow::Burn => {}
            }
            lanes.set_end(reins.end());
            let now = clock::boottime();
            if now >= next_publish {
                self.publish();
                self.still_there(now)?;
                next_publish = now + PUBLISH;
            }
            lanes.look(now);
            lanes.dispatch(now);
            let next = lanes.next_at().unwrap_or(Duration::MAX).min(now + LOOK).min(reins.end());
            lanes.timer.arm(next).map_err(HttpError::local("the timer"))?;
            lanes.timer.wait().await.map_err(HttpError::local("the timer"))?;
        }
    }

    /// Whether the service still answers any of the burner's workers: that one of them has only bad connections is told by
    /// what is counted.
    fn still_there(&mut self, now: Duration) -> Result<(), HttpError> {
        let Shared { load, reins, trouble, .. } = self.shared;
        let Some((silence, failed)) = self.silence.look(now, answers(reins), failures(reins)) else {
            return Ok(());
        };
        // One that has not failed leaves it to the others to tell why.
        let Some(reason) = trouble.latest() else { return Ok(()) };
        if silence < GONE || failed < GONE_REQUESTS {
            return Ok(());
        }
        let url = load.url.clone();
        Err(if answered(reins) > 0 {
            HttpError::Gone { url, silence, failed, reason }
        } else {
            self.unanswered(trouble.first().unwrap_or(reason))
        })
    }

    /// Takes in what is still under way, and counts what is not answered.
    async fn finish(&mut self, outcome: Result<(), HttpError>) -> Result<(), HttpError> {
        let Shared { lanes, reins, trouble, .. } = self.shared;
        let is_natural = outcome.is_ok() && clock::boottime() >= reins.end();
        if is_natural {
            // What was due before the end and not looked at in time.
            lanes.dispatch(reins.end());
        }
        lanes.close();
        let patience = clock::boottime() + DRAIN;
        while is_natural && lanes.are_busy() && clock::boottime() < patience && reins.go_on() {
            let now = clock::boottime();
            lanes.look(now);
            lanes.timer.arm(now + LOOK).map_err(HttpError::local("the timer"))?;
            lanes.timer.wait().await.map_err(HttpError::local("the timer"))?;
            yield_now().await;
        }
        let until = reins.until();
        // A pause that a stop ended makes nothing older.
        let now = if until < reins.end() { until } else { clock::boottime() };
        let mut unanswered = 0;
        lanes.for_each_unanswered(until, |due, count| {
            unanswered += count;
            reins.count_latencies(REQUEST, clock::ns(now.saturating_sub(due)), count);
        });
        self.shared.count(Count::Unanswered, unanswered);
        if let Some(rate_per_s) = self.shared.load.rate_per_s {
            let (_, workers) = reins.place();
            let behind = Duration::from_secs_f64((unanswered * workers as u64) as f64 / rate_per_s as f64);
            reins.slot().behind_ns.store(clock::ns(behind), Ordering::Relaxed);
        }
        self.publish();
        outcome?;
        match trouble.first() {
            Some(reason) if is_natural && answered(reins) == 0 => Err(self.unanswered(reason)),
            _ => Ok(()),
        }
    }

    fn unanswered(&self, reason: String) -> HttpError {
        let Shared { load, reins, .. } = self.shared;
        let sent = reins.of_all(|slot| &slot.figures[Count::Sent as usize]);
        HttpError::Unanswered { url: load.url.clone(), sent, reason }
    }

    fn publish(&self) {
        let slot = self.shared.reins.slot();
        let elapsed = self.shared.reins.until().saturating_sub(self.origin);
        slot.burning_ns.store(clock::ns(elapsed), Ordering::Relaxed);
        let on_cpu = clock::thread_cpu().saturating_sub(self.origin_cpu);
        slot.on_cpu_ns.store(clock::ns(on_cpu), Ordering::Relaxed);
    }
}

/// Requests that any of the burner's workers has an answer to.
fn answered(reins: &Reins) -> u64 {
    reins.of_all(|slot| &slot.operations)
}

/// Answers that came to any of them, those of attempts that are made again included. Few have no class, and those count once
/// their request has ended.
fn answers(reins: &Reins) -> u64 {
    let statuses = [Count::Status2xx, Count::Status3xx, Count::Status4xx, Count::Status5xx];
    answered(reins)
        + statuses.map(|count| reins.of_all(|slot| &slot.figures[count as usize])).iter().sum::<u64>()
}

/// Requests of any of them that failed without an answer.
fn failures(reins: &Reins) -> u64 {
    let counts = Count::FAILURES.iter().filter(|count| **count != Count::UnexpectedStatus);
    counts.map(|count| reins.of_all(|slot| &slot.figures[*count as usize])).sum()
}
