//! The history in real files.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::{schema, *};
use crate::error::Exit;

/// 2026-11-21T00:00:00Z.
const DAY: i64 = 1_795_219_200_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// A run that began so many seconds into the day, of a scenario and with a verdict.
fn result(number: u32, scenario: &str, verdict: &str) -> serde_json::Value {
    json!({
        "run_id": id(number), "scenario": scenario, "verdict": verdict, "cause": "completed",
        "started_at": crate::json::rfc3339(DAY + i64::from(number) * SECOND), "duration_s": 5.0, "seed": number,
        "hosts": [{
            "host": if number.is_multiple_of(2) { "even" } else { "odd" }, "agent_version": "0.1.0",
            "telemetry": {
                "host.memory.available": [{ "labels": {}, "unit": "By", "samples": 5, "mean": f64::from(number), "p99": 9.0 }],
                "runqueue.latency": [
                    { "labels": {"cpu": "0"}, "unit": "ns", "samples": 5, "p99": 100.0 },
                    { "labels": {"cpu": "1"}, "unit": "ns", "samples": 5, "p99": 200.0 }
                ]
            },
            "burners": [], "events": [], "probes": []
        }],
        "thresholds": []
    })
}

fn id(number: u32) -> String {
    format!("01a1fe64-fd15-7354-bafa-{number:012}")
}

fn run(number: u32, scenario: &str, verdict: &str) -> NewRun {
    NewRun::now(Document::of_value(&result(number, scenario, verdict)).unwrap(), Vec::new())
}

async fn store_at(path: &Path) -> Store {
    Store::open(&Place::File(path.into()), Access::Write).await.unwrap()
}

struct Fixture {
    folder: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store_at(&folder.path().join("data/ssts/history.db")).await;
        Self { folder, store }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data/ssts/history.db")
    }

    async fn with_runs(numbers: impl Iterator<Item = u32>) -> Self {
        let mut fixture = Self::new().await;
        for number in numbers {
            assert!(fixture.store.keep(&run(number, "quick", "pass")).await.unwrap());
        }
        fixture
    }

    async fn ids(&mut self, filter: &RunFilter) -> Vec<String> {
        self.store.runs(filter).await.unwrap().into_iter().map(|run| run.run_id).collect()
    }
}

fn ids(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|number| id(*number)).collect()
}

#[tokio::test]
async fn a_run_is_kept_once_and_whole() {
    let mut fixture = Fixture::new().await;
    let new = NewRun { tags: vec!["nightly".into()], ..run(7, "quick", "fail") };
    assert!(fixture.store.keep(&new).await.unwrap());
    let again = NewRun { tags: vec!["again".into()], ..new.clone() };
    assert!(!fixture.store.keep(&again).await.unwrap(), "it is there already");
    let kept = fixture.store.find(&id(7)).await.unwrap();
    assert_eq!((kept.scenario.as_str(), kept.verdict.as_str(), kept.seed), ("quick", "fail", 7));
    assert_eq!((kept.started_at_ns, kept.duration_ns), (DAY + 7 * SECOND, 5 * SECOND));
    assert_eq!((kept.hosts[0].host.as_str(), kept.hosts.len()), ("odd", 1));
    assert_eq!(kept.tags, ["again", "nightly"]);
    let text = fixture.store.result(&kept).await.unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), result(7, "quick", "fail"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.path()), 0o600);
    assert_eq!(mode(fixture.path().parent().unwrap()), 0o700);
}

#[tokio::test]
async fn runs_of_the_same_nanosecond_are_both_kept() {
    let mut fixture = Fixture::new().await;
    let first = run(1, "quick", "pass");
    let mut second = run(2, "quick", "pass");
    second.document.started_at_ns = first.document.started_at_ns;
    assert!(fixture.store.keep(&first).await.unwrap() && fixture.store.keep(&second).await.unwrap());
    assert_eq!(fixture.ids(&RunFilter::default()).await, ids(&[2, 1]));
}

