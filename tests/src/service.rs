//! A service under load: HTTP/1.1 and HTTP/2, in the clear or through TLS, that counts what comes and misbehaves on demand.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsAcceptor;

/// A certificate of its own issuer, for 127.0.0.1.
#[derive(Debug)]
pub struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    /// Made by openssl in a folder.
    pub fn new(folder: &Path) -> Self {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=story", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(folder)
            .output()
            .expect("openssl can be executed");
        assert!(made.status.success(), "{made:?}");
        Self { folder: folder.to_owned() }
    }

    /// The certificate in PEM form.
    pub fn path(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    fn config(&self, protocols: &[&str]) -> ServerConfig {
        let chain = vec![CertificateDer::from_pem_file(self.path()).expect("openssl wrote it")];
        let key = PrivateKeyDer::from_pem_file(self.folder.join("key.pem")).expect("openssl wrote it");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// What it counts.
#[derive(Debug, Default)]
struct Seen {
    requests: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
    handshakes: AtomicU64,
    resumed: AtomicU64,
    http2: AtomicU64,
    body_bytes: AtomicU64,
    /// Connections before this one are not answered any more.
    deaf_before: AtomicU64,
    /// Nor are any but the first: what comes over them is broken off.
    answers_the_first_only: AtomicBool,
    /// When each request came.
    arrivals: Mutex<Vec<Instant>>,
    /// No answer leaves before.
    stalled_until: Mutex<Option<Instant>>,
    headers: Mutex<Vec<(String, String)>>,
}

/// A service on a free port of 127.0.0.1. Gone, with its connections, when dropped.
///
/// The path says what is answered: `/status/N` that status, `/slow/MS` after so long, `/break` nothing, `/never` never,
/// `/flaky` 503 and 200 in turn, `/holes/N` each Nth one never, `/bytes/N` that many bytes; all else 200 and five bytes.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Seen>,
    runtime: Option<Runtime>,
}

impl Service {
    /// In the clear: HTTP/1.1, or HTTP/2 at once, as the client begins.
    pub fn plain() -> Self {
        Self::start(None)
    }

    /// Through TLS; `protocols` is what it can speak, such as `h2`.
    pub fn tls(certificate: &Certificate, protocols: &[&str]) -> Self {
        Self::start(Some(TlsAcceptor::from(Arc::new(certificate.config(protocols)))))
    }

    fn start(tls: Option<TlsAcceptor>) -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread starts");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Seen::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        runtime.spawn(accept(listener, tls, seen.clone()));
        Self { address, scheme, seen, runtime: Some(runtime) }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// An address where nothing listens any more.
    pub fn gone() -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.local_addr().expect("it is bound")
    }

    /// Lets no answer out for so long, from now on.
    pub fn stall(&self, length: Duration) {
        *self.seen.stalled_until.lock().expect("nobody panics with it") = Some(Instant::now() + length);
    }

    /// Answers nothing any more that comes over a connection that is there now.
    pub fn go_deaf(&self) {
        self.seen.deaf_before.store(self.connections(), Ordering::SeqCst);
    }

    /// Breaks off what comes over any but the first connection.
    pub fn answer_the_first_only(&self) {
        self.seen.answers_the_first_only.store(true, Ordering::SeqCst);
    }

    /// The most requests that came within so long, since an instant.
    pub fn most_within(&self, window: Duration, since: Instant) -> usize {
        let arrivals = self.seen.arrivals.lock().expect("nobody panics with it");
        let late: Vec<_> = arrivals.iter().filter(|at| **at >= since).collect();
        let within = |from: usize| late[from..].iter().take_while(|at| ***at < *late[from] + window).count();
        (0..late.len()).map(within).max().unwrap_or_default()
    }

    /// Requests that came.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Those over HTTP/2.
    pub fn http2_requests(&self) -> u64 {
        self.seen.http2.load(Ordering::SeqCst)
    }

    /// Connections that were ever made.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that are there now.
    pub fn open(&self) -> u64 {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// TLS handshakes in full, and those that resumed a session.
    pub fn handshakes(&self) -> (u64, u64) {
        let resumed = self.seen.resumed.load(Ordering::SeqCst);
        (self.seen.handshakes.load(Ordering::SeqCst) - resumed, resumed)
    }

    /// Bytes of requests' bodies.
    pub fn body_bytes(&self) -> u64 {
        self.seen.body_bytes.load(Ordering::SeqCst)
    }

    /// What the latest request's header of this name said.
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.seen.headers.lock().expect("nobody panics with it");
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    while let Ok((socket, _)) = listener.accept().await {
        let _best_effort = socket.set_nodelay(true);
        let number = seen.connections.fetch_add(1, Ordering::SeqCst);
        seen.open.fetch_add(1, Ordering::SeqCst);
        let (tls, seen) = (tls.clone(), seen.clone());
        tokio::spawn(async move {
            converse(socket, number, tls, &seen).await;
            seen.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn converse(socket: TcpStream, number: u64, tls: Option<TlsAcceptor>, seen: &Arc<Seen>) {
    let Some(tls) = tls else {
        // PRI * HTTP/2.0: RFC 9113, 3.4.
        let mut begin = [0; 3];
        let is_http2 = socket.peek(&mut begin).await.is_ok() && &begin == b"PRI";
        return serve(socket, number, is_http2, seen).await;
    };
    let Ok(stream) = tls.accept(socket).await else { return };
    seen.handshakes.fetch_add(1, Ordering::SeqCst);
    let (_, connection) = stream.get_ref();
    if connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
        seen.resumed.fetch_add(1, Ordering::SeqCst);
    }
    let is_http2 = connection.alpn_protocol() == Some(b"h2");
    serve(stream, number, is_http2, seen).await;
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    number: u64,
    is_http2: bool,
    seen: &Arc<Seen>,
) {
    let answer = service_fn(|request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            seen.http2.fetch_add(u64::from(is_http2), Ordering::SeqCst);
            answer(request, number, &seen).await
        }
    });
    let stream = TokioIo::new(stream);
    // However it ends, it is over.
    if is_http2 {
        let _ended = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer).await;
    } else {
        let _ended = http1::Builder::new().serve_connection(stream, answer).await;
    }
}

/// To a request that came over a connection of this number.
async fn answer(
    request: Request<Incoming>,
    connection: u64,
    seen: &Seen,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let count = seen.requests.fetch_add(1, Ordering::SeqCst);
    seen.arrivals.lock().expect("nobody panics with it").push(Instant::now());
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    *seen.headers.lock().expect("nobody panics with it") = headers;
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes().len()).unwrap_or_default();
    seen.body_bytes.fetch_add(body as u64, Ordering::SeqCst);
    let stalled = *seen.stalled_until.lock().expect("nobody panics with it");
    if let Some(until) = stalled {
        tokio::time::sleep_until(until.into()).await;
    }
    if connection < seen.deaf_before.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    if connection > 0 && seen.answers_the_first_only.load(Ordering::SeqCst) {
        return Err(std::io::Error::other("as asked"));
    }
    let (what, number) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let number: u64 = number.parse().unwrap_or_default();
    let (status, bytes) = match what {
        "break" => return Err(std::io::Error::other("as asked")),
        "never" => std::future::pending::<Result<_, Infallible>>().await.unwrap_or((500, 0)),
        "holes" if (count + 1).is_multiple_of(number) => std::future::pending().await,
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number)).await;
            (200, 5)
        }
        "status" => (number as u16, 5),
        "flaky" if count.is_multiple_of(2) => (503, 5),
        "bytes" => (200, number as usize),
        _ => (200, 5),
    };
    let response = Response::builder().status(status).body(Full::new(Bytes::from(vec![b'x'; bytes])));
    response.map_err(std::io::Error::other)
}
