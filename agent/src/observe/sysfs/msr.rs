//! The clock that cores really had: APERF and MPERF, which count at the core's clock and at its nominal one while it is not
//! idle. Intel SDM volume 3, 15.2; AMD APM volume 2, 17.3. Read over `/dev/cpu/N/msr`, msr(4): the `msr` module and
//! CAP_SYS_RAWIO.

use std::{fs::File, os::unix::fs::FileExt as _};

use ssts_proto::{catalogue::HOST_CPU_CLOCK_RATIO, v1::AbsenceReason};

use super::topology::cpus;
use crate::{
    host::HostRoots,
    observe::{
        frame::{Frame, Reading},
        kernel_file::absence,
        schema::{Column, Schema},
        source::Source,
    },
};

/// IA32_MPERF and IA32_APERF, the same numbers at AMD.
const MPERF: u64 = 0xe7;
const APERF: u64 = 0xe8;

/// Reads both counters of every core that has its file.
#[derive(Debug)]
pub(super) struct Clocks {
    roots: HostRoots,
    cores: Vec<Core>,
}

#[derive(Debug)]
struct Core {
    file: Result<File, AbsenceReason>,
    column: Column,
    /// MPERF and APERF.
    previous: Option<(u64, u64)>,
}

impl Clocks {
    /// Of the device nodes among `roots`.
    pub(super) fn new(roots: &HostRoots) -> Self {
        Self { roots: roots.clone(), cores: Vec::new() }
    }
}

impl Source for Clocks {
    fn describe(&mut self, schema: &mut Schema) {
        self.cores = cpus(&self.roots)
            .into_iter()
            .map(|cpu| (cpu.cpu, self.roots.dev(format!("cpu/{}/msr", cpu.cpu))))
            .filter(|(_, path)| path.exists())
            .map(|(cpu, path)| Core {
                file: File::open(path).map_err(|error| absence(&error)),
                column: schema.column(&HOST_CPU_CLOCK_RATIO, &[&cpu.to_string()]),
                previous: None,
            })
            .collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        for core in &mut self.cores {
            let reading = core.read();
            frame.set(core.column, reading);
        }
    }
}

impl Core {
    fn read(&mut self) -> Reading {
        let file = self.file.as_ref().map_err(|reason| *reason)?;
        let mut register = |number| {
            let mut value = [0; 8];
            // EIO: the processor, or its hypervisor, does not have it.
            file.read_exact_at(&mut value, number).map(|()| u64::from_le_bytes(value)).map_err(|error| {
                self.previous = None;
                if error.raw_os_error() == Some(libc::EIO) {
                    AbsenceReason::Unsupported
                } else {
                    absence(&error)
                }
            })
        };
        let now = (register(MPERF)?, register(APERF)?);
        let (mperf, aperf) = self.previous.replace(now).ok_or(AbsenceReason::Pending)?;
        // They wrap at 2^64, and some begin anew after a sleep: then one of them falls.
        match (now.0.checked_sub(mperf), now.1.checked_sub(aperf)) {
            (Some(nominal), Some(real)) if nominal > 0 => Ok(real as f64 / nominal as f64),
            // It was idle all the time, and had no clock.
            _ => Err(AbsenceReason::Pending),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    #[test]
    fn the_ratio_is_that_of_the_gains() {
        let tree = TestTree::new(&[
            ("sys/devices/system/cpu/cpu0/topology/core_id", "0\n"),
            ("sys/devices/system/cpu/cpu1/topology/core_id", "1\n"),
            ("dev/cpu/1/msr", ""),
        ]);
        let registers = File::options().write(true).open(tree.roots().dev("cpu/1/msr")).unwrap();
        registers.write_all_at(&[0; 9], MPERF).unwrap();
        let mut clocks = Clocks::new(&tree.roots());
        let (schema, mut frame) = tree.sample(&mut clocks);
        let read = |frame: &Frame| value(&schema, frame, "host.cpu.clock_ratio", &["1"]);
        assert_eq!(read(&frame), Err(AbsenceReason::Pending));
        assert_eq!(schema.columns.len(), 1);
        // In a file, unlike in a processor, MPERF's second byte is APERF's first: 0x0201 and 0x02.
        registers.write_all_at(&[1, 2], MPERF).unwrap();
        frame.reset(&schema, 2);
        clocks.sample(&mut frame);
        assert_eq!(read(&frame), Ok(2.0 / f64::from(0x0201)));
        frame.reset(&schema, 3);
        clocks.sample(&mut frame);
        assert_eq!(read(&frame), Err(AbsenceReason::Pending), "an idle core has no clock");
    }
}
