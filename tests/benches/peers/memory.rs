//! What memory gives, and how fast it is filled and given back.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use ssts_tests::{Ctl, Daemon, Ground, outside};

use crate::{
    ROUNDS,
    bare::{self, Loop},
    measure::{number, result_of, since},
    peer::{StressNg, is_installed},
    table::{Figure, Pair, Table},
};

const HELD_BYTES: u64 = 2 << 30;
/// Of what was asked for: from here on it counts as filled.
const FILLED_BYTES: u64 = HELD_BYTES / 100 * 95;
const STREAMED: Duration = Duration::from_secs(2);

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let daemon = Daemon::start(ground);
    for (name, kind, threads) in [
        ("stream copy, 1 thread", Loop::Copy, 1),
        ("stream copy, 2 threads", Loop::Copy, 2),
        ("stream triad, 1 thread", Loop::Triad, 1),
        ("stream triad, 2 threads", Loop::Triad, 2),
    ] {
        stream(ground, table, name, kind, threads);
    }
    verify(ground, table, "verify, 2 GiB, 2 threads", &[]);
    verify(ground, table, "verify, 2 GiB, 2 threads, -W", &["-W"]);
    fill_and_release(ground, &daemon, table);
}

/// Arrays of 512 MiB, non-temporal stores, beside the same loop without anything around it.
fn stream(ground: &Ground, table: &mut Table, name: &'static str, kind: Loop, threads: usize) {
    let mut pair = Pair::default();
    let (cores, word) =
        (if threads == 1 { "0" } else { "0-1" }, if kind == Loop::Copy { "copy" } else { "triad" });
    let mib = 3 * 512 * threads;
    for _ in 0..ROUNDS {
        let words = format!(
            "--output json burn memory --method stream --loops {word} --size {mib}MiB --cores {cores} --duration {}ms",
            STREAMED.as_millis()
        );
        let burner = result_of(Ctl::new(ground).words(&words).spawn());
        pair.ours.push(number(&burner["rates"]["bytes_per_s"]) / 1e9);
        pair.peer.extend(bare::stream(kind, threads, STREAMED).map(|rate| rate / 1e9));
    }
    if kind == Loop::Copy {
        let others = Pair { ours: pair.ours.clone(), peer: stress_ng_stream(cores, threads), note: None };
        let name = format!("{name}, beside --stream");
        table.add_figure(Figure { more_is_better: true, ..Figure::new(name, "GB/s", "stress-ng", others) });
    }
    table.add_figure(Figure {
        more_is_better: true,
        bar: Some(0.95),
        ..Figure::new(name, "GB/s", "the bare loop", pair)
    });
}

/// What it says that its four loops read and write, in GB/s, all of its processes together. It says nothing of less than 5 s.
fn stress_ng_stream(cores: &str, threads: usize) -> Vec<f64> {
    let once = || {
        let output = Command::new("stress-ng")
            .args(["--stream", &threads.to_string(), "--taskset", cores, "--timeout", "6"])
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        // ... stream: memory rate: 21842.67 MB read/sec, 14561.78 MB write/sec, 1908.62 Mflop/sec (instance 0)
        let of_instance = |line: &str| {
            let (read, more) = line.split_once("memory rate: ")?.1.split_once(" MB read/sec, ")?;
            let write = more.split_once(" MB write/sec")?.0;
            Some((read.parse::<f64>().ok()? + write.parse::<f64>().ok()?) / 1e3)
        };
        let rates: Vec<f64> = text.lines().filter_map(of_instance).collect();
        (rates.len() == threads).then(|| rates.iter().sum())
    };
    (0..ROUNDS).map_while(|_| once()).collect()
}

