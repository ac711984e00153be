//! A pause freezes the load, not the run: no work of the burners meanwhile, and no second of the phase lost.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, outside::Process};

const PAUSE: Duration = Duration::from_millis(1_500);

fn times(burners: &[Process]) -> Vec<Duration> {
    burners.iter().map(Process::worker_time).collect()
}

#[test]
fn a_paused_run_uses_no_cpu_time_and_loses_none_of_its_own() {
    let ground = Ground::alone();
    let daemon = Daemon::start(&ground);
    let toml = format!(
        "name = \"pausable\"\n[[phase]]\nname = \"both\"\nduration = \"2s\"\n[[phase.burner]]\nkind = \"cpu\"\n\
         [[phase.burner]]\nkind = \"disk\"\npath = \"{}\"\nsize = \"16MiB\"\n",
        ground.disk().display()
    );
    let scenario = ground.file("pausable.toml", &toml);
    let begin = Instant::now();
    let running = Ctl::new(&ground).args(["--output", "json", "run", &scenario]).spawn();
    let burners = daemon.burning(2);

    let paused = Ctl::new(&ground).words("pause").json();
    assert_eq!(paused["run"]["state"], "paused", "{paused:#}");
    let elapsed = phase_elapsed(&paused["run"]);
    // Workers see the pause at their next look; what was on its way lands.
    thread::sleep(Duration::from_millis(200));
    let before = times(&burners);
    thread::sleep(PAUSE);
    for (before, after) in before.into_iter().zip(times(&burners)) {
        // Workers look now and then whether the daemon still lives; that is all they do.
        assert!(
            after - before < PAUSE / 100,
            "a burner used {:?} of CPU time in a pause of {PAUSE:?}",
            after - before
        );
    }
    assert!(burners.iter().all(Process::is_alive), "files and memory are kept");
    let status = Ctl::new(&ground).words("status").json();
    assert!(
        (phase_elapsed(&status["run"]) - elapsed).abs() < 0.001,
        "the phase's clock stands still: {status:#}"
    );
    // A run can't be paused twice.
    let again = Ctl::new(&ground).words("pause").run();
    again.assert_status(5).assert_tells(&["a run that is paused can't be paused", "mend:"]);

    let resumed = Ctl::new(&ground).words("resume").json();
    assert_eq!(resumed["run"]["state"], "running", "{resumed:#}");
    let outcome = running.outcome();
    let took = begin.elapsed();
    outcome.assert_status(0);
    let result = outcome.json();
    for burner in result["hosts"][0]["burners"].as_array().expect("burners are a list") {
        let burning = burner["burning_s"].as_f64().expect("it is a number");
        assert!((1.85..2.2).contains(&burning), "2 s were asked for: {burner:#}");
    }
    let cpu = &result["hosts"][0]["burners"][0]["achieved_load"]["mean"];
    assert!(cpu.as_f64() > Some(20.0), "a pause does not count against the load: {cpu}");
    assert!(took >= Duration::from_secs(2) + PAUSE, "{took:?}");
    let kinds: Vec<&Value> =
        result["hosts"][0]["events"].as_array().expect("a list").iter().map(|event| &event["kind"]).collect();
    assert!(kinds.contains(&&"run_paused".into()) && kinds.contains(&&"run_resumed".into()), "{kinds:?}");
}

/// A paused run obeys a stop like any other.
#[test]
fn a_paused_run_can_be_stopped() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    Ctl::new(&ground).words("burn cpu --load 30 --duration 1m --detach").run().assert_status(0);
    daemon.burning(1);
    Ctl::new(&ground).words("pause").run().assert_status(0);
    let stopped = Ctl::new(&ground).words("stop").json();
    assert_eq!(
        (&stopped["run"]["state"], &stopped["run"]["cause"]),
        (&"finished".into(), &"stopped_by_user".into())
    );
    assert!(stopped["quiet_after_s"].as_f64() < Some(1.0), "{stopped:#}");
    assert_eq!(daemon.burners(), []);
}

fn phase_elapsed(run: &Value) -> f64 {
    run["phase_elapsed_s"].as_f64().expect("it is a number")
}
