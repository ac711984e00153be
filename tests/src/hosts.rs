//! Several hosts of a fleet on one machine: daemons that share nothing but the kernel, and ways to them that can be cut or that
//! show another time.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::Value;
use ssts_proto::v1::{BeginRequest, ClockResponse, GetRunResponse};
use tonic::{body::Body, transport::Channel};
use tower::{Service as _, ServiceExt as _};

use crate::{
    Ctl, Daemon, Ground, connect,
    outside::{self, Process},
};

/// What hosts of a story are configured with: what they look at is not what it is about.
const PLAIN: &str = "[observe]\nprobes = false\n";

/// Daemons, and the ground of each.
#[derive(Debug)]
pub struct Hosts {
    // Dropped in this order: daemons, then folders.
    daemons: Vec<Option<Daemon>>,
    grounds: Vec<Ground>,
    /// How sstsctl reaches each.
    ways: Vec<PathBuf>,
}

impl Hosts {
    /// So many.
    pub fn new(count: usize) -> Self {
        Self::configured(count, |_| String::new())
    }

    /// Each with more in its configuration, by its place.
    pub fn configured(count: usize, more: impl Fn(usize) -> String) -> Self {
        let first = Ground::new();
        let others: Vec<_> = (1..count).map(|_| Ground::beside(&first)).collect();
        let grounds: Vec<_> = [first].into_iter().chain(others).collect();
        for (index, ground) in grounds.iter().enumerate() {
            ground.configure(&format!("{PLAIN}{}", more(index)));
        }
        let daemons = grounds.iter().map(|ground| Some(Daemon::start(ground))).collect();
        let ways = grounds.iter().map(Ground::socket).collect();
        Self { daemons, grounds, ways }
    }

    /// The ground of one.
    pub fn ground(&self, index: usize) -> &Ground {
        &self.grounds[index]
    }

    /// The daemon of one.
    pub fn daemon(&self, index: usize) -> &Daemon {
        self.daemons[index].as_ref().expect("it was not killed")
    }

    /// Kills a daemon as the kernel does.
    pub fn kill(&mut self, index: usize) {
        drop(self.daemons[index].take());
        // It could not remove it.
        let _gone_else = std::fs::remove_file(self.grounds[index].socket());
    }

    /// Starts a daemon that was killed anew, with what it remembers.
    pub fn revive(&mut self, index: usize) {
        self.daemons[index] = Some(Daemon::start(&self.grounds[index]));
    }

    /// sstsctl reaches a host by another socket.
    pub fn lead(&mut self, index: usize, way: PathBuf) {
        self.ways[index] = way;
    }

    /// As results name it.
    pub fn name(&self, index: usize) -> String {
        format!("unix:{}", self.ways[index].display())
    }

    /// sstsctl for all of them, and for whatever else is at `more`.
    pub fn ctl_with(&self, more: &[&Path]) -> Ctl {
        let ways = self.ways.iter().map(PathBuf::as_path).chain(more.iter().copied());
        let hosts = ways.flat_map(|way| ["--host".to_owned(), format!("unix:{}", way.display())]);
        Ctl::bare(&self.grounds[0]).args(hosts)
    }

    /// sstsctl for all of them.
    pub fn ctl(&self) -> Ctl {
        self.ctl_with(&[])
    }

    /// The latest run of one, as it lists it itself.
    pub fn latest(&self, index: usize) -> Value {
        let mut listed = Ctl::new(&self.grounds[index]).words("--store none runs").json();
        listed["runs"].get_mut(0).map(Value::take).unwrap_or_default()
    }

    /// Waits until all burn. Those of a run that is prepared are there, and wait.
    pub fn burn(&self) -> bool {
        let burns = |burner: &Process| burner.worker_time() > Duration::from_millis(20);
        let burn = || {
            let all = self.daemons.iter().flatten().map(Daemon::burners);
            all.into_iter().all(|burners| !burners.is_empty() && burners.iter().all(burns))
        };
        outside::within(Duration::from_secs(30), burn).is_some()
    }

    /// Waits until none has a burner, or a run that is not over.
    pub fn are_quiet_within(&self, limit: Duration) -> bool {
        let quiet = || {
            let no_burners = self.daemons.iter().flatten().all(|daemon| daemon.burners().is_empty());
            no_burners
                && (0..self.grounds.len())
                    .filter(|index| self.daemons[*index].is_some())
                    .all(|index| self.is_idle(index))
        };
        outside::within(limit, quiet).is_some()
    }

    /// No run is on.
    pub fn is_idle(&self, index: usize) -> bool {
        let status = Ctl::new(&self.grounds[index]).words("status").json();
        status["runs"].as_array().is_some_and(Vec::is_empty) && status.get("unclean").is_none()
    }
}

