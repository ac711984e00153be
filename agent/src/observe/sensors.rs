//! Temperatures: thermal zones and hwmon chips of sysfs. Documentation/ABI/testing/sysfs-class-thermal and
//! Documentation/hwmon/sysfs-interface.rst of the kernel.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ssts_proto::{catalogue::HOST_TEMPERATURE, v1::AbsenceReason};

use super::{
    frame::{Frame, Reading},
    kernel_file::KernelFile,
    schema::{Column, Schema},
    source::Source,
};
use crate::host::HostRoots;

/// A sensor that sysfs names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensor {
    /// Such as `hwmon0/temp1` or `thermal_zone0`.
    pub id: String,
    /// The chip or zone type, and the sensor's own label where it has one.
    pub label: String,
    /// The file that holds the temperature in thousandths of a degree Celsius.
    pub input: PathBuf,
    /// The file that holds the critical temperature, where there is one.
    pub critical: Option<PathBuf>,
}

/// All sensors of a host, in the order of their ids.
pub fn find(roots: &HostRoots) -> Vec<Sensor> {
    let mut sensors = thermal_zones(&roots.sys("class/thermal"));
    sensors.extend(chips(&roots.sys("class/hwmon")));
    sensors.sort_by(|a, b| a.id.cmp(&b.id));
    sensors
}

/// A temperature file's content, in °C.
pub fn celsius(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    text.parse::<i64>().ok().map(|thousandths| thousandths as f64 / 1e3)
}

fn thermal_zones(class: &Path) -> Vec<Sensor> {
    entries(class)
        .filter(|(name, _)| name.starts_with("thermal_zone"))
        .map(|(id, path)| Sensor {
            id,
            label: line(&path.join("type")).unwrap_or_default(),
            input: path.join("temp"),
            critical: critical_trip(&path),
        })
        .collect()
}

/// The trip point at which the kernel would shut the host down.
fn critical_trip(zone: &Path) -> Option<PathBuf> {
    entries(zone)
        .filter(|(name, _)| name.starts_with("trip_point_") && name.ends_with("_type"))
        .find(|(_, path)| line(path).is_some_and(|kind| kind == "critical"))
        .map(|(name, _)| zone.join(name.replace("_type", "_temp")))
}

fn chips(class: &Path) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    for (chip, path) in entries(class) {
        let chip_name = line(&path.join("name")).unwrap_or_default();
        for (input, file) in entries(&path) {
            let Some(sensor) = input.strip_suffix("_input").filter(|name| name.starts_with("temp")) else {
                continue;
            };
            let own = line(&path.join(format!("{sensor}_label")));
            let critical = path.join(format!("{sensor}_crit"));
            sensors.push(Sensor {
                id: format!("{chip}/{sensor}"),
                label: own.map_or_else(|| chip_name.clone(), |own| format!("{chip_name} {own}")),
                input: file,
                critical: critical.exists().then_some(critical),
            });
        }
    }
    sensors
}

fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

fn line(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Reads every sensor.
#[derive(Debug)]
pub struct Sensors {
    roots: HostRoots,
    known: Vec<(Sensor, KernelFile, Column)>,
}

impl Sensors {
    /// Of the sysfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        Self { roots: roots.clone(), known: Vec::new() }
    }
}

impl Source for Sensors {
    fn describe(&mut self, schema: &mut Schema) {
        let mut sensors = find(&self.roots);
        // One that was known stays, though it may be gone: whoever guards it must see it absent.
        let known = self.known.drain(..).map(|(sensor, _, _)| sensor);
        let gone: Vec<_> = known.filter(|old| sensors.iter().all(|new| new.id != old.id)).collect();
        sensors.extend(gone);
        let describe = |sensor: Sensor| {
            let file = KernelFile::open(&sensor.input);
            let column = schema.column(&HOST_TEMPERATURE, &[&sensor.id, &sensor.label]);
            (sensor, file, column)
        };
        self.known = sensors.into_iter().map(describe).collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        for (_, file, column) in &mut self.known {
            frame.set(*column, read(file));
        }
    }
}

fn read(file: &mut KernelFile) -> Reading {
    let reading = file.read().and_then(|text| celsius(text).ok_or(AbsenceReason::Malformed));
    if file.is_there() { reading } else { Err(reading.err().unwrap_or(AbsenceReason::Gone)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    fn tree() -> TestTree {
        TestTree::new(&[
            ("sys/class/hwmon/hwmon0/name", "k10temp\n"),
            ("sys/class/hwmon/hwmon0/temp1_input", "45125\n"),
            ("sys/class/hwmon/hwmon0/temp1_label", "Tctl\n"),
            ("sys/class/hwmon/hwmon0/temp1_crit", "100000\n"),
            ("sys/class/hwmon/hwmon0/fan1_input", "900\n"),
            ("sys/class/thermal/thermal_zone0/type", "acpitz\n"),
            ("sys/class/thermal/thermal_zone0/temp", "-5000\n"),
            ("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n"),
            ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "105000\n"),
            ("sys/class/thermal/cooling_device0/type", "fan\n"),
        ])
    }

    #[test]
    fn zones_and_chips_are_found_and_read() {
        let tree = tree();
        let (schema, frame) = tree.sample(&mut Sensors::new(&tree.roots()));
        assert_eq!(value(&schema, &frame, "host.temperature", &["hwmon0/temp1", "k10temp Tctl"]), Ok(45.125));
        assert_eq!(value(&schema, &frame, "host.temperature", &["thermal_zone0", "acpitz"]), Ok(-5.0));
        assert_eq!(schema.columns.len(), 2);
        assert!(find(&tree.roots()).iter().all(|sensor| sensor.critical.is_some()));
    }

    #[test]
    fn a_sensor_that_goes_away_is_gone_also_in_the_next_schema() {
        let tree = tree();
        let mut sensors = Sensors::new(&tree.roots());
        let (schema, mut frame) = tree.sample(&mut sensors);
        tree.remove("sys/class/hwmon/hwmon0/temp1_input");
        frame.reset(&schema, 2);
        sensors.sample(&mut frame);
        let labels = ["hwmon0/temp1", "k10temp Tctl"];
        assert_eq!(value(&schema, &frame, "host.temperature", &labels), Err(AbsenceReason::Gone));
        let (schema, frame) = tree.sample(&mut sensors);
        assert!(value(&schema, &frame, "host.temperature", &labels).is_err());
    }

    #[test]
    fn nonsense_is_malformed_not_zero() {
        let tree = tree();
        tree.write("sys/class/thermal/thermal_zone0/temp", "hot\n");
        let (schema, frame) = tree.sample(&mut Sensors::new(&tree.roots()));
        let reading = value(&schema, &frame, "host.temperature", &["thermal_zone0", "acpitz"]);
        assert_eq!(reading, Err(AbsenceReason::Malformed));
    }
}
