//! The block probe tells the truth: I/Os that the story itself issues and times are in the result of a run that burns nothing.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, note, possible, privileged};

const BLOCK: usize = 4_096;
const BLOCKS: u64 = 4_096;
const READS: u64 = 2_000;
/// The kernel runs no program where one runs on the core already, and on virtual machines a core was seen to run none for
/// milliseconds: what a probe counts is a little less than what there was.
const SEEN: u64 = READS * 99 / 100;

/// Memory that O_DIRECT takes: open(2).
#[repr(align(4096))]
struct Aligned([u8; BLOCK]);

/// The whole disk below a folder, by its kernel name; nothing where the file system stands on none directly.
fn disk_below(folder: &Path) -> Option<String> {
    let device = fs::metadata(folder).ok()?.dev();
    let link = format!("/sys/dev/block/{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let path = fs::canonicalize(link).ok()?;
    let whole = if path.join("partition").exists() { path.parent()? } else { &path };
    Some(whole.file_name()?.to_str()?.to_owned())
}

/// Reads past every cache; gives what each read took, shortest first.
fn read_directly(path: &Path) -> Vec<Duration> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .expect("the file system can do O_DIRECT");
    let mut buffer = Box::new(Aligned([0; BLOCK]));
    // All over the file: a stride that shares no factor with the number of blocks meets each once.
    let mut took: Vec<_> = (0..READS)
        .map(|n| {
            let begin = Instant::now();
            file.read_exact_at(&mut buffer.0, (n * 1_237 % BLOCKS) * BLOCK as u64).expect("it was written");
            begin.elapsed()
        })
        .collect();
    took.sort_unstable();
    took
}

fn reads_of<'a>(result: &'a Value, disk: &str) -> Option<&'a Value> {
    let series = result["hosts"][0]["telemetry"]["block.latency"].as_array()?;
    series.iter().find(|series| series["labels"]["device"] == disk && series["labels"]["operation"] == "read")
}

#[test]
fn the_reads_of_this_test_are_counted_and_timed() {
    if !privileged() {
        return;
    }
    let ground = Ground::alone();
    let Some(disk) = disk_below(ground.disk()) else {
        possible(false, "the target folder is on no disk of its own");
        return;
    };
    let path = ground.disk().join("data");
    let data: Vec<u8> = (0..BLOCKS as usize * BLOCK).map(|n| (n / 7) as u8).collect();
    fs::write(&path, data).expect("there is room");
    File::open(&path).and_then(|file| file.sync_all()).expect("it was written");

    let daemon = Daemon::start(&ground);
    let info = Ctl::new(&ground).words("info").json();
    let probe = info["probes"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|probe| probe["name"] == "block")
        .expect("it is listed");
    if probe["working"] != true {
        possible(false, &format!("the block probe does not work here: {probe:#}"));
        return;
    }
    let scenario =
        ground.file("observe.toml", "name = \"observe\"\n[[phase]]\nname = \"observe\"\nduration = \"3s\"\n");
    let id = Ctl::new(&ground)
        .args(["run", &scenario, "--detach"])
        .run()
        .assert_status(0)
        .stdout
        .trim()
        .to_owned();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(daemon.burners(), [], "nothing burns");
    let took = read_directly(&path);
    let followed = Ctl::new(&ground).args(["--output", "json", "watch", &id]).run();
    followed.assert_status(0);
    let result = followed.json();
    let reads = reads_of(&result, &disk).unwrap_or_else(|| panic!("no reads of {disk}: {result:#}"));
    note(format_args!(
        "own p50 {:?}, p90 {:?}; probe: {reads:#}",
        took[took.len() / 2],
        took[took.len() * 9 / 10]
    ));
    assert!(reads["samples"].as_u64() >= Some(SEEN), "{READS} reads were issued: {reads:#}");
    assert_eq!(reads["unit"], "ns");
    // The way through the kernel is in our figure, not in the probe's; and others may read, too.
    let p50 = reads["p50"].as_f64().expect("it is a number");
    let own = |share: usize| took[took.len() * share / 100].as_nanos() as f64;
    assert!((own(50) / 20.0..own(95) * 2.0).contains(&p50), "{p50} ns against {} ns: {reads:#}", own(50));

    let probe = result["hosts"][0]["probes"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|probe| probe["name"] == "block");
    assert_eq!(probe.map(|probe| &probe["working"]), Some(&true.into()), "{result:#}");
}

/// Without rights there are no probes: the run goes on without, and the result says why.
#[test]
fn without_probes_the_result_says_why() {
    let ground = Ground::new();
    ground.configure("[observe]\nprobes = false\n");
    let _daemon = Daemon::start(&ground);
    let result = Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 500ms").json();
    assert!(result["hosts"][0]["telemetry"].get("block.latency").is_none(), "{result:#}");
    for probe in result["hosts"][0]["probes"].as_array().expect("a list") {
        assert_eq!(probe["working"], false, "{probe:#}");
        assert!(probe["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{probe:#}");
    }
}
