//! What a monitoring system reads of an agent: `/metrics` over TCP, in each format, beside a burn.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use prost::Message;
use ssts_tests::{
    Ctl, Daemon, Ground, note, outside,
    page::{self, OPENMETRICS, PROTOBUF, Page, TEXT, serving},
};

/// A loaded machine, a debug build.
const PATIENCE: Duration = Duration::from_secs(30);

/// Addresses that a process listens at, by the kernel's tables: proc_net_tcp(5).
fn listens(pid: i32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is there").flatten();
    let sockets: Vec<_> =
        links.filter_map(|link| fs::read_link(link.path()).ok()?.to_str().map(str::to_owned)).collect();
    let tables =
        ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    rows.filter_map(|row| {
        let words: Vec<_> = row.split_whitespace().collect();
        let is_ours = words[3] == "0A" && sockets.contains(&format!("socket:[{}]", words[9]));
        is_ours.then(|| words[1].to_owned())
    })
    .collect()
}

// As io/prometheus/client/metrics.proto of prometheus/client_model has them, as far as is looked at here.
#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}
#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}
#[derive(Clone, Copy, PartialEq, Message)]
struct Number {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}
#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(uint64, optional, tag = "7")]
    zeros: Option<u64>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    deltas: Vec<i64>,
}

impl Histogram {
    /// What all native buckets hold together.
    fn native_count(&self) -> u64 {
        let mut bucket = 0;
        let counts = self.deltas.iter().map(|delta| {
            bucket += delta;
            u64::try_from(bucket).expect("a bucket holds 0 or more")
        });
        counts.sum::<u64>() + self.zeros()
    }
}

fn families(address: SocketAddr) -> Vec<MetricFamily> {
    let answer = page::scrape(address, PROTOBUF);
    assert!(answer.headers["content-type"].contains("encoding=delimited"), "{:?}", answer.headers);
    let mut bytes = &answer.body[..];
    let mut families = Vec::new();
    while !bytes.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut bytes).expect("it is a family"));
    }
    families
}

const OPERATIONS: &str = "ssts_burner_operations_total";
const DISK: [(&str, &str); 1] = [("kind", "disk")];

#[test]
fn a_burn_is_told_in_each_format_as_the_telemetry_has_it() {
    let ground = Ground::new();
    let (daemon, address) = serving(&ground);
    let idle = Page::of(address, TEXT);
    assert_eq!(idle.value("ssts_run_state", &[("state", "idle")]), 1.0);
    assert!(idle.values("ssts_run_info", &[]).is_empty(), "no run is on");
    assert!(idle.values("ssts_burner_target_cores", &[]).is_empty(), "what is absent has no series");
    let folder = ground.disk().display().to_string();
    let running = Ctl::new(&ground)
        .words("--output json burn disk --size 16MiB --rw randread --rate 500 --duration 5s --path")
        .args([&folder])
        .spawn();
    daemon.burning(1);
    let first = Page::of(address, OPENMETRICS);
    let rises = || Page::of(address, OPENMETRICS).values(OPERATIONS, &DISK) > first.values(OPERATIONS, &DISK);
    assert!(outside::within(PATIENCE, rises).is_some(), "operations should be counted on");
    let now = Page::of(address, TEXT);
    let run = now.samples.iter().find(|sample| sample.name == "ssts_run_info").expect("a run is on");
    assert!(
        now.samples.iter().all(|sample| sample.name == run.name || !sample.labels.contains_key("run_id"))
    );
    assert_eq!(now.value("ssts_run_state", &[("state", "running")]), 1.0);
    assert_eq!(now.values("ssts_limit_memory_available_bytes", &[("of", "run")]).len(), 1);
    let run = run.labels["run_id"].clone();
    let outcome = running.outcome();
    outcome.assert_status(0);
    let result = outcome.json();
    assert_eq!(result["run_id"], run.as_str());

    let is_over = || Page::of(address, TEXT).values("ssts_run_info", &[]).is_empty();
    assert!(outside::within(PATIENCE, is_over).is_some(), "its info should go with it");
    // From here on nothing burns: whoever comes, and in whichever format, sees the same.
    let (text, open, families) = (Page::of(address, TEXT), Page::of(address, OPENMETRICS), families(address));
    assert_eq!(text.value("ssts_runs_finished_total", &[("verdict", "pass")]), 1.0);
    let family = |name: &str| {
        let found = families.iter().find(|family| family.name() == name);
        &found.unwrap_or_else(|| panic!("no {name}")).metric
    };
    let operations = text.value(OPERATIONS, &DISK);
    let told = result["hosts"][0]["burners"][0]["operations"].as_f64().expect("it counted");
    assert!(operations > 0.0 && operations <= told, "{operations} of {told}");
    assert_eq!(open.value(OPERATIONS, &DISK), operations);
    assert_eq!(family(OPERATIONS)[0].counter.and_then(|counter| counter.value), Some(operations));
    let count = text.value("ssts_burner_latency_seconds_count", &DISK);
    assert_eq!(open.value("ssts_burner_latency_seconds_count", &DISK), count);
    let histogram = family("ssts_burner_latency_seconds")[0].histogram.clone().expect("it is one");
    assert_eq!((histogram.count() as f64, histogram.native_count() as f64), (count, count));
    assert_eq!(histogram.schema(), 3);

    // The record has each frame's gain; its last second is written a moment after the run's end.
    let (mut recorded, mut frame) = (0.0, 0.0);
    let agrees = || {
        let csv = Ctl::new(&ground).args(["telemetry", &run, "--metric", "burner.latency"]).run();
        csv.assert_status(0);
        let gains = gains(&csv.stdout);
        (recorded, frame) = (gains.iter().sum::<f64>(), gains.iter().copied().fold(0.0, f64::max));
        (recorded - count).abs() <= frame
    };
    let agrees = outside::within(PATIENCE, agrees).is_some();
    assert!(agrees, "{recorded} recorded, {count} told, at most {frame} a frame");
}

