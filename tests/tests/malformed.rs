//! Whatever bytes come for a request, decoding and validating them ends soon and in order, and so does a daemon that gets them
//! over its socket. FUZZ_SECONDS says how long each of these tries; docs/security.md has the commands for longer.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use fastrand::Rng;
use ssts_proto::v1::{HaltRequest, ListRunsRequest, agent_client::AgentClient};
use ssts_tests::{
    Ctl, Daemon, Ground, Programs, connect,
    malformed::{Contract, METHODS, mutate},
    note, raw_call,
};
use tokio::time::timeout;

/// Unless FUZZ_SECONDS says otherwise.
const SECONDS: u64 = 4;
/// Longer, and it hangs.
const READ_TIME: Duration = Duration::from_secs(10);
/// A stop waits for the end of a run, and a preparation for burners.
const CALL_TIME: Duration = Duration::from_secs(60);
/// These go on until their caller leaves.
const STREAMS: [&str; 2] = ["Watch", "ReadRecord"];

fn time() -> Duration {
    let asked = env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(SECONDS))
}

/// Told, so that a failure can be repeated; FUZZ_SEED repeats it.
fn rng() -> Rng {
    let seed =
        env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    note(format_args!("FUZZ_SEED={seed}"));
    Rng::with_seed(seed)
}

#[test]
fn every_method_of_the_contract_is_tried() {
    let contract = Contract::new();
    let methods: Vec<_> = contract.methods().collect();
    let tried: Vec<_> = METHODS.iter().map(|(name, _)| *name).collect();
    for method in &methods {
        assert!(tried.contains(method), "{method} is missing in tests/src/malformed.rs");
    }
    assert_eq!(methods.len(), tried.len());
}

/// What was found once, or reached what nothing else had: kept with the fuzzer (fuzz/).
#[test]
fn what_is_kept_is_read() {
    let corpus = Programs::repository().join("fuzz/corpus/requests");
    let mut read = 0;
    for file in fs::read_dir(&corpus).expect("it is in the repository").flatten() {
        let bytes = fs::read(file.path()).expect("it is in the repository");
        try_all(&bytes);
        read += 1;
    }
    assert!(read > 0, "{} is empty", corpus.display());
}

/// The first byte says as what the others are read.
fn try_all(bytes: &[u8]) {
    let Some((method, bytes)) = bytes.split_first() else { return };
    METHODS[usize::from(*method) % METHODS.len()].1(bytes);
}

#[test]
fn no_bytes_keep_decoding_and_validating_from_their_end() {
    let (contract, mut rng) = (Contract::new(), rng());
    let (began, mut tries, mut messages) = (Instant::now(), 0_u64, 0_u64);
    while began.elapsed() < time() {
        for (method, read) in METHODS {
            let mut bytes = contract.request(method, &mut rng);
            assert!(read(&bytes), "{method}: what was written by the contract is no message: {bytes:02x?}");
            mutate(&mut bytes, &mut rng);
            let began = Instant::now();
            messages += u64::from(read(&bytes));
            assert!(began.elapsed() < READ_TIME, "{method}: it took {:?}: {bytes:02x?}", began.elapsed());
            tries += 2;
        }
    }
    note(format_args!("{tries} requests, {messages} of those that were changed are messages all the same"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_lives_through_whatever_comes_over_its_socket() {
    let ground = Ground::new();
    // What happens to be a scenario is short, and writes nowhere.
    let nowhere = ground.path("home");
    ground.configure(&format!(
        "[observe]\nprobes = false\n[limits]\nmax_duration = \"1s\"\n[policy]\nmax_load_percent = 5.0\npaths = [\"{}\"]\n",
        nowhere.display()
    ));
    let daemon = Daemon::start(&ground);
    let before = daemon.process().resident_bytes().expect("it lives");
    let (contract, mut rng) = (Contract::new(), rng());
    let channel = connect(&ground).await;
    let mut agent = AgentClient::new(channel.clone());
    let (began, mut calls) = (Instant::now(), 0_u64);
    while began.elapsed() < time() {
        for (method, _) in METHODS {
            let mut message = contract.request(method, &mut rng);
            if rng.bool() {
                mutate(&mut message, &mut rng);
            }
            let length = u32::try_from(message.len()).expect("it is short");
            let mut body = [&[0], &length.to_be_bytes()[..], &message].concat();
            if rng.u8(0..8) == 0 {
                mutate(&mut body, &mut rng);
            }
            let limit = if STREAMS.contains(method) { Duration::from_millis(50) } else { CALL_TIME };
            let answer = timeout(limit, raw_call(channel.clone(), method, body)).await;
            assert!(answer.is_ok() || STREAMS.contains(method), "{method} does not end: {message:02x?}");
            calls += 1;
        }
        // It would refuse all others.
        let clear = HaltRequest { clear: true, ..HaltRequest::default() };
        timeout(CALL_TIME, agent.halt(clear)).await.expect("it ends").expect("it is lifted");
        timeout(CALL_TIME, agent.list_runs(ListRunsRequest::default()))
            .await
            .expect("it ends")
            .expect("it lives");
    }
    note(format_args!("{calls} calls"));

    let (began, mut connections) = (Instant::now(), 0_u64);
    while began.elapsed() < time() {
        let (method, _) = METHODS[rng.usize(0..METHODS.len())];
        let mut bytes = stream(method, &contract.request(method, &mut rng));
        mutate(&mut bytes, &mut rng);
        say(&ground, &bytes);
        connections += 1;
    }
    note(format_args!("{connections} connections"));

    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    let grown = daemon.process().resident_bytes().expect("it lives").saturating_sub(before);
    note(format_args!("{grown} bytes more"));
    assert!(grown < 256 << 20, "{grown} bytes more");
    Ctl::new(&ground).words("status").run().assert_status(0);
}

/// HTTP/2 as a client speaks it that makes one call: RFC 9113, and RFC 7541 without a table of its own.
fn stream(method: &str, message: &[u8]) -> Vec<u8> {
    let literal = |name: &str, value: &str| {
        let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    // POST and http, of the static table.
    let headers = [
        vec![0x83, 0x86],
        literal(":path", &format!("/ssts.v1.Agent/{method}")),
        literal(":authority", "here"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ];
    let mut data = [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat();
    // The most that a frame holds unless more is agreed on.
    data.truncate(16_384);
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &headers.concat()),
        frame(0, 1, 1, &data),
        frame(6, 0, 0, &[7; 8]),
    ]
    .concat()
}

/// Says it, and waits a moment for an answer, or for the end.
fn say(ground: &Ground, bytes: &[u8]) {
    let mut socket = UnixStream::connect(ground.socket()).expect("it listens");
    let wait = Duration::from_millis(20);
    socket.set_read_timeout(Some(wait)).expect("it is a time");
    socket.set_write_timeout(Some(wait)).expect("it is a time");
    // It may be closed meanwhile.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let _ = socket.read(&mut [0; 4_096]);
}
