//! A service under load: what it sees is what is told, and what it does wrong is seen.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Service, note, outside, tolerance_of};

/// A daemon that may load a service.
struct Agent {
    daemon: Daemon,
    ground: Ground,
}

impl Agent {
    fn new(allowed: &str) -> Self {
        Self::with(allowed, "")
    }

    fn with(allowed: &str, more: &str) -> Self {
        let ground = Ground::new();
        ground.configure(&format!("[observe]\nprobes = false\n[http]\nallow = [\"{allowed}\"]\n{more}"));
        Self { daemon: Daemon::start(&ground), ground }
    }

    fn burn(&self, url: &str, flags: &str) -> Ctl {
        let tolerance = tolerance_of(flags);
        Ctl::new(&self.ground).words(&format!("burn http --url {url} {flags} {tolerance}"))
    }

    /// The only burner of a run that passes.
    fn burner(&self, url: &str, flags: &str) -> Value {
        self.burner_of(url, flags, 0)
    }

    /// The only burner of a run that ends with this exit status.
    fn burner_of(&self, url: &str, flags: &str, status: i32) -> Value {
        let outcome = self.burn(url, flags).args(["--output", "json"]).run();
        outcome.assert_status(status);
        outcome.json()["hosts"][0]["burners"][0].take()
    }
}

fn figure(burner: &Value, name: &str) -> u64 {
    burner["figures"][name]["value"].as_f64().unwrap_or_else(|| panic!("no {name}: {burner:#}")) as u64
}

/// Of requests.
fn latency(burner: &Value, name: &str) -> u64 {
    let latency = &burner["latency_by_operation"]["request"][name];
    latency.as_u64().unwrap_or_else(|| panic!("no {name}: {burner:#}"))
}

#[test]
fn as_many_requests_come_as_were_due() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let burner = agent.burner(&service.url("/a?b=c"), "--rate 300 --connections 8 --duration 2s");
    assert_eq!(service.requests(), figure(&burner, "sent"), "{burner:#}");
    assert_eq!(burner["operations"], figure(&burner, "status_2xx"));
    assert_eq!(latency(&burner, "count"), 600, "each is in the record: {burner:#}");
    assert_eq!(figure(&burner, "received_bytes"), 5 * figure(&burner, "status_2xx"));
    assert_eq!((service.connections(), figure(&burner, "connections")), (8, 8));
    assert_eq!(service.header("host"), service.url("").strip_prefix("http://").map(str::to_owned));
    for name in ["p50", "p95", "p99", "p999"] {
        assert!(latency(&burner, name) > 0);
    }
    assert!(
        outside::within(Duration::from_secs(5), || service.open() == 0).is_some(),
        "no connection is left behind: {}",
        service.open()
    );
}

#[test]
fn two_workers_share_the_rate_and_http2_its_connections() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let cores = thread::available_parallelism().map_or(1, usize::from).min(2);
    let list = if cores == 2 { "0-1" } else { "0" };
    let flags =
        format!("--protocol http2 --rate 400 --connections 2 --streams 4 --cores {list} --duration 1s");
    let burner = agent.burner(&service.url("/"), &flags);
    assert_eq!(latency(&burner, "count"), 400, "{burner:#}");
    assert_eq!(service.http2_requests(), figure(&burner, "sent"));
    assert_eq!(service.connections(), 2);
    assert_eq!(burner["workers"], cores);
}

#[test]
fn a_stall_shows_in_every_request_that_was_due_meanwhile() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    // Far fewer connections than requests that fall into the stall.
    let flags = "--rate 500 --connections 4 --duration 3s --output json";
    let running = agent.burn(&service.url("/"), flags).spawn();
    assert!(outside::within(Duration::from_secs(20), || service.requests() > 300).is_some());
    service.stall(Duration::from_millis(600));
    let outcome = running.outcome();
    outcome.assert_status(0);
    let burner = outcome.json()["hosts"][0]["burners"][0].take();
    assert_eq!(latency(&burner, "count"), 1_500, "none was left out: {burner:#}");
    assert!(latency(&burner, "max") >= 500_000_000, "{burner:#}");
    // A fifth of the requests fell into the stall; half of those waited for more than half of it.
    assert!(latency(&burner, "p90") >= 100_000_000, "{burner:#}");
    assert!(figure(&burner, "behind") >= 400_000_000, "{burner:#}");
}

