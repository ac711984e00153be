//! A run is measured by a baseline of the history, and by how what was measured went on: what can't be told is no pass.

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground};

/// A scenario of one phase with one core at a load.
fn scenario(ground: &Ground, name: &str, load: u32, duration: &str, rest: &str) -> String {
    let text = format!(
        "name = '{name}'\n[[phase]]\nname = 'only'\nduration = '{duration}'\n[[phase.burner]]\nkind = 'cpu'\n\
         kernel = 'fma'\nload = {load}\ntolerance = 100\ncores = '0'\n{rest}"
    );
    ground.file(&format!("{name}.toml"), &text)
}

fn thresholds<'a>(result: &'a Value, expr: &str) -> Vec<&'a Value> {
    let all = result["thresholds"].as_array().expect("it is a list");
    all.iter().filter(|threshold| threshold["expr"] == expr).collect()
}

#[test]
fn a_threshold_is_measured_by_a_baseline() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let golden = scenario(&ground, "golden", 5, "2s", "");
    let golden = Ctl::new(&ground).args(["run", &golden]).json();
    let id = golden["run_id"].as_str().expect("a run has one");
    Ctl::bare(&ground).words(&format!("runs baseline {id} golden")).run().assert_status(0);

    let operations = "cpu.operations.mean within 50% of baseline:golden";
    let memory = "host.memory.available.min within 99% of baseline:golden";
    let rest = format!("[[phase.threshold]]\nthat = '{operations}'\n[[threshold]]\nthat = '{memory}'\n");
    // Sixteen times the load: even a busy machine lets half as much again through.
    let busier = scenario(&ground, "busier", 80, "2s", &rest);
    let planned = Ctl::new(&ground).args(["plan", &busier]).json();
    let bounds: Vec<_> = planned["thresholds"]
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|threshold| threshold["bound"].as_str().map_or("", |bound| &bound[..2]))
        .collect();
    assert_eq!(bounds, [">=", ">=", "<=", "<="], "{planned:#}");

    let outcome = Ctl::new(&ground).args(["--output", "json", "run", &busier]).run();
    outcome.assert_status(3);
    let result = outcome.json();
    assert_eq!(
        (&result["verdict"], &result["cause"]),
        (&"fail".into(), &"threshold_failed".into()),
        "{result:#}"
    );
    let [low, high] = thresholds(&result, operations)[..] else { panic!("{result:#}") };
    assert_eq!((&low["outcome"], &low["comparison"]), (&"pass".into(), &">=".into()));
    assert_eq!((&high["outcome"], &high["comparison"]), (&"fail".into(), &"<=".into()));
    let had = golden["hosts"][0]["burners"][0]["rates"]["operations_per_s"].as_f64().expect("it is measured");
    let [least, most] = [low, high].map(|threshold| threshold["limit"].as_f64().expect("it is told"));
    assert!((least / had - 0.5).abs() < 1e-6 && (most / had - 1.5).abs() < 1e-6, "{least} {had} {most}");
    assert!(thresholds(&result, memory).iter().all(|threshold| threshold["passed"] == true), "{result:#}");

    for (that, told) in [
        ("cpu.operations.mean within 5% of baseline:silver", "no baseline is named 'silver'"),
        (
            "host.filesystem.available.min within 5% of baseline:golden'\nlabels = { folder = '/no/such' }\n#'",
            "has no min of host.filesystem.available",
        ),
        ("cpu.operations.max within 5% of baseline:golden", "keeps no max of burner.operations"),
    ] {
        let file = scenario(&ground, "wrong", 5, "1s", &format!("[[threshold]]\nthat = '{that}'\n"));
        let outcome = Ctl::new(&ground).args(["run", &file]).run();
        outcome.assert_status(2).assert_tells(&[told, "wrong.toml:12:", "mend: "]);
    }
}

#[test]
fn a_run_too_short_for_its_trend_is_no_pass_whoever_looks() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let rest = "[[trend]]\nmetric = 'agent.resident'\nkind = 'leak'\n";
    let file = scenario(&ground, "soaked", 5, "2s", rest);
    let outcome = Ctl::new(&ground).args(["--output", "json", "run", &file]).run();
    outcome.assert_status(3);
    let told = |result: &Value| {
        assert_eq!(
            (&result["verdict"], &result["cause"]),
            (&"fail".into(), &"threshold_inconclusive".into()),
            "{result:#}"
        );
        let trend = &result["trends"][0];
        assert_eq!(
            (&trend["kind"], &trend["outcome"]),
            (&"leak".into(), &"inconclusive".into()),
            "{result:#}"
        );
        assert!(trend["reason"].as_str().is_some_and(|why| why.contains("too short")), "{result:#}");
    };
    told(&outcome.json());
    let id = outcome.json()["run_id"].as_str().expect("a run has one").to_owned();
    let junit = Ctl::bare(&ground).words(&format!("report {id} --format junit")).run();
    junit.assert_status(0);
    assert!(junit.stdout.contains("name=\"trend leak of agent.resident\""), "{}", junit.stdout);

    // One that nobody stayed with is judged when somebody looks.
    let detached = Ctl::new(&ground).args(["run", &file, "--detach"]).json();
    let id = detached["run"]["run_id"].as_str().expect("a run has one").to_owned();
    Ctl::new(&ground).words(&format!("watch {id}")).run().assert_status(3);
    told(&Ctl::new(&ground).words(&format!("report {id}")).json());
}

#[test]
fn a_steady_state_passes() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let rest = "[[trend]]\nmetric = 'agent.resident'\nkind = 'steady'\nphase = 'only'\n";
    let file = scenario(&ground, "steady", 5, "12s", rest);
    let result = Ctl::new(&ground).args(["run", &file]).json();
    assert_eq!(result["verdict"], "pass", "{result:#}");
    let trend = &result["trends"][0];
    assert_eq!((&trend["outcome"], &trend["phase"]), (&"pass".into(), &"only".into()), "{result:#}");
    assert!(trend["value"].as_f64().is_some_and(|percent| percent <= 20.0), "{result:#}");
}
