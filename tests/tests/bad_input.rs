//! Whatever is wrong with a request is told before anything starts: the exit status for programs, the offending value and a
//! mend for people. Nothing burns, nothing is left, and the daemon takes the next request.

use std::{
    fs,
    os::unix::fs::chown,
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use ssts_tests::{Ctl, Daemon, Ground, Mount, Outcome, Sysfs, as_nobody, note, privileged};

const NOBODY: u32 = 65_534;

/// A daemon that must stay idle.
struct Refuser {
    ground: Ground,
    daemon: Daemon,
}

impl Refuser {
    fn new(config: &str) -> Self {
        let ground = Ground::new();
        ground.configure(config);
        Self::on(ground)
    }

    fn on(ground: Ground) -> Self {
        let daemon = Daemon::start(&ground);
        Self { ground, daemon }
    }

    /// The command must end with the status and tell all the parts.
    fn refuses(&self, words: &[&str], status: i32, parts: &[&str]) -> Outcome {
        let outcome = Ctl::new(&self.ground).args(words).run();
        outcome.assert_status(status).assert_tells(parts);
        assert_eq!(outcome.stdout, "", "{words:?}");
        assert_eq!(self.daemon.process().descendants(), [], "something was started: {words:?}");
        assert_eq!(self.ground.leftovers(), [""; 0], "{words:?}");
        assert_eq!(self.daemon.cgroups(), [""; 0], "{words:?}");
        outcome
    }

    fn refuses_line(&self, line: &str, status: i32, parts: &[&str]) {
        let words: Vec<_> = line.split_whitespace().collect();
        self.refuses(&words, status, parts);
    }

    /// A scenario file must be refused with these parts, both when checked and when run.
    fn refuses_scenario(&self, toml: &str, parts: &[&str]) {
        let file = self.ground.file("bad.toml", toml);
        self.refuses(&["run", &file], 2, parts);
        self.refuses(&["scenarios", "check", &file], 2, parts);
    }

    fn knows_runs(&self) -> usize {
        let runs = Ctl::new(&self.ground).words("runs").json();
        runs["runs"].as_array().map_or(0, Vec::len)
    }

    fn takes_work(&self) {
        Ctl::new(&self.ground)
            .words("burn cpu --load 20 --tolerance 100 --duration 200ms")
            .run()
            .assert_status(0);
    }
}

/// Loads, durations, sizes: each outside its bounds, or in a form that would have to be guessed at.
#[test]
fn a_value_outside_its_bounds_is_named_with_the_bounds() {
    let refuser = Refuser::new("");
    for (words, parts) in [
        ("--load 0 --duration 1s", &["--load", "'0'", "1 to 100"][..]),
        ("--load 101 --duration 1s", &["--load", "'101'", "1 to 100"]),
        ("--load -5 --duration 1s", &["--load", "'-5'", "1 to 100"]),
        ("--load 10..200 --duration 1s", &["--load", "10..200", "1 to 100"]),
        ("--load much --duration 1s", &["--load", "much", "1 to 100"]),
        ("--duration 5parsecs", &["--duration", "5parsecs", "no unit 'parsecs'", "ms, s, m, h or d"]),
        ("--duration 0s", &["--duration", "'0s'", "the least is 1 ms"]),
        ("--duration 10", &["--duration", "'10'", "it has no unit", "10s"]),
        ("--duration 400d", &["--duration", "400d", "366 d"]),
        ("--cores 3-1 --duration 1s", &["--cores", "3-1"]),
        ("--isa mmx --duration 1s", &["--isa", "mmx", "avx2"]),
        ("--max-temperature 0 --duration 1s", &["--max-temperature", "'0'", "1 to 150"]),
        ("", &["--duration"]),
    ] {
        refuser.refuses_line(&format!("burn cpu {words}"), 2, parts);
    }
    let disk = format!("burn disk --path {} --duration 1s", refuser.ground.disk().display());
    for (words, parts) in [
        ("--size 0", &["--size", "it is 0"][..]),
        ("--size 1000", &["--size", "1000", "multiple of the block size"]),
        ("--size 1lot", &["--size", "1lot", "MiB"]),
        ("--size 1MiB --block 100", &["100", "multiple of 512"]),
        ("--size 64MiB --block 32MiB", &["33554432", "at most 16777216"]),
        ("--size 1MiB --depth 0", &["--depth", "0", "1..=1024"]),
        ("--size 1MiB --depth 1025", &["--depth", "1025", "1..=1024"]),
        ("--size 1MiB --rate 0", &["--rate", "0"]),
        ("--size 1MiB --rw sideways", &["--rw", "sideways", "randread"]),
        ("--size 1MiB --block 4KiB:50,8KiB:40", &["--block", "90 %", "make 100"]),
        ("--size 1MiB --block 4KiB:50,6KiB:50", &["--block", "6144", "multiples of the smallest"]),
        ("--size 1MiB --block 4KiB,8KiB", &["--block", "'4KiB' has no share"]),
        ("--size 1MiB --reads 70", &["--reads", "readwrite or randrw"]),
        ("--size 1MiB --rw randrw --reads 100", &["--reads", "100 %", "1 to 99"]),
        ("--size 1MiB --fsync 8", &["--fsync", "no writes"]),
        ("--size 1MiB --inject-error", &["--inject-error", "--verify"]),
        ("--size 1MiB --jobs 0", &["--jobs", "1..=256"]),
        ("--size 1MiB --cores 4095", &["--cores", "4095", "not among those"]),
        ("--size 1MiB --rate 5 --bandwidth 1MiB", &["--rate", "--bandwidth"]),
        ("--rw fill", &["--size"]),
        ("--rw fill --fill 0", &["--fill", "more than 0"]),
        ("--rw fill --fill 90 --size 1MiB", &["--fill", "--size"]),
        ("--rw fill --fill 90 --depth 4", &["--depth", "means nothing"]),
        ("--fill 90", &["--size"]),
    ] {
        refuser.refuses_line(&format!("{disk} {words}"), 2, parts);
    }
    assert_eq!(refuser.knows_runs(), 0);
    refuser.takes_work();
}

/// In a file, an error has a line and a column.
#[test]
fn a_scenario_file_is_refused_with_line_and_column() {
    let refuser = Refuser::new("");
    let phase = "name = \"x\"\n[[phase]]\nname = \"a\"\nduration = \"1s\"\n";
    let burner = format!("{phase}[[phase.burner]]\nkind = \"cpu\"\n");
    refuser.refuses_scenario(&format!("{burner}laod = 50\n"), &["bad.toml:7:1", "laod", "mend:"]);
    refuser.refuses_scenario(
        &format!("{burner}load = 0\n"),
        &["bad.toml:7:8", "a load of 0 %", "use 1 to 100 %"],
    );
    refuser.refuses_scenario(
        &format!("{burner}load = 101\n"),
        &["bad.toml:7:8", "a load of 101 %", "use 1 to 100 %"],
    );
    refuser.refuses_scenario("name = \"x\"\n", &["no phase", "mend:"]);
    refuser.refuses_scenario(&phase.replace("\"1s\"", "10"), &["bad.toml:4:12", "10", "mend:"]);
    refuser.refuses_scenario(
        &phase.replace("1s", "5parsecs"),
        &["bad.toml:4:12", "5parsecs", "ms, s, m, h or d"],
    );
    refuser.refuses_scenario(&phase.replace("1s", "0s"), &["bad.toml:4:12", "0s", "mend:"]);
    refuser.refuses_scenario(
        &format!("{phase}[[phase]]\nname = \"a\"\nduration = \"1s\"\n"),
        &["bad.toml:6:8", "'a'"],
    );
    refuser.refuses_scenario("name = \n", &["bad.toml:1:", "mend:"]);
    refuser.refuses_line("run nosuchscenario", 2, &["nosuchscenario", "mend:"]);
    refuser.refuses_line("run /nowhere/x.toml", 2, &["/nowhere/x.toml", "mend:"]);
    assert_eq!(refuser.knows_runs(), 0);
}

/// What only the host can know: its cores, its disks, its memory, its sensors.
#[test]
fn what_the_host_does_not_have_is_refused_with_what_it_has() {
    let refuser = Refuser::new("[limits]\nmax_duration = \"1h\"\n");
    refuser.refuses_line(
        "burn cpu --cores 4095 --duration 1s",
        2,
        &["--cores", "4095", "not among those that the agent may use", "mend:"],
    );
    refuser.refuses_line("burn cpu --duration 2h", 2, &["7200s", "3600s", "mend:"]);
    refuser.refuses_line("burn cpu --duration 1s --max-duration 2h", 2, &["7200s", "3600s", "mend:"]);
    refuser.refuses_line(
        "burn cpu --duration 1s --min-available-memory 1MiB",
        2,
        &["1048576", "268435456", "mend:"],
    );
    refuser.refuses_line(
        "burn disk --path /no/such --size 1MiB --duration 1s",
        2,
        &["--path", "/no/such does not exist", "mend:"],
    );
    refuser.refuses_line(
        "burn disk --path relative --size 1MiB --duration 1s",
        2,
        &["--path", "relative does not exist", "mend:"],
    );
    let file = refuser.ground.file("file", "");
    refuser.refuses(
        &["burn", "disk", "--path", &file, "--size", "1MiB", "--duration", "1s"],
        2,
        &[&file, "is no folder"],
    );
    refuser.refuses_line("burn disk --path /proc --size 1MiB --duration 1s", 2, &["/proc", "mend:"]);
    let disk = refuser.ground.disk().to_str().expect("the path is ASCII");
    let bytes = (900u64 << 40).to_string();
    refuser.refuses(
        &["burn", "disk", "--path", disk, "--size", "900TiB", "--duration", "1s"],
        2,
        &["--size", &bytes, "bytes are free", "mend:"],
    );
    assert_eq!(refuser.knows_runs(), 0);
    refuser.takes_work();
}

/// Blocks in flight are memory; they must fit beside what the daemon keeps free for the host.
#[test]
fn more_blocks_in_flight_than_memory_are_refused() {
    let refuser = Refuser::new("[limits]\nmin_available_memory_bytes = 1125899906842624\n");
    let disk = refuser.ground.disk().to_str().expect("the path is ASCII");
    let line = format!("burn disk --path {disk} --size 64MiB --block 16MiB --depth 1024 --duration 1s");
    refuser.refuses_line(&line, 2, &["1024 blocks of 16777216 bytes", "kept in reserve", "mend:"]);
}

/// A limit may be tightened, never loosened; and one that can't be kept is no limit.
#[test]
fn a_temperature_limit_is_refused_with_both_numbers() {
    let ground = Ground::new();
    let sysfs = Sysfs::new(&ground, 40);
    ground.configure(&sysfs.config());
    let refuser = Refuser::on(ground);
    refuser.refuses_line(
        "burn cpu --duration 1s --max-temperature 96",
        2,
        &["--max-temperature", "96 °C", "95 °C", "mend:"],
    );

    let without = Ground::new();
    fs::create_dir_all(without.path("sys/class")).expect("the folder is new");
    without.configure(&format!("[roots]\nsys = \"{}\"\n", without.path("sys").display()));
    let refuser = Refuser::on(without);
    refuser.refuses_line(
        "burn cpu --duration 1s --max-temperature 90",
        2,
        &["no temperature sensor", "mend:"],
    );
}

/// A daemon that its administrator keeps on some cores takes no work for others.
#[test]
fn a_core_outside_the_daemons_cpuset_is_refused() {
    let this_thread = Pid::from_raw(0);
    let all = sched_getaffinity(this_thread).expect("it can be asked");
    let mut first = CpuSet::new();
    let cores: Vec<_> =
        (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false)).take(2).collect();
    let [core, other] = cores[..] else {
        note(format_args!("NOT TESTED: one core only"));
        return;
    };
    first.set(core).expect("it is in range");
    let ground = Ground::new();
    sched_setaffinity(this_thread, &first).expect("it is one of ours");
    // A child inherits it.
    let daemon = Daemon::start(&ground);
    sched_setaffinity(this_thread, &all).expect("it was ours");
    let refuser = Refuser { ground, daemon };
    let line = format!("burn cpu --cores {other} --duration 1s");
    refuser.refuses_line(
        &line,
        2,
        &["--cores", &format!("cores {other} are not"), &format!(": {core}"), "mend:"],
    );
    let result =
        Ctl::new(&refuser.ground).words("burn cpu --load 20 --tolerance 100 --duration 200ms").json();
    assert_eq!(result["hosts"][0]["burners"][0]["cores"], serde_json::json!([core]));
}

