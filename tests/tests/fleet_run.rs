//! One run on several hosts: all are made ready before any begins, all begin at one instant, and each has its own result.

use std::{os::unix::net::UnixListener, path::Path, thread, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use ssts_tests::{Ctl, Hosts, Pki, note, outside, tls_address, with_clock_off_by};

/// What is asked of hosts where their load is not what a story is about.
const BURN: &str = "burn cpu --cores 0 --load 5 --tolerance 100";
/// sstsctl's leases and holds.
const TTL: Duration = Duration::from_secs(10);

fn hosts(result: &Value) -> Vec<&Value> {
    result["hosts"].as_array().map(|hosts| hosts.iter().collect()).unwrap_or_default()
}

fn each<'a>(result: &'a Value, key: &str) -> Vec<&'a str> {
    hosts(result).into_iter().map(|host| host[key].as_str().unwrap_or("nothing")).collect()
}

/// Behind a millisecond on a quiet machine; here whatever a busy one makes of it, and far from what clocks are off by.
fn assert_began_together(result: &Value, count: u64) {
    let start = &result["start"];
    assert_eq!(start["hosts"], count, "{result:#}");
    let skew_s = start["skew_s"].as_f64().expect("it is a number");
    let error_s = start["error_s"].as_f64().expect("it is a number");
    note(format_args!("start skew {:.3} ms ± {:.3} ms", skew_s * 1e3, error_s * 1e3));
    assert!(skew_s < 2.0 && error_s < 2.0, "{start:#}");
}

#[test]
fn all_begin_at_one_instant_and_each_host_has_its_own_result() {
    let hosts_there = Hosts::new(3);
    let ground = hosts_there.ground(0);
    let report = ground.path("report");
    let run =
        hosts_there.ctl().words(BURN).words("--duration 2s --report").args([report.display().to_string()]);
    let outcome = run.args(["--output", "json"]).run();
    outcome.assert_status(0);
    let result = outcome.json();
    assert_eq!(each(&result, "verdict"), ["pass"; 3], "{result:#}");
    assert_eq!(each(&result, "fate"), ["ran"; 3], "{result:#}");
    let names: Vec<_> = (0..3).map(|index| hosts_there.name(index)).collect();
    assert_eq!(each(&result, "host"), names);
    assert_eq!((&result["counts"]["pass"], &result["verdict"]), (&3.into(), &Value::Null), "{result:#}");
    assert_began_together(&result, 3);
    // A page for each, and one that leads to them.
    let index = std::fs::read_to_string(report.join("index.html")).expect("it was written");
    let pages = std::fs::read_dir(report.join("hosts")).expect("it was made").flatten();
    let pages: Vec<_> = pages.map(|page| page.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(pages.len(), 3);
    for page in &pages {
        assert!(index.contains(&format!("hosts/{page}/report.html")), "{index}");
        assert!(report.join("hosts").join(page).join("report.html").exists());
    }
    // Each host's run is in the history, under one id.
    let id = result["run_id"].as_str().expect("it is text");
    let kept = Ctl::bare(ground).words("runs").json();
    let kept: Vec<_> = kept["runs"].as_array().into_iter().flatten().collect();
    assert_eq!(kept.len(), 3, "{kept:#?}");
    assert!(
        kept.iter().all(|run| run["run_id"].as_str().is_some_and(|kept| kept.starts_with(id))),
        "{kept:#?}"
    );
    // An id that hosts know is not started twice.
    hosts_there
        .ctl()
        .words(BURN)
        .args(["--duration", "1s", "--run-id", id])
        .run()
        .assert_status(2)
        .assert_tells(&["is known already"]);
    assert!(hosts_there.are_quiet_within(TTL));
}

#[test]
fn hosts_over_tcp_begin_together_too() {
    let ground = ssts_tests::Ground::new();
    let pki = Pki::new(&ground, "pki");
    let alice = pki.client(&ground, "alice", "operator");
    drop(ground.path("x"));
    let hosts_there = Hosts::configured(2, |_| pki.config(""));
    let addresses: Vec<_> = (0..2).map(|index| tls_address(hosts_there.daemon(index))).collect();
    let named = addresses.iter().flat_map(|address| ["--host".to_owned(), format!("https://{address}")]);
    let result = Ctl::bare(&ground)
        .args(["--pki", &alice.display().to_string()])
        .args(named)
        .words(BURN)
        .words("--duration 1s")
        .json();
    assert_eq!(each(&result, "verdict"), ["pass"; 2], "{result:#}");
    assert_began_together(&result, 2);
}

/// One is an hour behind, one is a minute and a half ahead: neither begins at its own idea of the time.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_off_are_seen_through() {
    let mut hosts_there = Hosts::new(3);
    for (index, ahead_s) in [(1, -3_600), (2, 90)] {
        let way = with_clock_off_by(hosts_there.ground(index), ahead_s * 1_000_000_000).await;
        hosts_there.lead(index, way);
    }
    let ctl = hosts_there.ctl().words(BURN).words("--duration 1s");
    let result = tokio::task::spawn_blocking(move || ctl.json()).await.expect("it does not panic");
    assert_eq!(each(&result, "verdict"), ["pass"; 3], "{result:#}");
    assert_began_together(&result, 3);
}