/// What the histograms of a record gained, frame by frame.
fn gains(csv: &str) -> Vec<f64> {
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = |name| rows[0].iter().position(|title| *title == name).expect("the column is there");
    let (statistic, value) = (column("statistic"), column("value"));
    let counts = rows[1..].iter().filter(|row| row[statistic] == "count");
    counts.map(|row| row[value].parse().expect("a count is a number")).collect()
}

/// The bar: 1,000 series on two cores, with all probes and a burn.
#[test]
fn a_host_has_a_bounded_number_of_series() {
    let ground = Ground::new();
    let (daemon, address) = serving(&ground);
    let running =
        Ctl::new(&ground).words("--output json burn cpu --load 20 --tolerance 100 --duration 3s").spawn();
    daemon.burning(1);
    let page = Page::of(address, TEXT);
    let cores = page.samples.iter().filter(|sample| sample.name == "ssts_host_cpu_seconds_total");
    let cores = cores.filter(|sample| sample.labels["mode"] == "idle").count();
    note(format_args!("{} series in {} families, on {cores} cores", page.samples.len(), page.kinds.len()));
    assert!(page.samples.len() <= 500 * cores.max(2), "{} series", page.samples.len());
    assert_eq!(page.value("ssts_exposition_left_out_series", &[]), 0.0);
    running.outcome().assert_status(0);
    drop(daemon);
    // A limit that is too low leaves whole families out, and says so.
    ground.configure("[metrics]\nmax_series = 100\n");
    let (_daemon, address) = serving(&ground);
    let page = Page::of(address, OPENMETRICS);
    assert!(page.samples.len() <= 101, "{}", page.samples.len());
    assert!(page.value("ssts_exposition_left_out_series", &[]) > 0.0);
}

/// Readers that come at the same time, while counts rise, each see them rise.
#[test]
fn any_number_of_readers_see_the_same_counts() {
    let ground = Ground::new();
    let (daemon, address) = serving(&ground);
    let running =
        Ctl::new(&ground).words("--output json burn cpu --load 20 --tolerance 100 --duration 4s").spawn();
    daemon.burning(1);
    let name = "ssts_host_cpu_context_switches_total";
    let read = move || -> Vec<f64> {
        (0..20)
            .map(|n| Page::of(address, if n % 2 == 0 { TEXT } else { OPENMETRICS }).value(name, &[]))
            .collect()
    };
    let readers: Vec<_> = (0..3).map(|_| thread::spawn(read)).collect();
    for reader in readers {
        let values = reader.join().expect("it reads");
        assert!(values.is_sorted(), "{values:?}");
    }
    running.outcome().assert_status(0);
    let is_over = || Page::of(address, TEXT).value("ssts_run_state", &[("state", "idle")]) == 1.0;
    assert!(outside::within(PATIENCE, is_over).is_some());
    let burnt = || Page::of(address, TEXT).value("ssts_burner_on_cpu_seconds_total", &[("kind", "cpu")]);
    let total = burnt();
    assert!(total > 0.0);
    assert_eq!(burnt(), total, "one reader takes nothing from another");
}

