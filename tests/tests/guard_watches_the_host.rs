//! Guards on what is no sensor: room on a file system, a link, the OOM killer. And what a host can't guard is told.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, MemoryCgroup, Mount, Side, Wire, outside, possible, privileged};

const MIB: u64 = 1 << 20;

fn events<'a>(result: &'a Value, kind: &str, name: &str) -> Vec<&'a Value> {
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    events.iter().filter(|event| event["kind"] == kind && event["fields"]["guard"] == name).collect()
}

/// Somebody else fills the file system that a run writes to: it ends before nobody can write any more.
#[test]
fn a_file_system_that_fills_up_stops_the_run_while_there_is_room() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let disk = Mount::tmpfs(ground.path("small"), 128 * MIB);
    ground.configure(&format!("[limits]\ndisk_reserve_bytes = {}\n", 64 * MIB));
    let daemon = Daemon::start(&ground);
    let words = format!(
        "--output json burn disk --path {} --size 16MiB --rate 50 --duration 1m",
        disk.path().display()
    );
    let running = Ctl::new(&ground).words(&words).spawn();
    daemon.burning(1);
    fs::write(disk.path().join("other"), vec![1; 90 << 20]).expect("there is room");
    let outcome = running.outcome();
    outcome.assert_status(4);
    let result = outcome.json();
    assert_eq!(result["cause"], "guard_tripped", "{result:#}");
    let message = result["cause_message"].as_str().expect("it is text");
    for part in ["disk_space", "host.filesystem.available", "small", "MiB"] {
        assert!(message.contains(part), "{message}");
    }
}

/// The other end of the cable goes down.
#[test]
fn a_link_that_goes_down_stops_the_run_that_asked_for_it() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let wire = Wire::new();
    let program = wire.program(&ground, Side::Near, &ground.programs().sstsd);
    let daemon = Daemon::start_program(&ground, &program, |_| {});
    let toml = "name = \"linked\"\n[[phase]]\nname = \"only\"\nduration = \"1m\"\n[[phase.burner]]\nkind = \"cpu\"\nload = 10\n\
                [[guards]]\nname = \"cable\"\nmetric = \"host.network.link_downs\"\nlabels = { interface = \"wire\" }\n\
                above = 0\nwindow = \"3s\"\nreaction = \"stop\"\n";
    let scenario = ground.file("linked.toml", toml);
    let running = Ctl::new(&ground).args(["--output", "json", "run", &scenario]).spawn();
    daemon.burning(1);
    // Once it has been read with the run on.
    thread::sleep(Duration::from_millis(1_500));
    let output = wire.shell(Side::Far, "ip link set wire down");
    assert!(output.status.success());
    let outcome = running.outcome();
    outcome.assert_status(4);
    let result = outcome.json();
    let message = result["cause_message"].as_str().expect("it is text");
    assert!(message.contains("cable") && message.contains("interface wire"), "{message}");
}

/// A process in a small cgroup, which is nobody's burner, is killed for want of memory.
#[test]
fn an_oom_kill_anywhere_stops_the_run() {
    let ground = Ground::alone();
    let cgroup = MemoryCgroup::new(64 * MIB);
    if !possible(cgroup.is_some(), "no memory cgroup can be made: run as root") {
        return;
    }
    let cgroup = cgroup.expect("just seen");
    let daemon = Daemon::start_with(&ground, |command| {
        command.env("SSTSD_LIMITS__GUARDS_OFF", "memory_pressure,swapping");
    });
    let running =
        Ctl::new(&ground).words("--output json burn cpu --load 10 --tolerance 100 --duration 1m").spawn();
    daemon.burning(1);
    thread::sleep(Duration::from_millis(500));
    let script =
        format!("echo $$ > {}; exec dd if=/dev/zero of=/dev/null bs=256M count=1", cgroup.procs().display());
    let mut greedy = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("every machine has sh");
    let ended = outside::within(Duration::from_secs(20), || greedy.try_wait().is_ok_and(|end| end.is_some()));
    assert!(ended.is_some() && cgroup.oom_kills() > 0, "it should have been killed");
    let outcome = running.outcome();
    outcome.assert_status(4);
    let result = outcome.json();
    assert_eq!(events(&result, "guard_tripped", "oom_kill").len(), 1, "{result:#}");
    assert!(result["cause_message"].as_str().is_some_and(|words| words.contains("host.vm.oom_kills")));
}

/// What nothing is read for is told once, stands in the record, and is told by a check.
#[test]
fn what_a_host_can_not_guard_is_told() {
    let ground = Ground::new();
    // An empty sysfs: no sensors, no NICs, no memory controllers.
    fs::create_dir_all(ground.path("sys/class")).expect("the folder is new");
    ground.configure(&format!("[roots]\nsys = \"{}\"\n", ground.path("sys").display()));
    let daemon = Daemon::start(&ground);
    let result = Ctl::new(&ground).words("burn cpu --load 10 --tolerance 100 --duration 4s").json();
    assert_eq!(result["verdict"], "pass");
    let told = events(&result, "not_guarded", "max_temperature");
    assert_eq!(told.len(), 1, "{result:#}");
    assert!(told[0]["message"].as_str().is_some_and(|words| words.contains("host.temperature")), "{told:#?}");
    let stood = result["hosts"][0]["guards"].as_array().expect("guards are a list");
    let of = |name: &str| stood.iter().find(|guard| guard["name"] == name).unwrap_or(&Value::Null);
    assert_eq!(of("max_temperature")["state"], "unguarded", "{stood:#?}");
    assert_eq!(of("min_available_memory")["state"], "clear", "{stood:#?}");
    assert!(of("min_available_memory")["headroom"].as_f64() > Some(0.0));
    drop(daemon);
    let checked = Command::new(&ground.programs().sstsd)
        .args(["check", "--output", "json", "--config"])
        .arg(ground.config())
        .arg("--state-dir")
        .arg(ground.state())
        .output()
        .expect("sstsd can be executed");
    let report: Value = serde_json::from_slice(&checked.stdout).expect("it prints JSON");
    let capabilities = report["capabilities"].as_array().expect("they are a list");
    let guards = capabilities.iter().find(|one| one["name"] == "guards").expect("guards are checked");
    assert_eq!(guards["state"], "degraded", "{guards:#}");
    assert!(guards["detail"].as_str().is_some_and(|words| words.contains("max_temperature")), "{guards:#}");
}

/// One of the configuration that guards nothing is no guard: runs are refused until it is mended.
#[test]
fn a_configured_guard_without_anything_to_look_at_keeps_runs_from_starting() {
    let ground = Ground::new();
    ground.configure(
        "[[guards]]\nname = \"dimms\"\nmetric = \"host.edac.uncorrected\"\nlabels = { controller = \"mc77\" }\n\
         above = 0\nreaction = \"stop\"\n",
    );
    let _daemon = Daemon::start(&ground);
    let refused = || {
        let outcome = Ctl::new(&ground).words("burn cpu --load 10 --tolerance 100 --duration 10ms").run();
        outcome.status.code() == Some(5) && outcome.stderr.contains("dimms")
    };
    assert!(outside::within(Duration::from_secs(20), refused).is_some(), "it should trip");
}
