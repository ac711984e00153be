//! Two hosts, as far as the kernel is concerned: a burner at one end of a cable, a sink at the other.

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, OPEN_SINK, Side, TwoHosts, count, figure, note, outside};

/// Whether two numbers differ by at most so many percent of the second.
fn near(one: u64, other: u64, percent: f64) -> bool {
    (one as f64 - other as f64).abs() <= other as f64 * percent / 100.0
}

#[test]
fn tcp_is_counted_alike_here_there_and_by_the_kernel() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let before = hosts.wire.counter(Side::Far, "rx", "bytes");
    let burner = hosts.burner("--rate 200M --streams 2 --duration 2s");
    let seen = hosts.wire.counter(Side::Far, "rx", "bytes") - before;
    let (bytes, there) = (count(&burner, "bytes"), figure(&burner, "sink_received_bytes"));
    note(format_args!("{bytes} bytes sent, {there} arrived, {seen} on the wire"));
    assert!(near(bytes, 50_000_000, 5.0), "the rate is 25 Mbyte/s: {burner:#}");
    assert!(near(there, bytes, 1.0), "{burner:#}");
    // Frames carry headers, and the control connection's few.
    assert!((bytes..bytes + bytes / 10 + 100_000).contains(&seen), "{seen} of {bytes}");
}

#[test]
fn both_directions_flow_at_once() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let before = hosts.wire.counter(Side::Near, "rx", "bytes");
    let burner = hosts.burner("--rate 80M --both --duration 2s");
    let seen = hosts.wire.counter(Side::Near, "rx", "bytes") - before;
    let (there, back) = (figure(&burner, "sink_received_bytes"), figure(&burner, "returned_bytes"));
    assert!(near(there, 20_000_000, 10.0) && near(back, 20_000_000, 10.0), "{burner:#}");
    assert!(near(count(&burner, "bytes"), there + back, 2.0), "{burner:#}");
    assert!(seen >= back, "{seen} of {back}");
    let burner = hosts.burner("--protocol udp --rate 20M --both --duration 1s");
    let (there, back) = (figure(&burner, "sink_received"), figure(&burner, "returned_received"));
    assert!(near(there, 1_726, 15.0) && near(back, 1_726, 15.0), "{burner:#}");
}

#[test]
fn without_copying_as_much_arrives_and_what_the_kernel_copies_all_the_same_is_told() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let rate = "--rate 200M --streams 2 --packet 64KiB --duration 1s --output json";
    for (how, flags) in
        [("sendfile", "--zerocopy"), ("sendfile", "--zerocopy sendfile"), ("MSG_ZEROCOPY", "--zerocopy msg")]
    {
        let outcome = hosts.burn(&format!("{flags} {rate}")).run();
        outcome.assert_status(0);
        let result = outcome.json();
        let (host, burner) = (&result["hosts"][0], &result["hosts"][0]["burners"][0]);
        assert!(burner["variant"].as_str().is_some_and(|words| words.contains(how)), "{burner:#}");
        let there = figure(burner, "sink_received_bytes");
        assert!(near(there, 25_000_000, 10.0) && near(there, count(burner, "bytes"), 2.0), "{burner:#}");
        let is_told = host["events"].to_string().contains("the kernel copies what MSG_ZEROCOPY sends");
        assert_eq!(is_told, how == "MSG_ZEROCOPY", "{result:#}");
        if how == "MSG_ZEROCOPY" {
            // A virtual cable leads to the same kernel, which copies what is delivered to it.
            let (sends, copied) = (figure(burner, "zerocopy_sends"), figure(burner, "zerocopy_copied"));
            assert!(copied == sends && near(sends, count(burner, "operations"), 5.0), "{burner:#}");
        }
    }
    // As much as goes: the error queue has to be emptied for it to go on.
    let burner = hosts.burner("--zerocopy msg --packet 1000 --duration 1s");
    assert!(figure(&burner, "zerocopy_sends") > 1_000, "{burner:#}");
    let burner = hosts.burner("--zerocopy msg --both --rate 50M --duration 1s");
    assert!(near(figure(&burner, "returned_bytes"), 6_250_000, 15.0), "{burner:#}");
}

