//! Simulated fleets, from seeds: eight hosts that do the same, with the noise that hosts have, and one of them odd.

use serde_json::{Value, json};

use super::*;

pub(super) const HOSTS: usize = 8;
const CORES: u64 = 2;

/// What is wrong with one host.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Plant {
    Nothing,
    /// Its disk does half of what the others' do.
    SlowDisk,
    /// Somebody takes a tenth of its second core.
    Competitor,
    /// Its package is 15 °C hotter.
    HotSocket,
    /// A memory module has errors corrected.
    BadDimm,
}

/// Normal, by the polar method.
pub(super) fn normal(random: &mut fastrand::Rng) -> f64 {
    loop {
        let (x, y) = (random.f64().mul_add(2.0, -1.0), random.f64().mul_add(2.0, -1.0));
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * square.ln() / square).sqrt();
        }
    }
}

/// A host's result, as `--output json` prints it.
fn host(name: &str, plant: Plant, random: &mut fastrand::Rng) -> Value {
    let mut about = |value: f64, part: f64| value * (part * normal(random)).exp();
    let slow = if plant == Plant::SlowDisk { 2.0 } else { 1.0 };
    let taken = if plant == Plant::Competitor { 10.0 } else { 0.0 };
    let operations = about(1_000.0, 0.03) / slow;
    let loads: Vec<Value> = (0..CORES)
        .map(|core| {
            let taken = if core == 1 { taken } else { 0.0 };
            let achieved = 50.0 - taken - about(0.1, 0.5);
            json!({"core": core, "asked": 50.0, "achieved": achieved, "waited": about(0.4, 0.5) + taken})
        })
        .collect();
    let mean = loads.iter().map(|load| load["achieved"].as_f64().unwrap()).sum::<f64>() / CORES as f64;
    let runqueue: Vec<Value> = (0..CORES)
        .map(|core| {
            json!({"labels": {"cpu": core.to_string()}, "unit": "ns", "samples": 5_000,
                   "p99": (about(90_000.0, 0.3) / 16_384.0).round() * 16_384.0})
        })
        .collect();
    let hot = if plant == Plant::HotSocket { 15.0 } else { 0.0 };
    let corrected = if plant == Plant::BadDimm { 31.0 } else { 0.0 };
    let dimm = |dimm: &str, increase: f64| json!({"labels": {"controller": "mc0", "dimm": dimm}, "unit": "1/s", "samples": 99, "mean": 0.0, "increase": increase});
    json!({
        "host": name,
        "platform": {"cpu_model": "Test 9000", "disk_models": {"nvme0n1": "Disk 1"}},
        "burners": [
            {"kind": "cpu", "phase": "soak", "phase_index": 0, "burner_index": 0, "target_load": 50.0,
             "achieved_load": {"mean": mean}, "worker_loads": loads, "errors": {"verify": 0},
             "rates": {"operations_per_s": about(4.0e6, 0.01), "flops_per_s": about(5.0e10, 0.01)}},
            {"kind": "disk", "phase": "soak", "phase_index": 0, "burner_index": 1, "errors": {"io": 0},
             "rates": {"operations_per_s": operations, "bytes_per_s": operations * 4_096.0},
             "latency_by_operation": {"read": {"count": 9_000, "p50": about(80_000.0, 0.05) * slow,
                                               "p99": about(400_000.0, 0.2) * slow}}},
        ],
        "telemetry": {
            "host.temperature": [{"labels": {"sensor": "hwmon0/temp1", "package": "0"}, "unit": "Cel", "samples": 99,
                                  "p95": about(62.0, 0.015) + hot}],
            "host.pressure.stalled": [{"labels": {"resource": "cpu", "share": "some"}, "unit": "s/s", "samples": 99,
                                       "mean": about(0.02, 0.3) + taken / 200.0}],
            "runqueue.latency": runqueue,
            "block.latency": [{"labels": {"device": "nvme0n1", "operation": "read"}, "unit": "ns", "samples": 9_000,
                               "p50": about(70_000.0, 0.05) * slow, "p99": about(300_000.0, 0.2) * slow}],
            "host.edac.corrected": [dimm("dimm0", 0.0), dimm("dimm1", corrected)],
        },
    })
}

fn fleet(seed: u64, odd: usize, plant: Plant) -> OddOnes {
    let mut random = fastrand::Rng::with_seed(seed);
    let hosts: Vec<Value> = (0..HOSTS)
        .map(|index| {
            let plant = if index == odd { plant } else { Plant::Nothing };
            host(&format!("node{index}"), plant, &mut random)
        })
        .collect();
    let mut readings = Readings::default();
    readings.take(json!({"run_id": "r-1", "scenario": "soak", "hosts": hosts}));
    odd_ones(&readings, Settings::default())
}

/// The bar: ranked first in 20 of 20, whatever is wrong; and surely so.
#[test]
fn a_planted_odd_host_is_ranked_first_in_twenty_of_twenty() {
    for (plant, part) in [
        (Plant::SlowDisk, [Part::Host, Part::Disk]),
        (Plant::Competitor, [Part::Host, Part::Core]),
        (Plant::HotSocket, [Part::Socket, Part::Socket]),
        (Plant::BadDimm, [Part::Dimm, Part::Dimm]),
    ] {
        let mut first = 0;
        for seed in 0..20 {
            let odd = (seed % 8) as usize;
            let found = fleet(seed, odd, plant);
            let ranked = found.ranked.first().unwrap_or_else(|| panic!("{plant:?} {seed}: nobody is ranked"));
            let is_it = ranked.subject.host == format!("node{odd}") && part.contains(&ranked.subject.part);
            assert!(is_it, "{plant:?}, seed {seed}, node{odd}: {ranked:#?}");
            first += u32::from(is_it && ranked.is_odd);
        }
        assert_eq!(first, 20, "{plant:?}: surely odd");
    }
}

