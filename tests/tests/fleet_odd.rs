//! The odd ones out: eight hosts do the same, and one of them has a slow disk, or others on its core.

use serde_json::Value;
use ssts_tests::{Ctl, Ground, Planted, possible};

/// The odd host stands first, surely, with the evidence.
fn assert_first(odd: &Value) {
    assert_eq!((&odd["verdict"], &odd["hosts"]), (&"fail".into(), &Planted::HOSTS.into()), "{odd:#}");
    assert!(Planted::is_first(odd), "{odd:#}");
    let evidence = &odd["ranked"][0]["evidence"][0];
    assert_eq!(evidence["peers"], Planted::HOSTS - 1, "{odd:#}");
    let figure = |key: &str| evidence[key].as_f64();
    assert!(figure("low") <= figure("median") && figure("median") <= figure("high"), "{odd:#}");
}

/// It is named in the run's result, in its report, and later from the history.
#[test]
fn the_host_with_the_slow_disk_is_ranked_first() {
    let Some(fleet) = Planted::with_slow_disk(Ground::new()) else {
        assert!(!possible(false, "this machine, or this user, can throttle no disk"));
        return;
    };
    let report = fleet.ground().path("report").display().to_string();
    let result = fleet.run(&["--report", &report]);
    assert_first(&result["odd"]);
    let page = std::fs::read_to_string(fleet.ground().path("report/index.html")).expect("it was written");
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

#[test]
fn the_host_whose_core_others_use_is_ranked_first() {
    let Some(fleet) = Planted::with_competitors(Ground::new()) else {
        assert!(!possible(false, "this machine, or this user, can make no cgroups that share out cores"));
        return;
    };
    assert_first(&fleet.run(&[])["odd"]);
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