#[test]
fn sockets_have_the_buffers_and_the_congestion_control_that_were_asked() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let running =
        hosts.burn("--rate 10M --streams 2 --buffer 300KiB --congestion reno --duration 60s").spawn();
    hosts.near_daemon.burning(1);
    let sockets = |side| {
        let seen =
            hosts.wire.shell(side, "ss -tnHOmi state established '( sport != :7471 and dport != :7471 )'");
        String::from_utf8_lossy(&seen.stdout).into_owned()
    };
    let (near, far) = (sockets(Side::Near), sockets(Side::Far));
    // The kernel doubles what is asked: socket(7).
    for (side, sockets) in [("near", &near), ("far", &far)] {
        let sizes = sockets.lines().filter(|line| line.contains("rb614400") && line.contains("tb614400"));
        assert_eq!(sizes.count(), 2, "{side}: {sockets}");
    }
    assert_eq!(near.lines().filter(|line| line.contains(" reno ")).count(), 2, "{near}");
    Ctl::new(&hosts.near).words("stop").run().assert_status(0);
    running.outcome().assert_status(4);
    let outcome = hosts.burn("--congestion nonesuch --duration 1s").run();
    outcome.assert_status(2).assert_tells(&["--congestion", "nonesuch", "reno"]);
}

/// A queue that overflows is where datagrams are lost in earnest. What the kernel counted at the far end arrived.
#[test]
fn datagrams_that_a_full_queue_drops_are_lost_and_no_others() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let burner = hosts.burner("--protocol udp --rate 8M --duration 2s");
    let sent = figure(&burner, "sent");
    assert!(near(sent, 1_381, 3.0), "8 Mbit/s in 1,448 bytes: {burner:#}");
    assert_eq!((figure(&burner, "sink_received"), figure(&burner, "lost")), (sent, 0), "{burner:#}");

    // Longer than the link carries in one frame.
    let burner = hosts.burner("--protocol udp --rate 200M --packet 8000 --duration 500ms");
    assert!(near(figure(&burner, "sent"), 1_562, 10.0), "{burner:#}");
    assert_eq!(
        figure(&burner, "sink_received") + figure(&burner, "lost"),
        figure(&burner, "sent"),
        "{burner:#}"
    );
    assert!(near(figure(&burner, "sink_received"), figure(&burner, "sent"), 5.0), "{burner:#}");

    let slow = hosts.wire.shell(Side::Near, "tc qdisc add dev wire root tbf rate 4mbit burst 8k limit 16k");
    assert!(slow.status.success(), "{slow:?}");
    let before = hosts.wire.counter(Side::Far, "rx", "packets");
    let burner = hosts.burner("--protocol udp --rate 8M --duration 2s");
    let seen = hosts.wire.counter(Side::Far, "rx", "packets") - before;
    let (sent, there, lost) =
        (figure(&burner, "sent"), figure(&burner, "sink_received"), figure(&burner, "lost"));
    note(format_args!("{sent} sent, {there} arrived, {lost} lost; {seen} packets seen"));
    assert_eq!(there + lost, sent, "{burner:#}");
    assert!(near(lost, sent / 2, 20.0), "half of it fits: {burner:#}");
    // The control connection's packets, ARP and the stragglers beyond the end are in the kernel's count.
    assert!(seen >= there && seen - there < 100, "{seen} packets for {there} datagrams");
    assert!(figure(&burner, "jitter") > 0);
}

/// A datagram of which the socket's buffer can't hold all fragments: the kernel takes none of it.
#[test]
fn datagrams_that_the_kernel_has_no_buffers_for_are_told_and_not_counted_as_sent() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let flags = "--protocol udp --packet 60000 --rate 20M --duration 1s --output json";
    let before = hosts.wire.counter(Side::Far, "rx", "bytes");
    let outcome = hosts.burn(&format!("{flags} --buffer 4KiB")).run();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(result["cause"], "nothing_done", "{result:#}");
    let burner = &result["hosts"][0]["burners"][0];
    assert_eq!((figure(burner, "sent"), &burner["bytes"]), (0, &Value::Null), "{burner:#}");
    // Each try is a millisecond after the one before, and no core is burnt by trying.
    assert!((10..=1_100).contains(&figure(burner, "no_buffers")), "{burner:#}");
    let seen = hosts.wire.counter(Side::Far, "rx", "bytes") - before;
    assert!(seen < 60_000, "{seen} bytes came");
    let outcome = hosts.burn(&format!("{flags} --buffer 1MiB")).run();
    outcome.assert_status(0);
    let burner = outcome.json()["hosts"][0]["burners"][0].take();
    assert_eq!(figure(&burner, "no_buffers"), 0, "{burner:#}");
    assert_eq!(figure(&burner, "sink_received") + figure(&burner, "lost"), figure(&burner, "sent"));
}

