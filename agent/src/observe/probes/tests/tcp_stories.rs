//! The TCP probe against known connects, and against a link that drops what it is told to drop.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
};

use ssts_proto::catalogue::{
    TCP_ACCEPTED, TCP_CONNECT_LATENCY, TCP_FAILED_CONNECTS, TCP_RETRANSMITS, TCP_RTT,
};

use super::*;

/// Connects that often, and gives back how long each took, in ns. The client closes first, and after the server.
fn connect_often(listener: &TcpListener, times: u64) -> Vec<u64> {
    let to = listener.local_addr().unwrap();
    let connect = |_| {
        let begin = Instant::now();
        let stream = TcpStream::connect(to).unwrap();
        let took = begin.elapsed().as_nanos() as u64;
        drop((stream, listener.accept().unwrap()));
        took
    };
    (0..times).map(connect).collect()
}

fn connects_are_counted(hooks: HookChoice, address: impl ToSocketAddrs) {
    const CONNECTS: u64 = 200;
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let Ok(listener) = TcpListener::bind(address) else {
        println!("skipped: no such loopback address");
        return;
    };
    let mark = host.probes.watch.mark(std::process::id().cast_signed(), false);
    host.tick();
    let accepted = host.reading(&TCP_ACCEPTED, &[]).unwrap();
    let took = connect_often(&listener, CONNECTS);
    host.tick();
    drop(mark);
    let counted = host.gained(&TCP_CONNECT_LATENCY, &["burner"]);
    println!("{counted:?}");
    // Other threads of these tests may connect as well.
    assert!((CONNECTS * 95 / 100..CONNECTS * 2).contains(&total(&counted)), "{counted:?}");
    let longest = took.iter().max().unwrap();
    let in_time = counted.iter().filter(|(bound, _)| (1_000..=longest * 17 / 16).contains(bound));
    assert!(in_time.map(|(_, count)| count).sum::<u64>() >= CONNECTS * 95 / 100, "{longest}: {counted:?}");
    let sum = |pairs: &[(u64, u64)]| pairs.iter().map(|(bound, count)| bound * count).sum::<u64>();
    // What the client sees has the call around it.
    let real: u64 = took.iter().sum();
    assert!(sum(&counted) <= real * 17 / 16 && sum(&counted) > real / 20, "{real}: {counted:?}");
    assert!(host.reading(&TCP_ACCEPTED, &[]).unwrap() - accepted >= CONNECTS as f64 * 0.95);
    let trips = total(&host.gained(&TCP_RTT, &["burner", "end"]));
    match hooks {
        HookChoice::Tracepoint => assert_eq!(trips, 0, "they don't tell"),
        _ => assert!(trips >= CONNECTS * 95 / 100, "{trips}"),
    }
}

#[test]
fn connects_are_counted_by_raw_tracepoints() {
    patiently(|| connects_are_counted(HookChoice::Raw, (Ipv4Addr::LOCALHOST, 0)));
}

#[test]
fn connects_are_counted_by_tracepoints() {
    patiently(|| connects_are_counted(HookChoice::Tracepoint, (Ipv4Addr::LOCALHOST, 0)));
}

#[test]
fn connects_over_ipv6_are_counted() {
    patiently(|| connects_are_counted(HookChoice::Auto, (Ipv6Addr::LOCALHOST, 0)));
}

#[test]
fn others_connects_are_not_a_burners() {
    patiently(|| {
        let Some(mut host) = Host::watched_by(HookChoice::Auto) else { return };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        host.tick();
        connect_often(&listener, 50);
        host.tick();
        assert_eq!(host.gained(&TCP_CONNECT_LATENCY, &["burner"]), []);
        assert!(total(&host.gained(&TCP_CONNECT_LATENCY, &["others"])) >= 47);
    });
}

#[test]
fn a_connect_that_is_refused_is_counted_as_failed() {
    patiently(|| {
        let Some(mut host) = Host::watched_by(HookChoice::Auto) else { return };
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).unwrap();
        let mark = host.probes.watch.mark(std::process::id().cast_signed(), false);
        host.tick();
        let failed = |host: &Host| host.reading(&TCP_FAILED_CONNECTS, &["burner"]).unwrap();
        let before = failed(&host);
        for _ in 0..20 {
            assert!(TcpStream::connect(free).is_err());
        }
        host.tick();
        drop(mark);
        assert!((19.0..25.0).contains(&(failed(&host) - before)), "{}", failed(&host) - before);
        assert_eq!(total(&host.gained(&TCP_CONNECT_LATENCY, &["burner"])), 0);
    });
}

