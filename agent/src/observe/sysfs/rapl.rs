//! Energy and power of packages, cores and memory: powercap zones, Documentation/power/powercap/powercap.rst and
//! Documentation/ABI/testing/sysfs-class-powercap of the kernel. Since Linux 5.10 for root only (CVE-2020-8694).

use std::time::Duration;

use ssts_proto::{
    catalogue::{HOST_ENERGY, HOST_POWER},
    v1::AbsenceReason,
};

use super::attributes::whole;
use crate::{
    clock,
    host::{
        HostRoots,
        listing::{entries, line, number},
    },
    observe::{
        frame::Frame,
        kernel_file::KernelFile,
        schema::{Column, Schema},
        source::Source,
    },
};

/// Reads every zone with an energy counter.
#[derive(Debug)]
pub(super) struct Rapl {
    roots: HostRoots,
    zones: Vec<Zone>,
}

#[derive(Debug)]
struct Zone {
    energy_uj: KernelFile,
    /// Where the counter begins anew from 0.
    range_uj: f64,
    energy: Column,
    power: Column,
    meter: Meter,
}

/// A counter that wraps, as one that doesn't.
#[derive(Debug, Default)]
struct Meter {
    previous: Option<(f64, Duration)>,
    total_uj: f64,
}

impl Rapl {
    /// Of the sysfs among `roots`.
    pub(super) fn new(roots: &HostRoots) -> Self {
        Self { roots: roots.clone(), zones: Vec::new() }
    }
}

impl Source for Rapl {
    fn describe(&mut self, schema: &mut Schema) {
        let class = self.roots.sys("class/powercap");
        self.zones = entries(&class)
            .into_iter()
            // The same counters once more, over memory-mapped registers.
            .filter(|(id, _)| !id.starts_with("intel-rapl-mmio"))
            .filter_map(|(id, folder)| {
                let range_uj = number(&folder.join("max_energy_range_uj"))?;
                let name = line(&folder.join("name")).unwrap_or_default();
                // `intel-rapl:1:0` is a part of `intel-rapl:1`, whose name is `package-1`.
                let package_zone = id.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
                let package_name = line(&class.join(package_zone).join("name")).unwrap_or_default();
                let package = package_name
                    .strip_prefix("package-")
                    .and_then(|rest| rest.split('-').next())
                    .unwrap_or_default();
                let labels = [id.as_str(), name.as_str(), package];
                Some(Zone {
                    energy_uj: KernelFile::open(folder.join("energy_uj")),
                    range_uj,
                    energy: schema.column(&HOST_ENERGY, &labels),
                    power: schema.column(&HOST_POWER, &labels),
                    meter: Meter::default(),
                })
            })
            .collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        for zone in &mut self.zones {
            let reading = zone.energy_uj.read().and_then(|text| whole(text).ok_or(AbsenceReason::Malformed));
            match reading {
                Ok(uj) => {
                    let watts = zone.meter.advance(uj, zone.range_uj, clock::monotonic());
                    frame.set(zone.energy, Ok(zone.meter.total_uj / 1e6));
                    frame.set(zone.power, watts.ok_or(AbsenceReason::Pending));
                }
                Err(reason) => {
                    // What was used meanwhile is unknown, wraps included.
                    zone.meter.previous = None;
                    frame.set(zone.energy, Err(reason));
                    frame.set(zone.power, Err(reason));
                }
            }
        }
    }
}

impl Meter {
    /// Takes a reading; the mean power since the previous one, in W.
    fn advance(&mut self, uj: f64, range_uj: f64, now: Duration) -> Option<f64> {
        let (before, since) = self.previous.replace((uj, now))?;
        // One that fell has wrapped, once: at 1 kW the 2^32 units of 2^-14 J last for 4 minutes.
        let gained = if uj >= before { uj - before } else { range_uj - before + uj };
        self.total_uj += gained;
        let elapsed = now.saturating_sub(since);
        (!elapsed.is_zero()).then(|| gained / 1e6 / elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    /// As in Documentation/power/powercap/powercap.rst, with the flat names of /sys/class/powercap.
    fn tree() -> TestTree {
        let tree = TestTree::new(&[("sys/class/powercap/intel-rapl/enabled", "1\n")]);
        for (zone, name) in [
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:1:0", "dram"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0"),
        ] {
            for (file, content) in
                [("name", name), ("energy_uj", "1000000"), ("max_energy_range_uj", "262143328850")]
            {
                tree.write(format!("sys/class/powercap/{zone}/{file}"), &format!("{content}\n"));
            }
        }
        tree
    }

    #[test]
    fn zones_know_their_package() {
        let tree = tree();
        let (schema, frame) = tree.sample(&mut Rapl::new(&tree.roots()));
        let read = |labels: &[&str]| value(&schema, &frame, "host.energy", labels);
        assert_eq!(read(&["intel-rapl:0:0", "core", "0"]), Ok(0.0));
        assert_eq!(read(&["intel-rapl:1:0", "dram", "1"]), Ok(0.0));
        assert_eq!(read(&["intel-rapl:2", "psys", ""]), Ok(0.0));
        let power = value(&schema, &frame, "host.power", &["intel-rapl:1", "package-1", "1"]);
        assert_eq!(power, Err(AbsenceReason::Pending));
        assert_eq!(schema.columns.len(), 10, "the memory-mapped one is left out");
    }

    #[test]
    fn a_counter_that_wraps_goes_on_and_watts_are_joules_over_time() {
        let mut meter = Meter::default();
        let at = Duration::from_millis;
        assert_eq!(meter.advance(900.0, 1_000.0, at(0)), None);
        assert_eq!(meter.advance(990.0, 1_000.0, at(1)), Some(90e-6 / 1e-3));
        assert_eq!(meter.advance(40.0, 1_000.0, at(2)), Some(50e-6 / 1e-3));
        assert!((meter.total_uj - 140.0).abs() < 1e-9);
        meter.previous = None;
        assert_eq!(meter.advance(30.0, 1_000.0, at(9)), None, "no power across a gap");
        assert!((meter.total_uj - 140.0).abs() < 1e-9);
    }
}
