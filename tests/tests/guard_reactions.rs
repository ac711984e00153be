//! What guards do to a run, one reaction at a time and as a ladder: a sensor that the story heats and cools stands for the host.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground, Running, Sysfs,
    outside::{self, Process},
};

const LONG: Duration = Duration::from_secs(20);

/// A daemon with a sensor at 40 °C.
struct Host {
    daemon: Daemon,
    sysfs: Sysfs,
    ground: Ground,
}

impl Host {
    fn new(config: &str) -> Self {
        let ground = Ground::new();
        let sysfs = Sysfs::new(&ground, 40);
        ground.configure(&format!("{config}\n{}", sysfs.config()));
        let daemon = Daemon::start(&ground);
        Self { daemon, sysfs, ground }
    }

    /// Runs a scenario of one phase with guards of its own; its burners burn.
    fn run(&self, burner: &str, guards: &str) -> (Running, Vec<Process>) {
        let toml = format!(
            "name = \"guarded\"\n[[phase]]\nname = \"only\"\nduration = \"1m\"\n[[phase.burner]]\n{burner}\n{guards}"
        );
        let scenario = self.ground.file("guarded.toml", &toml);
        let running = Ctl::new(&self.ground).args(["--output", "json", "run", &scenario]).spawn();
        let burners = self.daemon.burning(1);
        (running, burners)
    }

    fn status(&self) -> Value {
        Ctl::new(&self.ground).words("status").json()
    }

    /// Waits until the status is as wanted.
    fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut status = Value::Null;
        let came = outside::within(LONG, || {
            status = self.status();
            wanted(&status)
        });
        assert!(came.is_some(), "{what}: {status:#}\n{}", self.daemon.log());
        status
    }

    fn is(&self, state: &str) {
        self.until(state, |status| status["run"]["state"] == state);
    }

    /// To a temperature, as slowly as real ones move.
    fn cool(&self, from: u32, to: u32) {
        for celsius in (to..from).rev().step_by(10) {
            self.sysfs.heat(celsius);
            thread::sleep(Duration::from_millis(300));
        }
        self.sysfs.heat(to);
    }
}

fn guard<'a>(status: &'a Value, name: &str) -> &'a Value {
    let guards = status["guards"].as_array().expect("guards are a list");
    guards.iter().find(|guard| guard["name"] == name).unwrap_or(&Value::Null)
}

fn events<'a>(result: &'a Value, kind: &str, name: &str) -> Vec<&'a Value> {
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    events.iter().filter(|event| event["kind"] == kind && event["fields"]["guard"] == name).collect()
}

fn hot(name: &str, above: u32, reaction: &str) -> String {
    format!(
        "[[guards]]\nname = \"{name}\"\nmetric = \"host.temperature\"\nabove = \"{above} °C\"\nhysteresis = 5\nreaction = \"{reaction}\"\n"
    )
}

const CPU: &str = "kind = \"cpu\"\nload = 40\ncores = \"0\"\ntolerance = 100\n";

/// Up the whole ladder and down again, then to its top.
#[test]
fn a_ladder_warns_derates_pauses_and_stops_as_it_gets_hotter() {
    let host = Host::new("");
    let ladder = [
        hot("warm", 50, "warn"),
        hot("hot", 60, "throttle") + "step = 50\nhold = \"1h\"\nfloor = 20\n",
        hot("hotter", 70, "pause"),
        hot("hottest", 80, "stop"),
    ];
    let (running, burners) = host.run(CPU, &ladder.concat());
    host.sysfs.heat(55);
    host.until("it warns", |status| guard(status, "warm")["state"] == "tripped");
    host.sysfs.heat(65);
    // How a guard stands may be seen a frame after what it did.
    let derated = |status: &Value| {
        let hot = guard(status, "hot");
        hot["load_percent"] == 50.0 && hot["headroom"] == -5.0
    };
    let status = host.until("it derates", derated);
    assert_eq!(status["run"]["state"], "running");
    host.sysfs.heat(75);
    host.is("paused");
    let refused = Ctl::new(&host.ground).words("resume").run();
    refused.assert_status(5).assert_tells(&["hotter", "mend:"]);
    assert!(burners.iter().all(Process::is_alive), "a pause keeps its burners");
    // Down by all of the hysteresis, and no less.
    host.sysfs.heat(67);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(host.status()["run"]["state"], "paused");
    host.sysfs.heat(65);
    host.is("running");
    host.cool(65, 40);
    let status = host.until("all is clear", |status| guard(status, "warm")["state"] == "clear");
    assert_eq!(guard(&status, "hot")["load_percent"], 50.0, "a derated load stays derated: {status:#}");
    host.sysfs.heat(85);
    let outcome = running.outcome();
    outcome.assert_status(4);
    let result = outcome.json();
    assert_eq!(result["cause"], "guard_tripped", "{result:#}");
    assert!(
        result["cause_message"]
            .as_str()
            .is_some_and(|words| words.contains("hottest") && words.contains("85.0 °C"))
    );
    for (kind, name, least) in [
        ("guard_warned", "warm", 1),
        ("guard_tripped", "hot", 1),
        ("guard_tripped", "hotter", 1),
        ("guard_tripped", "hottest", 1),
        ("guard_cleared", "warm", 1),
        ("load_derated", "hot", 1),
        ("run_paused", "hotter", 1),
        ("run_resumed", "hotter", 1),
    ] {
        assert!(
            events(&result, kind, name).len() >= least,
            "{kind} of {name}: {:#}",
            result["hosts"][0]["events"]
        );
    }
    let burner = &result["hosts"][0]["burners"][0];
    assert!(burner["derated_percent"].as_f64() > Some(1.0), "{burner:#}");
    let stood = result["hosts"][0]["guards"].as_array().expect("guards are a list");
    assert!(
        stood.iter().any(|guard| guard["name"] == "hottest" && guard["state"] == "tripped"),
        "{stood:#?}"
    );
    assert_eq!(host.daemon.burners(), []);
}