/// Two namespaces with a link between them, gone when dropped.
struct Link {
    names: [String; 2],
}

impl Link {
    const NEAR: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
    const FAR: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);

    fn new() -> Option<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let link = Self { names: ["a", "b"].map(|side| format!("ssts{}{side}{count}", std::process::id())) };
        let [a, b] = &link.names;
        let (near, far) = (format!("{}/24", Self::NEAR), format!("{}/24", Self::FAR));
        let made = ip(&["netns", "add", a])
            && ip(&["netns", "add", b])
            && ip(&["link", "add", "wire", "netns", a, "type", "veth", "peer", "name", "wire", "netns", b])
            && ip(&["-n", a, "addr", "add", &near, "dev", "wire"])
            && ip(&["-n", b, "addr", "add", &far, "dev", "wire"])
            && ip(&["-n", a, "link", "set", "wire", "up"])
            && ip(&["-n", b, "link", "set", "wire", "up"]);
        made.then_some(link)
    }

    /// Runs `act` on a thread in one of the namespaces.
    fn within<T: Send>(&self, side: usize, act: impl FnOnce() -> T + Send) -> T {
        let namespace = fs::File::open(format!("/run/netns/{}", self.names[side])).unwrap();
        let inside = || {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// Of what goes from the near side to the far one only a little passes: what is above the rate is dropped.
    fn squeeze(&self) -> bool {
        let shape = ["qdisc", "replace", "dev", "wire", "root", "tbf", "rate", "20mbit", "burst", "20kb"];
        run("tc", ["-n", &self.names[0]].iter().copied().chain(shape).chain(["limit", "30kb"]))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    run("ip", arguments.iter().copied())
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> bool {
    Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}

/// RetransSegs of the namespace that the thread is in: the second line of Tcp in /proc/net/snmp.
fn kernels_retransmits() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
    let place = tcp.next().unwrap().split_whitespace().position(|name| name == "RetransSegs").unwrap();
    tcp.next().unwrap().split_whitespace().nth(place).unwrap().parse().unwrap()
}

fn what_a_squeezed_link_drops_is_sent_again(hooks: HookChoice) {
    const BYTES: usize = 4 << 20;
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let Some(link) = Link::new() else {
        skipped("no network namespaces, or no ip");
        return;
    };
    if !link.squeeze() {
        skipped("no tc, or no tbf");
        return;
    }
    let mark = host.probes.watch.mark(std::process::id().cast_signed(), false);
    host.tick();
    let retransmits =
        |host: &Host| ["burner", "others"].map(|who| host.reading(&TCP_RETRANSMITS, &[who]).unwrap());
    let before = retransmits(&host);
    let listener = link.within(1, || TcpListener::bind((Link::FAR, 0)).unwrap());
    let to: SocketAddr = listener.local_addr().unwrap();
    let truth = thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut received = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
            received.len()
        });
        let truth = link.within(0, || {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(&vec![7; BYTES]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // The other side closes when all is there.
            stream.read_to_end(&mut Vec::new()).unwrap();
            kernels_retransmits()
        });
        assert_eq!(server.join().unwrap(), BYTES);
        truth as f64
    });
    host.tick();
    drop(mark);
    let after = retransmits(&host);
    let [burner, others] = [after[0] - before[0], after[1] - before[1]];
    let trips = total(&host.gained(&TCP_RTT, &["burner", "retransmit"]));
    println!(
        "{truth} by the kernel's account; {burner} of the burner, {others} of others, {trips} round trips"
    );
    let dropped = host.dropped("(other namespace)", "QDISC_DROP")
        + host.dropped("(other namespace)", "QDISC_OVERLIMIT");
    println!("{dropped} dropped by the queue");
    if truth < 20.0 {
        skipped("the link dropped next to nothing");
        return;
    }
    if hooks == HookChoice::Tracepoint {
        // Each buffer counts once, whatever it holds.
        assert!(burner > 0.0 && burner <= truth, "{burner} of {truth}");
    } else {
        assert!(burner >= truth * 0.9 && burner <= truth, "{burner} of {truth}");
        assert!(trips > 0);
        // One buffer may hold many segments.
        assert!(dropped > 0.0, "the link's end is in another namespace than the probe");
    }
}

#[test]
fn what_a_squeezed_link_drops_is_sent_again_by_raw_tracepoints() {
    patiently(|| what_a_squeezed_link_drops_is_sent_again(HookChoice::Raw));
}

#[test]
fn what_a_squeezed_link_drops_is_sent_again_by_tracepoints() {
    patiently(|| what_a_squeezed_link_drops_is_sent_again(HookChoice::Tracepoint));
}