fn one_refuses() -> Hosts {
    Hosts::configured(3, |index| match index {
        1 => "[policy]\nmax_load_percent = 3\n".to_owned(),
        _ => String::new(),
    })
}

#[test]
fn where_a_host_refuses_all_are_called_off_and_nothing_stays_reserved() {
    let hosts_there = one_refuses();
    let outcome = hosts_there.ctl().words(BURN).words("--duration 30s --output json").run();
    outcome.assert_status(2);
    let result = outcome.json();
    assert_eq!(each(&result, "fate"), ["called_off", "not_ready", "called_off"], "{result:#}");
    assert!(
        result["hosts"][1]["problems"][0]["message"].as_str().is_some_and(|it| it.contains('5')),
        "{result:#}"
    );
    for index in [0, 2] {
        let run = hosts_there.latest(index);
        assert_eq!((&run["verdict"], &run["cause"]), (&"aborted".into(), &"released".into()), "{run:#}");
        assert_eq!(run["receipt"], "clean", "{run:#}");
    }
    assert!(hosts_there.are_quiet_within(Duration::from_secs(5)));
    // Their cores are free at once.
    Ctl::new(hosts_there.ground(0)).words(BURN).words("--duration 200ms").run().assert_status(0);
}

#[test]
fn where_a_host_refuses_it_can_be_left_out_by_name() {
    let hosts_there = one_refuses();
    let outcome =
        hosts_there.ctl().words(BURN).words("--duration 1s --not-ready leave-out --output json").run();
    // The others did what was asked, and the whole is no success.
    outcome.assert_status(2);
    let result = outcome.json();
    assert_eq!(each(&result, "fate"), ["ran", "not_ready", "ran"], "{result:#}");
    assert_eq!(each(&result, "verdict"), ["pass", "nothing", "pass"], "{result:#}");
    assert_eq!((&result["counts"]["pass"], &result["counts"]["not_ready"]), (&2.into(), &1.into()));
    assert!(hosts_there.are_quiet_within(Duration::from_secs(5)));
}

#[test]
fn a_host_that_is_not_there_is_named_and_the_others_are_released() {
    let hosts_there = Hosts::new(2);
    let nobody = hosts_there.ground(0).path("nobody.sock");
    let ctl = hosts_there.ctl_with(&[&nobody]).words(BURN).words("--duration 30s");
    ctl.run().assert_status(5).assert_tells(&["nobody.sock", "no sstsd listens", "mend"]);
    assert!(hosts_there.are_quiet_within(Duration::from_secs(5)));
}

/// Somebody who takes the connection and never says a word: others wait for him, ready.
fn mute(path: &Path) -> UnixListener {
    UnixListener::bind(path).expect("the folder is ours")
}

/// Between prepare and begin.
#[test]
fn hosts_let_go_of_what_was_prepared_when_nobody_begins_it() {
    let hosts_there = Hosts::new(2);
    let path = hosts_there.ground(0).path("mute.sock");
    let _listener = mute(&path);
    let running = hosts_there.ctl_with(&[&path]).words(BURN).words("--duration 1m").spawn();
    let is_held = |index: usize| hosts_there.latest(index)["state"] == "pending";
    let held = outside::within(Duration::from_secs(5), || (0..2).all(is_held));
    assert!(held.is_some(), "they should be held");
    running.signal(Signal::SIGKILL);
    drop(running);
    assert!(hosts_there.are_quiet_within(TTL * 3), "something is held for ever");
    for index in 0..2 {
        let run = hosts_there.latest(index);
        assert_eq!((&run["verdict"], &run["cause"]), (&"aborted".into(), &"not_begun".into()), "{run:#}");
        assert_eq!(run["receipt"], "clean", "{run:#}");
    }
}

