//! Whoever does not belong, or belongs and misbehaves: ten thousand connections, handshakes and headers that never end, messages
//! without an end, the same request twice. Each is refused or bounded; the agent's tick and memory stay as they are, and who
//! belongs gets an answer meanwhile.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::{
    ClientConnection,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use ssts_proto::v1::{
    DescribeRequest, ListRunsRequest, Phase, Scenario, StartRequest, StartResponse, agent_client::AgentClient,
};
use ssts_tests::{
    Ctl, Daemon, Ground, Pki, note, outside,
    page::{Page, TEXT, serving},
    raw_call, soon, tls_address,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tonic::{Code, Response, Status};

/// Longer than any of these takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// What they may take of the agent's memory, more than it had.
const MORE_BYTES: u64 = 64 << 20;
/// From these addresses of loopback, and from each of them.
const ADDRESSES: u8 = 40;
const OF_EACH: usize = 250;

/// Less often than a client may call.
const A_CLIENT_EVERY: Duration = Duration::from_millis(50);

/// Clears a flag when dropped.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// An agent over TCP, and who belongs.
struct Host {
    daemon: Daemon,
    address: SocketAddr,
    metrics: SocketAddr,
    alice: PathBuf,
    pki: Pki,
    ground: Ground,
}

/// How it is, by its own metrics and the kernel's books.
#[derive(Debug, Clone, Copy)]
struct Health {
    ticks: f64,
    late_ticks: f64,
    resident_bytes: u64,
    descriptors: usize,
}

impl Host {
    fn new() -> Self {
        let ground = Ground::new();
        let pki = Pki::new(&ground, "pki");
        let alice = pki.client(&ground, "alice", "operator");
        ground.configure(&pki.config(""));
        let (daemon, metrics) = serving(&ground);
        let address = tls_address(&daemon);
        Self { daemon, address, metrics, alice, pki, ground }
    }

    fn health(&self) -> Health {
        let page = Page::of(self.metrics, TEXT);
        let number = |name: &str| {
            let sample = page.samples.iter().find(|sample| sample.name == name);
            sample.unwrap_or_else(|| panic!("no {name}")).value
        };
        let process = self.daemon.process();
        Health {
            ticks: number("ssts_frames_total"),
            late_ticks: number("ssts_agent_ticks_missed_total"),
            resident_bytes: process.resident_bytes().expect("it lives"),
            descriptors: fs::read_dir(format!("/proc/{}/fd", process.pid)).expect("it lives").count(),
        }
    }

    fn status(&self) -> bool {
        let host = format!("https://{}", self.address);
        let pki = self.alice.display().to_string();
        let ctl = Ctl::bare(&self.ground).args(["--pki", &pki, "--host", &host]);
        ctl.words("status").run().status.code() == Some(0)
    }

    /// The first bytes of a client that speaks this version, which it sends and says no more.
    fn hello(&self, version: &'static rustls::SupportedProtocolVersion) -> Vec<u8> {
        let config = self.pki.tls(None, &[version]);
        let name = ServerName::from(self.address.ip());
        let mut client = ClientConnection::new(config, name).expect("the name is an address");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("memory takes it");
        bytes
    }
}

impl Health {
    /// Fails the story unless the agent is as well as it was.
    fn assert_unharmed_since(&self, before: &Self, during: Duration, what: &str) {
        let (ticks, late) = (self.ticks - before.ticks, self.late_ticks - before.late_ticks);
        let more = self.resident_bytes.saturating_sub(before.resident_bytes);
        note(format_args!(
            "{what}: {ticks} ticks in {during:?}, {late} of them late; {more} bytes more; {} descriptors, {} before",
            self.descriptors, before.descriptors
        ));
        assert!(more < MORE_BYTES, "{what}: {more} bytes more: {before:?} {self:?}");
        // The machine itself stands still at times.
        assert!(late <= 2.0 + ticks / 4.0, "{what}: {late} of {ticks} ticks were late");
        assert!(ticks >= during.as_secs_f64(), "{what}: {ticks} ticks in {during:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_harm_nobody_and_keep_nobody_out() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it is allowed");
    // The program's own, and what its children hold of it.
    let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(500);
    let each = OF_EACH.min(room / usize::from(ADDRESSES));
    if each < OF_EACH {
        note(format_args!("RLIMIT_NOFILE is {most}: {} connections only", each * usize::from(ADDRESSES)));
    }
    let host = Host::new();
    assert!(host.status());
    let (old, new) = (host.hello(&TLS12), host.hello(&TLS13));
    let says: [&[u8]; 5] = [b"", b"\x16", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", &old, &new];
    // Somebody else than who comes again and again: each may call so often.
    let bob = host.pki.client(&host.ground, "bob", "operator");
    let mut agent = AgentClient::new(host.pki.connect(host.address, &bob).await);
    soon(agent.list_runs(ListRunsRequest::default())).await.expect("it belongs");
    let (before, began) = (host.health(), Instant::now());

    // Who belongs and comes only now, again and again, as long as strangers come.
    let on = Arc::new(AtomicBool::new(true));
    // Also where the story fails: the runtime waits for its threads.
    let _over = Over(on.clone());
    let (let_in, kept_out) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let host = Arc::new(host);
    let belongs = {
        let (host, on, let_in, kept_out) = (host.clone(), on.clone(), let_in.clone(), kept_out.clone());
        tokio::task::spawn_blocking(move || {
            while on.load(Ordering::Relaxed) {
                let count = if host.status() { &let_in } else { &kept_out };
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(A_CLIENT_EVERY);
            }
        })
    };
    let mut held = Vec::new();
    let mut peak = 0;
    for number in 0..each * usize::from(ADDRESSES) {
        let from = 2 + (number % usize::from(ADDRESSES)) as u8;
        let said = says[number / usize::from(ADDRESSES) % says.len()];
        if let Some(stream) = stranger(host.address, from, said).await {
            held.push(stream);
        }
        if number % 1_000 == 999 {
            let answer = soon(agent.list_runs(ListRunsRequest::default())).await;
            answer.expect("a connection that is there is served");
            peak = peak.max(host.health().descriptors);
        }
    }
    on.store(false, Ordering::Relaxed);
    soon(belongs).await.expect("it does not panic");
    let (let_in, kept_out) = (let_in.load(Ordering::Relaxed), kept_out.load(Ordering::Relaxed));
    let during = began.elapsed();
    note(format_args!(
        "{} connections taken in {during:?}, {peak} descriptors at most; new clients: {let_in} served, {kept_out} not",
        held.len()
    ));
    assert!(held.len() > each * usize::from(ADDRESSES) / 2, "{} were taken by the kernel", held.len());
    assert!(let_in > kept_out, "{let_in} were let in, {kept_out} kept out");
    host.health().assert_unharmed_since(&before, during, "10,000 connections");
    // 64 handshakes, whatever strangers hold open at their ends.
    assert!(peak < before.descriptors + 300, "{peak} descriptors, {} before", before.descriptors);
    let back = outside::within(PATIENCE, || host.health().descriptors < before.descriptors + 96);
    assert!(back.is_some(), "{:?}, {before:?}", host.health());
    assert!(outside::within(PATIENCE, || host.status()).is_some(), "while all of them are held");

    // Refusals are noted, and do not fill the disk.
    let audit = host.ground.state().join("audit");
    let bytes: u64 = fs::read_dir(&audit)
        .expect("it is there")
        .flatten()
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    assert!(bytes < 1 << 20, "{bytes} bytes of refusals");
    let verify = ["audit", "verify", "--dir", &audit.display().to_string()].map(str::to_owned);
    Ctl::bare(&host.ground).args(verify).run().assert_status(0);
}

/// A connection from 127.0.0.x that says that. None where the kernel had none to give.
async fn stranger(to: SocketAddr, from: u8, says: &[u8]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into()).ok()?;
    let mut stream = timeout(Duration::from_secs(5), socket.connect(to)).await.ok()?.ok()?;
    // Closed already, perhaps.
    let _ = timeout(Duration::from_secs(1), stream.write_all(says)).await;
    Some(stream)
}

/// Until the agent ends the connection, while it is told a byte now and then. None where it does not.
async fn dribble<S>(mut stream: S, bytes: Vec<u8>, every: Duration) -> Option<Duration>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let began = Instant::now();
    let mut bytes = bytes.into_iter();
    let mut buffer = [0; 1_024];
    let dribbling = async {
        loop {
            tokio::select! {
                read = stream.read(&mut buffer) => if read.map_or(true, |bytes| bytes == 0) { return },
                () = sleep(every) => {
                    let Some(byte) = bytes.next() else { continue };
                    if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    timeout(2 * PATIENCE, dribbling).await.ok().map(|()| began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dribbles_is_cut_off_wherever_it_begins_to() {
    let host = Host::new();
    let (before, began) = (host.health(), Instant::now());
    let hello = host.hello(&TLS13);
    let shake = async || {
        let tls = host.pki.tls(Some(&host.alice), &[&TLS13]);
        soon(Pki::shake(host.address, tls)).await.expect("it belongs")
    };
    // RFC 9113: the preface, and SETTINGS without any.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let every = Duration::from_millis(500);
    let tcp = soon(TcpStream::connect(host.address)).await.expect("it listens");
    let in_handshake = tokio::spawn(dribble(tcp, hello, every));
    let in_preface = tokio::spawn(dribble(shake().await, preface.clone(), every));
    let mut begun = shake().await;
    begun.write_all(&preface).await.expect("it is open");
    begun.write_all(&settings).await.expect("it is open");
    // HEADERS of 16 KiB for the first stream, END_HEADERS; what follows is a byte at a time.
    begun.write_all(&[0, 0x40, 0, 1, 4, 0, 0, 0, 1]).await.expect("it is open");
    begun.flush().await.expect("it is open");
    let in_headers = tokio::spawn(dribble(begun, vec![0x82; 16 << 10], every));
    for (what, dribbling) in
        [("a handshake", in_handshake), ("the preface", in_preface), ("headers", in_headers)]
    {
        let ended = dribbling.await.expect("it does not panic");
        let ended = ended.unwrap_or_else(|| panic!("who dribbles {what} stays:\n{}", host.daemon.log()));
        note(format_args!("who dribbled {what} was cut off after {ended:?}"));
    }
    assert!(host.status());
    host.health().assert_unharmed_since(&before, began.elapsed(), "dribblers");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let host = Host::new();
    let (before, began) = (host.health(), Instant::now());
    let channel = host.pki.connect(host.address, &host.alice).await;
    // A message that says it is 4 GiB long, one that is compressed with nothing that was agreed on, and 8 MiB in earnest.
    let code = soon(raw_call(channel.clone(), "Start", vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3])).await;
    assert!(matches!(code, Some(Code::OutOfRange | Code::ResourceExhausted)), "{code:?}");
    let code = soon(raw_call(channel.clone(), "Start", vec![1, 0, 0, 0, 1, 0])).await;
    assert!(code.is_some_and(|code| code != Code::Ok), "{code:?}");
    let mut agent = AgentClient::new(channel.clone());
    for _ in 0..16 {
        let giant = StartRequest { run_id: "x".repeat(8 << 20), ..StartRequest::default() };
        assert!(soon(agent.start(giant)).await.is_err());
    }
    // Headers without end.
    let mut request = tonic::Request::new(DescribeRequest {});
    for number in 0..64 {
        let name = format!("x-{number}").parse::<tonic::metadata::MetadataKey<_>>().expect("it is one");
        let value = "x".repeat(1_024).parse::<tonic::metadata::MetadataValue<_>>().expect("it is one");
        request.metadata_mut().insert(name, value);
    }
    let mut stranger = AgentClient::new(host.pki.connect(host.address, &host.alice).await);
    assert!(soon(stranger.describe(request)).await.is_err());
    soon(agent.list_runs(ListRunsRequest::default())).await.expect("the others' connections go on");
    host.health().assert_unharmed_since(&before, began.elapsed(), "giants");
}

/// Who overheard a request, or lost the answer, sends it once more: that starts nothing, whenever it comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_twice_is_carried_out_once() {
    let host = Host::new();
    let phase = Phase { name: "looks".into(), duration_ms: 500, ..Phase::default() };
    let scenario = Scenario { name: "once".into(), phases: vec![phase], ..Scenario::default() };
    let request = StartRequest { run_id: "once".into(), scenario: Some(scenario), ..StartRequest::default() };
    let mut agent = AgentClient::new(host.pki.connect(host.address, &host.alice).await);
    soon(agent.start(request.clone())).await.expect("it is allowed");
    let again = |answer: Result<Response<StartResponse>, Status>| {
        assert_eq!(answer.expect_err("it is known").code(), Code::AlreadyExists);
    };
    again(soon(agent.start(request.clone())).await);
    let is_over = || Ctl::new(&host.ground).words("runs").json()["runs"][0]["state"] == "finished";
    assert!(outside::within(PATIENCE, is_over).is_some(), "{}", host.daemon.log());
    again(soon(agent.start(request.clone())).await);
    let Host { daemon, ground, pki, alice, .. } = host;
    drop(daemon);
    // The next one has another port.
    fs::remove_file(ground.path("sstsd.log")).expect("it is there");
    let daemon = Daemon::start(&ground);
    let mut agent = AgentClient::new(pki.connect(tls_address(&daemon), &alice).await);
    again(soon(agent.start(request)).await);
    assert_eq!(Ctl::new(&ground).words("runs").json()["runs"].as_array().map(Vec::len), Some(1));
}
