//! A result for CI servers, for spreadsheets, and in plain words.

use std::{
    fs::{self, File},
    process::Command,
};

use roxmltree::Document;
use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, tools};

fn report(ground: &Ground, run: &Value, format: &str) -> String {
    let run = run["run_id"].as_str().expect("a run has one");
    let outcome = Ctl::new(ground).words(&format!("report {run} --format {format}")).run();
    outcome.assert_status(0);
    outcome.stdout.clone()
}

/// Tests, failures, errors, skipped: as the suite says, and as its cases are.
fn counts(junit: &str) -> [usize; 4] {
    let document = Document::parse(junit).expect("it is XML");
    let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).expect("it is there");
    let of = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
    let counted = [of("testcase"), of("failure"), of("error"), of("skipped")];
    let said =
        ["tests", "failures", "errors", "skipped"].map(|name| suite.attribute(name).expect("it is said"));
    assert_eq!(said, counted.map(|count| count.to_string()).each_ref().map(String::as_str), "{junit}");
    counted
}

#[test]
fn a_run_that_passed_is_a_suite_of_passes() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let run = Ctl::new(&ground).words("burn cpu --cores 0 --load 30 --tolerance 100 --duration 1s").json();
    // The run, its burner, and that the host is clean.
    let junit = report(&ground, &run, "junit");
    assert_eq!(counts(&junit), [3, 0, 0, 0], "{junit}");
    assert!(run["findings"].as_array().is_some_and(|found| !found.is_empty()), "{run:#}");

    let csv = report(&ground, &run, "csv");
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("run_id,scenario,host,metric,labels,statistic,unit,value"));
    let operations: Vec<f64> = lines
        .filter(|line| line.contains(",result.operations_per_s,"))
        .filter_map(|line| line.rsplit(',').next()?.parse().ok())
        .collect();
    assert_eq!(operations.len(), 1, "{csv}");
    assert_eq!(Some(operations[0]), run["hosts"][0]["burners"][0]["rates"]["operations_per_s"].as_f64());
}

#[test]
fn phases_that_never_began_are_skipped_and_a_missed_load_fails_in_plain_words() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    // Two runs of one core that share it: 90 % and 90 % can't both be had.
    let scenario = r#"
name = "crowded"
[[phase]]
name = "both"
duration = "2s"
[[phase.burner]]
kind = "cpu"
cores = "0"
load = 90
mode = "own"
[[phase.burner]]
kind = "cpu"
cores = "0"
load = 90
mode = "own"
[[phase]]
name = "after"
duration = "1s"
[[phase.burner]]
kind = "cpu"
cores = "0"
load = 10
tolerance = 100
"#;
    let file = ground.file("crowded.toml", scenario);
    let outcome = Ctl::new(&ground).args(["--output", "json", "run", &file]).run();
    outcome.assert_status(3);
    let run = outcome.json();
    let junit = report(&ground, &run, "junit");
    let [tests, failures, ..] = counts(&junit);
    assert!(tests >= 5 && failures >= 2, "{junit}");
    for form in [report(&ground, &run, "text"), report(&ground, &run, "md"), junit] {
        assert!(form.contains("core 0 missed its load by"), "{form}");
    }
    let found = run["findings"].as_array().expect("it is a list");
    assert!(found.iter().any(|finding| finding["severity"] == "bad"), "{run:#}");
}

#[test]
fn a_pdf_can_be_read_by_others_and_has_its_font_in_it() {
    if !tools(&["pdftotext", "pdffonts"]) {
        return;
    }
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let run = Ctl::new(&ground).words("burn cpu --cores 0 --load 30 --tolerance 100 --duration 1s").json();
    let id = run["run_id"].as_str().expect("a run has one");
    let path = ground.path("run.pdf");
    let file = File::create(&path).expect("it can be made");
    let written = Ctl::new(&ground).words(&format!("report {id} --format pdf")).into_file(file);
    assert!(written.success(), "{written}");
    assert!(fs::read(&path).is_ok_and(|pdf| pdf.starts_with(b"%PDF-")));
    let read = |program: &str, before: &[&str], after: &[&str]| {
        let output = Command::new(program).args(before).arg(&path).args(after).output();
        let output = output.expect("it is installed");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{complaints}");
        String::from_utf8(output.stdout).expect("it is text")
    };
    let text = read("pdftotext", &["-layout"], &["-"]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in ["burn-cpu pass", id, "Found", "Burners", "30 %"] {
        assert!(text.contains(wanted), "'{wanted}' is missing:\n{text}");
    }
    let fonts = read("pdffonts", &[], &[]);
    let font = fonts.lines().find(|line| line.contains("DejaVuSansMono")).expect("it is there");
    // Embedded, a subset, and with the letters of its glyphs.
    assert!(font.contains("yes yes yes"), "{fonts}");
}
