//! What a network carries: from core 0 to core 1 over loopback, and over a cable between two namespaces.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Side, Wire};

use crate::{
    ROUNDS,
    measure::{number, result_of},
    peer::is_installed,
    round_trip,
    table::{Figure, Pair, Table},
};

/// Of one measurement, in seconds.
const SECONDS: u32 = 4;
const CAPS: &str = "max_rate_bits_per_s = 10_000_000_000_000\ncores = [1]\n";
/// Longer than iperf3 takes when it works.
const PATIENCE: &str = "20";

/// What came through, and at what price.
struct Carried {
    gbit_per_s: f64,
    datagrams_per_s: f64,
    /// Both ends.
    cpu_s_per_gbit: f64,
}

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    loopback(ground, table);
    cable(ground, table);
}

fn loopback(ground: &Ground, table: &mut Table) {
    let sink = "[network.sink]\nlisten = [\"127.0.0.1:7471\"]\nallowed_peers = [\"127.0.0.0/8\"]\n";
    ground.configure(&format!("[observe]\nprobes = false\n{sink}{CAPS}"));
    let daemon = Daemon::start(ground);
    let peer = |flags: &[&str]| iperf3(None, "127.0.0.1", flags);
    compare(ground, "127.0.0.1", "", &|| peer(&["-l", "1M"])).tell(
        table,
        ["TCP over loopback, 1 stream", "its CPU time, both ends"],
        (1.0, 1.0),
    );
    drop(daemon);
    ground.configure("");
}

fn cable(ground: &Ground, table: &mut Table) {
    let wire = Wire::new();
    let far = Ground::beside(ground);
    ground.configure("[observe]\nprobes = false\n[network]\nallowed_peers = [\"10.77.0.0/24\"]\n");
    let sink = "[network.sink]\nlisten = [\"10.77.0.2:7471\"]\nallowed_peers = [\"10.77.0.1/32\"]\n";
    far.configure(&format!("[observe]\nprobes = false\n{sink}{CAPS}"));
    let start = |ground: &Ground, side| {
        Daemon::start_program(ground, &wire.program(ground, side, &ground.programs().sstsd), |_| {})
    };
    let daemons = (start(ground, Side::Near), start(&far, Side::Far));
    let to = wire.address(Side::Far);
    let peer = |flags: &[&str]| iperf3(Some(&wire), to, flags);
    compare(ground, to, "", &|| peer(&["-l", "1M"])).tell(
        table,
        ["TCP over veth, 1 stream", "its CPU time, both ends"],
        (1.2, 1.0),
    );
    compare(ground, to, "--streams 4", &|| peer(&["-l", "1M", "-P", "4"])).tell(
        table,
        ["TCP over veth, 4 streams", "its CPU time, both ends"],
        (1.0, 1.0),
    );
    let udp = compare(ground, to, "--protocol udp", &|| peer(&["-u", "-b", "0", "-l", "1448"]));
    udp.tell_datagrams(table);
    round_trip::rows(ground, table, &wire);
    drop(daemons);
    ground.configure("");
}

/// Rounds of us and of the peer, in turn.
#[derive(Default)]
struct Rounds {
    gbit_per_s: Pair,
    datagrams_per_s: Pair,
    cpu_s_per_gbit: Pair,
}

fn compare(ground: &Ground, to: &str, flags: &str, peer: &dyn Fn() -> Option<Carried>) -> Rounds {
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let words = format!("--output json burn network --peer {to} --cores 0 --duration {SECONDS}s {flags}");
        let ours = ours(&result_of(Ctl::new(ground).words(&words).spawn()));
        rounds.gbit_per_s.ours.push(ours.gbit_per_s);
        rounds.datagrams_per_s.ours.push(ours.datagrams_per_s);
        rounds.cpu_s_per_gbit.ours.push(ours.cpu_s_per_gbit);
        if let Some(theirs) = peer() {
            rounds.gbit_per_s.peer.push(theirs.gbit_per_s);
            rounds.datagrams_per_s.peer.push(theirs.datagrams_per_s);
            rounds.cpu_s_per_gbit.peer.push(theirs.cpu_s_per_gbit);
        }
    }
    rounds
}