/// At whatever it is doing just then.
#[test]
fn a_command_that_is_killed_on_its_way_leaves_no_host_with_load() {
    let hosts_there = Hosts::new(2);
    for after_ms in [5, 40, 120, 300, 700] {
        let running = hosts_there.ctl().words(BURN).words("--duration 1m").spawn();
        thread::sleep(Duration::from_millis(after_ms));
        running.signal(Signal::SIGKILL);
        drop(running);
    }
    assert!(hosts_there.are_quiet_within(TTL * 3), "something goes on");
    for index in 0..2 {
        let listed = Ctl::new(hosts_there.ground(index)).words("--store none runs").json();
        for run in listed["runs"].as_array().into_iter().flatten() {
            let cause = run["cause"].as_str().unwrap_or_default();
            assert!(["not_begun", "released", "lease_expired"].contains(&cause), "{run:#}");
            assert_eq!(run["receipt"], "clean", "{run:#}");
        }
    }
}

#[test]
fn ctrl_c_before_the_start_releases_and_during_the_run_stops_all() {
    let hosts_there = Hosts::new(2);
    let path = hosts_there.ground(0).path("mute.sock");
    let listener = mute(&path);
    let running = hosts_there.ctl_with(&[&path]).words(BURN).words("--duration 1m --output json").spawn();
    let is_held = |index: usize| hosts_there.latest(index)["state"] == "pending";
    assert!(outside::within(Duration::from_secs(5), || (0..2).all(is_held)).is_some());
    running.signal(Signal::SIGINT);
    let outcome = running.outcome();
    outcome.assert_status(130);
    assert_eq!(each(&outcome.json(), "fate")[..2], ["called_off"; 2]);
    assert_eq!(hosts_there.latest(0)["cause"], "released");
    drop(listener);

    let running = hosts_there.ctl().words(BURN).words("--duration 1m --output json").spawn();
    assert!(hosts_there.burn());
    running.signal(Signal::SIGINT);
    let outcome = running.outcome();
    outcome.assert_status(130);
    assert_eq!(each(&outcome.json(), "cause"), ["stopped_by_user"; 2]);
    assert!(hosts_there.are_quiet_within(Duration::from_secs(5)));
}

#[test]
fn two_commands_with_one_id_start_one_run() {
    let hosts_there = Hosts::new(2);
    let run =
        || hosts_there.ctl().words(BURN).words("--duration 6s --run-id only-once --output json").spawn();
    let both = [run(), run()].map(ssts_tests::Running::outcome);
    let won: Vec<_> = both.iter().filter(|outcome| outcome.status.code() == Some(0)).collect();
    // At worst each came first on one of them, and both called it off.
    assert!(won.len() <= 1, "{both:#?}");
    for index in 0..2 {
        let listed = Ctl::new(hosts_there.ground(index)).words("--store none runs").json();
        assert_eq!(listed["runs"].as_array().map(Vec::len), Some(1), "{listed:#}");
    }
    if let [won] = won[..] {
        assert_eq!(each(&won.json(), "verdict"), ["pass"; 2]);
    }
    assert!(hosts_there.are_quiet_within(TTL));
}

#[test]
fn another_command_adopts_a_run_whose_owner_died() {
    let hosts_there = Hosts::new(2);
    let running = hosts_there.ctl().words(BURN).words("--duration 18s --run-id orphan").spawn();
    assert!(hosts_there.burn());
    running.signal(Signal::SIGKILL);
    drop(running);
    // Far longer than the leases that are left.
    let outcome = hosts_there.ctl().words("watch orphan --adopt --output json").run();
    outcome.assert_status(0);
    assert_eq!(each(&outcome.json(), "verdict"), ["pass"; 2]);
    // An onlooker learns the end of it from any of them.
    let seen = hosts_there.ctl().words("watch orphan --output json").run();
    seen.assert_status(0);
    assert_eq!(each(&seen.json(), "cause"), ["completed"; 2]);
    hosts_there.ctl().words("watch nobody-knows").run().assert_status(2).assert_tells(&["none of 2 hosts"]);
}

#[test]
fn a_detached_run_on_a_fleet_ends_by_itself() {
    let hosts_there = Hosts::new(2);
    let outcome = hosts_there.ctl().words(BURN).words("--duration 2s --detach").run();
    outcome.assert_status(0).assert_tells(&["2 of 2 hosts"]);
    let id = outcome.stdout.trim().to_owned();
    let seen = hosts_there.ctl().args(["watch", &id, "--output", "json"]).run();
    seen.assert_status(0);
    assert_eq!(each(&seen.json(), "verdict"), ["pass"; 2]);
}
