//! A threshold judges what was measured: the verdict and the exit status follow from it, whether or not the client is still
//! there, and what could not be measured is no pass.

use std::time::Duration;

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Sysfs, outside};

const LONG: Duration = Duration::from_secs(30);

/// A daemon with a sensor at 40 °C.
struct Host {
    _daemon: Daemon,
    sysfs: Sysfs,
    ground: Ground,
}

impl Host {
    fn new() -> Self {
        let ground = Ground::new();
        let sysfs = Sysfs::new(&ground, 40);
        ground.configure(&sysfs.config());
        let daemon = Daemon::start(&ground);
        Self { _daemon: daemon, sysfs, ground }
    }

    /// A scenario of one phase with one core at 20 %.
    fn scenario(&self, duration: &str, thresholds: &str) -> String {
        let text = format!(
            "name = 'judged'\n[[phase]]\nname = 'only'\nduration = '{duration}'\n\
             [[phase.burner]]\nkind = 'cpu'\nload = 20\ntolerance = 100\ncores = '0'\n{thresholds}"
        );
        self.ground.file("judged.toml", &text)
    }

    fn result(&self, run: &str) -> Value {
        Ctl::new(&self.ground).args(["report", run]).json()
    }
}

fn outcome<'a>(result: &'a Value, expr: &str) -> &'a Value {
    let all = result["thresholds"].as_array().expect("thresholds are a list");
    all.iter().find(|threshold| threshold["expr"] == expr).unwrap_or(&Value::Null)
}

#[test]
fn the_verdict_follows_from_what_was_measured() {
    let host = Host::new();
    let good = "[[phase.threshold]]\nthat = 'host.temperature.max < 60'\n\
                [[phase.threshold]]\nthat = 'cpu.load.missed == 0'\n\
                [[threshold]]\nthat = 'cpu.verify.errors == 0'\n\
                [[threshold]]\nthat = 'host.memory.available.min > 1MiB'\n";
    let file = host.scenario("1s", good);
    let result = Ctl::new(&host.ground).args(["run", &file]).json();
    assert_eq!(result["verdict"], "pass", "{result:#}");
    assert_eq!(result["thresholds"].as_array().map(Vec::len), Some(4));
    for expr in ["host.temperature.max < 60", "cpu.load.missed == 0", "cpu.verify.errors == 0"] {
        assert_eq!(outcome(&result, expr)["outcome"], "pass", "{result:#}");
    }
    let hot = outcome(&result, "host.temperature.max < 60");
    assert_eq!(
        (hot["value"].as_f64(), hot["phase"].as_str(), hot["unit"].as_str()),
        (Some(40.0), Some("only"), Some("Cel"))
    );
    assert_eq!(hot["labels"]["sensor"], "hwmon0/temp1");

    let file = host.scenario("1s", &format!("{good}[[threshold]]\nthat = 'host.temperature.max < 40'\n"));
    let failed = Ctl::new(&host.ground).args(["--output", "json", "run", &file]).run();
    let result = failed.assert_status(3).json();
    assert_eq!(
        (result["verdict"].as_str(), result["cause"].as_str()),
        (Some("fail"), Some("threshold_failed"))
    );
    assert_eq!(outcome(&result, "host.temperature.max < 40")["outcome"], "fail");
    assert_eq!(outcome(&result, "host.temperature.max < 60")["outcome"], "pass");
    let run = result["run_id"].as_str().expect("it has an id");
    let report = Ctl::new(&host.ground).args(["report", run]).run();
    assert!(
        report.stdout.contains("threshold host.temperature.max < 40 failed: it is 40.0 °C"),
        "{}",
        report.stdout
    );
}

#[test]
fn a_run_that_nobody_follows_ends_when_a_threshold_fails() {
    let host = Host::new();
    let thresholds = "[[phase.threshold]]\nthat = 'host.temperature.max < 60'\nabort_on_fail = true\n\
                      [[threshold]]\nthat = 'host.temperature.max < 99'\n";
    let file = host.scenario("5m", thresholds);
    let started = Ctl::new(&host.ground).args(["run", "--detach", &file]).json();
    let run = started["run"]["run_id"].as_str().expect("it has an id").to_owned();
    let running = || Ctl::new(&host.ground).words("status").json()["run"]["state"] == "running";
    assert!(outside::within(LONG, running).is_some(), "it does not burn");
    host.sysfs.heat(70);
    let over = || host.result(&run)["verdict"].is_string();
    assert!(outside::within(LONG, over).is_some(), "it goes on");
    let result = host.result(&run);
    assert_eq!(
        (result["verdict"].as_str(), result["cause"].as_str()),
        (Some("fail"), Some("threshold_failed")),
        "{result:#}"
    );
    assert_eq!(outcome(&result, "host.temperature.max < 60")["value"], 70.0);
    assert_eq!(outcome(&result, "host.temperature.max < 99")["outcome"], "inconclusive", "{result:#}");
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    let told = events.iter().filter(|event| event["kind"] == "threshold_failed").count();
    assert_eq!(told, 1, "{result:#}");
}

#[test]
fn what_nothing_was_read_of_is_no_pass() {
    let host = Host::new();
    let thresholds = "[[phase.threshold]]\nthat = 'host.temperature.max < 60'\ngrace = '1m'\n";
    let file = host.scenario("500ms", thresholds);
    let ended = Ctl::new(&host.ground).args(["--output", "json", "run", &file]).run();
    let result = ended.assert_status(3).json();
    assert_eq!(
        (result["verdict"].as_str(), result["cause"].as_str()),
        (Some("fail"), Some("threshold_inconclusive"))
    );
    let judged = outcome(&result, "host.temperature.max < 60");
    assert_eq!((judged["outcome"].as_str(), judged["passed"].as_bool()), (Some("inconclusive"), Some(false)));
    assert!(judged.get("value").is_none(), "{result:#}");
    assert!(judged["reason"].as_str().is_some_and(|reason| reason.contains("after the grace")), "{result:#}");
}

#[test]
fn a_threshold_that_could_never_be_judged_is_refused_before_the_start() {
    let host = Host::new();
    for (threshold, parts) in [
        (
            "that = 'host.temprature.max < 60'",
            &["judged.toml:", "no metric 'host.temprature'", "did you mean 'host.temperature'"][..],
        ),
        ("that = 'host.temperature.max < 60 F'", &["'F' is no unit", "°C"]),
        ("that = 'disk.read.latency.p99 < 20ms'", &["no burner of kind disk"]),
        (
            "that = 'host.nvme.media_errors == 0'",
            &["this host has no host.nvme.media_errors", "could not be judged"],
        ),
        (
            "that = 'host.temperature.max < 60'\nlabels = { sensor = 'hwmon7*' }",
            &["these labels", "hwmon0/temp1"],
        ),
        ("that = 'host.temperature.min < 60'\nabort_on_fail = true", &["only at the end"]),
    ] {
        let file = host.scenario("1s", &format!("[[threshold]]\n{threshold}\n"));
        Ctl::new(&host.ground).args(["run", &file]).run().assert_status(2).assert_tells(parts);
    }
    assert_eq!(Ctl::new(&host.ground).words("runs").json()["runs"].as_array().map(Vec::len), Some(0));
}
