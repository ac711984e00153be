//! Where the kernel's list of events can't be mounted, probes that don't need it work, and those that do say why they don't.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Record, possible, privileged, tools, without_fsopen};

const PROBES: [&str; 7] = ["block", "sched", "irq", "memory", "tcp", "drops", "hardware"];

/// `sstsd check` of the ground's configuration, by a program that may run it with fewer rights.
fn checked(ground: &Ground, mut command: Command) -> Value {
    command.args(["check", "--output", "json", "--config"]).arg(ground.config());
    let output = command.arg("--state-dir").arg(ground.state()).output().expect("it can be executed");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn capability<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["capabilities"].as_array().expect("they are a list");
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"))
}

/// A daemon that sees no tracefs, and attaches its probes by `hooks`.
fn configure(ground: &Ground, hooks: &str) {
    let tracefs = ground.path("tracefs");
    fs::create_dir_all(&tracefs).expect("the folder is ours");
    ground.configure(&format!(
        "[observe]\nhooks = \"{hooks}\"\n[roots]\ntracefs = \"{}\"\n",
        tracefs.display()
    ));
}

/// What each probe says that needs what can't be mounted.
fn assert_told(reason: &str, tracefs: &Path) {
    let tracefs = tracefs.display().to_string();
    for part in ["tracefs is not mounted at", &tracefs, "Operation not permitted", "mount -t tracefs"] {
        assert!(reason.contains(part), "'{part}' is missing: {reason}");
    }
}

/// Two who forbid it: a container's runtime, and somebody who takes CAP_SYS_ADMIN away and leaves CAP_BPF and CAP_PERFMON.
#[test]
fn a_tracefs_that_can_not_be_mounted_is_told_and_done_without() {
    if !privileged() || !tools(&["setpriv"]) {
        return;
    }
    let types = Path::new("/sys/kernel/btf/vmlinux").is_file();
    if !possible(types, "this kernel does not show its types") {
        return;
    }
    let ground = Ground::new();
    let program = &ground.programs().sstsd;
    let restricted = || {
        let mut filtered = Command::new(program);
        without_fsopen(&mut filtered);
        let mut unprivileged = Command::new("setpriv");
        unprivileged.args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]).arg(program);
        [filtered, unprivileged]
    };

    configure(&ground, "auto");
    for command in restricted() {
        let report = checked(&ground, command);
        for probe in PROBES {
            let told = capability(&report, &format!("probe-{probe}"));
            assert_eq!(told["state"], "works", "{told:#}");
        }
        let told = capability(&report, "tracefs");
        assert_eq!(told["state"], "works", "{told:#}");
        assert!(told["detail"].as_str().is_some_and(|words| words.contains("not needed")), "{told:#}");
    }

    configure(&ground, "tracepoint");
    for command in restricted() {
        let report = checked(&ground, command);
        for probe in PROBES {
            let told = capability(&report, &format!("probe-{probe}"));
            assert_eq!(told["state"], "missing", "{told:#}");
            assert_told(told["detail"].as_str().unwrap_or_default(), &ground.path("tracefs"));
        }
        let told = capability(&report, "tracefs");
        assert_eq!(told["state"], "degraded", "{told:#}");
        assert!(told["mend"].as_str().is_some_and(|mend| mend.contains("mount -t tracefs")), "{told:#}");
    }

    // A run goes on without them, and its result says why they are not there.
    let _daemon = Daemon::start_with(&ground, |command| {
        without_fsopen(command);
    });
    let result = Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 500ms").json();
    assert_eq!(result["verdict"], "pass", "{result:#}");
    let probes = result["hosts"][0]["probes"].as_array().expect("they are a list");
    assert_eq!(probes.len(), PROBES.len(), "{probes:#?}");
    for probe in probes {
        assert_eq!(probe["working"], false, "{probe:#}");
        assert_told(probe["reason"].as_str().unwrap_or_default(), &ground.path("tracefs"));
    }
    assert_eq!(result["hosts"][0]["telemetry"].get("block.latency"), None, "nothing is told in their place");
    // Nor does whoever reads the record have to ask elsewhere.
    let record = Record::closed(&ground, result["run_id"].as_str().expect("a run has an id"));
    assert_eq!(record.probes.len(), PROBES.len(), "{:#?}", record.probes);
    for probe in &record.probes {
        assert!(!probe.working && !probe.attached, "{probe:#?}");
        assert_told(&probe.reason, &ground.path("tracefs"));
    }
}

/// No privilege is needed for that: who turned them off is told so by the record, the result and each frame.
#[test]
fn probes_that_are_turned_off_say_so_in_the_record() {
    let ground = Ground::new();
    ground.configure("[observe]\nprobes = false\n");
    let _daemon = Daemon::start(&ground);
    let result = Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 500ms").json();
    let working = result["hosts"][0]["telemetry"]["probe.working"].as_array().expect("it is a list");
    assert_eq!(working.len(), PROBES.len(), "{working:#?}");
    assert!(working.iter().all(|probe| probe["max"] == 0.0), "{working:#?}");
    let record = Record::closed(&ground, result["run_id"].as_str().expect("a run has an id"));
    let told: Vec<_> = record.probes.iter().map(|probe| probe.name.as_str()).collect();
    assert_eq!(told, PROBES);
    for probe in &record.probes {
        assert!(!probe.working && probe.reason == "turned off in the configuration", "{probe:#?}");
    }
}
