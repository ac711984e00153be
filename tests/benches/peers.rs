//! Us beside the specialists, on the same machine in the same minutes: alternating, so that what disturbs one disturbs the
//! other. Prints a table and writes target/bench.json. A peer that is not installed is named, and our own figure stands.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and prints what it measures"
)]

#[path = "peers/bare.rs"]
mod bare;
#[path = "peers/cpu.rs"]
mod cpu;
#[path = "peers/disk.rs"]
mod disk;
#[path = "peers/fleet.rs"]
mod fleet;
#[path = "peers/fleet_hosts.rs"]
mod fleet_hosts;
#[path = "peers/history.rs"]
mod history;
#[path = "peers/http.rs"]
mod http;
#[path = "peers/idle.rs"]
mod idle;
#[path = "peers/limit.rs"]
mod limit;
#[path = "peers/load.rs"]
mod load;
#[path = "peers/measure.rs"]
mod measure;
#[path = "peers/memory.rs"]
mod memory;
#[path = "peers/metrics.rs"]
mod metrics;
#[path = "peers/network.rs"]
mod network;
#[path = "peers/peer.rs"]
mod peer;
#[path = "peers/probes.rs"]
mod probes;
#[path = "peers/record.rs"]
mod record;
#[path = "peers/round_trip.rs"]
mod round_trip;
#[path = "peers/safety.rs"]
mod safety;
#[path = "peers/standstill.rs"]
mod standstill;
#[path = "peers/table.rs"]
mod table;
#[path = "peers/times.rs"]
mod times;
#[path = "peers/watch.rs"]
mod watch;

use std::time::Duration;

use ssts_tests::Ground;
use table::Table;

/// Of each pair.
const ROUNDS: usize = 5;
/// CPU time that shows that a worker burns.
const BURNS: Duration = Duration::from_millis(1);

/// Measures one subject.
type Rows = fn(&Ground, &mut Table);
/// All subjects, by the names that `make bench BENCH=...` takes.
const SUBJECTS: [(&str, Rows); 15] = [
    ("load", load::rows),
    ("times", times::rows),
    ("idle", idle::rows),
    ("cpu", cpu::rows),
    ("memory", memory::rows),
    ("disk", disk::rows),
    ("network", network::rows),
    ("http", http::rows),
    ("record", record::rows),
    ("probes", probes::rows),
    ("metrics", metrics::rows),
    ("watch", watch::rows),
    ("safety", safety::rows),
    ("history", history::rows),
    ("fleet", fleet::rows),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` and `cargo bench -- --list` only want to know that it builds.
    if arguments.iter().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    // cargo adds flags of its own.
    let asked: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with('-')).collect();
    for name in &asked {
        let names = SUBJECTS.map(|(name, _)| name).join(", ");
        assert!(SUBJECTS.iter().any(|(known, _)| known == name), "no subject '{name}', there are {names}");
    }
    let ground = Ground::alone();
    peer::look_first();
    let mut table = Table::default();
    for (name, rows) in SUBJECTS {
        if asked.is_empty() || asked.contains(&name) {
            rows(&ground, &mut table);
        }
    }
    let path = ground.programs().target.join("bench.json");
    table.finish(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
