//! Runs that ended are kept in a history, and looked up, tagged, removed and handed on from there, in a file or in a team's
//! PostgreSQL; and no trouble of the history is one of a run.

use std::{fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use ssts_tests::{Ctl, Daemon, Ground, Mount, Outcome, Postgres, privileged};

/// A burn of a moment, whatever the machine does meanwhile.
const BURN: &str = "burn cpu --kernel fma --cores 0 --load 20 --tolerance 100 --duration 500ms";

/// Without any agent.
fn history(ground: &Ground, line: &str) -> Ctl {
    Ctl::bare(ground).words(line)
}

fn ids(runs: &Value) -> Vec<String> {
    let runs = runs["runs"].as_array().expect("runs are a list").iter();
    runs.map(|run| run["run_id"].as_str().expect("each has an id").to_owned()).collect()
}

/// Equal, but for the last digit of numbers that were read and written once more.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| alike(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or_default(), other.as_f64().unwrap_or_default());
            (one - other).abs() <= one.abs() * 1e-12
        }
        _ => one == other,
    }
}

#[test]
fn a_run_is_kept_and_looked_up_without_the_agent() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let first = Ctl::new(&ground).words(BURN).words("--tag nightly --tag rack=7").json();
    let second = Ctl::new(&ground).words(BURN).json();
    let detached = Ctl::new(&ground).words(BURN).words("--detach").json();
    let id = |result: &Value| result["run_id"].as_str().expect("a run has one").to_owned();
    let (first_id, second_id) = (id(&first), id(&second));
    let detached_id = id(&detached["run"]);
    // One that nobody saw the end of is known to the agent alone, until somebody sees it.
    let listed = Ctl::new(&ground).words("runs").json();
    assert_eq!(ids(&listed), [detached_id.as_str(), &second_id, &first_id]);
    let kept = |listed: &Value| {
        listed["runs"].as_array().expect("a list").iter().map(|run| run["kept"] == true).collect::<Vec<_>>()
    };
    assert_eq!(kept(&listed), [false, true, true]);
    Ctl::new(&ground).words(&format!("watch {detached_id}")).run().assert_status(0);
    Ctl::new(&ground).words(&format!("report {detached_id}")).run().assert_status(0);
    drop(daemon);

    let listed = history(&ground, "runs").json();
    assert_eq!(ids(&listed), [detached_id.as_str(), &second_id, &first_id]);
    assert_eq!(kept(&listed), [true; 3]);
    let run = &listed["runs"][2];
    assert_eq!((&run["verdict"], &run["state"]), (&json!("pass"), &json!("finished")));
    assert_eq!((&run["tags"], &run["seed"]), (&json!(["nightly", "rack=7"]), &first["seed"]));
    assert_eq!(run["hosts"][0], first["hosts"][0]["host"]);
    // What was printed is what is kept.
    let shown = history(&ground, &format!("runs show {first_id}")).json();
    assert!(alike(&shown["result"], &first), "{:#}\n{first:#}", shown["result"]);
    let text = history(&ground, "runs show latest").run();
    text.assert_status(0);
    assert!(
        text.stdout.contains("operations per s") && text.stdout.contains(&detached_id),
        "{}",
        text.stdout
    );
    // To the agent alone: there is none, so a private one, which knows nothing.
    assert!(ids(&Ctl::local(&ground).words("runs --agent").json()).is_empty());
    history(&ground, "--store none runs --tag nightly").run().assert_status(0);
    history(&ground, "--store none runs show latest")
        .run()
        .assert_status(2)
        .assert_tells(&["there is no history", "--store PATH"]);
    // It goes with all that it had, once somebody says so.
    history(&ground, &format!("runs rm {first_id}"))
        .run()
        .assert_status(2)
        .assert_tells(&["--yes", "--dry-run"]);
    let removed = history(&ground, &format!("runs rm {first_id} --yes")).json();
    assert_eq!(removed["removed"], json!([first_id]));
    assert_eq!(ids(&history(&ground, "runs").json()), [detached_id.as_str(), &second_id]);
    for (answer, status, left) in [("n\r", 2, 2), ("y\r", 0, 1)] {
        let mut asked = history(&ground, &format!("runs rm {second_id}")).on_terminal();
        asked.shows("the question", |screen| screen.contains("for good? [y/N]"));
        asked.keys(answer);
        assert_eq!(asked.end().code(), Some(status), "{}", asked.screen());
        assert_eq!(ids(&history(&ground, "runs").json()).len(), left);
    }
}

