//! How many agents one `sstsctl` commands: simulated ones, with the real service over real TLS on this machine, which they share
//! with it. Then how exact, with real ones (`fleet_hosts`).

use std::{
    env,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ssts_tests::{Ctl, Daemon, Ground, Pki, Swarm, Template, outside};

use crate::{
    fleet_hosts,
    measure::share,
    peer::is_installed,
    table::{Figure, Pair, Table},
};

const ROUNDS: usize = 5;
/// The bars are of the middle one; growth is from the first to the last.
const SIZES: [usize; 3] = [100, 1_000, 2_000];
const OF_BARS: usize = 1_000;
const START_S: f64 = 5.0;
const HALT_S: f64 = 1.0;
const MEMORY_MB: f64 = 300.0;
const CPU_PERCENT: f64 = 50.0;
const GROWTH: f64 = 1.1;
/// Longer than any of these takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the live view, once it is there.
const WARM_UP: Duration = Duration::from_secs(10);
const VIEW: Duration = Duration::from_secs(20);
/// Ansible does one thing on a thousand hosts within this, or is given up.
const ANSIBLE_S: u64 = 900;
/// As many hosts as it asks at once.
const FORKS: &str = "20";
const ANSIBLE: &str = "ansible";

/// What one size came to, a value a round.
#[derive(Default)]
struct Sized {
    start_s: Vec<f64>,
    start_cpu_s: Vec<f64>,
    halt_s: Vec<f64>,
    halt_ends_s: Vec<f64>,
    most_mb: f64,
}

/// An `sstsctl` that has ended, and what it took.
struct Took {
    began: Instant,
    began_unix_ns: i64,
    all: Duration,
    cpu: Duration,
    most_bytes: u64,
}

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let asked = env::var("FLEET_ROWS").unwrap_or_default();
    let is_asked = |name: &str| asked.is_empty() || asked.split(',').any(|asked| asked == name);
    if is_asked("simulated") {
        simulated(ground, table);
    }
    if is_asked("hosts") {
        fleet_hosts::starts_and_halts(ground, table);
    }
    if is_asked("partition") {
        fleet_hosts::partitions(ground, table);
    }
    if is_asked("planted") {
        fleet_hosts::planted(ground, table);
    }
}

fn simulated(ground: &Ground, table: &mut Table) {
    let pki = Pki::new(ground, "pki");
    let alice = pki.client(ground, "alice", "admin");
    let daemon = Daemon::start(ground);
    let template = Template::of(ground);
    drop(daemon);
    let swarm = Swarm::start(&pki, alice, template, SIZES[SIZES.len() - 1]);
    let sizes = SIZES.map(|size| measured(ground, &swarm, size));
    for (size, of) in SIZES.iter().zip(&sizes) {
        let bar = |most: f64| (*size == OF_BARS).then_some(most);
        let peer = if *size == OF_BARS { ansible(ground, *size) } else { Vec::new() };
        let peer_name = if *size == OF_BARS { ANSIBLE } else { "" };
        let note = (*size == OF_BARS).then(|| {
            format!("peer: `true` on each by its local connection, no ssh and no Python, {FORKS} forks")
        });
        let pair = Pair { ours: of.start_s.clone(), peer, note };
        let figure =
            Figure::new(format!("{size} simulated: prepare and start, from cold"), "s", peer_name, pair);
        table.add_figure(Figure { at_most: bar(START_S), ..figure });
        let ends = of.halt_ends_s.iter().copied().fold(0.0, f64::max);
        let note = Some(format!("its end, with all confirmations told: {ends:.2} s at most"));
        let pair = Pair { ours: of.halt_s.clone(), peer: Vec::new(), note };
        let figure = Figure::new(format!("{size} simulated: halt, to the last one quiet"), "s", "", pair);
        table.add_figure(Figure { at_most: bar(HALT_S), ..figure });
        let pair = Pair { ours: of.start_cpu_s.clone(), ..Pair::default() };
        table.add_figure(Figure::new(format!("{size} simulated: CPU time of a start"), "s", "", pair));
        let pair = Pair { ours: vec![of.most_mb], ..Pair::default() };
        let figure =
            Figure::new(format!("{size} simulated: memory of sstsctl, start and halt"), "MB", "", pair);
        table.add_figure(Figure { at_most: bar(MEMORY_MB), ..figure });
    }
    view(ground, &swarm, table);
    let growth = |of: fn(&Sized) -> &[f64]| {
        let middle = |sized: &Sized| {
            let mut sorted = of(sized).to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        let linear = SIZES[SIZES.len() - 1] as f64 / SIZES[0] as f64;
        middle(&sizes[SIZES.len() - 1]) / middle(&sizes[0]) / linear
    };
    for (name, of) in [
        ("start", (|sized| &sized.start_s) as fn(&Sized) -> &[f64]),
        ("CPU time of a start", |sized| &sized.start_cpu_s),
        ("halt", |sized| &sized.halt_s),
    ] {
        let pair = Pair { ours: vec![growth(of)], ..Pair::default() };
        let name = format!("growth from {} to {}: {name}", SIZES[0], SIZES[SIZES.len() - 1]);
        table.add_figure(Figure { at_most: Some(GROWTH), ..Figure::new(name, "x linear", "", pair) });
    }
}

fn ctl(ground: &Ground, swarm: &Swarm, size: usize, words: &str) -> Ctl {
    let inventory = ground.file("hosts.toml", &swarm.inventory(size));
    let ctl = Ctl::bare(ground).args(["--pki", swarm.client(), "--fleet", &inventory]);
    ctl.words(&format!("--store none {words}"))
}

fn measured(ground: &Ground, swarm: &Swarm, size: usize) -> Sized {
    let mut sized = Sized::default();
    for _ in 0..ROUNDS {
        swarm.forget();
        let started =
            took(ctl(ground, swarm, size, "--output json burn cpu --load 10 --duration 10m --detach"));
        let all_burn = outside::within(PATIENCE, || {
            thread::sleep(Duration::from_millis(50));
            swarm.burning() == size
        });
        assert!(all_burn.is_some(), "{} of {size} burn", swarm.burning());
        let last = swarm.began_at_unix_ns().unwrap_or_default() - started.began_unix_ns;
        sized.start_s.push(last as f64 / 1e9);
        sized.start_cpu_s.push(started.cpu.as_secs_f64());
        let halted = took(ctl(ground, swarm, size, "--output json halt --all --reason bench"));
        assert_eq!(swarm.halted(), size, "not all are halted");
        let last = swarm.last("Halt").unwrap_or(halted.began);
        sized.halt_s.push((last - halted.began).as_secs_f64());
        sized.halt_ends_s.push(halted.all.as_secs_f64());
        for took in [&started, &halted] {
            sized.most_mb = sized.most_mb.max(took.most_bytes as f64 / 1e6);
        }
    }
    swarm.forget();
    sized
}

fn took(ctl: Ctl) -> Took {
    let began = Instant::now();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let running = ctl.spawn();
    let process = running.process();
    let (mut most_bytes, mut cpu, mut all) = (0, Duration::ZERO, Duration::ZERO);
    outside::within(PATIENCE, || {
        // Looked at seldom: there are two cores, and looking takes some of them.
        thread::sleep(Duration::from_millis(5));
        most_bytes = most_bytes.max(process.resident_bytes().unwrap_or_default());
        cpu = cpu.max(process.cpu_time().unwrap_or_default());
        all = began.elapsed();
        !process.is_alive()
    });
    running.outcome().assert_status(0);
    let began_unix_ns = i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX);
    Took { began, began_unix_ns, all, cpu, most_bytes }
}

