//! A link that delays and loses segments as it was told to, netem in the laboratory's kernel: the TCP probe sees it from outside
//! as the burner's own sockets do.

use serde_json::Value;
use ssts_tests::{Machine, lab, note, tools};

const TOOLS: [&str; 7] = ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "ip", "tc", "timeout"];

const SCRIPT: &str = r#"
set -e
ip netns add a; ip netns add b
ip link add wire netns a type veth peer name wire netns b
for side in a b; do ip -n $side link set lo up; ip -n $side link set wire up; done
ip -n a addr add 10.77.0.1/24 dev wire; ip -n b addr add 10.77.0.2/24 dev wire
printf '[network]\nallowed_peers = ["10.77.0.0/24"]\n' >/tmp/a.toml
printf '[observe]\nprobes = false\n[network.sink]\nlisten = ["10.77.0.2:7471"]\nallowed_peers = ["10.77.0.1/32"]\n' >/tmp/b.toml
ip netns exec a "$SSTSD" serve --config /tmp/a.toml --state-dir /tmp/sa --listen unix:/tmp/a.sock 2>/tmp/a.log & near=$!
ip netns exec b "$SSTSD" serve --config /tmp/b.toml --state-dir /tmp/sb --listen unix:/tmp/b.sock 2>/tmp/b.log & far=$!
for ((n = 0; n < 300; n++)); do [[ -S /tmp/a.sock ]] && grep -q 'the sink listens' /tmp/b.log && break; sleep 0.1; done
burn() {
  "$SSTSCTL" --host unix:/tmp/a.sock --output json burn network --peer 10.77.0.2 --protocol tcp --streams 4 --rate 8M --duration 4s ||
    { local status=$?; cat /tmp/a.log /tmp/b.log >&2; return $status; }
}
section clean burn
ip netns exec a tc qdisc replace dev wire root netem delay 30ms loss 5% limit 10000
# The link may lose what asks the sink, again and again.
lossy() {
  local status=1
  for try in 1 2 3; do
    burn >/tmp/lossy && status=0 && break
  done
  cat /tmp/lossy
  return $status
}
section lossy lossy
kill $near $far; wait
"#;

/// What a run's result says of one metric, of the series with these labels.
fn series<'a>(host: &'a Value, metric: &str, labels: &[(&str, &str)]) -> Option<&'a Value> {
    let fits = |series: &&Value| labels.iter().all(|(name, value)| series["labels"][name] == *value);
    host["telemetry"][metric].as_array()?.iter().find(fits)
}

fn increase(host: &Value, metric: &str, labels: &[(&str, &str)]) -> f64 {
    series(host, metric, labels).and_then(|series| series["increase"].as_f64()).unwrap_or(0.0)
}

#[test]
fn a_lossy_links_retransmits_drops_and_connects_are_seen() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let sections = lab::carry_out(SCRIPT);
    let host = |name: &str| {
        let section = sections.get(name).unwrap_or_else(|| panic!("section {name} is missing"));
        assert_eq!(section.status, 0, "{name}: {}", section.text);
        section.json()["hosts"][0].take()
    };
    let (clean, lossy) = (host("clean"), host("lossy"));
    for probe in lossy["probes"].as_array().expect("probes are a list") {
        assert_eq!(probe["working"], true, "{probe:#}");
    }
    let burner = ("who", "burner");
    let told = |host: &Value| {
        let truth = host["burners"][0]["figures"]["retransmits"]["value"].as_f64().expect("the burner tells");
        (
            truth,
            increase(host, "tcp.retransmits", &[burner]),
            increase(host, "tcp.retransmits", &[("who", "others")]),
        )
    };
    let (truth, seen, others) = told(&lossy);
    let dropped = increase(&lossy, "network.drops", &[("interface", "wire"), ("reason", "QDISC_DROP")]);
    note(format_args!(
        "clean: {:?}; lossy: {truth} of the burner, {seen} and {others} by the probe, {dropped} dropped",
        told(&clean)
    ));
    assert!(told(&clean).1 <= told(&clean).0 + 1.0, "{:?}", told(&clean));
    assert!(truth >= 5.0, "the link lost next to nothing: {lossy:#}");
    // What is sent again before the run's first frame or after its last one is in the burner's own figure alone.
    assert!(seen >= truth * 0.6 && seen <= truth * 1.1 + 3.0, "{seen} of {truth}");
    assert!(dropped >= truth * 0.5, "{dropped} dropped, {truth} sent again");
    let connects =
        |host| series(host, "tcp.connect_latency", &[burner]).unwrap_or_else(|| panic!("{host:#}"));
    note(format_args!("{:#} {:#}", connects(&clean), connects(&lossy)));
    let p50 = |host| connects(host)["p50"].as_f64().unwrap_or_default();
    assert!(connects(&lossy)["samples"].as_u64() >= Some(4), "one for each stream");
    assert!(p50(&lossy) >= 30e6 && p50(&lossy) < 10e9, "the answer takes 30 ms: {}", p50(&lossy));
    let trips = series(&lossy, "tcp.rtt", &[burner, ("at", "retransmit")]);
    let trip = trips.and_then(|trips| trips["p50"].as_f64()).unwrap_or_default();
    note(format_args!("{trips:#?}"));
    assert!((25e6..5e9).contains(&trip), "{trip}");
}
