//! Hosts of a fleet that are not like the others: one far away, one too slow, one whose disk is full; and a command that dies while it
//! fetches what they remember.

use std::{fs, io::Write as _, thread, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use ssts_proto::{record::Reader, v1::record_item::Item};
use ssts_tests::{Ctl, Cuttable, Daemon, Ground, Hosts, Mount, privileged};

const BURN: &str = "burn cpu --cores 0 --load 5 --tolerance 100 --output json";

fn each<'a>(result: &'a Value, key: &str) -> Vec<&'a str> {
    let hosts = result["hosts"].as_array().into_iter().flatten();
    hosts.map(|host| host[key].as_str().unwrap_or("nothing")).collect()
}

#[test]
fn a_host_at_the_end_of_a_long_line_begins_with_the_others() {
    let mut hosts = Hosts::new(3);
    let line = Cuttable::to(hosts.ground(2));
    hosts.lead(2, line.socket.clone());
    line.delay(Duration::from_millis(150));
    let outcome = hosts.ctl().words(BURN).words("--duration 1s").run();
    outcome.assert_status(0);
    let result = outcome.json();
    assert_eq!(each(&result, "verdict"), ["pass"; 3], "{result:#}");
    let number = |host: usize, key: &str| result["hosts"][host][key].as_f64().expect("it is a number");
    // Half of the way there and back is not known, and that is told.
    assert!((0.1..2.0).contains(&number(2, "clock_error_s")), "{result:#}");
    assert!(number(0, "clock_error_s") < 0.1, "{result:#}");
    // An order on its way at that instant would be late by that much.
    assert!((0..3).all(|host| number(host, "start_skew_s").abs() < 0.1), "{result:#}");
}

#[test]
fn a_host_that_takes_too_long_is_left_out_by_name() {
    let mut hosts = Hosts::new(3);
    let line = Cuttable::to(hosts.ground(1));
    hosts.lead(1, line.socket.clone());
    line.delay(Duration::from_secs(2));
    let words = "--duration 1s --ready-within 1s --not-ready leave-out";
    let outcome = hosts.ctl().words(BURN).words(words).run();
    let result = outcome.json();
    assert_ne!(outcome.status.code(), Some(0), "{result:#}");
    assert_eq!(each(&result, "fate"), ["ran", "not_ready", "ran"], "{result:#}");
    assert_eq!(each(&result, "verdict"), ["pass", "nothing", "pass"], "{result:#}");
    line.delay(Duration::ZERO);
    assert!(hosts.are_quiet_within(Duration::from_secs(30)), "what was asked of it late goes on");
}

#[test]
fn a_host_whose_disk_is_full_is_left_out_by_name() {
    if !privileged() {
        return;
    }
    let hosts = Hosts::new(2);
    let ground = Ground::beside(hosts.ground(0));
    let state = Mount::tmpfs(ground.state(), 8 << 20);
    ground.configure("[observe]\nprobes = false\n");
    let daemon = Daemon::start_on_a_small_disk(&ground);
    let mut filler = fs::File::create(state.path().join("filler")).expect("there is room");
    while filler.write_all(&[1; 4096]).is_ok() {}
    let full = ground.socket();
    let ctl = hosts.ctl_with(&[&full]).words(BURN);
    let outcome = ctl.words("--duration 1s --not-ready leave-out").run();
    let result = outcome.json();
    assert_ne!(outcome.status.code(), Some(0), "{result:#}");
    assert_eq!(each(&result, "fate"), ["ran", "ran", "not_ready"], "{result:#}");
    outcome.assert_tells(&["No space left"]);
    assert_eq!(daemon.burners(), []);
    // Nor does it stand in the others' way when all are to be ready.
    let outcome = hosts.ctl_with(&[&full]).words(BURN).words("--duration 1s").run();
    assert_eq!(each(&outcome.json(), "fate"), ["called_off", "called_off", "not_ready"]);
    assert!(hosts.are_quiet_within(Duration::from_secs(5)));
}

#[test]
fn what_a_command_that_died_has_not_fetched_the_next_one_fetches() {
    const HOSTS: usize = 3;
    let hosts = Hosts::new(HOSTS);
    let store = hosts.ground(0).path("own.db").display().to_string();
    let records = hosts.ground(0).path("records");
    // Detached: nobody keeps their results yet.
    let mut ids = Vec::new();
    for round in 0..3 {
        let id = format!("night-{round}");
        hosts
            .ctl()
            .words(BURN)
            .words(&format!("--duration 500ms --detach --run-id {id}"))
            .run()
            .assert_status(0);
        thread::sleep(Duration::from_millis(700));
        assert!(hosts.are_quiet_within(Duration::from_secs(20)));
        ids.extend((0..HOSTS).map(|_| id.clone()));
    }
    let collect = || {
        let folder = records.display().to_string();
        hosts.ctl().args(["--store", &store, "--output", "json", "collect", "--records", &folder])
    };
    for after_ms in [20, 60, 100, 150, 250] {
        let running = collect().spawn();
        thread::sleep(Duration::from_millis(after_ms));
        running.signal(Signal::SIGKILL);
        drop(running);
    }
    collect().run().assert_status(0);
    let runs = Ctl::bare(hosts.ground(0)).args(["--store", &store]).words("runs").json();
    let mut kept: Vec<_> = runs["runs"]
        .as_array()
        .expect("there are")
        .iter()
        .map(|run| {
            run["run_id"].as_str().unwrap_or_default().split('@').next().unwrap_or_default().to_owned()
        })
        .collect();
    kept.sort();
    assert_eq!(kept, ids, "each once: {runs:#}");
    // Records are whole, and nothing else is left behind.
    let mut files = 0;
    for host in fs::read_dir(&records).expect("it was made").flatten() {
        for file in fs::read_dir(host.path()).expect("it is a folder").flatten() {
            let mut reader = Reader::default();
            reader.feed(&fs::read(file.path()).expect("it is there"));
            let mut is_closed = false;
            while let Some(item) = reader.next_item().expect("it is whole") {
                is_closed = matches!(item, Item::Tail(_));
            }
            assert!(is_closed, "{} has no end", file.path().display());
            files += 1;
        }
    }
    assert_eq!(files, ids.len());
}
