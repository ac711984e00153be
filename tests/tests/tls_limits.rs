//! What whoever belongs gets of an agent at most, key by key of its section `[tls]`; and that nothing listens where no certificate is.

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustls::version::TLS13;
use serde_json::Value;
use ssts_proto::v1::{
    ListRunsRequest, Phase, RenewLeaseRequest, Scenario, StartRequest, StopRequest, WatchRequest,
    agent_client::AgentClient,
};
use ssts_tests::{Ctl, Daemon, Ground, Pki, note, soon, tls_address};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};
use tonic::{Code, transport::Channel};

/// Longer than any of these takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what must not come.
const MOMENT: Duration = Duration::from_millis(700);

/// An agent over TCP with some keys of its own.
struct Host {
    address: SocketAddr,
    pki: Pki,
    daemon: Daemon,
    ground: Ground,
}

impl Host {
    fn with(keys: &str) -> Self {
        let ground = Ground::new();
        let pki = Pki::new(&ground, "pki");
        ground.configure(&pki.config(keys));
        let daemon = Daemon::start(&ground);
        Self { address: tls_address(&daemon), pki, daemon, ground }
    }

    fn client(&self, name: &str) -> PathBuf {
        self.pki.client(&self.ground, name, "operator")
    }

    async fn agent(&self, client: &Path) -> AgentClient<Channel> {
        AgentClient::new(self.pki.connect(self.address, client).await)
    }

    /// Lines of its journal of commands.
    fn noted(&self) -> Vec<Value> {
        let folder = self.ground.state().join("audit").display().to_string();
        let export = Ctl::bare(&self.ground).args(["audit", "export", "--dir", &folder]).run();
        export.assert_status(0);
        export.stdout.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
    }

