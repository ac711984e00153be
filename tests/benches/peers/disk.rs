//! What a disk gives, and what it costs: against fio on a file as large in the same folder, on the same core, with the same
//! engine.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground};

use crate::{
    ROUNDS,
    measure::{number, result_of},
    peer::is_installed,
    table::{Figure, Pair, Table},
};

const SIZE: &str = "256MiB";
const SIZE_BYTES: u64 = 256 << 20;
const SECONDS: u32 = 5;

/// One way to load the disk, with the names of its rows.
struct Workload {
    rw: &'static str,
    block: &'static str,
    depth: u32,
    /// Of IOPS, 99th percentile of latency, and CPU time an I/O.
    names: [&'static str; 3],
    /// The least ratios that we mean to reach.
    bars: [Option<f64>; 3],
}

/// IOPS as many, latency at most 5 % and CPU time at most 80 % of fio's.
const SMALL: [Option<f64>; 3] = [Some(1.0), Some(1.0 / 1.05), Some(1.0 / 0.8)];
/// Of large blocks only the throughput tells.
const LARGE: [Option<f64>; 3] = [Some(0.98), None, None];

const WORKLOADS: [Workload; 6] = [
    Workload {
        rw: "randread",
        block: "4KiB",
        depth: 1,
        names: ["random read 4 KiB, depth 1", "its latency, p99", "its CPU time an I/O"],
        bars: SMALL,
    },
    Workload {
        rw: "randread",
        block: "4KiB",
        depth: 32,
        names: ["random read 4 KiB, depth 32", "its latency, p99", "its CPU time an I/O"],
        bars: SMALL,
    },
    Workload {
        rw: "randwrite",
        block: "4KiB",
        depth: 1,
        names: ["random write 4 KiB, depth 1", "its latency, p99", "its CPU time an I/O"],
        bars: SMALL,
    },
    Workload {
        rw: "randwrite",
        block: "4KiB",
        depth: 32,
        names: ["random write 4 KiB, depth 32", "its latency, p99", "its CPU time an I/O"],
        bars: SMALL,
    },
    Workload {
        rw: "read",
        block: "1MiB",
        depth: 8,
        names: ["sequential read 1 MiB, depth 8", "its latency, p99", "its CPU time an I/O"],
        bars: LARGE,
    },
    Workload {
        rw: "write",
        block: "1MiB",
        depth: 8,
        names: ["sequential write 1 MiB, depth 8", "its latency, p99", "its CPU time an I/O"],
        bars: LARGE,
    },
];

/// What one run of either gave.
struct Outcome {
    iops: f64,
    p99_us: f64,
    cpu_us: f64,
}

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let file = ground.disk().join("peer");
    if is_installed("fio") {
        fill(&file);
    }
    let daemon = Daemon::start(ground);
    for workload in &WORKLOADS {
        let mut pairs: [Pair; 3] = Default::default();
        for _ in 0..ROUNDS {
            let Outcome { iops, p99_us, cpu_us } = ours(ground, workload);
            for (pair, value) in pairs.iter_mut().zip([iops, p99_us, cpu_us]) {
                pair.ours.push(value);
            }
            if file.exists() {
                let Outcome { iops, p99_us, cpu_us } = fio(&file, workload);
                for (pair, value) in pairs.iter_mut().zip([iops, p99_us, cpu_us]) {
                    pair.peer.push(value);
                }
            }
        }
        for (index, pair) in pairs.into_iter().enumerate() {
            let unit = if index == 0 { "IOPS" } else { "µs" };
            let figure = Figure::new(workload.names[index], unit, "fio", pair);
            table.add_figure(Figure { more_is_better: index == 0, bar: workload.bars[index], ..figure });
        }
    }
    drop(daemon);
    rate(ground, &file, table);
    // The ground's folder goes with all that is in it; this is its largest part.
    let _already_gone = std::fs::remove_file(&file);
}