/// Folders that a disk burner can't use, though they are there.
#[test]
fn a_folder_that_is_full_or_read_only_is_refused() {
    if !privileged() {
        return;
    }
    let refuser = Refuser::new("");
    let locked = Mount::read_only(refuser.ground.path("locked"), refuser.ground.disk());
    let path = locked.path().to_str().expect("the path is ASCII");
    refuser.refuses(
        &["burn", "disk", "--path", path, "--size", "1MiB", "--duration", "1s"],
        2,
        &["--path", path, "ead-only", "mend:"],
    );
    let small = Mount::tmpfs(refuser.ground.path("small"), 8 << 20);
    let path = small.path().to_str().expect("the path is ASCII");
    // It would not leave the reserve, though it would fit.
    refuser.refuses(
        &["burn", "disk", "--path", path, "--size", "4MiB", "--duration", "1s"],
        2,
        &["--size", "8388608 of 8388608 bytes are free", "67108864 of them are kept in reserve", "mend:"],
    );
    let ballast = vec![0; 8 << 20];
    fs::write(small.path().join("ballast"), ballast).expect("it fits");
    refuser.refuses(
        &["burn", "disk", "--path", path, "--size", "1MiB", "--duration", "1s"],
        2,
        &["--size", "0 of 8388608 bytes are free", "mend:"],
    );
    assert_eq!(fs::read_dir(small.path()).expect("it is there").count(), 1);
}