#[tokio::test]
async fn filters_choose_among_runs_and_the_newest_come_first() {
    let mut fixture = Fixture::new().await;
    for (number, scenario, verdict) in
        [(1, "quick", "pass"), (2, "quick", "fail"), (3, "burn-in", "error"), (4, "burn-in", "pass")]
    {
        fixture.store.keep(&run(number, scenario, verdict)).await.unwrap();
    }
    let kept = fixture.store.find(&id(2)).await.unwrap();
    fixture.store.tag(&kept, &["a".into(), "b".into()]).await.unwrap();
    fixture.store.tag(&kept, &["a".into()]).await.unwrap();
    let all = RunFilter::default();
    assert_eq!(fixture.ids(&all).await, ids(&[4, 3, 2, 1]));
    for (filter, wanted) in [
        (RunFilter { scenario: Some("quick".into()), ..all.clone() }, &[2, 1][..]),
        (RunFilter { verdicts: vec!["fail".into(), "error".into()], ..all.clone() }, &[3, 2]),
        (RunFilter { host: Some("even".into()), ..all.clone() }, &[4, 2]),
        (RunFilter { since_ns: Some(DAY + 3 * SECOND), ..all.clone() }, &[4, 3]),
        (RunFilter { until_ns: Some(DAY + 3 * SECOND), ..all.clone() }, &[2, 1]),
        (RunFilter { tags: vec!["a".into(), "b".into()], ..all.clone() }, &[2]),
        (RunFilter { tags: vec!["c".into()], ..all.clone() }, &[]),
        (RunFilter { limit: Some(1), host: Some("odd".into()), ..all.clone() }, &[3]),
    ] {
        assert_eq!(fixture.ids(&filter).await, ids(wanted), "{filter:?}");
    }
    fixture.store.untag(&kept, &["a".into(), "none".into()]).await.unwrap();
    assert_eq!(fixture.store.find(&id(2)).await.unwrap().tags, ["b"]);
}

#[tokio::test]
async fn a_run_is_found_by_what_users_write() {
    let mut fixture = Fixture::with_runs([1, 12, 13].into_iter()).await;
    let golden = fixture.store.find(&id(12)).await.unwrap();
    fixture.store.set_baseline(&golden, "golden").await.unwrap();
    for (reference, number) in
        [("latest", 13), ("golden", 12), ("01A1fe64-fd15-7354-bafa-000000000001", 1), (&id(1)[..], 1)]
    {
        assert_eq!(fixture.store.find(reference).await.unwrap().run_id, id(number), "{reference}");
    }
    let failure = fixture.store.find("01a1fe64-fd15-7354-bafa-00000000001").await.unwrap_err();
    assert!(failure.to_string().contains("beginning of several runs"), "{failure}");
    for nothing in ["ffff", "silver", "", "%", "0_"] {
        let failure = fixture.store.find(nothing).await.unwrap_err();
        assert!(failure.to_string().contains("no run '"), "{failure}");
        assert_eq!(failure.exit, Exit::Usage);
    }
}

