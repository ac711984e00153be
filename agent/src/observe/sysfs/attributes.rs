//! Many small files of sysfs with a number each.

use std::path::PathBuf;

use ssts_proto::{catalogue::Metric, v1::AbsenceReason};

use crate::{
    host::HostRoots,
    observe::{
        frame::{Frame, Reading},
        kernel_file::{KernelPath, number},
        schema::{Column, Schema},
        source::Source,
    },
};

/// Files that one source holds open; what is beyond them is opened for each reading. A descriptor each would not fit into a
/// process's limit on a host of a thousand cores.
const HELD_OPEN: usize = 64;
/// Readings between two looks for devices that came or went.
const LOOK_AGAIN: u32 = 10;

/// A file of sysfs, and the metric that its number is.
#[derive(Debug, Clone)]
pub(super) struct Attribute {
    pub(super) path: PathBuf,
    pub(super) metric: &'static Metric,
    /// One for each of the metric's label names.
    pub(super) labels: Vec<String>,
    /// Finds the number, in the metric's unit; nothing where there is none.
    pub(super) parse: fn(&[u8]) -> Option<f64>,
}

/// Reads one file.
#[derive(Debug)]
pub(super) struct Single {
    attribute: Attribute,
    file: KernelPath,
    column: Option<Column>,
    buffer: Vec<u8>,
}

impl Attribute {
    /// As a source of its own.
    pub(super) fn alone(self) -> Single {
        let file = KernelPath::new(self.path.clone(), true);
        Single { attribute: self, file, column: None, buffer: Vec::new() }
    }

    fn describe(&self, schema: &mut Schema) -> Column {
        let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        schema.column(self.metric, &labels)
    }

    fn read(&self, file: &KernelPath, buffer: &mut Vec<u8>) -> Reading {
        file.read(buffer).and_then(|text| (self.parse)(text).ok_or(AbsenceReason::Malformed))
    }
}

impl Source for Single {
    fn describe(&mut self, schema: &mut Schema) {
        self.column = Some(self.attribute.describe(schema));
    }

    fn sample(&mut self, frame: &mut Frame) {
        if let Some(column) = self.column {
            frame.set(column, self.attribute.read(&self.file, &mut self.buffer));
        }
    }
}

/// Reads the files that a function finds.
#[derive(Debug)]
pub(super) struct Attributes {
    roots: HostRoots,
    find: fn(&HostRoots) -> Vec<Attribute>,
    known: Vec<(Attribute, KernelPath, Column)>,
    buffer: Vec<u8>,
    readings: u32,
    changed: bool,
}

impl Attributes {
    /// Of the sysfs among `roots`.
    pub(super) fn new(roots: &HostRoots, find: fn(&HostRoots) -> Vec<Attribute>) -> Self {
        let roots = roots.clone();
        Self { roots, find, known: Vec::new(), buffer: Vec::new(), readings: 0, changed: false }
    }

    /// Whether other files are there than those that are read.
    fn has_changed(&self) -> bool {
        let found = (self.find)(&self.roots);
        found.len() != self.known.len()
            || found.iter().zip(&self.known).any(|(new, (old, ..))| new.path != old.path)
    }
}

impl Source for Attributes {
    fn describe(&mut self, schema: &mut Schema) {
        self.changed = false;
        self.known = (self.find)(&self.roots)
            .into_iter()
            .enumerate()
            .map(|(index, attribute)| {
                let column = attribute.describe(schema);
                let file = KernelPath::new(attribute.path.clone(), index < HELD_OPEN);
                (attribute, file, column)
            })
            .collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        for (attribute, file, column) in &self.known {
            frame.set(*column, attribute.read(file, &mut self.buffer));
        }
        self.readings += 1;
        if self.readings.is_multiple_of(LOOK_AGAIN) {
            self.changed = self.has_changed();
        }
    }

    fn changed(&self) -> bool {
        self.changed
    }
}

/// A whole number and nothing else.
pub(super) fn whole(text: &[u8]) -> Option<f64> {
    number(text.trim_ascii()).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value as f64)
}

#[cfg(test)]
mod tests {
    use ssts_proto::catalogue::HOST_FILES_OPEN;

    use super::*;
    use crate::observe::procfs::test_tree::TestTree;

    fn find(roots: &HostRoots) -> Vec<Attribute> {
        let attribute = |path| Attribute { path, metric: &HOST_FILES_OPEN, labels: Vec::new(), parse: whole };
        ["a", "b"]
            .map(|name| roots.sys(name))
            .into_iter()
            .filter(|path| path.exists())
            .map(attribute)
            .collect()
    }

    #[test]
    fn a_file_that_comes_is_found_after_a_while_and_one_that_is_nonsense_is_malformed() {
        let tree = TestTree::new(&[("sys/a", "x7\n")]);
        let mut source = Attributes::new(&tree.roots(), find);
        let (schema, mut frame) = tree.sample(&mut source);
        assert_eq!(frame.readings(), [Err(AbsenceReason::Malformed)]);
        tree.write("sys/b", "7\n");
        for _ in 0..LOOK_AGAIN {
            frame.reset(&schema, 1);
            source.sample(&mut frame);
        }
        assert!(source.changed());
        let (_, frame) = tree.sample(&mut source);
        assert_eq!(frame.readings(), [Err(AbsenceReason::Malformed), Ok(7.0)]);
        assert!(!source.changed());
    }

    #[test]
    fn a_file_that_is_not_held_open_is_gone_when_it_is_gone() {
        let tree = TestTree::new(&[("sys/a", "7\n")]);
        let mut buffer = Vec::new();
        let file = KernelPath::new(tree.roots().sys("a"), false);
        assert_eq!(file.read(&mut buffer), Ok(&b"7\n"[..]));
        tree.remove("sys/a");
        assert_eq!(file.read(&mut buffer), Err(AbsenceReason::Gone));
        let (schema, frame) = tree.sample(&mut Attributes::new(&tree.roots(), find));
        assert!(schema.columns.is_empty() && frame.readings().is_empty());
    }
}
