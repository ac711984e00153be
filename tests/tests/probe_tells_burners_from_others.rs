//! The scheduler probe tells a burner from its neighbour on the same core, and names who took the core from it.

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, beside, note, possible, privileged};

fn series<'a>(host: &'a Value, metric: &str) -> &'a [Value] {
    host["telemetry"][metric].as_array().map_or(&[], Vec::as_slice)
}

/// What a core spent on burners, others or nothing, as a mean share.
fn share(host: &Value, who: &str) -> f64 {
    let of_core = |series: &&Value| series["labels"]["cpu"] == "0" && series["labels"]["who"] == who;
    let found = series(host, "sched.time").iter().find(of_core);
    found.and_then(|series| series["mean"].as_f64()).expect("the scheduler probe tells it")
}

#[test]
fn a_burner_and_its_neighbour_are_told_apart() {
    if !privileged() {
        return;
    }
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    let words = "burn cpu --cores 0 --load 60 --tolerance 100 --duration 3s";
    let (result, neighbour) = beside(0.3, || Ctl::new(&ground).words(words).json());
    let host = &result["hosts"][0];
    let probes = host["probes"].as_array().expect("a list");
    if !probes.iter().any(|probe| probe["name"] == "sched" && probe["working"] == true) {
        possible(false, &format!("the scheduler probe does not work here: {probes:#?}"));
        return;
    }
    let (burner, others, idle) = (share(host, "burner"), share(host, "others"), share(host, "idle"));
    let achieved = host["burners"][0]["achieved_load"]["mean"].as_f64().expect("a cpu burner has a load");
    note(format_args!(
        "burner {burner}, others {others}, idle {idle}; achieved {achieved}, the neighbour had {neighbour}"
    ));
    // Frames before and after the load are in the mean; its own clock is the truth.
    assert!((0.6..1.2).contains(&(burner * 100.0 / achieved)), "{burner} of {achieved} %");
    assert!(others >= 0.5 * neighbour, "{others} of {neighbour}");
    assert!((0.9..1.1).contains(&(burner + others + idle)), "{burner} + {others} + {idle}");
    let preemptions = series(host, "sched.burner_preemptions");
    assert!(!preemptions.is_empty(), "the two meet: {host:#}");
    for series in preemptions {
        assert!(series["labels"]["task"].as_str().is_some_and(|task| !task.is_empty()), "{series:#}");
    }
}

/// Each probe says what it costs, or why it is not there.
#[test]
fn every_probe_has_a_price_or_a_reason() {
    if !privileged() {
        return;
    }
    let ground = Ground::alone();
    ground.configure("[observe]\nprobe_budget_core_percent = 100\nprobe_budget_host_percent = 100\n");
    let _daemon = Daemon::start(&ground);
    let words = "burn cpu --cores 0 --load 20 --tolerance 100 --duration 7s";
    let result = Ctl::new(&ground).words(words).json();
    let host = &result["hosts"][0];
    let probes = host["probes"].as_array().expect("a list");
    let names: Vec<_> = probes.iter().filter_map(|probe| probe["name"].as_str()).collect();
    assert_eq!(names, ["block", "sched", "irq", "memory", "tcp", "drops", "hardware"]);
    for probe in probes {
        if probe["attached"] == true {
            let name = &probe["name"];
            let shares = series(host, "probe.core_share");
            let share = shares.iter().find(|series| series["labels"]["probe"] == *name);
            let share = share.and_then(|series| series["max"].as_f64());
            // One that had no event in half a second has no price yet.
            assert!(share.is_some_and(|share| (0.0..1.0).contains(&share)) || name != "sched", "{probe:#}");
        } else {
            assert!(probe["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{probe:#}");
        }
    }
}
