//! A sink among hosts that mean it no good, or have gone: it goes on for the others.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ssts_tests::{OPEN_SINK, Side, TwoHosts, figure, note, outside};

/// The soft limit on the number of a process's descriptors.
fn limit_descriptors(pid: i32, most: usize) {
    let set = Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={most}:")]).output();
    let set = set.expect("prlimit can be executed");
    assert!(set.status.success(), "{set:?}");
}

/// One above the highest of its descriptors.
fn descriptors(pid: i32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is alive").flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse::<usize>().ok());
    numbers.max().expect("it has some") + 1
}

/// CPU time that it uses in a second, as a share of one core.
fn busy(process: outside::Process) -> f64 {
    let (begin, before) = (Instant::now(), process.cpu_time().expect("it is alive"));
    thread::sleep(Duration::from_secs(1));
    let used = process.cpu_time().expect("it is alive").saturating_sub(before);
    used.as_secs_f64() / begin.elapsed().as_secs_f64()
}

#[test]
fn a_sink_out_of_descriptors_says_so_does_not_spin_and_goes_on_when_there_are_some() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let sink = hosts.sink().expect("the sink runs");
    hosts.burner("--rate 10M --duration 200ms");
    let gone = || descriptors(sink.pid) < 20;
    assert!(outside::within(Duration::from_secs(5), gone).is_some(), "the session's are closed");
    let few = descriptors(sink.pid);

    // None for a control connection; one for that and none for what comes after it.
    for (left, reason) in [(0, "no file descriptor left"), (1, "Too many open files")] {
        limit_descriptors(sink.pid, few + left);
        hosts.burn("--rate 10M --duration 1s").run().assert_status(5).assert_tells(&[reason]);
    }
    limit_descriptors(sink.pid, few);
    let crowd = "for n in {1..40}; do exec {f}<>/dev/tcp/10.77.0.2/7471; done; sleep 2";
    thread::scope(|scope| {
        scope.spawn(|| hosts.wire.shell(Side::Near, crowd));
        thread::sleep(Duration::from_millis(300));
        let busy = busy(sink);
        note(format_args!("{:.1} % of a core while it has no descriptor", busy * 100.0));
        assert!(busy < 0.3, "it spins: {busy}");
    });
    // Connections that come faster than there are descriptors for.
    limit_descriptors(sink.pid, 1_024);
    let running = hosts.burn("--protocol connect --rate 100 --streams 4 --duration 4s --output json").spawn();
    hosts.near_daemon.burning(1);
    thread::sleep(Duration::from_millis(300));
    limit_descriptors(sink.pid, descriptors(sink.pid));
    let busy = busy(sink);
    note(format_args!("{:.1} % of a core while it can take no connection", busy * 100.0));
    limit_descriptors(sink.pid, 1_024);
    running.outcome();
    assert!(busy < 0.3, "it spins: {busy}");

    hosts.burner("--rate 10M --streams 4 --duration 300ms");
    assert_eq!(hosts.sink(), Some(sink), "it is the same process");
}

/// Where the soft limit is what most systems give, or less.
#[test]
fn streams_are_not_bounded_by_the_usual_limit_of_descriptors() {
    let Some(hosts) = TwoHosts::new(&format!("{OPEN_SINK}max_streams = 300\n")) else { return };
    for daemon in [&hosts.near_daemon, &hosts.far_daemon] {
        limit_descriptors(daemon.process().pid, 128);
    }
    let sink = hosts.sink().expect("the sink runs");
    sink.kill();
    let is_back = || hosts.sink().is_some_and(|new| new != sink);
    assert!(outside::within(Duration::from_secs(10), is_back).is_some());
    let passes = || hosts.burn("--rate 10M --duration 200ms").run().status.success();
    assert!(outside::within(Duration::from_secs(10), passes).is_some());
    hosts.burner("--rate 100M --streams 300 --duration 1s");
}

