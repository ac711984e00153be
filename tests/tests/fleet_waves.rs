//! A run comes over a fleet in waves: a canary that fails keeps all others from starting, hosts of one rack never run together,
//! and what must hold of the fleet as a whole is judged from what came of each host.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::{fs, path::PathBuf};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Outcome, Sysfs};

/// A host of a fleet that is on this machine: a daemon with a sensor of its own.
struct Host {
    name: &'static str,
    _daemon: Daemon,
    // Last: its folders are there as long as the daemon is.
    ground: Ground,
}

/// Hosts, and an inventory of them.
struct Fleet {
    hosts: Vec<Host>,
    // Last: the machine is given back when every daemon is gone.
    ground: Ground,
}

impl Fleet {
    /// Hosts with a rack and a temperature; `more` is what their daemons are configured with beside that.
    fn new(hosts: &[(&'static str, &str, u32)], more: impl Fn(&str) -> String) -> Self {
        let ground = Ground::new();
        let host = |(name, _, celsius): &(&'static str, &str, u32)| {
            let own = Ground::beside(&ground);
            let sysfs = Sysfs::new(&own, *celsius);
            own.configure(&format!("{}{}", more(name), sysfs.config()));
            Host { name, _daemon: Daemon::start(&own), ground: own }
        };
        let started: Vec<_> = hosts.iter().map(host).collect();
        let entry = |((name, rack, _), host): (&(&str, &str, u32), &Host)| {
            let socket = host.ground.socket();
            format!(
                "[[host]]\nname = '{name}'\naddress = 'unix:{}'\nwatts = 500\nlabels = {{ rack = '{rack}' }}\n",
                socket.display()
            )
        };
        let inventory: String = hosts.iter().zip(&started).map(entry).collect();
        ground.file("hosts.toml", &format!("domains = ['rack']\n{inventory}"));
        Self { hosts: started, ground }
    }

    fn inventory(&self) -> PathBuf {
        self.ground.path("hosts.toml")
    }

    /// One more host, at which nobody listens.
    fn add_absent(&self, name: &str) {
        let mut text = fs::read_to_string(self.inventory()).expect("it was written");
        let socket = self.ground.path("nobody.sock");
        text += &format!(
            "[[host]]\nname = '{name}'\naddress = 'unix:{}'\nlabels = {{ rack = 'r9' }}\n",
            socket.display()
        );
        fs::write(self.inventory(), text).expect("the folder is ours");
    }

    /// A scenario of one phase with a little load.
    fn scenario(&self, more: &str) -> String {
        let text = format!(
            "name = 'waved'\n[[phase]]\nname = 'only'\nduration = '500ms'\n\
             [[phase.burner]]\nkind = 'cpu'\nload = 5\ntolerance = 100\ncores = '0'\n{more}"
        );
        self.ground.file("waved.toml", &text)
    }

    fn ctl(&self) -> Ctl {
        let inventory = self.inventory();
        Ctl::bare(&self.ground).args(["--fleet", &inventory.display().to_string(), "--output", "json"])
    }

    fn run(&self, scenario: &str, flags: &[&str]) -> Outcome {
        self.ctl().args(["run", scenario]).args(flags).run()
    }

    /// From when to when the run was on the host of that name, in seconds; nothing where it never was.
    fn span(&self, name: &str, run: &str) -> Option<(f64, f64)> {
        let host = self.hosts.iter().find(|host| host.name == name).expect("it is of the fleet");
        let outcome =
            Ctl::new(&host.ground).args(["--store", "none", "--output", "json", "report", run]).run();
        if outcome.status.code() != Some(0) {
            return None;
        }
        let result = outcome.json();
        let at = result["started_at"].as_str().expect("a run that was has begun");
        let begin = seconds_of_day(at);
        Some((begin, begin + result["duration_s"].as_f64().expect("it is over")))
    }
}

/// Of RFC 3339 in UTC. A story that goes past midnight is left to the next day.
fn seconds_of_day(at: &str) -> f64 {
    let clock = at.split('T').nth(1).expect("a time follows").trim_end_matches('Z');
    clock
        .split(':')
        .map(|part| part.parse::<f64>().expect("a number"))
        .fold(0.0, |sum, part| sum * 60.0 + part)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn run_id(result: &Value) -> &str {
    result["run_id"].as_str().unwrap_or_else(|| panic!("it has an id: {result:#}"))
}

#[test]
fn a_canary_that_fails_keeps_the_other_waves_from_starting() {
    let fleet = Fleet::new(&[("canary", "r1", 70), ("n2", "r1", 40), ("n3", "r2", 40)], |_| String::new());
    let scenario = fleet.scenario("[[phase.threshold]]\nthat = 'host.temperature.max < 60'\n");
    let stopped = fleet.run(&scenario, &["--wave", "1,100%"]);
    stopped.assert_status(3).assert_tells(&[
        "wave 1 failed",
        "1 of 1 hosts failed, and none may: canary",
        "no later wave",
    ]);
    let result = stopped.json();
    let waves = result["waves"].as_array().expect("there are waves");
    assert_eq!(
        (names(&waves[0]["hosts"]), waves[0]["passed"].as_bool()),
        (vec!["canary"], Some(false)),
        "{result:#}"
    );
    assert_eq!(names(&waves[1]["hosts"]), ["n2", "n3"]);
    assert_eq!(
        (waves[1]["started"].as_bool(), &waves[1]["passed"]),
        (Some(false), &Value::Null),
        "{result:#}"
    );
    assert!(fleet.span("canary", run_id(&result)).is_some());
    for name in ["n2", "n3"] {
        assert_eq!(fleet.span(name, run_id(&result)), None, "{name} was not to start");
    }

    // Who bears the canary's failure gets the rest, and is told all the same.
    let borne = fleet.run(&scenario, &["--wave", "1,100%", "--max-failures", "1"]);
    let result = borne.assert_status(3).json();
    assert_eq!(result["waves"][1]["passed"], true, "{result:#}");
    assert_eq!(result["waves"][1]["counts"]["passed"], 2, "{result:#}");
    for name in ["canary", "n2", "n3"] {
        assert!(fleet.span(name, run_id(&result)).is_some(), "{name}");
    }
}

#[test]
fn hosts_of_one_rack_never_run_together() {
    let hosts = [("a1", "r1", 40), ("a2", "r1", 40), ("b1", "r2", 40), ("b2", "r2", 40)];
    let fleet = Fleet::new(&hosts, |_| String::new());
    let scenario = fleet.scenario("[fleet]\nmax_per = { rack = 1 }\n");
    let passed = fleet.run(&scenario, &["--max-watts", "1kW"]);
    let result = passed.assert_status(0).json();
    let waves = result["waves"].as_array().expect("there are waves");
    let of_waves: Vec<_> = waves.iter().map(|wave| names(&wave["hosts"])).collect();
    assert_eq!(of_waves, [["a1", "b1"], ["a2", "b2"]], "{result:#}");
    assert_eq!((waves[0]["watts"].as_f64(), waves[1]["part"].as_u64()), (Some(1_000.0), Some(2)));
    let span = |name: &str| fleet.span(name, run_id(&result)).unwrap_or_else(|| panic!("{name} ran"));
    for (first, second) in [("a1", "a2"), ("b1", "b2"), ("a1", "b2"), ("b1", "a2")] {
        assert!(span(first).1 <= span(second).0, "{first} {:?}, {second} {:?}", span(first), span(second));
    }
    // A bound that no wave keeps is told before anything starts.
    let refused = fleet.run(&scenario, &["--max-watts", "499"]);
    refused.assert_status(2).assert_tells(&["host a1 alone may draw 500 W"]);
}

#[test]
fn what_must_hold_of_the_fleet_is_judged_from_every_host() {
    let fleet = Fleet::new(&[("cool", "r1", 40), ("warm", "r1", 50), ("hot", "r2", 70)], |_| String::new());
    let scenario = fleet.scenario(
        "[[phase.threshold]]\nthat = 'host.temperature.max < 60'\n\
         [[fleet.threshold]]\nthat = 'p50 across hosts of host.temperature.max < 55'\n",
    );
    let judged = |result: &Value, index: usize| {
        let one = result["fleet_thresholds"][index].clone();
        (one["outcome"].as_str().map(str::to_owned), one["value"].as_f64())
    };
    let borne = fleet.run(&scenario, &["--fleet-threshold", "hosts failed <= 34 %"]);
    let result = borne.assert_status(0).json();
    assert_eq!(judged(&result, 0), (Some("pass".into()), Some(50.0)), "{result:#}");
    assert_eq!(judged(&result, 1).0.as_deref(), Some("pass"), "{result:#}");
    assert_eq!(result["fleet_thresholds"][0]["worst_host"], "hot", "{result:#}");

    let too_many = fleet.run(&scenario, &["--fleet-threshold", "hosts failed <= 1 %"]);
    let result = too_many.assert_status(3).json();
    assert_eq!(judged(&result, 1).0.as_deref(), Some("fail"), "{result:#}");
    let reason = result["fleet_thresholds"][1]["reason"].as_str();
    assert_eq!(reason, Some("1 of 3 hosts failed"), "{result:#}");

    let unreadable =
        fleet.run(&scenario, &["--fleet-threshold", "p95 across hosts of host.temprature.max < 80"]);
    unreadable.assert_status(2).assert_tells(&["did you mean 'host.temperature'"]);
}

#[test]
fn a_plan_says_what_would_run_where_and_why_not_elsewhere() {
    let strict = |name: &str| {
        let is_strict = name == "strict";
        if is_strict { "[policy]\nmax_load_percent = 2\n".to_owned() } else { String::new() }
    };
    let fleet = Fleet::new(&[("free", "r1", 40), ("strict", "r2", 40)], strict);
    let scenario = fleet.scenario("");
    let planned = fleet.ctl().args(["plan", &scenario, "--wave", "1"]).run();
    let result = planned.assert_status(2).json();
    assert_eq!(result["would_start"], false);
    let hosts = result["hosts"].as_array().expect("there are hosts");
    let [free, strict] = &hosts[..] else { panic!("{result:#}") };
    assert_eq!((free["would_start"].as_bool(), free["wave"].as_u64()), (Some(true), Some(1)), "{result:#}");
    assert_eq!(free["cores"], serde_json::json!([0]), "{result:#}");
    assert_eq!(
        (strict["would_start"].as_bool(), strict["wave"].as_u64()),
        (Some(false), Some(2)),
        "{result:#}"
    );
    assert_eq!(strict["refusals"][0]["rule"], "policy.max_load_percent", "{result:#}");
    assert_eq!(strict["refusals"][0]["line"], 7, "the place in the file is told: {result:#}");

    fleet.add_absent("absent");
    let inventory = fleet.inventory().display().to_string();
    let ctl = || Ctl::bare(&fleet.ground).args(["--fleet", &inventory]);
    let told = ctl().args(["plan", &scenario, "--wave", "1"]).run();
    told.assert_status(2);
    for part in [
        "would start on 1 of 3 hosts",
        "refused",
        "not reached",
        "no sstsd listens",
        "policy.max_load_percent = 2",
    ] {
        assert!(told.stdout.contains(part), "'{part}' is missing:\n{}", told.stdout);
    }
    let without = ctl().args(["--exclude", "strict", "--output", "json", "plan", &scenario]).run();
    let result = without.assert_status(5).json();
    assert!(
        result["hosts"][1]["failure"].as_str().is_some_and(|why| why.contains("no sstsd listens")),
        "{result:#}"
    );
    let all_right = ctl().args(["--select", "rack=r1", "plan", &scenario]).run();
    all_right.assert_status(0);
    assert!(all_right.stdout.contains("would start on 1 of 1 hosts"), "{}", all_right.stdout);

    // Of one host there are no waves.
    let alone = Ctl::new(&fleet.hosts[0].ground).args(["plan", &scenario, "--wave", "1"]).run();
    alone.assert_status(2).assert_tells(&["there is one host"]);
}
