//! Burners that die in a phase that starts them anew come back, and how long that took is told: whoever killed them.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, outside};

fn scenario(ground: &Ground, phase: &str) -> String {
    let toml = format!(
        "name = \"back\"\n[[phase]]\nname = \"one\"\n{phase}\n[[phase.burner]]\nkind = \"cpu\"\nload = 20\ntolerance = 100\n"
    );
    ground.file("back.toml", &toml)
}

fn recoveries(result: &Value) -> &[Value] {
    result["recoveries"].as_array().map_or(&[], Vec::as_slice)
}

fn is_time(value: &Value) -> bool {
    value.as_f64().is_some_and(|seconds| seconds > 0.0 && seconds < 60.0)
}

fn outcomes(result: &Value) -> Vec<(&str, &str)> {
    let burners = result["hosts"][0]["burners"].as_array().expect("burners are a list");
    burners
        .iter()
        .filter_map(|burner| Some((burner["outcome"].as_str()?, burner["ended"].as_str()?)))
        .collect()
}

#[test]
fn what_a_phase_kills_comes_back_and_is_measured() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let phase = "duration = \"9s\"\nrestart = true\n[[phase.kill]]\nat = \"1s\"\n[[phase.kill]]\nat = \"4s\"\nsignal = \"SEGV\"";
    let scenario = scenario(&ground, phase);
    let result = Ctl::new(&ground).args(["run", &scenario]).json();
    assert_eq!(result["verdict"], "pass", "{result:#}");
    let told = recoveries(&result);
    let ended: Vec<_> = told.iter().map(|one| one["ended"].as_str()).collect();
    assert_eq!(ended, [Some("signal 9 (SIGKILL)"), Some("signal 11 (SIGSEGV)")], "{result:#}");
    for (index, one) in told.iter().enumerate() {
        assert_eq!((&one["on_purpose"], &one["restarts"]), (&true.into(), &(index + 1).into()), "{one:#}");
        let times = ["detected_after_s", "recovered_after_s", "validated_after_s"].map(|time| &one[time]);
        assert!(times.into_iter().all(is_time), "{one:#}");
        assert!(one["recovered_after_s"].as_f64() < one["validated_after_s"].as_f64(), "{one:#}");
    }
    // The dead ones are told as well, with how they ended.
    assert_eq!(
        outcomes(&result),
        [("restarted", "signal 9 (SIGKILL)"), ("restarted", "signal 11 (SIGSEGV)"), ("done", "exit 0"),],
        "{result:#}"
    );
    assert_eq!(result["hosts"][0]["receipt"]["state"], "clean", "{result:#}");
    assert_eq!(daemon.burners(), []);
    let run = result["run_id"].as_str().expect("it has an id");
    let report = Ctl::new(&ground).args(["report", run]).run();
    report.assert_status(0);
    for part in ["Recoveries", "killed by", "the phase", "burned again after"] {
        assert!(report.stdout.contains(part), "{part}: {}", report.stdout);
    }
}

#[test]
fn what_somebody_else_kills_comes_back_too() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let scenario = scenario(&ground, "duration = \"12s\"\nrestart = true");
    let running = Ctl::new(&ground).args(["--output", "json", "run", &scenario]).spawn();
    let first = daemon.burning(1)[0];
    kill(Pid::from_raw(first.pid), Signal::SIGKILL).expect("it is there");
    let came_back = outside::within(Duration::from_secs(10), || {
        let burners = daemon.burners();
        burners.iter().any(|burner| *burner != first && burner.worker_time() > Duration::from_millis(5))
    });
    assert!(came_back.is_some(), "{}", daemon.log());
    let outcome = running.outcome();
    let result = outcome.assert_status(0).json();
    let told = recoveries(&result);
    assert_eq!(told.len(), 1, "{result:#}");
    assert_eq!(told[0]["on_purpose"], false, "{result:#}");
    assert!(told[0].get("detected_after_s").is_none(), "nobody knows when it was killed: {result:#}");
    assert!(is_time(&told[0]["recovered_after_s"]) && is_time(&told[0]["validated_after_s"]), "{result:#}");
    assert_eq!(outcomes(&result), [("restarted", "signal 9 (SIGKILL)"), ("done", "exit 0")]);
}

#[test]
fn a_phase_that_starts_nothing_anew_ends_with_its_burner() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let scenario = scenario(&ground, "duration = \"1m\"");
    let running = Ctl::new(&ground).args(["--output", "json", "run", &scenario]).spawn();
    kill(Pid::from_raw(daemon.burning(1)[0].pid), Signal::SIGKILL).expect("it is there");
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(result["cause"], "burner_died", "{result:#}");
    assert_eq!(recoveries(&result), [] as [Value; 0]);
}