#[test]
fn silent_connections_of_one_address_do_not_keep_another_out() {
    let sink = "listen = [\"10.77.0.2:7471\"]\nallowed_peers = [\"10.77.0.0/24\"]\nmax_streams = 2\n";
    let Some(hosts) = TwoHosts::new(sink) else { return };
    // From 10.77.0.3; the burner is 10.77.0.1.
    let second = "ip addr add 10.77.0.3/24 dev wire && ip route add 10.77.0.2/32 dev wire src 10.77.0.3";
    let set = hosts.wire.shell(Side::Near, second);
    assert!(set.status.success(), "{set:?}");
    let crowd =
        "for n in {1..200}; do exec {f}<>/dev/tcp/10.77.0.2/7471; done; ip route del 10.77.0.2/32; sleep 2";
    thread::scope(|scope| {
        scope.spawn(|| hosts.wire.shell(Side::Near, crowd));
        let is_there = || {
            let route = hosts.wire.shell(Side::Near, "ip route get 10.77.0.2");
            !String::from_utf8_lossy(&route.stdout).contains("src 10.77.0.3")
        };
        assert!(outside::within(Duration::from_secs(20), is_there).is_some());
        let burner = hosts.burner("--rate 10M --duration 300ms");
        assert!(figure(&burner, "sink_received_bytes") > 0);
    });
    // What many caused is told as one.
    let log = hosts.far_daemon.log();
    assert!(log.contains("sessions of 10.77.0.3 are under way"), "{log}");
    let lines = log.lines().filter(|line| line.contains("10.77.0.3")).count();
    assert!(lines < 40, "{lines} lines of the log");
}

#[test]
fn strangers_are_told_once_and_not_two_hundred_times() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let sink = hosts.sink().expect("the sink runs");
    let add = "ip addr add 10.77.0.3/24 dev wire && ip route add 10.77.0.2/32 dev wire src 10.77.0.3";
    assert!(hosts.wire.shell(Side::Near, add).status.success());
    let crowd =
        "for n in {1..200}; do exec {f}<>/dev/tcp/10.77.0.2/7471 && head -c 64 <&$f | strings; done; true";
    let heard = hosts.wire.shell(Side::Near, crowd);
    note(format_args!(
        "{}",
        String::from_utf8_lossy(&heard.stdout).lines().take(2).collect::<Vec<_>>().join(" | ")
    ));
    assert!(hosts.wire.shell(Side::Near, "ip route del 10.77.0.2/32").status.success());
    hosts.burner("--rate 10M --duration 300ms");
    let log = hosts.far_daemon.log();
    assert!(log.contains("10.77.0.3 is in none of its networks"), "{log}");
    assert!(log.lines().filter(|line| line.contains("10.77.0.3")).count() < 40, "{log}");
    assert_eq!(hosts.sink(), Some(sink), "it is the same process");
}

/// The far end hears nothing any more, not even an end.
#[test]
fn a_burner_that_vanishes_gives_its_streams_back() {
    let Some(hosts) = TwoHosts::new(&format!("{OPEN_SINK}max_streams = 1\n")) else { return };
    for flags in ["--rate 10M", "--protocol udp --rate 10M", "--protocol rr", "--rate 10M --both"] {
        let running = hosts.burn(&format!("{flags} --duration 60s")).spawn();
        hosts.near_daemon.burning(1);
        thread::sleep(Duration::from_millis(500));
        hosts.wire.set_up(false);
        let established = || {
            let seen = hosts.wire.shell(Side::Far, "ss -tnH state established");
            String::from_utf8_lossy(&seen.stdout).lines().count()
        };
        let is_gone = outside::within(Duration::from_secs(30), || established() == 0);
        let is_gone = is_gone.unwrap_or_else(|| panic!("{flags}: the sink holds on to a peer that is gone"));
        note(format_args!("{flags}: given up after {is_gone:?}"));
        running.outcome().assert_status(5);
        hosts.wire.set_up(true);
        let passes = || hosts.burn("--rate 10M --duration 200ms").run().status.success();
        assert!(outside::within(Duration::from_secs(30), passes).is_some());
    }
}
