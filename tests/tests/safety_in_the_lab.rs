//! What only real hardware does, in the laboratory: a sensor that gets hot step by step, a processor that reports machine checks, a host
//! that swaps and stalls, a host that is suspended. Slow, so for behaviour and never for figures.

use std::collections::HashMap;

use serde_json::Value;
use ssts_tests::{
    Machine,
    lab::{self, Section},
    note, tools,
};

/// What the laboratory's script and the story's need.
const TOOLS: [&str; 9] = [
    "qemu-system-x86_64",
    "busybox",
    "cpio",
    "modprobe",
    "i2cset",
    "losetup",
    "mkswap",
    "setpriv",
    "timeout",
];

/// Before each script: a daemon, and what asks it.
const DAEMON: &str = r#"
# Probes have nothing to do here, and an emulated machine takes seconds to load them.
export SSTSD_OBSERVE__PROBES=false SSTSD_METRICS__LISTEN= SSTSD_BURNERS__DEADLINE=5s
heat() { i2cset -f -y "$LAB_I2C_BUS" 0x48 0x00 "$(printf '0x%04x' "$1")" w; }
heat 30
mkdir -p /tmp/run
"$SSTSD" serve --state-dir /tmp/state/ssts --listen unix:/tmp/run/s.sock 2>/tmp/sstsd.log &
DAEMON=$!
ctl() { "$SSTSCTL" --host unix:/tmp/run/s.sock --output json "$@"; }
for ((i = 0; i < 300; i++)); do ctl status >/dev/null 2>&1 && break; sleep 0.1; done
until_has() {
  for ((i = 0; i < 150; i++)); do
    ctl status | tr -d ' \n' | grep -q -- "$1" && return
    sleep 0.1
  done
  ctl status >&2
  return 1
}
# Starts a run; `ended` waits for it, with its result and its status.
begin() {
  ctl "$@" >/tmp/result.json &
  RUN=$!
  until_has '"state":"running"'
}
ended() { local status=0; wait "$RUN" || status=$?; cat /tmp/result.json; return "$status"; }

"#;

const HARDWARE: &str = r#"
# ---- a ladder of guards on one sensor ----
cat >/tmp/ladder.toml <<'TOML'
name = "ladder"
[[phase]]
name = "only"
duration = "5m"
[[phase.burner]]
kind = "cpu"
cores = "0"
load = 80
tolerance = 100
[[guards]]
name = "warm"
metric = "host.temperature"
above = "56 °C"
hysteresis = 5
reaction = "warn"
[[guards]]
name = "hot"
metric = "host.temperature"
above = "62 °C"
hysteresis = 5
reaction = "throttle"
step = 75
floor = 25
hold = "1h"
then = "hold"
[[guards]]
name = "hotter"
metric = "host.temperature"
above = "70 °C"
hysteresis = 5
reaction = "pause"
[[guards]]
name = "hottest"
metric = "host.temperature"
above = "80 °C"
hysteresis = 5
reaction = "stop"
TOML
# CPU time of the burner in so many seconds, in hundredths.
ticks() { awk '{ print $14 + $15 }' "/proc/$(head -n 1 /sys/fs/cgroup/ssts-*/cgroup.procs)/stat"; }
window() { local before; before=$(ticks); sleep "$1"; echo $(($(ticks) - before)); }
frozen() { grep -q 'frozen 1' /sys/fs/cgroup/ssts-*/cgroup.events; }
until_frozen() { for ((i = 0; i < 100; i++)); do frozen && return; sleep 0.1; done; return 1; }
begin run /tmp/ladder.toml
sleep 1
section full window 4
heat 45
sleep 1
heat 58
section warned until_has '"name":"warm"[^{]*"state":"tripped"'
heat 64
section derated until_has '"load_percent":25.0'
section less window 4
heat 74
section paused until_has '"state":"paused"'
section frozen until_frozen
section nothing window 2
heat 62
section resumed until_has '"state":"running"'
heat 84
section ladder ended
section gone ls -d /sys/fs/cgroup/ssts-*
for degrees in 70 55 40 30; do heat $degrees; sleep 1; done

# ---- machine checks, by qemu's monitor; see MCi_STATUS of the processors' manuals ----
counted() { awk '$1 == "MCE:" { print $2 + $3 }' /proc/interrupts; }
# VAL, EN, ADDRV: corrected. The kernel finds it when it next looks.
begin burn cpu --load 10 --tolerance 100 --duration 8s
echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval
echo 'mce 0 2 0x9400000000000150 0 0x1000 0' >"$LAB_MONITOR"
section corrected ended
echo 300 >/sys/devices/system/machinecheck/machinecheck0/check_interval
# VAL, UC, EN, ADDRV: not corrected. The kernel would panic, and then nobody could tell what the agent did before.
section before counted
echo 1 >/sys/kernel/debug/mce/fake_panic || exit 99
begin burn cpu --load 10 --tolerance 100 --duration 60s
sleep 1
echo 'mce 0 3 0xb400000000000150 5 0x1000 0' >"$LAB_MONITOR"
section uncorrected ended
section after counted

