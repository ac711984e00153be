//! A core that computes wrongly is the worst that a burn-in can find: the run fails, with a status of its own, and says all
//! that helps to tell a bad core from a bad program. Errors made on purpose show that it does.

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Record, Sysfs};

/// Burns with an injected error; gives the burner's part of the result.
fn burn(ground: &Ground, words: &str) -> Value {
    result_of(ground, words)["hosts"][0]["burners"][0].take()
}

fn result_of(ground: &Ground, words: &str) -> Value {
    let outcome = Ctl::new(ground).words(&format!("--output json burn cpu {words}")).run();
    outcome.assert_status(6);
    let result = outcome.json();
    assert_eq!((&result["verdict"], &result["cause"]), (&"fail".into(), &"wrong_data".into()), "{result:#}");
    assert_eq!(result["outcome"], "fail_hw");
    result
}

fn word(mismatch: &Value, key: &str) -> u64 {
    let text = mismatch[key].as_str().unwrap_or_default();
    u64::from_str_radix(text, 16).expect("it is written in hexadecimal digits")
}

/// Every re-run that was done is clean, as it must be on sound cores, and says how sure that is.
fn assert_clean(mismatch: &Value, placement: &str) {
    let reruns = mismatch["reruns"].as_array().expect("there are re-runs");
    let rerun = reruns.iter().find(|rerun| rerun["placement"] == placement).expect("it is named");
    let units = rerun["units"].as_f64().unwrap_or_default();
    assert!(units > 0.0, "{rerun:#}");
    assert_eq!((&rerun["mismatches"], &rerun["rate"]), (&0.into(), &0.0.into()), "{rerun:#}");
    // Wilson's upper bound of 0 of n: z² / (n + z²).
    let z2 = 1.959_964_f64.powi(2);
    let high = rerun["rate_interval"][1].as_f64().unwrap_or_default();
    assert!((high - z2 / (units + z2)).abs() < 1e-9, "{rerun:#}");
    assert_eq!(rerun["rate_interval"][0], 0.0);
}

#[test]
fn an_injected_error_fails_the_run_and_is_not_reproduced() {
    let ground = Ground::new();
    let sysfs = Sysfs::new(&ground, 61);
    ground.configure(&sysfs.config());
    let _daemon = Daemon::start(&ground);
    let burner = burn(&ground, "--kernel fma --cores 0,1 --seed 7 --inject-error 1@300ms --duration 30s");
    assert_eq!(burner["errors"]["verify"], 1, "{burner:#}");
    // It stopped where it was, not at the end of the phase.
    let burning = burner["burning_s"].as_f64().unwrap_or_default();
    assert!((0.3..10.0).contains(&burning), "{burner:#}");
    let mismatches = burner["mismatches"].as_array().expect("there are mismatches");
    assert_eq!(mismatches.len(), 1, "{burner:#}");
    let mismatch = &mismatches[0];
    assert_eq!((&mismatch["worker"], &mismatch["core"]), (&1.into(), &1.into()), "{mismatch:#}");
    assert_eq!((&mismatch["injected"], &mismatch["kernel"]), (&true.into(), &"fma".into()));
    assert_eq!(mismatch["temperatures"][0]["celsius"], 61.0, "{mismatch:#}");
    let (expected, got, xor) = (word(mismatch, "expected"), word(mismatch, "got"), word(mismatch, "xor"));
    assert_eq!((expected ^ got, xor.count_ones()), (xor, 1));
    assert_eq!((&mismatch["wrong_words"], &mismatch["wrong_bits"]), (&1.into(), &1.into()));
    assert_clean(mismatch, "same_core");
    assert_clean(mismatch, "other_core");
    assert_clean(mismatch, "reference");
    // The sound worker's results stand.
    assert!(burner["figures"]["verified_units"]["value"].as_f64() > Some(0.0), "{burner:#}");
}

/// What the host was like before it, the time before the run included, is part of what has to be looked into.
#[test]
fn a_wrong_result_freezes_the_flight_recorder_into_the_record() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let result = result_of(&ground, "--kernel fma --cores 0 --seed 7 --inject-error 0@1500ms --duration 30s");
    let run = result["run_id"].as_str().expect("a run has an id");
    let record = Record::closed(&ground, run);
    let last = record.frames.last().map_or(0, |frame| frame.sequence);
    let (reason, window) = record.frozen.first().expect("a window was frozen");
    assert!(reason.contains("wrong"), "{reason}");
    assert!(window.len() > 10, "{} frames", window.len());
    assert!(window.last().is_some_and(|frame| frame.sequence <= last), "the record goes on after it");
}

#[test]
fn the_same_seed_gives_the_same_wrong_word() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let words = "--kernel integer --isa portable --cores 0 --seed 11 --inject-error 0 --duration 30s";
    let first = burn(&ground, words);
    let second = burn(&ground, words);
    for key in ["seed", "unit", "word", "expected", "got", "xor"] {
        assert_eq!(first["mismatches"][0][key], second["mismatches"][0][key], "{key}");
    }
    // One core: nowhere else to go, and it says so.
    let reruns = first["mismatches"][0]["reruns"].as_array().expect("there are re-runs");
    let other = reruns.iter().find(|rerun| rerun["placement"] == "other_core").expect("it is named");
    assert!(other["not_done"].as_str().is_some_and(|why| why.contains("no other core")), "{other:#}");
    assert!(other.get("units").is_none() && other.get("rate").is_none(), "{other:#}");
}

/// With every kernel the path is the same.
#[test]
fn every_kernel_fails_the_run() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    for kernel in [
        "power",
        "integer",
        "branch",
        "sqrt-div",
        "crypto",
        "matrix",
        "cache",
        "context-switch",
        "mixed",
        "auto",
    ] {
        let level = if kernel == "cache" { "--level l1" } else { "" };
        let burner = burn(
            &ground,
            &format!("--kernel {kernel} {level} --cores 0 --inject-error 0@50ms --duration 30s"),
        );
        let mismatch = &burner["mismatches"][0];
        assert_eq!(mismatch["injected"], true, "{kernel}: {burner:#}");
        assert_clean(mismatch, "same_core");
    }
}

#[test]
fn people_read_it_in_the_text_and_in_the_report() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let outcome = Ctl::new(&ground)
        .words("burn cpu --kernel crypto --cores 0 --inject-error 0 --duration 30s --report")
        .args([ground.path("report").to_str().expect("the path is ASCII")])
        .run();
    outcome.assert_status(6);
    for part in ["Wrong results", "injected", "same core", "0.0000 %"] {
        assert!(outcome.stdout.contains(part), "'{part}' is missing: {}", outcome.stdout);
    }
}
