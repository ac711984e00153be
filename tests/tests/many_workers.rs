//! More workers than cores: threads of one process, dealt to the cores in turn, that share each core's load.

use std::{collections::HashMap, time::Duration};

use serde_json::json;
use ssts_tests::{Ctl, Daemon, Ground, outside};

#[test]
fn workers_are_dealt_to_the_cores_and_share_their_load() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let line =
        "--output json burn cpu --kernel fma --cores 0,1 --workers 7 --load 40 --tolerance 100 --duration 2s";
    let running = Ctl::new(&ground).words(line).spawn();
    let mut cores = HashMap::new();
    let all_there = outside::within(Duration::from_secs(10), || {
        let burners = daemon.burners();
        let [burner] = &burners[..] else { return false };
        let workers = burner.workers();
        cores.clear();
        for core in workers.iter().filter_map(outside::Thread::allowed_cores) {
            *cores.entry(core).or_insert(0) += 1;
        }
        workers.len() == 7 && cores.len() == 2 && burner.worker_time() > Duration::ZERO
    });
    assert!(all_there.is_some(), "seven threads of one process, each pinned: {cores:?}");
    assert_eq!(cores, HashMap::from([("0".into(), 4), ("1".into(), 3)]));
    let outcome = running.outcome();
    outcome.assert_status(0);
    let burner = &outcome.json()["hosts"][0]["burners"][0];
    assert_eq!((&burner["workers"], &burner["cores"]), (&json!(7), &json!([0, 1])), "{burner:#}");
    let asked: Vec<f64> = burner["worker_loads"]
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|load| load["asked"].as_f64().expect("it was asked"))
        .collect();
    for (worker, asked) in asked.iter().enumerate() {
        let part = if worker % 2 == 0 { 10.0 } else { 40.0 / 3.0 };
        assert!((asked - part).abs() < 0.01, "worker {worker}: {asked}");
    }
    // Of a core, not of a worker.
    assert!((burner["target_load"].as_f64().expect("it was asked") - 40.0).abs() < 0.01, "{burner:#}");
    assert!(burner["achieved_load"]["mean"].as_f64() > Some(0.0), "{burner:#}");
}

#[test]
fn what_workers_can_not_do_is_refused() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    for (words, told) in [
        ("--workers 0", ["--workers", "1 to 1024"]),
        ("--workers 1025", ["--workers", "1 to 1024"]),
        ("--cores 0 --workers 2 --load 50 --mode core", ["--workers", "mode own"]),
        ("--workers 2 --cores 0 --inject-error 2", ["--inject-error", "0 to 1"]),
    ] {
        let refused = Ctl::new(&ground).words(&format!("burn cpu {words} --duration 1s")).run();
        refused.assert_status(2).assert_tells(&told);
    }
}