kill "$DAEMON"
wait "$DAEMON"
section end ls -d /sys/fs/cgroup/ssts-*
"#;

const MEMORY: &str = r#"
# ---- somebody swaps, and stalls ----
guarded() {
  printf '%s\n' 'name = "guarded"' '[[phase]]' 'name = "only"' 'duration = "60s"' '[[phase.burner]]' 'kind = "cpu"' \
    'load = 10' 'tolerance = 100' '[[guards]]' "$@" 'window = "2s"' 'for = "1s"' 'reaction = "stop"' >/tmp/guarded.toml
}
truncate -s 192M /tmp/swap && LOOP=$(losetup --find --show /tmp/swap) && mkswap "$LOOP" >&2 && swapon "$LOOP" || exit 99
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/greedy && echo 24M >/sys/fs/cgroup/greedy/memory.max || exit 99
greedy() { sh -c 'echo 0 >/sys/fs/cgroup/greedy/cgroup.procs; exec dd if=/dev/zero of=/dev/null bs=64M' 2>/dev/null & GREEDY=$!; }
guarded 'name = "swaps"' 'metric = "host.vm.swapped_out"' 'above = 100'
begin run /tmp/guarded.toml
sleep 1
greedy
section swaps ended
kill -9 "$GREEDY"
guarded 'name = "stalls"' 'metric = "host.pressure.stalled"' 'labels = { resource = "memory", share = "full" }' 'above = "5 %"'
begin run /tmp/guarded.toml
sleep 1
greedy
section stalls ended
kill -9 "$GREEDY"
wait "$GREEDY"
swapoff "$LOOP"

kill "$DAEMON"
wait "$DAEMON"
section end ls -d /sys/fs/cgroup/ssts-*

"#;

const SLEEP: &str = r#"
export SSTSD_OBSERVE__PROBES=false SSTSD_METRICS__LISTEN= SSTSD_BURNERS__DEADLINE=5s
# The machine's files are gone once it has slept, so what goes on is in memory.
ROOT=/tmp/root
mkdir -p $ROOT/{bin,dev,proc,sys,tmp,run}
cp "$SSTSD" "$SSTSCTL" "$(command -v busybox)" $ROOT/bin || exit 99
for library in $(ldd "$SSTSD" "$SSTSCTL" | grep -o '/[^ ]*\.so[^ ]*' | sort -u); do
  mkdir -p "$ROOT$(dirname "$library")" && cp -L "$library" "$ROOT$library" || exit 99
done
for folder in dev proc sys; do mount --rbind /$folder $ROOT/$folder; done
cat >$ROOT/script <<'SH'
export PATH=/bin HOME=/tmp
busybox --install -s /bin
sstsd serve --state-dir /tmp/state --listen unix:/run/s.sock 2>/tmp/log &
daemon=$!
ctl() { sstsctl --host unix:/run/s.sock --output json "$@"; }
until ctl status >/dev/null 2>&1; do sleep 0.1; done
ctl burn cpu --load 10 --tolerance 100 --duration 2m >/tmp/result &
run=$!
until ctl status | grep -q '"running"'; do sleep 0.1; done
sleep 1
echo +12 >/sys/class/rtc/rtc0/wakealarm
echo '=== asleep'
echo mem >/sys/power/state
echo "=== $?"
echo '=== suspended'
wait $run
status=$?
cat /tmp/result
echo "=== $status"
echo '=== again'
ctl burn cpu --load 10 --tolerance 100 --duration 1s
echo "=== $?"
kill $daemon
wait $daemon
echo '=== left'
ls -d /sys/fs/cgroup/ssts-* 2>/dev/null
echo '=== 0'
sleep 1
echo 0 >"$LAB_STATUS"
sleep 1
# What the firmware offers to switch the machine off is not there any more after a sleep.
echo quit >"$LAB_MONITOR"
sleep 10
poweroff -nf
SH
exec chroot $ROOT /bin/busybox sh /script
"#;

struct Sections(HashMap<String, Section>);

impl Sections {
    fn get(&self, name: &str) -> &Section {
        self.0.get(name).expect(name)
    }

    fn passed(&self, name: &str) -> &str {
        let section = self.get(name);
        assert_eq!(section.status, 0, "{name}: {}", section.text);
        section.text.trim()
    }

    fn number(&self, name: &str) -> u64 {
        self.passed(name).parse().expect(name)
    }

    /// The result of a run that ended so.
    fn result(&self, name: &str, status: i32) -> Value {
        let section = self.get(name);
        assert_eq!(section.status, status, "{name}: {}", section.text);
        section.json()
    }
}

