//! What the host is there for is watched while it is burnt: a unit's waits for a core, its pressure, and what it says when asked.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Service, outside, possible, privileged};

/// A cgroup of version 2 with two busy processes that share a core, so that each waits for it half of the time.
struct Unit {
    folder: PathBuf,
    busy: Vec<Child>,
}

impl Unit {
    fn new(name: &str) -> Option<Self> {
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let mount = mounts.into_iter().find(|mount| mount.join("cgroup.controllers").exists());
        if !possible(mount.is_some(), "it needs cgroup v2") {
            return None;
        }
        let folder = mount?.join(name);
        fs::create_dir(&folder).expect("root may make one");
        let busy = || {
            let procs = folder.join("cgroup.procs");
            let script = format!("echo $$ >{} && while :; do :; done", procs.display());
            let command = ["--cpu-list", "0", "sh", "-c", &script];
            Command::new("taskset").args(command).stdin(Stdio::null()).spawn().expect("util-linux is there")
        };
        let busy = vec![busy(), busy()];
        Some(Self { folder, busy })
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
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