/// What was due before its worker had its core was due all the same.
#[test]
fn a_request_rate_counts_from_the_phases_beginning() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let burner = hosts.burner("--protocol rr --rate 2000 --streams 2 --duration 1s");
    // Those that are due at its very ends may be in or out.
    assert!((1_998..=2_002).contains(&count(&burner["latency_ns"], "count")), "{burner:#}");
    assert!((burner["burning_s"].as_f64().unwrap_or_default() - 1.0).abs() < 0.05, "{burner:#}");
}

#[test]
fn a_request_rate_is_open_loop_so_that_a_stall_shows_in_every_request_it_delays() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let sink = hosts.sink().expect("the sink runs");
    let running = hosts.burn("--protocol rr --rate 500 --duration 3s --output json").spawn();
    assert!(outside::within(Duration::from_secs(10), || hosts.near_daemon.burners().len() == 1).is_some());
    thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(sink.pid), Signal::SIGSTOP).expect("it is there");
    thread::sleep(Duration::from_millis(600));
    kill(Pid::from_raw(sink.pid), Signal::SIGCONT).expect("it is there");
    let outcome = running.outcome();
    outcome.assert_status(0);
    let burner = outcome.json()["hosts"][0]["burners"][0].take();
    let latency = &burner["latency_ns"];
    // Those that are due at its very ends may be in or out.
    assert!((1_498..=1_502).contains(&count(latency, "count")), "none was left out: {burner:#}");
    assert!(count(latency, "max") >= 500_000_000, "{burner:#}");
    // A fifth of the requests fell into the stall, half of those waited for more than half of it.
    assert!(count(latency, "p90") >= 100_000_000, "{burner:#}");
    assert!(count(latency, "p50") < 100_000_000, "{burner:#}");
}

#[test]
fn connections_are_made_at_the_rate_asked() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let burner = hosts.burner("--protocol connect --rate 200 --streams 4 --duration 2s");
    assert!(near(count(&burner, "operations"), 400, 3.0), "{burner:#}");
    assert_eq!(count(&burner, "operations"), figure(&burner, "sink_received"), "{burner:#}");
    assert_eq!(burner["errors"]["io"], Value::Null, "none failed: {burner:#}");
}

#[test]
fn the_sink_refuses_what_is_beyond_its_caps_and_says_both_values() {
    let caps = "max_rate_bits_per_s = 50_000_000\nmax_streams = 2\nmax_duration = \"4s\"\n";
    let Some(hosts) = TwoHosts::new(&format!("{OPEN_SINK}{caps}")) else { return };
    for (flags, words) in [
        ("--rate 60M --duration 1s", ["60000000", "max_rate_bits_per_s of 50000000"]),
        ("--protocol udp --rate 60M --duration 1s", ["60000000", "max_rate_bits_per_s of 50000000"]),
        ("--streams 3 --duration 1s", ["3 streams", "max_streams of 2"]),
        ("--duration 5s", ["5s", "max_duration of 4s"]),
    ] {
        let outcome = hosts.burn(flags).run();
        outcome.assert_status(5).assert_tells(&["10.77.0.2:7471 refused"]).assert_tells(&words);
    }
    // Without a rate of its own, TCP is slowed down to the cap where it arrives, and UDP is told it.
    for flags in ["--streams 2 --duration 2s", "--protocol udp --duration 2s"] {
        let burner = hosts.burner(flags);
        let there = figure(&burner, "sink_received_bytes");
        assert!((8_000_000..=13_500_000).contains(&there), "6.25 Mbyte/s for 2 s: {burner:#}");
    }
}

#[test]
fn who_is_not_allowed_is_refused_at_either_end() {
    let Some(hosts) = TwoHosts::new("listen = [\"10.77.0.2:7471\"]\nallowed_peers = [\"10.78.0.0/16\"]\n")
    else {
        return;
    };
    let outcome = hosts.burn("--duration 1s").run();
    outcome.assert_status(5).assert_tells(&["10.77.0.1", "10.78.0.0/16", "network.sink.allowed_peers"]);
    let outcome = Ctl::new(&hosts.near).words("burn network --peer 10.99.0.1 --duration 1s").run();
    outcome.assert_status(2).assert_tells(&["--peer", "10.99.0.1", "network.allowed_peers = [10.77.0.0/24]"]);
}

