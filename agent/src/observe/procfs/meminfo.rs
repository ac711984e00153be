//! Files of named numbers: `/proc/meminfo` (proc_meminfo(5)) and `/proc/vmstat` (proc_vmstat(5)).

use ssts_proto::{catalogue as metrics, catalogue::Metric, v1::AbsenceReason};

use crate::{
    host::HostRoots,
    observe::{
        frame::Frame,
        kernel_file::{KernelFile, lines, numbers},
        schema::{Column, Schema},
        source::Source,
    },
};

const MEMINFO: [(&[u8], &Metric); 10] = [
    (b"MemTotal:", &metrics::HOST_MEMORY_TOTAL),
    (b"MemFree:", &metrics::HOST_MEMORY_FREE),
    (b"MemAvailable:", &metrics::HOST_MEMORY_AVAILABLE),
    (b"Cached:", &metrics::HOST_MEMORY_CACHED),
    (b"Dirty:", &metrics::HOST_MEMORY_DIRTY),
    (b"Writeback:", &metrics::HOST_MEMORY_WRITEBACK),
    (b"AnonPages:", &metrics::HOST_MEMORY_ANONYMOUS),
    (b"SUnreclaim:", &metrics::HOST_MEMORY_SLAB_UNRECLAIMABLE),
    (b"SwapTotal:", &metrics::HOST_SWAP_TOTAL),
    (b"SwapFree:", &metrics::HOST_SWAP_FREE),
];
const VMSTAT: [(&[u8], &Metric); 6] = [
    (b"pgfault", &metrics::HOST_VM_FAULTS),
    (b"pgmajfault", &metrics::HOST_VM_MAJOR_FAULTS),
    (b"pswpin", &metrics::HOST_VM_SWAPPED_IN),
    (b"pswpout", &metrics::HOST_VM_SWAPPED_OUT),
    (b"thp_fault_fallback", &metrics::HOST_VM_HUGE_PAGE_FALLBACKS),
    (b"oom_kill", &metrics::HOST_VM_OOM_KILLS),
];

/// Reads `/proc/meminfo`.
#[derive(Debug)]
pub struct Meminfo(Named);

/// Reads `/proc/vmstat`.
#[derive(Debug)]
pub struct Vmstat(Named);

impl Meminfo {
    /// Of the procfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        // All of its numbers are in kB of 1,024 bytes.
        Self(Named::new(KernelFile::open(roots.proc("meminfo")), &MEMINFO, 1_024))
    }
}

impl Vmstat {
    /// Of the procfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        Self(Named::new(KernelFile::open(roots.proc("vmstat")), &VMSTAT, 1))
    }
}

impl Source for Meminfo {
    fn describe(&mut self, schema: &mut Schema) {
        self.0.describe(schema);
    }

    fn sample(&mut self, frame: &mut Frame) {
        self.0.sample(frame);
    }
}

impl Source for Vmstat {
    fn describe(&mut self, schema: &mut Schema) {
        self.0.describe(schema);
    }

    fn sample(&mut self, frame: &mut Frame) {
        self.0.sample(frame);
    }
}

/// A file whose lines are a name and a number.
#[derive(Debug)]
struct Named {
    file: KernelFile,
    names: &'static [(&'static [u8], &'static Metric)],
    scale: u64,
    columns: Vec<Column>,
}

impl Named {
    fn new(file: KernelFile, names: &'static [(&'static [u8], &'static Metric)], scale: u64) -> Self {
        Self { file, names, scale, columns: Vec::new() }
    }

    fn describe(&mut self, schema: &mut Schema) {
        self.columns = self.names.iter().map(|(_, metric)| schema.column(metric, &[])).collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        let content = self.file.read();
        let missing = content.err().unwrap_or(AbsenceReason::Unsupported);
        for column in &self.columns {
            frame.set(*column, Err(missing));
        }
        for line in lines(content.unwrap_or_default()) {
            let name = line.split(|byte| *byte == b' ').next().unwrap_or_default();
            if let Some(found) = self.names.iter().position(|(known, _)| *known == name) {
                let value = numbers(&line[name.len()..]).next();
                let reading = value.map(|value| (value * self.scale) as f64).ok_or(AbsenceReason::Malformed);
                frame.set(self.columns[found], reading);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    #[test]
    fn kilobytes_become_bytes_and_what_the_kernel_lacks_is_absent() {
        let tree = TestTree::new(&[(
            "proc/meminfo",
            "MemTotal:       24589 kB\nMemFree:     0 kB\nHugePages_Free: 4\n",
        )]);
        let (schema, frame) = tree.sample(&mut Meminfo::new(&tree.roots()));
        assert_eq!(value(&schema, &frame, "host.memory.total", &[]), Ok(24_589.0 * 1_024.0));
        assert_eq!(value(&schema, &frame, "host.memory.free", &[]), Ok(0.0));
        assert_eq!(value(&schema, &frame, "host.memory.available", &[]), Err(AbsenceReason::Unsupported));
    }

    #[test]
    fn a_name_that_begins_like_another_is_not_taken_for_it() {
        let tree = TestTree::new(&[("proc/vmstat", "pgfault_x 1\npgfault 5\nnr_x 3\n")]);
        let (schema, frame) = tree.sample(&mut Vmstat::new(&tree.roots()));
        assert_eq!(value(&schema, &frame, "host.vm.faults", &[]), Ok(5.0));
    }

    #[test]
    fn a_file_that_is_not_there_makes_all_absent() {
        let tree = TestTree::new(&[]);
        let (schema, frame) = tree.sample(&mut Vmstat::new(&tree.roots()));
        assert_eq!(value(&schema, &frame, "host.vm.faults", &[]), Err(AbsenceReason::Unsupported));
    }
}
