//! Whether runs have become worse: two of a daemon's own, folders of results, runs of the history without an agent, and a metric over
//! many.

use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use roxmltree::Document;
use serde_json::{Value, json};
use ssts_tests::{Ctl, Daemon, Ground, Outcome, Programs};

/// One core at a load, long enough for its windows to be told apart.
fn burn(ground: &Ground, load: u32) -> Value {
    let words = format!("burn cpu --cores 0 --kernel fma --load {load} --tolerance 100 --duration 4s");
    Ctl::new(ground).words(&words).json()
}

fn id(result: &Value) -> &str {
    result["run_id"].as_str().expect("a run has one")
}

fn assert_valid(object: &Value, definition: &str) {
    let text = fs::read_to_string(Programs::repository().join("docs/output.schema.json"))
        .expect("it is in the repository");
    let mut schema: Value = serde_json::from_str(&text).expect("it is JSON");
    let map = schema.as_object_mut().expect("it is an object");
    map.remove("anyOf");
    map.insert("$ref".into(), format!("#/$defs/{definition}").into());
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let errors: Vec<_> = validator.iter_errors(object).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{object:#}");
}

/// Judgements of one metric.
fn judged<'a>(compared: &'a Value, metric: &str) -> Vec<&'a str> {
    let changes = compared["changes"].as_array().expect("it is a list");
    let of_it = changes.iter().filter(|change| change["metric"] == metric);
    of_it.filter_map(|change| change["judgement"].as_str()).collect()
}

/// Results of a real run, each with its operations a second a little off, as runs are, times a factor.
fn results(ground: &Ground, folder: &str, real: &Value, count: u32, factor: impl Fn(u32) -> f64) -> String {
    let path = ground.path(folder);
    fs::create_dir_all(&path).expect("it can be made");
    for number in 0..count {
        let mut result = real.clone();
        result["run_id"] = format!("{folder}-{number:02}").into();
        result["started_at"] = format!("2026-01-01T00:{number:02}:00Z").into();
        // 0 to 1.2 % and back, in an order that has no trend.
        let off = 1.0 + f64::from(number * 5 % 7) * 0.002;
        let rates = &mut result["hosts"][0]["burners"][0]["rates"]["operations_per_s"];
        *rates = json!(rates.as_f64().expect("it is measured") * factor(number) * off);
        fs::write(path.join(format!("{number:02}.json")), result.to_string()).expect("it can be written");
    }
    path.display().to_string()
}

fn compare(ground: &Ground, sides: &[&str], more: &str) -> Outcome {
    Ctl::bare(ground).args(["--output", "json", "compare"]).args(sides).words(more).run()
}

#[test]
fn much_less_load_is_a_regression_and_a_run_is_none_of_itself() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let (before, after) = (burn(&ground, 60), burn(&ground, 10));
    let words = format!("--output json compare {} {}", id(&before), id(&after));
    let outcome = Ctl::new(&ground).words(&words).run();
    outcome.assert_status(3);
    let compared = outcome.json();
    assert_valid(&compared, "Compared");
    assert_eq!(compared["method"], "windows");
    assert_eq!(compared["verdict"], "fail");
    assert_eq!(judged(&compared, "burner.operations"), ["worse"], "{compared:#}");
    let operations = compared["changes"].as_array().expect("it is a list").iter();
    let change = operations.into_iter().find(|change| change["metric"] == "burner.operations");
    let percent = change.and_then(|change| change["change_percent"].as_f64()).expect("it is judged");
    // How much of them a busy machine let through is its own affair.
    assert!((-100.0..-10.0).contains(&percent), "{percent}");

    let words = format!("compare {} {} --all", id(&before), id(&before));
    let same = Ctl::new(&ground).words(&words).run();
    same.assert_status(0);
    assert!(same.stdout.contains("no regression"), "{}", same.stdout);

    // As a table, too.
    let words = format!("compare {} {} --metric burner.operations", id(&before), id(&after));
    let table = Ctl::new(&ground).words(&words).run();
    table.assert_status(3);
    assert!(table.stdout.contains("1 regression"), "{}", table.stdout);

    // What the memory of the daemon did in so short a time says nothing of a leak.
    let words = format!("trend agent.resident --within {}", id(&after));
    let trend = Ctl::new(&ground).words(&words).json();
    assert_valid(&trend, "Trend");
    assert_eq!(trend["series"][0]["leak"]["verdict"], "inconclusive", "{trend:#}");
}