/// A daemon without rights can't write where its user can't.
#[test]
fn a_folder_that_the_daemons_user_may_not_write_to_is_refused() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let program = copy_for_everybody(&ground, &ground.programs().sstsd.clone());
    for folder in ["run", "state", "tmp"] {
        fs::create_dir_all(ground.path(folder)).expect("the folder is ours");
        chown(ground.path(folder), Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    let daemon = Daemon::start_program(&ground, &program, |command| {
        as_nobody(command);
    });
    let refuser = Refuser { ground, daemon };
    let line =
        format!("burn disk --path {} --size 1MiB --duration 1s", refuser.ground.path("home").display());
    refuser.refuses_line(&line, 2, &["--path", "can't make a file in", "ermission denied", "mend:"]);
    refuser.takes_work();
}

/// Nobody there, or nobody for you.
#[test]
fn an_agent_that_cannot_be_reached_is_a_failure_of_the_agent() {
    let ground = Ground::new();
    for line in ["status", "runs", "stop", "halt", "watch", "burn cpu --duration 1s", "run quick"] {
        let outcome = Ctl::bare(&ground).words("--host unix:/none").words(line).run();
        outcome.assert_status(5).assert_tells(&[
            "no sstsd listens on unix:/none",
            "mend:",
            "systemctl start sstsd",
        ]);
        assert_eq!(outcome.stdout, "", "{line}");
    }
    Ctl::bare(&ground)
        .words("--host 127.0.0.1:7000 status")
        .run()
        .assert_status(2)
        .assert_tells(&["127.0.0.1:7000", "https://127.0.0.1:7000"]);
    Ctl::local(&ground)
        .words("--host unix:/none status")
        .run()
        .assert_status(2)
        .assert_tells(&["--local and --host", "mend:"]);
    Ctl::local(&ground)
        .words("burn cpu --duration 1s --detach")
        .run()
        .assert_status(2)
        .assert_tells(&["--detach and --local", "mend:"]);
    assert_eq!(ground.leftovers(), [""; 0]);
}

/// A socket's permissions are who may command the host.
#[test]
fn a_socket_without_permission_is_a_failure_of_the_agent() {
    if !privileged() {
        return;
    }
    let refuser = Refuser::new("");
    let program = copy_for_everybody(&refuser.ground, &refuser.ground.programs().sstsctl.clone());
    let mut command = Command::new(program);
    let host = format!("unix:{}", refuser.ground.socket().display());
    command.args(["--host", &host, "burn", "cpu", "--duration", "1s"]).env_clear();
    let output = as_nobody(&mut command).stdout(Stdio::piped()).output().expect("it can be executed");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{message}");
    assert!(message.contains("permission denied") && message.contains("usermod -aG ssts"), "{message}");
    assert_eq!(refuser.knows_runs(), 0);
}

/// A run that nobody knows is a mistake in the command.
#[test]
fn an_unknown_run_is_named() {
    let refuser = Refuser::new("");
    for command in ["report", "stop", "pause", "resume", "watch"] {
        refuser.refuses_line(&format!("{command} nosuchrun"), 2, &["nosuchrun", "sstsctl runs", "mend:"]);
    }
    refuser.refuses_line("report ../../etc/passwd", 2, &["../../etc/passwd", "sstsctl runs"]);
    refuser.refuses_line("stop", 2, &["no run goes on", "mend:"]);
}

/// One run at a time: the second one is told which is the first.
#[test]
fn a_second_run_is_refused_and_told_of_the_first() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let id = Ctl::new(&ground)
        .words("burn cpu --load 10 --duration 1m --detach")
        .run()
        .assert_status(0)
        .stdout
        .trim()
        .to_owned();
    let burners = daemon.burning(1);
    let second = Ctl::new(&ground).words("burn cpu --load 10 --duration 1s").run();
    second.assert_status(2).assert_tells(&[&id, "mend:", "--share-cores"]);
    assert_eq!(daemon.burners(), burners, "the first one goes on alone");
    Ctl::new(&ground).args(["stop", &id]).run().assert_status(0);
    let over = Ctl::new(&ground).args(["pause", &id]).run();
    assert_ne!(over.status.code(), Some(0));
    over.assert_tells(&["mend:"]);
    Ctl::new(&ground).args(["stop", &id]).run().assert_status(0);
}