#[test]
fn nobody_listens_unless_configured_and_that_is_told_at_once() {
    let Some(hosts) = TwoHosts::new("") else { return };
    let listening =
        hosts.wire.shell(Side::Far, "cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp | grep -c ' 0A '");
    assert_eq!(String::from_utf8_lossy(&listening.stdout).trim(), "0");
    assert!(hosts.sink().is_none());
    let begin = Instant::now();
    let outcome = hosts.burn("--duration 10s").run();
    outcome.assert_status(5).assert_tells(&["no sink answers at 10.77.0.2:7471", "[network.sink]"]);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

fn ends_with_peer_lost(hosts: &TwoHosts, flags: &str, limit: Duration, break_it: impl FnOnce()) {
    let running = hosts.burn(&format!("{flags} --duration 60s --output json")).spawn();
    hosts.near_daemon.burning(1);
    thread::sleep(Duration::from_millis(700));
    break_it();
    let begin = Instant::now();
    let outcome = running.outcome();
    assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!((&result["verdict"], &result["cause"]), (&"error".into(), &"peer_lost".into()), "{result:#}");
    let message = result["cause_message"].as_str().expect("it is text");
    assert!(message.contains("10.77.0.2:7471"), "{message}");
    let bytes = figure(&result["hosts"][0]["burners"][0], "sink_received_bytes");
    assert!(bytes > 0, "what was counted so far stands: {result:#}");
    assert_eq!(hosts.near_daemon.burners(), []);
}

#[test]
fn a_sink_that_dies_ends_the_run_and_is_there_for_the_next() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    for flags in ["--rate 100M", "--protocol udp --rate 100M", "--protocol rr"] {
        let sink = hosts.sink().expect("the sink runs");
        ends_with_peer_lost(&hosts, flags, Duration::from_secs(4), || sink.kill());
        let is_back = || hosts.sink().is_some_and(|new| new != sink);
        assert!(outside::within(Duration::from_secs(10), is_back).is_some());
        thread::sleep(Duration::from_millis(300));
    }
    hosts.burner("--rate 10M --duration 300ms");
}

#[test]
fn a_cable_that_is_pulled_ends_the_run() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    for flags in ["--rate 100M", "--protocol udp --rate 100M", "--protocol rr"] {
        ends_with_peer_lost(&hosts, flags, Duration::from_secs(9), || hosts.wire.set_up(false));
        hosts.wire.set_up(true);
        // The address went with nothing: only the link was down.
        let passes = || hosts.burn("--rate 10M --duration 200ms").run().status.success();
        assert!(outside::within(Duration::from_secs(30), passes).is_some());
    }
}

#[test]
fn garbage_on_the_control_port_harms_nobody() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let sink = hosts.sink().expect("the sink runs");
    for (command, what) in [
        ("head -c 100000 /dev/urandom >/dev/tcp/10.77.0.2/7471; true", "noise"),
        (
            "printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >/dev/tcp/10.77.0.2/7471; true",
            "another protocol",
        ),
        ("for n in 1 2 3 4 5 6 7 8; do exec {f}<>/dev/tcp/10.77.0.2/7471; done; sleep 1", "silence"),
    ] {
        let sent = hosts.wire.shell(Side::Near, command);
        assert!(sent.status.success(), "{what}: {sent:?}");
    }
    let burner = hosts.burner("--rate 10M --duration 500ms");
    assert!(figure(&burner, "sink_received_bytes") > 0);
    assert_eq!(hosts.sink(), Some(sink), "it is the same process");
}

#[test]
fn requests_far_beyond_what_the_path_carries_are_counted_as_unanswered() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let burner = hosts.burner("--protocol rr --rate 100000000 --tolerance 100 --packet 1 --duration 1s");
    let (sent, unanswered) = (figure(&burner, "sent"), figure(&burner, "unanswered"));
    let all = count(&burner, "operations") + unanswered;
    assert!(near(all, 100_000_000, 1.0), "{burner:#}");
    assert!(unanswered > 0 && sent <= all, "{burner:#}");
    assert_eq!(count(&burner["latency_ns"], "count"), all, "{burner:#}");
}

#[test]
fn a_sink_without_its_port_is_told_before_the_daemon_serves() {
    let ground = Ground::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound");
    ground.configure(&format!("[observe]\nprobes = false\n[network.sink]\nlisten = [\"{address}\"]\n"));
    let (status, text) = Daemon::refusal(Daemon::command(&ground));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("network.sink.listen") && text.contains(&address.to_string()), "{text}");
}

