//! What hardware tells the kernel of itself, in the laboratory: machine checks and a PCIe error that qemu injects, clocks that
//! cpufreq sets, a thermal zone that the kernel reads. A run sees each as its own.

#![expect(clippy::panic, reason = "a story fails by panicking")]

use serde_json::Value;
use ssts_tests::{Machine, lab, note, tools};

/// What the laboratory's script and the story's need.
const TOOLS: [&str; 6] = ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "iasl", "timeout"];

const SCRIPT: &str = r#"
# From here on the programs are in memory: reading them through the laboratory's file system takes seconds.
"$SSTSD" --version >/dev/null && "$SSTSCTL" --version >/dev/null || exit 99
clock() { echo "$1" >/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq; }
for governor in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance >"$governor" || exit 99; done
clock 2000000
ctl() { "$SSTSCTL" --host unix:/run/s.sock "$@"; }
"$SSTSD" serve --state-dir /tmp/state --listen unix:/run/s.sock 2>/tmp/log &
DAEMON=$!
# Until a command succeeds: emulated, it takes its time.
until_so() { for ((i = 0; i < 300; i++)); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; return 1; }
running() { ctl --output json status | grep -q '"running"'; }
until_so ctl status || exit 98
# A guard that has tripped keeps further runs off until that is over.
begin() {
  local tries
  for ((tries = 0; tries < 30; tries++)); do
    ctl --output json burn cpu --load 10 --tolerance 100 --duration "$1" >/tmp/result 2>/tmp/refused &
    RUN=$!
    while kill -0 $RUN 2>/dev/null; do
      running && { sleep 1; return; }
      sleep 0.1
    done
    wait $RUN
    sleep 1
  done
  cat /tmp/refused
  exit 97
}
ended() { wait $RUN; local status=$?; cat /tmp/result; return $status; }

begin 60s
for khz in 1000000 1500000 2000000 1000000; do clock $khz; sleep 0.3; done
# VAL, EN, ADDRV: corrected. The kernel finds it when it next looks.
echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval
echo 'mce 0 2 0x9400000000000150 0 0x1000 0' >"$LAB_MONITOR"
sleep 4
# Completion timeout: nothing that the port can't go on after, but a guard ends the run.
echo 'pcie_aer_inject_error root_port 0x4000' >"$LAB_MONITOR"
section told ended
echo 300 >/sys/devices/system/machinecheck/machinecheck0/check_interval

begin 5s
section quiet ended

# VAL, UC, EN, ADDRV: not corrected. The kernel would panic, and then nobody could tell.
echo 1 >/sys/kernel/debug/mce/fake_panic || exit 99
begin 60s
echo 'mce 0 3 0xb400000000000150 5 0x1000 0' >"$LAB_MONITOR"
section uncorrected ended
sleep 1
section kept ctl telemetry --metric hardware.
kill $DAEMON
wait $DAEMON

begin() { SSTSD_OBSERVE__HOOKS=tracepoint "$SSTSD" check --output json; }
section recorded begin
"#;

/// The series of a metric whose labels have these values.
fn series<'a>(result: &'a Value, metric: &str, labels: &[(&str, &str)]) -> &'a Value {
    let all = result["hosts"][0]["telemetry"][metric].as_array();
    let fits = |one: &&Value| labels.iter().all(|(name, value)| one["labels"][name] == *value);
    all.into_iter().flatten().find(fits).unwrap_or_else(|| panic!("no {metric} {labels:?}: {result:#}"))
}

/// By how much a counter rose in a run.
fn increase(result: &Value, metric: &str, labels: &[(&str, &str)]) -> f64 {
    let series = series(result, metric, labels);
    series["increase"].as_f64().unwrap_or_else(|| panic!("no increase: {series:#}"))
}

fn errors(result: &Value) -> Vec<&str> {
    let events = result["hosts"][0]["events"].as_array().expect("they are a list").iter();
    let errors = events.filter(|event| event["kind"] == "hardware_error");
    errors.filter_map(|event| event["message"].as_str()).collect()
}

