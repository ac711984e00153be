//! How exactly a load is held.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use ssts_tests::{Ctl, Daemon, Ground, outside::Process};

use crate::{
    ROUNDS,
    measure::share,
    peer::StressNg,
    table::{Pair, Table},
};

/// Over which a load's evenness is judged.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOWS: usize = 50;

/// 50 % of core 0: how far the kernel's count is off, and how even it is.
pub(crate) fn rows(ground: &Ground, table: &mut Table) {
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