#[test]
fn what_waited_through_a_stall_does_not_come_all_at_once() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    // Enough connections for all that wait: only the bucket holds them back.
    let flags = "--rate 500 --connections 64 --duration 4s --output json";
    let running = agent.burn(&service.url("/"), flags).spawn();
    assert!(outside::within(Duration::from_secs(20), || service.requests() > 300).is_some());
    service.stall(Duration::from_millis(800));
    let back = Instant::now() + Duration::from_millis(800);
    let outcome = running.outcome();
    outcome.assert_status(0);
    let burner = outcome.json()["hosts"][0]["burners"][0].take();
    assert_eq!(latency(&burner, "count"), 2_000, "none was left out: {burner:#}");
    // Some 340 waited. At twice the rate 100 of them come in a tenth of a second; a thread that was held up sees some later.
    let most = service.most_within(Duration::from_millis(100), back);
    assert!((70..=180).contains(&most), "{most}: {burner:#}");
    // It was all made good: the end is as quick as the beginning.
    assert_eq!(figure(&burner, "unanswered"), 0, "{burner:#}");
    assert!(latency(&burner, "p50") < 400_000_000, "{burner:#}");
}

#[test]
fn an_http2_connection_that_fell_silent_is_given_up_and_one_that_answers_is_not() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let flags = "--protocol http2 --connections 1 --streams 8 --rate 100 --tolerance 100 --timeout 500ms --max-errors 90 \
                 --duration 4s --output json";
    let running = agent.burn(&service.url("/"), flags).spawn();
    assert!(outside::within(Duration::from_secs(20), || service.requests() > 50).is_some());
    service.go_deaf();
    let outcome = running.outcome();
    outcome.assert_status(0);
    let burner = outcome.json()["hosts"][0]["burners"][0].take();
    assert!(figure(&burner, "timeouts") >= 8, "{burner:#}");
    assert!(figure(&burner, "status_2xx") > 200, "another connection was made: {burner:#}");
    assert!(service.connections() >= 2);
    // Of 40, each tenth is never answered: the others show that the connection is good.
    let connections = service.connections();
    let flags = "--protocol http2 --connections 1 --streams 8 --rate 40 --tolerance 100 --timeout 1s --max-errors 90 --duration 3s";
    let burner = agent.burner(&service.url("/holes/10"), flags);
    assert!(figure(&burner, "timeouts") >= 3, "{burner:#}");
    assert_eq!(service.connections() - connections, 1, "{burner:#}");
}

#[test]
fn one_workers_bad_connections_do_not_make_the_service_gone() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return note(format_args!("left out: two workers need two cores"));
    }
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let flags = "--cores 0-1 --protocol http1 --connections 2 --rate 100 --tolerance 100 --max-errors 100 --duration 8s \
                 --output json";
    let running = agent.burn(&service.url("/"), flags).spawn();
    assert!(outside::within(Duration::from_secs(20), || service.requests() > 50).is_some());
    service.answer_the_first_only();
    let outcome = running.outcome();
    outcome.assert_status(0);
    let burner = outcome.json()["hosts"][0]["burners"][0].take();
    assert!(figure(&burner, "broken_answers") >= 3, "one worker fails throughout: {burner:#}");
    assert!(figure(&burner, "status_2xx") > 300, "the other goes on: {burner:#}");
}