#[tokio::test]
async fn figures_are_found_by_run_metric_statistic_host_and_labels() {
    let mut fixture = Fixture::with_runs(1..=3).await;
    let values =
        |figures: Vec<KeptFigure>| -> Vec<f64> { figures.iter().map(|kept| kept.figure.value).collect() };
    let of_metric = |metric: &str, statistic: &str| FigureQuery {
        metric: Some(metric.into()),
        statistic: Some(statistic.into()),
        ..FigureQuery::default()
    };
    // A trend: oldest first.
    let trend = fixture.store.figures(&of_metric("host.memory.available", "mean")).await.unwrap();
    assert_eq!((&*trend[0].run_id, trend[0].started_at_ns), (&*id(1), DAY + SECOND));
    assert_eq!((&*trend[0].figure.unit, values(trend.clone())), ("By", vec![1.0, 2.0, 3.0]));
    let mut of_even = of_metric("host.memory.available", "mean");
    of_even.runs.host = Some("even".into());
    assert_eq!(values(fixture.store.figures(&of_even).await.unwrap()), [2.0]);
    let mut latest = of_metric("runqueue.latency", "p99");
    latest.runs.limit = Some(1);
    assert_eq!(values(fixture.store.figures(&latest).await.unwrap()), [100.0, 200.0]);
    latest.labels.insert("cpu".into(), "1".into());
    assert_eq!(values(fixture.store.figures(&latest).await.unwrap()), [200.0]);
    // All of one run, as a comparison wants them.
    let of_run = FigureQuery { runs: RunFilter::run(&id(2)), ..FigureQuery::default() };
    assert_eq!(fixture.store.figures(&of_run).await.unwrap().len(), 5);
    assert!(fixture.store.figures(&of_metric("no.such", "mean")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_baseline_is_one_run_until_it_is_forgotten() {
    let mut fixture = Fixture::with_runs(1..=2).await;
    let [second, first] = &fixture.store.runs(&RunFilter::default()).await.unwrap()[..] else {
        panic!("two runs")
    };
    fixture.store.set_baseline(first, "golden").await.unwrap();
    fixture.store.set_baseline(second, "golden").await.unwrap();
    let baselines = fixture.store.baselines().await.unwrap();
    assert_eq!((baselines.len(), &baselines[0].run_id), (1, &id(2)));
    let second = fixture.store.find("golden").await.unwrap();
    assert_eq!(second.baselines, ["golden"]);
    let failure = fixture.store.remove_runs(std::slice::from_ref(&second)).await.unwrap_err();
    assert!(failure.to_string().contains("baseline 'golden'"), "{failure}");
    fixture.store.remove_baseline("golden").await.unwrap();
    assert!(fixture.store.remove_baseline("golden").await.is_err());
    let second = fixture.store.find(&second.run_id).await.unwrap();
    assert_eq!(fixture.store.remove_runs(&[second]).await.unwrap(), 1);
    assert_eq!(fixture.ids(&RunFilter::default()).await, ids(&[1]));
    let figures = fixture.store.figures(&FigureQuery::default()).await.unwrap();
    assert!(figures.iter().all(|kept| *kept.run_id == *id(1)), "the figures go with the run");
}

#[tokio::test]
async fn the_oldest_make_room_and_baselines_stay() {
    let mut fixture = Fixture::with_runs(1..=10).await;
    let first = fixture.store.find(&id(1)).await.unwrap();
    fixture.store.set_baseline(&first, "golden").await.unwrap();
    let keep_bytes = Some(4 * first.bytes + 200);
    let wanted = Retention { keep_for: None, keep_bytes };
    let pruned = fixture.store.prunable(wanted).await.unwrap();
    assert_eq!((pruned.run_ids.len(), pruned.kept_runs), (5, 5), "{pruned:?}");
    assert_eq!(fixture.ids(&RunFilter::default()).await.len(), 10, "it only looked");
    let pruned = fixture.store.prune(wanted).await.unwrap();
    assert_eq!(pruned.run_ids, ids(&[2, 3, 4, 5, 6]));
    assert_eq!(fixture.ids(&RunFilter::default()).await, ids(&[10, 9, 8, 7, 1]));
    // All are from 2026, and the newest has no privilege of age.
    let pruned =
        fixture.store.prune(Retention { keep_for: Some(Duration::ZERO), keep_bytes: None }).await.unwrap();
    assert_eq!((pruned.run_ids.len(), pruned.kept_runs), (4, 1));
    assert_eq!(fixture.store.retention().await.unwrap().keep_bytes, Some(1 << 30));
    let none = Retention { keep_for: Some(Duration::from_secs(60)), keep_bytes: None };
    fixture.store.set_retention(none).await.unwrap();
    assert_eq!(store_at(&fixture.path()).await.retention().await.unwrap(), none);
}

#[tokio::test]
async fn the_room_of_removed_runs_is_given_back() {
    let mut fixture = Fixture::with_runs(1..=300).await;
    fixture.store.prune(Retention::default()).await.unwrap();
    let before = fs::metadata(fixture.path()).unwrap().len();
    let pruned = fixture.store.prune(Retention { keep_for: None, keep_bytes: Some(1) }).await.unwrap();
    assert_eq!((pruned.run_ids.len(), pruned.kept_runs), (299, 1), "the newest stays");
    let after = fs::metadata(fixture.path()).unwrap().len();
    assert!(after < before / 2, "{before} bytes before, {after} after");
}

#[tokio::test]
async fn two_clients_write_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let client = |first: u32| {
        let path = path.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut store = store_at(&path).await;
                for number in first..first + 50 {
                    assert!(store.keep(&run(number, "quick", "pass")).await.unwrap());
                }
            });
        })
    };
    let clients = [client(0), client(50), client(100)];
    clients.into_iter().for_each(|client| client.join().unwrap());
    let runs = store_at(&path).await.runs(&RunFilter::default()).await.unwrap();
    assert_eq!(runs.len(), 150);
}