#[test]
fn folders_of_results_are_compared_without_an_agent() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let real = burn(&ground, 30);
    drop(daemon);
    let before = results(&ground, "before", &real, 10, |_| 1.0);
    let same = results(&ground, "same", &real, 10, |_| 1.002);
    let slower = results(&ground, "slower", &real, 10, |_| 0.95);
    let metric = "--metric result.operations_per_s";

    let outcome = compare(&ground, &[&before, &slower], metric);
    outcome.assert_status(3);
    let compared = outcome.json();
    assert_valid(&compared, "Compared");
    assert_eq!((&compared["method"], &compared["regressions"]), (&json!("runs"), &json!(1)));
    let change = &compared["changes"][0];
    let percent = change["change_percent"].as_f64().expect("it is known");
    assert!((percent + 5.0).abs() < 0.5, "{change:#}");
    assert!(change["high_percent"].as_f64().expect("it is known") < 0.0, "{change:#}");

    compare(&ground, &[&before, &same], metric).assert_status(0);
    compare(&ground, &[&slower, &before], metric).assert_status(0);
    // A change that is let be.
    compare(&ground, &[&before, &slower], &format!("{metric} --change 10")).assert_status(0);
    // One new run against several.
    let today = format!("{slower}/03.json");
    let outcome = compare(&ground, &[&before, &today], metric);
    outcome.assert_status(3);
    assert_eq!(outcome.json()["method"], "one_against_runs");
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_mend() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let real = burn(&ground, 30);
    drop(daemon);
    let few = results(&ground, "few", &real, 2, |_| 1.0);
    let others = results(&ground, "others", &real, 2, |_| 0.5);
    let metric = "--metric result.operations_per_s";
    let outcome = compare(&ground, &[&few, &others], metric);
    outcome.assert_status(2).assert_tells(&["nothing could be told", "four runs a side"]);
    compare(&ground, &[&few, "no/such/folder"], "").assert_status(2).assert_tells(&["no file or folder"]);
    compare(&ground, &[&few, &few], "--metric no.such")
        .assert_status(2)
        .assert_tells(&["no number in common"]);
    let broken = ground.file("broken.json", "{");
    compare(&ground, &[&few, &broken], "").assert_status(2).assert_tells(&["broken.json"]);
    let twice = format!("{few},{few}");
    compare(&ground, &[&twice, &others], "").assert_status(2).assert_tells(&["stands twice"]);
}

#[test]
fn a_change_of_level_over_many_runs_is_found_at_its_run() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let real = burn(&ground, 30);
    drop(daemon);
    let runs = results(&ground, "runs", &real, 24, |number| if number < 14 { 1.0 } else { 0.93 });
    let trend = Ctl::bare(&ground).args(["trend", "result.operations_per_s", &runs]).json();
    assert_valid(&trend, "Trend");
    let series = &trend["series"][0];
    assert_eq!(series["points"].as_array().map(Vec::len), Some(24));
    assert_eq!(series["changes"].as_array().map(Vec::len), Some(1), "{trend:#}");
    assert_eq!(series["changes"][0]["run_id"], "runs-14");
    let shown = Ctl::bare(&ground).args(["trend", "result.operations_per_s", &runs]).run();
    shown.assert_status(0);
    assert!(shown.stdout.contains("since run runs-14") && shown.stdout.contains('█'), "{}", shown.stdout);
    let unknown = Ctl::bare(&ground).args(["trend", "no.such", &runs]).run();
    unknown.assert_status(2).assert_tells(&["no run has no.such"]);
}

