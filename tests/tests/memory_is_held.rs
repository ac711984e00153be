//! The memory that was asked for is resident, by the kernel's books, as long as the burner burns, and gone after.

use std::{fs, thread, time::Duration};

use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground, Running, note,
    outside::{self, Process},
};

const MIB: u64 = 1 << 20;

/// A field of /proc/PID/smaps_rollup, in bytes.
fn rollup(process: Process, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).expect("it is there");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") * 1_024
}

/// Minor faults: field 10 of /proc/PID/stat.
fn minor_faults(process: Process) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/stat", process.pid)).ok()?;
    text[text.rfind(')')? + 1..].split_whitespace().nth(7)?.parse().ok()
}

fn burner(result: &Value) -> &Value {
    &result["hosts"][0]["burners"][0]
}

fn figure(result: &Value, name: &str) -> f64 {
    let figure = &burner(result)["figures"][name]["value"];
    figure.as_f64().expect(name)
}

/// A burn, and its burner once it holds so much.
fn burning(ground: &Ground, daemon: &Daemon, words: &str, bytes: u64) -> (Running, Process) {
    let running = Ctl::new(ground).words(&format!("--output json burn memory {words}")).spawn();
    let mut burner = None;
    let holds = || {
        burner = daemon.burners().first().copied();
        burner.and_then(|burner| burner.resident_bytes()) >= Some(bytes)
    };
    assert!(outside::within(Duration::from_secs(20), holds).is_some(), "{words}: it does not fill");
    (running, burner.expect("it was just seen"))
}

#[test]
fn every_byte_is_resident_from_the_start_to_the_end() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    for pages in ["small", "transparent"] {
        let words = format!("--size 128MiB --pages {pages} --duration 1500ms");
        let (running, process) = burning(&ground, &daemon, &words, 128 * MIB);
        for _ in 0..10 {
            let resident = rollup(process, "Rss:");
            assert!((128 * MIB..160 * MIB).contains(&resident), "{pages}: {resident}");
            thread::sleep(Duration::from_millis(50));
        }
        let huge = rollup(process, "AnonHugePages:");
        note(format_args!("{pages}: {huge} bytes in huge pages"));
        assert!(pages == "transparent" || huge == 0, "{huge}");
        let outcome = running.outcome();
        outcome.assert_status(0);
        assert_eq!(figure(&outcome.json(), "resident"), (128 * MIB) as f64);
        assert!(!process.is_alive());
    }
}

#[test]
fn the_memory_is_bound_to_the_node_of_its_core() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let (running, process) =
        burning(&ground, &daemon, "--size 32MiB --cores 0 --pages small --duration 1s", 32 * MIB);
    let path = format!("/proc/{}/numa_maps", process.pid);
    // The burner's own is gone with the burner, in a kernel with NUMA, too.
    if fs::exists("/proc/self/numa_maps").expect("/proc can be looked at") {
        // 32 MiB in pages of 4 KiB.
        let bound = |line: &str| line.contains(" bind:") && line.contains("anon=8192 ");
        let is_bound = || fs::read_to_string(&path).is_ok_and(|maps| maps.lines().any(bound));
        assert!(outside::within(Duration::from_secs(5), is_bound).is_some(), "{path}");
    } else {
        note("NOT TESTED: a kernel without NUMA");
    }
    running.outcome().assert_status(0);
}

#[test]
fn a_percentage_is_of_what_is_available() {
    let ground = Ground::new();
    let meminfo = fs::read_to_string("/proc/meminfo").expect("it is there");
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")).expect("it is there");
    let available = line.trim().trim_end_matches(" kB").parse::<f64>().expect("it is a number") * 1_024.0;
    let result = Ctl::local(&ground).words("burn memory --size 0.5% --duration 200ms").json();
    let share = figure(&result, "resident") / available;
    // Neighbours take and give meanwhile.
    assert!((0.0035..0.0065).contains(&share), "{share}");
}