    /// Whether a client is shaken hands with and not let go of at once.
    async fn lets_in(&self, client: &Path) -> Option<impl Sized + use<>> {
        let tls = self.pki.tls(Some(client), &[&TLS13]);
        let mut stream = soon(Pki::shake(self.address, tls)).await.ok()?;
        // The server's settings come first, or nothing at all.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.ok()?;
        let read = soon(stream.read(&mut [0; 1])).await.ok()?;
        (read > 0).then_some(stream)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_so_many_streams_at_once() {
    let host = Host::with("max_streams = 2");
    let alice = host.client("alice");
    let mut agent = host.agent(&alice).await;
    let mut watches = Vec::new();
    for _ in 0..2 {
        watches.push(soon(agent.watch(WatchRequest::default())).await.expect("an operator may"));
    }
    let third = timeout(MOMENT, agent.list_runs(ListRunsRequest::default())).await;
    assert!(third.is_err(), "a third one is answered beside two: {third:?}");
    // Another connection has streams of its own.
    let mut other = host.agent(&alice).await;
    soon(other.list_runs(ListRunsRequest::default())).await.expect("an operator may");
    watches.pop();
    soon(agent.list_runs(ListRunsRequest::default())).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_so_many_bytes() {
    let host = Host::with("max_message_bytes = 65536");
    let mut agent = host.agent(&host.client("alice")).await;
    let started = |bytes: usize| StartRequest { run_id: "x".repeat(bytes), ..StartRequest::default() };
    // Both are wrong; one of them is read.
    let read = soon(agent.start(started(60_000))).await.expect_err("no run has such a name");
    assert_eq!(read.code(), Code::InvalidArgument, "{read:?}");
    let unread = soon(agent.start(started(70_000))).await.expect_err("it is too large");
    assert_eq!(unread.code(), Code::OutOfRange, "{unread:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_calls_so_often_and_stops_as_often_as_it_wants() {
    let host = Host::with("max_calls_per_s = 5");
    let mut agent = host.agent(&host.client("alice")).await;
    let mut refused = None;
    for _ in 0..50 {
        if let Err(status) = soon(agent.list_runs(ListRunsRequest::default())).await {
            refused = Some(status);
        }
    }
    let refused = refused.expect("50 calls at once are answered");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    for _ in 0..50 {
        let stop = StopRequest { run_id: "none".into(), reason: String::new() };
        let status = soon(agent.stop(stop)).await.expect_err("there is no such run");
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
    }
    // Somebody else has calls of their own.
    let mut bob = host.agent(&host.client("bob")).await;
    soon(bob.list_runs(ListRunsRequest::default())).await.expect("an operator may");
    sleep(Duration::from_secs(2)).await;
    soon(agent.list_runs(ListRunsRequest::default())).await.expect("it may call again");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_clients_together_have_so_many_connections() {
    let host = Host::with("max_connections = 3\nmax_connections_per_client = 3");
    let clients = ["alice", "bob", "carol", "dave"].map(|name| host.client(name));
    let mut open = Vec::new();
    for client in &clients[..3] {
        open.push(host.lets_in(client).await.expect("there is room"));
    }
    assert!(timeout(MOMENT, host.lets_in(&clients[3])).await.ok().flatten().is_none(), "a fourth is let in");
    open.pop();
    let begin = Instant::now();
    while host.lets_in(&clients[3]).await.is_none() {
        assert!(begin.elapsed() < PATIENCE, "nobody is let in any more:\n{}", host.daemon.log());
        sleep(Duration::from_millis(50)).await;
    }
}

/// A certificate is looked at again while its connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_soon_after_its_certificate_does() {
    let host = Host::with("");
    host.pki
        .ctl(&host.ground)
        .words("pki issue client late --role viewer --valid-for 5s")
        .run()
        .assert_status(0);
    let late = host.pki.folder().join("clients/late");
    let mut agent = host.agent(&late).await;
    let request = WatchRequest { frames: true, ..WatchRequest::default() };
    let began = Instant::now();
    let mut stream = soon(agent.watch(request)).await.expect("it is valid yet").into_inner();
    // Looked at every 30 s.
    let ended = timeout(Duration::from_secs(50), async { while let Ok(Some(_)) = stream.message().await {} });
    ended.await.expect("it goes on without a certificate");
    note(format_args!("cut off after {:?}", began.elapsed()));
    assert!(began.elapsed() > Duration::from_secs(4), "cut off while it was valid");
}

/// A request whose body comes byte by byte, from a client that answers pings.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_is_given_up() {
    let host = Host::with("");
    let channel = host.pki.connect(host.address, &host.client("alice")).await;
    let began = Instant::now();
    let code = timeout(Duration::from_secs(90), ssts_tests::dribbled_call(channel, "ListRuns")).await;
    let code = code.expect("it is waited for without an end");
    note(format_args!("given up after {:?}: {code:?}", began.elapsed()));
    assert_ne!(code, Some(Code::Ok));
    assert!(began.elapsed() > Duration::from_secs(30), "{code:?}");
}

/// Inodes of sockets that listen, of IPv4 and IPv6: proc(5).
fn listening_sockets(pid: i32) -> usize {
    const LISTEN: &str = "0A";
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")));
    let inodes: HashSet<String> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines().skip(1))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words[3] == LISTEN)
        .map(|words| format!("socket:[{}]", words[9]))
        .collect();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").flatten();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| inodes.contains(&*link.to_string_lossy())).count()
}

#[test]
fn without_certificates_nobody_is_listened_to_over_tcp() {
    const NO_METRICS: &str = "[metrics]\nlisten = []\n";
    let ground = Ground::new();
    ground.configure(NO_METRICS);
    let daemon = Daemon::start(&ground);
    Ctl::new(&ground).words("status").run().assert_status(0);
    assert_eq!(listening_sockets(daemon.process().pid), 0, "{}", daemon.log());
    drop(daemon);
    // As it would be found where there is one.
    fs::remove_file(ground.path("sstsd.log")).expect("it is there");
    let pki = Pki::new(&ground, "pki");
    ground.configure(&(pki.config("") + NO_METRICS));
    let daemon = Daemon::start(&ground);
    tls_address(&daemon);
    assert_eq!(listening_sockets(daemon.process().pid), 1, "{}", daemon.log());
}

/// Who it was, by which certificate and from where, stands in the journal of commands.
#[test]
fn a_command_over_tcp_is_noted_with_its_certificate_and_address() {
    let host = Host::with("");
    let alice = host.client("alice");
    let address = format!("https://{}", host.address);
    let ctl = Ctl::bare(&host.ground).args(["--pki", &alice.display().to_string(), "--host", &address]);
    ctl.words("burn cpu --load 5 --tolerance 100 --duration 200ms").run().assert_status(0);
    let of_start = |line: &&Value| line["call"] == "Start" && line["who"]["client"] == "alice";
    let lines = host.noted();
    let noted: Vec<_> = lines.iter().filter(of_start).collect();
    assert_eq!(noted.len(), 2, "allowed and done: {lines:#?}");
    for line in noted {
        let who = &line["who"];
        let from: SocketAddr =
            who["address"].as_str().and_then(|from| from.parse().ok()).unwrap_or_else(|| panic!("{line:#}"));
        assert_eq!(from.ip(), host.address.ip(), "{line:#}");
        let serial = who["serial"].as_str().unwrap_or_default();
        assert!(serial.len() > 8 && serial.chars().all(|c| c.is_ascii_hexdigit() || c == ':'), "{line:#}");
        assert_eq!(who["role"], "operator", "{line:#}");
    }
}

/// Renewals are many; the one that makes somebody else its keeper is noted.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_run_over_is_noted_once() {
    let host = Host::with("");
    let [mut alice, mut bob] =
        [host.agent(&host.client("alice")).await, host.agent(&host.client("bob")).await];
    let phase = Phase { name: "looks".into(), duration_ms: 30_000, ..Phase::default() };
    let scenario = Scenario { name: "kept".into(), phases: vec![phase], ..Scenario::default() };
    let start = StartRequest {
        run_id: "kept".into(),
        scenario: Some(scenario),
        lease_ttl_ms: Some(20_000),
        ..StartRequest::default()
    };
    soon(alice.start(start)).await.expect("an operator may");
    for keeper in [&mut alice, &mut bob] {
        for _ in 0..3 {
            let renew = RenewLeaseRequest { run_id: "kept".into() };
            soon(keeper.renew_lease(renew)).await.expect("an operator may");
        }
    }
    let taken: Vec<_> = host.noted().into_iter().filter(|line| line["call"] == "RenewLease").collect();
    let [line] = &taken[..] else { panic!("noted more or less than once: {taken:#?}") };
    assert_eq!(
        (&line["who"]["client"], &line["parameters"]["run_id"]),
        (&"bob".into(), &"kept".into()),
        "{line:#}"
    );
}
