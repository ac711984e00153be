//! A host of a fleet run is lost: its load ends by itself, the others go on or stop as asked, and when it is back its end is told.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{Cuttable, Hosts, note, outside, outside::Process};

/// sstsctl's leases, and what a busy machine adds.
const TTL: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_millis(900);

const BURN: &str = "burn cpu --cores 0 --load 5 --tolerance 100";

fn each<'a>(result: &'a Value, key: &str) -> Vec<&'a str> {
    let hosts = result["hosts"].as_array().into_iter().flatten();
    hosts.map(|host| host[key].as_str().unwrap_or("nothing")).collect()
}

fn gone_within(burners: &[Process], begin: Instant) -> Duration {
    let gone = outside::within(TTL * 2, || !burners.iter().any(Process::is_alive));
    assert!(gone.is_some(), "the load goes on without its owner");
    begin.elapsed()
}

#[test]
fn a_host_that_is_cut_off_is_quiet_within_its_lease_and_reconciled_when_it_is_back() {
    let mut hosts = Hosts::new(3);
    let line = Cuttable::to(hosts.ground(2));
    hosts.lead(2, line.socket.clone());
    let running = hosts.ctl().words(BURN).words("--duration 18s --output json").spawn();
    assert!(hosts.burn());
    let burners = hosts.daemon(2).burning(1);
    line.set_cut(true);
    let took = gone_within(&burners, Instant::now());
    note(format_args!("quiet {took:?} after the cut"));
    assert!(took <= TTL + SLACK, "{took:?}");
    // The others don't know.
    assert!((0..2).all(|index| hosts.daemon(index).burners().len() == 1), "the others should go on");
    line.set_cut(false);
    let outcome = running.outcome();
    outcome.assert_status(4).assert_tells(&["lost, and tried again", "back"]);
    let result = outcome.json();
    assert_eq!(each(&result, "cause"), ["completed", "completed", "lease_expired"], "{result:#}");
    assert_eq!(each(&result, "fate"), ["ran"; 3], "{result:#}");
    assert_eq!(result["hosts"][2]["receipt"]["state"], "clean", "{result:#}");
}

#[test]
fn the_others_stop_where_that_is_asked_and_a_host_that_stays_away_is_told_as_lost() {
    let mut hosts = Hosts::new(2);
    let line = Cuttable::to(hosts.ground(1));
    hosts.lead(1, line.socket.clone());
    let running = hosts.ctl().words(BURN).words("--duration 2m --on-loss stop --output json").spawn();
    assert!(hosts.burn());
    line.set_cut(true);
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(each(&result, "fate"), ["ran", "lost"], "{result:#}");
    assert_eq!(result["hosts"][0]["cause"], "stopped_by_user", "{result:#}");
    let why = result["hosts"][0]["cause_message"].as_str().unwrap_or_default();
    assert!(why.contains("was lost"), "{result:#}");
    assert!(hosts.are_quiet_within(TTL * 2));
    // What became of it can be asked later.
    line.set_cut(false);
    let id = result["run_id"].as_str().expect("it is text");
    let seen = hosts.ctl().args(["watch", id, "--output", "json"]).run();
    seen.assert_status(4);
    assert_eq!(each(&seen.json(), "cause"), ["stopped_by_user", "lease_expired"]);
}

#[test]
fn a_daemon_that_died_is_told_by_its_own_record_when_it_is_back() {
    let mut hosts = Hosts::new(2);
    let running = hosts.ctl().words(BURN).words("--duration 12s --output json").spawn();
    assert!(hosts.burn());
    hosts.daemon(1).burning(1);
    hosts.kill(1);
    thread::sleep(Duration::from_secs(1));
    hosts.revive(1);
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(each(&result, "cause"), ["completed", "agent_lost"], "{result:#}");
    assert!(hosts.are_quiet_within(TTL));
}

#[test]
fn a_daemon_that_ends_while_a_run_is_prepared_has_released_it() {
    let mut hosts = Hosts::new(1);
    let path = hosts.ground(0).path("mute.sock");
    let _mute = std::os::unix::net::UnixListener::bind(&path).expect("the folder is ours");
    let running = hosts.ctl_with(&[&path]).words(BURN).words("--duration 1m --output json").spawn();
    let is_held = || hosts.latest(0)["state"] == "pending";
    assert!(outside::within(Duration::from_secs(5), is_held).is_some());
    hosts.kill(0);
    hosts.revive(0);
    let run = hosts.latest(0);
    assert_eq!((&run["verdict"], &run["cause"]), (&"aborted".into(), &"released".into()), "{run:#}");
    running.outcome().assert_status(5);
    assert!(hosts.are_quiet_within(TTL));
}
