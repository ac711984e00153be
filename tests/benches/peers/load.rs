//! How exactly a load is held, alone on a core and beside somebody who takes 30 % of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use ssts_tests::{Ctl, Daemon, Ground, beside, outside::Process};

use crate::{
    ROUNDS,
    measure::share,
    peer::StressNg,
    table::{Figure, Pair, Table},
};

/// Over which a load's evenness is judged.
const WINDOW: Duration = Duration::from_millis(100);
/// Ten seconds.
const WINDOWS: usize = 100;
const TARGETS: [u32; 5] = [10, 25, 50, 75, 90];
/// Of the neighbour.
const NEIGHBOUR: f64 = 0.3;

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    for target in TARGETS {
        let (mut error, mut deviation) = (Pair::default(), Pair::default());
        for _ in 0..ROUNDS {
            let (mean, sd) = ours(ground, &format!("--load {target}"));
            error.ours.push((mean - f64::from(target)).abs());
            deviation.ours.push(sd);
            if let Some((mean, sd)) = peers(target) {
                error.peer.push((mean - f64::from(target)).abs());
                deviation.peer.push(sd);
            }
        }
        bounded(table, format!("load {target} %: error over 10 s"), error, 0.2);
        bounded(table, format!("load {target} %: deviation over 100 ms"), deviation, 0.3);
    }
    crowded(ground, table, "--mode core --load 50", 50, Judged::Core, 1.0);
    crowded(ground, table, "--mode core --load 75", 75, Judged::Core, 1.0);
    crowded(ground, table, "--load 50", 50, Judged::Own, 0.3);
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Judged {
    Own,
    Core,
}

/// The error of a load beside the neighbour; of the core's total it is what the kernel's books give to both.
fn crowded(ground: &Ground, table: &mut Table, flags: &str, target: u32, judged: Judged, most: f64) {
    let mut pair = Pair::default();
    let error = |(mean, had): (f64, f64)| {
        let total = if judged == Judged::Core { mean + 100.0 * had } else { mean };
        (total - f64::from(target)).abs()
    };
    for _ in 0..ROUNDS {
        let ((mean, _), had) = beside(NEIGHBOUR, || ours(ground, flags));
        pair.ours.push(error((mean, had)));
        if let (Some((mean, _)), had) = beside(NEIGHBOUR, || peers(target)) {
            pair.peer.push(error((mean, had)));
        }
    }
    let whose = if judged == Judged::Core { "the core's" } else { "own" };
    bounded(table, format!("beside 30 %: {whose} load of {target} %: error"), pair, most);
}

fn ours(ground: &Ground, flags: &str) -> (f64, f64) {
    let daemon = Daemon::start(ground);
    let running =
        Ctl::new(ground).words(&format!("burn cpu --cores 0 --tolerance 100 --duration 1m {flags}")).spawn();
    let measured = loads(&daemon.burning(1));
    running.signal(Signal::SIGINT);
    running.outcome();
    measured
}

fn peers(target: u32) -> Option<(f64, f64)> {
    let stress_ng = StressNg::spawn(&["--cpu", "1", "--cpu-load", &target.to_string(), "--taskset", "0"])?;
    Some(loads(&stress_ng.burning(1)))
}

fn bounded(table: &mut Table, name: String, pair: Pair, most: f64) {
    table.add_figure(Figure { at_most: Some(most), ..Figure::new(name, "points", "stress-ng", pair) });
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