#[test]
fn only_get_and_head_of_metrics_are_answered() {
    let ground = Ground::new();
    let (_daemon, address) = serving(&ground);
    let ask = |request: &str| page::ask(address, request.as_bytes());
    let page = ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((page.status, &page.body[..]), (404, &b"metrics are at /metrics\n"[..]));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let page = ask(&format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((page.status, page.headers["allow"].as_str()), (405, "GET, HEAD"), "{method}");
    }
    let page = ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((page.status, page.body.len()), (200, 0));
    assert!(page.headers["content-length"].parse::<u64>().expect("it is a number") > 1_000);
    let page = ask("GET /metrics?collect[]=cpu HTTP/1.1\r\nHost: x\r\nAccept: image/png\r\n\r\n");
    assert_eq!(
        (page.status, page.headers["content-type"].as_str()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    let open = page::scrape(address, OPENMETRICS);
    assert!(open.headers["content-type"].starts_with("application/openmetrics-text; version=1.0.0"));
}

/// Somebody opens connections and says nothing, sends rubbish, or never reads: others go on, and the daemon does.
#[test]
fn slow_and_hostile_readers_hurt_nobody() {
    let ground = Ground::new();
    let (daemon, address) = serving(&ground);
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let mut deaf = TcpStream::connect(address).expect("it listens");
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("it takes a request");
    let mut trickling = TcpStream::connect(address).expect("it listens");
    trickling.write_all(b"GET /metrics HT").expect("it takes a part");
    // Commands and guards know nothing of it.
    let running =
        Ctl::new(&ground).words("--output json burn cpu --load 10 --tolerance 100 --duration 1s").run();
    running.assert_status(0);
    // Places are free again when the silent ones ran out of time: these are no longer than a reader waits.
    let page = Page::of(address, TEXT);
    assert_eq!(page.value("ssts_runs_started_total", &[]), 1.0);
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        let mut rest = Vec::new();
        // Closed, in order or not, is what counts.
        let _closed = stream.read_to_end(&mut rest);
    }
    for rubbish in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"nonsense\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        let _it_may_close_meanwhile = stream.write_all(rubbish);
        let mut answer = Vec::new();
        let _closed = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    let mut stream = TcpStream::connect(address).expect("it listens");
    let endless = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n", "x".repeat(64 << 10));
    let _it_closes_meanwhile = stream.write_all(endless.as_bytes());
    let mut answer = Vec::new();
    let _closed = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "a header of 64 KiB is too much");
    assert_eq!(page::scrape(address, TEXT).status, 200);
    assert!(daemon.process().is_alive());
}

#[test]
fn nothing_else_is_listened_at_than_was_asked_for() {
    let ground = Ground::new();
    let (daemon, address) = serving(&ground);
    assert_eq!(listens(daemon.process().pid), [format!("0100007F:{:04X}", address.port())]);
    drop(daemon);
    // The story's environment turns it off; here the configuration does.
    ground.configure("[metrics]\nlisten = []\n");
    let daemon = Daemon::start_with(&ground, |command| {
        command.env_remove("SSTSD_METRICS__LISTEN");
    });
    assert_eq!(listens(daemon.process().pid), Vec::<String>::new());
    drop(daemon);
    ground.configure("[metrics]\nlisten = [\"0.0.0.0:0\"]\n");
    let refused = || {
        let mut command = Daemon::command(&ground);
        command.env_remove("SSTSD_METRICS__LISTEN");
        Daemon::refusal(command)
    };
    let (status, told) = refused();
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("metrics.listen") && told.contains("metrics.beyond_loopback = true"), "{told}");
    ground.configure("[metrics]\nlisten = [\"0.0.0.0:0\"]\nbeyond_loopback = true\n");
    let daemon = Daemon::start_with(&ground, |command| {
        command.env_remove("SSTSD_METRICS__LISTEN");
    });
    let is_there = || listens(daemon.process().pid).iter().any(|address| address.starts_with("00000000:"));
    assert!(outside::within(PATIENCE, is_there).is_some(), "{:?}", listens(daemon.process().pid));
}

/// Somebody has the port: the daemon does its work, says so, and serves when it can.
#[test]
fn a_busy_port_is_told_and_taken_when_it_is_free() {
    let ground = Ground::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    let address = taken.local_addr().expect("it is bound");
    let mut daemon = Daemon::start_with(&ground, |command| {
        command.env("SSTSD_METRICS__LISTEN", address.to_string());
    });
    let told = || {
        let log = daemon.log();
        log.contains("metrics are not served")
            && log.contains(&address.to_string())
            && log.contains("metrics.listen")
    };
    assert!(outside::within(PATIENCE, told).is_some(), "{}", daemon.log());
    let check = |expected: &str| {
        let output = Command::new(&ground.programs().sstsd)
            .args(["check", "--config"])
            .arg(ground.config())
            .arg("--state-dir")
            .arg(ground.path("check"))
            .env("SSTSD_METRICS__LISTEN", address.to_string())
            .env("SSTSD_OBSERVE__PROBES", "false")
            .output()
            .expect("sstsd can be executed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("metrics ")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(expected) && line.contains(&address.to_string()), "{text}");
    };
    check("degraded");
    Ctl::new(&ground).words("burn cpu --load 10 --tolerance 100 --duration 200ms").run().assert_status(0);
    drop(taken);
    assert!(
        outside::within(PATIENCE, || page::served_at(&daemon.log()).is_some()).is_some(),
        "{}",
        daemon.log()
    );
    assert!(Page::of(address, TEXT).value("ssts_build_info", &[]) == 1.0);
    check("works");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait(PATIENCE).is_some_and(|status| status.success()), "{}", daemon.log());
}