/// The load is what was left of it, by the kernel's books, and a burner that is judged by its load says why it missed it.
#[test]
fn a_derated_load_is_less_and_says_whose_doing_it_was() {
    let ground = Ground::alone();
    let sysfs = Sysfs::new(&ground, 40);
    let hot = hot("hot", 60, "throttle") + "step = 50\nhold = \"1h\"\nthen = \"hold\"\n";
    ground.configure(&format!("{hot}{}", sysfs.config()));
    let daemon = Daemon::start(&ground);
    let running = Ctl::new(&ground)
        .words("--output json burn cpu --cores 0 --load 80 --mode own --duration 6s")
        .spawn();
    let burners = daemon.burning(1);
    sysfs.heat(70);
    let derated = || guard(&Ctl::new(&ground).words("status").json(), "hot")["load_percent"] == 50.0;
    assert!(outside::within(LONG, derated).is_some(), "{}", daemon.log());
    let (begin, before) = (Instant::now(), burners[0].worker_time());
    thread::sleep(Duration::from_millis(1_500));
    let load = (burners[0].worker_time() - before).as_secs_f64() / begin.elapsed().as_secs_f64();
    assert!((0.30..0.50).contains(&load), "half of 80 % was left, it had {load:.3}");
    let outcome = running.outcome();
    let result = outcome.json();
    let burner = &result["hosts"][0]["burners"][0];
    assert_eq!(burner["outcome"], "missed", "{burner:#}");
    let reason = burner["outcome_reason"].as_str().expect("there is one");
    assert!(reason.contains("hot derated the load by"), "{reason}");
    assert!((79.0..81.0).contains(&burner["target_load"].as_f64().expect("it is a number")), "{burner:#}");
    assert!(burner["derated_percent"].as_f64() > Some(20.0), "{burner:#}");
}

/// One that nothing paces rests: a disk burner without a rate does less.
#[test]
fn a_disk_burner_is_derated_too() {
    let host = Host::new("");
    let burner = format!("kind = \"disk\"\npath = \"{}\"\nsize = \"16MiB\"\n", host.ground.disk().display());
    let steep = hot("hot", 60, "throttle") + "step = 75\nfloor = 25\nhold = \"1h\"\nthen = \"hold\"\n";
    let (running, _) = host.run(&burner, &steep);
    host.sysfs.heat(70);
    host.until("it derates", |status| guard(status, "hot")["load_percent"] == 25.0);
    thread::sleep(Duration::from_secs(2));
    Ctl::new(&host.ground).words("stop").run().assert_status(0);
    let result = running.outcome().json();
    let burner = &result["hosts"][0]["burners"][0];
    let derated = burner["derated_percent"].as_f64().expect("it was derated");
    assert!((10.0..76.0).contains(&derated), "{burner:#}");
}

/// A load that does not help is taken away step by step, and then altogether.
#[test]
fn a_throttle_that_does_not_help_ends_the_run() {
    let host = Host::new("");
    let steps = hot("hot", 60, "throttle") + "step = 30\nfloor = 40\nhold = \"300ms\"\n";
    let (running, _) = host.run(CPU, &steps);
    host.sysfs.heat(70);
    let outcome = running.outcome();
    outcome.assert_status(4);
    let result = outcome.json();
    let steps: Vec<_> = events(&result, "load_derated", "hot")
        .iter()
        .map(|event| event["fields"]["load_percent"].as_str().expect("it is text").to_owned())
        .collect();
    assert_eq!(steps, ["70", "40"], "{result:#}");
    assert_eq!(result["cause"], "guard_tripped");
}

/// So often and no more.
#[test]
fn a_run_that_is_paused_too_often_is_stopped() {
    let host = Host::new("");
    let (running, _) = host.run(CPU, &(hot("hot", 60, "pause") + "max_pauses = 1\n"));
    host.sysfs.heat(65);
    host.is("paused");
    host.sysfs.heat(50);
    host.is("running");
    host.sysfs.heat(65);
    let outcome = running.outcome();
    outcome.assert_status(4);
    let message = outcome.json()["cause_message"].as_str().expect("it is text").to_owned();
    assert!(message.contains("paused the run 1 times"), "{message}");
}

