//! What the burner says of its I/Os and what the block probe says of the same ones stand side by side, and agree.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use ssts_tests::{Ctl, Daemon, Ground, note, possible, privileged};

/// The whole disk below a folder, by its kernel name; nothing where the file system stands on none directly.
fn disk_below(folder: &Path) -> Option<String> {
    let device = fs::metadata(folder).ok()?.dev();
    let link = format!("/sys/dev/block/{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let path = fs::canonicalize(link).ok()?;
    let whole = if path.join("partition").exists() { path.parent()? } else { &path };
    Some(whole.file_name()?.to_str()?.to_owned())
}

#[test]
fn each_io_of_the_burner_is_one_of_the_probe_and_took_no_longer_there() {
    if !privileged() {
        return;
    }
    let ground = Ground::alone();
    let Some(disk) = disk_below(ground.disk()) else {
        possible(false, "the target folder is on no disk of its own");
        return;
    };
    let _daemon = Daemon::start(&ground);
    let folder = ground.disk().display();
    let words = format!("burn disk --path {folder} --size 16MiB --rw randread --depth 1 --duration 2s");
    let result = Ctl::new(&ground).words(&words).json();
    let host = &result["hosts"][0];
    let probes = host["probes"].as_array().expect("a list");
    if !probes.iter().any(|probe| probe["name"] == "block" && probe["working"] == true) {
        possible(false, &format!("the block probe does not work here: {probes:#?}"));
        return;
    }
    let burner = &host["burners"][0];
    let own = &burner["latency_by_operation"]["read"];
    let probed = host["telemetry"]["block.latency"]
        .as_array()
        .and_then(|all| {
            all.iter()
                .find(|series| series["labels"]["device"] == disk && series["labels"]["operation"] == "read")
        })
        .unwrap_or_else(|| unreachable!("no reads of {disk}: {host:#}"));
    note(format_args!("burner: {own:#}\nprobe: {probed:#}"));
    // The last ones may come after the last tick of the run.
    let counted = |value: &serde_json::Value| value.as_f64().expect("it is a number");
    assert!(counted(&probed["samples"]) >= 0.8 * counted(&own["count"]), "{probed:#} {own:#}");
    let p50 = |value: &serde_json::Value| value["p50"].as_f64().expect("it is a number");
    // The way through the kernel and back is in the burner's alone. Buckets of the probe are wider.
    assert!(p50(probed) <= p50(own) * 1.2, "{probed:#} {own:#}");
    assert!(p50(own) < p50(probed) * 20.0, "{probed:#} {own:#}");
}
