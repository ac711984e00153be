//! Memory that can't be had is told as what it is: refused with both numbers, stopped short of, or killed for. Each story plays
//! in a cgroup with a limit, so that the machine itself stays out of it.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, MemoryCgroup, Outcome, outside, possible};

const MIB: u64 = 1 << 20;

/// A daemon in a cgroup of 256 MiB.
struct Short {
    ground: Ground,
    daemon: Daemon,
    // Last: it is removed when all in it are gone.
    cgroup: MemoryCgroup,
}

impl Short {
    fn new() -> Option<Self> {
        let ground = Ground::alone();
        let cgroup = MemoryCgroup::new(256 * MIB);
        if !possible(cgroup.is_some(), "no memory cgroup can be made: run as root") {
            return None;
        }
        let cgroup = cgroup.expect("just seen");
        let daemon = Daemon::start(&ground);
        cgroup.put(daemon.process().pid);
        Some(Self { ground, daemon, cgroup })
    }

    fn run(&self, words: &str) -> Outcome {
        Ctl::new(&self.ground).words(&format!("--output json {words}")).run()
    }

    /// Somebody else in the cgroup, who keeps so much until dropped.
    fn neighbour(&self, mib: u64) -> Neighbour {
        let script = format!(
            "echo $$ > {}; exec dd if=/dev/zero of=/dev/null bs={mib}M",
            self.cgroup.procs().display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
        Neighbour(command.spawn().expect("every machine has sh"))
    }
}

struct Neighbour(Child);

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _best_effort = self.0.kill();
        let _best_effort = self.0.wait();
    }
}

fn cause(result: &Value) -> &str {
    result["cause"].as_str().unwrap_or_default()
}

#[test]
fn more_than_there_is_is_refused_with_both_numbers() {
    let Some(short) = Short::new() else { return };
    let outcome = Ctl::new(&short.ground).words("burn memory --size 400MiB --duration 1s").run();
    let limit = (256 * MIB / 16).to_string();
    outcome.assert_status(2).assert_tells(&["--size", &(400 * MIB).to_string(), "the cgroup", &limit]);
    let outcome = Ctl::new(&short.ground).words("burn memory --size 1000TiB --duration 1s").run();
    outcome.assert_status(2).assert_tells(&["--size", "more than the memory can hold"]);
    assert_eq!(short.cgroup.oom_kills(), 0);
}

#[test]
fn memory_that_others_took_meanwhile_is_stopped_short_of() {
    let Some(short) = Short::new() else { return };
    let file = short.ground.file(
        "later.toml",
        "name = 'later'\n[[phase]]\nname = 'wait'\nduration = '2s'\n[[phase]]\nname = 'fill'\nduration = '500ms'\n\
         [[phase.burner]]\nkind = 'memory'\nsize = '160MiB'\npages = 'small'\n",
    );
    let running = Ctl::new(&short.ground).words(&format!("--output json run {file}")).spawn();
    thread::sleep(Duration::from_millis(500));
    let _neighbour = short.neighbour(120);
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(cause(&result), "memory_short", "{result:#}");
    let resident = result["hosts"][0]["burners"][0]["figures"]["resident"]["value"].as_f64();
    assert!(resident > Some((32 * MIB) as f64) && resident < Some((140 * MIB) as f64), "{resident:?}");
    let events = result["hosts"][0]["events"].to_string();
    assert!(events.contains("bytes could be had: the cgroup"), "{events}");
    assert_eq!(short.cgroup.oom_kills(), 0, "it must not come to that");
}

#[test]
fn a_burner_that_the_kernel_killed_for_memory_is_told_as_that() {
    let Some(short) = Short::new() else { return };
    let words = "--output json burn memory --size 160MiB --duration 30s";
    let running = Ctl::new(&short.ground).words(words).spawn();
    let fills = || short.daemon.burners().iter().any(|burner| burner.resident_bytes() > Some(160 * MIB));
    outside::within(Duration::from_secs(10), fills).expect("it does not fill");
    thread::sleep(Duration::from_millis(300));
    let _neighbour = short.neighbour(150);
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!((&result["verdict"], cause(&result)), (&"error".into(), "out_of_memory"), "{result:#}");
    assert_eq!(result["hosts"][0]["burners"].as_array().map(Vec::len), Some(1), "it is not started again");
    // Its neighbour may have been taken as well, in the moment before its memory was free.
    assert!((1..=2).contains(&short.cgroup.oom_kills()), "not over and over");
    assert!(short.daemon.process().is_alive());
}

#[test]
fn pressure_ends_at_the_wall_and_not_in_the_oom_killer() {
    let Some(short) = Short::new() else { return };
    let outcome =
        short.run("burn memory --size 1GiB --method pressure --stalled 99 --fill-rate 200MiB --duration 3s");
    let result = outcome.json();
    let burner = &result["hosts"][0]["burners"][0];
    let resident = burner["figures"]["resident"]["value"].as_f64();
    assert!(resident > Some((100 * MIB) as f64) && resident < Some((245 * MIB) as f64), "{burner:#}");
    assert_eq!(short.cgroup.oom_kills(), 0);
    // All that it was allowed was not enough: that is no success.
    outcome.assert_status(5);
    assert_eq!(cause(&result), "memory_short", "{result:#}");
}
