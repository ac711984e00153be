//! What the host is there for is watched while it is burnt: a unit's waits for a core, its pressure, and what it says when asked.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Prometheus, Service, outside, possible, privileged, prometheus_tool};

/// A cgroup of version 2 with processes on core 0: two busy ones each wait for it half of the time.
struct Unit {
    folder: PathBuf,
    busy: Vec<Child>,
}

const BUSY: &str = "while :; do :; done";

impl Unit {
    fn new(name: &str) -> Option<Self> {
        Self::doing(name, &[BUSY, BUSY])
    }

    /// With a process on core 0 for each of the scripts.
    fn doing(name: &str, scripts: &[&str]) -> Option<Self> {
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let mount = mounts.into_iter().find(|mount| mount.join("cgroup.controllers").exists());
        if !possible(mount.is_some(), "it needs cgroup v2") {
            return None;
        }
        let folder = mount?.join(name);
        fs::create_dir(&folder).expect("root may make one");
        let start = |script: &&str| {
            let procs = folder.join("cgroup.procs");
            let script = format!("echo $$ >{} && {script}", procs.display());
            let command = ["--cpu-list", "0", "sh", "-c", &script];
            let child = Command::new("taskset").args(command).stdin(Stdio::null()).spawn();
            child.expect("util-linux is there")
        };
        let busy = scripts.iter().map(start).collect();
        Some(Self { folder, busy })
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // With what they started.
        let _best_effort = fs::write(self.folder.join("cgroup.kill"), "1");
        for child in &mut self.busy {
            let _best_effort = child.kill();
            let _best_effort = child.wait();
        }
        outside::within(Duration::from_secs(5), || fs::remove_dir(&self.folder).is_ok());
    }
}

fn protected(ground: &Ground) -> Value {
    let result = Ctl::new(ground).words("burn cpu --cores 0 --load 20 --tolerance 100 --duration 2s").json();
    result["hosts"][0]["telemetry"].clone()
}

fn of_unit<'a>(telemetry: &'a Value, metric: &str, unit: &str) -> &'a Value {
    let series = telemetry[metric].as_array().unwrap_or_else(|| panic!("{metric} is missing: {telemetry:#}"));
    series.iter().find(|one| one["labels"]["unit"] == unit).unwrap_or_else(|| panic!("{metric}: {series:#?}"))
}

#[test]
fn a_unit_is_watched_while_the_host_is_burnt() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let name = format!("ssts-protected-{}.slice", std::process::id());
    let Some(unit) = Unit::new(&name) else { return };
    let service = Service::plain();
    // One that is there, one that comes only later, and one that never does.
    let later = format!("ssts-later-{}.slice", std::process::id());
    ground.configure(&format!(
        "[[protect]]\nunit = \"{name}\"\nhealth_url = \"{}\"\nevery = \"200ms\"\n\
         [[protect]]\nunit = \"{later}\"\nhealth_url = \"http://{}/\"\nevery = \"200ms\"\n",
        service.url("/"),
        Service::gone(),
    ));
    let _daemon = Daemon::start(&ground);
    let telemetry = protected(&ground);
    assert_eq!(of_unit(&telemetry, "protected.present", &name)["last"], 1.0);
    assert_eq!(of_unit(&telemetry, "protected.present", &later)["last"], 0.0);
    let waits = of_unit(&telemetry, "protected.runqueue.latency", &name);
    assert!(waits["samples"].as_u64() > Some(20), "{waits:#}");
    // Two on one core take turns: each waits for about as long as the other runs.
    assert!(waits["p50"].as_f64() > Some(100_000.0), "{waits:#}");
    assert!(of_unit(&telemetry, "protected.health.up", &name)["last"] == 1.0, "{telemetry:#}");
    assert_eq!(of_unit(&telemetry, "protected.health.status", &name)["last"], 200.0);
    assert!(of_unit(&telemetry, "protected.health.latency", &name)["max"].as_f64() > Some(0.0));
    assert_eq!(of_unit(&telemetry, "protected.health.up", &later)["max"], 0.0);
    if Path::new("/proc/pressure/cpu").exists() {
        let series = telemetry["protected.pressure.stalled"].as_array().expect("it has pressure");
        let cpu = series.iter().find(|one| {
            one["labels"]["unit"] == *name
                && one["labels"]["resource"] == "cpu"
                && one["labels"]["share"] == "some"
        });
        let increase = cpu.and_then(|cpu| cpu["increase"].as_f64()).expect("it was read");
        assert!(increase > 0.5, "two busy processes on one core wait: {increase}");
    }

    // It comes, and is found; the other one goes, and is told as gone.
    let came = Unit::new(&later).expect("the first one could be made");
    drop(unit);
    let telemetry = protected(&ground);
    assert_eq!(of_unit(&telemetry, "protected.present", &later)["last"], 1.0);
    assert_eq!(of_unit(&telemetry, "protected.present", &name)["last"], 0.0);
    assert!(of_unit(&telemetry, "protected.runqueue.latency", &later)["samples"].as_u64() > Some(20));
    drop(came);
}