#[test]
fn a_run_sees_what_hardware_tells_the_kernel_while_it_lasts() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let sections = lab::carry_out_in(&[("LAB_HARDWARE", "1")], SCRIPT);
    let section = |name: &str| sections.get(name).unwrap_or_else(|| panic!("section {name} is missing"));

    let result = section("told").json();
    let probes = result["hosts"][0]["probes"].as_array().expect("they are a list");
    let probe = probes.iter().find(|probe| probe["name"] == "hardware").expect("it is listed");
    assert_eq!((&probe["attached"], &probe["working"]), (&true.into(), &true.into()), "{probe:#}");
    for event in ["mce_record", "mc_event", "aer_event", "cpu_frequency", "thermal_temperature"] {
        let hooks = probe["hooks"].to_string();
        assert!(hooks.contains(event), "{event}: {probe:#}");
    }
    assert_eq!((section("told").status, &result["cause"]), (4, &"guard_tripped".into()), "{result:#}");
    assert!(result["cause_message"].as_str().is_some_and(|text| text.contains("pcie")), "{result:#}");

    let told = errors(&result);
    note(format_args!("{told:#?}"));
    for message in [
        "hardware.machine_checks of severity corrected rose by 1",
        "hardware.pcie_errors of severity nonfatal rose by 1",
    ] {
        assert!(told.contains(&message), "{message}: {told:#?}");
    }
    assert!(!told.iter().any(|message| message.contains("severity uncorrected")), "{told:#?}");
    assert_eq!(increase(&result, "hardware.machine_checks", &[("severity", "corrected")]), 1.0);
    assert_eq!(increase(&result, "hardware.machine_checks", &[("severity", "uncorrected")]), 0.0);
    assert_eq!(increase(&result, "hardware.pcie_errors", &[("severity", "nonfatal")]), 1.0);
    assert_eq!(increase(&result, "hardware.memory_errors", &[("severity", "corrected")]), 0.0);
    // Set four times, each time to another one.
    assert_eq!(increase(&result, "hardware.frequency_changes", &[("cpu", "0")]), 4.0);
    assert_eq!(increase(&result, "hardware.frequency_changes", &[("cpu", "1")]), 0.0);
    assert_eq!(series(&result, "hardware.frequency", &[("cpu", "0")])["last"], 1e9);
    assert_eq!(series(&result, "hardware.frequency", &[("cpu", "0")])["max"], 2e9);
    // Once a second, as the firmware asks for.
    let zone = [("zone", "thermal_zone0")];
    let readings = increase(&result, "hardware.zone_readings", &zone);
    assert!((3.0..30.0).contains(&readings), "{readings}");
    assert_eq!(series(&result, "hardware.zone_temperature", &zone)["last"], 50.0);

    // What was before a run is none of its errors.
    let result = section("quiet").json();
    assert_eq!(errors(&result), [""; 0], "{result:#}");
    assert_eq!(increase(&result, "hardware.machine_checks", &[("severity", "corrected")]), 0.0);

    assert_eq!(section("uncorrected").status, 4, "{}", section("uncorrected").text);
    let rose = |line: &str| {
        line.contains("hardware.machine_checks,severity=uncorrected")
            && line
                .rsplit(',')
                .next()
                .and_then(|value| value.parse::<f64>().ok())
                .is_some_and(|rate| rate > 0.0)
    };
    assert!(section("kept").text.lines().any(rose), "{}", section("kept").text);

    // The kernel tries no programs of tracepoints: they are there, and it is said that nobody could test them.
    let report = section("recorded").json();
    let all = report["capabilities"].as_array().expect("they are a list");
    let told = all.iter().find(|one| one["name"] == "probe-hardware").expect("it is listed");
    assert!(told.to_string().contains("can't be caused for a test"), "{told:#}");
}