/// 2,000 I/Os a second: how far the mean is off, and the second that is furthest off.
fn rate(ground: &Ground, file: &Path, table: &mut Table) {
    const RATE: f64 = 2_000.0;
    let (mut error, mut deviation) = (Pair::default(), Pair::default());
    ground.configure("[observe]\nrate_hz = 1\n[burners]\ndeadline = \"5s\"\n");
    let daemon = Daemon::start(ground);
    for _ in 0..ROUNDS {
        let words = format!("{} --rate 2000 --depth 4", line(ground, "randread", "4KiB"));
        let outcome = Ctl::new(ground).words(&words).run();
        outcome.assert_status(0);
        let mut result = outcome.json();
        let host = &mut result["hosts"][0];
        let burner = host["burners"][0].take();
        error.ours.push((number(&burner["rates"]["operations_per_s"]) - RATE).abs());
        let seconds = &host["telemetry"]["burner.operations"][0];
        let furthest = [&seconds["min"], &seconds["max"]].map(|value| (number(value) - RATE).abs());
        deviation.ours.push(furthest[0].max(furthest[1]));
        if file.exists() {
            let job = fio_job(
                file,
                "randread",
                "4KiB",
                4,
                &["--rate_iops=2000", "--rate_process=linear", "--iopsavgtime=1000"],
            );
            error.peer.push((number(&job["read"]["iops"]) - RATE).abs());
            let furthest = ["iops_min", "iops_max"].map(|name| (number(&job["read"][name]) - RATE).abs());
            deviation.peer.push(furthest[0].max(furthest[1]));
        }
    }
    drop(daemon);
    ground.configure("");
    let name = "error of a rate of 2,000 I/Os a second";
    table.add_figure(Figure { at_most: Some(RATE / 1e3), ..Figure::new(name, "IOPS", "fio", error) });
    table.add("its second that is furthest off", "IOPS", "fio", deviation);
}

fn line(ground: &Ground, rw: &str, block: &str) -> String {
    let folder = ground.disk().display();
    format!(
        "--output json burn disk --path {folder} --size {SIZE} --rw {rw} --block {block} --duration {SECONDS}s"
    )
}

fn ours(ground: &Ground, workload: &Workload) -> Outcome {
    let words = format!("{} --depth {}", line(ground, workload.rw, workload.block), workload.depth);
    let burner = result_of(Ctl::new(ground).words(&words).spawn());
    let seconds = number(&burner["burning_s"]);
    let operations = number(&burner["operations"]);
    Outcome {
        iops: operations / seconds,
        p99_us: number(&burner["latency_ns"]["p99"]) / 1e3,
        cpu_us: number(&burner["achieved_load"]["mean"]) / 100.0 * seconds * 1e6 / operations,
    }
}

fn fio(file: &Path, workload: &Workload) -> Outcome {
    let job = fio_job(file, workload.rw, workload.block, workload.depth, &[]);
    let side = &job[if workload.rw.ends_with("read") { "read" } else { "write" }];
    let seconds = number(&job["job_runtime"]) / 1e3;
    let cpu_percent = number(&job["usr_cpu"]) + number(&job["sys_cpu"]);
    Outcome {
        iops: number(&side["iops"]),
        // From submission on, as ours.
        p99_us: number(&side["lat_ns"]["percentile"]["99.000000"]) / 1e3,
        cpu_us: cpu_percent / 100.0 * seconds * 1e6 / number(&side["total_ios"]),
    }
}

/// What fio says of its one job.
fn fio_job(file: &Path, rw: &str, block: &str, depth: u32, more: &[&str]) -> Value {
    let last_core = thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    let output = Command::new("fio")
        .args(["--name=peer", "--ioengine=io_uring", "--direct=1", "--time_based", "--norandommap"])
        .args(["--lat_percentiles=1", "--output-format=json"])
        .args(more)
        .arg(format!("--filename={}", file.display()))
        .arg(format!("--size={SIZE_BYTES}"))
        .arg(format!("--rw={rw}"))
        .arg(format!("--bs={}", block.trim_end_matches("iB")))
        .arg(format!("--iodepth={depth}"))
        .arg(format!("--runtime={SECONDS}"))
        .arg(format!("--cpus_allowed={last_core}"))
        .stdin(Stdio::null())
        .output()
        .expect("fio can be executed");
    let text = String::from_utf8_lossy(&output.stdout);
    // Notes may stand before the object.
    let object = text.find('{').map_or("", |begin| &text[begin..]);
    let mut result: Value =
        serde_json::from_str(object).unwrap_or_else(|error| panic!("fio: {error}: {text}"));
    result["jobs"][0].take()
}

/// As our own file is: of bytes that do not repeat, and all on the disk.
fn fill(path: &Path) {
    let mut random = File::open("/dev/urandom").expect("Linux has it").take(SIZE_BYTES);
    let mut file = File::create(path).expect("the folder is ours");
    let copied = std::io::copy(&mut random, &mut file).expect("there is room");
    assert_eq!(copied, SIZE_BYTES);
    file.flush().and_then(|()| file.sync_all()).expect("the disk works");
}