#[test]
fn requests_without_an_answer_at_the_end_are_counted() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let flags = "--rate 100 --connections 2 --duration 1s --output json";
    let outcome = agent.burn(&service.url("/never"), flags).run();
    // Nothing failed yet, but nothing was done either.
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(result["cause"], "nothing_done", "{result:#}");
    let burner = &result["hosts"][0]["burners"][0];
    assert_eq!((figure(burner, "sent"), figure(burner, "unanswered")), (2, 100), "{burner:#}");
    assert_eq!(latency(burner, "count"), 100, "{burner:#}");
    assert!(latency(burner, "max") >= 1_000_000_000, "they have waited from when they were due: {burner:#}");
}

#[test]
fn statuses_are_counted_and_what_is_not_expected_fails_the_run() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let flags = "--rate 100 --duration 500ms --output json";
    let outcome = agent.burn(&service.url("/status/503"), flags).run();
    outcome.assert_status(3);
    let result = outcome.json();
    assert_eq!((&result["verdict"], &result["cause"]), (&"fail".into(), &"requests_failed".into()));
    let message = result["cause_message"].as_str().unwrap_or_default();
    assert!(message.contains("50 of 50 requests failed, 100.00 %") && message.contains("unexpected status"));
    let burner = &result["hosts"][0]["burners"][0];
    assert_eq!((figure(burner, "status_5xx"), figure(burner, "unexpected_status")), (50, 50));
    for flags in ["--expect 5xx", "--expect 200,503", "--max-errors 100"] {
        agent.burner(&service.url("/status/503"), &format!("{flags} --rate 100 --duration 200ms"));
    }
    // A redirect is an answer, and is not followed.
    let before = service.requests();
    let burner = agent.burner(&service.url("/status/302"), "--rate 100 --duration 200ms");
    assert_eq!(figure(&burner, "status_3xx"), service.requests() - before);
}

#[test]
fn requests_are_sent_again_only_where_asked() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let flags = "--rate 100 --connections 1 --duration 500ms";
    let burner = agent.burner_of(&service.url("/flaky"), flags, 3);
    assert_eq!((service.requests(), figure(&burner, "retries")), (50, 0), "{burner:#}");
    let burner = agent.burner(&service.url("/flaky"), &format!("{flags} --retries 1"));
    assert_eq!(service.requests(), 150, "each of 50 twice: {burner:#}");
    assert_eq!((figure(&burner, "sent"), figure(&burner, "retries")), (50, 50), "{burner:#}");
    assert_eq!((figure(&burner, "status_5xx"), figure(&burner, "unexpected_status")), (50, 0), "{burner:#}");
}

#[test]
fn answers_that_break_off_or_take_too_long_are_told_apart() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let burner = agent.burner_of(&service.url("/break"), "--rate 50 --duration 400ms", 5);
    assert_eq!(figure(&burner, "broken_answers"), 20, "{burner:#}");
    assert_eq!(figure(&burner, "timeouts"), 0);
    assert!(
        burner["outcome_reason"].as_str().is_some_and(|why| why.contains("answered not one of 20 requests"))
    );
    let flags = "--rate 50 --timeout 50ms --connections 50 --duration 400ms";
    let burner = agent.burner_of(&service.url("/slow/5000"), flags, 5);
    assert_eq!(figure(&burner, "timeouts") + figure(&burner, "unanswered"), 20, "{burner:#}");
    assert!(figure(&burner, "timeouts") >= 15, "{burner:#}");
    assert!(latency(&burner, "p50") >= 50_000_000, "those that timed out are in the record: {burner:#}");
}

