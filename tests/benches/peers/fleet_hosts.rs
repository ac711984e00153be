//! Eight real agents, each in a network namespace, commanded over TLS: how far apart they begin, how soon all are quiet, how soon
//! those are that nobody reaches any more, and whether the odd one among eight is found.

use std::time::{Duration, Instant};

use ssts_tests::{Ground, Planted, Rack, outside, outside::Process};

use crate::{
    safety::percentile,
    table::{Figure, Pair, Table},
};

const HOSTS: usize = 8;
/// Eight instants each.
const STARTS: usize = 100;
const HALTS: usize = 20;
const PARTITIONS: usize = 7;
/// The last ones, and how many.
const CUT_OFF: usize = 3;
const PLANTED: usize = 20;
const SKEW_MS: f64 = 1.0;
const HALT_MS: f64 = 100.0;
/// What a run's lease is worth, and what may be added.
const LEASE: Duration = Duration::from_secs(10);
const LATE_MS: f64 = 100.0;

pub(crate) fn starts_and_halts(ground: &Ground, table: &mut Table) {
    let hosts = Rack::new(ground, HOSTS);
    let (mut skews_ms, mut spreads_ms, mut errors_ms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        // Little, for they share cores: who is first on one burns its part of a period before the next one gets there.
        let run = hosts.ctl(ground, "burn cpu --load 1 --tolerance 100 --duration 300ms").run();
        run.assert_status(0);
        let result = run.json();
        for host in result["hosts"].as_array().into_iter().flatten() {
            skews_ms.extend(host["start_skew_s"].as_f64().map(|s| s.abs() * 1e3));
            errors_ms.extend(host["clock_error_s"].as_f64().map(|s| s * 1e3));
        }
        spreads_ms.extend(result["start"]["skew_s"].as_f64().map(|s| s * 1e3));
    }
    assert!(!skews_ms.is_empty() && !spreads_ms.is_empty(), "no skew is told");
    let errors = percentile(&errors_ms, 0.99);
    for (name, values) in [
        ("8 agents: start, off the instant named, p99", &skews_ms),
        ("8 agents: start, first to last, p99", &spreads_ms),
    ] {
        let more = format!("; clocks known to {errors:.3} ms, p99");
        let pair = Pair { ours: vec![percentile(values, 0.99)], peer: Vec::new(), note: note(values, &more) };
        table.add_figure(Figure { at_most: Some(SKEW_MS), ..Figure::new(name, "ms", "", pair) });
    }
    halts(ground, &hosts, table);
}

/// What is said beside a figure of so many values.
fn note(values: &[f64], more: &str) -> Option<String> {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| percentile(values, share));
    Some(format!("p50 {p50:.3}, p99 {p99:.3}, max {max:.3} of {}{more}", values.len()))
}

/// Each core of the machine has more than one of them that wants all of it.
fn halts(ground: &Ground, hosts: &Rack, table: &mut Table) {
    let (mut quiet_ms, mut left) = (Vec::new(), 0);
    for _ in 0..HALTS {
        hosts.ctl(ground, "burn cpu --tolerance 100 --duration 10m --detach").run().assert_status(0);
        hosts.burn();
        let halted = hosts.ctl(ground, "halt --all --reason bench").run();
        halted.assert_status(0);
        left += left_on(hosts, 0..HOSTS).len();
        let told = halted.json();
        let after = told["hosts"].as_array().into_iter().flatten();
        let after = after.filter_map(|host| host["answer"]["confirmed_after_s"].as_f64());
        quiet_ms.push(after.fold(0.0, f64::max) * 1e3);
        hosts.ctl(ground, "halt --all --clear").run().assert_status(0);
    }
    let more = "; from the command's own start to the last confirmation; stress-ng by ssh is not compared";
    let pair =
        Pair { ours: vec![percentile(&quiet_ms, 0.99)], peer: Vec::new(), note: note(&quiet_ms, more) };
    let name = "8 agents at full load: halt to all quiet, p99";
    table.add_figure(Figure { at_most: Some(HALT_MS), ..Figure::new(name, "ms", "", pair) });
    let pair = Pair { ours: vec![left as f64], ..Pair::default() };
    table.add_figure(Figure {
        at_most: Some(0.0),
        ..Figure::new("burners left when all have confirmed", "left", "", pair)
    });
}

fn left_on(hosts: &Rack, which: std::ops::Range<usize>) -> Vec<Process> {
    which.flat_map(|host| hosts.burners(host)).collect()
}

/// Cables of some are taken out, and put back when they are quiet. The others go on to the end.
pub(crate) fn partitions(ground: &Ground, table: &mut Table) {
    let hosts = Rack::new(ground, HOSTS);
    let (mut after_ms, mut others) = (Vec::new(), 0);
    for _ in 0..PARTITIONS {
        let running = hosts.ctl(ground, "burn cpu --tolerance 100 --duration 14s").spawn();
        hosts.burn();
        let cut_off = HOSTS - CUT_OFF..HOSTS;
        let burners = left_on(&hosts, cut_off.clone());
        let begin = Instant::now();
        cut_off.clone().for_each(|host| hosts.connect(host, false));
        let quiet = outside::within(LEASE * 2, || !burners.iter().any(Process::is_alive));
        assert!(quiet.is_some(), "the load goes on without its owner");
        after_ms.push((begin.elapsed().as_secs_f64() - LEASE.as_secs_f64()) * 1e3);
        others += usize::from(left_on(&hosts, 0..cut_off.start).len() != cut_off.start);
        cut_off.for_each(|host| hosts.connect(host, true));
        let result = running.outcome().json();
        let causes = result["hosts"].as_array().into_iter().flatten().map(|host| &host["cause"]);
        others += usize::from(causes.filter(|cause| *cause == "completed").count() != HOSTS - CUT_OFF);
    }
    let more = "; from the cut, less the lease of 10 s: below 0, for the lease was renewed before the cut";
    let pair = Pair { ours: vec![percentile(&after_ms, 1.0)], peer: Vec::new(), note: note(&after_ms, more) };
    let name = "3 of 8 agents cut off: quiet after the lease, at most";
    table.add_figure(Figure { at_most: Some(LATE_MS), ..Figure::new(name, "ms", "", pair) });
    let pair = Pair { ours: vec![others as f64], ..Pair::default() };
    let name = "3 of 8 agents cut off: times that others did not go on to their end";
    table.add_figure(Figure { at_most: Some(0.0), ..Figure::new(name, "times", "", pair) });
}

/// How often the host that can't do what all are asked for stands first.
pub(crate) fn planted(ground: &Ground, table: &mut Table) {
    for (name, planted) in [
        ("a slow disk", Planted::with_slow_disk as fn(Ground) -> Option<Planted>),
        ("others on its core", Planted::with_competitors),
    ] {
        let Some(fleet) = planted(Ground::beside(ground)) else {
            println!("no host can be given {name} here");
            continue;
        };
        let missed = (0..PLANTED).filter(|_| !Planted::is_first(&fleet.run(&[])["odd"])).count();
        let pair = Pair { ours: vec![missed as f64], ..Pair::default() };
        let name = format!("1 of 8 agents has {name}: times of {PLANTED} that it is not ranked first");
        table.add_figure(Figure { at_most: Some(0.0), ..Figure::new(name, "times", "", pair) });
    }
}
