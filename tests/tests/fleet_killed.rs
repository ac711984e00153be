//! `sstsctl` is killed while it looks on, while it keeps a run that it adopted, and between two waves: what has an owner goes on,
//! and nothing else outlives its lease.

use std::{
    os::unix::net::UnixListener,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use ssts_tests::{Hosts, Running, note, outside, outside::Process};

const BURN: &str = "burn cpu --cores 0 --load 5 --tolerance 100";
/// sstsctl's leases and holds.
const TTL: Duration = Duration::from_secs(10);
/// The daemon's reaction, and what a busy machine adds.
const SLACK: Duration = Duration::from_secs(2);
/// A lease is renewed every two seconds, and may have been just so long ago.
const RENEWED: Duration = Duration::from_secs(3);

fn each<'a>(result: &'a Value, key: &str) -> Vec<&'a str> {
    let hosts = result["hosts"].as_array().into_iter().flatten();
    hosts.map(|host| host[key].as_str().unwrap_or("nothing")).collect()
}

fn kill(running: Running) {
    running.signal(Signal::SIGKILL);
    drop(running);
}

#[test]
fn a_run_goes_on_with_its_owner_when_those_who_watch_it_or_adopted_it_are_killed() {
    let hosts = Hosts::new(2);
    let owner = hosts.ctl().words(BURN).words("--duration 16s --run-id watched --output json").spawn();
    assert!(hosts.burn());
    let others = ["watch watched", "watch watched --adopt"].map(|words| hosts.ctl().words(words).spawn());
    // Longer than it takes an adopter to renew every lease once.
    thread::sleep(RENEWED);
    others.into_iter().for_each(kill);
    // The rest of it is longer than a lease.
    let outcome = owner.outcome();
    outcome.assert_status(0);
    assert_eq!(each(&outcome.json(), "cause"), ["completed"; 2]);
    assert!(hosts.are_quiet_within(SLACK));
}

#[test]
fn an_adopted_run_ends_with_its_leases_when_the_adopter_is_killed() {
    let hosts = Hosts::new(2);
    let owner = hosts.ctl().words(BURN).words("--duration 5m --run-id adopted").spawn();
    assert!(hosts.burn());
    kill(owner);
    let adopter = hosts.ctl().words("watch adopted --adopt").spawn();
    let burners: Vec<Process> = (0..2).flat_map(|index| hosts.daemon(index).burning(1)).collect();
    // Past what the owner's leases had left: it is the adopter that keeps them.
    thread::sleep(TTL + SLACK);
    assert!(burners.iter().all(Process::is_alive), "nobody adopted it");
    kill(adopter);
    let begin = Instant::now();
    let gone = outside::within(TTL * 2, || !burners.iter().any(Process::is_alive));
    let took = begin.elapsed();
    assert!(gone.is_some(), "the load goes on without anybody");
    note(format_args!("quiet {took:?} after the adopter was killed"));
    assert!((TTL - RENEWED..=TTL + SLACK).contains(&took), "{took:?}");
    assert!(hosts.are_quiet_within(SLACK));
    for index in 0..2 {
        let run = hosts.latest(index);
        assert_eq!((&run["verdict"], &run["cause"]), (&"aborted".into(), &"lease_expired".into()), "{run:#}");
        assert_eq!(run["receipt"], "clean", "{run:#}");
    }
}

/// The second wave is held up by a host that never answers: the first is over, and the next has not begun.
#[test]
fn no_host_begins_another_wave_when_the_coordinator_is_killed_between_two() {
    let mut hosts = Hosts::new(4);
    let mute = hosts.ground(1).path("mute.sock");
    let _listener = UnixListener::bind(&mute).expect("the folder is ours");
    hosts.lead(1, mute);
    let coordinator = hosts.ctl().words(BURN).words("--duration 1s --wave 1,3,100%").spawn();
    let is_between = || hosts.latest(0)["state"] == "finished" && hosts.latest(2)["state"] == "pending";
    assert!(outside::within(Duration::from_secs(20), is_between).is_some(), "{}", hosts.latest(2));
    kill(coordinator);
    assert!(hosts.are_quiet_within(TTL + SLACK), "something is held for ever");
    assert_eq!(hosts.latest(0)["verdict"], "pass");
    let held = hosts.latest(2);
    assert_eq!((&held["cause"], &held["receipt"]), (&"not_begun".into(), &"clean".into()), "{held:#}");
    // Whoever came later was never asked.
    thread::sleep(SLACK);
    for index in [1, 3] {
        assert_eq!(hosts.latest(index), Value::Null);
    }
    assert!((0..4).all(|index| hosts.daemon(index).burners().is_empty()), "something burns");
}