/// The daemon's own mistakes are told before a socket opens.
#[test]
fn a_daemon_with_a_bad_configuration_does_not_start() {
    let ground = Ground::new();
    let refused = |config: &str, args: &[&str], status: i32, parts: &[&str]| {
        ground.configure(config);
        let mut command = Daemon::command(&ground);
        command.args(args);
        let (code, message) = Daemon::refusal(command);
        assert_eq!(code, Some(status), "{config} {args:?}: {message}");
        for part in parts {
            assert!(message.contains(part), "'{part}' is missing: {message}");
        }
        assert!(!ground.socket().exists(), "a socket was opened: {config} {args:?}");
    };
    refused("[observe]\nrate_hz = 10\nrate_herz = 5\n", &[], 2, &["line 3, column 1", "rate_herz"]);
    refused("[observe]\nrate_hz = 1000\n", &[], 2, &["rate_hz", "1000", "1 to 100"]);
    refused("[burners]\ndeadline = \"soon\"\n", &[], 2, &["line 2", "soon", "250ms"]);
    refused("limits\n", &[], 2, &["line 1"]);
    refused("", &["--listen", "0.0.0.0:7000"], 2, &["0.0.0.0:7000", "unix:/PATH", "[tls]"]);
    refused("", &["--listen", "unix:relative"], 2, &["unix:relative", "absolute"]);
    refused("", &["--log", "ssts=loud"], 2, &["--log"]);
    refused("", &["--config", "/none.toml"], 2, &["--config"]);
}

