//! Memory of several NUMA nodes, out of the pool of huge pages, and up to where the kernel reclaims, in the laboratory: what no
//! ordinary machine has, or would take without harm.

#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::collections::{BTreeMap, HashMap};

use ssts_tests::{
    Machine,
    lab::{self, Section},
    note, tools,
};

/// What the laboratory's script and the story's need.
const TOOLS: [&str; 7] = ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "pgrep", "awk", "timeout"];

const SCRIPT: &str = r#"
# Probes have nothing to do here, and an emulated machine takes seconds to load them.
export SSTSD_OBSERVE__PROBES=false SSTSD_BURNERS__DEADLINE=10s
burn() { "$SSTSCTL" --local --output json burn memory "$@"; }
burner() { pgrep -f "[e]xe burn --daemon"; }
# From here on the programs are in memory: reading them through the laboratory's file system takes seconds.
"$SSTSD" --version >/dev/null && "$SSTSCTL" --version >/dev/null || exit 99
# Until a command succeeds: emulated, it takes its time.
until_so() { for ((i = 0; i < 300; i++)); do "$@" && return; sleep 0.1; done; return 1; }

# ---- each worker's part from the node of its core ----
bound() { grep ' bind:' "/proc/$(burner)/numa_maps"; }
filled() { bound 2>/dev/null | awk '{ for (i = 3; i <= NF; i++) if (sub("^anon=", "", $i)) pages += $i } END { exit pages != 16384 }'; }
burn --size 64MiB --pages small --duration 6s >/tmp/near.json &
RUN=$!
section filled until_so filled
section near bound
section near_run wait $RUN
section near_result cat /tmp/near.json
burn --size 64MiB --pages small --numa-node 1 --duration 6s >/tmp/far.json &
RUN=$!
section far_filled until_so filled
section far bound
section far_run wait $RUN

# ---- the pool of huge pages ----
echo 64 >/proc/sys/vm/nr_hugepages
pool() { awk '/^HugePages_(Total|Free)/ { print $2 }' /proc/meminfo; }
taken() { [ "$(pool | tail -n 1)" = 16 ]; }
section before pool
burn --size 96MiB --pages huge --duration 4s >/tmp/huge.json &
RUN=$!
section taken until_so taken
section huge_run wait $RUN
section huge cat /tmp/huge.json
section after pool
echo 0 >/proc/sys/vm/nr_hugepages
"#;

/// What others read again and again lies in the page cache, and that is what there is to reclaim.
const RECLAIM: &str = r#"
export SSTSD_OBSERVE__PROBES=false SSTSD_BURNERS__DEADLINE=10s SSTSD_LIMITS__MIN_AVAILABLE_MEMORY_BYTES=67108864
"$SSTSD" --version >/dev/null && "$SSTSCTL" --version >/dev/null || exit 99
# Open all the time: its cache goes with the last who has it open.
exec 9</dev/nullb0
part=0
while :; do
  dd if=/dev/nullb0 of=/dev/null bs=1M count=8 skip=$((part * 8)) 2>/dev/null
  part=$(((part + 1) % 32))
  sleep 0.1
done &
NEIGHBOUR=$!
cached() { (($(awk '/^Buffers/ { print $2 }' /proc/meminfo) > 250000)); }
for ((i = 0; i < 600; i++)); do cached && break; sleep 0.1; done
section cached cached
section run "$SSTSCTL" --local --output json burn memory --size 90% --method pressure --reclaim 2MiB --pages small --duration 25s
section killed grep '^oom_kill ' /proc/vmstat
kill $NEIGHBOUR
"#;

fn section<'a>(sections: &'a HashMap<String, Section>, name: &str) -> &'a Section {
    sections.get(name).unwrap_or_else(|| panic!("section {name} is missing"))
}

/// Of the lines of numa_maps, how many pages are where: by the node that they are bound to, and that which they are on.
fn pages(text: &str) -> BTreeMap<(String, String), u64> {
    let mut pages = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ').skip(1);
        let bound = words.next().and_then(|policy| policy.strip_prefix("bind:")).expect(line);
        for (node, count) in words.filter_map(|word| word.strip_prefix('N')?.split_once('=')) {
            let count: u64 = count.parse().expect(line);
            *pages.entry((bound.to_owned(), node.to_owned())).or_default() += count;
        }
    }
    pages
}

fn on(node: &str, count: u64) -> ((String, String), u64) {
    ((node.to_owned(), node.to_owned()), count)
}

#[test]
fn workers_take_the_memory_of_their_nodes_and_the_pools_pages_come_back() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let sections = lab::carry_out_in(&[("LAB_NODES", "2")], SCRIPT);
    let text = |name: &str| section(&sections, name).text.trim().to_owned();
    for name in ["filled", "near_run", "far_filled", "far_run", "taken", "huge_run"] {
        assert_eq!(section(&sections, name).status, 0, "{name}: {}{}", text("near_result"), text("huge"));
    }
    // A worker on each core, half of the memory each, all of it where that core is.
    assert_eq!(pages(&text("near")), BTreeMap::from([on("0", 8_192), on("1", 8_192)]));
    assert_eq!(pages(&text("far")), BTreeMap::from([on("1", 16_384)]));
    let result = section(&sections, "near_result").json();
    assert!(!result.to_string().contains("can't be bound"), "{result:#}");

    // All of the pool, three quarters of it taken, and given back.
    assert_eq!((text("before").as_str(), text("after").as_str()), ("64\n64", "64\n64"));
    let result = section(&sections, "huge").json();
    let burner = &result["hosts"][0]["burners"][0];
    assert!(burner["variant"].as_str().is_some_and(|words| words.contains("pages of 2 MiB")), "{result:#}");
    assert_eq!(burner["figures"]["resident"]["value"].as_f64(), Some(f64::from(96 << 20)), "{result:#}");
    assert!(!result.to_string().contains("the pool has not"), "{result:#}");
}

#[test]
fn pressure_grows_until_the_kernel_reclaims_and_stays_there() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let sections = lab::carry_out_in(&[("LAB_MEM", "768M")], RECLAIM);
    assert_eq!(section(&sections, "cached").status, 0);
    let run = section(&sections, "run");
    let result = run.json();
    assert_eq!(run.status, 0, "{result:#}");
    let burner = &result["hosts"][0]["burners"][0];
    let figure = |name: &str| burner["figures"][name]["value"].as_f64().unwrap_or_default();
    note(format_args!("{:#}", burner["figures"]));
    assert!(figure("resident") > f64::from(64 << 20), "what was free had to be taken first: {burner:#}");
    // An emulated machine takes a good part of the time to come there.
    assert!(figure("on_target") >= 100_000.0, "{burner:#}");
    assert_eq!(section(&sections, "killed").text.trim(), "oom_kill 0");
}