/// A history of a real run, of ten like it with the tag `before`, of which the third is the baseline `golden`, and of ten slower ones with the
/// tag `after`; no daemon is left.
fn history(ground: &Ground) -> Value {
    let daemon = Daemon::start(ground);
    let real = burn(ground, 30);
    drop(daemon);
    let path = ground.path("twenty.ssts");
    let mut file = GzEncoder::new(fs::File::create(&path).expect("the ground is ours"), Compression::fast());
    let mut line = |value: &Value| writeln!(file, "{value}").expect("the ground has room");
    line(
        &json!({ "format": "ssts-runs", "version": 1, "exported_at": "2026-12-31T00:00:00Z", "by": "a story" }),
    );
    for number in 0..20u32 {
        let (tag, factor) = if number < 10 { ("before", 1.0) } else { ("after", 0.9) };
        let mut result = real.clone();
        result["run_id"] = format!("{tag}-{:02}", number % 10).into();
        // Long before the real one.
        result["started_at"] = format!("2026-01-01T00:{number:02}:00Z").into();
        let off = 1.0 + f64::from(number * 5 % 7) * 0.002;
        let rate = &mut result["hosts"][0]["burners"][0]["rates"]["operations_per_s"];
        *rate = json!(rate.as_f64().expect("it is measured") * factor * off);
        let baselines = if number == 2 { vec!["golden"] } else { Vec::new() };
        line(&json!({
            "tags": [tag], "baselines": baselines, "client_version": "0.1.0", "kept_at": "2026-12-31T00:00:00Z",
            "result": result
        }));
    }
    line(&json!({ "runs": 20 }));
    file.finish().expect("the ground has room");
    let path = path.display().to_string();
    Ctl::bare(ground).args(["runs", "import", &path]).run().assert_status(0);
    real
}

/// Of the JUnit file: cases, failures and errors.
fn cases(text: &str) -> [usize; 3] {
    let document = Document::parse(text).expect("it is XML");
    ["testcase", "failure", "error"]
        .map(|name| document.descendants().filter(|node| node.has_tag_name(name)).count())
}

#[test]
fn runs_of_the_history_are_compared_and_followed_without_an_agent() {
    let ground = Ground::new();
    let real = history(&ground);
    let metric = "--metric result.operations_per_s";
    let outcome = compare(&ground, &["tag:before", "tag:after"], metric);
    outcome.assert_status(3);
    let compared = outcome.json();
    assert_valid(&compared, "Compared");
    assert_eq!((&compared["method"], &compared["regressions"]), (&json!("runs"), &json!(1)), "{compared:#}");
    assert_eq!(compared["before"].as_array().map(Vec::len), Some(10));
    compare(&ground, &["tag:after", "tag:before"], metric).assert_status(0);
    // One by its id's beginning against several; a filter narrows what a tag means.
    let outcome = compare(&ground, &["tag:before", "after-03"], metric);
    outcome.assert_status(3);
    assert_eq!(outcome.json()["method"], "one_against_runs");
    compare(&ground, &["tag:before", "tag:after"], "--scenario others")
        .assert_status(2)
        .assert_tells(&["no run of the history has the tag 'before'"]);
    compare(&ground, &["before-01", "after-01"], "--scenario others")
        .assert_status(2)
        .assert_tells(&["neither is compared"]);
    // Two numbers say nothing of how much they vary, whatever they are called by.
    let outcome = compare(&ground, &["baseline:golden", "latest"], metric);
    outcome.assert_status(2).assert_tells(&["nothing could be told"]);
    assert_eq!(outcome.json()["before"][0]["run_id"], "before-02");
    assert_eq!(outcome.json()["after"][0]["run_id"], real["run_id"]);
    for (sides, told) in [
        (["baseline:silver", "latest"], "no baseline is named 'silver'"),
        (["tag:none", "latest"], "has the tag 'none'"),
    ] {
        compare(&ground, &sides, metric).assert_status(2).assert_tells(&[told, "mend: "]);
    }

    let bare = |line: &str| Ctl::bare(&ground).words(line);
    let trend = bare("trend result.operations_per_s --tag before").json();
    assert_valid(&trend, "Trend");
    assert_eq!(trend["series"][0]["points"].as_array().map(Vec::len), Some(10));
    let trend = bare("trend result.operations_per_s tag:before,tag:after --scenario burn-cpu").json();
    assert_eq!(trend["series"][0]["changes"][0]["run_id"], "after-00", "{trend:#}");
    let page = ground.path("trend.html");
    let line =
        format!("trend result.operations_per_s tag:before,tag:after --format html --to {}", page.display());
    bare(&line).run().assert_status(0).assert_tells(&["wrote "]);
    let page = fs::read_to_string(page).expect("it was written");
    assert!(page.contains("<svg") && page.contains("after-00") && !page.contains("http"), "{page}");
    let csv = bare("trend result.operations_per_s tag:before --format csv").run();
    assert_eq!(csv.assert_status(0).stdout.lines().count(), 11, "{}", csv.stdout);
}

