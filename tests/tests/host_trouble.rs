//! What goes wrong on the host during a run is told with the run: what the kernel logs, errors that hardware counts, a device
//! that goes away.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    process::Command,
    thread,
    time::Duration,
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, LoopDevice, Record, outside, possible, privileged};

fn events<'a>(result: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    events.iter().filter(|event| event["kind"] == kind).collect()
}

/// Why a window was frozen for a counter that rose, and how many frames it has.
fn frozen_for(ground: &Ground, result: &Value, metric: &str) -> (String, usize) {
    let run = result["run_id"].as_str().expect("a run has an id");
    let record = Record::closed(ground, run);
    let is_for = |reason: &String| reason.starts_with("hardware error: ") && reason.contains(metric);
    let found = record.frozen.iter().find(|(reason, _)| is_for(reason));
    let (reason, window) =
        found.unwrap_or_else(|| panic!("no window was frozen for {metric}: {:?}", record.events));
    (reason.clone(), window.len())
}

/// Somebody logs a warning, what looks like a link that was reset, and like a machine check, while a run is on.
#[test]
fn what_the_kernel_logs_during_a_run_is_an_event_of_it() {
    if !privileged() {
        return;
    }
    let log = OpenOptions::new().write(true).open("/dev/kmsg");
    if !possible(log.is_ok(), "/dev/kmsg can't be written") {
        return;
    }
    let mut log = log.expect("it could be opened");
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let words = "--output json burn cpu --load 10 --tolerance 100 --duration 4s";
    let running = Ctl::new(&ground).words(words).spawn();
    daemon.burning(1);
    // A number of its own, so that no other story's line is taken for it.
    let own = std::process::id();
    // One write is one record: Documentation/ABI/testing/dev-kmsg.
    log.write_all(format!("<4>ssts-tests {own}: something to be warned of").as_bytes()).expect("it is taken");
    log.write_all(format!("<6>ssts-tests {own}: hard resetting link").as_bytes()).expect("it is taken");
    log.write_all(format!("<6>ssts-tests {own}: nothing to be told").as_bytes()).expect("it is taken");
    // By which the kernel marks them: include/linux/printk.h. Without an end of line the last one would wait for another.
    let check = format!("<6>ssts-tests {own}: [Hardware Error]: Machine check events logged\n");
    log.write_all(check.as_bytes()).expect("it is taken");
    let outcome = running.outcome();
    outcome.assert_status(0);
    let result = outcome.json();
    let told = events(&result, "kernel_log");
    let find = |text: &str| {
        let text = format!("ssts-tests {own}: {text}");
        told.iter().find(|event| event["message"] == text.as_str()).copied()
    };
    let warning = find("something to be warned of").unwrap_or_else(|| panic!("no warning: {told:#?}"));
    assert_eq!((&warning["fields"]["level"], &warning["fields"]["kind"]), (&"warning".into(), &Value::Null));
    let reset = find("hard resetting link").unwrap_or_else(|| panic!("no reset: {told:#?}"));
    assert_eq!((&reset["fields"]["level"], &reset["fields"]["kind"]), (&"info".into(), &"link_reset".into()));
    assert_eq!(find("nothing to be told"), None);
    let check = find("[Hardware Error]: Machine check events logged");
    let check = check.unwrap_or_else(|| panic!("no machine check: {told:#?}"));
    assert_eq!(check["fields"]["kind"], "machine_check");
    let errors = events(&result, "hardware_error");
    assert!(
        errors.iter().any(|event| event["fields"]["metric"] == "kernel_log.matches"
            && event["fields"]["place"] == "kind machine_check"),
        "one that was corrected is an error all the same: {errors:#?}"
    );
    let (_, frames) = frozen_for(&ground, &result, "kernel_log.matches");
    assert!(frames > 0, "the window has none");
    let counted = &result["hosts"][0]["telemetry"]["kernel_log.messages"];
    let warnings =
        counted.as_array().expect("it is a list").iter().find(|one| one["labels"]["level"] == "warning");
    assert!(warnings.is_some_and(|one| one["increase"].as_f64() >= Some(1.0)), "{counted:#}");
}

