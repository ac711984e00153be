//! How a unit fares, by its cgroup: what it waited for, what the kernel took from it, how much it ran.
//! Documentation/admin-guide/cgroup-v2.rst and Documentation/accounting/psi.rst of the kernel.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use ssts_proto::{
    catalogue::{self as metrics, Metric},
    v1::AbsenceReason,
};

use super::{Found, find};
use crate::{
    host::HostRoots,
    observe::{
        frame::Frame,
        kernel_file::{KernelFile, lines, number},
        procfs::{RESOURCES, SHARES, note_pressure},
        schema::{Column, Schema},
        source::Source,
    },
};

/// How often a unit that isn't there is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// A number by its name in a file, the metric that it is, and how many of the metric's unit are in it.
type Told = (&'static [u8], &'static Metric, f64);

/// Files of named numbers, and what of them is told.
const TABLES: [(&str, &[Told]); 3] = [
    (
        "memory.stat",
        &[
            (b"pgscan", &metrics::PROTECTED_MEMORY_SCANNED, 1.0),
            (b"pgsteal", &metrics::PROTECTED_MEMORY_RECLAIMED, 1.0),
            (b"workingset_refault_anon", &metrics::PROTECTED_MEMORY_REFAULTS_ANONYMOUS, 1.0),
            (b"workingset_refault_file", &metrics::PROTECTED_MEMORY_REFAULTS_FILE, 1.0),
        ],
    ),
    (
        "memory.events",
        &[
            (b"high", &metrics::PROTECTED_MEMORY_THROTTLES, 1.0),
            (b"oom_kill", &metrics::PROTECTED_MEMORY_OOM_KILLS, 1.0),
        ],
    ),
    ("cpu.stat", &[(b"usage_usec", &metrics::PROTECTED_CPU_TIME, 1e-6)]),
];

/// Reads the cgroup of one unit.
#[derive(Debug)]
pub(super) struct ProtectedCgroup {
    roots: HostRoots,
    unit: String,
    found: Option<Found>,
    pressures: Vec<(KernelFile, Vec<Column>)>,
    tables: Vec<(KernelFile, Vec<Column>)>,
    present: Option<Column>,
    looked: Cell<Option<Instant>>,
}

impl ProtectedCgroup {
    pub(super) fn new(roots: &HostRoots, unit: &str) -> Self {
        Self {
            roots: roots.clone(),
            unit: unit.to_owned(),
            found: None,
            pressures: Vec::new(),
            tables: Vec::new(),
            present: None,
            looked: Cell::default(),
        }
    }

    /// A unit that was started anew has another cgroup of the same name.
    fn is_there(&self) -> bool {
        let Some(found) = &self.found else { return false };
        fs::metadata(&found.folder).is_ok_and(|metadata| metadata.ino() == found.id)
    }
}

