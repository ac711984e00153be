//! What the probes cost: each program by the kernel's own account, and what a busy host loses by them. Beside libbpf-tools'
//! runqlat and biolatency where those are installed.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use ssts_tests::{Daemon, Ground};

use crate::{
    measure::{number, share},
    peer::is_installed,
    table::{Figure, Pair, Table},
};

const ROUNDS: usize = 3;
/// What a host loses is a small difference of large figures.
const LOSS_ROUNDS: usize = 7;
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// A program that ran less often tells little.
const LEAST_RUNS: u64 = 500;

/// The programs whose cost has a bar: their event, what makes it happen, the bar in ns, and libbpf-tools' program for it.
const BARS: [(&str, Load, f64, &str); 4] = [
    ("switch", Load::Pipe, 180.0, "sched_switch"),
    ("wakeup", Load::Pipe, 140.0, "sched_wakeup"),
    ("issue", Load::Disk, 120.0, "block_rq_issue"),
    ("complete", Load::Disk, 170.0, "block_rq_complete"),
];

/// What causes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Load {
    /// Two processes that pass a byte to and fro on one core.
    Pipe,
    /// Random reads of 4 KiB, 32 at a time, past every cache.
    Disk,
}

/// By load and program: ns an event, a value a round.
type Costs = HashMap<(Load, String), Vec<f64>>;

/// What fio measured.
struct Reads {
    per_s: f64,
    /// Of fio's own process, in µs.
    cpu_each_us: f64,
}

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    if let Some(tool) = ["perf", "fio", "bpftool"].into_iter().find(|tool| !is_installed(tool)) {
        println!("the cost of probes is not measured: {tool} is not installed");
        return;
    }
    // However busy the host gets, the probes stay.
    ground.configure("[observe]\nprobe_budget_core_percent = 100\nprobe_budget_host_percent = 100\n");
    let file = ground.disk().join("reads");
    lay_out(&file);
    events(ground, &file, table);
    losses(ground, &file, table);
    idle(ground, table);
}

/// What each program costs an event.
fn events(ground: &Ground, file: &Path, table: &mut Table) {
    let (mut ours, mut theirs) = (Costs::new(), Costs::new());
    for _ in 0..ROUNDS {
        for (load, tool) in [(Load::Pipe, "runqlat"), (Load::Disk, "biolatency")] {
            let daemon = Daemon::start(ground);
            settle();
            note(&mut ours, load, programs_under(load, file));
            drop(daemon);
            if let Some(tool) = Tool::spawn(tool) {
                settle();
                note(&mut theirs, load, programs_under(load, file));
                drop(tool);
            }
        }
    }
    for (event, load, most, peer) in BARS {
        let place = |program: String| (load, program);
        let Some(values) =
            ["btf", "raw", "tp"].into_iter().find_map(|kind| ours.remove(&place(format!("{kind}_{event}"))))
        else {
            continue;
        };
        let tool = if load == Load::Pipe { "runqlat" } else { "biolatency" };
        // Its programs have the hook's name, and some a word more for the kind of hook.
        let is_peer = |(of, program): &&(Load, String)| *of == load && program.starts_with(peer);
        let peer = theirs.keys().find(is_peer).cloned().and_then(|place| theirs.remove(&place));
        let pair = Pair { ours: values, peer: peer.unwrap_or_default(), note: None };
        let figure = Figure::new(format!("probe at {event}, by bpf stats"), "ns an event", tool, pair);
        table.add_figure(Figure { at_most: Some(most), ..figure });
    }
    let mut others: Vec<_> = ours.into_iter().collect();
    others.sort_by(|one, other| one.0.cmp(&other.0));
    for ((load, program), values) in others {
        let pair = Pair { ours: values, ..Pair::default() };
        table.add(format!("{program} under {}", load.name()), "ns an event", "", pair);
    }
}

/// What a host that is busy loses when all probes are on, their account off.
fn losses(ground: &Ground, file: &Path, table: &mut Table) {
    let [mut pipe, mut reads, mut cpu] = [const { Vec::new() }; 3];
    for _ in 0..LOSS_ROUNDS {
        let (pipe_without, reads_without) = (pass_to_and_fro(), read(file));
        let daemon = Daemon::start(ground);
        settle();
        let (pipe_with, reads_with) = (pass_to_and_fro(), read(file));
        drop(daemon);
        pipe.push(100.0 * (pipe_with / pipe_without - 1.0));
        reads.push(100.0 * (1.0 - reads_with.per_s / reads_without.per_s));
        cpu.push(reads_with.cpu_each_us - reads_without.cpu_each_us);
    }
    for (name, unit, values, most) in [
        ("perf bench sched pipe, longer by all probes", "%", pipe, 12.0),
        ("fio 4 KiB depth 32, fewer IOPS by them", "%", reads, 1.0),
        ("its CPU time an I/O, more by them", "us", cpu, 0.3),
    ] {
        let figure = Figure::new(name, unit, "", Pair { ours: values, ..Pair::default() });
        table.add_figure(Figure { at_most: Some(most), ..figure });
    }
}