/// Nobody is odd: of 200 fleets, a seed each, few may have somebody called so. 5 % is what is asked for.
pub(super) fn assert_few_alarms(fleet: impl Fn(u64) -> OddOnes) {
    let alarm = |seed: u64| {
        let found = fleet(seed);
        let first = found.odd().next();
        first.map(|ranked| format!("{seed}: {} {:?}", ranked.subject.words(), ranked.evidence))
    };
    let alarms: Vec<String> = (1_000..1_200).filter_map(alarm).collect();
    assert!(alarms.len() <= 10, "{} of 200: {alarms:#?}", alarms.len());
}

#[test]
fn false_alarms_are_few_without_an_odd_host() {
    assert_few_alarms(|seed| fleet(seed, 0, Plant::Nothing));
}

#[test]
fn the_evidence_names_value_peers_and_range() {
    let found = fleet(7, 3, Plant::SlowDisk);
    let ranked = &found.ranked[0];
    assert_eq!(ranked.subject.host, "node3");
    let (question, evidence) = &ranked.evidence[0];
    assert_eq!((evidence.peers, evidence.basis), (7, Basis::Spread));
    assert!(evidence.low <= evidence.median && evidence.median <= evidence.high);
    assert!(evidence.score.unwrap() > 3.5 && evidence.p.unwrap() < 0.01, "{question:?} {evidence:?}");
    let shown = crate::report::to_terminal(&odd_document(&found, false), false);
    for part in ["node3", "peers' median", "corrected for all", "result.operations_per_s mean"] {
        assert!(shown.contains(part), "{part} is missing:\n{shown}");
    }
    let csv = odd_csv(&found).unwrap();
    assert!(csv.lines().any(|line| line.starts_with("node3,host,,true,")), "{csv}");
}

#[test]
fn fewer_than_four_peers_tell_nothing() {
    let mut random = fastrand::Rng::with_seed(1);
    let hosts: Vec<Value> =
        (0..4).map(|index| host(&format!("n{index}"), Plant::Nothing, &mut random)).collect();
    let mut readings = Readings::default();
    readings.take(json!({"run_id": "r-1", "scenario": "soak", "hosts": hosts}));
    let found = odd_ones(&readings, Settings::default());
    // Cores of all hosts are eight, and memory modules, too.
    assert!(found.few_peers > 0);
    assert!(found.ranked.iter().all(|ranked| !ranked.is_odd), "{:#?}", found.ranked);
    let mut one = Readings::default();
    one.take(json!({"run_id": "r-1", "scenario": "soak", "hosts": [
        {"host": "a", "burners": [{"kind": "disk", "phase": "p", "rates": {"operations_per_s": 5.0}}]}]}));
    let found = odd_ones(&one, Settings::default());
    assert!(!found.tells_something());
    let shown = crate::report::to_terminal(&odd_document(&found, false), false);
    assert!(shown.contains("nothing can be told"), "{shown}");
}

/// All peers alike, as percentiles of coarse buckets are: it is said, and not called sure.
#[test]
fn peers_without_spread_are_told_as_such() {
    let host = |name: String, rate: f64| json!({"host": name, "burners": [{"kind": "disk", "phase": "p", "rates": {"operations_per_s": rate}}]});
    let hosts: Vec<Value> =
        (0..8).map(|index| host(format!("n{index}"), if index == 5 { 50.0 } else { 100.0 })).collect();
    let mut readings = Readings::default();
    readings.take(json!({"run_id": "r-1", "scenario": "s", "hosts": hosts}));
    let found = odd_ones(&readings, Settings::default());
    assert_eq!((found.no_spread, found.ranked.len()), (1, 1));
    let ranked = &found.ranked[0];
    assert_eq!((ranked.subject.host.as_str(), ranked.confidence(), ranked.is_odd), ("n5", None, false));
    let shown = crate::report::to_terminal(&odd_document(&found, false), false);
    assert!(shown.contains("can't be told how sure") && shown.contains("the peers are all alike"), "{shown}");
}

/// Those of another model are no peers.
#[test]
fn only_the_same_model_is_a_peer() {
    let host = |name: String, model: &str, rate: f64| {
        json!({"host": name, "platform": {"cpu_model": model},
               "burners": [{"kind": "cpu", "phase": "p", "rates": {"operations_per_s": rate}}]})
    };
    let mut hosts: Vec<Value> =
        (0..6).map(|n| host(format!("new{n}"), "new", 100.0 + f64::from(n))).collect();
    hosts.extend((0..6).map(|n| host(format!("old{n}"), "old", 50.0 + f64::from(n) / 2.0)));
    let mut readings = Readings::default();
    readings.take(json!({"run_id": "r-1", "scenario": "s", "hosts": hosts}));
    let found = odd_ones(&readings, Settings::default());
    assert_eq!(found.odd().count(), 0, "{:#?}", found.ranked);
    assert_eq!(found.compared, 12);
}

#[test]
fn two_runs_of_a_host_are_told_apart() {
    let host = json!({"host": "a", "burners": []});
    let mut readings = Readings::default();
    readings.take(json!({"run_id": "r-0001", "scenario": "s", "hosts": [host.clone()]}));
    readings.take(json!({"run_id": "r-0002", "scenario": "s", "hosts": [host]}));
    let names: Vec<&str> = readings.subjects.iter().map(|subject| subject.host.as_str()).collect();
    assert_eq!(names, ["a", "a run 0002"]);
}