impl Source for ProtectedCgroup {
    fn describe(&mut self, schema: &mut Schema) {
        self.found = find(&self.roots, &self.unit);
        let folder = self.found.as_ref().map(|found| found.folder.clone()).unwrap_or_default();
        self.present = Some(schema.column(&metrics::PROTECTED_PRESENT, &[&self.unit]));
        self.pressures = RESOURCES
            .iter()
            .map(|resource| {
                let column = |share: &&str| {
                    schema.column(&metrics::PROTECTED_PRESSURE_STALLED, &[&self.unit, resource, share])
                };
                let file = KernelFile::open(folder.join(format!("{resource}.pressure")));
                (file, SHARES.iter().map(column).collect())
            })
            .collect();
        self.tables = TABLES
            .iter()
            .map(|(name, rows)| {
                let column = |(_, metric, _): &(_, &'static Metric, _)| schema.column(metric, &[&self.unit]);
                (KernelFile::open(folder.join(name)), rows.iter().map(column).collect())
            })
            .collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        let there = self.is_there();
        if let Some(column) = self.present {
            frame.set(column, Ok(there.into()));
        }
        for (file, columns) in &mut self.pressures {
            note_pressure(content(there, file), columns, frame);
        }
        for ((file, columns), (_, rows)) in self.tables.iter_mut().zip(&TABLES) {
            let content = content(there, file);
            for (column, (name, _, factor)) in columns.iter().zip(*rows) {
                frame.set(
                    *column,
                    content.and_then(|content| named(content, name)).map(|value| value * factor),
                );
            }
        }
    }

    /// It came, went, or came back.
    fn changed(&self) -> bool {
        if self.found.is_some() {
            return !self.is_there();
        }
        let now = Instant::now();
        if self.looked.get().is_some_and(|looked| now - looked < LOOK) {
            return false;
        }
        self.looked.set(Some(now));
        find(&self.roots, &self.unit).is_some()
    }
}

fn content(there: bool, file: &mut KernelFile) -> Result<&[u8], AbsenceReason> {
    if there { file.read() } else { Err(AbsenceReason::Gone) }
}

/// The number behind a name.
fn named(content: &[u8], name: &[u8]) -> Result<f64, AbsenceReason> {
    let line = lines(content).find_map(|line| line.strip_prefix(name)?.strip_prefix(b" "));
    let line = line.ok_or(AbsenceReason::Unsupported)?;
    number(line).map(|(value, _)| value as f64).ok_or(AbsenceReason::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    fn tree() -> TestTree {
        let tree = TestTree::new(&[("proc/self/cgroup", "0::/ssts.service\n")]);
        let mount = tree.roots().sys("fs/cgroup");
        tree.write(
            "proc/self/mountinfo",
            &format!("30 24 0:27 / {} rw - cgroup2 cgroup2 rw\n", mount.display()),
        );
        tree
    }

    #[test]
    fn a_unit_is_read_wherever_it_is_and_told_as_gone_while_it_is_not() {
        let tree = tree();
        let mut source = ProtectedCgroup::new(&tree.roots(), "nginx.service");
        let (schema, frame) = tree.sample(&mut source);
        let read = |schema: &_, frame: &_, metric: &str| value(schema, frame, metric, &["nginx.service"]);
        assert_eq!(read(&schema, &frame, "protected.present"), Ok(0.0));
        assert_eq!(read(&schema, &frame, "protected.cpu.time"), Err(AbsenceReason::Gone));

        let folder = "sys/fs/cgroup/system.slice/web.slice/nginx.service";
        tree.write(
            format!("{folder}/cpu.pressure"),
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n",
        );
        tree.write(format!("{folder}/memory.stat"), "anon 1\npgscan_kswapd 9\npgscan 7\npgsteal 5\n");
        tree.write(format!("{folder}/memory.events"), "low 0\nhigh 3\noom 1\noom_kill 2\n");
        tree.write(format!("{folder}/cpu.stat"), "usage_usec 1500000\nuser_usec 1\n");
        let (schema, frame) = tree.sample(&mut source);
        let labels = ["nginx.service", "cpu", "some"];
        assert_eq!(value(&schema, &frame, "protected.pressure.stalled", &labels), Ok(2.5));
        for (metric, wanted) in [
            ("protected.present", 1.0),
            ("protected.memory.scanned", 7.0),
            ("protected.memory.reclaimed", 5.0),
            ("protected.memory.throttles", 3.0),
            ("protected.memory.oom_kills", 2.0),
            ("protected.cpu.time", 1.5),
        ] {
            assert_eq!(read(&schema, &frame, metric), Ok(wanted), "{metric}");
        }
        let refaults = read(&schema, &frame, "protected.memory.refaults_file");
        assert_eq!(refaults, Err(AbsenceReason::Unsupported));
        assert!(!source.changed());

        fs::remove_dir_all(tree.roots().sys("fs/cgroup/system.slice/web.slice")).unwrap();
        assert!(source.changed());
        let mut frame = Frame::default();
        frame.reset(&schema, 1);
        source.sample(&mut frame);
        assert_eq!(read(&schema, &frame, "protected.memory.scanned"), Err(AbsenceReason::Gone));
    }

    #[test]
    fn a_path_below_the_mount_point_is_taken_as_it_is() {
        let tree = tree();
        tree.write("sys/fs/cgroup/a/b/cpu.stat", "usage_usec 1\n");
        let found = find(&tree.roots(), "a/b").unwrap();
        assert_eq!((found.level, find(&tree.roots(), "a/c")), (2, None));
    }
}