/// A pause of somebody's own is not ended by a guard that is clear.
#[test]
fn a_pause_that_somebody_asked_for_outlasts_the_guards() {
    let host = Host::new("");
    let (running, _) = host.run(CPU, &hot("hot", 60, "pause"));
    host.sysfs.heat(65);
    host.is("paused");
    Ctl::new(&host.ground).words("pause").run().assert_status(0);
    host.sysfs.heat(50);
    host.until("the guard is clear", |status| guard(status, "hot")["state"] == "clear");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(host.status()["run"]["state"], "paused");
    Ctl::new(&host.ground).words("resume").run().assert_status(0);
    host.is("running");
    Ctl::new(&host.ground).words("stop").run().assert_status(0);
    running.outcome().assert_status(4);
}

/// Nothing starts any more, not even after the daemon was started anew.
#[test]
fn a_guard_of_the_host_can_halt_it() {
    let mut host = Host::new(&hot("meltdown", 60, "halt"));
    let (running, _) = host.run(CPU, "");
    host.sysfs.heat(65);
    let outcome = running.outcome();
    outcome.assert_status(4);
    assert_eq!(outcome.json()["cause"], "halted");
    host.until("it is halted", |status| status["halted"] == true);
    host.cool(65, 40);
    let written = || {
        fs::read_dir(host.ground.state()).is_ok_and(|found| {
            found.flatten().any(|entry| entry.file_name().to_string_lossy().contains("halt"))
        })
    };
    assert!(outside::within(LONG, written).is_some(), "the halt should be on disk");
    host.daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(host.daemon.wait(LONG).is_some());
    host.daemon = Daemon::start(&host.ground);
    let again = Ctl::new(&host.ground).words("burn cpu --load 10 --duration 1s").run();
    again.assert_status(4).assert_tells(&["by guard meltdown", "halt --clear"]);
}

/// A sensor that hangs, shows what can't be, or jumps down by more than physics allows is no good news.
#[test]
fn a_sensor_that_makes_no_sense_stops_the_run() {
    for (nonsense, words) in [(200, "200.0 °C"), (3, "3.0 °C")] {
        let host = Host::new("");
        host.sysfs.heat(75);
        let (running, _) = host.run(CPU, &hot("hot", 90, "stop"));
        host.until("it is seen", |status| guard(status, "hot")["value"] == 75.0);
        host.sysfs.heat(nonsense);
        let outcome = running.outcome();
        outcome.assert_status(4);
        let message = outcome.json()["cause_message"].as_str().expect("it is text").to_owned();
        assert!(message.contains(words) && message.contains("can't be"), "{message}");
    }
}

/// A guard of the host that has tripped keeps runs from starting; one that is gone again does not.
#[test]
fn a_host_that_is_too_hot_takes_no_run() {
    let host = Host::new("");
    host.sysfs.heat(96);
    let hot = |status: &Value| guard(status, "max_temperature")["state"] == "tripped";
    host.until("it is hot", hot);
    let refused = Ctl::new(&host.ground).words("burn cpu --load 10 --duration 1s").run();
    refused.assert_status(5).assert_tells(&["max_temperature", "96.0 °C"]);
    host.cool(96, 40);
    host.until("it has cooled", |status| !hot(status));
    Ctl::new(&host.ground)
        .words("burn cpu --load 10 --tolerance 100 --duration 200ms")
        .run()
        .assert_status(0);
}

/// Everything that is wrong with a guard is told before anything starts, with what was probably meant.
#[test]
fn a_guard_that_can_not_guard_is_refused() {
    let host = Host::new("");
    let refused = |guard: &str| {
        let toml = format!(
            "name = \"x\"\n[[phase]]\nname = \"a\"\nduration = \"1s\"\n[[guards]]\nname = \"g\"\nreaction = \"stop\"\n{guard}"
        );
        let scenario = host.ground.file("refused.toml", &toml);
        Ctl::new(&host.ground).args(["run", &scenario]).run()
    };
    for (guard, parts) in [
        ("metric = \"host.temprature\"\nabove = 5\n", ["refused.toml:8", "did you mean 'host.temperature'"]),
        ("metric = \"host.temperature\"\nabove = \"5 parsecs\"\n", ["'parsecs' is no unit", "°C"]),
        (
            "metric = \"host.edac.uncorrected\"\nabove = 0\n",
            ["this host has no host.edac.uncorrected", "sstsd check"],
        ),
        (
            "metric = \"host.temperature\"\nlabels = { sensor = \"hwmon7/*\" }\nabove = 90\n",
            ["no host.temperature of this host has these labels", "hwmon0/temp1"],
        ),
    ] {
        refused(guard).assert_status(2).assert_tells(&parts);
    }
    assert_eq!(host.daemon.burners(), []);
}