#[tokio::test]
async fn an_export_comes_back_and_changes_nothing_the_second_time() {
    let mut fixture = Fixture::with_runs(1..=3).await;
    let second = fixture.store.find(&id(2)).await.unwrap();
    fixture.store.tag(&second, &["nightly".into()]).await.unwrap();
    fixture.store.set_baseline(&second, "golden").await.unwrap();
    let mut file = Vec::new();
    let since = RunFilter { since_ns: Some(DAY + 2 * SECOND), ..RunFilter::default() };
    assert_eq!(fixture.store.export(&since, &mut file).await.unwrap(), 2);
    let mut other = Fixture::with_runs(3..=3).await;
    for added in [1, 0] {
        let imported = other.store.import("a file", &file).await.unwrap();
        assert_eq!(imported, Imported { runs: 2, added });
    }
    let (theirs, ours) =
        (other.store.find("golden").await.unwrap(), fixture.store.find("golden").await.unwrap());
    assert_eq!(theirs, ours);
    assert_eq!(other.store.result(&theirs).await.unwrap(), fixture.store.result(&ours).await.unwrap());
    let all = FigureQuery { runs: since, ..FigureQuery::default() };
    assert_eq!(other.store.figures(&all).await.unwrap(), fixture.store.figures(&all).await.unwrap());
}

#[tokio::test]
async fn torn_damaged_and_foreign_exports_are_refused_and_nothing_is_taken() {
    let mut fixture = Fixture::with_runs(1..=3).await;
    let mut file = Vec::new();
    fixture.store.export(&RunFilter::default(), &mut file).await.unwrap();
    let mut other = Fixture::new().await;
    let zipped = |text: &str| {
        let mut bytes = Vec::new();
        let mut encoder = flate2::write::GzEncoder::new(&mut bytes, flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        encoder.finish().unwrap();
        bytes
    };
    let head = r#"{"format":"ssts-runs","version":1,"exported_at":"x","by":"y"}"#;
    let mut flipped = file.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    for (bytes, told) in [
        (file[..file.len() - 1].to_vec(), "is cut off after 3 runs"),
        (file[..file.len() / 2].to_vec(), "is cut off"),
        (flipped, "a file is "),
        (Vec::new(), "is no export of runs"),
        (b"SQLite format 3\0".to_vec(), "is no export of runs"),
        (zipped("hello\n"), "its first line does not say so"),
        (zipped(&format!("{}\n", head.replace("-runs", "-other"))), "of the format 'ssts-other'"),
        (zipped(&format!("{}\n", head.replace(":1,", ":2,"))), "an export of version 2"),
        (zipped(&format!("{head}\n")), "is cut off after 0 runs"),
        (zipped(&format!("{head}\n{{\"runs\":1}}\n")), "runs are missing"),
        (zipped(&format!("{head}\n{{\"runs\":0}}\nmore\n")), "something follows"),
        (zipped(&format!("{head}\n{{\"what\":0}}\n")), "is damaged after 0 runs"),
    ] {
        let failure = other.store.import("a file", &bytes).await.unwrap_err();
        assert!(failure.to_string().contains(told), "{told}: {failure}");
        assert!(failure.to_string().contains("mend: "), "{failure}");
        assert_eq!(other.ids(&RunFilter::default()).await.len(), 0, "{told}");
    }
}

#[tokio::test]
async fn a_file_of_version_1_becomes_one_of_this_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(schema::STEPS[0].sqlite).unwrap();
    let application = schema::SQLITE_APPLICATION_ID;
    old.execute_batch(&format!("PRAGMA user_version = 1; PRAGMA application_id = {application};")).unwrap();
    old.execute(
        "INSERT INTO run VALUES (?1, ?2, 'quick', 1, 'pass', NULL, NULL, NULL, '1', '0.1.0', 1, 1)",
        rusqlite::params![DAY, id(1)],
    )
    .unwrap();
    drop(old);
    let mut store = store_at(&path).await;
    assert_eq!(store.runs(&RunFilter::default()).await.unwrap()[0].run_id, id(1));
    assert!(store.keep(&run(2, "quick", "pass")).await.unwrap());
    let version: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, schema::latest());
}