/// A way to a daemon that swallows everything while it is cut, and tells neither side; or that is slow.
#[derive(Debug)]
pub struct Cuttable {
    /// Where it begins.
    pub socket: PathBuf,
    line: Arc<Line>,
}

#[derive(Debug, Default)]
struct Line {
    is_cut: AtomicBool,
    delay_ms: AtomicU64,
}

impl Cuttable {
    /// To the daemon on a ground.
    pub fn to(ground: &Ground) -> Self {
        let socket = ground.path("line.sock");
        let listener = UnixListener::bind(&socket).expect("the folder is ours");
        let line = Arc::new(Line::default());
        let (of_all, daemon) = (line.clone(), ground.socket());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = UnixStream::connect(&daemon) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let line = of_all.clone();
                    thread::spawn(move || pass_on(from, to, &line));
                }
            }
        });
        Self { socket, line }
    }

    /// Cuts it, or heals it: what was sent meanwhile arrives late, as TCP has it.
    pub fn set_cut(&self, is_cut: bool) {
        self.line.is_cut.store(is_cut, Ordering::Relaxed);
    }

    /// What is sent from now on takes so long, either way.
    pub fn delay(&self, by: Duration) {
        self.line.delay_ms.store(by.as_millis() as u64, Ordering::Relaxed);
    }
}

fn pass_on(mut from: UnixStream, mut to: UnixStream, line: &Line) {
    let mut bytes = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        thread::sleep(Duration::from_millis(line.delay_ms.load(Ordering::Relaxed)));
        while line.is_cut.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&bytes[..read]).is_err() {
            return;
        }
    }
    let _gone = to.shutdown(std::net::Shutdown::Both);
}

/// A way to a daemon on which its clock is off by that: what it says of the time, and what it is told of it.
///
/// # Panics
/// The socket can't be made.
pub async fn with_clock_off_by(ground: &Ground, ahead_ns: i64) -> PathBuf {
    let socket = ground.path("clock.sock");
    let listener = tokio::net::UnixListener::bind(&socket).expect("the folder is ours");
    let daemon = connect(ground).await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let daemon = daemon.clone();
            let answer = service_fn(move |request| through(request, daemon.clone(), ahead_ns));
            let serving =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(async move {
                let _gone = serving.await;
            });
        }
    });
    socket
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn through(
    request: Request<Incoming>,
    mut daemon: Channel,
    ahead_ns: i64,
) -> Result<Response<Body>, Failed> {
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let body = if path.ends_with("/Begin") {
        altered(body, |begin: &mut BeginRequest| begin.begin_at_unix_ns -= ahead_ns).await?
    } else {
        Body::new(body)
    };
    let response = daemon.ready().await?.call(Request::from_parts(parts, body)).await?;
    let (mut parts, body) = response.into_parts();
    // It is another one's length now.
    parts.headers.remove("content-length");
    let body = if path.ends_with("/Clock") {
        let shift = |clock: &mut ClockResponse| {
            clock.received_unix_ns += ahead_ns;
            clock.answered_unix_ns += ahead_ns;
        };
        altered(body, shift).await?
    } else if path.ends_with("/GetRun") {
        let shift = |answer: &mut GetRunResponse| {
            let summary = answer.run.as_mut().and_then(|run| run.summary.as_mut());
            if let Some(began) = summary.and_then(|summary| summary.began_at_unix_ns.as_mut()) {
                *began += ahead_ns;
            }
        };
        altered(body, shift).await?
    } else {
        body
    };
    Ok(Response::from_parts(parts, body))
}

/// The one message in a body, changed. What can't be read passes as it is.
async fn altered<M, B>(body: B, change: impl FnOnce(&mut M)) -> Result<Body, Failed>
where
    M: Message + Default,
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<Failed>,
{
    /// Whether it is compressed, and its length: the gRPC protocol over HTTP/2.
    const PREFIX: usize = 5;
    let collected = body.collect().await.map_err(Into::into)?;
    let trailers = collected.trailers().cloned();
    let bytes = collected.to_bytes();
    let changed = match bytes.get(PREFIX..).map(M::decode) {
        Some(Ok(mut message)) => {
            change(&mut message);
            let length = u32::try_from(message.encoded_len())?;
            let mut changed = vec![0];
            changed.extend_from_slice(&length.to_be_bytes());
            message.encode(&mut changed)?;
            Bytes::from(changed)
        }
        _ => bytes,
    };
    let trailers = async move { trailers.map(Ok) };
    Ok(Body::new(Full::new(changed).with_trailers(trailers)))
}
