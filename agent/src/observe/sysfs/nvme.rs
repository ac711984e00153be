//! The health of NVMe drives, as their SMART logs tell it.

use std::fs::File;

use ssts_proto::{catalogue as metrics, catalogue::Metric, v1::AbsenceReason};

use super::nvme_admin::{SMART_BYTES, smart_log};
use crate::{
    host::{HostRoots, listing::entries},
    observe::{
        frame::Frame,
        kernel_file::absence,
        schema::{Column, Schema},
        source::Source,
    },
};

const METRICS: [&Metric; 5] = [
    &metrics::HOST_NVME_MEDIA_ERRORS,
    &metrics::HOST_NVME_LOG_ENTRIES,
    &metrics::HOST_NVME_WARNINGS,
    &metrics::HOST_NVME_TEMPERATURE,
    &metrics::HOST_NVME_USED,
];

/// Reads every controller.
#[derive(Debug)]
pub(super) struct Nvme {
    roots: HostRoots,
    drives: Vec<Drive>,
    changed: bool,
}

#[derive(Debug)]
struct Drive {
    name: String,
    controller: Result<File, AbsenceReason>,
    columns: [Column; METRICS.len()],
}

impl Nvme {
    /// Of the sysfs and the device nodes among `roots`.
    pub(super) fn new(roots: &HostRoots) -> Self {
        Self { roots: roots.clone(), drives: Vec::new(), changed: false }
    }

    fn names(&self) -> impl Iterator<Item = String> + use<> {
        entries(&self.roots.sys("class/nvme")).into_iter().map(|(name, _)| name)
    }
}

impl Source for Nvme {
    fn describe(&mut self, schema: &mut Schema) {
        self.changed = false;
        let drive = |name: String| Drive {
            controller: File::open(self.roots.dev(&name)).map_err(|error| absence(&error)),
            columns: METRICS.map(|metric| schema.column(metric, &[&name])),
            name,
        };
        self.drives = self.names().map(drive).collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        for drive in &self.drives {
            let log = drive.controller.as_ref().map_err(|reason| *reason);
            let log = log.and_then(|controller| smart_log(controller).map_err(|error| absence(&error)));
            match log {
                Ok(log) => drive
                    .columns
                    .iter()
                    .zip(health(&log))
                    .for_each(|(column, value)| frame.set(*column, Ok(value))),
                Err(reason) => drive.columns.iter().for_each(|column| frame.set(*column, Err(reason))),
            }
        }
        self.changed = !self.names().eq(self.drives.iter().map(|drive| drive.name.clone()));
    }

    fn changed(&self) -> bool {
        self.changed
    }
}

/// In the order of [`METRICS`]. Little-endian: NVM Express Base Specification 2.0, figure 207.
fn health(log: &[u8; SMART_BYTES]) -> [f64; METRICS.len()] {
    let wide = |at: usize| {
        let bytes = log[at..at + 16].iter().rev();
        bytes.fold(0u128, |value, byte| value << 8 | u128::from(*byte)) as f64
    };
    let kelvin = f64::from(u16::from_le_bytes([log[1], log[2]]));
    [wide(160), wide(176), f64::from(log[0].count_ones()), kelvin - 273.0, f64::from(log[5]) / 100.0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    #[test]
    fn a_log_is_read_where_the_specification_says() {
        let mut log = [0; SMART_BYTES];
        log[0] = 0b101;
        log[1..3].copy_from_slice(&323u16.to_le_bytes());
        log[5] = 112;
        log[160..168].copy_from_slice(&7u64.to_le_bytes());
        log[176..178].copy_from_slice(&300u16.to_le_bytes());
        assert_eq!(health(&log), [7.0, 300.0, 2.0, 50.0, 1.12]);
    }

    #[test]
    fn what_is_no_drive_is_absent_with_a_reason() {
        let tree = TestTree::new(&[("sys/class/nvme/nvme0/model", "x\n"), ("dev/nvme0", "")]);
        let mut source = Nvme::new(&tree.roots());
        let (schema, frame) = tree.sample(&mut source);
        assert_eq!(schema.columns.len(), METRICS.len());
        // ENOTTY: a file, or a driver, that knows no such command.
        let reading = value(&schema, &frame, "host.nvme.media_errors", &["nvme0"]);
        assert_eq!(reading, Err(AbsenceReason::ReadFailed));
        assert!(!source.changed());
    }
}
