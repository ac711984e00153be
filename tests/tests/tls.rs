//! Over TCP only who belongs is let in, and may do what its role allows; who does not belong harms nobody.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::version::{TLS12, TLS13};
use ssts_proto::v1::{
    DescribeRequest, HaltRequest, ListRunsRequest, RecoverRequest, ResumeRequest, StartRequest, WatchRequest,
    agent_client::AgentClient,
};
use ssts_tests::{Ctl, Daemon, Ground, Pki, connect, note, outside, soon, tls_address};
use tokio::io::AsyncReadExt as _;
use tonic::Code;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

/// Longer than any of these takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn listening(ground: &Ground, pki: &Pki, more: &str) -> (Daemon, SocketAddr) {
    ground.configure(&pki.config(more));
    let daemon = Daemon::start(ground);
    let address = tls_address(&daemon);
    (daemon, address)
}

fn ctl(ground: &Ground, folder: &Path, address: SocketAddr) -> Ctl {
    let host = format!("https://{address}");
    Ctl::bare(ground).args(["--pki", &folder.display().to_string(), "--host", &host])
}

fn is_well(ground: &Ground, folder: &Path, address: SocketAddr) {
    ctl(ground, folder, address).words("status").run().assert_status(0);
}

/// What the log has of it, sooner or later.
fn assert_noted(ground: &Ground, words: &str) {
    let log = || {
        let found = Ctl::bare(ground).args(["audit", "export", "--dir", &audit(ground)]).run();
        found.assert_status(0);
        found.stdout
    };
    let noted = outside::within(Duration::from_secs(20), || log().contains(words));
    assert!(noted.is_some(), "'{words}' is not noted:\n{}", log());
}

fn audit(ground: &Ground) -> String {
    ground.state().join("audit").display().to_string()
}

