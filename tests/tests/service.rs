//! The daemon as a unit of a real systemd: it starts with the first command, says when it is ready, is brought back when it
//! hangs or dies, and whatever ends it, no burner is left.

use std::{fs, path::Path, process::Stdio, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use ssts_tests::{
    Booted, Machine, Said, make,
    outside::{self, Process},
    signal,
};

/// A service that passed its start limit, or a story, takes no longer.
const SOON: Duration = Duration::from_secs(60);

/// A machine with the programs installed as `make install` does, the group and the folders made, and the socket enabled.
fn installed(prepare: impl FnOnce(&Path)) -> Option<Booted> {
    if !Booted::possible() {
        return None;
    }
    let machine = Booted::with(|root| {
        make("install", &[("DESTDIR", root.to_str().expect("it is ASCII")), ("PREFIX", "/usr")]);
        prepare(root);
    });
    machine.run("systemd-sysusers ssts.conf").assert_status(0);
    machine.run("systemd-tmpfiles --create ssts.conf").assert_status(0);
    machine.run("systemctl enable --now sstsd.socket").assert_status(0);
    Some(machine)
}

/// What a debug build needs on a machine that others use, and what the stories know it by.
fn drop_in(root: &Path, name: &str, text: &str) {
    let folder = root.join("etc/systemd/system/sstsd.service.d");
    fs::create_dir_all(&folder).expect("the layer takes it");
    fs::write(folder.join(name), text).expect("the layer takes it");
}

/// Without a store: the machine has the home of who tests, and a history may be there.
fn sstsctl(machine: &Booted, line: &str) -> Said {
    machine.run(&format!("sstsctl --output json --store none {line}"))
}

/// Starts a run that burns a core and a disk for minutes; gives its processes when they burn.
fn burning(machine: &Booted) -> Vec<Process> {
    let toml = "name = \"both\"\n[[phase]]\nname = \"all\"\nduration = \"5m\"\n\
                [[phase.burner]]\nkind = \"cpu\"\nload = 30\n\
                [[phase.burner]]\nkind = \"disk\"\npath = \"/var/lib\"\nsize = \"8MiB\"\nrate = 50\n";
    fs::write(machine.root().join("root/both.toml"), toml).expect("the layer takes it");
    sstsctl(machine, "run --detach /root/both.toml").assert_status(0);
    let daemon = machine.main_process("sstsd.service").expect("it runs");
    let mut burners = Vec::new();
    machine.until("two burners burn", || {
        burners = daemon.children();
        burners.len() == 2 && burners.iter().all(|burner| burner.worker_time() > Duration::from_millis(20))
    });
    burners
}

fn gone(burners: &[Process]) -> bool {
    outside::within(SOON, || !burners.iter().any(Process::is_alive)).is_some()
}

fn runs(machine: &Booted) -> Vec<Value> {
    let listed = sstsctl(machine, "runs").assert_status(0).json();
    listed["runs"].as_array().expect("runs are a list").clone()
}

/// Nothing of the unit is left: no process, no cgroup, no mount, no file.
fn assert_nothing_left(machine: &Booted) {
    let cgroup = "/sys/fs/cgroup/systemd/system.slice/sstsd.service";
    let pure = "/sys/fs/cgroup/system.slice/sstsd.service";
    for folder in [cgroup, pure, "/sys/fs/cgroup/unified/system.slice/sstsd.service"] {
        assert_eq!(machine.run(&format!("test -e {folder}")).status, Some(1), "{folder}");
    }
    let processes = machine.run("pgrep --list-full sstsd");
    assert_eq!(processes.status, Some(1), "{processes:?}");
}

#[test]
fn the_first_command_starts_it_and_a_run_passes() {
    let _machine = Machine::shared();
    let Some(machine) = installed(|_| {}) else { return };
    assert_eq!(machine.property("sstsd.service", "ActiveState"), "inactive", "nobody has asked for it");
    let socket = machine.run("stat --format=%a:%U:%G /run/ssts/sstsd.sock").assert_status(0);
    assert_eq!(socket.stdout.trim(), "660:root:ssts");

    let report =
        sstsctl(&machine, "burn cpu --load 20 --tolerance 100 --duration 500ms").assert_status(0).json();
    assert_eq!(report["verdict"], "pass", "{report:#}");
    assert_eq!(machine.property("sstsd.service", "ActiveState"), "active");
    let status = machine.property("sstsd.service", "StatusText");
    assert!(status.starts_with("idle; "), "{status}");

    let disk =
        sstsctl(&machine, "burn disk --path /var/lib --size 8MiB --verify --duration 500ms").assert_status(0);
    assert_eq!(disk.json()["verdict"], "pass");
    let memory = sstsctl(&machine, "burn memory --size 16MiB --duration 500ms").assert_status(0);
    assert_eq!(memory.json()["verdict"], "pass");

    // Whatever the daemon needs it may do, by its own account. Some probes look for a process by the number that it has on
    // the whole machine, which nobody in a namespace of processes knows: the laboratory's story has them.
    let described = sstsctl(&machine, "info").assert_status(0).json();
    let missing: Vec<_> =
        capabilities(&described).into_iter().filter(|(_, state)| state == "missing").collect();
    assert!(missing.iter().all(|(name, _)| name.starts_with("probe-")), "{described:#}");
    let works = |name: &str| capabilities(&described).contains(&(name.to_owned(), "works".to_owned()));
    for name in ["probe-irq", "probe-drops", "privileges", "realtime", "io-uring", "cgroup"] {
        assert!(works(name), "{name}: {described:#}");
    }
}

/// Names and states.
fn capabilities(described: &Value) -> Vec<(String, String)> {
    let list = described["capabilities"].as_array().expect("they are a list");
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    list.iter().map(|one| (text(&one["name"]), text(&one["state"]))).collect()
}

/// The group is the way in, and the only one.
#[test]
fn members_of_the_group_command_it_and_others_do_not() {
    let _machine = Machine::shared();
    let Some(machine) = installed(|_| {}) else { return };
    let group = machine.run("getent group ssts").assert_status(0).stdout;
    let group: u32 = group.split(':').nth(2).and_then(|id| id.parse().ok()).expect("it has a number");
    let line = "sstsctl --host unix:/run/ssts/sstsd.sock status";
    machine.run_as(65_534, group, line).assert_status(0);
    machine.run_as(65_534, 65_534, line).assert_status(5);
}

/// READY is told when the tick has ticked and probes are loaded, so whoever waits for the unit finds all that.
#[test]
fn it_is_ready_when_it_watches() {
    let _machine = Machine::shared();
    let Some(machine) = installed(|_| {}) else { return };
    machine.run("systemctl start sstsd.service").assert_status(0);
    let status = machine.property("sstsd.service", "StatusText");
    assert!(status.starts_with("idle; ") && status.contains("probes"), "{status}");
    // Threads that answer callers act without the right to administer the host; what only waits has no right but to locked memory.
    let main = machine.main_process("sstsd.service").expect("it runs");
    let effective = |thread: i32| {
        let status =
            fs::read_to_string(format!("/proc/{}/task/{thread}/status", main.pid)).unwrap_or_default();
        let name =
            status.lines().find_map(|line| line.strip_prefix("Name:")).unwrap_or_default().trim().to_owned();
        let hex = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .unwrap_or_default()
            .trim()
            .to_owned();
        (name, u64::from_str_radix(&hex, 16).unwrap_or(u64::MAX))
    };
    const SYS_ADMIN: u64 = 1 << 21;
    // Its memory is locked, what it takes later too.
    const IPC_LOCK: u64 = 1 << 14;
    let threads: Vec<_> = main.threads().into_iter().map(effective).collect();
    assert!(threads.iter().any(|(name, _)| name == "rpc"), "{threads:?}");
    for (name, set) in &threads {
        assert!(name != "rpc" || set & SYS_ADMIN == 0, "{threads:x?}");
        assert!(name != "sstsd" || set & !IPC_LOCK == 0, "{threads:x?}");
    }
}

/// A daemon that hangs guards nothing. Its burners end by themselves, the watchdog ends it, and a new one tells what was.
#[test]
fn one_that_hangs_is_replaced_and_its_run_is_told_as_cut_off() {
    let _machine = Machine::shared();
    let Some(machine) = installed(|root| drop_in(root, "quick.conf", "[Service]\nWatchdogSec=2\n")) else {
        return;
    };
    let burners = burning(&machine);
    let daemon = machine.main_process("sstsd.service").expect("it runs");
    signal(&daemon, Signal::SIGSTOP);
    assert!(gone(&burners), "burners outlive a daemon that hangs");
    machine.until("another one runs", || {
        machine.main_process("sstsd.service").is_some_and(|now| now != daemon)
            && machine.property("sstsd.service", "ActiveState") == "active"
    });
    assert!(!daemon.is_alive());
    assert!(machine.journal("sstsd.service").contains("Watchdog timeout"));
    let runs = runs(&machine);
    assert_eq!(runs.len(), 1);
    assert_eq!(
        (&runs[0]["verdict"], &runs[0]["cause"]),
        (&"error".into(), &"agent_lost".into()),
        "{runs:#?}"
    );
}

#[test]
fn one_that_is_killed_is_replaced_until_that_becomes_too_often() {
    let _machine = Machine::shared();
    let Some(machine) = installed(|root| {
        drop_in(root, "quick.conf", "[Unit]\nStartLimitBurst=2\n[Service]\nRestartSec=100ms\n");
    }) else {
        return;
    };
    let burners = burning(&machine);
    let first = machine.main_process("sstsd.service").expect("it runs");
    signal(&first, Signal::SIGKILL);
    assert!(gone(&burners), "burners outlive their daemon");
    let mut second = None;
    machine.until("another one runs", || {
        second = machine.main_process("sstsd.service").filter(|now| *now != first);
        second.is_some() && machine.property("sstsd.service", "ActiveState") == "active"
    });
    signal(&second.expect("it was seen"), Signal::SIGKILL);
    machine.until("it is given up", || machine.property("sstsd.service", "ActiveState") == "failed");
    assert!(machine.journal("sstsd.service").contains("Start request repeated too quickly"));
    assert_eq!(machine.property("sstsd.socket", "Result"), "service-start-limit-hit");
    assert_nothing_left(&machine);
}

/// Ends the daemon under load, for good; gives the run that it had, and what came of the command that is executed afterwards.
fn ended_under_load(machine: &Booted, burners: &[Process], by: Signal) -> (String, String) {
    let id = runs(machine)[0]["run_id"].as_str().expect("it is text").to_owned();
    signal(&machine.main_process("sstsd.service").expect("it runs"), by);
    assert!(gone(burners), "burners outlive their daemon");
    machine.until("it has failed", || machine.property("sstsd.service", "ActiveState") == "failed");
    assert_nothing_left(machine);
    (id, machine.property("sstsd.service", "ExecStopPost"))
}

/// `ExecStopPost=` looks after what a killed daemon has left, with no daemon there, and the run's record has what came of that.
#[test]
fn what_is_executed_after_a_killed_daemon_is_in_the_runs_record() {
    let _machine = Machine::shared();
    let Some(machine) = installed(|root| drop_in(root, "once.conf", "[Service]\nRestart=no\n")) else {
        return;
    };
    for by in [Signal::SIGKILL, Signal::SIGABRT] {
        let burners = burning(&machine);
        let (id, after) = ended_under_load(&machine, &burners, by);
        assert!(after.contains("code=exited") && after.contains("status=0"), "{by}: {after}");
        assert!(machine.journal("sstsd.service").lines().any(|line| line == "clean"), "{by}");
        // As RFC 3339 has it, so that the two can be compared as they stand.
        let now = machine.run("date --utc +%FT%T.%NZ").assert_status(0).stdout;
        let report = sstsctl(&machine, &format!("report {id}")).assert_status(0).json();
        assert_eq!((&report["verdict"], &report["cause"]), (&"error".into(), &"agent_lost".into()), "{by}");
        let receipt = &report["hosts"][0]["receipt"];
        assert_eq!(receipt["state"], "clean", "{receipt:#}");
        let observed = receipt["observed_at"].as_str().expect("it is text");
        assert!(observed < now.trim(), "{by}: seen by the next daemon: {observed}, {now}");
    }

    // What it can't mend is told by its exit status and its words, and keeps runs from starting.
    let burners = burning(&machine);
    let torn = machine.root().join("var/lib/ssts/undo/00000000000000000007.json");
    fs::write(&torn, "{").expect("the layer takes it");
    let (_, after) = ended_under_load(&machine, &burners, Signal::SIGKILL);
    assert!(after.contains("code=exited") && after.contains("status=1"), "{after}");
    assert!(machine.journal("sstsd.service").contains("can't be read"));
    let refused = sstsctl(&machine, "burn cpu --duration 1s").assert_status(5);
    assert!(refused.stderr.contains("can't be read"), "{refused:?}");
    assert!(refused.stderr.contains("sstsctl recover"), "{refused:?}");
    fs::remove_file(&torn).expect("it is there");
    sstsctl(&machine, "recover").assert_status(0);
}

#[test]
fn a_stop_under_load_leaves_nothing() {
    let _machine = Machine::shared();
    let Some(machine) = installed(|_| {}) else { return };
    let burners = burning(&machine);
    machine.run("systemctl stop sstsd.service").assert_status(0);
    assert_eq!(machine.property("sstsd.service", "Result"), "success");
    assert!(!burners.iter().any(Process::is_alive));
    assert_nothing_left(&machine);
    // The socket stays, and the next daemon knows how the run ended.
    let runs = runs(&machine);
    assert_eq!(
        (&runs[0]["verdict"], &runs[0]["cause"]),
        (&"aborted".into(), &"agent_stopped".into()),
        "{runs:#?}"
    );
    machine.run("systemctl stop sstsd.socket").assert_status(0);
    assert_eq!(machine.run("test -e /run/ssts/sstsd.sock").status, Some(1), "the socket's file stays");
}

/// systemd's own way, alone: what is in a run's cgroup and knows neither a deadline nor a daemon goes with the unit.
#[test]
fn the_control_group_is_enough_to_end_everything_in_it() {
    let _machine = Machine::shared();
    let Some(machine) = installed(|_| {}) else { return };
    burning(&machine);
    let mut stranger =
        machine.command("sleep 600").stdout(Stdio::null()).spawn().expect("it can be executed");
    // nsenter waits outside of the machine; what it executes is in it.
    let outside = Process::of(stranger.id().cast_signed()).expect("it is not reaped");
    machine.until("it sleeps", || !outside.children().is_empty());
    let stranger_process = outside.children()[0];
    let daemon = machine.main_process("sstsd.service").expect("it runs");
    // Into the unit's cgroup of every hierarchy that the daemon is in: systemd looks at its own.
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", daemon.pid)).expect("it lives");
    let mut moved = 0;
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let mount = match controllers {
            "" => ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
                .into_iter()
                .find(|mount| Path::new(mount).join("cgroup.controllers").exists()),
            "name=systemd" => Some("/sys/fs/cgroup/systemd"),
            _ => None,
        };
        let Some(mount) = mount else { continue };
        let procs = Path::new(mount).join(path.trim_start_matches('/')).join("cgroup.procs");
        if path.contains("sstsd.service") && fs::write(&procs, stranger_process.pid.to_string()).is_ok() {
            moved += 1;
        }
    }
    assert!(moved > 0, "{cgroups}");
    machine.run("systemctl stop sstsd.service").assert_status(0);
    let ended = outside::within(SOON, || !stranger_process.is_alive());
    let _best_effort = stranger.kill();
    let _best_effort = stranger.wait();
    assert!(ended.is_some(), "it outlives the unit");
}

/// Offline, by the file that is shipped: what the unit may do is bounded, and stays so.
#[test]
fn the_unit_is_as_tight_as_its_work_allows() {
    if !ssts_tests::tools(&["systemd-analyze"]) {
        return;
    }
    let unit = ssts_tests::Programs::repository().join("systemd/sstsd.service");
    let output = std::process::Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=40"])
        .arg(&unit)
        .output()
        .expect("it can be executed");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains("Overall exposure level")).expect("it says so");
    let level: f64 = line
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no number: {line}"));
    assert!(output.status.success() && level <= 4.0, "{text}");
}
