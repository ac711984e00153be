//! How long an answer takes over a cable, asked at a fixed rate whether or not the one before has come; and how many connections
//! a second are made.

use std::{
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use ssts_tests::{Ctl, Ground, Side, Wire};

use crate::{
    ROUNDS,
    measure::{number, result_of},
    network::at,
    peer::is_installed,
    table::{Figure, Pair, Table},
};

const RATE_PER_S: u32 = 1_000;
const SECONDS: u32 = 4;
/// Longer than sockperf takes when it works.
const PATIENCE: &str = "20";

/// In microseconds.
struct RoundTrip {
    p50: f64,
    p99: f64,
}

pub(crate) fn rows(ground: &Ground, table: &mut Table, wire: &Wire) {
    let (mut p50, mut p99, mut connects) = (Pair::default(), Pair::default(), Pair::default());
    for _ in 0..ROUNDS {
        let ours = ours(ground, wire);
        p50.ours.push(ours.p50);
        p99.ours.push(ours.p99);
        if let Some(theirs) = sockperf(wire) {
            p50.peer.push(theirs.p50);
            p99.peer.push(theirs.p99);
        }
        connects.ours.push(connects_per_s(ground, wire));
    }
    let name = format!("request of 64 B over veth, {RATE_PER_S}/s, p50");
    table.add_figure(Figure { bar: Some(1.0), ..Figure::new(name, "us", "sockperf", p50) });
    table.add("its p99", "us", "sockperf", p99);
    let figure = Figure::new("connections over veth, 4 at once", "1/s", "", connects);
    table.add_figure(Figure { more_is_better: true, ..figure });
}

fn ours(ground: &Ground, wire: &Wire) -> RoundTrip {
    let flags = format!("--protocol rr --rate {RATE_PER_S}");
    let burner = burner(ground, wire, &flags);
    let us = |name: &str| number(&burner["latency_ns"][name]) / 1e3;
    RoundTrip { p50: us("p50"), p99: us("p99") }
}

fn connects_per_s(ground: &Ground, wire: &Wire) -> f64 {
    let burner = burner(ground, wire, "--protocol connect --streams 4");
    number(&burner["operations"]) / number(&burner["burning_s"])
}

fn burner(ground: &Ground, wire: &Wire, flags: &str) -> serde_json::Value {
    let to = wire.address(Side::Far);
    let words = format!("--output json burn network --peer {to} --cores 0 --duration {SECONDS}s {flags}");
    result_of(Ctl::new(ground).words(&words).spawn())
}

/// sockperf's server; killed when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // `timeout` passes it on.
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _best_effort = self.0.wait();
    }
}

/// From core 0 to core 1, as ours, and open-loop as ours. Nothing where it is not installed, or gave no result.
fn sockperf(wire: &Wire) -> Option<RoundTrip> {
    if !is_installed("sockperf") {
        return None;
    }
    let to = wire.address(Side::Far);
    let _server = Server(
        at(Some(wire), Side::Far)
            .args([
                "timeout", PATIENCE, "taskset", "-c", "1", "sockperf", "server", "--tcp", "-i", to, "-p",
                "5298",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .ok()?,
    );
    thread::sleep(Duration::from_millis(300));
    let output = at(Some(wire), Side::Near)
        .args([
            "timeout",
            PATIENCE,
            "taskset",
            "-c",
            "0",
            "sockperf",
            "under-load",
            "--tcp",
            "-i",
            to,
            "-p",
            "5298",
        ])
        .args(["-m", "64", "--mps", &RATE_PER_S.to_string(), "--reply-every", "1", "--full-rtt"])
        .args(["-t", &SECONDS.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let percentile = |name: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.contains(&format!("percentile {name}")))?;
        line.rsplit_once('=')?.1.trim().parse().ok()
    };
    Some(RoundTrip { p50: percentile("50.000")?, p99: percentile("99.000")? })
}