/// A store in every kind of trouble: the run passes, its result is printed whole, and the user is told what to do.
#[test]
fn no_trouble_of_the_history_is_one_of_a_run() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let full = Mount::tmpfs(ground.path("full"), 64 << 10);
    fs::write(full.path().join("filler"), vec![1; 60 << 10]).expect("that much fits");
    fs::create_dir(ground.path("folder")).expect("the ground is ours");
    let read_only = Mount::read_only(ground.path("read-only"), &ground.path("folder"));
    let damaged = ground.file("damaged.db", &"no database at all, ".repeat(500));
    let place = |path: &Path| path.to_str().expect("it is ASCII").to_owned();
    for (store, told) in [
        (place(&full.path().join("history.db")), &["no room is left", "runs prune"][..]),
        (place(&read_only.path().join("history.db")), &["can't be used", "--store none"]),
        (damaged.clone(), &["damaged, or no SQLite file", "import"]),
        (place(&ground.path("home")), &["can't be used"]),
        ("postgres://nobody@127.0.0.1:1/none".into(), &["can't be reached", "refused"]),
    ] {
        let outcome = Ctl::new(&ground).args(["--store", &store, "--output", "json"]).words(BURN).run();
        outcome
            .assert_status(0)
            .assert_tells(&["warning: the run was not kept", "mend: "])
            .assert_tells(told);
        assert_eq!(outcome.json()["verdict"], "pass");
        let listed = history(&ground, "runs").args(["--store", &store]).run();
        assert!(matches!(listed.status.code(), Some(0 | 1)), "{store}: {listed:?}");
    }
    assert_eq!(fs::read_to_string(&damaged).expect("it is there"), "no database at all, ".repeat(500));
    // What is there can be read where nothing can be written.
    let store = ground.path("folder/kept.db");
    Ctl::new(&ground).args(["--store", &place(&store)]).words(BURN).run().assert_status(0);
    let listed = history(&ground, "runs").args(["--store", &place(&read_only.path().join("kept.db"))]).json();
    assert_eq!(ids(&listed).len(), 1);
}

#[test]
fn a_file_holds_a_history() {
    let ground = Ground::new();
    let store = ground.path("a history.db");
    conformance(&ground, store.to_str().expect("it is ASCII"));
}

#[test]
fn a_postgresql_database_holds_the_same_history_by_months() {
    let Some(server) = Postgres::start() else { return };
    let ground = Ground::new();
    assert!(ids(&history(&ground, "runs").args(["--store", &server.url()]).json()).is_empty());
    assert_eq!(
        server.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'ssts'"),
        "0",
        "looking makes nothing"
    );
    conformance(&ground, &server.url());
    let partitions = |table: &str| {
        server.query(&format!(
            "SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY 1) FROM pg_inherits WHERE inhparent = 'ssts.{table}'::regclass"
        ))
    };
    // Runs of November and December are left; October has gone with its runs.
    for table in ["run", "result", "figure"] {
        // Without the schema, which is on this user's search path.
        assert_eq!(partitions(table), format!("{table}_2026_11 {table}_2026_12"));
    }
    assert_eq!(server.query("SELECT version FROM ssts.version ORDER BY version DESC LIMIT 1"), "2");
    server.query("INSERT INTO ssts.version VALUES (99)");
    let refused = history(&ground, "runs").args(["--store", &server.url()]).run();
    refused.assert_status(2).assert_tells(&["is of version 99", "a newer one"]);
}

#[test]
fn several_clients_make_and_fill_one_postgresql_history_at_once() {
    let Some(server) = Postgres::start() else { return };
    let ground = Ground::new();
    let all: Vec<_> = (0..40).map(|number| made_up(number, "quick", "pass")).collect();
    // Each has half of what the next one has, too.
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let file =
                export(&ground, &format!("{client}.ssts"), &all[client * 10..(client * 10 + 20).min(40)]);
            history(&ground, "runs import").args([&file, "--store", &server.url()]).spawn()
        })
        .collect();
    for client in clients {
        client.outcome().assert_status(0);
    }
    assert_eq!(ids(&history(&ground, "runs").args(["--store", &server.url()]).json()).len(), 40);
    assert!(!server.log().contains("deadlock"), "{}", server.log());
}

