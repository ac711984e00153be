//! A host, or a cpuset, of a single core.

use std::{thread, time::Duration};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde_json::json;
use ssts_tests::{Ctl, Daemon, Ground, outside};

/// The daemon takes over the cpuset that it is started in, and everything works on its one core.
#[test]
fn every_burner_works_on_a_cpuset_of_one() {
    let ground = Ground::alone();
    let this_thread = Pid::from_raw(0);
    let before = sched_getaffinity(this_thread).expect("the thread is ours");
    let mut one = CpuSet::new();
    one.set(0).expect("there is a core 0");
    sched_setaffinity(this_thread, &one).expect("the thread is ours");
    let daemon = Daemon::start(&ground);
    sched_setaffinity(this_thread, &before).expect("the thread is ours");
    let scenario = ground.file(
        "one.toml",
        &format!(
            "name = \"one\"\n[[phase]]\nname = \"all\"\nduration = \"2s\"\n\
             [[phase.burner]]\nkind = \"cpu\"\nload = 20\ntolerance = 100\n\
             [[phase.burner]]\nkind = \"disk\"\npath = \"{}\"\nsize = \"4MiB\"\nrate = 200\n",
            ground.disk().display()
        ),
    );
    let result = Ctl::new(&ground).words(&format!("--output json run {scenario}")).json();
    assert_eq!(result["verdict"], "pass", "{result:#}");
    let burners = result["hosts"][0]["burners"].as_array().expect("it is a list");
    assert_eq!(burners.len(), 2);
    for burner in burners {
        assert_eq!(burner["cores"], json!([0]), "{burner:#}");
        assert!(burner["operations"].as_u64() > Some(0), "{burner:#}");
    }
    let refused = Ctl::new(&ground).words("burn cpu --cores 1 --duration 1s").run();
    refused.assert_status(2).assert_tells(&["--cores", "1", "0"]);
    drop(daemon);
}

/// Half a second is half a second, seen from outside: from the first CPU time to the end of the process.
#[test]
fn a_duration_is_what_was_asked() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let mut tries = Vec::new();
    for _ in 0..3 {
        let running = Ctl::new(&ground).words("burn cpu --cores 0 --duration 0.5s").spawn();
        let burning = || daemon.burners().into_iter().find(|burner| !burner.worker_time().is_zero());
        let mut found = None;
        outside::within(Duration::from_secs(5), || {
            found = burning();
            found.is_some()
        });
        let burner = found.expect("it burns");
        let lasted = outside::within(Duration::from_secs(5), || !burner.is_alive()).expect("it ends");
        running.outcome().assert_status(0);
        // It has burned some milliseconds when it is seen to.
        if (Duration::from_millis(400)..Duration::from_millis(560)).contains(&lasted) {
            return;
        }
        tries.push(lasted);
        thread::sleep(Duration::from_millis(200));
    }
    assert!(tries.is_empty(), "asked 500 ms, had {tries:?}");
}
