//! One `sstsctl` and a hundred agents: each is reached, each is told, and none of them is dear.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::time::Duration;

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Outcome, Pki, Swarm, Template, note, outside};

const AGENTS: usize = 100;
/// More than the bar for a thousand: a debug build.
const MOST_BYTES: u64 = 300 << 20;

struct Fleet {
    swarm: Swarm,
    inventory: String,
    ground: Ground,
}

impl Fleet {
    fn new() -> Self {
        let ground = Ground::new();
        let pki = Pki::new(&ground, "pki");
        let alice = pki.client(&ground, "alice", "admin");
        let daemon = Daemon::start(&ground);
        let template = Template::of(&ground);
        drop(daemon);
        let swarm = Swarm::start(&pki, alice, template, AGENTS);
        let inventory = ground.file("hosts.toml", &swarm.inventory(AGENTS));
        Self { swarm, inventory, ground }
    }

    fn ctl(&self, words: &str) -> Ctl {
        let ctl = Ctl::bare(&self.ground).args(["--pki", self.swarm.client(), "--fleet", &self.inventory]);
        ctl.words(&format!("--store none --output json {words}"))
    }

    /// To its end, with the most memory that it had.
    fn watched(&self, words: &str) -> (Outcome, u64) {
        let running = self.ctl(words).spawn();
        let process = running.process();
        let mut most = 0;
        outside::within(Duration::from_secs(90), || {
            most = most.max(process.resident_bytes().unwrap_or_default());
            !process.is_alive()
        });
        (running.outcome(), most)
    }
}

fn hosts(result: &Value) -> &[Value] {
    result["hosts"].as_array().unwrap_or_else(|| panic!("no hosts: {result:#}"))
}

#[test]
fn a_halt_reaches_a_hundred_agents_and_each_is_reported() {
    let fleet = Fleet::new();
    let burning = fleet.ctl("burn cpu --load 10 --duration 10m --detach").run();
    burning.assert_status(0);
    let all_burn = outside::within(Duration::from_secs(30), || fleet.swarm.burning() == AGENTS);
    assert!(all_burn.is_some(), "{} burn: {}", fleet.swarm.burning(), burning.stderr);

    let (halted, most_bytes) = fleet.watched("halt --all --reason smoke");
    halted.assert_status(0);
    let told = halted.json();
    let slowest = hosts(&told).iter().filter_map(|host| host["answer"]["confirmed_after_s"].as_f64());
    let slowest = slowest.fold(0.0, f64::max);
    note(format_args!("{AGENTS} halted, the last after {slowest:.3} s; {most_bytes} bytes at most"));
    assert_eq!((fleet.swarm.halted(), fleet.swarm.burning()), (AGENTS, 0));
    assert_eq!((hosts(&told).len(), &told["answered"]), (AGENTS, &AGENTS.into()), "{told:#}");
    let halted = hosts(&told).iter().filter(|host| host["answer"]["halted"] == true);
    let names: Vec<_> = halted.filter_map(|host| host["name"].as_str()).collect();
    assert_eq!(names, fleet.swarm.names(), "{told:#}");
    assert!(most_bytes < MOST_BYTES, "{most_bytes} bytes");
}

#[test]
fn a_run_begins_on_a_hundred_agents_and_each_has_a_result_of_its_own() {
    let fleet = Fleet::new();
    let (ran, most_bytes) = fleet.watched("burn cpu --load 10 --duration 3s");
    ran.assert_status(0);
    let result = ran.json();
    note(format_args!("{} hosts ran; {most_bytes} bytes at most", hosts(&result).len()));
    assert_eq!(hosts(&result).len(), AGENTS);
    assert_eq!(fleet.swarm.reached_by("Prepare"), AGENTS, "all are made ready");
    assert_eq!(fleet.swarm.reached_by("Begin"), AGENTS, "and all begin");
    assert!(most_bytes < MOST_BYTES, "{most_bytes} bytes");
}
