//! The odd ones out: eight hosts do the same, and one of them has a slow disk.

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, DiskThrottle, Ground, note};

const HOSTS: usize = 8;
/// Whose disk is slow.
const ODD: usize = 5;
/// Reads a second that every host is asked for, and those that the slow disk gives.
const ASKED: u32 = 100;
const GIVEN: u32 = 20;

/// Eight daemons; the disk of one is throttled by the kernel.
struct Fleet {
    // Dropped in this order: daemons, then what they are held by, then folders.
    _daemons: Vec<Daemon>,
    _throttle: DiskThrottle,
    grounds: Vec<Ground>,
    inventory: String,
}

impl Fleet {
    fn new() -> Option<Self> {
        let mut grounds = vec![Ground::new()];
        while grounds.len() < HOSTS {
            grounds.push(Ground::beside(&grounds[0]));
        }
        let throttle = DiskThrottle::of_reads(grounds[0].disk(), GIVEN)?;
        let start = |ground: &Ground| {
            ground.configure("[observe]\nprobes = false\n");
            Daemon::start(ground)
        };
        let daemons: Vec<Daemon> = grounds.iter().map(start).collect();
        throttle.put(daemons[ODD].process().pid);
        let host = |(number, ground): (usize, &Ground)| {
            let socket = ground.socket();
            format!("[[host]]\nname = \"host{number}\"\naddress = \"unix:{}\"\n", socket.display())
        };
        let inventory: String = grounds.iter().enumerate().map(host).collect();
        let inventory = grounds[0].file("fleet.toml", &inventory);
        Some(Self { _daemons: daemons, _throttle: throttle, grounds, inventory })
    }

    /// With a history of its own.
    fn ctl(&self) -> Ctl {
        let history = self.grounds[0].path("history.db");
        let history = history.to_str().expect("the path is ASCII");
        Ctl::bare(&self.grounds[0]).args(["--store", history])
    }
}

/// The slow disk's host stands first, surely, with the evidence.
fn assert_first(odd: &Value) {
    assert_eq!((&odd["verdict"], &odd["hosts"]), (&"fail".into(), &HOSTS.into()), "{odd:#}");
    let ranked = &odd["ranked"][0];
    let name = format!("host{ODD}");
    assert_eq!((&ranked["host"], &ranked["odd"]), (&name.into(), &true.into()), "{odd:#}");
    assert!(ranked["confidence"].as_f64().is_some_and(|sure| sure > 0.95), "{odd:#}");
    let evidence = &ranked["evidence"][0];
    assert_eq!(evidence["peers"], HOSTS - 1, "{odd:#}");
    let figure = |key: &str| evidence[key].as_f64();
    assert!(figure("low") <= figure("median") && figure("median") <= figure("high"), "{odd:#}");
}

/// It is named in the run's result, in its report, and later from the history.
#[test]
fn the_host_with_the_slow_disk_is_ranked_first() {
    let Some(fleet) = Fleet::new() else {
        return note("left out: this machine, or this user, can throttle no disk");
    };
    let first = &fleet.grounds[0];
    let burn = format!(
        "burn disk --path {} --size 4MiB --rw randread --rate {ASKED} --depth 4 --duration 6s --report {}",
        first.disk().display(),
        first.path("report").display()
    );
    let result =
        fleet.ctl().args(["--fleet", &fleet.inventory, "--output", "json"]).words(&burn).run().json();
    assert_first(&result["odd"]);
    let page = std::fs::read_to_string(first.path("report/index.html")).expect("it was written");
    assert!(page.contains("The odd ones out") && page.contains("median"), "{page}");

    let id = result["run_id"].as_str().expect("it has an id");
    let later = fleet.ctl().args(["--output", "json", "odd", id]).run();
    later.assert_status(3);
    assert_first(&later.json());
    let shown = fleet.ctl().args(["odd", "latest"]).run();
    shown.assert_status(3);
    for part in ["host5", "peers' median", "result.operations_per_s mean", "disk burner 0.0"] {
        assert!(shown.stdout.contains(part), "{part} is missing:\n{}", shown.stdout);
    }
}

/// A result alone has no peers, and what is no result is refused.
#[test]
fn what_has_no_peers_is_said_to_have_none() {
    let ground = Ground::new();
    let result = r#"{"run_id": "r-1", "scenario": "s", "hosts": [{"host": "a", "burners": [
        {"kind": "disk", "phase": "p", "rates": {"operations_per_s": 5.0}}]}]}"#;
    let file = ground.file("one.json", result);
    let outcome = Ctl::bare(&ground).args(["odd", &file]).run();
    outcome.assert_status(2);
    outcome.assert_tells(&["nothing could be told", "five hosts or more"]);
    assert!(outcome.stdout.contains("too few peers"), "{}", outcome.stdout);
    let none = ground.file("no.json", "{}");
    Ctl::bare(&ground).args(["odd", &none]).run().assert_status(2).assert_tells(&["is no result of a run"]);
    Ctl::bare(&ground).words("--store none odd baseline:golden").run().assert_status(2);
}