impl Rounds {
    fn tell(self, table: &mut Table, [rate, cpu]: [&'static str; 2], (rate_bar, cpu_bar): (f64, f64)) {
        let figure = Figure::new(rate, "Gbit/s", "iperf3", self.gbit_per_s);
        table.add_figure(Figure { more_is_better: true, bar: Some(rate_bar), ..figure });
        let figure = Figure::new(cpu, "s/Gbit", "iperf3", self.cpu_s_per_gbit);
        table.add_figure(Figure { bar: Some(cpu_bar), ..figure });
    }

    fn tell_datagrams(self, table: &mut Table) {
        let figure =
            Figure::new("UDP over veth, 1,448 B, arrived", "datagrams/s", "iperf3", self.datagrams_per_s);
        table.add_figure(Figure { more_is_better: true, bar: Some(3.0), ..figure });
        let figure = Figure::new("its CPU time, both ends", "s/Gbit", "iperf3", self.cpu_s_per_gbit);
        table.add_figure(Figure { bar: Some(2.5), ..figure });
    }
}

/// By the sink's count of what arrived.
fn ours(burner: &Value) -> Carried {
    let seconds = number(&burner["burning_s"]);
    let figure = |name: &str| burner["figures"][name]["value"].as_f64().unwrap_or_default();
    let gbit = figure("sink_received_bytes") * 8.0 / 1e9;
    let own = seconds * number(&burner["achieved_load"]["mean"]) / 100.0;
    Carried {
        gbit_per_s: gbit / seconds,
        datagrams_per_s: figure("sink_received") / seconds,
        cpu_s_per_gbit: (own + figure("sink_cpu") / 1e9) / gbit,
    }
}

/// iperf3's server, once it listens.
struct Server(Child);

impl Server {
    fn start(wire: Option<&Wire>) -> Option<Self> {
        let child = at(wire, Side::Far)
            .args(["timeout", PATIENCE, "iperf3", "-s", "-1", "-A", "1", "-p", "5299"])
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .ok()?;
        thread::sleep(Duration::from_millis(300));
        Some(Self(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends after one client, and by its time limit without.
        let _best_effort = self.0.wait();
    }
}

/// From core 0 to core 1, as ours. Nothing where it is not installed, or gave no result.
fn iperf3(wire: Option<&Wire>, to: &str, flags: &[&str]) -> Option<Carried> {
    if !is_installed("iperf3") {
        return None;
    }
    let _server = Server::start(wire)?;
    let output = at(wire, Side::Near)
        .args(["timeout", PATIENCE, "iperf3", "-c", to, "-p", "5299", "-A", "0", "-J", "-t"])
        .arg(SECONDS.to_string())
        .args(flags)
        .output()
        .ok()?;
    let result: Value = serde_json::from_slice(&output.stdout).ok()?;
    let end = &result["end"];
    let arrived = 1.0 - end["sum"]["lost_percent"].as_f64().unwrap_or(0.0) / 100.0;
    let sum = if end["sum_received"].is_object() && !flags.contains(&"-u") {
        &end["sum_received"]
    } else {
        &end["sum"]
    };
    let gbit_per_s = sum["bits_per_second"].as_f64()? * arrived / 1e9;
    let cpu = &end["cpu_utilization_percent"];
    Some(Carried {
        gbit_per_s,
        datagrams_per_s: end["sum"]["packets"].as_f64().unwrap_or(0.0) * arrived / f64::from(SECONDS),
        cpu_s_per_gbit: (cpu["host_total"].as_f64()? + cpu["remote_total"].as_f64()?) / 100.0 / gbit_per_s,
    })
}

/// A command at one end of the cable, or here.
pub(crate) fn at(wire: Option<&Wire>, side: Side) -> Command {
    let mut command = Command::new("env");
    if let Some(wire) = wire {
        command = Command::new("ip");
        command.args(["netns", "exec", &wire.namespace(side)]);
    }
    command
}