#[test]
fn postgresql_is_reached_through_tls_with_a_password_that_nobody_sees() {
    const PASSWORD: &str = "correct:horse";
    let Some(server) = Postgres::start_encrypted(PASSWORD) else { return };
    let ground = Ground::new();
    let url = server.url();
    let file = export(&ground, "one.ssts", &[made_up(1, "quick", "pass")]);
    let import = |url: &str| history(&ground, "runs import").args([&file, "--store", url]);
    let with = |name: &'static str, value: String| {
        move |command: &mut std::process::Command| {
            command.env(name, value);
        }
    };
    import(&url).with(with("PGPASSWORD", PASSWORD.into())).run().assert_status(0);
    let passfile = ground.file("pgpass", "*:*:postgres:ssts:correct\\:horse\n");
    import(&url)
        .with(with("PGPASSFILE", passfile.clone()))
        .run()
        .assert_status(2)
        .assert_tells(&["other users may read it", "chmod 600"]);
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&passfile, private).expect("the file is ours");
    import(&url).with(with("PGPASSFILE", passfile)).run().assert_status(0);
    let refused = |outcome: Outcome, told: &[&str]| {
        outcome.assert_tells(told).assert_tells(&["mend: "]);
        assert!(!outcome.stderr.contains("horse"), "{}", outcome.stderr);
    };
    refused(
        import(&url).with(with("PGPASSWORD", "wrong horse".into())).run(),
        &["password authentication failed"],
    );
    refused(import(&url).run(), &["password"]);
    let plain = url.replace("sslmode=require", "sslmode=disable");
    refused(import(&plain).with(with("PGPASSWORD", PASSWORD.into())).run(), &["no encryption"]);
    let untrusted = url.split("&sslrootcert").next().expect("it has one");
    refused(import(untrusted).with(with("PGPASSWORD", PASSWORD.into())).run(), &["certificate"]);
    let outcome = import(&url.replace("ssts@", "ssts:correct%3Ahorse@")).run();
    outcome.assert_status(2).assert_tells(&["could be read by every user", "PGPASSWORD"]);
}

/// What a history must do wherever it is. Leaves runs of November and December.
fn conformance(ground: &Ground, store: &str) {
    let ask = |line: &str| history(ground, line).args(["--store", store]);
    let listed = |line: &str| ids(&ask(line).json());
    let october = 0;
    let (november, december) = (40 * DAYS, 70 * DAYS);
    let runs = [
        made_up(october, "quick", "pass"),
        made_up(october + 1, "burn-in", "fail"),
        made_up(november, "quick", "aborted"),
        made_up(november + 1, "burn-in", "pass"),
        made_up(december, "quick", "pass"),
    ];
    let id = |index: usize| runs[index]["result"]["run_id"].as_str().expect("it has one").to_owned();
    let these = |indices: &[usize]| indices.iter().map(|index| id(*index)).collect::<Vec<_>>();
    let file = export(ground, "runs.ssts", &runs);
    for added in [5, 0] {
        let imported = ask(&format!("runs import {file}")).json();
        assert_eq!((&imported["runs"], &imported["added"]), (&json!(5), &json!(added)));
    }
    assert_eq!(listed("runs"), these(&[4, 3, 2, 1, 0]));
    for (filter, wanted) in [
        ("--limit 2", &[4, 3][..]),
        ("--scenario burn-in", &[3, 1]),
        ("--verdict fail --verdict aborted", &[2, 1]),
        ("--on-host lab-1", &[3, 1]),
        ("--since 2026-11-01", &[4, 3, 2]),
        ("--until 2026-11-01T00:00:00Z --verdict pass", &[0]),
        ("--tag imported --scenario quick", &[4, 2, 0]),
        ("--tag none", &[]),
    ] {
        assert_eq!(listed(&format!("runs {filter}")), these(wanted), "{filter}");
    }
    // Tags and baselines.
    let tagged = ask("runs tag latest after-update rack=7").json();
    assert_eq!(tagged["run"]["tags"], json!(["after-update", "imported", "rack=7"]));
    ask("runs tag latest after-update --remove").run().assert_status(0);
    assert_eq!(listed("runs --tag rack=7"), these(&[4]));
    assert!(listed("runs --tag after-update").is_empty());
    ask(&format!("runs baseline {} golden", id(3))).run().assert_status(0);
    let baselines = ask("runs baseline latest golden").json();
    assert_eq!(baselines["baselines"].as_array().map(Vec::len), Some(1));
    let shown = ask("runs show golden").json();
    assert_eq!((&shown["result"], &shown["run"]["baselines"]), (&runs[4]["result"], &json!(["golden"])));
    ask("runs baseline --remove silver")
        .run()
        .assert_status(2)
        .assert_tells(&["no baseline is named 'silver'"]);
    // What means nothing, or too much.
    ask("runs show ffff").run().assert_status(2).assert_tells(&["no run 'ffff'", "sstsctl runs"]);
    ask("runs show 01a1fe64").run().assert_status(2).assert_tells(&["beginning of several runs"]);
    ask("runs rm").run().assert_status(2).assert_tells(&["no runs are named"]);
    ask("runs rm golden --yes")
        .run()
        .assert_status(2)
        .assert_tells(&["baseline 'golden'", "--remove golden"]);
    // An export holds what it is asked for.
    let exported = ground.path("exported.ssts");
    let line = format!("runs export {} --scenario quick", exported.display());
    assert_eq!(ask(&line).json()["runs"], 3);
    let other = ground.path("other.db");
    history(ground, &format!("runs import {}", exported.display()))
        .args(["--store", &other.display().to_string()])
        .run()
        .assert_status(0);
    let golden = history(ground, "runs show golden").args(["--store", &other.display().to_string()]).json();
    assert_eq!(golden["result"], runs[4]["result"]);
    assert_eq!(golden["run"]["tags"], json!(["imported", "rack=7"]));
    let torn = fs::read(&exported).expect("it was written");
    fs::write(&exported, &torn[..torn.len() - 3]).expect("it is ours");
    ask(&format!("runs import {}", exported.display()))
        .run()
        .assert_status(2)
        .assert_tells(&["cut off", "nothing was taken"]);
    // Removal by filter, and by retention.
    let dry = ask("runs rm --until 2026-11-01 --scenario quick --dry-run").json();
    assert_eq!((&dry["removed"], &dry["dry_run"]), (&json!(these(&[0])), &json!(true)));
    assert_eq!(listed("runs").len(), 5);
    ask("runs rm --until 2026-11-01 --scenario quick --yes").run().assert_status(0);
    assert_eq!(listed("runs"), these(&[4, 3, 2, 1]));
    let shown = ask("runs show latest").json();
    let two = shown["run"]["bytes"].as_u64().expect("a size") * 7 / 2;
    let pruned = ask(&format!("runs prune --keep-size {two} --save")).json();
    assert_eq!(pruned["removed"], json!(these(&[1])), "{pruned:#}");
    assert_eq!(pruned["retention"]["keep_bytes"], two);
    assert_eq!(ask("runs prune").json()["retention"]["keep_bytes"], two, "it was saved");
    assert_eq!(listed("runs"), these(&[4, 3, 2]));
    let pruned = ask("runs prune --keep-size none --keep-for none --save").json();
    assert_eq!((&pruned["removed"], pruned["retention"].get("keep_bytes")), (&json!([]), None));
}

