//! Eight daemons that are asked for the same, and one of them can't.

use std::{
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;

use crate::{Cgroup, Ctl, Daemon, Ground, disk_throttle};

/// Reads a second that every host is asked for, and those that the slow disk gives.
const ASKED: u32 = 100;
const GIVEN: u32 = 20;
/// Tasks beside the burner that is crowded. Its host has a fair share of a core for all of them, however many they are.
const COMPETITORS: usize = 3;
/// What the daemons look at is not what the stories are about.
const CONFIG: &str = "[observe]\nprobes = false\n";

/// The fleet, and what is wrong with one of its hosts.
#[derive(Debug)]
pub struct Planted {
    // Dropped in this order: whoever competes, daemons, then what they are held by, then folders.
    _competitors: Competitors,
    _daemons: Vec<Daemon>,
    _held: Vec<Cgroup>,
    grounds: Vec<Ground>,
    inventory: String,
    burn: String,
}

#[derive(Debug)]
struct Competitors(Vec<Child>);

impl Planted {
    /// Daemons of a fleet, `host0` and on.
    pub const HOSTS: usize = 8;
    /// The odd one.
    pub const ODD: usize = 5;

    /// The disk of one is throttled by the kernel. Nothing where this user may not do that, or the machine can't.
    pub fn with_slow_disk(first: Ground) -> Option<Self> {
        let throttle = disk_throttle(first.disk(), GIVEN)?;
        let burn = format!(
            "burn disk --path {} --size 4MiB --rw randread --rate {ASKED} --depth 4 --tolerance 100 --duration 6s",
            first.disk().display()
        );
        let start = |host: usize, ground: &Ground| {
            ground.configure(CONFIG);
            if host == Self::ODD {
                Daemon::start_program(ground, &throttle.program(ground, &ground.programs().sstsd), |_| {})
            } else {
                Daemon::start(ground)
            }
        };
        let planted = Self::start(first, burn, start);
        Some(Self { _held: vec![throttle], ..planted })
    }

    /// One has others beside its burner. Nothing where this user may make no cgroups.
    pub fn with_competitors(first: Ground) -> Option<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let group = |_| Cgroup::new("cpu", ["cpu.shares", "cpu.weight"]);
        let cgroups = (0..Self::HOSTS).map(group).collect::<Option<Vec<_>>>()?;
        let burn = "burn cpu --load 15 --tolerance 100 --duration 5s".to_owned();
        let planted = Self::start(first, burn, |host, ground| {
            let never: Vec<_> = (0..cores).filter(|core| *core != host % cores).collect();
            ground.configure(&format!("{CONFIG}[policy]\nnever_cores = {never:?}\n"));
            let program = cgroups[host].program(ground, &ground.programs().sstsd);
            Daemon::start_program(ground, &program, |_| {})
        });
        let core = (Self::ODD % cores).to_string();
        let competitors = Competitors((0..COMPETITORS).map(|_| compete(&core)).collect());
        for child in &competitors.0 {
            cgroups[Self::ODD].put(child.id().cast_signed());
        }
        Some(Self { _competitors: competitors, _held: cgroups, ..planted })
    }

    fn start(first: Ground, burn: String, start: impl Fn(usize, &Ground) -> Daemon) -> Self {
        let others: Vec<_> = (1..Self::HOSTS).map(|_| Ground::beside(&first)).collect();
        let grounds: Vec<_> = [first].into_iter().chain(others).collect();
        let daemons = grounds.iter().enumerate().map(|(host, ground)| start(host, ground)).collect();
        let entry = |(host, ground): (usize, &Ground)| {
            let socket = ground.socket();
            format!("[[host]]\nname = \"host{host}\"\naddress = \"unix:{}\"\n", socket.display())
        };
        let inventory: String = grounds.iter().enumerate().map(entry).collect();
        let inventory = grounds[0].file("fleet.toml", &inventory);
        let (_competitors, _held) = (Competitors(Vec::new()), Vec::new());
        Self { _competitors, _daemons: daemons, _held, grounds, inventory, burn }
    }

    /// Where files of the story's have their place.
    pub fn ground(&self) -> &Ground {
        &self.grounds[0]
    }

    /// With a history of its own.
    pub fn ctl(&self) -> Ctl {
        let history = self.ground().path("history.db");
        let history = history.to_str().expect("the path is ASCII");
        Ctl::bare(self.ground()).args(["--store", history])
    }

    /// All hosts do the same; the result of that.
    pub fn run(&self, more: &[&str]) -> Value {
        let ctl = self.ctl().args(["--fleet", &self.inventory, "--output", "json"]);
        ctl.words(&self.burn).args(more).run().json()
    }

    /// Whether the odd one stands first, and surely.
    pub fn is_first(odd: &Value) -> bool {
        let ranked = &odd["ranked"][0];
        ranked["host"] == format!("host{}", Self::ODD)
            && ranked["odd"] == true
            && ranked["confidence"].as_f64().is_some_and(|sure| sure > 0.95)
    }
}

/// Somebody who wants all of a core.
fn compete(core: &str) -> Child {
    Command::new("taskset")
        .args(["-c", core, "sh", "-c", "while :; do :; done"])
        .stdin(Stdio::null())
        .spawn()
        .expect("taskset can be executed")
}

impl Drop for Competitors {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _best_effort = child.kill();
            let _best_effort = child.wait();
        }
    }
}
