//! A fleet as it is: daemons in network namespaces of their own, each with a cable to one switch, commanded over TLS from a place
//! at that switch.

use std::{thread, time::Duration};

use crate::{Ctl, Daemon, Ground, Switch, outside, outside::Process, tls_address};

const PATIENCE: Duration = Duration::from_secs(30);

/// Daemons, what they stand on, and the way to them.
#[derive(Debug)]
pub struct Rack {
    // Dropped in this order: daemons, then the wires, then folders.
    daemons: Vec<Daemon>,
    switch: Switch,
    _grounds: Vec<Ground>,
    client: String,
    inventory: String,
}

impl Rack {
    /// So many hosts, `n0` and on. Each has one core of this machine's, in turns.
    pub fn new(ground: &Ground, hosts: usize) -> Self {
        // Whoever commands has a place at the switch, too.
        let switch = Switch::new(hosts + 1);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let pki = ground.path("rack-pki").display().to_string();
        let own = || Ctl::bare(ground).args(["--pki", &pki]);
        own().words("pki init").run().assert_status(0);
        own().words("pki issue client lead --role admin").run().assert_status(0);
        let (mut grounds, mut daemons, mut inventory) = (Vec::new(), Vec::new(), String::new());
        for host in 0..hosts {
            let address = switch.address(host);
            own().words(&format!("pki issue host n{host} --address {address}")).run().assert_status(0);
            let folder = format!("{pki}/hosts/n{host}");
            let never: Vec<_> = (0..cores).filter(|core| *core != host % cores).collect();
            let of_host = Ground::beside(ground);
            of_host.configure(&format!(
                "[observe]\nprobes = false\n[policy]\nnever_cores = {never:?}\n\
                 [tls]\nlisten = [\"{address}:0\"]\ncertificate = \"{folder}/host.crt\"\nkey = \"{folder}/host.key\"\n\
                 clients_ca = \"{folder}/ca.crt\"\nrevoked = \"{folder}/revoked.crl\"\n"
            ));
            let program = switch.program(&of_host, host, &of_host.programs().sstsd);
            let daemon = Daemon::start_program(&of_host, &program, |_| {});
            let port = tls_address(&daemon).port();
            inventory += &format!("[[host]]\nname = \"n{host}\"\naddress = \"https://{address}:{port}\"\n");
            grounds.push(of_host);
            daemons.push(daemon);
        }
        let inventory = ground.file("rack.toml", &inventory);
        Self { daemons, switch, _grounds: grounds, client: format!("{pki}/clients/lead"), inventory }
    }

    /// sstsctl for all of them, from its own place at the switch.
    pub fn ctl(&self, ground: &Ground, words: &str) -> Ctl {
        Ctl::bare(ground)
            .args(["--pki", &self.client, "--fleet", &self.inventory])
            .words(&format!("--store none --output json {words}"))
            .with(|command| self.switch.move_to(self.daemons.len(), command))
    }

    /// Of one host.
    pub fn burners(&self, host: usize) -> Vec<Process> {
        self.daemons[host].burners()
    }

    /// Waits until each has a burner at work.
    pub fn burn(&self) {
        let works = |burner: &Process| burner.worker_time() > Duration::from_millis(5);
        let burn = outside::within(PATIENCE, || {
            (0..self.daemons.len()).all(|host| self.burners(host).iter().any(works))
        });
        assert!(burn.is_some(), "not all of them burn");
    }

    /// Takes the cable of a host out, or puts it back.
    pub fn connect(&self, host: usize, up: bool) {
        self.switch.set_up(host, up);
    }
}