/// Two busy processes on one core never meet an objective of 5 % of stalls, whatever the run does: it backs off.
#[test]
fn a_run_backs_off_where_the_unit_misses_its_objective() {
    if !privileged() || !possible(Path::new("/proc/pressure/cpu").exists(), "it needs PSI: boot with psi=1") {
        return;
    }
    let ground = Ground::new();
    let name = format!("ssts-objective-{}.slice", std::process::id());
    let Some(_unit) = Unit::new(&name) else { return };
    ground.configure(&format!("[[protect]]\nunit = \"{name}\"\nmax_cpu_stalled_percent = 5.0\n"));
    let _daemon = Daemon::start(&ground);
    // Shorter than the steps down to a pause.
    let burn = "burn cpu --cores 0 --load 40 --tolerance 100 --duration 2500ms --output json";
    let result = Ctl::new(&ground).words(burn).run().json();
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    let guard = format!("protect-{}-cpu-stalled", name.replace('.', "_"));
    let derated = events.iter().any(|event| {
        event["kind"] == "load_derated" && event["message"].as_str().is_some_and(|text| text.contains(&guard))
    });
    assert!(derated, "{events:#?}");
}

/// The reads of a unit's own tasks are counted for it; that they take longer than its objective makes a run back off.
#[test]
fn a_units_requests_to_disks_are_watched() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let [reading, idle] = ["reads", "idles"].map(|what| format!("ssts-{what}-{}.slice", std::process::id()));
    let file = ground.disk().join("read");
    fs::write(&file, vec![1; 4 << 20]).expect("there is room");
    let (Some(reader), Some(_idle)) =
        (Unit::doing(&reading, &[&reads(&file)]), Unit::doing(&idle, &["exec sleep 600"]))
    else {
        return;
    };
    // Nothing takes less than a nanosecond.
    ground.configure(&format!(
        "[[protect]]\nunit = \"{reading}\"\nmax_io_p99 = \"1ns\"\n[[protect]]\nunit = \"{idle}\"\nmax_io_p99 = \"1ns\"\n"
    ));
    let _daemon = Daemon::start(&ground);
    let burn = "burn cpu --cores 0 --load 40 --tolerance 100 --duration 2500ms --output json";
    let result = Ctl::new(&ground).words(burn).run().json();
    let host = &result["hosts"][0];
    let latency = of_unit(&host["telemetry"], "protected.block.latency", &reading);
    assert!(latency["samples"].as_u64() > Some(20), "{latency:#}");
    assert!(latency["p50"].as_f64() > Some(1_000.0), "{latency:#}");
    let of_idle = host["telemetry"]["protected.block.latency"].as_array().expect("it is a list");
    let of_idle = of_idle.iter().find(|one| one["labels"]["unit"] == *idle);
    assert!(of_idle.is_none_or(|one| one["samples"].as_u64().unwrap_or(0) == 0), "{of_idle:#?}");
    let derated_by = |unit: &str| {
        let guard = format!("protect-{}-io", unit.replace('.', "_"));
        host["events"].as_array().expect("events are a list").iter().any(|event| {
            event["kind"] == "load_derated"
                && event["message"].as_str().is_some_and(|text| text.contains(&guard))
        })
    };
    assert!(derated_by(&reading) && !derated_by(&idle), "{:#}", host["events"]);
    drop(reader);
}

/// A shell's words: reads a file from its disk for ever, past every cache.
fn reads(file: &Path) -> String {
    format!("while :; do dd if={} of=/dev/null bs=4k iflag=direct 2>/dev/null; done", file.display())
}

/// What a real Prometheus says of a service is as good an objective as what the kernel says.
#[test]
fn a_run_backs_off_for_what_prometheus_says() {
    let Some(program) = prometheus_tool("prometheus") else { return };
    let ground = Ground::new();
    let server = Prometheus::start(&ground, &program, None, false);
    let is_up = || server.query("up == 1") == 1;
    assert!(outside::within(Duration::from_secs(30), is_up).is_some(), "{}", server.log());
    ground.configure(&format!(
        "[[protect]]\nunit = \"ssts-asked.service\"\nevery = \"200ms\"\nprometheus_url = \"http://{}\"\nquery = \"sum(up)\"\nmax_query_value = 0.5\n",
        server.address
    ));
    let _daemon = Daemon::start(&ground);
    let burn = "burn cpu --cores 0 --load 40 --tolerance 100 --duration 2500ms --output json";
    let result = Ctl::new(&ground).words(burn).run().json();
    let host = &result["hosts"][0];
    let value = of_unit(&host["telemetry"], "protected.query.value", "ssts-asked.service");
    assert_eq!(value["last"], 1.0, "{value:#}");
    let events = host["events"].as_array().expect("events are a list");
    let derated = events.iter().any(|event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["kind"] == "load_derated" && message.contains("protect-ssts-asked_service-query")
    });
    assert!(derated, "{events:#?}");
}