/// `top` of all of them on a terminal, while they burn.
fn view(ground: &Ground, swarm: &Swarm, table: &mut Table) {
    let start = ctl(ground, swarm, OF_BARS, "--output json burn cpu --load 10 --duration 10m --detach");
    start.run().assert_status(0);
    let mut terminal = ctl(ground, swarm, OF_BARS, "top").on_terminal();
    let process = terminal.process();
    thread::sleep(WARM_UP);
    let look = || (Instant::now(), process.cpu_time().unwrap_or_default());
    let begin = look();
    let mut most_bytes = 0;
    outside::within(VIEW, || {
        thread::sleep(Duration::from_millis(100));
        most_bytes = most_bytes.max(process.resident_bytes().unwrap_or_default());
        false
    });
    let percent = share(begin, look());
    let is_there = process.is_alive();
    let screen = terminal.screen();
    terminal.keys("q");
    terminal.end();
    swarm.forget();
    assert!(is_there, "the view did not go on:\n{screen}");
    let pair = Pair { ours: vec![percent], ..Pair::default() };
    let figure = Figure::new(format!("{OF_BARS} simulated: live view at 1 Hz"), "% of a core", "", pair);
    table.add_figure(Figure { at_most: Some(CPU_PERCENT), ..figure });
    let pair = Pair { ours: vec![most_bytes as f64 / 1e6], ..Pair::default() };
    let figure = Figure::new(format!("{OF_BARS} simulated: memory of the live view"), "MB", "", pair);
    table.add_figure(Figure { at_most: Some(MEMORY_MB), ..figure });
}

/// Seconds until ansible has done nothing on as many hosts. Its connections are local, which spares it ssh: in its favour.
fn ansible(ground: &Ground, size: usize) -> Vec<f64> {
    if !is_installed(ANSIBLE) {
        return Vec::new();
    }
    let hosts: String =
        (0..size).map(|number| format!("sim-{number:04} ansible_connection=local\n")).collect();
    let inventory = ground.file("hosts.ini", &hosts);
    let began = Instant::now();
    let outcome = Command::new("timeout")
        .args([
            &ANSIBLE_S.to_string(),
            ANSIBLE,
            "all",
            "-i",
            &inventory,
            "-m",
            "raw",
            "-a",
            "true",
            "-f",
            FORKS,
        ])
        .env("HOME", ground.path("home"))
        .env("ANSIBLE_RETRY_FILES_ENABLED", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match outcome {
        Ok(status) if status.success() => vec![began.elapsed().as_secs_f64()],
        Ok(status) => {
            println!("ansible ended with {status}: it is not compared");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}
