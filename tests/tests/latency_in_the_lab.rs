//! The block probe's histogram against the exact latencies of the same I/Os, as fio logs them one by one, in the laboratory.

#![expect(clippy::panic, reason = "a story fails by panicking")]

use ssts_tests::{Machine, lab, note, tools};

/// What the laboratory's script and the story's need.
const TOOLS: [&str; 8] =
    ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "dmsetup", "losetup", "fio", "timeout"];

/// The loop device has a request queue, which is where the probe looks; dm-delay, which has none, makes what lies below it slow.
/// fio measures from user space: its own way through the emulated kernel, some 0.1 ms, is in its figures alone. So
/// delays are of 24 ms and more, where a bucket is 1 ms wide and wider.
const SCRIPT: &str = r#"
# From here on the programs are in memory: reading them through the laboratory's file system takes seconds.
"$SSTSD" --version >/dev/null && "$SSTSCTL" --version >/dev/null && fio --version >/dev/null || exit 99

# How many of 1,000 parts of the disk are how slow, in ms. No percentile that is asked for lies where two of the groups meet.
delays() {
  local delay
  for delay in 24 28 32 36 40; do echo 90 $delay; done
  for delay in 44 48 52 56 60; do echo 80 $delay; done
  for delay in 80 88 96 104 112 120; do echo 20 $delay; done
  for delay in 180 200 220; do echo 9 $delay; done
  echo 3 500
}
delays | awk '{ long = $1 * 128; print begin + 0, long, "delay /dev/nullb0", begin + 0, $2; begin += long }' |
  dmsetup --noudevrules --noudevsync create slow && dmsetup mknodes || exit 99
LOOP=$(losetup --find --show --direct-io=on /dev/mapper/slow) || exit 99
section direct losetup --noheadings --output DIO "$LOOP"

{
  printf '%s\n' 'name = "observe"' '[[phase]]' 'name = "observe"' 'duration = "130s"'
  for statistic in p50 p90 p99 max; do
    printf '%s\n' '[[threshold]]' "that = 'block.latency.$statistic < 60s'" \
      "labels = { device = '${LOOP#/dev/}', operation = 'read' }"
  done
} >/tmp/observe.toml
ctl() { "$SSTSCTL" --host unix:/run/s.sock --output json "$@"; }
"$SSTSD" serve --state-dir /tmp/state --listen unix:/run/s.sock 2>/tmp/log &
DAEMON=$!
until ctl status >/dev/null 2>&1; do sleep 0.1; done
ctl run /tmp/observe.toml >/tmp/result &
RUN=$!
until ctl status | grep -q '"running"'; do sleep 0.1; done
sleep 2
section fio fio --name=exact --filename="$LOOP" --rw=randread --norandommap --randseed=7 --bs=4k --direct=1 \
  --ioengine=psync --iodepth=1 --runtime=110 --time_based --write_lat_log=/tmp/exact --log_avg_msec=0 --output-format=json
wait $RUN
section run cat /tmp/result
section log cat /tmp/exact_lat.1.log
kill $DAEMON
wait $DAEMON
"#;

/// The bucket that counts a latency in ns: each power of two is divided into 16, so that none is off by more than 6.25 %.
fn bucket(ns: u64) -> u64 {
    let power = ns.max(16).ilog2();
    u64::from(power) * 16 + (ns.max(16) >> (power - 4)) % 16
}

/// What fio measured, shortest first.
fn exact(log: &str) -> Vec<u64> {
    // Milliseconds since it began, ns, direction (0: read), bytes, offset, priority.
    let read = |line: &str| {
        let mut words = line.split(',').map(str::trim).skip(1);
        let ns = words.next()?.parse().ok()?;
        (words.next()? == "0").then_some(ns)
    };
    let mut all: Vec<u64> = log.lines().map(|line| read(line).unwrap_or_else(|| panic!("{line}"))).collect();
    all.sort_unstable();
    all
}

#[test]
fn percentiles_are_within_one_bucket_of_the_exact_ones_in_fios_log() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let sections = lab::carry_out(SCRIPT);
    let section = |name: &str| sections.get(name).unwrap_or_else(|| panic!("section {name} is missing"));
    assert_eq!(section("direct").text.trim(), "1", "reads would come out of the page cache");
    assert_eq!(section("fio").status, 0, "{}", section("fio").text);
    let exact = exact(&section("log").text);
    assert!(exact.len() > 1_000, "{} reads", exact.len());
    let slowest = exact.last().copied().unwrap_or_default();
    assert!(slowest > 480_000_000, "none of the slowest part was read: {slowest} ns");

    let result = section("run").json();
    let host = &result["hosts"][0];
    let series = host["telemetry"]["block.latency"].as_array();
    let reads = series.into_iter().flatten().find(|series| {
        series["labels"]["device"].as_str().is_some_and(|device| device.starts_with("loop"))
            && series["labels"]["operation"] == "read"
    });
    let reads = reads.unwrap_or_else(|| panic!("no reads of the loop device: {result:#}"));
    let counted = reads["samples"].as_u64().unwrap_or_default();
    // The kernel leaves a program out where one runs on that core already.
    let count = exact.len() as u64;
    assert!((count * 99 / 100..=count + 2).contains(&counted), "{counted} counted of {count}: {reads:#}");

    let told = result["thresholds"].as_array().expect("they are a list");
    for (statistic, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        let is_its =
            |one: &&serde_json::Value| one["expr"].as_str().is_some_and(|expr| expr.contains(statistic));
        let told = told.iter().find(is_its).and_then(|one| one["value"].as_f64());
        let told = told.unwrap_or_else(|| panic!("no {statistic}: {result:#}")) as u64;
        let real = exact[((share * exact.len() as f64).ceil() as usize).clamp(1, exact.len()) - 1];
        note(format_args!("{statistic} of {count} reads: {real} ns by fio, {told} ns by the probe"));
        assert!(
            bucket(real).abs_diff(bucket(told)) <= 1,
            "{statistic}: {real} ns by fio, {told} ns by the probe: more than a bucket apart"
        );
    }
}
