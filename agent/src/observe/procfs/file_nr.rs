//! `/proc/sys/fs/file-nr`: how many files are open. Documentation/admin-guide/sysctl/fs.rst of the kernel.

use ssts_proto::{
    catalogue::{HOST_FILES_MAX, HOST_FILES_OPEN},
    v1::AbsenceReason,
};

use crate::{
    host::HostRoots,
    observe::{
        frame::Frame,
        kernel_file::{KernelFile, numbers},
        schema::{Column, Schema},
        source::Source,
    },
};

/// Reads `/proc/sys/fs/file-nr`.
#[derive(Debug)]
pub struct FileNr {
    file: KernelFile,
    columns: Option<[Column; 2]>,
}

impl FileNr {
    /// Of the procfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        Self { file: KernelFile::open(roots.proc("sys/fs/file-nr")), columns: None }
    }
}

impl Source for FileNr {
    fn describe(&mut self, schema: &mut Schema) {
        self.columns = Some([&HOST_FILES_OPEN, &HOST_FILES_MAX].map(|metric| schema.column(metric, &[])));
    }

    fn sample(&mut self, frame: &mut Frame) {
        let Some(columns) = self.columns else { return };
        let content = self.file.read();
        let missing = content.err().unwrap_or(AbsenceReason::Malformed);
        // Between them stands a 0: handles that are allocated and unused, which there are none of since Linux 2.6.
        let mut values = numbers(content.unwrap_or_default()).step_by(2);
        for column in columns {
            frame.set(column, values.next().map(|value| value as f64).ok_or(missing));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    #[test]
    fn open_files_and_their_limit_are_read() {
        let tree = TestTree::new(&[("proc/sys/fs/file-nr", "658\t0\t9223372036854775807\n")]);
        let (schema, frame) = tree.sample(&mut FileNr::new(&tree.roots()));
        assert_eq!(value(&schema, &frame, "host.files.open", &[]), Ok(658.0));
        assert_eq!(value(&schema, &frame, "host.files.max", &[]), Ok(i64::MAX as f64));
    }
}
