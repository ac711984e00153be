//! The odd ones out: eight hosts do the same, and one of them has a slow disk.

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
}

impl Fleet {
    fn new() -> Option<Self> {
        let mut grounds = vec![Ground::new()];
        while grounds.len() < HOSTS {
            grounds.push(Ground::beside(&grounds[0]));
        }
        let throttle = DiskThrottle::of_reads(grounds[ODD].disk(), GIVEN)?;
        let daemons: Vec<Daemon> = grounds
            .iter()
            .map(|ground| {
                ground.configure("[observe]\nprobes = false\n");
                Daemon::start(ground)
            })
            .collect();
        throttle.put(daemons[ODD].process().pid);
        Some(Self { _daemons: daemons, _throttle: throttle, grounds })
    }
}

/// Each host's result goes into a folder, and the slow disk's host is named first, with the evidence.
#[test]
fn the_host_with_the_slow_disk_is_ranked_first() {
    let Some(fleet) = Fleet::new() else {
        return note("left out: this machine, or this user, can throttle no disk");
    };
    let first = &fleet.grounds[0];
    let results = first.path("results");
    std::fs::create_dir(&results).expect("the folder is ours");
    let running: Vec<_> = fleet
        .grounds
        .iter()
        .map(|ground| {
            let burn = format!(
                "--store none --output json burn disk --path {} --size 4MiB --rw randread --rate {ASKED} --depth 4 \
                 --duration 6s",
                ground.disk().display()
            );
            Ctl::new(ground).words(&burn).spawn()
        })
        .collect();
    let mut odd_id = String::new();
    for (index, running) in running.into_iter().enumerate() {
        let mut result = running.outcome().json();
        assert_eq!(result["hosts"][0]["burners"][0]["kind"], "disk", "{result:#}");
        // They are all on one machine: a fleet's hosts have names of their own.
        result["hosts"][0]["host"] = format!("host{index}").into();
        if index == ODD {
            odd_id = format!("host{index}");
        }
        std::fs::write(results.join(format!("{index}.json")), result.to_string())
            .expect("the folder is ours");
    }

    let results = results.display().to_string();
    let found = Ctl::bare(first).args(["--output", "json", "odd", &results]).run();
    found.assert_status(3);
    let odd = found.json();
    assert_eq!((&odd["verdict"], &odd["hosts"]), (&"fail".into(), &HOSTS.into()), "{odd:#}");
    let ranked = &odd["ranked"][0];
    assert_eq!((&ranked["host"], &ranked["odd"]), (&odd_id.as_str().into(), &true.into()), "{odd:#}");
    assert!(ranked["confidence"].as_f64().is_some_and(|sure| sure > 0.95), "{odd:#}");
    let evidence = &ranked["evidence"][0];
    assert_eq!(evidence["peers"], HOSTS - 1, "{odd:#}");
    let is_between = |key: &str| evidence["low"].as_f64() <= evidence[key].as_f64();
    assert!(is_between("median") && is_between("high"), "{odd:#}");

    let shown = Ctl::bare(first).args(["odd", &results]).run();
    shown.assert_status(3);
    for part in [odd_id.as_str(), "peers' median", "result.operations_per_s mean", "disk burner 0.0"] {
        assert!(shown.stdout.contains(part), "{part} is missing:\n{}", shown.stdout);
    }
    let page = first.path("odd.html");
    let to_page = ["odd", &results, "--format", "html", "--to", page.to_str().expect("the path is ASCII")];
    Ctl::bare(first).args(to_page).run().assert_status(3);
    assert!(std::fs::read_to_string(page).expect("it was written").contains(&odd_id));
}

/// A result alone has no peers, and no run has none.
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
    let unknown = Ctl::bare(&ground).words("--store none odd baseline:golden").run();
    unknown.assert_status(2);
}