/// In seconds after the first made-up run.
const DAYS: usize = 86_400;

/// A line of an export: a run that started so many seconds after 2026-10-01.
fn made_up(second: usize, scenario: &str, verdict: &str) -> Value {
    let (day, rest) = (second / DAYS, second % DAYS);
    let (month, day) = match day {
        0..31 => (10, day + 1),
        31..61 => (11, day - 30),
        _ => (12, day - 60),
    };
    json!({
        "tags": ["imported"], "client_version": "0.1.0", "kept_at": "2026-12-31T00:00:00Z",
        "result": {
            "run_id": format!("01a1fe64-fd15-7354-bafa-{second:012}"), "scenario": scenario, "verdict": verdict,
            "cause": "completed", "seed": u64::MAX, "duration_s": 18.5,
            "started_at": format!("2026-{month:02}-{day:02}T00:{:02}:{:02}.5Z", rest / 60, rest % 60),
            "hosts": [{
                "host": format!("lab-{}", second % 2), "verdict": verdict, "agent_version": "0.1.0",
                "telemetry": { "runqueue.latency": [
                    { "labels": {"cpu": "0"}, "unit": "ns", "samples": 9, "p50": 1500.25, "p99": second as f64 }
                ]},
                "burners": [{
                    "kind": "cpu", "phase": "p", "phase_index": 0, "burner_index": 0, "workers": 1, "cores": [0],
                    "operations": 7, "burning_s": 5.0, "rates": { "operations_per_s": 1.4 }, "errors": { "verify": 0 }
                }],
                "events": [], "probes": []
            }],
            "thresholds": []
        }
    })
}

/// As docs/history.md describes it.
fn export(ground: &Ground, name: &str, runs: &[Value]) -> String {
    let path = ground.path(name);
    let mut file = GzEncoder::new(fs::File::create(&path).expect("the ground is ours"), Compression::fast());
    let head = json!({ "format": "ssts-runs", "version": 1, "exported_at": "2026-12-31T00:00:00Z", "by": "a story" });
    let tail = json!({ "runs": runs.len() });
    for line in [&head].into_iter().chain(runs).chain([&tail]) {
        writeln!(file, "{line}").expect("the ground has room");
    }
    file.finish().expect("the ground has room");
    path.to_str().expect("it is ASCII").to_owned()
}
