//! More hosts fail than is borne while others run: these are stopped, nobody begins any more, and the result says why.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{Hosts, note};

const BURN: &str = "burn cpu --cores 0 --load 5 --tolerance 100 --output json";
/// A stop and its proof on a busy machine; far from the minutes that are left of the runs, and from any lease.
const AT_ONCE: Duration = Duration::from_secs(6);

fn each<'a>(result: &'a Value, key: &str) -> Vec<&'a str> {
    let hosts = result["hosts"].as_array().into_iter().flatten();
    hosts.map(|host| host[key].as_str().unwrap_or("nothing")).collect()
}

/// A host's burner dies, and the host's run with it.
fn fail(hosts: &Hosts, index: usize) {
    hosts.daemon(index).burning(1)[0].kill();
}

fn assert_goes_on(hosts: &Hosts, indices: &[usize]) {
    thread::sleep(Duration::from_secs(1));
    for index in indices {
        assert_eq!(hosts.daemon(*index).burners().len(), 1, "host {index} was to go on");
    }
}

#[test]
fn a_failed_host_more_than_is_borne_stops_the_others() {
    let hosts = Hosts::new(4);
    let running = hosts.ctl().words(BURN).words("--duration 5m --max-failures 1").spawn();
    assert!(hosts.burn());
    fail(&hosts, 0);
    assert_goes_on(&hosts, &[1, 2, 3]);
    fail(&hosts, 1);
    let begin = Instant::now();
    let outcome = running.outcome();
    note(format_args!("over {:?} after the second host failed", begin.elapsed()));
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    let why = "2 of 4 hosts failed, and at most 1 may";
    outcome.assert_status(5).assert_tells(&[why, "all others are stopped"]);
    let result = outcome.json();
    assert_eq!(each(&result, "fate"), ["ran", "ran", "stopped", "stopped"], "{result:#}");
    let causes = ["burner_died", "burner_died", "stopped_by_user", "stopped_by_user"];
    assert_eq!(each(&result, "cause"), causes, "{result:#}");
    assert!(each(&result, "cause_message")[2..].iter().all(|message| message.contains(why)), "{result:#}");
    assert_eq!((&result["counts"]["error"], &result["counts"]["stopped"]), (&2.into(), &2.into()));
    let wave = &result["waves"][0];
    assert_eq!((&wave["cut_short"], &wave["passed"]), (&true.into(), &false.into()), "{result:#}");
    assert_eq!((&wave["counts"]["tried"], &wave["counts"]["failed"]), (&2.into(), &2.into()), "{result:#}");
    assert!(wave["reasons"][0].as_str().is_some_and(|reason| reason.starts_with(why)), "{result:#}");
    assert!(hosts.are_quiet_within(AT_ONCE));
    for index in [2, 3] {
        assert_eq!(hosts.latest(index)["receipt"], "clean");
    }
}

#[test]
fn a_share_is_one_of_all_hosts_of_the_wave_and_no_later_wave_begins() {
    let hosts = Hosts::new(4);
    let flags = "--duration 5m --wave 3,100% --max-failures 40%";
    let running = hosts.ctl().words(BURN).words(flags).spawn();
    (0..3).for_each(|index| drop(hosts.daemon(index).burning(1)));
    // One of one that came to an end, and one of three of the wave.
    fail(&hosts, 0);
    assert_goes_on(&hosts, &[1, 2]);
    fail(&hosts, 1);
    let begin = Instant::now();
    let outcome = running.outcome();
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    outcome.assert_status(5).assert_tells(&[
        "2 of 3 hosts failed, and at most 40% may",
        "wave 1 failed, and no later wave starts",
    ]);
    let result = outcome.json();
    assert_eq!(each(&result, "fate"), ["ran", "ran", "stopped", "not_tried"], "{result:#}");
    assert_eq!(result["waves"][1]["started"], false, "{result:#}");
    assert_eq!(hosts.latest(3), Value::Null, "its wave never began");
    assert!(hosts.are_quiet_within(AT_ONCE));
}

#[test]
fn without_a_word_the_hosts_of_a_wave_come_to_their_end() {
    let hosts = Hosts::new(2);
    let running = hosts.ctl().words(BURN).words("--duration 4s").spawn();
    assert!(hosts.burn());
    fail(&hosts, 0);
    let outcome = running.outcome();
    outcome.assert_status(5);
    assert_eq!(each(&outcome.json(), "cause"), ["burner_died", "completed"]);
}

#[test]
fn too_many_that_are_not_ready_keep_the_others_from_beginning() {
    let hosts = Hosts::new(2);
    let absent = ["one.sock", "two.sock"].map(|name| hosts.ground(0).path(name));
    let absent = absent.each_ref().map(std::path::PathBuf::as_path);
    let run = |borne: &str, duration: &str| {
        let flags = format!("--not-ready leave-out --max-failures {borne} --duration {duration}");
        hosts.ctl_with(&absent).words(BURN).words(&flags).run()
    };
    let outcome = run("1", "5m");
    outcome.assert_status(5).assert_tells(&["2 of 4 hosts failed, and at most 1 may"]);
    let result = outcome.json();
    assert_eq!(each(&result, "fate"), ["called_off", "called_off", "not_ready", "not_ready"], "{result:#}");
    for index in 0..2 {
        let run = hosts.latest(index);
        assert_eq!((&run["cause"], &run["receipt"]), (&"released".into(), &"clean".into()), "{run:#}");
    }
    // As many as are borne.
    let borne = run("50%", "1s");
    assert_eq!(each(&borne.json(), "fate"), ["ran", "ran", "not_ready", "not_ready"]);
    let detached = hosts.ctl().words(BURN).words("--duration 1s --detach --max-failures 1").run();
    detached.assert_status(2).assert_tells(&["nobody would be there to judge"]);
}
