//! Eight real agents, each in a network namespace, commanded over TLS: how far apart they begin, and how soon all are quiet.

use std::time::Duration;

use ssts_tests::{Ctl, Daemon, Ground, Switch, outside, tls_address};

use crate::{
    safety::percentile,
    table::{Figure, Pair, Table},
};

const HOSTS: usize = 8;
/// Eight instants each.
const STARTS: usize = 25;
const HALTS: usize = 20;
const SKEW_MS: f64 = 1.0;
const HALT_MS: f64 = 100.0;
const PATIENCE: Duration = Duration::from_secs(30);

struct Hosts {
    daemons: Vec<Daemon>,
    switch: Switch,
    grounds: Vec<Ground>,
    client: String,
    inventory: String,
}

impl Hosts {
    fn start(ground: &Ground) -> Self {
        // Whoever commands has a place at the switch, too.
        let switch = Switch::new(HOSTS + 1);
        let pki = ground.path("fleet-pki").display().to_string();
        let own = || Ctl::bare(ground).args(["--pki", &pki]);
        own().words("pki init").run().assert_status(0);
        own().words("pki issue client bench --role admin").run().assert_status(0);
        let (mut grounds, mut daemons, mut inventory) = (Vec::new(), Vec::new(), String::new());
        for host in 0..HOSTS {
            let address = switch.address(host);
            own().words(&format!("pki issue host n{host} --address {address}")).run().assert_status(0);
            let folder = format!("{pki}/hosts/n{host}");
            let of_host = Ground::beside(ground);
            of_host.configure(&format!(
                "[observe]\nprobes = false\n[tls]\nlisten = [\"{address}:0\"]\ncertificate = \"{folder}/host.crt\"\n\
                 key = \"{folder}/host.key\"\nclients_ca = \"{folder}/ca.crt\"\nrevoked = \"{folder}/revoked.crl\"\n"
            ));
            let program = switch.program(&of_host, host, &of_host.programs().sstsd);
            let daemon = Daemon::start_program(&of_host, &program, |_| {});
            let port = tls_address(&daemon).port();
            inventory += &format!("[[host]]\nname = \"n{host}\"\naddress = \"https://{address}:{port}\"\n");
            grounds.push(of_host);
            daemons.push(daemon);
        }
        let inventory = ground.file("fleet.toml", &inventory);
        Self { daemons, switch, grounds, client: format!("{pki}/clients/bench"), inventory }
    }

    fn ctl(&self, ground: &Ground, words: &str) -> Ctl {
        Ctl::bare(ground)
            .args(["--pki", &self.client, "--fleet", &self.inventory])
            .words(&format!("--store none --output json {words}"))
            .with(|command| self.switch.move_to(HOSTS, command))
    }

    fn burners(&self) -> usize {
        self.daemons.iter().map(|daemon| daemon.burners().len()).sum()
    }
}

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let hosts = Hosts::start(ground);
    let (mut skews_ms, mut spreads_ms, mut errors_ms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let run = hosts.ctl(ground, "burn cpu --cores 0 --load 5 --tolerance 100 --duration 300ms").run();
        run.assert_status(0);
        let result = run.json();
        for host in result["hosts"].as_array().into_iter().flatten() {
            skews_ms.extend(host["start_skew_s"].as_f64().map(|s| s.abs() * 1e3));
            errors_ms.extend(host["clock_error_s"].as_f64().map(|s| s * 1e3));
        }
        spreads_ms.extend(result["start"]["skew_s"].as_f64().map(|s| s * 1e3));
    }
    let note = |values: &[f64], more: &str| {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| percentile(values, share));
        Some(format!("p50 {p50:.3}, p99 {p99:.3}, max {max:.3} of {}{more}", values.len()))
    };
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
    halts(ground, &hosts, table, &note);
    drop(hosts);
}

/// Eight times as much as the machine has: each of them burns on all cores.
fn halts(ground: &Ground, hosts: &Hosts, table: &mut Table, note: &dyn Fn(&[f64], &str) -> Option<String>) {
    let (mut quiet_ms, mut left) = (Vec::new(), 0);
    for _ in 0..HALTS {
        hosts.ctl(ground, "burn cpu --tolerance 100 --duration 10m --detach").run().assert_status(0);
        let burn = outside::within(PATIENCE, || hosts.burners() == HOSTS);
        assert!(burn.is_some(), "{} of {HOSTS} burn", hosts.burners());
        let halted = hosts.ctl(ground, "halt --all --reason bench").run();
        halted.assert_status(0);
        left += hosts.burners();
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
    // They are looked at from outside: their folders stay to the end.
    assert_eq!(hosts.grounds.len(), HOSTS);
}