#[test]
fn a_halt_closes_the_sink_and_a_killed_daemon_takes_it_along() {
    let Some(mut hosts) = TwoHosts::new(OPEN_SINK) else { return };
    ends_with_peer_lost(&hosts, "--rate 50M", Duration::from_secs(4), || {
        Ctl::new(&hosts.far).words("halt").run().assert_status(0);
    });
    hosts.burn("--duration 1s").run().assert_status(5).assert_tells(&["its host is halted"]);
    Ctl::new(&hosts.far).words("halt --clear").run().assert_status(0);
    let passes = || hosts.burn("--rate 10M --duration 200ms").run().status.success();
    assert!(outside::within(Duration::from_secs(5), passes).is_some());

    let sink = hosts.sink().expect("the sink runs");
    hosts.far_daemon.signal(Signal::SIGKILL);
    assert!(outside::within(Duration::from_secs(2), || !sink.is_alive()).is_some());
    hosts.far_daemon.wait(Duration::from_secs(2));
}

#[test]
fn a_stop_takes_milliseconds_and_a_pause_sends_nothing() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let running = hosts.burn("--rate 100M --both --duration 60s --output json").spawn();
    hosts.near_daemon.burning(1);
    thread::sleep(Duration::from_millis(500));
    Ctl::new(&hosts.near).words("pause").run().assert_status(0);
    thread::sleep(Duration::from_millis(300));
    let before = hosts.wire.counter(Side::Far, "rx", "bytes");
    let back = hosts.wire.counter(Side::Near, "rx", "bytes");
    // Longer than either side waits for a word of the other.
    thread::sleep(Duration::from_secs(8));
    let meanwhile = hosts.wire.counter(Side::Far, "rx", "bytes") - before;
    assert!(meanwhile < 50_000, "{meanwhile} bytes in a pause");
    let meanwhile = hosts.wire.counter(Side::Near, "rx", "bytes") - back;
    assert!(meanwhile < 50_000, "{meanwhile} bytes from the sink in a pause");
    Ctl::new(&hosts.near).words("resume").run().assert_status(0);
    thread::sleep(Duration::from_millis(500));
    assert!(hosts.wire.counter(Side::Far, "rx", "bytes") - before > 2_000_000);
    assert!(hosts.wire.counter(Side::Near, "rx", "bytes") - back > 2_000_000);
    let begin = Instant::now();
    Ctl::new(&hosts.near).words("stop").run().assert_status(0);
    let outcome = running.outcome();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    outcome.assert_status(4);
    assert_eq!(outcome.json()["cause"], "stopped_by_user");
    assert_eq!(hosts.near_daemon.burners(), []);
}

#[test]
fn sessions_share_a_range_of_data_ports() {
    let Some(hosts) = TwoHosts::new(&format!("{OPEN_SINK}data_ports = [7500, 7507]\n")) else { return };
    for _ in 0..3 {
        let burner = hosts.burner("--protocol udp --rate 8M --streams 4 --cores 0,1 --duration 500ms");
        assert_eq!(figure(&burner, "sink_received"), figure(&burner, "sent"), "{burner:#}");
    }
    hosts.burner("--rate 8M --streams 4 --cores 0,1 --duration 500ms");
}

#[test]
fn what_never_comes_back_is_lost() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    // Datagrams that the sink sends; its words are TCP.
    let drops = "tc qdisc add dev wire root handle 1: prio && tc qdisc add dev wire parent 1:3 netem loss 100% && \
                 tc filter add dev wire parent 1: protocol ip u32 match ip protocol 17 0xff flowid 1:3";
    let set = hosts.wire.shell(Side::Far, drops);
    if !set.status.success() {
        note(format_args!("NOT TESTED: {set:?}"));
        return;
    }
    let burner = hosts.burner("--protocol udp --rate 20M --both --duration 1s");
    assert_eq!(figure(&burner, "returned_received"), 0, "{burner:#}");
    assert!(near(figure(&burner, "returned_lost"), 1_726, 15.0), "{burner:#}");
}

#[test]
fn a_cable_that_is_pulled_just_before_the_end_does_not_pass() {
    let Some(hosts) = TwoHosts::new(OPEN_SINK) else { return };
    let running = hosts.burn("--protocol udp --rate 20M --duration 4s --output json").spawn();
    assert!(outside::within(Duration::from_secs(10), || hosts.near_daemon.burners().len() == 1).is_some());
    thread::sleep(Duration::from_millis(2_500));
    hosts.wire.set_up(false);
    let outcome = running.outcome();
    outcome.assert_status(5);
    assert_eq!(outcome.json()["cause"], "peer_lost");
}