/// What the daemon costs while nothing burns, and one tick of it.
fn idle(ground: &Ground, table: &mut Table) {
    const RATES: [f64; 2] = [10.0, 100.0];
    let (mut shares, mut resident, mut tick) = ([const { Vec::new() }; 2], Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut of_round = [0.0; 2];
        for (place, rate) in RATES.into_iter().enumerate() {
            ground.configure(&format!("[observe]\nrate_hz = {rate}\n"));
            let daemon = Daemon::start(ground);
            settle();
            let process = daemon.process();
            let read = || (Instant::now(), process.cpu_time().unwrap_or_default());
            let begin = read();
            thread::sleep(Duration::from_secs(5));
            of_round[place] = share(begin, read());
            shares[place].push(of_round[place]);
            if place == 0 {
                resident.push(process.resident_bytes().unwrap_or_default() as f64 / f64::from(1 << 20));
            }
        }
        // Percent of a second, to µs.
        tick.push((of_round[1] - of_round[0]) * 1e4 / (RATES[1] - RATES[0]));
    }
    let alone = |values| Pair { ours: values, ..Pair::default() };
    let [slow, fast] = shares;
    table.add("daemon at 10 Hz, idle: CPU", "% of a core", "", alone(slow));
    table.add("daemon at 100 Hz, idle: CPU", "% of a core", "", alone(fast));
    table.add("one tick of all sources: CPU", "us", "", alone(tick));
    table.add("daemon at 10 Hz: memory", "MiB", "", alone(resident));
}

impl Load {
    const fn name(self) -> &'static str {
        match self {
            Self::Pipe => "perf bench sched pipe",
            Self::Disk => "fio",
        }
    }

    fn run(self, file: &Path) {
        match self {
            Self::Pipe => _ = pass_to_and_fro(),
            Self::Disk => _ = read(file),
        }
    }
}

/// libbpf-tools' program, until dropped.
struct Tool(Child);

impl Tool {
    /// Nothing where it is not installed.
    fn spawn(name: &str) -> Option<Self> {
        let path = ["/usr/sbin", "/usr/bin"].map(|folder| Path::new(folder).join(name));
        let path = path.into_iter().find(|path| path.is_file())?;
        let mut command = Command::new(path);
        command.arg("60").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok().map(Self)
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// The kernel accounts for the programs' run time until this is dropped.
struct Account;

impl Account {
    fn keep() -> Self {
        set_account("1");
        Self
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        set_account("0");
    }
}

fn set_account(on: &str) {
    fs::write(STATS, on).unwrap_or_else(|error| panic!("{STATS}: {error}"));
}

/// Until probes are loaded and tested.
fn settle() {
    thread::sleep(Duration::from_millis(1_500));
}

/// What each program that ran costs an event under a load, in ns.
fn programs_under(load: Load, file: &Path) -> HashMap<String, f64> {
    let _account = Account::keep();
    let before = accounts();
    load.run(file);
    let mut sums: HashMap<String, (u64, u64)> = HashMap::new();
    for (id, (name, ns, runs)) in accounts() {
        let (ns_before, runs_before) = before.get(&id).map_or((0, 0), |(_, ns, runs)| (*ns, *runs));
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + ns - ns_before, sum.1 + runs - runs_before);
    }
    let often = sums.into_iter().filter(|(_, (_, runs))| *runs >= LEAST_RUNS);
    often.map(|(name, (ns, runs))| (name, ns as f64 / runs as f64)).collect()
}

/// By the programs' ids: name, ns, runs.
fn accounts() -> HashMap<u64, (String, u64, u64)> {
    let programs = json_of(Command::new("bpftool").args(["--json", "prog", "show"]));
    let programs = programs.as_array().cloned().unwrap_or_default();
    let count = |program: &Value, key: &str| program[key].as_u64().unwrap_or(0);
    programs
        .iter()
        .filter_map(|program| {
            let name = program["name"].as_str()?.to_owned();
            Some((count(program, "id"), (name, count(program, "run_time_ns"), count(program, "run_cnt"))))
        })
        .collect()
}

fn note(costs: &mut Costs, load: Load, programs: HashMap<String, f64>) {
    for (program, ns) in programs {
        costs.entry((load, program)).or_default().push(ns);
    }
}

/// µs an operation.
fn pass_to_and_fro() -> f64 {
    // On one core.
    let mut command = Command::new("taskset");
    command.args(["-c", "0", "perf", "bench", "--format=simple", "sched", "pipe", "--loop", "400000"]);
    let text = output_of(&mut command);
    let seconds: f64 = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("perf: {text}"));
    seconds * 1e6 / 400_000.0
}

fn lay_out(file: &Path) {
    output_of(fio(file).args(["--rw=write", "--bs=1m"]));
}

fn read(file: &Path) -> Reads {
    let mut command = fio(file);
    command.args([
        "--rw=randread",
        "--bs=4k",
        "--iodepth=32",
        "--ioengine=libaio",
        "--time_based",
        "--runtime=3",
    ]);
    let job = json_of(command.arg("--output-format=json"))["jobs"][0].take();
    let per_s = number(&job["read"]["iops"]);
    let cores = (number(&job["usr_cpu"]) + number(&job["sys_cpu"])) / 100.0;
    Reads { per_s, cpu_each_us: cores / per_s * 1e6 }
}

fn fio(file: &Path) -> Command {
    let mut command = Command::new("fio");
    command.args(["--name=reads", "--size=256m", "--direct=1"]).arg(format!("--filename={}", file.display()));
    command
}

fn json_of(command: &mut Command) -> Value {
    let text = output_of(command);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command:?}: {error}: {text}"))
}

fn output_of(command: &mut Command) -> String {
    let output =
        command.stderr(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
