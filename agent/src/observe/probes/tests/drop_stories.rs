//! The drops probe against datagrams that nobody wants.

use std::net::{Ipv6Addr, SocketAddr};

use ssts_proto::catalogue::NETWORK_DROPS;

use super::*;

impl Host {
    /// Packets dropped for that reason at that interface; there is no column before the first one.
    pub(super) fn dropped(&mut self, interface: &str, reason: &str) -> f64 {
        self.tick();
        if self.probes.sources.iter().any(|source| source.changed()) {
            self.describe();
            // The first reading is 0: see `PacketDrops::sample`.
            self.tick();
            self.tick();
        }
        self.reading(&NETWORK_DROPS, &[interface, reason]).unwrap_or(0.0)
    }
}

fn unwanted_datagrams_are_counted(hooks: HookChoice, interface: &str, local: SocketAddr) {
    const DATAGRAMS: u64 = 500;
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let Ok(socket) = UdpSocket::bind(local) else {
        println!("skipped: no such loopback address");
        return;
    };
    let nobody = UdpSocket::bind(local).unwrap().local_addr().unwrap();
    let before = host.dropped(interface, "NO_SOCKET");
    for _ in 0..DATAGRAMS {
        socket.send_to(&[7; 64], nobody).unwrap();
    }
    let begin = Instant::now();
    let mut counted = 0.0;
    // Soft interrupts may be late.
    while counted < DATAGRAMS as f64 && begin.elapsed() < Duration::from_secs(1) {
        counted = host.dropped(interface, "NO_SOCKET") - before;
    }
    println!("{counted}");
    assert!((DATAGRAMS as f64 * 0.95..DATAGRAMS as f64 * 1.5).contains(&counted), "{counted}");
    assert!(
        !host.probes.sources.iter().any(|source| source.changed()),
        "what is known has its column, and is not asked for again"
    );
}

#[test]
fn unwanted_datagrams_are_counted_by_raw_tracepoints() {
    patiently(|| unwanted_datagrams_are_counted(HookChoice::Raw, "lo", (Ipv4Addr::LOCALHOST, 0).into()));
}

#[test]
fn unwanted_datagrams_are_counted_by_tracepoints() {
    patiently(|| {
        unwanted_datagrams_are_counted(HookChoice::Tracepoint, "(unknown)", (Ipv4Addr::LOCALHOST, 0).into());
    });
}

#[test]
fn unwanted_datagrams_over_ipv6_are_counted() {
    patiently(|| unwanted_datagrams_are_counted(HookChoice::Auto, "lo", (Ipv6Addr::LOCALHOST, 0).into()));
}

#[test]
fn the_drops_that_bring_a_column_about_are_in_its_increase() {
    patiently(|| {
        let Some(mut host) = Host::watched_by(HookChoice::Raw) else { return };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        host.tick();
        // The probe's own test has brought the column about: its first reading is this one.
        assert_eq!(host.reading(&NETWORK_DROPS, &["lo", "NO_SOCKET"]), Some(0.0));
        socket.send_to(&[7; 64], nobody).unwrap();
        host.tick();
        assert!(host.reading(&NETWORK_DROPS, &["lo", "NO_SOCKET"]) > Some(0.0));
    });
}

/// The device of a datagram in a socket's queue is written over: the interface is known all the same.
#[test]
fn a_full_receive_buffer_is_told_with_its_interface() {
    patiently(|| {
        let Some(mut host) = Host::watched_by(HookChoice::Raw) else { return };
        let (socket, full) = (
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        );
        let to = full.local_addr().unwrap();
        let before = host.dropped("lo", "SOCKET_RCVBUFF");
        // Far more than any default (net.core.rmem_default) takes.
        for _ in 0..20_000 {
            socket.send_to(&[7; 1_000], to).unwrap();
        }
        let counted = host.dropped("lo", "SOCKET_RCVBUFF") - before;
        println!("{counted}");
        assert!(counted > 1_000.0, "{counted}");
    });
}
