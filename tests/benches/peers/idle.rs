//! What observation alone costs.

use std::{
    thread,
    time::{Duration, Instant},
};

use ssts_tests::{Daemon, Ground, outside::Process};

use crate::{
    measure::share,
    peer::Exporter,
    table::{Pair, Table},
};

/// Between two readings.
const PERIOD: Duration = Duration::from_millis(100);

/// Observation alone, ten times a second with all probes, for 20 s; the exporter is read as often.
pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let (mut cpu, mut memory) = (Pair::default(), Pair::default());
    let daemon = Daemon::start(ground);
    let measure = |process: Process, meanwhile: &mut dyn FnMut()| {
        let read = || (Instant::now(), process.cpu_time().unwrap_or_default());
        let begin = read();
        while begin.0.elapsed() < Duration::from_secs(10) {
            let next = Instant::now() + PERIOD;
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
            let (load, resident) = measure(exporter.process(), &mut || drop(exporter.scrape()));
            cpu.peer.push(load);
            memory.peer.push(resident);
        }
    }
    table.add("idle daemon, 10 Hz: CPU", "% of a core", "node_exporter", cpu);
    table.add("idle daemon, 10 Hz: memory", "MiB", "node_exporter", memory);
}