#[tokio::test]
async fn newer_foreign_and_damaged_files_are_refused_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let refused = async |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        if !content.is_empty() {
            fs::write(&path, content).unwrap();
        }
        let before = fs::read(&path).unwrap();
        let mut told = Vec::new();
        for access in [Access::Read, Access::Write] {
            told.push(Store::open(&Place::File(path.clone()), access).await.unwrap_err().to_string());
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{name}");
        told.join("")
    };
    let newer = folder.path().join("newer.db");
    drop(store_at(&newer).await);
    rusqlite::Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let told = refused("newer.db", b"").await;
    assert!(told.contains("is of version 99") && told.contains("or a newer one"), "{told}");
    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE cookies (a)").unwrap();
    let told = refused("foreign.db", b"").await;
    assert!(told.contains("no history of sstsctl"), "{told}");
    let told =
        refused("text.db", "not a database, but long enough to be looked at. ".repeat(50).as_bytes()).await;
    assert!(told.contains("damaged, or no SQLite file") && told.contains("import"), "{told}");
    // Its first page is whole, and others are not.
    let mut torn = Fixture::with_runs(1..=50).await;
    torn.store.prune(Retention { keep_for: None, keep_bytes: Some(1 << 20) }).await.unwrap();
    torn.store.db.query("PRAGMA wal_checkpoint(TRUNCATE)", &[]).await.unwrap();
    let path = torn.path();
    drop(torn.store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8_192..].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let told = match Store::open(&Place::File(path), Access::Write).await {
        Err(failure) => failure.to_string(),
        Ok(mut store) => store.runs(&RunFilter::default()).await.unwrap_err().to_string(),
    };
    assert!(told.contains("damaged") && told.contains(".recover"), "{told}");
}

#[tokio::test]
async fn where_there_is_no_store_there_are_no_runs_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/history.db");
    let mut store = Store::open(&Place::File(path.clone()), Access::Read).await.unwrap();
    assert!(store.runs(&RunFilter::default()).await.unwrap().is_empty());
    assert!(!path.parent().unwrap().exists());
    let failure = Store::open(&Place::Nowhere, Access::Write).await.unwrap_err();
    assert!(failure.to_string().contains("--store PATH"), "{failure}");
}

/// A month of a busy lab: `cargo test --release -p ssts-ctl ten_thousand -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement: half a minute"]
async fn ten_thousand_runs_are_listed_in_100_ms() {
    use std::time::Instant;
    let mut fixture = Fixture::new().await;
    let series = |cpu: u32| {
        json!({ "labels": {"cpu": cpu.to_string()}, "unit": "ns", "samples": 9, "min": 1.5, "mean": 2.5,
                                    "p50": 2.5, "p95": 3.5, "p99": f64::from(cpu), "max": 9.5, "last": 1.25 })
    };
    let began = Instant::now();
    for number in 0..10_000 {
        let mut result = result(number, if number % 3 == 0 { "quick" } else { "burn-in" }, "pass");
        // As many series as a run on two cores has.
        result["hosts"][0]["telemetry"]["some.metric"] = (0..140).map(series).collect();
        let run = NewRun::now(Document::of_value(&result).unwrap(), Vec::new());
        assert!(fixture.store.keep(&run).await.unwrap());
    }
    println!("kept in {:?}, {:?} each", began.elapsed(), began.elapsed() / 10_000);
    let path = fixture.path();
    drop(fixture.store);
    let began = Instant::now();
    let mut store = store_at(&path).await;
    println!("opened in {:?}", began.elapsed());
    let filters = [
        ("100 newest", RunFilter { limit: Some(100), ..RunFilter::default() }),
        ("all", RunFilter::default()),
        (
            "of a scenario",
            RunFilter { scenario: Some("quick".into()), limit: Some(100), ..RunFilter::default() },
        ),
        ("with a tag", RunFilter { tags: vec!["none".into()], ..RunFilter::default() }),
        ("of a host", RunFilter { host: Some("odd".into()), ..RunFilter::default() }),
    ];
    for (what, filter) in filters {
        let began = Instant::now();
        let runs = store.runs(&filter).await.unwrap().len();
        println!("{what}: {runs} runs in {:?}", began.elapsed());
    }
    for (what, limit) in [("trend of 10,000", None), ("trend of 100", Some(100))] {
        let query = FigureQuery {
            runs: RunFilter { limit, ..RunFilter::default() },
            metric: Some("some.metric".into()),
            statistic: Some("p99".into()),
            labels: [("cpu".to_owned(), "7".to_owned())].into(),
        };
        let began = Instant::now();
        let figures = store.figures(&query).await.unwrap().len();
        println!("{what}: {figures} figures in {:?}", began.elapsed());
    }
    let began = Instant::now();
    let of_run = FigureQuery { runs: RunFilter::run(&id(5_000)), ..FigureQuery::default() };
    println!("one run: {} figures in {:?}", store.figures(&of_run).await.unwrap().len(), began.elapsed());
    let began = Instant::now();
    let kept = store.prunable(Retention::default()).await.unwrap();
    println!(
        "to prune: {:?}; {} bytes by our count, {} in the file",
        began.elapsed(),
        kept.kept_bytes,
        fs::metadata(&path).unwrap().len()
    );
}
