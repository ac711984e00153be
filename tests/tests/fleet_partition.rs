//! The network between a fleet and its command comes apart: cables are taken out of hosts that burn in namespaces of their own.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{Ground, Rack, note, outside, outside::Process, privileged, tools};

const HOSTS: usize = 8;
/// The last three of them.
const CUT_OFF: Range<usize> = 5..HOSTS;
/// sstsctl's leases, and what a busy machine adds.
const TTL: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_millis(900);

fn each<'a>(result: &'a Value, key: &str) -> Vec<&'a str> {
    let hosts = result["hosts"].as_array().into_iter().flatten();
    hosts.map(|host| host[key].as_str().unwrap_or("nothing")).collect()
}

/// Takes the cables out, and waits until those hosts are quiet.
fn cut(rack: &Rack) {
    let burners: Vec<_> = CUT_OFF.flat_map(|host| rack.burners(host)).collect();
    assert_eq!(burners.len(), CUT_OFF.len());
    let begin = Instant::now();
    CUT_OFF.for_each(|host| rack.connect(host, false));
    let quiet = outside::within(TTL * 2, || !burners.iter().any(Process::is_alive));
    assert!(quiet.is_some(), "the load goes on without its owner");
    note(format_args!("quiet {:?} after the cut", begin.elapsed()));
    assert!(begin.elapsed() <= TTL + SLACK, "{:?}", begin.elapsed());
}

#[test]
fn hosts_whose_cables_are_out_end_with_their_leases_and_the_others_go_on() {
    if !privileged() || !tools(&["ip"]) {
        return;
    }
    let ground = Ground::new();
    let rack = Rack::new(&ground, HOSTS);
    let running = rack.ctl(&ground, "burn cpu --load 5 --tolerance 100 --duration 18s").spawn();
    rack.burn();
    cut(&rack);
    assert!((0..CUT_OFF.start).all(|host| rack.burners(host).len() == 1), "the others should go on");
    CUT_OFF.for_each(|host| rack.connect(host, true));
    let outcome = running.outcome();
    outcome.assert_status(4);
    let result = outcome.json();
    let causes = each(&result, "cause");
    assert_eq!(causes[..CUT_OFF.start], ["completed"; CUT_OFF.start], "{result:#}");
    assert_eq!(causes[CUT_OFF.start..], ["lease_expired"; CUT_OFF.end - CUT_OFF.start], "{result:#}");
    assert_eq!(each(&result, "fate"), ["ran"; HOSTS], "{result:#}");
}

#[test]
fn where_that_is_asked_the_others_stop_when_cables_are_out() {
    if !privileged() || !tools(&["ip"]) {
        return;
    }
    let ground = Ground::new();
    let rack = Rack::new(&ground, HOSTS);
    let burn = "burn cpu --load 5 --tolerance 100 --duration 2m --on-loss stop";
    let running = rack.ctl(&ground, burn).spawn();
    rack.burn();
    cut(&rack);
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    let fates = each(&result, "fate");
    assert_eq!(fates[CUT_OFF.start..], ["lost"; CUT_OFF.end - CUT_OFF.start], "{result:#}");
    let causes = each(&result, "cause");
    assert_eq!(causes[..CUT_OFF.start], ["stopped_by_user"; CUT_OFF.start], "{result:#}");
    let are_quiet = || (0..HOSTS).all(|host| rack.burners(host).is_empty());
    assert!(outside::within(TTL, are_quiet).is_some(), "some burn on");
}
