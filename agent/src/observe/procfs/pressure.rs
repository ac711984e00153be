//! `/proc/pressure`: how long tasks waited for a resource. Documentation/accounting/psi.rst of the kernel.

use ssts_proto::{catalogue::HOST_PRESSURE_STALLED, v1::AbsenceReason};

use crate::{
    host::HostRoots,
    observe::{
        frame::Frame,
        kernel_file::{KernelFile, lines, number},
        schema::{Column, Schema},
        source::Source,
    },
};

pub(crate) const RESOURCES: [&str; 4] = ["cpu", "memory", "io", "irq"];
pub(crate) const SHARES: [&str; 2] = ["some", "full"];

/// Reads `/proc/pressure`.
#[derive(Debug)]
pub struct Pressure {
    files: Vec<(KernelFile, Vec<Column>)>,
}

impl Pressure {
    /// Of the procfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        let open = |resource| (KernelFile::open(roots.proc("pressure").join(resource)), Vec::new());
        Self { files: RESOURCES.into_iter().map(open).collect() }
    }
}

impl Source for Pressure {
    fn describe(&mut self, schema: &mut Schema) {
        for ((_, columns), resource) in self.files.iter_mut().zip(RESOURCES) {
            *columns = SHARES
                .iter()
                .map(|share| schema.column(&HOST_PRESSURE_STALLED, &[resource, share]))
                .collect();
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        for (file, columns) in &mut self.files {
            note(file.read(), columns, frame);
        }
    }
}

/// Notes both shares of a resource.
pub(crate) fn note(content: Result<&[u8], AbsenceReason>, columns: &[Column], frame: &mut Frame) {
    let missing = content.err().unwrap_or(AbsenceReason::Unsupported);
    for column in columns {
        frame.set(*column, Err(missing));
    }
    for line in lines(content.unwrap_or_default()) {
        if let Some(share) = SHARES.iter().position(|share| line.starts_with(share.as_bytes())) {
            frame.set(columns[share], total(line).ok_or(AbsenceReason::Malformed));
        }
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=123` in seconds; the kernel counts microseconds.
fn total(line: &[u8]) -> Option<f64> {
    let start = line.windows(6).position(|window| window == b"total=")? + 6;
    number(&line[start..]).map(|(us, _)| us as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    #[test]
    fn totals_are_read_and_what_a_resource_lacks_is_absent() {
        let some = "some avg10=0.00 avg60=1.00 avg300=0.00 total=1500000\n";
        let tree = TestTree::new(&[("proc/pressure/cpu", some)]);
        let (schema, frame) = tree.sample(&mut Pressure::new(&tree.roots()));
        assert_eq!(value(&schema, &frame, "host.pressure.stalled", &["cpu", "some"]), Ok(1.5));
        for labels in [["cpu", "full"], ["io", "some"]] {
            let reading = value(&schema, &frame, "host.pressure.stalled", &labels);
            assert_eq!(reading, Err(AbsenceReason::Unsupported));
        }
    }
}
