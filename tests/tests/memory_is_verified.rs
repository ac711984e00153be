//! A word that memory did not keep is found, whatever was written, and told with all that is known of it.

use serde_json::Value;
use ssts_tests::{Ctl, Ground};

fn hex(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x"));
    u64::from_str_radix(text.expect("it is hexadecimal"), 16).expect("it is a number")
}

#[test]
fn every_pattern_finds_the_bit_that_was_flipped() {
    let ground = Ground::new();
    for pattern in ["walking", "checkerboard", "inversions", "random", "address"] {
        let words = format!(
            "--output json burn memory --size 64MiB --method verify --patterns {pattern} --inject-error 1 --duration 20s"
        );
        let outcome = Ctl::local(&ground).words(&words).run();
        outcome.assert_status(6);
        let result = outcome.json();
        assert_eq!((&result["verdict"], &result["cause"]), (&"fail".into(), &"wrong_data".into()));
        let burner = &result["hosts"][0]["burners"][0];
        assert_eq!(burner["errors"]["verify"], 1, "{burner:#}");
        let word = &burner["wrong_words"][0];
        assert_eq!(word["pattern"], pattern);
        assert_eq!(word["core"], burner["cores"][1], "the second worker's");
        assert_eq!(hex(&word["xor"]), hex(&word["expected"]) ^ hex(&word["got"]));
        assert_eq!(hex(&word["xor"]).count_ones(), 1, "one bit was flipped");
        assert_eq!(word["again"], word["got"], "it stays wrong");
        if nix::unistd::geteuid().is_root() {
            assert!(hex(&word["page_frame"]) > 0, "root may read it");
        }
        let message = result["cause_message"].as_str().unwrap_or_default();
        assert!(message.contains(word["address"].as_str().unwrap_or("?")), "{message}");
    }
}

#[test]
fn memory_that_keeps_its_words_passes() {
    let ground = Ground::new();
    for words in [
        "--size 64MiB --duration 1s",
        "--size 64MiB --duration 1s --delay 200ms --patterns address,random",
        "--size 64MiB --duration 1s --isa portable --pages small",
    ] {
        let result = Ctl::local(&ground).words(&format!("burn memory --method verify {words}")).json();
        let burner = &result["hosts"][0]["burners"][0];
        assert_eq!(burner["errors"]["verify"], 0);
        assert!(burner["figures"]["sweeps"]["value"].as_f64() >= Some(1.0), "{words}: {burner:#}");
    }
}

#[test]
fn a_worker_that_is_not_there_can_not_be_spoiled() {
    let ground = Ground::new();
    let words = "burn memory --size 64MiB --method verify --inject-error 4096 --duration 1s";
    Ctl::local(&ground)
        .words(words)
        .run()
        .assert_status(2)
        .assert_tells(&["--inject-error", "no worker 4096"]);
    let words = "burn memory --size 64MiB --method read --inject-error 0 --duration 1s";
    Ctl::local(&ground).words(words).run().assert_status(2).assert_tells(&["--inject-error", "verify"]);
}