fn events<'a>(result: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    events.iter().filter(|event| event["kind"] == kind).collect()
}

fn of_guard(result: &Value, kind: &str, name: &str) -> bool {
    events(result, kind).iter().any(|event| event["fields"]["guard"] == name)
}

fn assert_stopped_by(result: &Value, name: &str, metric: &str) {
    assert_eq!(
        (&result["verdict"], &result["cause"]),
        (&"aborted".into(), &"guard_tripped".into()),
        "{result:#}"
    );
    let message = result["cause_message"].as_str().expect("it is text");
    assert!(message.contains(name) && message.contains(metric), "{message}");
    assert!(of_guard(result, "guard_tripped", name), "{:#}", result["hosts"][0]["events"]);
    assert_eq!(result["hosts"][0]["receipt"]["state"], "clean", "{result:#}");
}

#[test]
fn heat_and_machine_checks_do_to_a_run_what_its_guards_say() {
    let Some(sections) = carry_out(&format!("{DAEMON}{HARDWARE}")) else { return };
    a_ladder_is_climbed(&sections);
    machine_checks_are_told(&sections);
    assert_eq!(sections.get("end").text, "", "something was left");
}

#[test]
fn swapping_and_stalls_end_a_run_that_is_guarded_against_them() {
    let Some(sections) = carry_out(&format!("{DAEMON}{MEMORY}")) else { return };
    assert_stopped_by(&sections.result("swaps", 4), "swaps", "host.vm.swapped_out");
    assert_stopped_by(&sections.result("stalls", 4), "stalls", "host.pressure.stalled");
    assert_eq!(sections.get("end").text, "", "something was left");
}

fn carry_out(script: &str) -> Option<Sections> {
    if !tools(&TOOLS) {
        return None;
    }
    let _machine = Machine::exclusive();
    Some(Sections(lab::carry_out(script)))
}

/// Rung by rung, on a sensor that is a sensor: the load is less, then frozen, then gone, by the kernel's books.
fn a_ladder_is_climbed(sections: &Sections) {
    for rung in ["warned", "derated", "paused", "frozen", "resumed"] {
        sections.passed(rung);
    }
    let [full, less, nothing] = ["full", "less", "nothing"].map(|name| sections.number(name));
    note(format_args!("CPU time in hundredths: {full} and {less} in 4 s, {nothing} in 2 s frozen"));
    // A quarter was left of it.
    assert!(less * 2 < full && less > 0, "{full} {less}");
    assert!(nothing <= 1, "frozen means frozen: {nothing}");
    let result = sections.result("ladder", 4);
    assert_stopped_by(&result, "hottest", "84.0 °C");
    for (kind, name) in [
        ("guard_warned", "warm"),
        ("guard_tripped", "hot"),
        ("load_derated", "hot"),
        ("guard_tripped", "hotter"),
        ("run_paused", "hotter"),
        ("run_resumed", "hotter"),
    ] {
        assert!(of_guard(&result, kind, name), "{kind} of {name}: {:#}", result["hosts"][0]["events"]);
    }
    assert_eq!(sections.get("gone").text, "", "its cgroup was left");
}

/// One that was corrected is told and ends nothing; one that was not ends the run.
fn machine_checks_are_told(sections: &Sections) {
    let told = |result: &Value| {
        let logged = events(result, "kernel_log");
        logged.iter().any(|event| event["fields"]["kind"] == "machine_check")
    };
    let corrected = sections.result("corrected", 0);
    assert!(told(&corrected), "{:#}", corrected["hosts"][0]["events"]);
    assert!(!of_guard(&corrected, "guard_tripped", "machine_check"), "{corrected:#}");
    let uncorrected = sections.result("uncorrected", 4);
    assert_stopped_by(&uncorrected, "machine_check", "host.interrupts_by_kind");
    assert!(told(&uncorrected), "{:#}", uncorrected["hosts"][0]["events"]);
    assert_eq!(
        sections.number("after"),
        sections.number("before") + 1,
        "the exception is the processor's own"
    );
}

/// The clock of deadlines goes on while the host sleeps: who wakes first ends the run, and it says why. Then all is as before.
#[test]
fn a_suspend_ends_the_run_and_says_so() {
    let Some(sections) = carry_out(SLEEP) else { return };
    sections.passed("asleep");
    let result = sections.result("suspended", 5);
    assert_eq!((&result["verdict"], &result["cause"]), (&"error".into(), &"agent_lost".into()), "{result:#}");
    let message = result["cause_message"].as_str().expect("it is text");
    assert!(message.contains("the host was suspended for"), "{message}");
    assert_eq!(result["hosts"][0]["receipt"]["state"], "clean", "{result:#}");
    sections.result("again", 0);
    assert_eq!(sections.passed("left"), "", "something was left");
}
