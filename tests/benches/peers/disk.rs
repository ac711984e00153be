//! What a disk gives.

use std::{
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

/// Random reads of 4 KiB, 32 in flight, past the page cache, through io_uring.
pub(crate) fn rows(ground: &Ground, table: &mut Table) {
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

/// Random reads as our disk burner's; gives I/Os a second.
fn fio(folder: &str) -> f64 {
    let last_core = thread::available_parallelism().map_or(0, |cores| cores.get() - 1).to_string();
    let output = Command::new("fio")
        .args([
            "--name=peer",
            "--ioengine=io_uring",
            "--direct=1",
            "--rw=randread",
            "--bs=4k",
            "--iodepth=32",
        ])
        .args([
            "--size=256M",
            "--time_based",
            "--runtime=4",
            "--unlink=1",
            "--norandommap",
            "--output-format=json",
        ])
        .arg(format!("--directory={folder}"))
        .arg(format!("--cpus_allowed={last_core}"))
        .stdin(Stdio::null())
        .output()
        .expect("fio can be executed");
    let text = String::from_utf8_lossy(&output.stdout);
    // Notes may stand before the object.
    let object = text.find('{').map_or("", |begin| &text[begin..]);
    let result: Value = serde_json::from_str(object).unwrap_or_else(|error| panic!("fio: {error}: {text}"));
    result["jobs"][0]["read"]["iops"].as_f64().unwrap_or_else(|| panic!("fio: {text}"))
}
