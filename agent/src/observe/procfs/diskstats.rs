//! `/proc/diskstats`: what each whole disk did. Documentation/admin-guide/iostats.rst of the kernel.

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

/// Samples between two looks at what takes a file of sysfs each: whether a disk lost its medium, or another got one.
const LOOK_AGAIN: u64 = 10;

/// Reads `/proc/diskstats`.
#[derive(Debug)]
pub struct Diskstats {
    roots: HostRoots,
    file: KernelFile,
    table: Table,
    disks: Vec<Disk>,
    samples: u64,
    changed: bool,
}

/// A device of the file.
#[derive(Debug)]
struct Disk {
    name: Vec<u8>,
    /// Its size in sysfs. Nothing for a partition, which is not looked at.
    size: Option<KernelFile>,
    /// Whether it has columns. A loop device without a file is listed too, with what it once did.
    is_shown: bool,
}

impl Diskstats {
    /// Of the procfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        let file = KernelFile::open(roots.proc("diskstats"));
        let (table, disks) = (Table::default(), Vec::new());
        Self { roots: roots.clone(), file, table, disks, samples: 0, changed: false }
    }
}

impl Source for Diskstats {
    fn describe(&mut self, schema: &mut Schema) {
        self.changed = false;
        self.table = Table::default();
        self.disks.clear();
        for (name, _) in lines(self.file.read().unwrap_or_default()).filter_map(device_line) {
            // Partitions are not in `/sys/block`.
            let folder = self.roots.sys("block").join(as_path(name));
            let size = folder.exists().then(|| KernelFile::open(folder.join("size")));
            let mut disk = Disk { name: name.to_owned(), size, is_shown: false };
            disk.is_shown = disk.has_medium();
            if disk.is_shown {
                self.table.add(name, &COLUMNS, schema);
            }
            self.disks.push(disk);
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        self.samples += 1;
        let looks = self.samples.is_multiple_of(LOOK_AGAIN);
        let content = self.file.read();
        let gone = content.err().unwrap_or(AbsenceReason::Gone);
        let mut next = 0;
        for (name, counters) in lines(content.unwrap_or_default()).filter_map(device_line) {
            // Lines keep their order; a device that went leaves a hole.
            let Some(skipped) = self.disks[next..].iter().position(|disk| disk.name == name) else {
                self.changed = true;
                continue;
            };
            next += skipped + 1;
            let disk = &mut self.disks[next - 1];
            if looks && disk.has_medium() != disk.is_shown {
                self.changed = true;
                disk.is_shown = false;
            }
            let columns = if disk.is_shown { self.table.find(name) } else { None };
            for (column, value) in columns.into_iter().flatten().zip(counters.values()) {
                frame.set(*column, Ok(value));
            }
        }
        self.changed |= self.table.finish(gone, frame) && content_was_read(gone);
    }

    fn changed(&self) -> bool {
        self.changed
    }
}

impl Disk {
    fn has_medium(&mut self) -> bool {
        let text = self.size.as_mut().and_then(|size| size.read().ok());
        text.and_then(|text| numbers(text).next()).is_some_and(|sectors| sectors > 0)
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
    fn a_loop_device_that_loses_its_file_is_gone_though_it_is_still_listed() {
        let tree = TestTree::new(&[
            ("proc/diskstats", &(LOOP.replace("loop0 0", "loop0 7") + VDA)),
            ("sys/block/vda/size", "1000\n"),
            ("sys/block/loop0/size", "8\n"),
        ]);
        let mut source = Diskstats::new(&tree.roots());
        let (schema, mut frame) = tree.sample(&mut source);
        let read = |frame: &Frame, disk| value(&schema, frame, "host.disk.reads", &[disk]);
        assert_eq!(read(&frame, "loop0"), Ok(7.0));
        tree.write("sys/block/loop0/size", "0\n");
        for _ in 0..LOOK_AGAIN {
            frame.reset(&schema, 2);
            source.sample(&mut frame);
        }
        assert_eq!((read(&frame, "loop0"), read(&frame, "vda")), (Err(AbsenceReason::Gone), Ok(10.0)));
        assert!(source.changed());
        let (schema, _) = tree.sample(&mut source);
        assert_eq!(schema.columns.len(), COLUMNS.len());
        assert!(!source.changed());
        tree.write("sys/block/loop0/size", "8\n");
        for _ in 0..LOOK_AGAIN {
            frame.reset(&schema, 3);
            source.sample(&mut frame);
        }
        assert!(source.changed(), "it has a file again");
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