#[test]
fn three_commands_lead_from_nothing_to_a_host_over_tcp() {
    let ground = Ground::new();
    let pki = ground.path("pki");
    let own = || Ctl::bare(&ground).args(["--pki", &pki.display().to_string()]);
    own().words("pki init").run().assert_status(0);
    own().words("pki issue host here --address 127.0.0.1").run().assert_status(0);
    own().words("pki issue client alice --role viewer").run().assert_status(0);
    let host = pki.join("hosts/here");
    let tls = |key: &Path| {
        let host = host.display();
        let key = key.display();
        format!(
            "[tls]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"{host}/host.crt\"\nkey = \"{key}\"\n\
             clients_ca = \"{host}/ca.crt\"\nrevoked = \"{host}/revoked.crl\"\n"
        )
    };
    ground.configure(&tls(&host.join("host.key")));
    let daemon = Daemon::start(&ground);
    let address = tls_address(&daemon);
    let info = ctl(&ground, &pki, address).words("info").json();
    assert_eq!(info["policy"]["your_role"], "viewer", "{info:#}");
    ctl(&ground, &pki, address)
        .words("halt")
        .run()
        .assert_status(5)
        .assert_tells(&["alice", "viewer", "halter"]);
    let listed = own().words("pki list").json();
    assert_eq!(listed["certificates"].as_array().map(Vec::len), Some(2), "{listed:#}");
    assert_eq!(listed["certificates"][1]["state"], "in_force", "{listed:#}");

    // A key that others may read is none, neither here nor there.
    let key = pki.join("clients/alice/client.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("it is ours");
    ctl(&ground, &pki, address).words("info").run().assert_status(2).assert_tells(&["0640", "chmod 600"]);
    drop(daemon);
    // It was killed, and could not remove it.
    fs::remove_file(ground.socket()).expect("it is there");
    let wide = pki.join("hosts/here/host.key");
    fs::set_permissions(&wide, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let (status, told) = Daemon::refusal(Daemon::command(&ground));
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("0644") && told.contains("chmod 600"), "{told}");
    ground.configure(&tls(&ground.path("no.key")));
    let (status, told) = Daemon::refusal(Daemon::command(&ground));
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("tls.key") && told.contains("pki issue host"), "{told}");
    assert!(!ground.socket().exists(), "nothing opens before the certificates are there");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_is_refused_and_told_why() {
    let ground = Ground::new();
    let pki = Pki::new(&ground, "pki");
    let alice = pki.client(&ground, "alice", "viewer");
    let gone = pki.client(&ground, "gone", "admin");
    pki.ctl(&ground).words("pki revoke gone").run().assert_status(0);
    pki.ctl(&ground).words("pki issue client late --role admin --valid-for 1s").run().assert_status(0);
    let late = pki.folder().join("clients/late");
    let other = Pki::new(&ground, "other");
    let stranger = other.client(&ground, "stranger", "admin");
    fs::copy(pki.folder().join("ca.crt"), stranger.join("ca.crt")).expect("both are ours");
    let (daemon, address) = listening(&ground, &pki, "");
    is_well(&ground, &alice, address);
    thread::sleep(Duration::from_secs(2));

    for (folder, why) in [(&gone, "revoked"), (&late, "expired"), (&stranger, "another authority")] {
        ctl(&ground, folder, address).words("status").run().assert_status(5).assert_tells(&[why, "mend"]);
    }
    // The other way round: an agent of another authority is not talked to.
    ctl(&ground, other.folder(), address)
        .words("status")
        .run()
        .assert_status(5)
        .assert_tells(&["not of our authority"]);

    // Without a certificate the handshake ends, for the client when it reads.
    let without = pki.tls(None, &[&TLS13]);
    let mut stream = soon(Pki::shake(address, without)).await.expect("for the client it is over");
    assert!(soon(stream.read(&mut [0; 1])).await.is_err());
    let old = soon(Pki::shake(address, pki.tls(Some(&alice), &[&TLS12]))).await;
    assert!(old.is_err(), "TLS 1.2 is spoken");
    // A host's certificate is no client's.
    let host = pki.host();
    let as_client = ground.path("as-client");
    fs::create_dir(&as_client).expect("it is new");
    for (from, to) in [("host.crt", "client.crt"), ("host.key", "client.key"), ("ca.crt", "ca.crt")] {
        fs::copy(host.join(from), as_client.join(to)).expect("both are ours");
    }
    ctl(&ground, &as_client, address)
        .words("status")
        .run()
        .assert_status(5)
        .assert_tells(&["refuses our certificate"]);
    let mut plain = TcpStream::connect(address).expect("it listens");
    plain.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("it listens");
    let mut answer = Vec::new();
    // It may also be reset.
    let _ = plain.read_to_end(&mut answer);
    // An alert of TLS, if anything: no frame of HTTP/2.
    assert!(answer.len() < 9, "{answer:?}");

    is_well(&ground, &alice, address);
    assert_noted(&ground, "no handshake");
    drop(daemon);
    Ctl::bare(&ground).args(["audit", "verify", "--dir", &audit(&ground)]).run().assert_status(0);
}

#[test]
fn who_comes_from_elsewhere_is_not_shaken_hands_with() {
    let ground = Ground::new();
    let pki = Pki::new(&ground, "pki");
    let alice = pki.client(&ground, "alice", "admin");
    let (_daemon, address) = listening(&ground, &pki, "allowed_networks = [\"10.0.0.0/8\"]");
    ctl(&ground, &alice, address).words("status").run().assert_status(5);
    assert_noted(&ground, "not from an allowed network");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_what_the_table_says() {
    let ground = Ground::new();
    let pki = Pki::new(&ground, "pki");
    let folders = ["viewer", "halter", "operator", "admin"].map(|role| pki.client(&ground, role, role));
    let demoted = pki.client(&ground, "demoted", "admin");
    let more = "roles = [{ client = \"demoted\", role = \"viewer\" }]\n[audit]\nmax_file_bytes = 4096";
    let (_daemon, address) = listening(&ground, &pki, more);
    let denied = |code: Code| code == Code::PermissionDenied;
    for (rank, folder) in folders.iter().chain([&demoted]).enumerate() {
        let rank = if rank == 4 { 0 } else { rank };
        let mut agent = AgentClient::new(pki.connect(address, folder).await);
        soon(agent.list_runs(ListRunsRequest::default())).await.expect("all may look");
        let start = soon(agent.start(StartRequest { run_id: "r".into(), ..StartRequest::default() })).await;
        assert_eq!(denied(start.expect_err("it has no scenario").code()), rank < 2, "{rank}");
        let resume = soon(agent.resume(ResumeRequest { run_id: "none".into() })).await;
        assert_eq!(denied(resume.expect_err("there is no such run").code()), rank < 2, "{rank}");
        let recover = soon(agent.recover(RecoverRequest::default())).await;
        assert_eq!(recover.err().is_some_and(|status| denied(status.code())), rank < 3, "{rank}");
        let halt = soon(agent.halt(HaltRequest { reason: "a test".into(), clear: false })).await;
        assert_eq!(halt.err().is_some_and(|status| denied(status.code())), rank < 1, "{rank}");
        let clear = soon(agent.halt(HaltRequest { clear: true, ..HaltRequest::default() })).await;
        assert_eq!(clear.err().is_some_and(|status| denied(status.code())), rank < 3, "{rank}");
    }
    // A giant message is refused, and the connection goes on.
    let mut agent = AgentClient::new(pki.connect(address, &folders[2]).await);
    let giant = StartRequest { run_id: "x".repeat(8 << 20), ..StartRequest::default() };
    assert!(soon(agent.start(giant)).await.is_err());
    soon(agent.describe(DescribeRequest::default())).await.expect("it goes on");
    // What there is to call is not for strangers; whoever may look sees it.
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(pki.connect(address, &folders[0]).await);
    soon(reflection.server_reflection_info(tokio_stream::iter([ask]))).await.expect("a viewer may");
    assert_noted(&ground, "needs operator to call Start");
    let verified = Ctl::bare(&ground).args(["audit", "verify", "--dir", &audit(&ground)]).json();
    assert_eq!(verified["sound"], true, "{verified:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_revocations_are_taken_without_a_stream_lost() {
    let ground = Ground::new();
    let pki = Pki::new(&ground, "pki");
    let [alice, bob] = ["alice", "bob"].map(|name| pki.client(&ground, name, "viewer"));
    let (daemon, address) = listening(&ground, &pki, "");
    let request = WatchRequest { frames: true, ..WatchRequest::default() };
    let mut clients = Vec::new();
    for folder in [&alice, &bob] {
        let mut agent =
            AgentClient::new(pki.connect(address, folder).await).max_decoding_message_size(16 << 20);
        clients.push(soon(agent.watch(request.clone())).await.expect("a viewer may").into_inner());
    }
    let [of_alice, of_bob] = &mut clients[..] else { unreachable!("there are two") };
    let serves = async || {
        let stream = soon(Pki::shake(address, pki.tls(Some(&alice), &[&TLS13]))).await.expect("it belongs");
        stream.get_ref().1.peer_certificates().expect("it has one")[0].clone().into_owned()
    };
    let before = serves().await;
    pki.ctl(&ground).words("pki rotate here").run().assert_status(0);
    let mut changed = false;
    for _ in 0..200 {
        soon(of_alice.message()).await.expect("the stream goes on").expect("it does not end");
        changed = serves().await != before;
        if changed {
            break;
        }
    }
    assert!(changed, "the new certificate is not taken:\n{}", daemon.log());
    soon(of_bob.message()).await.expect("the stream goes on").expect("it does not end");

    pki.ctl(&ground).words("pki revoke bob").run().assert_status(0);
    let cut = soon(async { while let Ok(Some(_)) = of_bob.message().await {} });
    cut.await;
    ctl(&ground, &bob, address).words("status").run().assert_status(5).assert_tells(&["revoked"]);
    for _ in 0..5 {
        soon(of_alice.message()).await.expect("the stream goes on").expect("it does not end");
    }
    assert_noted(&ground, "\"client\":\"bob\"");

    // What can't be used is told, and what there was stays in force.
    fs::write(pki.host().join("host.crt"), "none").expect("it is ours");
    let told = outside::within(PATIENCE, || daemon.log().contains("it holds no certificate"));
    assert!(told.is_some(), "{}", daemon.log());
    is_well(&ground, &alice, address);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_is_bounded_and_harms_nobody() {
    const FLOOD: usize = 2_000;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it is allowed");
    let ground = Ground::new();
    let pki = Pki::new(&ground, "pki");
    let alice = pki.client(&ground, "alice", "viewer");
    let (daemon, address) = listening(&ground, &pki, "max_connections_per_client = 4");
    is_well(&ground, &alice, address);
    let mut local = AgentClient::new(connect(&ground).await).max_decoding_message_size(16 << 20);
    let request = WatchRequest { frames: true, ..WatchRequest::default() };
    let mut frames = soon(local.watch(request)).await.expect("it is offered").into_inner();
    soon(frames.message()).await.expect("it goes on").expect("it does not end");
    let before = daemon.process().resident_bytes().expect("it lives");
    let sockets = || fs::read_dir(format!("/proc/{}/fd", daemon.process().pid)).expect("it lives").count();
    let idle = sockets();

    // Slow ones say nothing, or one byte; most of them are closed at once. As many as are asked for come, bit by bit.
    let mut held = Vec::new();
    let mut most = 0;
    for number in 0..FLOOD {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { continue };
        if number % 2 == 0 {
            // Closed already, perhaps.
            let _ = stream.write_all(&[0x16]);
        }
        held.push(stream);
        if number % 100 == 0 {
            most = most.max(sockets());
            soon(frames.message()).await.expect("it goes on").expect("it does not end");
        }
    }
    assert!(held.len() > FLOOD / 2, "{} of {FLOOD} were taken by the kernel", held.len());
    // 16 handshakes of one address at once; others are closed when they are taken.
    assert!(most < idle + 200, "{most} descriptors, {idle} before");
    let bounded = outside::within(PATIENCE, || sockets() < idle + 64);
    assert!(bounded.is_some(), "{} descriptors, {idle} before", sockets());
    let grown = daemon.process().resident_bytes().expect("it lives").saturating_sub(before);
    note(format_args!(
        "{} connections taken, {} descriptors more at most, {grown} bytes more",
        held.len(),
        most.saturating_sub(idle)
    ));
    assert!(grown < 32 << 20, "{grown} bytes more");
    for _ in 0..10 {
        soon(frames.message()).await.expect("it goes on").expect("it does not end");
    }
    // Even while they are held: they are out of time by now, or soon.
    let back = outside::within(PATIENCE, || {
        ctl(&ground, &alice, address).words("status").run().status.code() == Some(0)
    });
    assert!(back.is_some(), "{}", daemon.log());

    // Nor has one client more than its share.
    let carol = pki.client(&ground, "carol", "viewer");
    let mut own = Vec::new();
    for _ in 0..4 {
        let mut agent = AgentClient::new(pki.connect(address, &carol).await);
        soon(agent.list_runs(ListRunsRequest::default())).await.expect("it belongs");
        own.push(agent);
    }
    let mut fifth =
        soon(Pki::shake(address, pki.tls(Some(&carol), &[&TLS13]))).await.expect("for the client it is over");
    let said = soon(fifth.read(&mut [0; 64])).await;
    assert!(!said.is_ok_and(|bytes| bytes > 0), "five connections of one client");
    // Who is let in and says nothing is sent away.
    let mute = pki.client(&ground, "mute", "viewer");
    let mut silent = soon(Pki::shake(address, pki.tls(Some(&mute), &[&TLS13]))).await.expect("it belongs");
    assert!(soon(silent.read(&mut [0; 64])).await.is_ok_and(|bytes| bytes > 0));
    soon(async { while silent.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {} }).await;
    assert_noted(&ground, "too many handshakes at once");
}

/// Everything that a client sent, sent again by somebody who overheard it.
#[test]
fn a_replayed_command_does_nothing() {
    let ground = Ground::new();
    let pki = Pki::new(&ground, "pki");
    let alice = pki.client(&ground, "alice", "halter");
    let (_daemon, address) = listening(&ground, &pki, "");
    let between = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let through = between.local_addr().expect("it is bound");
    let recording = thread::spawn(move || {
        let (mut client, _) = between.accept().expect("a client comes");
        let mut server = TcpStream::connect(address).expect("it listens");
        let mut back = (server.try_clone().expect("it is open"), client.try_clone().expect("it is open"));
        // Ends with the connection, one way or another.
        let answers = thread::spawn(move || std::io::copy(&mut back.0, &mut back.1).is_ok());
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = client.read(&mut buffer) {
            heard.extend_from_slice(&buffer[..bytes]);
            if server.write_all(&buffer[..bytes]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
        let _ = answers.join();
        heard
    });
    ctl(&ground, &alice, through).words("halt --reason overheard").run().assert_status(0);
    let heard = recording.join().expect("it does not panic");
    assert!(heard.len() > 500, "{} bytes", heard.len());
    let halted = || Ctl::new(&ground).words("status").json()["halt"].is_object();
    assert!(halted());
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);

    let mut again = TcpStream::connect(address).expect("it listens");
    again.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    // It may be closed meanwhile.
    let _ = again.write_all(&heard);
    let _ = again.read_to_end(&mut Vec::new());
    assert!(!halted(), "what was overheard halted the host");
    assert_noted(&ground, "no handshake");
}
