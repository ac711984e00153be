//! Us beside the specialists, on the same machine in the same minutes: alternating, so that what disturbs one disturbs the
//! other. Prints a table and writes target/bench.json. A peer that is not installed is named, and our own figure stands.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and prints what it measures"
)]

#[path = "peers/peer.rs"]
mod peer;
#[path = "peers/table.rs"]
mod table;

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use ssts_tests::{
    Ctl, Daemon, Ground, Running,
    outside::{self, Process},
};

use peer::{Exporter, StressNg, fio, is_installed};
use table::{Figure, Pair, Table};

/// Of each pair.
const ROUNDS: usize = 5;
/// Over which a load's evenness is judged.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOWS: usize = 50;
/// What a survivor of its parent's death is given.
const SURVIVAL: Duration = Duration::from_secs(3);
/// CPU time that shows that a worker burns.
const BURNS: Duration = Duration::from_millis(1);

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` only want to know that it builds.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let ground = Ground::alone();
    peer::look_first();
    let mut table = Table::default();
    half_load(&ground, &mut table);
    start_and_stop(&ground, &mut table);
    killed(&ground, &mut table);
    idle(&ground, &mut table);
    flops(&ground, &mut table);
    iops(&ground, &mut table);
    let path = ground.programs().target.join("bench.json");
    table.finish(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// 50 % of core 0: how far the kernel's count is off, and how even it is.
fn half_load(ground: &Ground, table: &mut Table) {
    let (mut error, mut deviation) = (Pair::default(), Pair::default());
    for _ in 0..ROUNDS {
        let daemon = Daemon::start(ground);
        let running = Ctl::new(ground).words("burn cpu --cores 0 --load 50 --duration 8s").spawn();
        let (mean, sd) = loads(&daemon.burning(1));
        error.ours.push((mean - 50.0).abs());
        deviation.ours.push(sd);
        running.signal(Signal::SIGINT);
        running.outcome();
        drop(daemon);
        if let Some(stress_ng) = StressNg::spawn(&["--cpu", "1", "--cpu-load", "50", "--taskset", "0"]) {
            let (mean, sd) = loads(&stress_ng.burning(1));
            error.peer.push((mean - 50.0).abs());
            deviation.peer.push(sd);
        }
    }
    table.add("error of a load of 50 % over 5 s", "points", "stress-ng", error);
    table.add("its standard deviation over 100 ms", "points", "stress-ng", deviation);
}

/// Mean and standard deviation over windows of the load of all these together, percent.
fn loads(processes: &[Process]) -> (f64, f64) {
    thread::sleep(Duration::from_millis(500));
    let read = || (Instant::now(), processes.iter().filter_map(Process::cpu_time).sum::<Duration>());
    let begin = read();
    let mut last = begin;
    let loads: Vec<f64> = (1..=WINDOWS as u32)
        .map(|n| {
            thread::sleep((begin.0 + WINDOW * n).saturating_duration_since(Instant::now()));
            let now = read();
            let load = share(last, now);
            last = now;
            load
        })
        .collect();
    let mean = share(begin, last);
    let variance = loads.iter().map(|load| (load - mean).powi(2)).sum::<f64>() / loads.len() as f64;
    (mean, variance.sqrt())
}

fn share(begin: (Instant, Duration), end: (Instant, Duration)) -> f64 {
    100.0 * (end.1.saturating_sub(begin.1)).as_secs_f64() / (end.0 - begin.0).as_secs_f64()
}

/// From the command to two workers that burn, and from the stop to silence.
fn start_and_stop(ground: &Ground, table: &mut Table) {
    let (mut start, mut stop) = (Pair::default(), Pair::default());
    let daemon = Daemon::start(ground);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let running = Ctl::new(ground).words("burn cpu --duration 1m").spawn();
        let workers = || {
            daemon
                .burners()
                .iter()
                .flat_map(Process::workers)
                .filter_map(|worker| worker.cpu_time())
                .filter(|time| *time > BURNS)
                .count()
        };
        start.ours.extend(since(begin, || workers() >= 2));
        let burners = daemon.burners();
        thread::sleep(Duration::from_millis(500));
        let begin = Instant::now();
        let stopping = Ctl::new(ground).words("stop").spawn();
        stop.ours.extend(since(begin, || !burners.iter().any(Process::is_alive)));
        stopping.outcome();
        running.outcome();

        let begin = Instant::now();
        let Some(mut stress_ng) = StressNg::spawn(&["--cpu", "2"]) else { continue };
        start.peer.extend(since(begin, || stress_ng.burning_now() >= 2));
        let all = stress_ng.all();
        thread::sleep(Duration::from_millis(500));
        let begin = Instant::now();
        stress_ng.signal(Signal::SIGINT);
        stop.peer.extend(since(begin, || stress_ng.reap() && !all.iter().any(Process::is_alive)));
    }
    table.add("command to two burning workers", "ms", "stress-ng", start);
    table.add("stop to the last one gone", "ms", "stress-ng", stop);
}

/// `kill -9` of whoever is in charge: until the last of its burners is gone.
fn killed(ground: &Ground, table: &mut Table) {
    let mut pair = Pair::default();
    for _ in 0..ROUNDS {
        let mut daemon = Daemon::start(ground);
        Ctl::new(ground).words("burn cpu --duration 1m --detach").run().assert_status(0);
        let burners = daemon.burning(1);
        let begin = Instant::now();
        daemon.signal(Signal::SIGKILL);
        pair.ours.extend(since(begin, || !burners.iter().any(Process::is_alive)));
        daemon.wait(SURVIVAL);

        let Some(mut stress_ng) = StressNg::spawn(&["--cpu", "2"]) else { continue };
        let burners = stress_ng.burning(2);
        let begin = Instant::now();
        stress_ng.signal(Signal::SIGKILL);
        let gone = since(begin, || stress_ng.reap() && !burners.iter().any(Process::is_alive));
        pair.note = gone.is_none().then(|| "some survive: counted as 3,000 ms".to_owned()).or(pair.note);
        pair.peer.push(gone.unwrap_or(SURVIVAL.as_secs_f64() * 1e3));
        burners.iter().for_each(Process::kill);
    }
    table.add("kill -9 to the last burner gone", "ms", "stress-ng", pair);
}

/// Milliseconds until it is so.
fn since(begin: Instant, is_so: impl FnMut() -> bool) -> Option<f64> {
    outside::within(SURVIVAL, is_so).map(|_| begin.elapsed().as_secs_f64() * 1e3)
}

/// Observation alone, ten times a second with all probes, for 20 s; the exporter is read as often.
fn idle(ground: &Ground, table: &mut Table) {
    let (mut cpu, mut memory) = (Pair::default(), Pair::default());
    let daemon = Daemon::start(ground);
    let measure = |process: Process, meanwhile: &mut dyn FnMut()| {
        let read = || (Instant::now(), process.cpu_time().unwrap_or_default());
        let begin = read();
        while begin.0.elapsed() < Duration::from_secs(10) {
            let next = Instant::now() + WINDOW;
            meanwhile();
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        (share(begin, read()), process.resident_bytes().unwrap_or_default() as f64 / f64::from(1 << 20))
    };
    thread::sleep(Duration::from_secs(2));
    let exporter = Exporter::spawn();
    for _ in 0..2 {
        let (load, resident) = measure(daemon.process(), &mut || {});
        cpu.ours.push(load);
        memory.ours.push(resident);
        if let Some(exporter) = &exporter {
            let (load, resident) = measure(exporter.process(), &mut || exporter.scrape());
            cpu.peer.push(load);
            memory.peer.push(resident);
        }
    }
    table.add("idle daemon, 10 Hz: CPU", "% of a core", "node_exporter", cpu);
    table.add("idle daemon, 10 Hz: memory", "MiB", "node_exporter", memory);
}

/// Double-precision operations a second of CPU time. stress-ng counts none of fused multiply-adds.
fn flops(ground: &Ground, table: &mut Table) {
    let mut pair = Pair::default();
    let daemon = Daemon::start(ground);
    for _ in 0..ROUNDS {
        let running = Ctl::new(ground).words("--output json burn cpu --cores 0 --duration 2s").spawn();
        let burner = result_of(running);
        let seconds = number(&burner["burning_s"]) * number(&burner["achieved_load"]["mean"]) / 100.0;
        pair.ours.push(number(&burner["flops"]) / seconds / 1e9);
    }
    drop(daemon);
    pair.note = Some("no peer counts them".into());
    table.add_figure(Figure {
        more_is_better: true,
        ..Figure::new("fused multiply-adds, one core", "GFLOP/s", "", pair)
    });
}

/// Random reads of 4 KiB, 32 in flight, past the page cache, through io_uring.
fn iops(ground: &Ground, table: &mut Table) {
    let mut pair = Pair::default();
    let daemon = Daemon::start(ground);
    let folder = ground.disk().to_str().expect("the path is ASCII");
    for _ in 0..ROUNDS {
        let words = format!("--output json burn disk --path {folder} --size 256MiB --duration 4s");
        let burner = result_of(Ctl::new(ground).words(&words).spawn());
        pair.ours.push(number(&burner["rates"]["operations_per_s"]));
        pair.peer.extend(is_installed("fio").then(|| fio(folder)));
    }
    drop(daemon);
    table.add_figure(Figure {
        more_is_better: true,
        ..Figure::new("random reads, 4 KiB, depth 32", "IOPS", "fio", pair)
    });
}

fn result_of(running: Running) -> Value {
    let outcome = running.outcome();
    outcome.assert_status(0);
    outcome.json()["hosts"][0]["burners"][0].take()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}
