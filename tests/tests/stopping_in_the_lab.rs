//! What only another machine can be put through: a clock that is set back, cgroups with the memory controller. In the laboratory,
//! on a pure cgroup version 2.

use ssts_tests::{Machine, lab, tools};

/// What the laboratory's script and the story's need.
const TOOLS: [&str; 5] = ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "timeout"];

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

ctl burn memory --size 32MiB --method fill --duration 10m --detach >/dev/null
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

kill "$DAEMON"
wait "$DAEMON"
section after ls -d /sys/fs/cgroup/ssts-*
"#;

#[test]
fn clocks_are_set_and_cgroups_confine_and_freeze() {
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

    assert_eq!(section("after").text, "", "something was left");
}
