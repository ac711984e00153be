//! A disk burner does the I/Os that were asked: their shares, sizes, fsyncs, jobs and rate, counted.

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, note, outside};

/// Shares hold exactly in each run of so many I/Os.
const DECK: u64 = 100;

fn burner(ground: &Ground, settings: &str) -> Value {
    let folder = ground.disk().display();
    let words = format!("burn disk --path {folder} --size 16MiB {settings}");
    let mut result = Ctl::new(ground).words(&words).json();
    assert_eq!(result["verdict"], "pass", "{result:#}");
    result["hosts"][0]["burners"][0].take()
}

fn count(value: &Value) -> u64 {
    value.as_f64().expect("it is a number") as u64
}

fn of_operation(burner: &Value, operation: &str) -> u64 {
    count(&burner["latency_by_operation"][operation]["count"])
}

/// What `dealt` I/Os hold of a share: whole decks exactly, of a begun one at most its own.
fn assert_share(counted: u64, dealt: u64, percent: u64) {
    let (decks, rest) = (dealt / DECK, dealt % DECK);
    let bounds = decks * percent..=decks * percent + rest.min(percent);
    assert!(bounds.contains(&counted), "{counted} of {dealt} is not {percent} %");
}

#[test]
fn shares_of_reads_and_sizes_are_exact() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let burner = burner(&ground, "--rw randrw --reads 70 --block 4KiB:60,16KiB:40 --duration 500ms");
    let (reads, writes) = (of_operation(&burner, "read"), of_operation(&burner, "write"));
    let all = count(&burner["operations"]);
    assert!(all > 2 * DECK && reads + writes == all, "{burner:#}");
    assert_share(reads, all, 70);
    assert_share(writes, all, 30);
    // So many larger blocks the bytes come to.
    let larger = (count(&burner["bytes"]) - all * 4_096) / (12 << 10);
    assert_share(larger, all, 40);
    let moved = count(&burner["figures"]["read_bytes"]["value"])
        + count(&burner["figures"]["written_bytes"]["value"]);
    assert_eq!(moved, count(&burner["bytes"]));
}

#[test]
fn fsyncs_come_after_so_many_writes_and_have_a_latency_of_their_own() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    for engine in ["io-uring", "threads"] {
        let burner =
            burner(&ground, &format!("--rw write --depth 4 --fsync 8 --engine {engine} --duration 500ms"));
        let (writes, syncs) = (of_operation(&burner, "write"), of_operation(&burner, "fsync"));
        assert_eq!(writes, count(&burner["operations"]), "an fsync moves nothing: {burner:#}");
        assert!(syncs > 0 && (syncs == writes / 8 || syncs + 1 == writes / 8), "{writes}: {burner:#}");
        assert!(burner["latency_by_operation"]["fsync"]["p50"].as_u64() > Some(0), "{burner:#}");
    }
}

#[test]
fn jobs_have_files_of_their_own_and_stay_on_their_cores() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let folder = ground.disk().display().to_string();
    let words = format!(
        "--output json burn disk --path {folder} --size 4MiB --jobs 3 --cores 0 --rate 300 --duration 2s"
    );
    let running = Ctl::new(&ground).words(&words).spawn();
    let burner = daemon.burning(1)[0];
    let workers = burner.workers();
    let pinned: Vec<_> =
        workers.iter().filter(|worker| worker.allowed_cores().as_deref() == Some("0")).collect();
    assert!(pinned.len() >= 3, "{workers:?}");
    let files = || {
        let links = std::fs::read_dir(format!("/proc/{}/fd", burner.pid)).expect("it is ours");
        let links = links.flatten().filter_map(|link| std::fs::read_link(link.path()).ok());
        let inodes: std::collections::HashSet<_> = links.filter(|link| link.starts_with(&folder)).collect();
        inodes.len()
    };
    assert!(
        outside::within(std::time::Duration::from_secs(2), || files() == 3).is_some(),
        "{} files",
        files()
    );
    let outcome = running.outcome();
    outcome.assert_status(0);
    let result = outcome.json();
    assert_eq!(result["hosts"][0]["burners"][0]["workers"], 3);
    assert_eq!(result["hosts"][0]["burners"][0]["cores"], serde_json::json!([0]));
    assert_eq!(ground.leftovers(), [""; 0]);
}

/// Never more than the rate, of I/Os or of bytes, whatever the number of jobs; and what is missing shows as lag.
#[test]
fn a_rate_is_kept_by_all_jobs_together() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    for (settings, wanted) in [
        ("--rate 2000", 4_000),
        ("--rate 2000 --jobs 3 --depth 4", 4_000),
        ("--bandwidth 8MiB --rw randwrite", 4_096),
    ] {
        let burner = burner(&ground, &format!("{settings} --tolerance 100 --duration 2s"));
        let (done, lag_ns) = (count(&burner["operations"]), count(&burner["figures"]["lag"]["value"]));
        note(format_args!("{settings}: {done} of {wanted}, {lag_ns} ns behind"));
        assert!(done <= wanted + 3, "{done} of {wanted}: {burner:#}");
        // Starting takes its moment, too.
        let excused = lag_ns as f64 / 2e9 * wanted as f64 + wanted as f64 * 0.01;
        assert!(done as f64 + excused >= wanted as f64, "{done} of {wanted}: {burner:#}");
    }
}
