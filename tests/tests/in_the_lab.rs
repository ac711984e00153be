//! Another kernel, pure cgroup v2, and real hardware to torment, in a virtual machine: what the machine that runs the tests
//! lacks. One boot for all; slow, so for behaviour and never for figures.

use std::fs;

use serde_json::Value;
use ssts_tests::{Machine, lab, note, tools};

/// What the laboratory's script and the story's need.
const TOOLS: [&str; 8] =
    ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "i2cset", "mkfs.ext4", "setpriv", "timeout"];

const SCRIPT: &str = r#"
state() { uname -r; ls -d /sys/fs/cgroup/ssts-* /tmp/disk/* 2>/dev/null | grep -v lost+found; pgrep sstsd; true; }

truncate -s 160M /tmp/image && mkfs.ext4 -q /tmp/image && mkdir /tmp/disk && mount -o loop /tmp/image /tmp/disk || exit 99
cat >/tmp/lab.toml <<'TOML'
name = "lab"
[[phase]]
name = "cores"
duration = "2s"
[[phase.burner]]
kind = "cpu"
load = 20
tolerance = 100
[[phase]]
name = "disk"
duration = "2s"
[[phase.burner]]
kind = "disk"
path = "/tmp/disk"
size = "16MiB"
depth = 4
rate = 200
TOML

section check "$SSTSD" check --output json
section run "$SSTSCTL" --local --output json run /tmp/lab.toml

heat() {
  "$SSTSCTL" --local --output json burn cpu --load 20 --duration 60s --max-temperature 80 &
  local run=$!
  for ((i = 0; i < 300; i++)); do
    compgen -G '/sys/fs/cgroup/ssts-*' >/dev/null && break
    sleep 0.1
  done
  # Until the guards have seen the sensor cool.
  sleep 2
  i2cset -f -y "$LAB_I2C_BUS" 0x48 0x00 0x0055 w
  wait "$run"
}
section heat heat

# A quarter of an hour ahead while a run is on, and back.
jump() {
  "$SSTSCTL" --local --output json burn cpu --load 20 --tolerance 100 --duration 6s &
  local run=$!
  for ((i = 0; i < 300; i++)); do
    compgen -G '/sys/fs/cgroup/ssts-*' >/dev/null && break
    sleep 0.1
  done
  sleep 1
  date -s '+15 minutes' >/dev/null
  sleep 1
  date -s '-15 minutes' >/dev/null
  wait "$run"
}
section jump jump
section after state
"#;

/// Whether the host can do it, as `sstsd check` found out by trying.
fn works(check: &Value, name: &str) -> bool {
    let all = check["capabilities"].as_array().expect("capabilities are a list");
    all.iter().any(|capability| capability["name"] == name && capability["state"] == "works")
}

/// Probes with that kernel's layouts, a run in that kernel's cgroups, and a guard on a sensor that is a sensor.
#[test]
fn probes_a_run_and_a_guard_work_on_another_kernel() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let sections = lab::carry_out(SCRIPT);
    let section = |name: &str| sections.get(name).unwrap_or_else(|| panic!("section {name} is missing"));

    let after = &section("after").text;
    note(format_args!("{after}"));
    let own = fs::read_to_string("/proc/sys/kernel/osrelease").expect("it is there");
    let mut lines = after.lines();
    assert_ne!(lines.next(), Some(own.trim()), "it is another kernel");
    assert_eq!(lines.collect::<Vec<_>>(), [""; 0], "something was left");

    let check = section("check").json();
    assert_eq!(section("check").status, 0, "{check:#}");
    for name in ["probe-block", "probe-sched", "cgroup", "sensors", "io-uring"] {
        assert!(works(&check, name), "{name}: {check:#}");
    }

    let run = section("run");
    assert_eq!(run.status, 0, "{}", run.text);
    let result = run.json();
    assert_eq!(result["verdict"], "pass", "{result:#}");
    let host = &result["hosts"][0];
    for probe in host["probes"].as_array().expect("probes are a list") {
        assert_eq!(probe["working"], true, "{probe:#}");
    }
    let series = host["telemetry"]["block.latency"].as_array().expect("the loop device was read");
    let reads =
        series.iter().find(|series| series["labels"]["operation"] == "read").expect("there were reads");
    assert!(reads["samples"].as_u64() > Some(50), "{reads:#}");
    assert!(host["burners"][1]["operations"].as_u64() > Some(50), "{host:#}");

    // The drive's own answer to the admin command.
    let telemetry = &host["telemetry"];
    let nvme = |metric: &str| &telemetry[metric][0];
    assert_eq!(nvme("host.nvme.temperature")["labels"]["device"], "nvme0", "{telemetry:#}");
    // 323 K, says qemu: NVME_TEMPERATURE of hw/nvme/ctrl.c.
    assert_eq!(nvme("host.nvme.temperature")["last"], 50.0, "{telemetry:#}");
    assert_eq!(nvme("host.nvme.critical_warnings")["max"], 0.0);

    let heat = section("heat");
    assert_eq!(heat.status, 4, "{}", heat.text);
    let result = heat.json();
    assert_eq!(result["cause"], "guard_tripped", "{result:#}");
    let message = result["cause_message"].as_str().expect("it is text");
    // The drive has a sensor too, so either may be the first chip.
    for part in ["max_temperature", "/temp1", "is 85.0 °C", "80.0 °C"] {
        assert!(message.contains(part), "{message}");
    }

    let jump = section("jump");
    let result = jump.json();
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    let warned = events
        .iter()
        .find(|event| event["kind"] == "guard_warned" && event["fields"]["guard"] == "clock_jump");
    let message = warned.unwrap_or_else(|| panic!("no clock jump: {events:#?}"))["message"].to_string();
    assert!(
        message.contains("host.clock.step is 900") || message.contains("host.clock.step is 899"),
        "{message}"
    );
    assert_eq!(result["verdict"], "pass", "a clock that is set ends no run: {result:#}");
}
