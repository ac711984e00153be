//! A rate that was not kept fails the run, says by how much and what held it up; and passes where that much may be undone.

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, OPEN_SINK, Service, TwoHosts, disk_throttle, note, possible};

/// The burner of a run that missed its rate; the reason must tell these. With a tolerance of everything the same passes.
fn assert_missed(burn: impl Fn(&str) -> Ctl, told: &[&str]) -> Value {
    let outcome = burn("--tolerance 2").args(["--output", "json"]).run();
    outcome.assert_status(3);
    let result = outcome.json();
    assert_eq!((&result["verdict"], &result["cause"]), (&"fail".into(), &"load_missed".into()), "{result:#}");
    let burner = &result["hosts"][0]["burners"][0];
    assert_eq!(burner["outcome"], "missed", "{burner:#}");
    let reason = burner["outcome_reason"].as_str().unwrap_or_default();
    note(format_args!("{reason}"));
    for word in ["% of its rate undone, where 2.0 % may be"].iter().chain(told) {
        assert!(reason.contains(word), "no '{word}' in: {reason}");
    }
    burn("--tolerance 100").run().assert_status(0);
    burner.clone()
}

#[test]
fn by_a_disk_that_the_kernel_throttles() {
    let ground = Ground::alone();
    let throttle = disk_throttle(ground.disk(), 20);
    possible(throttle.is_some(), "no cgroup may be made here that throttles a disk");
    let Some(throttle) = throttle else { return };
    let _daemon =
        Daemon::start_program(&ground, &throttle.program(&ground, &ground.programs().sstsd), |_| {});
    let burn = |more: &str| {
        let folder = ground.disk().display();
        let words =
            format!("burn disk --path {folder} --size 4MiB --rw randread --depth 4 --duration 3s {more}");
        Ctl::new(&ground).words(&words)
    };
    let burner = assert_missed(|more| burn(&format!("--rate 200 {more}")), &["I/O bound", "read took"]);
    let lag_ns = burner["figures"]["lag"]["value"].as_f64().unwrap_or_default();
    assert!(lag_ns > 1e9, "{burner:#}");
    assert_missed(|more| burn(&format!("--bandwidth 800KiB {more}")), &["I/O bound"]);
    burn("--rate 10").run().assert_status(0);
}

#[test]
fn by_a_network_that_carries_less() {
    let sink = format!("{OPEN_SINK}max_rate_bits_per_s = 10_000_000_000_000\n");
    let Some(hosts) = TwoHosts::new(&sink) else { return };
    for (flags, told) in [
        ("--rate 5T", "the path to 10.77.0.2:7471, or the sink there, took no more"),
        ("--protocol udp --rate 5T", "the kernel took no more datagrams in time"),
        ("--protocol rr --rate 100000000 --packet 1", "were due and had no answer from 10.77.0.2:7471"),
        ("--protocol connect --rate 100000000 --streams 4", "were due and had no answer from 10.77.0.2:7471"),
    ] {
        assert_missed(|more| hosts.burn(&format!("{flags} --duration 1s {more}")), &[told]);
    }
    hosts.burner("--rate 10M --duration 1s");
}

#[test]
fn by_a_service_that_is_too_slow() {
    let service = Service::plain();
    let ground = Ground::new();
    ground.configure(&format!("[observe]\nprobes = false\n[http]\nallow = [\"{}\"]\n", service.url("")));
    let _daemon = Daemon::start(&ground);
    // One connection, 100 ms an answer: 10 requests a second.
    let burn = |more: &str| {
        let url = service.url("/slow/100");
        Ctl::new(&ground).words(&format!("burn http --url {url} --connections 1 --duration 2s {more}"))
    };
    let burner =
        assert_missed(|more| burn(&format!("--rate 100 {more}")), &["requests were due and had no answer"]);
    let figure = |name: &str| burner["figures"][name]["value"].as_f64().unwrap_or_default();
    assert!((150.0..200.0).contains(&figure("unanswered")), "{burner:#}");
    burn("--rate 5").run().assert_status(0);
}
