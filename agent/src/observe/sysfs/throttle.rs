//! Cores and packages that were slowed for heat: `thermal_throttle` of each CPU,
//! Documentation/ABI/testing/sysfs-devices-system-cpu of the kernel. Intel only; other makers' slowing shows in the frequency
//! and in the states of cooling devices.

use std::time::Duration;

use ssts_proto::{catalogue as metrics, catalogue::Metric, v1::AbsenceReason};

use super::{
    attributes::whole,
    topology::{self, Cpu, label},
};
use crate::{
    clock,
    host::HostRoots,
    observe::{
        frame::{Frame, Reading},
        kernel_file::KernelPath,
        schema::{Column, Schema},
        source::Source,
    },
};

/// How long a rise of the counts means "now". The kernel looks at a throttled core once a second, and counts its time when it
/// ends: `THERM_THROT_POLL_INTERVAL` of arch/x86/kernel/cpu/mce/therm_throt.c.
const NOW: Duration = Duration::from_secs(1);
/// Places, of two files each, that are held open.
const HELD_OPEN: usize = 32;

/// Metrics of a place: times, time, and whether now.
type Metrics = [&'static Metric; 3];
const OF_CORE: Metrics =
    [&metrics::HOST_CPU_THROTTLES, &metrics::HOST_CPU_THROTTLED_TIME, &metrics::HOST_CPU_THROTTLED];
const OF_PACKAGE: Metrics = [
    &metrics::HOST_PACKAGE_THROTTLES,
    &metrics::HOST_PACKAGE_THROTTLED_TIME,
    &metrics::HOST_PACKAGE_THROTTLED,
];

/// Reads the counts of every core and package.
#[derive(Debug)]
pub(super) struct Throttle {
    roots: HostRoots,
    places: Vec<Place>,
    buffer: Vec<u8>,
}

/// A core or a package.
#[derive(Debug)]
struct Place {
    count: KernelPath,
    /// Since Linux 5.4.
    time_ms: KernelPath,
    columns: [Column; 3],
    /// What the counts were, and when they last rose, CLOCK_MONOTONIC.
    previous: Option<(f64, Option<f64>)>,
    rose: Option<Duration>,
}

impl Throttle {
    /// Of the sysfs among `roots`.
    pub(super) fn new(roots: &HostRoots) -> Self {
        Self { roots: roots.clone(), places: Vec::new(), buffer: Vec::new() }
    }

    fn add(&mut self, cpu: &Cpu, what: &str, metrics: Metrics, labels: &[&str], schema: &mut Schema) {
        let file = |name: &str| cpu.folder.join(format!("thermal_throttle/{what}_throttle_{name}"));
        if !file("count").exists() {
            return;
        }
        let kept = self.places.len() < HELD_OPEN;
        self.places.push(Place {
            count: KernelPath::new(file("count"), kept),
            time_ms: KernelPath::new(file("total_time_ms"), kept),
            columns: metrics.map(|metric| schema.column(metric, labels)),
            previous: None,
            rose: None,
        });
    }
}

impl Source for Throttle {
    fn describe(&mut self, schema: &mut Schema) {
        self.places.clear();
        let cpus = topology::cpus(&self.roots);
        for cpu in &cpus {
            let labels = [cpu.cpu.to_string(), label(cpu.package), label(cpu.core)];
            self.add(cpu, "core", OF_CORE, &labels.each_ref().map(String::as_str), schema);
        }
        for cpu in topology::first_of_each_die(&cpus) {
            let labels = [label(cpu.package), label(cpu.die)];
            self.add(cpu, "package", OF_PACKAGE, &labels.each_ref().map(String::as_str), schema);
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        let now = clock::monotonic();
        for place in &mut self.places {
            let count = read(&place.count, &mut self.buffer);
            // Before Linux 5.4 it was not there.
            let time_ms = read(&place.time_ms, &mut self.buffer);
            let [counts, times, throttled] = place.columns;
            frame.set(throttled, place.look(count, time_ms.ok(), now));
            frame.set(counts, count);
            frame.set(times, time_ms.map(|ms| ms / 1e3));
        }
    }
}

impl Place {
    /// Whether it is throttled. The first look can't tell.
    fn look(&mut self, count: Reading, time_ms: Option<f64>, now: Duration) -> Reading {
        let count = count?;
        let Some((old_count, old_time_ms)) = self.previous.replace((count, time_ms)) else {
            return Err(AbsenceReason::Pending);
        };
        if count > old_count || time_ms.zip(old_time_ms).is_some_and(|(new, old)| new > old) {
            self.rose = Some(now);
        }
        Ok(f64::from(self.rose.is_some_and(|rose| now.saturating_sub(rose) < NOW)))
    }
}

fn read(file: &KernelPath, buffer: &mut Vec<u8>) -> Reading {
    file.read(buffer).and_then(|text| whole(text).ok_or(AbsenceReason::Malformed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    fn tree() -> TestTree {
        let tree = TestTree::new(&[]);
        for (cpu, package, core) in [(0, 0, 0), (1, 0, 4), (2, 1, 0)] {
            let folder = format!("sys/devices/system/cpu/cpu{cpu}");
            for (name, content) in [
                ("topology/physical_package_id", package.to_string()),
                ("topology/die_id", "0".into()),
                ("topology/core_id", core.to_string()),
                ("thermal_throttle/core_throttle_count", (cpu * 10).to_string()),
                ("thermal_throttle/core_throttle_total_time_ms", "1500".into()),
                ("thermal_throttle/package_throttle_count", (100 + package).to_string()),
            ] {
                tree.write(format!("{folder}/{name}"), &(content + "\n"));
            }
        }
        tree
    }

    #[test]
    fn each_core_and_each_package_once_are_read_with_their_ids() {
        let tree = tree();
        let (schema, frame) = tree.sample(&mut Throttle::new(&tree.roots()));
        let read = |metric: &str, labels: &[&str]| value(&schema, &frame, metric, labels);
        assert_eq!(read("host.cpu.throttles", &["1", "0", "4"]), Ok(10.0));
        assert_eq!(read("host.cpu.throttled_time", &["2", "1", "0"]), Ok(1.5));
        assert_eq!(read("host.package.throttles", &["1", "0"]), Ok(101.0));
        // An old kernel has no time of it.
        assert_eq!(read("host.package.throttled_time", &["0", "0"]), Err(AbsenceReason::Unsupported));
        assert_eq!(read("host.cpu.throttled", &["0", "0", "0"]), Err(AbsenceReason::Pending));
        assert_eq!(schema.columns.len(), 3 * 3 + 2 * 3);
    }

    #[test]
    fn a_count_that_rises_means_throttled_for_a_second() {
        let tree = tree();
        let mut throttle = Throttle::new(&tree.roots());
        let (schema, mut frame) = tree.sample(&mut throttle);
        let labels = ["0", "0", "0"];
        let mut look = |frame: &mut Frame| {
            frame.reset(&schema, 2);
            throttle.sample(frame);
            value(&schema, frame, "host.cpu.throttled", &labels)
        };
        assert_eq!(look(&mut frame), Ok(0.0));
        tree.write("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "1\n");
        assert_eq!(look(&mut frame), Ok(1.0));
        assert_eq!(look(&mut frame), Ok(1.0));
        std::thread::sleep(NOW);
        assert_eq!(look(&mut frame), Ok(0.0));
    }

    #[test]
    fn other_makers_have_no_columns() {
        let tree = TestTree::new(&[("sys/devices/system/cpu/cpu0/topology/core_id", "0\n")]);
        let (schema, _) = tree.sample(&mut Throttle::new(&tree.roots()));
        assert!(schema.columns.is_empty());
    }
}