/// The private daemon's bad configuration is the user's mistake, too.
#[test]
fn a_private_daemon_with_a_bad_configuration_is_told_with_its_words() {
    let ground = Ground::new();
    ground.configure("[observe]\nrate_herz = 5\n");
    let outcome = Ctl::local(&ground).words("burn cpu --duration 1s").run();
    outcome.assert_status(2).assert_tells(&["line 2, column 1", "rate_herz", "mend:"]);
    assert_eq!(ground.leftovers(), [""; 0]);
}

/// Two daemons on one socket or one state folder would each believe to be alone.
#[test]
fn a_second_daemon_is_refused() {
    let ground = Ground::new();
    let first = Daemon::start(&ground);
    let refused = |change: &dyn Fn(&mut Command), parts: &[&str]| {
        let mut command = Command::new(&ground.programs().sstsd);
        change(command.arg("serve").arg("--config").arg(ground.config()).env_clear());
        let (code, message) = Daemon::refusal(command);
        assert_eq!(code, Some(1), "{message}");
        for part in parts {
            assert!(message.contains(part), "'{part}' is missing: {message}");
        }
    };
    let listen = |path: &Path| format!("--listen=unix:{}", path.display());
    let same_socket = |command: &mut Command| {
        command.arg(listen(&ground.socket())).arg("--state-dir").arg(ground.path("other"));
    };
    refused(&same_socket, &["another process listens on", "--listen"]);
    let same_folder = |command: &mut Command| {
        command.arg(listen(&ground.path("run/other.sock"))).arg("--state-dir").arg(ground.state());
    };
    refused(&same_folder, &[&first.process().pid.to_string(), "--state-dir"]);
    assert!(!ground.path("run/other.sock").exists(), "the refused daemon's socket was left");
    Ctl::new(&ground).words("status").run().assert_status(0);
}

/// The tests' target folder may be closed to others. Copied by another process: a child that another story starts meanwhile
/// would inherit our open file, and a file that is open for writing can't be executed.
fn copy_for_everybody(ground: &Ground, program: &Path) -> std::path::PathBuf {
    let copy = ground.path("program");
    let copied = Command::new("cp").arg(program).arg(&copy).status().expect("cp can be executed");
    assert!(copied.success(), "there is no room");
    copy
}
