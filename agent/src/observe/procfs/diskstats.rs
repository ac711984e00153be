//! `/proc/diskstats`: what each whole disk did. Documentation/admin-guide/iostats.rst of the kernel.

use std::fs;

use ssts_proto::{catalogue as metrics, catalogue::Metric, v1::AbsenceReason};

use super::table::Table;
use crate::{
    host::HostRoots,
    observe::{
        frame::Frame,
        kernel_file::{KernelFile, lines, numbers},
        schema::Schema,
        source::Source,
    },
};

/// A sector of this file, whatever the device's own: Documentation/block/stat.rst.
const SECTOR_BYTES: u64 = 512;

static COLUMNS: [&Metric; 6] = [
    &metrics::HOST_DISK_READS,
    &metrics::HOST_DISK_READ_BYTES,
    &metrics::HOST_DISK_WRITES,
    &metrics::HOST_DISK_WRITTEN_BYTES,
    &metrics::HOST_DISK_IN_FLIGHT,
    &metrics::HOST_DISK_BUSY_TIME,
];

/// Reads `/proc/diskstats`.
#[derive(Debug)]
pub struct Diskstats {
    roots: HostRoots,
    file: KernelFile,
    table: Table,
    changed: bool,
}

impl Diskstats {
    /// Of the procfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        let file = KernelFile::open(roots.proc("diskstats"));
        Self { roots: roots.clone(), file, table: Table::default(), changed: false }
    }
}

impl Source for Diskstats {
    fn describe(&mut self, schema: &mut Schema) {
        self.changed = false;
        self.table = Table::default();
        for (name, counters) in lines(self.file.read().unwrap_or_default()).filter_map(device_line) {
            if is_whole_disk(&self.roots, name) && (counters.has_worked() || has_medium(&self.roots, name)) {
                self.table.add(name, &COLUMNS, schema);
            }
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        let content = self.file.read();
        let gone = content.err().unwrap_or(AbsenceReason::Gone);
        for (name, counters) in lines(content.unwrap_or_default()).filter_map(device_line) {
            match self.table.find(name) {
                Some(columns) => {
                    for (column, value) in columns.iter().zip(counters.values()) {
                        frame.set(*column, Ok(value));
                    }
                }
                None => {
                    self.changed |= counters.has_worked() && is_whole_disk(&self.roots, name);
                }
            }
        }
        self.changed |= self.table.finish(gone, frame) && content_was_read(gone);
    }

    fn changed(&self) -> bool {
        self.changed
    }
}

/// A new schema helps against a device that went, not against a file that can't be read.
fn content_was_read(gone: AbsenceReason) -> bool {
    gone == AbsenceReason::Gone
}

struct Counters {
    reads: u64,
    sectors_read: u64,
    writes: u64,
    sectors_written: u64,
    in_flight: u64,
    busy_ms: u64,
}

impl Counters {
    fn has_worked(&self) -> bool {
        self.reads + self.writes > 0
    }

    /// In the order of [`COLUMNS`].
    fn values(&self) -> [f64; COLUMNS.len()] {
        [
            self.reads as f64,
            (self.sectors_read * SECTOR_BYTES) as f64,
            self.writes as f64,
            (self.sectors_written * SECTOR_BYTES) as f64,
            self.in_flight as f64,
            self.busy_ms as f64 / 1e3,
        ]
    }
}

/// ` 254 0 vda 1 2 3…`: major, minor, name, then counters.
fn device_line(line: &[u8]) -> Option<(&[u8], Counters)> {
    let name = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).nth(2)?;
    let after_name = name.as_ptr() as usize - line.as_ptr() as usize + name.len();
    let mut fields = numbers(&line[after_name..]);
    let mut field = |skip| fields.nth(skip);
    let counters = Counters {
        reads: field(0)?,
        sectors_read: field(1)?,
        writes: field(1)?,
        sectors_written: field(1)?,
        in_flight: field(1)?,
        busy_ms: field(0)?,
    };
    Some((name, counters))
}

/// Partitions are not in `/sys/block`.
fn is_whole_disk(roots: &HostRoots, name: &[u8]) -> bool {
    roots.sys("block").join(as_path(name)).exists()
}

/// Loop devices without a file have no size.
fn has_medium(roots: &HostRoots, name: &[u8]) -> bool {
    fs::read_to_string(roots.sys("block").join(as_path(name)).join("size"))
        .is_ok_and(|size| size.trim().parse::<u64>().is_ok_and(|sectors| sectors > 0))
}

fn as_path(name: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt as _;
    std::path::Path::new(std::ffi::OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    const VDA: &str = " 254       0 vda 10 2 80 30 20 3 160 40 5 600 70 1 2 3 4 5 6\n";
    const PARTITION: &str = " 254       1 vda1 10 2 80 30 20 3 160 40 5 600 70 1 2 3 4 5 6\n";
    const LOOP: &str = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn sectors_become_bytes_and_partitions_and_empty_loop_devices_are_left_out() {
        let tree = TestTree::new(&[
            ("proc/diskstats", &(LOOP.to_owned() + VDA + PARTITION)),
            ("sys/block/vda/size", "1000\n"),
            ("sys/block/loop0/size", "0\n"),
        ]);
        let (schema, frame) = tree.sample(&mut Diskstats::new(&tree.roots()));
        assert_eq!(value(&schema, &frame, "host.disk.reads", &["vda"]), Ok(10.0));
        assert_eq!(value(&schema, &frame, "host.disk.read_bytes", &["vda"]), Ok(80.0 * 512.0));
        assert_eq!(value(&schema, &frame, "host.disk.writes", &["vda"]), Ok(20.0));
        assert_eq!(value(&schema, &frame, "host.disk.written_bytes", &["vda"]), Ok(160.0 * 512.0));
        assert_eq!(value(&schema, &frame, "host.disk.in_flight", &["vda"]), Ok(5.0));
        assert_eq!(value(&schema, &frame, "host.disk.busy_time", &["vda"]), Ok(0.6));
        assert_eq!(schema.columns.len(), COLUMNS.len());
    }

    #[test]
    fn a_device_that_comes_asks_for_a_new_schema() {
        let tree = TestTree::new(&[("proc/diskstats", VDA), ("sys/block/vda/size", "1000\n")]);
        let mut source = Diskstats::new(&tree.roots());
        let (schema, mut frame) = tree.sample(&mut source);
        assert!(!source.changed());
        tree.write("sys/block/sdb/size", "5");
        tree.write("proc/diskstats", &(VDA.to_owned() + "   8       0 sdb 1 0 8 0 0 0 0 0 0 0 0\n"));
        frame.reset(&schema, 2);
        source.sample(&mut frame);
        assert!(source.changed());
        let (schema, frame) = tree.sample(&mut source);
        assert_eq!(value(&schema, &frame, "host.disk.reads", &["sdb"]), Ok(1.0));
        assert!(!source.changed());
    }
}