#[test]
fn a_comparison_has_a_form_for_every_reader() {
    let ground = Ground::new();
    history(&ground);
    let written = |form: &str| {
        let to = ground.path(format!("compared.{form}"));
        let line = format!("compare tag:before tag:after --format {form} --to {}", to.display());
        let outcome = Ctl::bare(&ground).words(&line).run();
        outcome.assert_status(3).assert_tells(&["wrote "]);
        assert_eq!(outcome.stdout, "");
        fs::read(to).expect("it was written")
    };
    let text = |form: &str| String::from_utf8(written(form)).expect("it is text");
    let [all, failures, errors] = cases(&text("junit"));
    assert!(all > 1 && failures == 1 && errors == 0, "{all} {failures} {errors}");
    let page = text("html");
    assert!(page.contains("<svg") && page.contains("1 regression") && !page.contains("http"), "{page}");
    assert!(text("md").starts_with("# 1 regression"));
    assert!(text("text").contains("result.operations_per_s"));
    let csv = text("csv");
    assert!(csv.lines().next().is_some_and(|line| line.starts_with("metric,labels,statistic,unit,before")));
    assert_eq!(csv.lines().filter(|line| line.contains(",worse,")).count(), 1, "{csv}");
    let json: Value = serde_json::from_str(&text("json")).expect("it is JSON");
    assert_valid(&json, "Compared");
    assert!(written("pdf").starts_with(b"%PDF-"));
}

#[test]
fn a_run_is_reported_from_the_history_in_every_form() {
    let ground = Ground::new();
    let real = history(&ground);
    let report = |run: &str, form: &str| {
        let outcome = Ctl::bare(&ground).words(&format!("report {run} --format {form}")).run();
        outcome.assert_status(0);
        outcome.stdout.clone()
    };
    let beginning: String = id(&real).chars().take(13).collect();
    for run in [id(&real), "latest", &beginning] {
        assert_eq!(serde_json::from_str::<Value>(&report(run, "json")).expect("it is JSON"), real);
    }
    assert!(report("latest", "text").contains("operations"));
    assert!(report("latest", "md").starts_with("# burn-cpu pass"));
    assert_eq!(cases(&report("latest", "junit"))[1..], [0, 0]);
    let page = report("latest", "html");
    assert!(page.contains("burn-cpu pass") && page.contains("there are no plots"), "{page}");
    assert!(report("latest", "csv").contains(",result.operations_per_s,"));
    let pdf = ground.path("run.pdf");
    let line = format!("report latest --format pdf --to {}", pdf.display());
    Ctl::bare(&ground).words(&line).run().assert_status(0);
    assert!(fs::read(pdf).is_ok_and(|pdf| pdf.starts_with(b"%PDF-")));
    // Of an imported run there is the result alone.
    assert!(report("baseline:golden", "html").contains("before-02"));
    assert!(report("before-02", "csv").contains("before-02,burn-cpu,"));
    Ctl::bare(&ground)
        .words("report before-02 --format junit")
        .run()
        .assert_status(2)
        .assert_tells(&["the result alone", "mend: "]);
    Ctl::bare(&ground)
        .words("report baseline:silver")
        .run()
        .assert_status(2)
        .assert_tells(&["no baseline is named 'silver'"]);
}