#[test]
fn a_slow_fill_takes_its_time() {
    let ground = Ground::new();
    let result =
        Ctl::local(&ground).words("burn memory --size 64MiB --fill-rate 64MiB --duration 200ms").json();
    assert_eq!(figure(&result, "resident"), (64 * MIB) as f64);
    let ready = burner(&result)["ready_after_s"].as_f64().expect("it burned");
    assert!(ready > 0.8, "{ready}");
}

#[test]
fn a_pause_keeps_the_memory_and_executes_nothing() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let (running, process) =
        burning(&ground, &daemon, "--size 96MiB --method verify --duration 4s", 96 * MIB);
    // It can be paused once it burns.
    let paused = || Ctl::new(&ground).words("pause").run().status.success();
    assert!(outside::within(Duration::from_secs(5), paused).is_some());
    thread::sleep(Duration::from_millis(50));
    let before = process.worker_time();
    thread::sleep(Duration::from_millis(300));
    let used = process.worker_time() - before;
    assert!(used < Duration::from_millis(30), "{used:?} while paused");
    assert!(process.resident_bytes() >= Some(96 * MIB));
    Ctl::new(&ground).words("resume").run().assert_status(0);
    running.outcome().assert_status(0);
}

#[test]
fn faults_are_those_that_the_kernel_counted() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let words = "--output json burn memory --size 16MiB --method fault --cores 0 --duration 1s";
    let running = Ctl::new(&ground).words(words).spawn();
    let process = daemon.burning(1)[0];
    // The last look before it is gone.
    let mut seen = 0;
    outside::within(Duration::from_secs(10), || {
        seen = minor_faults(process).filter(|_| process.is_alive()).unwrap_or(0).max(seen);
        !process.is_alive()
    });
    let outcome = running.outcome();
    outcome.assert_status(0);
    let result = outcome.json();
    let (told, operations) = (figure(&result, "minor_faults"), &burner(&result)["operations"]);
    note(format_args!("told {told}, seen {seen}, {operations} pages touched"));
    let seen = seen as f64;
    // What came after the last look, which may be long before the end where cores are shared, and the process's own start.
    assert!(told > 1_000.0 && told <= 2.0 * seen, "told {told}, seen {seen}");
    assert!(told >= 0.9 * seen - 2_000.0, "told {told}, seen {seen}");
    let operations = operations.as_f64().expect("it is a number");
    assert!((told - operations).abs() <= 0.01 * told + 10.0, "told {told}, touched {operations}");
}

#[test]
fn huge_pages_that_are_not_there_are_replaced_with_a_notice() {
    let pool = fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
    if pool.trim() != "0" {
        note(format_args!("NOT TESTED: this machine has a pool of {} huge pages", pool.trim()));
        return;
    }
    let ground = Ground::new();
    let result = Ctl::local(&ground).words("burn memory --size 32MiB --pages huge --duration 200ms").json();
    assert_eq!(figure(&result, "resident"), (32 * MIB) as f64);
    let events = result["hosts"][0]["events"].as_array().expect("a run has events");
    let told = events.iter().any(|event| {
        event["kind"] == "notice" && event["message"].as_str().unwrap_or_default().contains("nr_hugepages")
    });
    assert!(told, "{events:#?}");
}

#[test]
fn streaming_methods_hold_their_load_and_count_what_they_move() {
    let ground = Ground::alone();
    for (method, figures) in
        [("stream", &["copy", "scale", "add", "triad"][..]), ("read", &[]), ("write", &[]), ("latency", &[])]
    {
        let words = format!(
            "burn memory --size 48MiB --method {method} --cores 0 --load 40 --tolerance 100 --duration 1500ms"
        );
        let result = Ctl::local(&ground).words(&words).json();
        let burner = burner(&result);
        assert!(burner["bytes"].as_u64() > Some(1_000_000), "{burner:#}");
        assert_eq!(burner["target_load"].as_f64().map(f64::round), Some(40.0), "{burner:#}");
        for name in figures {
            assert!(figure(&result, name) > 1e6, "{name}: {burner:#}");
        }
        assert_eq!(burner["latency_ns"].is_object(), method == "latency", "{burner:#}");
    }
}