/// Bytes read and written, as both count them.
fn verify(ground: &Ground, table: &mut Table, name: &'static str, options: &[&str]) {
    let mut pair = Pair::default();
    for _ in 0..ROUNDS {
        let words = "--output json burn memory --method verify --size 2GiB --cores 0-1 --duration 4s";
        let burner = result_of(Ctl::new(ground).words(words).spawn());
        pair.ours.push(number(&burner["rates"]["bytes_per_s"]) / 1e9);
        pair.peer.extend(is_installed("stressapptest").then(|| stressapptest(options)));
    }
    table.add_figure(Figure {
        more_is_better: true,
        bar: Some(1.1),
        ..Figure::new(name, "GB/s", "stressapptest", pair)
    });
}

/// Its rate of memory copies, in GB/s: it counts what it reads and what it writes, in MiB.
fn stressapptest(options: &[&str]) -> f64 {
    let output = Command::new("stressapptest")
        .args(["-M", "2048", "-s", "4", "-m", "2"])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("it can be executed");
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| {
        line.split_once("Memory Copy: ")?
            .1
            .split_once(" at ")?
            .1
            .trim()
            .strip_suffix("MB/s")?
            .parse::<f64>()
            .ok()
    });
    rate.unwrap_or_else(|| panic!("stressapptest: {text}")) * f64::from(1 << 20) / 1e9
}

/// 2 GiB: from the command to 95 % in RAM, the share of the time after that it stays there, and from the stop to its end.
fn fill_and_release(ground: &Ground, daemon: &Daemon, table: &mut Table) {
    let (mut fill, mut short, mut release) = (Pair::default(), Pair::default(), Pair::default());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let running = Ctl::new(ground).words("burn memory --size 2GiB --duration 1m").spawn();
        let is_full = || {
            let resident = daemon.burners().first().and_then(outside::Process::resident_bytes);
            resident >= Some(FILLED_BYTES)
        };
        // What is not full by then counts as that.
        outside::within(Duration::from_secs(30), is_full);
        fill.ours.push(begin.elapsed().as_secs_f64());
        short.ours.push(share_of_looks(|| !is_full()));
        let burners = daemon.burners();
        let begin = Instant::now();
        running.signal(Signal::SIGINT);
        release.ours.push(since(begin, || !burners.iter().any(outside::Process::is_alive)));
        drop(running.outcome());
        fill.peer.push(bare::populate(HELD_BYTES as usize).as_secs_f64());
        if let Some(mut peer) = StressNg::spawn(&["--vm", "1", "--vm-bytes", "2G", "--vm-keep"]) {
            let is_full = || peer.all().iter().any(|process| process.resident_bytes() >= Some(FILLED_BYTES));
            outside::within(Duration::from_secs(30), is_full);
            let all = peer.all();
            let begin = Instant::now();
            peer.signal(Signal::SIGTERM);
            release.peer.push(since(begin, || !all.iter().any(outside::Process::is_alive)));
            outside::within(Duration::from_secs(5), || peer.reap());
        }
        // As it comes, without --vm-keep, it gives its memory back each time around.
        if let Some(peer) = StressNg::spawn(&["--vm", "1", "--vm-bytes", "2G"]) {
            let is_full = || peer.all().iter().any(|process| process.resident_bytes() >= Some(FILLED_BYTES));
            outside::within(Duration::from_secs(30), is_full);
            short.peer.push(share_of_looks(|| !is_full()));
        }
    }
    short.note = Some("100 looks in the second after".into());
    table.add_figure(Figure {
        bar: Some(1.0 / 1.3),
        ..Figure::new("2 GiB, from the command to 95 %", "s", "MADV_POPULATE_WRITE", fill)
    });
    table.add_figure(Figure {
        at_most: Some(0.0),
        ..Figure::new("2 GiB, time below 95 % once filled", "%", "stress-ng --vm", short)
    });
    table.add_figure(Figure {
        at_most: Some(50.0),
        ..Figure::new("2 GiB, from the stop to the end", "ms", "stress-ng", release)
    });
}

/// Percent of a hundred looks, 10 ms apart.
fn share_of_looks(is_so: impl Fn() -> bool) -> f64 {
    let look = |_: &i32| {
        thread::sleep(Duration::from_millis(10));
        is_so()
    };
    (0..100).filter(look).count() as f64
}
