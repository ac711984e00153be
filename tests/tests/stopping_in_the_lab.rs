//! What only another machine can be put through: a burner that hangs in the kernel for a disk that does not answer, a clock that
//! is set back, cgroups with the memory controller. In the laboratory, on a pure cgroup version 2.

use serde_json::Value;
use ssts_tests::{Machine, lab, tools};

/// What the laboratory's script and the story's need.
const TOOLS: [&str; 8] =
    ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "mkfs.ext4", "dmsetup", "losetup", "timeout"];

const SCRIPT: &str = r#"
# Probes have nothing to do here, and an emulated machine takes seconds to load them.
export SSTSD_OBSERVE__PROBES=false SSTSD_METRICS__LISTEN= SSTSD_BURNERS__DEADLINE=5s
echo +memory >/sys/fs/cgroup/cgroup.subtree_control || exit 99
mkdir -p /tmp/run
"$SSTSD" serve --state-dir /tmp/state/ssts --listen unix:/tmp/run/s.sock 2>/tmp/sstsd.log &
DAEMON=$!
ctl() { "$SSTSCTL" --host unix:/tmp/run/s.sock --output json "$@"; }
for ((i = 0; i < 300; i++)); do ctl status >/dev/null 2>&1 && break; sleep 0.1; done
# Until a run is in the state.
until_is() {
  for ((i = 0; i < 300; i++)); do
    [[ $(ctl status) == *"\"state\": \"$1\""* ]] && return
    sleep 0.1
  done
}

# An hour back, and a day on, while it burns.
clocks() {
  ctl burn cpu --load 20 --tolerance 100 --duration 4s &
  local run=$!
  until_is running
  date -s '1 hour ago' >&2
  sleep 1
  date -s tomorrow >&2
  wait "$run"
}
section clocks clocks

ctl burn memory --size 32MiB --method hold --duration 10m --detach >/dev/null
until_is running
section limits cat /sys/fs/cgroup/ssts-*/memory.max /sys/fs/cgroup/ssts-*/memory.oom.group
section scores cat /proc/$DAEMON/oom_score_adj /proc/$(head -n 1 /sys/fs/cgroup/ssts-*/cgroup.procs)/oom_score_adj
frozen() {
  for ((i = 0; i < 100; i++)); do
    grep -q "frozen $1" /sys/fs/cgroup/ssts-*/cgroup.events && return
    sleep 0.1
  done
  return 1
}
ctl pause >/dev/null
section frozen frozen 1
ctl resume >/dev/null
section thawed frozen 0
ctl pause >/dev/null
frozen 1
section stopped_frozen ctl stop

truncate -s 160M /tmp/image && LOOP=$(losetup --find --show /tmp/image) || exit 99
echo "0 327680 linear $LOOP 0" | dmsetup --noudevrules --noudevsync create hanging && dmsetup mknodes || exit 99
mkfs.ext4 -q /dev/mapper/hanging && mkdir /tmp/disk && mount /dev/mapper/hanging /tmp/disk || exit 99
ctl burn disk --path /tmp/disk --size 4MiB --depth 4 --duration 10m --detach >/dev/null
until_is running
sleep 1
# The device takes I/Os and answers none.
dmsetup --noudevsync suspend --noflush --nolockfs hanging
sleep 1
section hanging ctl stop
section refused ctl burn cpu --duration 1s
section still ctl recover
dmsetup --noudevrules --noudevsync resume hanging
sleep 1
section recovered ctl recover
section works ctl burn cpu --load 20 --tolerance 100 --duration 300ms
kill "$DAEMON"
wait "$DAEMON"
section after ls -d /sys/fs/cgroup/ssts-*
"#;

fn check<'a>(receipt: &'a Value, what: &str) -> &'a Value {
    let checks = receipt["checks"].as_array().expect("checks are a list");
    checks.iter().find(|check| check["what"] == what).expect("the receipt has it")
}

#[test]
fn what_hangs_in_the_kernel_is_told_and_blocks_until_it_is_gone() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let sections = lab::carry_out(SCRIPT);
    let section = |name: &str| sections.get(name).unwrap_or_else(|| panic!("section {name} is missing"));

    let clocks = section("clocks");
    assert_eq!(clocks.status, 0, "{}", clocks.text);
    let run = clocks.json();
    let burning = run["hosts"][0]["burners"][0]["burning_s"].as_f64().expect("it burned");
    assert!((3.5..5.0).contains(&burning), "no clock that is set changes how long: {run:#}");

    // What was asked for, a process's own, and a quarter on top.
    let mut limits = section("limits").text.lines();
    let limit: u64 = limits.next().and_then(|text| text.parse().ok()).expect("a number of bytes");
    assert!((160 << 20..400 << 20).contains(&limit), "{limit}");
    assert_eq!(limits.next(), Some("1"));
    assert_eq!(section("scores").text, "-900\n1000\n");
    assert_eq!((section("frozen").status, section("thawed").status), (0, 0));
    let stopped = section("stopped_frozen").json();
    assert_eq!(stopped["receipt"]["state"], "clean", "{stopped:#}");
    assert!(stopped["quiet_after_s"].as_f64().is_some(), "{stopped:#}");

    let hanging = section("hanging").json();
    let receipt = &hanging["receipt"];
    assert_eq!(receipt["state"], "unknown", "{hanging:#}");
    assert_eq!(hanging["quiet_after_s"], Value::Null, "nothing proves that it is quiet: {hanging:#}");
    let processes = check(receipt, "processes");
    assert_eq!(processes["state"], "left", "{hanging:#}");
    assert!(processes["detail"].as_str().is_some_and(|text| text.contains("disk burner")), "{processes:#}");
    assert_eq!(check(receipt, "cgroup")["state"], "left", "{hanging:#}");
    assert_eq!(check(receipt, "memory")["state"], "unknown", "{hanging:#}");
    assert_eq!(section("refused").status, 5, "{}", section("refused").text);
    assert_eq!(section("still").status, 5, "{}", section("still").text);
    let recovered = section("recovered");
    assert_eq!(recovered.status, 0, "{}", recovered.text);
    assert_eq!(recovered.json()["receipts"][0]["receipt"]["state"], "clean", "{}", recovered.text);
    assert_eq!(section("works").status, 0, "{}", section("works").text);
    assert_eq!(section("after").text, "", "something was left");
}
