//! Temperatures: thermal zones and hwmon chips of sysfs. Documentation/ABI/testing/sysfs-class-thermal and
//! Documentation/hwmon/sysfs-interface.rst of the kernel.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use ssts_proto::{
    catalogue::{
        HOST_COOLING_STATE, HOST_CRITICAL_TEMPERATURE, HOST_FAN_SPEED, HOST_SENSOR_POWER, HOST_TEMPERATURE,
    },
    v1::AbsenceReason,
};
use tracing::error;

use super::attributes::{Attribute, Attributes, whole};
use crate::{
    host::{
        HostRoots,
        listing::{entries, line, numbered},
    },
    observe::{
        aside::{Aside, Pace},
        frame::{Frame, Reading},
        kernel_file::KernelFile,
        schema::{Column, Schema},
        source::Source,
    },
};

/// Chips and zones that have a thread each, so that a slow one delays no other. Those beyond share one.
const THREADS: usize = 16;
/// How often a look is taken for sensors that came, by the readings in between, and at least.
const READINGS_BETWEEN_LOOKS: u32 = 100;
const LONGEST_REST: Duration = Duration::from_secs(5);

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
    /// The physical package that it is in, where the driver says.
    pub package: Option<u32>,
    /// The core in that package, where it is one's.
    pub core: Option<u32>,
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
        .into_iter()
        .filter(|(name, _)| name.starts_with("thermal_zone"))
        .map(|(id, path)| Sensor {
            id,
            label: line(&path.join("type")).unwrap_or_default(),
            input: path.join("temp"),
            critical: critical_trip(&path),
            package: None,
            core: None,
        })
        .collect()
}

/// The trip point at which the kernel would shut the host down.
fn critical_trip(zone: &Path) -> Option<PathBuf> {
    entries(zone)
        .into_iter()
        .filter(|(name, _)| name.starts_with("trip_point_") && name.ends_with("_type"))
        .find(|(_, path)| line(path).is_some_and(|kind| kind == "critical"))
        .map(|(name, _)| zone.join(name.replace("_type", "_temp")))
}

fn chips(class: &Path) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    for (chip, path) in entries(class) {
        let chip_name = line(&path.join("name")).unwrap_or_default();
        let package = (chip_name == "coretemp").then(|| coretemp_package(&path)).flatten();
        for (input, file) in entries(&path) {
            let Some(sensor) = input.strip_suffix("_input").filter(|name| name.starts_with("temp")) else {
                continue;
            };
            let own = line(&path.join(format!("{sensor}_label")));
            let critical = path.join(format!("{sensor}_crit"));
            // Only the core's own sensor, of one package, is a core's.
            let core = own.as_deref().and_then(|own| own.strip_prefix("Core ")?.parse().ok());
            sensors.push(Sensor {
                id: format!("{chip}/{sensor}"),
                label: own.map_or_else(|| chip_name.clone(), |own| format!("{chip_name} {own}")),
                input: file,
                critical: critical.exists().then_some(critical),
                package,
                core: core.filter(|_| package.is_some()),
            });
        }
    }
    sensors
}

/// Intel's driver labels one of a chip's sensors `Package id N`: Documentation/hwmon/coretemp.rst.
fn coretemp_package(chip: &Path) -> Option<u32> {
    let mut labels = entries(chip).into_iter().filter(|(name, _)| name.ends_with("_label"));
    labels.find_map(|(_, path)| line(&path)?.strip_prefix("Package id ")?.parse().ok())
}

/// Reads every sensor, each chip and zone beside the tick. Which there are is found out beside it as well: a look through
/// sysfs opens a hundred files, and may wait for a driver.
#[derive(Debug)]
pub struct Sensors {
    groups: BTreeMap<String, Aside>,
    findings: Arc<Findings>,
    generation: u64,
    scout: Thread,
}

/// What the scout hands to the tick.
#[derive(Debug, Default)]
struct Findings {
    stop: AtomicBool,
    /// Counts what was found.
    generation: AtomicU64,
    /// Held for moments only.
    new: Mutex<Vec<(String, Aside)>>,
}

/// Finds sensors, and starts a thread for those that came.
#[derive(Debug)]
struct Scout {
    roots: HostRoots,
    pace: Pace,
    known: BTreeMap<String, Group>,
    findings: Arc<Findings>,
}

/// What one thread reads.
#[derive(Debug)]
struct Group {
    sensors: Vec<Sensor>,
    others: Vec<Attribute>,
}