/// A memory controller corrects two errors, on a sysfs of the story's own.
#[test]
fn an_error_that_hardware_counts_during_a_run_is_an_event_with_what_it_rose_by() {
    let ground = Ground::new();
    let controller = ground.path("sys/devices/system/edac/mc/mc0");
    fs::create_dir_all(&controller).expect("the folder is new");
    let count =
        |name: &str, value: u32| fs::write(controller.join(name), format!("{value}\n")).expect("it is ours");
    count("ce_count", 40);
    count("ue_count", 0);
    ground.configure(&format!("[roots]\nsys = \"{}\"\n", ground.path("sys").display()));
    let daemon = Daemon::start(&ground);
    let words = "--output json burn cpu --load 10 --tolerance 100 --duration 8s";
    let running = Ctl::new(&ground).words(words).spawn();
    daemon.burning(1);
    // They are read once a second.
    thread::sleep(Duration::from_millis(2_500));
    count("ce_count", 42);
    let outcome = running.outcome();
    outcome.assert_status(0);
    let result = outcome.json();
    // The kernel's log is everybody's: another story may have written to it.
    let mut told = events(&result, "hardware_error");
    told.retain(|event| event["fields"]["metric"] != "kernel_log.matches");
    assert_eq!(told.len(), 1, "{told:#?}");
    let fields = &told[0]["fields"];
    assert_eq!((&fields["metric"], &fields["increase"]), (&"host.edac.corrected".into(), &"2".into()));
    let telemetry = &result["hosts"][0]["telemetry"];
    assert_eq!(telemetry["host.edac.corrected"][0]["increase"], 2.0, "{telemetry:#}");
    assert_eq!(telemetry["host.edac.uncorrected"][0]["increase"], 0.0);
    let (reason, frames) = frozen_for(&ground, &result, "host.edac.corrected");
    assert_eq!(reason, "hardware error: host.edac.corrected of controller mc0 rose by 2");
    // Two seconds of the run went before it.
    assert!(frames > 15, "{frames}");
}

/// A disk that nobody burns is detached while a run is on: its columns go, the run goes on.
#[test]
fn a_device_that_goes_away_takes_its_columns_and_not_the_run() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let device = LoopDevice::new(&ground.disk().join("image"), 16 << 20);
    if !possible(device.is_some(), "no loop device can be had") {
        return;
    }
    let device = device.expect("it was made");
    let name = device.path().file_name().and_then(|name| name.to_str()).expect("it has a name").to_owned();
    let daemon = Daemon::start(&ground);
    let running =
        Ctl::new(&ground).words("--output json burn cpu --load 10 --tolerance 100 --duration 6s").spawn();
    daemon.burning(1);
    thread::sleep(Duration::from_secs(1));
    let path = device.path().to_owned();
    drop(device);
    let is_detached = || {
        let listed = Command::new("losetup").arg(&path).output();
        listed.is_ok_and(|output| !output.status.success())
    };
    assert!(outside::within(Duration::from_secs(5), is_detached).is_some(), "it should be detached");
    let outcome = running.outcome();
    outcome.assert_status(0);
    let result = outcome.json();
    assert_eq!(result["verdict"], "pass", "{result:#}");
    let reads = result["hosts"][0]["telemetry"]["host.disk.reads"].as_array().expect("it is a list");
    let series = reads.iter().find(|series| series["labels"]["device"] == name.as_str());
    let own = reads.iter().filter_map(|series| series["samples"].as_u64()).max();
    let samples = series.and_then(|series| series["samples"].as_u64());
    assert!(
        samples >= Some(1) && samples < own,
        "{name} should have been seen, and not to the end: {reads:#?}"
    );
}