#[test]
fn a_service_that_is_not_there_is_told_at_once() {
    let address = Service::gone();
    let agent = Agent::new(&format!("http://{address}"));
    let begin = Instant::now();
    let outcome = agent.burn(&format!("http://{address}/"), "--duration 60s").run();
    outcome.assert_status(5).assert_tells(&["no service answers", &address.to_string(), "refused"]);
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_service_that_goes_away_ends_the_run_and_is_not_hammered() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let flags = "--rate 1000 --connections 8 --duration 60s --output json";
    let running = agent.burn(&service.url("/"), flags).spawn();
    assert!(outside::within(Duration::from_secs(20), || service.requests() > 500).is_some());
    drop(service);
    let begin = Instant::now();
    let outcome = running.outcome();
    outcome.assert_status(5);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let result = outcome.json();
    assert_eq!((&result["verdict"], &result["cause"]), (&"error".into(), &"peer_lost".into()), "{result:#}");
    let message = result["cause_message"].as_str().unwrap_or_default();
    assert!(message.contains("is gone") && message.contains("refused"), "{message}");
    let burner = &result["hosts"][0]["burners"][0];
    assert!(figure(burner, "status_2xx") > 500, "what was counted stands: {burner:#}");
    // Eight connections, each at most once a second after the first few times.
    assert!(figure(burner, "connect_errors") < 8 * 20, "{burner:#}");
    assert!(figure(burner, "unanswered") > 1_000, "what was due counts: {burner:#}");
    assert_eq!(agent.daemon.burners(), []);
}

#[test]
fn a_stop_and_a_pause_end_and_hold_the_load() {
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let running = agent.burn(&service.url("/"), "--rate 500 --duration 60s --output json").spawn();
    assert!(outside::within(Duration::from_secs(20), || service.requests() > 100).is_some());
    Ctl::new(&agent.ground).words("pause").run().assert_status(0);
    // What was on its way has come when two looks see the same.
    let mut before = 0;
    let came = outside::within(Duration::from_secs(5), || {
        let seen = std::mem::replace(&mut before, service.requests());
        thread::sleep(Duration::from_millis(50));
        seen == before
    });
    assert!(came.is_some());
    thread::sleep(Duration::from_millis(500));
    assert_eq!(service.requests(), before, "no request while it is paused");
    Ctl::new(&agent.ground).words("resume").run().assert_status(0);
    assert!(outside::within(Duration::from_secs(10), || service.requests() > before + 100).is_some());
    Ctl::new(&agent.ground).words("stop").run().assert_status(0);
    assert!(outside::within(Duration::from_secs(5), || service.open() == 0).is_some());
    let outcome = running.outcome();
    outcome.assert_status(4);
    let mut result = outcome.json();
    let burner = result["hosts"][0]["burners"][0].take();
    let (whole, burning) = (&result["duration_s"], &burner["burning_s"]);
    let paused = whole.as_f64().unwrap_or_default() - burning.as_f64().unwrap_or_default();
    assert!(paused >= 0.5, "{paused}: {burner:#}");
    // Nothing was due in the pause, and nothing is lost with it.
    let due = (burning.as_f64().unwrap_or_default() * 500.0) as u64;
    let counted = latency(&burner, "count");
    assert!(counted.abs_diff(due) <= 10, "{counted} of {due}: {burner:#}");
}

#[test]
fn bodies_and_headers_are_sent_as_given_and_secrets_are_not_kept() {
    let service = Service::plain();
    let more = "methods = [\"POST\"]\n";
    let agent = Agent::with(&service.url("/api"), more);
    let flags =
        "--method POST --body-size 1000 -H Authorization:Bearer-x -H X-Story:yes --rate 50 --duration 400ms";
    let outcome = agent.burn(&service.url("/api/x"), flags).args(["--output", "json"]).run();
    outcome.assert_status(0);
    assert_eq!(service.body_bytes(), 20_000);
    assert_eq!(service.header("authorization").as_deref(), Some("Bearer-x"));
    assert_eq!(service.header("x-story").as_deref(), Some("yes"));
    assert_eq!(service.header("content-length").as_deref(), Some("1000"));
    let found = walk(&agent.ground.state()).into_iter().any(|record| {
        let bytes = std::fs::read(&record).unwrap_or_default();
        bytes.windows(8).any(|window| window == b"Bearer-x")
    });
    assert!(!found, "the secret is in the records");
}

