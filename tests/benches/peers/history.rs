//! What asking a history of 10,000 runs takes, as whole commands, in a file and in PostgreSQL.
//!
//! The runs are copies of one that was really measured, each with its numbers a little off: as many figures, results as large.

use std::{fs, io::Write as _, path::Path, time::Instant};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use ssts_tests::{Ctl, Daemon, Ground, Postgres};

use crate::{
    measure::number,
    table::{Figure, Pair, Table},
};

const RUNS: usize = 10_000;
/// Of one file that is imported.
const RUNS_A_FILE: usize = 1_000;
/// Of each command.
const ROUNDS: usize = 20;
/// What a command may take, ms.
const MOST_MS: f64 = 100.0;

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let real = {
        let _daemon = Daemon::start(ground);
        let burn = "burn cpu --kernel fma --cores 0 --load 20 --tolerance 100 --duration 2s --store none";
        Ctl::new(ground).words(burn).json()
    };
    let files: Vec<_> = (0..RUNS / RUNS_A_FILE).map(|part| export(ground, &real, part)).collect();
    let sqlite = ground.path("history.db").display().to_string();
    measure(ground, table, "SQLite", &sqlite, &files);
    match Postgres::start() {
        Some(server) => measure(ground, table, "PostgreSQL", &server.url(), &files),
        None => table.add(
            "history in PostgreSQL",
            "ms",
            "",
            Pair { note: Some("PostgreSQL is not installed".into()), ..Pair::default() },
        ),
    }
}

fn measure(ground: &Ground, table: &mut Table, name: &str, store: &str, files: &[String]) {
    let ask = |line: &str| Ctl::bare(ground).words(line).args(["--store", store]);
    for file in files {
        ask("runs import").args([file]).run().assert_status(0);
    }
    let runs = ask("runs --limit 1000000").json()["runs"].as_array().map_or(0, Vec::len);
    assert_eq!(runs, RUNS);
    let (one, other) = (id(17), id(RUNS - 17));
    for (what, line, status) in [
        ("runs", "runs".to_owned(), 0),
        (
            "runs of a scenario and a month",
            "runs --scenario burn-cpu --since 2026-03-01 --until 2026-04-01".into(),
            0,
        ),
        // Two numbers a side say nothing of their noise: it ends with 2, after all its work.
        ("compare of two runs", format!("compare {one} {other}"), 2),
        ("compare of ten runs with ten", "compare tag:ten-0 tag:ten-1".into(), 0),
        ("trend of a metric over the newest 50", "trend result.operations_per_s".into(), 0),
        ("trend over the newest 500", "trend result.operations_per_s --limit 500".into(), 0),
    ] {
        let time = |_| {
            let begin = Instant::now();
            ask(&line).run().assert_status(status);
            begin.elapsed().as_secs_f64() * 1e3
        };
        // What a page cache has is what it has after the first of them.
        let ours = (0..ROUNDS).map(time).collect();
        let figure =
            Figure::new(format!("{what}, {RUNS} runs in {name}"), "ms", "", Pair { ours, ..Pair::default() });
        table.add_figure(Figure { at_most: Some(MOST_MS), ..figure });
    }
}

fn id(number: usize) -> String {
    format!("01a1fe64-fd15-7354-bafa-{number:012}")
}

/// As docs/history.md describes it.
fn export(ground: &Ground, real: &Value, part: usize) -> String {
    let path = ground.path(format!("{part}.ssts"));
    write(&path, real, part).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path.display().to_string()
}

fn write(path: &Path, real: &Value, part: usize) -> std::io::Result<()> {
    let mut file = GzEncoder::new(fs::File::create(path)?, Compression::fast());
    writeln!(
        file,
        "{}",
        json!({ "format": "ssts-runs", "version": 1, "exported_at": "2026-12-31T00:00:00Z", "by": "a benchmark" })
    )?;
    for of_part in 0..RUNS_A_FILE {
        let number = part * RUNS_A_FILE + of_part;
        let mut result = real.clone();
        result["run_id"] = id(number).into();
        // One every 45 minutes, over the most part of a year.
        let minutes = number * 45;
        let (day, minute) = (minutes / 1_440, minutes % 1_440);
        let (month, day) = (day / 28 + 1, day % 28 + 1);
        result["started_at"] =
            format!("2026-{month:02}-{day:02}T{:02}:{:02}:00Z", minute / 60, minute % 60).into();
        // 0 to 1.2 % and back, in an order that has no trend.
        vary(&mut result["hosts"], 1.0 + (number * 5 % 7) as f64 * 0.002);
        let tags = if number < 20 { vec![format!("ten-{}", number / 10)] } else { Vec::new() };
        let line = json!({ "tags": tags, "client_version": "0.1.0", "kept_at": "2026-12-31T00:00:00Z", "result": result });
        writeln!(file, "{line}")?;
    }
    writeln!(file, "{}", json!({ "runs": RUNS_A_FILE }))?;
    file.finish().map(drop)
}

/// Every number that has a fraction, times a factor.
fn vary(value: &mut Value, factor: f64) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| vary(item, factor)),
        Value::Object(items) => items.values_mut().for_each(|item| vary(item, factor)),
        Value::Number(_) if value.is_f64() => *value = json!(number(value) * factor),
        _ => {}
    }
}
