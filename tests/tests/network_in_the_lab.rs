//! A link that loses, reorders and doubles datagrams as it was told to: netem, in the laboratory's kernel.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::process::{Command, Stdio};

use serde_json::Value;
use ssts_tests::{Machine, Programs, note, tools};

const TOOLS: [&str; 7] = ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "ip", "tc", "timeout"];

/// Prints one object a line: what the burner's result says, for each state of the link.
const SCRIPT: &str = r#"
set -e
export XDG_STATE_HOME=/tmp/state HOME=/tmp
ip netns add a; ip netns add b
ip link add wire netns a type veth peer name wire netns b
for side in a b; do ip -n $side link set lo up; ip -n $side link set wire up; done
ip -n a addr add 10.77.0.1/24 dev wire; ip -n b addr add 10.77.0.2/24 dev wire
printf '[observe]\nprobes = false\n[network]\nallowed_peers = ["10.77.0.0/24"]\n' >/tmp/a.toml
printf '[observe]\nprobes = false\n[network.sink]\nlisten = ["10.77.0.2:7471"]\nallowed_peers = ["10.77.0.1/32"]\n' >/tmp/b.toml
ip netns exec a "$SSTSD" serve --config /tmp/a.toml --state-dir /tmp/sa --listen unix:/tmp/a.sock 2>/tmp/a.log & near=$!
ip netns exec b "$SSTSD" serve --config /tmp/b.toml --state-dir /tmp/sb --listen unix:/tmp/b.sock 2>/tmp/b.log & far=$!
for ((n = 0; n < 300; n++)); do [[ -S /tmp/a.sock ]] && grep -q 'the sink listens' /tmp/b.log && break; sleep 0.1; done
burn() {
  "$SSTSCTL" --host unix:/tmp/a.sock --output json burn network --peer 10.77.0.2 --protocol udp --rate 4M --packet 500 --duration 4s >/tmp/out || cat /tmp/a.log /tmp/b.log >&2
  tr -d '\n' </tmp/out; echo
}
netem() { ip netns exec a tc qdisc replace dev wire root netem "$@" limit 10000; }
burn
netem loss 10%
burn
netem delay 10ms reorder 20% 0%
burn
netem duplicate 10%
burn
netem delay 20ms 5ms distribution normal
burn
kill $near $far; wait
"#;

fn boot() -> (String, String, Option<i32>) {
    let programs = Programs::built();
    let known = format!("SSTSD='{}' SSTSCTL='{}'\n", programs.sstsd.display(), programs.sstsctl.display());
    let output = Command::new(Programs::repository().join("tests/lab/vm"))
        .arg(known + SCRIPT)
        .env("LAB_SECONDS", "150")
        .current_dir(Programs::repository())
        .stdin(Stdio::null())
        .output()
        .expect("it can be executed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

/// Shares of what was sent.
#[derive(Debug)]
struct Seen {
    lost: f64,
    reordered: f64,
    duplicates: f64,
    jitter_ms: f64,
}

fn seen(line: &str) -> Seen {
    let result: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let burner = &result["hosts"][0]["burners"][0];
    let figure = |name: &str| {
        burner["figures"][name]["value"].as_f64().unwrap_or_else(|| panic!("{name}: {result:#}"))
    };
    let sent = figure("sent");
    assert!(sent > 2_000.0, "{result:#}");
    assert!((figure("sink_received") + figure("lost") - sent).abs() < 0.5, "{result:#}");
    Seen {
        lost: figure("lost") / sent,
        reordered: figure("reordered") / sent,
        duplicates: figure("duplicates") / sent,
        jitter_ms: figure("jitter") / 1e6,
    }
}

#[test]
fn loss_reordering_duplicates_and_jitter_are_what_the_link_does() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let (mut stdout, mut stderr, mut status) = boot();
    // A machine whose emulated processor stalled proves nothing about what runs in it.
    if status == Some(124) && stderr.contains("detected stall") {
        (stdout, stderr, status) = boot();
    }
    assert_eq!(status, Some(0), "{stdout}\n{stderr}");
    let all: Vec<Seen> = stdout.lines().filter(|line| line.starts_with('{')).map(seen).collect();
    note(format_args!("{all:#?}"));
    let [clean, lossy, reordering, doubling, jittery] = &all[..] else { panic!("{stdout}\n{stderr}") };
    assert!(clean.lost < 0.01 && clean.reordered == 0.0 && clean.duplicates == 0.0, "{clean:?}");
    assert!((0.05..0.15).contains(&lossy.lost) && lossy.duplicates == 0.0, "{lossy:?}");
    // One in five overtakes those that wait: the overtaken come late.
    assert!(reordering.reordered > 0.2 && reordering.lost < 0.02, "{reordering:?}");
    assert!((0.05..0.15).contains(&doubling.duplicates) && doubling.lost < 0.02, "{doubling:?}");
    assert!(jittery.jitter_ms > clean.jitter_ms && jittery.jitter_ms > 1.0, "{jittery:?} {clean:?}");
}