/// Who may list processes sees no secret that came from a file, and neither does who reads reports or the daemon's folder.
#[test]
fn headers_from_a_file_stand_in_no_process_list_report_or_record() {
    const SECRET: &str = "Bearer-s3cret-of-a-file";
    let service = Service::plain();
    let agent = Agent::new(&service.url(""));
    let headers = agent.ground.file("headers", &format!("Authorization: {SECRET}\nX-Story: yes\n"));
    let report = agent.ground.path("report");
    let running = agent
        .burn(&service.url("/"), "--rate 50 --duration 2s --output json")
        .args(["-H", &format!("@{headers}"), "--report", &report.display().to_string()])
        .spawn();
    assert!(outside::within(Duration::from_secs(20), || service.requests() > 10).is_some());
    let burners = agent.daemon.burners();
    assert_eq!(burners.len(), 1);
    for process in burners.iter().chain([&running.process(), &agent.daemon.process()]) {
        for of in ["cmdline", "environ"] {
            let listed = std::fs::read(format!("/proc/{}/{of}", process.pid)).expect("it is there");
            assert!(!holds(&listed, SECRET), "{of} of {}", process.pid);
        }
    }
    let outcome = running.outcome();
    outcome.assert_status(0);
    assert_eq!(service.header("authorization").as_deref(), Some(SECRET));
    assert_eq!(service.header("x-story").as_deref(), Some("yes"));
    assert!(!outcome.stdout.contains(SECRET) && !outcome.stderr.contains(SECRET), "{outcome:?}");
    let id = outcome.json()["run_id"].as_str().map(str::to_owned).expect("it is text");
    let printed = Ctl::new(&agent.ground).args(["report", &id]).run();
    assert!(!printed.assert_status(0).stdout.contains(SECRET), "{}", printed.stdout);
    let written = walk(&report);
    assert!(written.iter().any(|file| file.ends_with("report.html")), "{written:?}");
    for file in walk(&agent.ground.state()).into_iter().chain(written) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(!holds(&bytes, SECRET), "{}", file.display());
    }
    assert!(!holds(agent.daemon.log().as_bytes(), SECRET), "the daemon logged it");
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn what_the_agent_does_not_allow_is_refused_with_its_rule() {
    let service = Service::plain();
    let more = "max_rate_per_s = 1000\nmax_connections = 20\n";
    let agent = Agent::with(&service.url("/api"), more);
    let allowed = service.url("/api");
    let refused = |url: &str, flags: &str, parts: &[&str]| {
        agent.burn(url, &format!("{flags} --duration 1s")).run().assert_status(2).assert_tells(parts);
    };
    refused(&service.url("/"), "", &["--url", "http.allow", &allowed]);
    refused(&service.url("/apis"), "", &["--url", "http.allow"]);
    refused(&service.url("/api").replace("http:", "https:"), "", &["--url", "http.allow"]);
    refused(&service.url("/api/../x"), "", &["--url", "'..'"]);
    refused(&service.url("/api").replace("127.0.0.1", "u@127.0.0.1"), "", &["--url", "user"]);
    refused(&allowed, "--method DELETE", &["--method", "http.methods = [GET, HEAD]"]);
    refused(&allowed, "--rate 1001", &["1001", "http.max_rate_per_s = 1000"]);
    refused(&allowed, "--connections 21", &["21 connections", "http.max_connections = 20"]);
    assert_eq!(service.connections(), 0, "nothing was asked of it");
    // Without a rate it is held to what is allowed.
    let burner = agent.burner(&allowed, "--connections 4 --duration 1s");
    assert!((500..=1_010).contains(&service.requests()), "{} requests: {burner:#}", service.requests());
    assert_eq!(service.requests(), figure(&burner, "sent"));
}
