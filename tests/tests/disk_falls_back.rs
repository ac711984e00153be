//! Where the best way to the disk is not to be had, another one is taken, and the result says so.

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Mount, privileged, without_io_uring};

fn notices(result: &Value) -> String {
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    let notices = events.iter().filter(|event| event["kind"] == "notice");
    notices.filter_map(|event| event["message"].as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn without_io_uring_threads_do_the_same() {
    let ground = Ground::new();
    let _daemon = Daemon::start_with(&ground, |command| {
        without_io_uring(command);
    });
    let folder = ground.disk().display();
    let words = format!(
        "burn disk --path {folder} --size 4MiB --rw randrw --verify --depth 8 --fsync 20 --duration 1s"
    );
    let result = Ctl::new(&ground).words(&words).json();
    let burner = &result["hosts"][0]["burners"][0];
    assert!(burner["variant"].as_str().is_some_and(|variant| variant.ends_with("threads")), "{burner:#}");
    assert!(burner["operations"].as_u64() > Some(50), "{burner:#}");
    assert!(burner["figures"]["verified_blocks"]["value"].as_f64() > Some(10.0), "{burner:#}");
    let notices = notices(&result);
    for part in ["io_uring can't be used", "not permitted", "8 threads with pread and pwrite"] {
        assert!(notices.contains(part), "'{part}' is missing: {notices}");
    }
    // Who asks for io_uring gets it or a reason.
    let words =
        format!("--output json burn disk --path {folder} --size 4MiB --engine io-uring --duration 1s");
    let outcome = Ctl::new(&ground).words(&words).run();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(result["cause"], "burner_failed", "{result:#}");
    assert!(result["cause_message"].as_str().is_some_and(|text| text.contains("io_uring")), "{result:#}");
}

/// tmpfs takes O_DIRECT since Linux 6.6 and refuses it before; that no disk takes part is said either way.
#[test]
fn a_file_system_in_memory_is_said_to_be_one() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let memory = Mount::tmpfs(ground.path("memory"), 256 << 20);
    let _daemon = Daemon::start(&ground);
    let words = format!("burn disk --path {} --size 4MiB --verify --duration 500ms", memory.path().display());
    let result = Ctl::new(&ground).words(&words).json();
    assert!(notices(&result).contains("lives in memory"), "{result:#}");
}
