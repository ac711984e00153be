//! After a spike the host is told to be as it was before, or not to be.

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground};

/// CPU time in a phase that is to settle like the first one.
fn busy<'a>(result: &'a Value, phase: &str) -> &'a Value {
    let all = result["settlings"].as_array().expect("settlings are a list");
    let found = all.iter().find(|one| one["phase"] == phase && one["metric"] == "cpu.busy");
    found.unwrap_or(&Value::Null)
}

/// What a burner takes in a phase is what the phase after it is compared without: whatever else the machine does beside.
#[test]
fn a_host_is_back_when_the_load_is_gone_and_not_before() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    let phase = |name: &str, more: &str| format!("[[phase]]\nname = \"{name}\"\nduration = \"2s\"\n{more}\n");
    let cpu = "[[phase.burner]]\nkind = \"cpu\"\nload = 100\ntolerance = 100";
    let like = "settles_like = \"loaded\"";
    let toml = format!(
        "name = \"spike\"\n{}{}{}{}",
        phase("loaded", cpu),
        phase("idle", ""),
        // As busy as the first one: back at once, however busy others are.
        phase("again", &format!("{like}\n{cpu}")),
        phase("after", like),
    );
    let scenario = ground.file("spike.toml", &toml);
    let result = Ctl::new(&ground).args(["run", &scenario]).json();
    for name in ["again", "after"] {
        let one = busy(&result, name);
        assert_eq!(one["like"], "loaded", "{result:#}");
        assert!(one["before"].as_f64() > Some(0.9), "the burner had all there was: {one:#}");
        // Less than before is no more than before.
        assert!(one["settled_after_s"].as_f64() < Some(1.0), "{one:#}");
        assert!(one["peak"].as_f64().is_some(), "{one:#}");
    }
    let run = result["run_id"].as_str().expect("it has an id");
    let report = Ctl::new(&ground).args(["report", run]).run();
    report.assert_status(0);
    assert!(report.stdout.contains("Settled again"), "{}", report.stdout);
}

#[test]
fn a_host_that_is_still_loaded_is_not_back() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    // One core at a part of its load, so that others beside can't make the first phase as busy as the last one.
    let toml = "name = \"spike\"\n[[phase]]\nname = \"rest\"\nduration = \"3s\"\n\
        [[phase]]\nname = \"spike\"\nduration = \"2s\"\n[[phase.burner]]\nkind = \"cpu\"\nload = 100\ntolerance = 100\n\
        [[phase]]\nname = \"still\"\nduration = \"3s\"\nsettles_like = \"rest\"\n[[phase.burner]]\nkind = \"cpu\"\nload = 100\ntolerance = 100\n";
    let scenario = ground.file("spike.toml", toml);
    let result = Ctl::new(&ground).args(["run", &scenario]).json();
    let one = busy(&result, "still");
    let (before, limit) = (one["before"].as_f64(), one["limit"].as_f64());
    assert!(one["peak"].as_f64() > Some(0.9) && limit > before, "{one:#}");
    // Unless the machine was nearly as busy before: then it may be back, and rightly so.
    assert!(one.get("settled_after_s").is_none() || limit >= Some(0.8), "{one:#}");
}
