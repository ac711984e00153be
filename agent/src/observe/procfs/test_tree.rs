//! Trees of files that stand for `/proc` and `/sys` in tests.

use std::{fs, path::Path};

use crate::{
    host::HostRoots,
    observe::{
        frame::{Frame, Reading},
        schema::Schema,
        source::Source,
    },
};

/// A folder with `proc` and `sys` below it; gone when dropped.
pub(crate) struct TestTree(tempfile::TempDir);

impl TestTree {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, content) in files {
            tree.write(path, content);
        }
        tree
    }

    pub(crate) fn write(&self, path: impl AsRef<Path>, content: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn remove(&self, path: impl AsRef<Path>) {
        fs::remove_file(self.0.path().join(path)).unwrap();
    }

    pub(crate) fn roots(&self) -> HostRoots {
        let below = |name| self.0.path().join(name);
        HostRoots { proc: below("proc"), sys: below("sys"), tracefs: below("tracing"), dev: below("dev") }
    }

    /// A first schema and frame of one source.
    pub(crate) fn sample(&self, source: &mut dyn Source) -> (Schema, Frame) {
        let mut schema = Schema::new(1);
        source.describe(&mut schema);
        let mut frame = Frame::default();
        frame.reset(&schema, 1);
        source.sample(&mut frame);
        (schema, frame)
    }
}

/// What a frame says of a metric with these labels.
pub(crate) fn value(schema: &Schema, frame: &Frame, metric: &str, labels: &[&str]) -> Reading {
    let found =
        schema.columns.iter().position(|column| column.metric.name == metric && column.labels == labels);
    frame.readings()[found.unwrap_or_else(|| panic!("no column {metric} {labels:?}"))]
}