impl Sensors {
    /// Of the sysfs among `roots`, twice as often as there are frames, which come every `tick`. Readings older than
    /// `stale_after` are not shown. Returns when the first look is over.
    ///
    /// # Errors
    /// The kernel's, when it has no thread left.
    pub fn new(roots: &HostRoots, tick: Duration, stale_after: Duration) -> io::Result<Self> {
        let period = tick / 2;
        let pace = Pace { period, stale_after: stale_after.max(period * 4), guarded: true };
        let findings = Arc::<Findings>::default();
        let mut scout =
            Scout { roots: roots.clone(), pace, known: BTreeMap::new(), findings: findings.clone() };
        scout.look();
        let thread = thread::Builder::new().name("sensors".into()).spawn(move || scout.look_on())?;
        Ok(Self { groups: BTreeMap::new(), findings, generation: 0, scout: thread.thread().clone() })
    }
}

impl Drop for Sensors {
    fn drop(&mut self) {
        self.findings.stop.store(true, Ordering::Relaxed);
        self.scout.unpark();
    }
}

impl Findings {
    fn add(&self, name: String, aside: Aside) {
        self.lock().push((name, aside));
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Aside)>> {
        // A list can't be left half-changed.
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scout {
    fn look_on(&mut self) {
        let rest = (self.pace.period * READINGS_BETWEEN_LOOKS).min(LONGEST_REST);
        loop {
            thread::park_timeout(rest);
            if self.findings.stop.load(Ordering::Relaxed) {
                return;
            }
            self.look();
        }
    }

    fn look(&mut self) {
        for (name, sensors) in self.grouped() {
            self.follow(name, sensors);
        }
    }

    /// Sensors by the name of their thread.
    fn grouped(&self) -> BTreeMap<String, Vec<Sensor>> {
        let mut groups: BTreeMap<String, Vec<Sensor>> = BTreeMap::new();
        for sensor in find(&self.roots) {
            let own = sensor.id.split('/').next().unwrap_or_default();
            let has_room = groups.contains_key(own) || self.known.contains_key(own) || groups.len() < THREADS;
            let name = if has_room { own } else { "others" };
            groups.entry(name.to_owned()).or_default().push(sensor);
        }
        groups
    }

    /// Starts a thread for a group, unless it has one that reads just this.
    fn follow(&mut self, name: String, mut sensors: Vec<Sensor>) {
        if let Some(known) = self.known.get(&name) {
            // One that was known stays, though it may be gone: whoever guards it must see it absent.
            let missing = known.sensors.iter().filter(|old| sensors.iter().all(|new| new.id != old.id));
            sensors.extend(missing.cloned().collect::<Vec<_>>());
        }
        let others = others(&self.roots.sys("class/hwmon").join(&name));
        let is_known = |group: &Group| group.sensors == sensors && same_files(&group.others, &others);
        if self.known.get(&name).is_some_and(is_known) {
            return;
        }
        let mut sources: Vec<Box<dyn Source>> = sensors
            .iter()
            .map(|sensor| Box::new(Thermometer::new(sensor.clone())) as Box<dyn Source>)
            .collect();
        sources.extend(others.iter().map(|attribute| Box::new(attribute.clone().alone()) as Box<dyn Source>));
        match Aside::start(&name, self.pace, sources) {
            Ok(aside) => {
                self.findings.add(name.clone(), aside);
                self.known.insert(name, Group { sensors, others });
            }
            Err(error) => error!(%error, "no thread for {name}: its sensors are not read, and not guarded"),
        }
    }
}

impl Source for Sensors {
    fn describe(&mut self, schema: &mut Schema) {
        self.generation = self.findings.generation.load(Ordering::Acquire);
        self.groups.extend(self.findings.lock().drain(..));
        self.groups.values_mut().for_each(|aside| aside.describe(schema));
    }

    fn sample(&mut self, frame: &mut Frame) {
        self.groups.values_mut().for_each(|aside| aside.sample(frame));
    }

    fn changed(&self) -> bool {
        self.findings.generation.load(Ordering::Acquire) != self.generation
            || self.groups.values().any(Aside::changed)
    }
}

fn same_files(a: &[Attribute], b: &[Attribute]) -> bool {
    a.iter().map(|attribute| &attribute.path).eq(b.iter().map(|attribute| &attribute.path))
}

/// Fans and power of a chip.
fn others(chip: &Path) -> Vec<Attribute> {
    let (Some(id), Some(name)) = (chip.file_name().and_then(|id| id.to_str()), line(&chip.join("name")))
    else {
        return Vec::new();
    };
    let files = entries(chip);
    let of = |sensor: &str, path: PathBuf, metric, parse| {
        let own = line(&chip.join(format!("{sensor}_label")));
        let label = own.map_or_else(|| name.clone(), |own| format!("{name} {own}"));
        Attribute { path, metric, labels: vec![format!("{id}/{sensor}"), label], parse }
    };
    let mut found = Vec::new();
    for (file, path) in &files {
        let (sensor, kind) = file.split_once('_').unwrap_or_default();
        let average = format!("{sensor}_average");
        if sensor.starts_with("fan") && kind == "input" {
            found.push(of(sensor, path.clone(), &HOST_FAN_SPEED, whole));
        } else if sensor.starts_with("power")
            && (kind == "average" || kind == "input" && !files.iter().any(|(other, _)| *other == average))
        {
            found.push(of(sensor, path.clone(), &HOST_SENSOR_POWER, |text| whole(text).map(|uw| uw / 1e6)));
        }
    }
    found
}

/// How far fans, processors and others are engaged to cool.
pub(super) fn cooling(roots: &HostRoots) -> Attributes {
    Attributes::new(roots, |roots| {
        let attribute = |(number, folder): (u32, PathBuf)| Attribute {
            path: folder.join("cur_state"),
            metric: &HOST_COOLING_STATE,
            labels: vec![format!("cooling_device{number}"), line(&folder.join("type")).unwrap_or_default()],
            parse: whole,
        };
        numbered(&roots.sys("class/thermal"), "cooling_device").into_iter().map(attribute).collect()
    })
}

/// Reads one temperature.
#[derive(Debug)]
struct Thermometer {
    sensor: Sensor,
    file: KernelFile,
    column: Option<Column>,
    /// The critical temperature does not change: it is read when the columns are made.
    critical: Option<(Column, f64)>,
    was_there: bool,
}

impl Thermometer {
    fn new(sensor: Sensor) -> Self {
        let file = KernelFile::open(&sensor.input);
        Self { was_there: file.is_there(), sensor, file, column: None, critical: None }
    }

    fn read(&mut self) -> Reading {
        if !self.file.is_there() {
            // A driver that is loaded anew brings another file of this name.
            self.file = KernelFile::open(&self.sensor.input);
        }
        let is_there = self.file.is_there();
        self.was_there |= is_there;
        match self.file.read().and_then(|text| celsius(text).ok_or(AbsenceReason::Malformed)) {
            Err(_) if self.was_there && !is_there => Err(AbsenceReason::Gone),
            reading => reading,
        }
    }
}

impl Source for Thermometer {
    fn describe(&mut self, schema: &mut Schema) {
        let label = |id: Option<u32>| id.map(|id| id.to_string()).unwrap_or_default();
        let Sensor { id, label: own, package, core, .. } = &self.sensor;
        let labels = [id.as_str(), own.as_str(), &label(*package), &label(*core)];
        self.column = Some(schema.column(&HOST_TEMPERATURE, &labels));
        let critical = self.sensor.critical.as_ref().and_then(|path| celsius(&fs::read(path).ok()?));
        // Drivers write 0, or what no sensor can measure, where the hardware has none.
        let critical = critical.filter(|celsius| (1.0..200.0).contains(celsius));
        self.critical = critical.map(|celsius| (schema.column(&HOST_CRITICAL_TEMPERATURE, &labels), celsius));
    }

    fn sample(&mut self, frame: &mut Frame) {
        if let Some((column, celsius)) = self.critical {
            frame.set(column, Ok(celsius));
        }
        let reading = self.read();
        if let Some(column) = self.column {
            frame.set(column, reading);
        }
    }
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
            ("sys/class/hwmon/hwmon1/name", "coretemp\n"),
            ("sys/class/hwmon/hwmon1/temp1_input", "50000\n"),
            ("sys/class/hwmon/hwmon1/temp1_label", "Package id 1\n"),
            ("sys/class/hwmon/hwmon1/temp6_input", "48000\n"),
            ("sys/class/hwmon/hwmon1/temp6_label", "Core 4\n"),
            ("sys/class/hwmon/hwmon2/name", "fam15h_power\n"),
            ("sys/class/hwmon/hwmon2/temp1_input", "30000\n"),
            ("sys/class/hwmon/hwmon2/power1_input", "1000000\n"),
            ("sys/class/hwmon/hwmon2/power1_average", "25500000\n"),
            ("sys/class/thermal/thermal_zone0/type", "acpitz\n"),
            ("sys/class/thermal/thermal_zone0/temp", "-5000\n"),
            ("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n"),
            ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "105000\n"),
            ("sys/class/thermal/cooling_device0/type", "Processor\n"),
            ("sys/class/thermal/cooling_device0/cur_state", "3\n"),
        ])
    }

    fn sensors(tree: &TestTree) -> Sensors {
        Sensors::new(&tree.roots(), Duration::from_millis(4), Duration::from_secs(60)).unwrap()
    }

    /// What is shown of a sensor once it is as wanted.
    fn until(tree: &TestTree, sensors: &mut Sensors, labels: &[&str], wanted: Reading) {
        let mut shown = None;
        for _ in 0..5_000 {
            let (schema, frame) = tree.sample(sensors);
            let reading = value(&schema, &frame, "host.temperature", labels);
            if reading == wanted {
                return;
            }
            shown = Some(reading);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(shown, Some(wanted), "{labels:?}");
    }

    const K10: [&str; 4] = ["hwmon0/temp1", "k10temp Tctl", "", ""];

    #[test]
    fn zones_and_chips_are_found_and_read_with_their_package_and_core() {
        let tree = tree();
        let mut sensors = sensors(&tree);
        for (labels, celsius) in [
            (K10, 45.125),
            (["hwmon1/temp1", "coretemp Package id 1", "1", ""], 50.0),
            (["hwmon1/temp6", "coretemp Core 4", "1", "4"], 48.0),
            (["thermal_zone0", "acpitz", "", ""], -5.0),
        ] {
            until(&tree, &mut sensors, &labels, Ok(celsius));
        }
        let (schema, frame) = tree.sample(&mut sensors);
        assert_eq!(value(&schema, &frame, "host.fan.speed", &["hwmon0/fan1", "k10temp"]), Ok(900.0));
        let power = value(&schema, &frame, "host.sensor.power", &["hwmon2/power1", "fam15h_power"]);
        assert_eq!(power, Ok(25.5));
        let with_limit = find(&tree.roots()).iter().filter(|sensor| sensor.critical.is_some()).count();
        assert_eq!(with_limit, 2);
    }

    #[test]
    fn cooling_devices_tell_how_far_they_are_engaged() {
        let tree = tree();
        let (schema, frame) = tree.sample(&mut cooling(&tree.roots()));
        let state = value(&schema, &frame, "host.cooling.state", &["cooling_device0", "Processor"]);
        assert_eq!(state, Ok(3.0));
    }

    #[test]
    fn a_sensor_that_goes_away_is_gone_also_in_the_next_schema_and_comes_back() {
        let tree = tree();
        let mut sensors = sensors(&tree);
        until(&tree, &mut sensors, &K10, Ok(45.125));
        tree.remove("sys/class/hwmon/hwmon0/temp1_input");
        // Each look describes anew.
        until(&tree, &mut sensors, &K10, Err(AbsenceReason::Gone));
        tree.write("sys/class/hwmon/hwmon0/temp1_input", "50000\n");
        until(&tree, &mut sensors, &K10, Ok(50.0));
    }

    #[test]
    fn a_chip_whose_driver_is_loaded_later_asks_for_a_new_schema() {
        let tree = tree();
        let mut sensors = sensors(&tree);
        until(&tree, &mut sensors, &K10, Ok(45.125));
        while sensors.changed() {
            let _described = tree.sample(&mut sensors);
        }
        tree.write("sys/class/hwmon/hwmon3/temp1_input", "33000\n");
        for _ in 0..10_000 {
            if sensors.changed() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        until(&tree, &mut sensors, &["hwmon3/temp1", "", "", ""], Ok(33.0));
    }

    #[test]
    fn nonsense_is_malformed_not_zero() {
        let tree = tree();
        tree.write("sys/class/thermal/thermal_zone0/temp", "hot\n");
        until(
            &tree,
            &mut sensors(&tree),
            &["thermal_zone0", "acpitz", "", ""],
            Err(AbsenceReason::Malformed),
        );
    }

    #[test]
    fn a_hundred_chips_share_threads() {
        let tree = TestTree::new(&[]);
        for chip in 0..100 {
            tree.write(format!("sys/class/hwmon/hwmon{chip}/temp1_input"), &format!("{chip}000\n"));
        }
        let mut sensors = sensors(&tree);
        until(&tree, &mut sensors, &["hwmon99/temp1", "", "", ""], Ok(99.0));
        until(&tree, &mut sensors, &["hwmon0/temp1", "", "", ""], Ok(0.0));
        assert_eq!(sensors.groups.len(), THREADS + 1);
    }
}
